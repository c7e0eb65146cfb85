"""Ground state and response of a large sparse Hamiltonian by Krylov methods.

* `ground_state`: restarted Lanczos. General packages orthogonalise every vector against all others,
  which here costs several times the product with H; the plain three-term recursion does not need it
  for the lowest state alone.
* `response_poles`: block Lanczos from ``(d+|gs>, q+|gs>)``. The block-tridiagonal matrix's
  eigenvectors give poles and amplitudes of G, F and I at once (docs/physics, self-energy). No
  reorthogonalisation: copies of converged poles share their weight and change no spectrum. It needs
  a `BlockSpace` alone, so that vectors may be anything; `ARRAYS` are columns of a matrix.

Cost: one product with H and four passes over the vectors a step.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.linalg import eig_banded, eigh_tridiagonal

from dmftnet.errors import ConvergenceError
from dmftnet.physics.solvers.krylov.blocks import ARRAYS, Block, BlockSpace

N_STORED = 60  # Lanczos vectors kept between restarts of the ground-state search


def ground_state(
    apply: Callable[[np.ndarray], np.ndarray],
    start: np.ndarray,
    tolerance: float,
    symmetrise: Callable[[np.ndarray], np.ndarray] | None = None,
    max_restarts: int = 40,
) -> tuple[float, np.ndarray, float]:
    """Lowest eigenpair in the Krylov space of `start`.

    Parameters
    ----------
    apply : callable
        ``x (n,) -> H x (n,)``, in D.
    start : (n,) float64
    tolerance : float, in D
        Residual norm ``|H v - E v|``; the energy's error is its square over the gap.
    symmetrise : callable, optional
        Projection onto a symmetry of H that the start vector has; removes rounding at restarts.
    max_restarts : int

    Returns
    -------
    energy : float, in D
    vector : (n,) float64, normalised
    residual : float, in D

    Raises
    ------
    ConvergenceError
    """
    symmetrise = symmetrise or (lambda x: x)
    vector = symmetrise(start)
    vector = vector / np.linalg.norm(vector)
    basis = np.empty((min(N_STORED, vector.size), vector.size))
    for _ in range(max_restarts):
        vector = symmetrise(_lanczos_sweep(apply, vector, basis, 0.5 * tolerance))
        vector /= np.linalg.norm(vector)
        image = apply(vector)
        energy = float(vector @ image)
        residual = float(np.linalg.norm(image - energy * vector))
        if residual <= tolerance:
            return energy, vector, residual
    raise ConvergenceError(
        f"the ground state of {vector.size:,} determinants stopped at the residual "
        f"{residual:.1e} D after {max_restarts} restarts, above {tolerance:g} D; raise "
        "solver.ground_state_tolerance"
    )


def _lanczos_sweep(apply, vector: np.ndarray, basis: np.ndarray, tolerance: float) -> np.ndarray:
    """Lowest Ritz vector of one Lanczos run; ends at the tolerance or when `basis` is full."""
    alphas: list[float] = []
    betas: list[float] = []
    basis[0] = vector
    for k in range(len(basis)):
        image = apply(basis[k])
        alphas.append(basis[k] @ image)
        image -= alphas[-1] * basis[k]
        if k:
            image -= betas[-1] * basis[k - 1]
        beta = float(np.linalg.norm(image))
        full = k + 1 == len(basis) or beta <= 1e-3 * tolerance
        if full or k % 5 == 4:
            _, ritz = eigh_tridiagonal(alphas, betas, select="i", select_range=(0, 0))
            if full or beta * abs(ritz[-1, 0]) <= tolerance:
                break
        betas.append(beta)
        np.divide(image, beta, out=basis[k + 1])
    return ritz[:, 0] @ basis[: len(alphas)]


def response_poles(
    apply: Callable[[Block], Block],
    start: Block,
    n_steps: int,
    deflation: float = 1e-10,
    space: BlockSpace = ARRAYS,
) -> tuple[np.ndarray, np.ndarray]:
    """Ritz values and start-vector amplitudes of a block Lanczos run.

    Parameters
    ----------
    apply : callable
        ``X (n, k) -> H X (n, k)``.
    start : (n, m) float64 or complex128, or a block of `space`
        The vectors whose mutual response is wanted; not necessarily independent.
    n_steps : int
        Block steps; the run ends earlier where the Krylov space is exhausted.
    deflation : float
        Directions of a new block shorter than this fraction of the largest seen are dropped.
    space : BlockSpace
        Where the vectors live.

    Returns
    -------
    energies : (n_ritz,) float64
    amplitudes : (n_ritz, m)
        ``a_ni = <n|start_i>``: ``sum_n conj(a_ni) a_nj f(E_n)`` approximates
        ``<start_i| f(H) |start_j>``, and is exact for polynomials up to degree ``2 n_steps - 1``.
    """
    gram = space.overlap(start, start)
    n_start = gram.shape[0]
    scale = float(np.sqrt(np.trace(gram).real))
    block, overlap = _orthonormalise(space, start, gram, scale, deflation)
    if block is None:
        return np.empty(0), np.empty((0, n_start), dtype=gram.dtype)
    previous, back = None, np.zeros((overlap.shape[0],) * 2, dtype=gram.dtype)
    diagonals, couplings, scale = [], [], 0.0
    for step in range(n_steps):
        image = apply(block)
        alpha = space.overlap(block, image)
        diagonals.append(0.5 * (alpha + alpha.conj().T))
        if step == n_steps - 1:
            break
        image, gram = space.subtract(image, block, alpha, previous, back.conj().T)
        scale = max(scale, np.linalg.norm(alpha), np.sqrt(np.trace(gram).real))
        new, beta = _orthonormalise(space, image, gram, scale, deflation, (block, previous))
        if new is None:
            break
        couplings.append(beta)
        previous, back, block = block, beta, new
    energies, vectors = _block_tridiagonal_eigh(diagonals, couplings)
    return energies, vectors[: overlap.shape[0]].conj().T @ overlap


def _orthonormalise(
    space: BlockSpace,
    block: Block,
    gram: np.ndarray,
    scale: float,
    deflation: float,
    neighbours: tuple[Block | None, ...] = (),
) -> tuple[Block | None, np.ndarray]:
    """``block = Q R``, directions shorter than `deflation` of `scale` dropped; Q, R (r, k).

    From the small Gram matrix; a second sweep where a direction is short, because then one leaves
    Q less than orthonormal. That sweep also removes what rounding left of the two blocks before:
    divided by a short length it would be rounding no more, and the recursion needs its neighbours
    orthogonal (it can do without the rest). Q is None where nothing is left.
    """
    values, vectors = np.linalg.eigh(gram)  # far less overhead than scipy's at this size
    keep = values > max((deflation * scale) ** 2, 1e-15 * values[-1], 1e-300)
    if not keep.any():
        return None, np.zeros((0, gram.shape[0]))
    length = np.sqrt(values[keep])
    R = length[:, None] * vectors[:, keep].conj().T
    Q = space.combine(block, vectors[:, keep] / length)
    if length[0] < 1e-3 * scale:
        for other in neighbours:
            if other is not None:
                Q = space.without(Q, other, space.overlap(other, Q))
        correction, vectors = np.linalg.eigh(space.overlap(Q, Q))
        length = np.sqrt(correction)
        Q = space.combine(Q, vectors / length)
        R = (length[:, None] * vectors.conj().T) @ R
    return Q, R


def _block_tridiagonal_eigh(diagonals, couplings):
    sizes = [d.shape[0] for d in diagonals]
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    width = 2 * max(sizes)
    n = offsets[-1]
    band = np.zeros((width, n), dtype=diagonals[0].dtype)
    for k, alpha in enumerate(diagonals):
        _fill_lower_band(band, alpha, offsets[k], offsets[k])
        if k < len(couplings):
            _fill_lower_band(band, couplings[k], offsets[k + 1], offsets[k])
    return eig_banded(band, lower=True)


def _fill_lower_band(band: np.ndarray, block: np.ndarray, row: int, column: int) -> None:
    for i in range(block.shape[0]):
        for j in range(block.shape[1]):
            if row + i >= column + j:
                band[row + i - column - j, column + j] = block[i, j]
