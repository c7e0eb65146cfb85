"""From weights that need not be positive to a positive spectrum that gives the same signals.

Spectral weights of two operators (d, q) are symmetric matrices, positive semidefinite at each
energy. Fits in time know nothing of that: `refitted` brings their weights back to it without
leaving the signals, `positive_poles` makes poles of matrices, `frame_of` is the frame in which
"positive" and "near" mean the same whatever combination of the operators was chosen.
Cost: one linear system of the number of times an iteration; 0.1 s.
"""

from __future__ import annotations

import numpy as np

from dmftnet.physics.impurity.poles import ResponsePoles

REFITS = 60


def refitted(
    energies: np.ndarray, weights: np.ndarray, signals, z: np.ndarray, tolerance: float
) -> tuple[np.ndarray, float]:
    """Positive weights that give the signals back, near to weights that need not be positive.

    Damped exponentials with complex residues add up to the signal, but not to a positive spectrum,
    and their tails reach across zero energy. In turns the negative parts are removed and the rest
    of each signal is distributed over its own side of zero, in proportion to the weight there.

    Parameters
    ----------
    energies : (n,) float64, in D
    weights : (n, m, m) float64
    signals : (addition, removal), (n_t, m, m) complex128 each
    z : (n_t,) complex128, in 1/D
    tolerance : float
        Error of the signals, whose sum is one at t = 0.

    Returns
    -------
    weights : (n, m, m) float64
    residual : float
        Largest deviation from the signals.
    """
    m, X = weights.shape[-1], weights
    sides = []
    for sign, signal in zip((1, -1), signals, strict=True):
        here = np.flatnonzero(sign * energies > 0)
        K = np.exp(-1j * np.multiply.outer(z, np.abs(energies[here])))
        target = np.asarray(signal).reshape(len(z), -1)
        sides.append((here, np.vstack([K.real, K.imag]), np.vstack([target.real, target.imag])))
    best, least = X, np.inf
    for _ in range(REFITS):
        X = _positive(X)
        share = np.einsum("naa->n", X) / m
        rests = [target - K @ X[here].reshape(here.size, -1) for here, K, target in sides]
        residual = max(float(np.abs(rest).max()) for rest in rests)
        if residual < least:
            best, least = X.copy(), residual
        if residual < tolerance or residual > 10 * least:
            break
        for (here, K, _), rest in zip(sides, rests, strict=True):
            spread = K * share[here]
            gram = spread @ K.T + tolerance**2 * np.eye(len(K))
            X[here] += (spread.T @ np.linalg.solve(gram, rest)).reshape(-1, m, m)
    return best, least


def frame_of(total: np.ndarray) -> np.ndarray:
    """Matrix B with ``B B^T`` the sum rule.

    In that frame operations on weights depend neither on the choice of combinations of the
    operators nor on which excitations count as particles."""
    lower = np.linalg.cholesky(_regular(total))
    root = np.sqrt(np.maximum(total.diagonal(), 0.0))
    if np.any(lower.diagonal() < 1e-3 * root) or np.any(root == 0):  # operators nearly parallel
        return np.diag(np.where(root > 0, root, 1.0))
    return lower


def _positive(weights: np.ndarray) -> np.ndarray:
    """Nearest positive semidefinite matrices."""
    values, vectors = np.linalg.eigh(0.5 * (weights + weights.transpose(0, 2, 1)))
    return (vectors * np.maximum(values, 0.0)[:, None, :]) @ vectors.transpose(0, 2, 1)


def positive_poles(
    energies: np.ndarray, weights: np.ndarray, sum_rule: np.ndarray | None = None
) -> tuple[ResponsePoles, float, float]:
    """Rank-one residues nearest to symmetric weight matrices, rescaled to a sum rule.

    Parameters
    ----------
    energies : (n,) float64
    weights : (n, m, m) float64, m = 1 or 2
    sum_rule : (m, m) float64, optional

    Returns
    -------
    poles : ResponsePoles
        Each matrix gives up to m poles at its energy, one an eigenvector.
    clipped : float
        Trace of the negative parts over the total, in units where both operators have norm one.
    correction : float
        ``max |T - 1|`` of the congruence that restores the sum rule.
    """
    m = weights.shape[-1]
    scale = np.sqrt(np.maximum(np.einsum("naa->a", weights), 1e-300))
    scale = np.where(scale > 1e-12, scale, 1.0)
    values, vectors = np.linalg.eigh(weights / np.outer(scale, scale))
    clipped = float(np.maximum(-values, 0).sum() / max(np.abs(values).sum(), 1e-300))
    amplitudes = vectors * np.sqrt(np.maximum(values, 0.0))[:, None, :]  # (n, component, pole)
    amplitudes = amplitudes.transpose(0, 2, 1).reshape(-1, m) * scale
    at = np.repeat(energies, m)
    correction = 0.0
    if sum_rule is not None:
        have = np.linalg.cholesky(_regular(amplitudes.T @ amplitudes))
        want = np.linalg.cholesky(_regular(np.asarray(sum_rule, dtype=np.float64)))
        T = np.linalg.solve(have.T, want.T).T
        correction = float(np.abs(T / np.outer(np.diag(want), 1 / np.diag(want)) - np.eye(m)).max())
        amplitudes = amplitudes @ T.T
    if m == 1:
        amplitudes = np.concatenate([amplitudes, np.zeros_like(amplitudes)], axis=1)
    return ResponsePoles(at, amplitudes).compressed(), clipped, correction


def _regular(matrix: np.ndarray) -> np.ndarray:
    """A positive semidefinite matrix made definite by rounding's worth of its diagonal."""
    return matrix + np.diag(1e-14 * np.diag(matrix) + 1e-300)
