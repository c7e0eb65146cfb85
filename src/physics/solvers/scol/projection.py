"""The Hamiltonian in the span of some excited states, orthonormalised.

``S_ij = <O_i+ O_j>``, ``H_ij = <O_i+ (H - E0) O_j>``, ``H x = E S x``. By canonical
orthogonalisation: strings normalised, directions of S kept whose eigenvalue exceeds the square of
`threshold` times the largest. Where the states are vectors, it is their QR decomposition that
counts: R has the square roots of the eigenvalues of S as singular values, and so reaches twice as
many digits. Of tall ones it comes from Gram matrices of what the last left (`orthonormalised`).

References: P.-O. Loewdin, Adv. Quantum Chem. 5, 185 (1970); T. Fukaya et al., SIAM J. Sci. Comput.
42, A477 (2020).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

TALL = 8
"""Rows a column from which on products of matrices beat Householder reflections."""

FLOOR = 1e-13
"""Eigenvalue of a Gram matrix, over the largest, below which it is rounding."""

MAX_SWEEPS = 5


@dataclass(frozen=True, eq=False)
class Projection:
    """Excited states in an orthonormal basis of their span.

    Parameters
    ----------
    hamiltonian : (r, r), in D
        ``H - E0``.
    states : (r, n)
        Column j: ``O_j |gs>`` in the basis.
    smallest : float
        Smallest relative singular value that was kept; its square is one of S.
    dropped : float
        Largest that was dropped, 0 where none was.
    """

    hamiltonian: np.ndarray
    states: np.ndarray
    smallest: float
    dropped: float

    @property
    def rank(self) -> int:
        """Directions kept."""
        return len(self.hamiltonian)

    @classmethod
    def of_vectors(
        cls, images: np.ndarray, apply: Callable[[np.ndarray], np.ndarray], threshold: float
    ) -> Projection:
        """From the excited states themselves.

        Parameters
        ----------
        images : (n_dim, n) float64 or complex128
            ``O_j |gs>``; overwritten.
        apply : callable
            ``H - E0`` on (n_dim, r) vectors.
        threshold : float
            Relative singular value from which on a direction counts.
        """
        basis, _, states, edges = _span(images, threshold)
        return cls(_hermitian(basis.conj().T @ apply(basis)), states, *edges)

    @classmethod
    def of_samples(cls, images: np.ndarray, moved: np.ndarray, threshold: float) -> Projection:
        """From excited states, and what ``H - E0`` makes of each, where samples show them.

        Parameters
        ----------
        images, moved : (n_dim, n) float64 or complex128
            Times the root of each determinant's weight; `images` is overwritten.

        Notes
        -----
        Where the span is invariant under H, ``moved = images @ M`` holds on every determinant, and
        the poles are exact to first order in the noise of the weights, although H in the basis is
        symmetric to that order alone.
        """
        basis, columns, states, edges = _span(images, threshold)
        return cls(_hermitian(basis.conj().T @ (moved @ columns)), states, *edges)

    @classmethod
    def of_matrices(cls, S: np.ndarray, H: np.ndarray, threshold: float) -> Projection:
        """From (n, n) overlap and Hamiltonian matrices, exact or sampled; see `of_vectors`.

        Rounding alone puts eigenvalues of S at 1e-16: a threshold below 1e-8 keeps noise.
        """
        size = np.sqrt(np.diag(S).real.clip(min=0.0))
        scale = 1 / np.where(size > 0, size, 1.0)
        eigenvalues, vectors = np.linalg.eigh(_hermitian(S * np.outer(scale, scale)))
        values = np.sqrt(eigenvalues.clip(min=0.0))
        keep = _kept(values, threshold)
        basis = scale[:, None] * vectors[:, keep] / values[keep]
        states = (values[keep, None] * vectors[:, keep].conj().T) * size
        return cls(_hermitian(basis.conj().T @ H @ basis), states, *_edges(values, keep))

    def poles(self, operators: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Excitation energies, and the amplitudes of operators that are sums of the strings.

        Parameters
        ----------
        operators : (n, m)
            Coefficients of each in a column.

        Returns
        -------
        energies : (r,) float64, in D
        amplitudes : (r, m)
            ``<n| X |gs>``.
        """
        energies, vectors = np.linalg.eigh(self.hamiltonian)
        return energies, vectors.conj().T @ (self.states @ operators)


def _span(
    images: np.ndarray, threshold: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[float, float]]:
    """Orthonormal basis (n_dim, r), ``basis = images @ columns``, ``images = basis @ states``."""
    size = np.linalg.norm(images, axis=0)
    length = np.where(size > 0, size, 1.0)
    images /= length
    Q, R = orthonormalised(images)
    left, values, right = np.linalg.svd(R, full_matrices=False)
    keep = _kept(values, threshold)
    columns = right[keep].conj().T / values[keep] / length[:, None]
    states = (values[keep, None] * right[keep]) * size
    return Q @ left[:, keep], columns, states, _edges(values, keep)


def orthonormalised(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``vectors = Q R``, Q orthonormal but for directions that R sees no weight in.

    Parameters
    ----------
    vectors : (n_dim, n)

    Notes
    -----
    Each sweep divides by the square root of the Gram matrix, its small eigenvalues raised to
    `FLOOR`. A direction of relative length 1e-10 has 3e-4 after the first and one after the second;
    its error is that of a Householder QR, rounding over its length. One of no length at all stays
    below that, and R shrinks by 3e-7 there with every sweep.
    """
    n_dim, n = vectors.shape
    if n_dim < TALL * n:
        return np.linalg.qr(vectors)
    R = np.eye(n)
    for _ in range(MAX_SWEEPS):
        values, turn = np.linalg.eigh(_hermitian(vectors.conj().T @ vectors))
        length = np.sqrt(np.maximum(values, max(FLOOR * values[-1], 1e-300)))
        vectors = vectors @ (turn / length)
        R = (length[:, None] * turn.conj().T) @ R
        if values[0] > 0.5:  # was orthonormal but for rounding
            break
    return vectors, R


def _kept(values: np.ndarray, threshold: float) -> np.ndarray:
    return (values > threshold * values.max(initial=0.0)) & (values > 0)


def _edges(values: np.ndarray, keep: np.ndarray) -> tuple[float, float]:
    """Smallest kept and largest dropped of the singular values, over the largest."""
    largest = values.max(initial=0.0) or 1.0
    smallest, dropped = values[keep].min(initial=largest), values[~keep].max(initial=0.0)
    return float(smallest / largest), float(dropped / largest)


def _hermitian(matrix: np.ndarray) -> np.ndarray:
    return 0.5 * (matrix + matrix.conj().T)
