"""Restricted active space of an impurity in natural orbitals: determinants and the Hamiltonian.

A determinant is a pair of spin strings. A string holds the occupation of (d, b) and a list of
excitations out of the mean-field reference: holes in the valence chain, particles in the conduction
chain, each at a depth >= 1. The restriction ``depths = (d_1, d_2, ...)`` orders all excitations of
both spins by depth; the j-th deepest may sit no deeper than ``d_j``, and there are at most
``len(depths)`` of them.

Whether an up and a down string may be combined depends only on how many excitations of each lie
deeper than every ``d_j``. Strings with the same counts form a class, the space is a union of
(class up) x (class down) rectangles, and the index of a determinant is arithmetic: no hash table.

Orbitals of a spin are ordered ``v_nv .. v_1, d, b, c_1 .. c_nc``. Every hop is then between
neighbours (no fermionic sign) or passes exactly one of d, b.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dmftnet.errors import SettingError, SpaceTooLargeError
from dmftnet.physics.bath.discretisation import NaturalOrbitalBath
from dmftnet.physics.solvers.compiled import compiled
from dmftnet.physics.solvers.krylov.ras_cost import BYTES_EACH

ACTIVE = np.array([[0, 0], [1, 0], [0, 1], [1, 1]])  # (n_d, n_b) of the four active states
DEEPEST = 127  # a string's key has eight bits an excitation


@dataclass(frozen=True, eq=False)
class SpinStrings:
    """All strings of one spin with a given particle number, sorted by class.

    Parameters
    ----------
    codes : (n_s, n_max) int64
        Excitations in falling order, ``2 depth + (0 hole | 1 particle)``, padded with 0.
    active : (n_s,) int64
        Index into `ACTIVE`.
    keys : (n_s,) int64
        Unique key of each string; `order` sorts it, for look-ups.
    class_start : (n_classes + 1,) int64
        First string of each class.
    signatures : (n_classes, n_max) int64
        Number of excitations deeper than ``d_2, ..., d_n, 0``.
    """

    codes: np.ndarray
    active: np.ndarray
    keys: np.ndarray
    order: np.ndarray
    class_start: np.ndarray
    signatures: np.ndarray

    @property
    def n_strings(self) -> int:
        """Number of strings."""
        return self.codes.shape[0]

    @property
    def holes(self) -> np.ndarray:
        """(n_s,) number of holes."""
        return ((self.codes > 0) & (self.codes % 2 == 0)).sum(axis=1)

    def find(self, codes: np.ndarray, active: np.ndarray) -> np.ndarray:
        """(n,) index of strings given as codes and active state, -1 where absent."""
        keys = _keys(codes, active)
        if self.n_strings == 0:
            return np.full(keys.size, -1)
        position = np.minimum(np.searchsorted(self.keys[self.order], keys), self.n_strings - 1)
        index = self.order[position]
        return np.where(self.keys[index] == keys, index, -1)


def resolve_depths(depths, bath: NaturalOrbitalBath) -> tuple[int, ...]:
    """Depths with "all" replaced by the longest chain and capped there."""
    longest = max(bath.valence.size, bath.conduction.size, 1)
    resolved = tuple(longest if d == "all" else min(int(d), longest) for d in depths)
    if max(resolved) > DEEPEST:
        raise SettingError(
            f"solver.depths = {tuple(depths)} reach site {max(resolved)} of a chain, the limit is "
            f"{DEEPEST}; use fewer bath sites or bound the first depth"
        )
    return resolved


def spin_strings(
    bath: NaturalOrbitalBath, depths: tuple[int, ...], n_electrons: int, max_memory: float
) -> SpinStrings:
    """Every string of one spin with `n_electrons` that obeys the restriction on its own.

    Refused like a Hamiltonian (`check_memory`) before more than `max_memory` GiB are listed.
    """
    n_max = len(depths)
    chains = bath.valence.size, bath.conduction.size
    levels = [np.zeros((1, n_max), dtype=np.int64)]
    for j, depth in enumerate(depths):
        levels.append(_extend(levels[-1], j, depth, *chains, max_memory))
    codes = np.concatenate(levels)
    n_particles = (codes % 2 == 1).sum(axis=1)
    n_holes = ((codes > 0) & (codes % 2 == 0)).sum(axis=1)
    n_active = n_electrons - bath.valence.size + n_holes - n_particles
    per_active = ACTIVE.sum(axis=1)
    pick = [(n_active == per_active[a]) for a in range(4)]
    active = np.concatenate([np.full(p.sum(), a) for a, p in enumerate(pick)])
    codes = np.concatenate([codes[p] for p in pick])
    thresholds = np.array([*depths[1:], 0])
    counts = (codes[:, :, None] // 2 > thresholds).sum(axis=1)
    signatures, label = np.unique(counts, axis=0, return_inverse=True)
    label = label.reshape(-1)
    by_class = np.argsort(label, kind="stable")
    codes, active = np.ascontiguousarray(codes[by_class]), active[by_class]
    class_start = np.concatenate([[0], np.cumsum(np.bincount(label, minlength=len(signatures)))])
    keys = _keys(codes, active)
    return SpinStrings(codes, active, keys, np.argsort(keys), class_start, signatures)


def _extend(
    codes: np.ndarray, j: int, depth: int, n_v: int, n_c: int, max_memory: float
) -> np.ndarray:
    """Append a j-th excitation, no deeper than `depth` and below the last one, in every way."""
    candidates = [2 * k for k in range(1, min(depth, n_v) + 1)]
    candidates += [2 * k + 1 for k in range(1, min(depth, n_c) + 1)]
    candidates = np.sort(np.array(candidates, dtype=np.int64))
    last = codes[:, j - 1] if j else np.full(len(codes), np.iinfo(np.int64).max)
    n_children = np.searchsorted(candidates, last)
    # ten arrays like the codes: the strings, their classes and hops, and copies on the way
    check_memory(int(n_children.sum()), max_memory, "strings of one spin", 80 * codes.shape[1])
    parent = np.repeat(np.arange(len(codes)), n_children)
    rank = np.arange(parent.size) - np.repeat(np.cumsum(n_children) - n_children, n_children)
    out = codes[parent].copy()
    out[:, j] = candidates[rank]
    return out


def _keys(codes: np.ndarray, active: np.ndarray) -> np.ndarray:
    """One 63-bit integer a string: 8 bits an excitation (chains up to depth 127), 2 for (d, b)."""
    shifts = 8 * np.arange(codes.shape[1])
    return (np.left_shift(codes, shifts).sum(axis=1) << 2) | active


@dataclass(frozen=True, eq=False)
class Hops:
    """One-body Hamiltonian of one spin on its strings, rows compressed.

    Parameters
    ----------
    start : (n_s + 1,) int64
    target : (nnz,) int32
    amplitude : (nnz,) float64, in D
    diagonal : (n_s,) float64, in D
        Relative to the filled valence chain.
    """

    start: np.ndarray
    target: np.ndarray
    amplitude: np.ndarray
    diagonal: np.ndarray


def one_body_hops(strings: SpinStrings, bath: NaturalOrbitalBath, eps_d: float) -> Hops:
    """Matrix elements of the one-body Hamiltonian between the strings of one spin."""
    codes, active = strings.codes, strings.active
    n_s, n_max = codes.shape
    depth, particle = codes // 2, codes % 2
    onsite = np.zeros((2, max(bath.valence.size, bath.conduction.size) + 1))
    onsite[0, 1 : bath.valence.size + 1] = -bath.valence
    onsite[1, 1 : bath.conduction.size + 1] = bath.conduction
    n_d, n_b = ACTIVE[active].T
    diagonal = onsite[particle, depth].sum(axis=1) + n_d * eps_d + n_b * bath.eps_b
    moves = [_chain_moves(strings, bath, j, step) for j in range(n_max) for step in (1, -1)]
    moves += _active_moves(strings, bath)
    rows, cols, values = (np.concatenate(part) for part in zip(*moves, strict=True))
    order = np.argsort(rows, kind="stable")
    start = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=n_s))])
    return Hops(start, cols[order].astype(np.int32), values[order], diagonal)


def _chain_moves(strings: SpinStrings, bath: NaturalOrbitalBath, j: int, step: int):
    """Excitation j moves along its chain by one site."""
    codes = strings.codes
    here = np.flatnonzero(codes[:, j] > 0)
    new = codes[here].copy()
    new[:, j] += 2 * step
    depth, particle = codes[here, j] // 2, codes[here, j] % 2
    link = np.minimum(depth, depth + step)  # the hopping between depth `link` and `link + 1`
    table = np.zeros((2, max(bath.valence.size, bath.conduction.size) + 2))
    table[0, 1 : bath.valence_hoppings.size + 1] = bath.valence_hoppings
    table[1, 1 : bath.conduction_hoppings.size + 1] = bath.conduction_hoppings
    # a hole and a particle may swap their order in the list; a list with a repeated code is absent
    new = -np.sort(-new, axis=1)
    valid = link >= 1
    target = np.where(valid, strings.find(new, strings.active[here]), -1)
    found = target >= 0
    return here[found], target[found], table[particle[found], link[found]]


def _active_moves(strings: SpinStrings, bath: NaturalOrbitalBath):
    """Hops among d, b and the first sites of the chains."""
    n_d, n_b = ACTIVE[strings.active].T
    codes, moves = strings.codes, []
    exchange = np.flatnonzero(n_d != n_b)
    target = strings.find(codes[exchange], 3 - strings.active[exchange])
    moves.append((exchange, target, np.full(exchange.size, bath.t_db)))
    # (code at depth 1, amplitude, bit of the active orbital, occupation passed on the way)
    for code, t, bit, passed in (
        (2, bath.t_vd, 1, None),
        (2, bath.t_vb, 2, n_d),
        (3, bath.t_cb, 2, None),
        (3, bath.t_cd, 1, n_b),
    ):
        excited = np.any(codes == code, axis=1)
        filled = (strings.active & bit) > 0
        # valence site filled and orbital empty, or hole and orbital filled; for the conduction
        # site the electron goes out of the orbital when the excitation is created
        source = np.flatnonzero(excited == filled if code == 2 else excited != filled)
        new = codes[source].copy()
        creates = ~excited[source]
        full = creates & (new[:, -1] > 0)
        new[creates, -1] = np.where(full[creates], new[creates, -1], code)
        new[~creates] = np.where(new[~creates] == code, 0, new[~creates])
        new = -np.sort(-new, axis=1)
        target = strings.find(new, strings.active[source] ^ bit)
        target[full] = -1
        sign = np.ones(source.size) if passed is None else 1.0 - 2.0 * passed[source]
        found = target >= 0
        moves.append((source[found], target[found], t * sign[found]))
    return moves


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


def check_memory(
    count: int, max_memory: float, what: str = "determinants", bytes_each: int = BYTES_EACH
) -> None:
    """Raise if a space would not fit into `max_memory` GiB."""
    estimate = count * bytes_each / 2**30
    if estimate > max_memory:
        raise SpaceTooLargeError(
            f"the restricted space has {count:,} {what} and needs about {estimate:.2g} GiB, more "
            f"than max_memory = {max_memory:g} GiB; use smaller depths, fewer bath sites, or raise "
            "solver.max_memory"
        )


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
