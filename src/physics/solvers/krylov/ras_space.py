"""Restricted active space of an impurity in natural orbitals: determinants and the Hamiltonian.

A determinant is a pair of spin strings (`ras_strings`). Whether an up and a down string may be
combined depends only on how many excitations of each lie deeper than every ``d_j``. Strings with
the same counts form a class, the space is a union of (class up) x (class down) rectangles, and the
index of a determinant is arithmetic: no hash table.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dmftnet.physics.solvers.compiled import compiled
from dmftnet.physics.solvers.krylov.ras_cost import check_memory
from dmftnet.physics.solvers.krylov.ras_strings import ACTIVE, Hops, SpinStrings


@dataclass(frozen=True, eq=False)
class DeterminantSpace:
    """All allowed pairs of an up and a down string, row by row in the up string.

    Parameters
    ----------
    up, down : SpinStrings
    row_start : (n_up_strings + 1,) int64
        First determinant of each up string.
    column : (n_classes_up, n_classes_down) int64
        Position of a class of down strings inside a row, -1 where not allowed.
    """

    up: SpinStrings
    down: SpinStrings
    row_start: np.ndarray
    column: np.ndarray

    @property
    def n_determinants(self) -> int:
        """Dimension of the space."""
        return int(self.row_start[-1])

    @property
    def up_class(self) -> np.ndarray:
        """(n_up_strings,) class of each up string."""
        return np.repeat(np.arange(len(self.up.signatures)), np.diff(self.up.class_start))

    @property
    def down_class(self) -> np.ndarray:
        """(n_down_strings,) class of each down string."""
        return np.repeat(np.arange(len(self.down.signatures)), np.diff(self.down.class_start))

    def pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """(n,), (n,) up and down string of every determinant."""
        return _pairs(self.row_start, self.column, self.up_class, self.down.class_start)

    def index(self, up: np.ndarray, down: np.ndarray) -> np.ndarray:
        """(n,) determinant of pairs of strings, -1 where not allowed."""
        cls_u, cls_d = self.up_class[up], self.down_class[down]
        column = self.column[cls_u, cls_d]
        found = self.row_start[up] + column + down - self.down.class_start[cls_d]
        return np.where(column >= 0, found, -1)


def determinant_space(up: SpinStrings, down: SpinStrings) -> DeterminantSpace:
    """Combine the strings of both spins under the restriction of the pair."""
    n_max = up.codes.shape[1]
    limit = np.arange(1, n_max + 1)  # at most j - 1 deeper than d_j, at most n in all
    total = up.signatures[:, None, :] + down.signatures[None, :, :]
    allowed = np.all(total <= limit, axis=2)
    sizes = np.diff(down.class_start)
    widths = allowed * sizes
    column = np.where(allowed, np.cumsum(widths, axis=1) - widths, -1)
    row_length = np.repeat(widths.sum(axis=1), np.diff(up.class_start))
    row_start = np.concatenate([[0], np.cumsum(row_length)])
    return DeterminantSpace(up, down, row_start, column)


@compiled
def _pairs(row_start, column, up_class, class_start):
    n = row_start[-1]
    up, down = np.empty(n, np.int32), np.empty(n, np.int32)
    k = 0
    for iu in range(up_class.size):
        for c in range(column.shape[1]):
            if column[up_class[iu], c] >= 0:
                for i in range(class_start[c], class_start[c + 1]):
                    up[k], down[k] = iu, i
                    k += 1
    return up, down


@dataclass(frozen=True, eq=False)
class SparseHamiltonian:
    """Real symmetric CSR matrix with the diagonal apart.

    Parameters
    ----------
    start : (n + 1,) int64
    target : (nnz,) int32
    amplitude : (nnz,) float64, in D
    diagonal : (n,) float64, in D
    """

    start: np.ndarray
    target: np.ndarray
    amplitude: np.ndarray
    diagonal: np.ndarray

    @property
    def dimension(self) -> int:
        """Number of determinants."""
        return self.diagonal.size

    def apply(self, x: np.ndarray) -> np.ndarray:
        """``H x`` for (n,) or a block (n, k), k <= 2 fastest."""
        if x.ndim == 1 or x.shape[1] == 1:
            flat = np.ascontiguousarray(x).reshape(-1)
            y = _matvec(self.start, self.target, self.amplitude, self.diagonal, flat)
            return y.reshape(x.shape)
        return _matmat(self.start, self.target, self.amplitude, self.diagonal, x)


def hamiltonian(
    space: DeterminantSpace, hops_u: Hops, hops_d: Hops, U: float, max_memory: float
) -> SparseHamiltonian:
    """The Hamiltonian in a determinant space, relative to the filled valence chains.

    Parameters
    ----------
    hops_u, hops_d : Hops
        One-body Hamiltonian on the up and on the down strings.
    max_memory : float, in GiB
        Refuse before anything large is allocated.

    Raises
    ------
    SpaceTooLargeError
    """
    n = space.n_determinants
    check_memory(n, max_memory)
    arguments = (
        space.row_start, space.column, space.up_class, space.down_class, space.down.class_start,
        hops_u.start, hops_u.target, hops_u.amplitude, hops_u.diagonal,
        hops_d.start, hops_d.target, hops_d.amplitude, hops_d.diagonal,
        ACTIVE[space.up.active, 0] * float(U), ACTIVE[space.down.active, 0] * 1.0,
    )  # fmt: skip
    start = _row_starts(*arguments[:7], *arguments[9:11], n)
    target, amplitude = np.empty(start[-1], np.int32), np.empty(start[-1])
    diagonal = np.empty(n)
    _fill_rows(*arguments, start, target, amplitude, diagonal)
    return SparseHamiltonian(start, target, amplitude, diagonal)


@compiled
def _row_starts(
    row_start, column, up_class, down_class, down_start, u_start, u_target, d_start, d_target, n
):  # fmt: skip
    """(n + 1,) offsets of the rows: the hops of one spin depend on the other's class alone."""
    n_classes = column.shape[1]
    up = np.zeros((up_class.size, n_classes), np.int64)
    for iu in range(up_class.size):
        for t in range(u_start[iu], u_start[iu + 1]):
            for c in range(n_classes):
                up[iu, c] += column[up_class[u_target[t]], c] >= 0
    down = np.zeros((column.shape[0], down_class.size), np.int64)
    for cu in range(column.shape[0]):
        for i in range(down_class.size):
            for t in range(d_start[i], d_start[i + 1]):
                down[cu, i] += column[cu, down_class[d_target[t]]] >= 0
    start = np.zeros(n + 1, np.int64)
    k = 0
    for iu in range(up_class.size):
        cu = up_class[iu]
        for c in range(n_classes):
            if column[cu, c] >= 0:
                for i in range(down_start[c], down_start[c + 1]):
                    start[k + 1] = start[k] + up[iu, c] + down[cu, i]
                    k += 1
    return start


@compiled
def _fill_rows(
    row_start, column, up_class, down_class, down_start,
    u_start, u_target, u_amplitude, u_diagonal,
    d_start, d_target, d_amplitude, d_diagonal,
    u_interaction, d_occupied,
    start, target, amplitude, diagonal,
):  # fmt: skip
    """Hops of either spin and the diagonal, row by row."""
    for iu in range(up_class.size):
        cu = up_class[iu]
        for c in range(column.shape[1]):
            if column[cu, c] < 0:
                continue
            for i in range(down_start[c], down_start[c + 1]):
                k = row_start[iu] + column[cu, c] + i - down_start[c]
                position = start[k]
                for t in range(u_start[iu], u_start[iu + 1]):
                    ju = u_target[t]
                    col = column[up_class[ju], c]
                    if col >= 0:
                        target[position] = row_start[ju] + col + i - down_start[c]
                        amplitude[position] = u_amplitude[t]
                        position += 1
                for t in range(d_start[i], d_start[i + 1]):
                    cj = down_class[d_target[t]]
                    col = column[cu, cj]
                    if col >= 0:
                        target[position] = row_start[iu] + col + d_target[t] - down_start[cj]
                        amplitude[position] = d_amplitude[t]
                        position += 1
                diagonal[k] = u_diagonal[iu] + d_diagonal[i] + u_interaction[iu] * d_occupied[i]


@compiled
def _matvec(start, target, amplitude, diagonal, x):
    y = np.empty_like(x)
    for k in range(x.size):
        total = diagonal[k] * x[k]
        for t in range(start[k], start[k + 1]):
            total += amplitude[t] * x[target[t]]
        y[k] = total
    return y


@compiled
def _matmat(start, target, amplitude, diagonal, x):
    y = np.empty_like(x)
    if x.shape[1] == 2:
        for k in range(x.shape[0]):
            a, b = diagonal[k] * x[k, 0], diagonal[k] * x[k, 1]
            for t in range(start[k], start[k + 1]):
                v, j = amplitude[t], target[t]
                a += v * x[j, 0]
                b += v * x[j, 1]
            y[k, 0], y[k, 1] = a, b
        return y
    for k in range(x.shape[0]):
        for m in range(x.shape[1]):
            total = diagonal[k] * x[k, m]
            for t in range(start[k], start[k + 1]):
                total += amplitude[t] * x[target[t], m]
            y[k, m] = total
    return y
