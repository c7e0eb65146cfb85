"""The local problem of a sweep: H on the matrices of one bond, its exponential, its lowest vector.

A state's centre is a matrix M_k for each charge k of a bond, and

``(H M)_k' = sum_w  L_w[k', k] M_k R_w[k, k']``

where w runs over the bond of the operator and L, R are environments, with a site absorbed on the
left, on both sides, or on neither.
"""

from __future__ import annotations

import numpy as np

from dmftnet.physics.solvers.tensor.blocks import Fused

Environment = dict[int, dict[tuple[int, int], np.ndarray]]  # w -> (bra, ket charge) -> matrix

KRYLOV_MAX = 24
DENSE_LIMIT = 48  # variables up to which H becomes one matrix


class LocalProblem:
    """H on the matrices ``M_k``, laid out in one vector."""

    def __init__(self, left: Environment, right: Environment, first: int, last: int, shapes: dict):
        self.shapes, self.slices, size = shapes, {}, 0
        for k, (n, m) in shapes.items():
            self.slices[k] = slice(size, size + n * m)
            size += n * m
        self.size = size
        terms = []
        for w in left.keys() & right.keys():
            for (bra, ket), L in left[w].items():
                R = right[w].get((bra, ket))
                if R is not None and bra in shapes and ket in shapes:
                    terms.append((bra, ket, None if w == first else L, None if w == last else R))
        self.terms = terms
        self.dense = self._matrix() if size <= DENSE_LIMIT else None

    def _matrix(self) -> np.ndarray:
        kinds = {L.dtype for *_, L, R in self.terms if L is not None}
        kinds |= {R.dtype for *_, R in self.terms if R is not None}
        H = np.zeros((self.size, self.size), dtype=np.result_type(np.float64, *kinds))
        for bra, ket, L, R in self.terms:
            L = np.eye(self.shapes[ket][0]) if L is None else L
            R = np.eye(self.shapes[ket][1]) if R is None else R
            block = L[:, None, :, None] * R.T[None, :, None, :]
            rows, columns = self.slices[bra], self.slices[ket]
            H[rows, columns] += block.reshape(rows.stop - rows.start, columns.stop - columns.start)
        return H

    def __call__(self, v: np.ndarray) -> np.ndarray:
        """H v."""
        if self.dense is not None:
            return self.dense @ v
        out = np.zeros_like(v)
        blocks = {k: v[part].reshape(self.shapes[k]) for k, part in self.slices.items()}
        targets = {k: out[part].reshape(self.shapes[k]) for k, part in self.slices.items()}
        for bra, ket, L, R in self.terms:
            term = blocks[ket] if L is None else L @ blocks[ket]
            targets[bra] += term if R is None else term @ R
        return out

    def flat(self, matrices: Fused) -> np.ndarray:
        """The vector of matrices."""
        return np.concatenate([matrices[k].ravel() for k in self.shapes])

    def matrices(self, v: np.ndarray) -> Fused:
        """The matrices of a vector."""
        return {k: v[part].reshape(self.shapes[k]) for k, part in self.slices.items()}


def exponential(H, v: np.ndarray, delta: complex, tolerance: float) -> np.ndarray:
    """``exp(delta H) v`` of a Hermitian operator by Lanczos.

    Parameters
    ----------
    H : callable
    v : (n,) complex128
    delta : complex
    tolerance : float
        Last coefficient of the normalised result in the Krylov basis.
    """
    norm = np.linalg.norm(v)
    if norm == 0:
        return v
    basis = np.empty((KRYLOV_MAX, v.size), dtype=np.complex128)
    basis[0] = v / norm
    T = np.zeros((KRYLOV_MAX, KRYLOV_MAX))
    for k in range(1, KRYLOV_MAX + 1):
        w = H(basis[k - 1])
        T[k - 1, k - 1] = np.vdot(basis[k - 1], w).real
        w = w - T[k - 1, k - 1] * basis[k - 1]
        if k > 1:
            w -= T[k - 1, k - 2] * basis[k - 2]
        beta = float(np.linalg.norm(w))
        exhausted = k in (v.size, KRYLOV_MAX) or beta < 1e-13
        if k > 2 or exhausted:
            levels, vectors = np.linalg.eigh(T[:k, :k])
            result = vectors @ (np.exp(delta * levels) * vectors[0])
            if exhausted or abs(result[-1]) < tolerance * np.linalg.norm(result):
                return norm * (result @ basis[:k])
        T[k, k - 1] = T[k - 1, k] = beta
        basis[k] = w / beta
    raise AssertionError


def lowest(H, v: np.ndarray, tolerance: float, at_most: int) -> tuple[float, np.ndarray]:
    """(energy, normalised vector) of the lowest Lanczos vector from v; residual below tolerance."""
    basis: list[np.ndarray] = [v / np.linalg.norm(v)]
    diagonal: list[float] = []
    off: list[float] = []
    while True:
        w = H(basis[-1])
        diagonal.append(float(basis[-1] @ w))
        for other in 2 * basis:  # twice: a start that is nearly exact leaves little but rounding
            w = w - (other @ w) * other
        beta, k = float(np.linalg.norm(w)), len(diagonal)
        levels, vectors = np.linalg.eigh(np.diag(diagonal) + np.diag(off, 1) + np.diag(off, -1))
        if k == min(at_most, v.size) or beta * abs(vectors[-1, 0]) < tolerance or beta < 1e-13:
            out = vectors[:, 0] @ np.array(basis)
            return float(levels[0]), out / np.linalg.norm(out)
        off.append(beta)
        basis.append(w / beta)
