"""Restricted active space of an impurity in natural orbitals: the strings of one spin.

A string holds the occupation of (d, b) and a list of excitations out of the mean-field reference:
holes in the valence chain, particles in the conduction chain, each at a depth >= 1. The restriction
``depths = (d_1, d_2, ...)`` orders all excitations of both spins by depth; the j-th deepest may sit
no deeper than ``d_j``, and there are at most ``len(depths)`` of them.

Orbitals of a spin are ordered ``v_nv .. v_1, d, b, c_1 .. c_nc``. Every hop is then between
neighbours (no fermionic sign) or passes exactly one of d, b.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dmftnet.errors import SettingError
from dmftnet.physics.bath.chains import NaturalOrbitalBath
from dmftnet.physics.solvers.krylov.ras_cost import check_memory

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
    holes = 2 * np.arange(1, min(depth, n_v) + 1, dtype=np.int64)
    particles = 2 * np.arange(1, min(depth, n_c) + 1, dtype=np.int64) + 1
    candidates = np.sort(np.concatenate([holes, particles]))
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
