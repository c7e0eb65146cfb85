"""Operators on block states, sums and overlaps.

Hamiltonians come from TeNPy's graphs (`dmftnet.physics.solvers.tensor.model`) as lists of non-zero
entries. Several states ``|psi_a>`` can travel as one, ``sum_a |a> |psi_a>``, with an additional
site for a (`bundled`): they share their bonds, and what differs between them is local.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from tenpy.networks.mpo import MPO

from dmftnet.physics.solvers.tensor.blocks import DOWN_UNIT, Blocks, BlockState, Truncation

CREATE = np.array([[0.0, 0.0], [1.0, 0.0]])  # local states: empty, full
ANNIHILATE = CREATE.T
NUMBER = np.diag([0.0, 1.0])


@dataclass(frozen=True, eq=False)
class BlockOperator:
    """A matrix-product operator as the list of its non-zero entries.

    Parameters
    ----------
    entries : list of list of (left, right, p_out, p_in, value)
    first, last : list of int
        Index of "nothing yet" (identity to the left) and "all done" (identity to the right) at
        each bond, 0 .. n_sites.
    """

    entries: list[list[tuple[int, int, int, int, float]]]
    first: list[int]
    last: list[int]

    @classmethod
    def of(cls, mpo: MPO) -> BlockOperator:
        """From TeNPy."""
        entries: list[list[tuple[int, int, int, int, float]]] = []
        for i in range(mpo.L):
            W = mpo.get_W(i).transpose(["wL", "wR", "p", "p*"]).to_ndarray()
            entries.append(
                [
                    (left, right, p_out, p_in, float(W[left, right, p_out, p_in].real))
                    for left, right, p_out, p_in in np.argwhere(np.abs(W) > 0).tolist()
                ]
            )
        first = [mpo.get_IdL(i) for i in range(mpo.L)] + [-1]
        last = [-1] + [mpo.get_IdR(i) for i in range(mpo.L)]
        return cls(entries, [-1 if x is None else int(x) for x in first],
                   [-1 if x is None else int(x) for x in last])  # fmt: skip

    def with_label_site(self, site: int, m: int) -> BlockOperator:
        """The operator beside an additional site of m states, on which it does nothing."""
        passing = sorted({entry[0] for entry in self.entries[site]})
        identity = [(w, w, p, p, 1.0) for w in passing for p in range(m)]
        return BlockOperator(
            [*self.entries[:site], identity, *self.entries[site:]],
            [*self.first[: site + 1], *self.first[site:]],
            [*self.last[: site + 1], *self.last[site:]],
        )

    def shifted(self, energy: float) -> BlockOperator:
        """The operator plus a number."""
        entries, i = list(self.entries), len(self.entries) // 2
        ends = (self.first[i], self.last[i + 1])
        entries[i] = [*entries[i], *((*ends, p, p, energy) for p in (0, 1))]
        return BlockOperator(entries, self.first, self.last)

    def applied(self, state: BlockState) -> BlockState:
        """``H |psi>``, bonds multiplied."""
        n, q = state.n_sites, state.charges
        shift: list[dict[int, int]] = [{self.first[0]: 0}] + [{} for _ in range(n)]
        for i, entries in enumerate(self.entries):
            for left, right, p_out, p_in, _ in entries:
                if left in shift[i]:
                    shift[i + 1][right] = shift[i][left] + int(q[i][p_out] - q[i][p_in])
        shift[n] = {self.last[n]: shift[n][self.last[n]]}
        bonds = [_joint(state.dims(i), shift[i]) for i in range(n + 1)]
        out: list[Blocks] = []
        for i, entries in enumerate(self.entries):
            (left_at, left_size), (right_at, right_size) = bonds[i], bonds[i + 1]
            blocks: Blocks = {}
            for left, right, p_out, p_in, value in entries:
                if left not in shift[i] or right not in shift[i + 1]:
                    continue
                for (c, p), block in state.tensors[i].items():
                    if p != p_in:
                        continue
                    bra = c + shift[i][left]
                    shape = (left_size[bra], right_size[bra + int(q[i][p_out])])
                    target = blocks.setdefault((bra, p_out), np.zeros(shape, block.dtype))
                    a, b = left_at[left, c], right_at[right, c + int(q[i][p_in])]
                    target[a : a + block.shape[0], b : b + block.shape[1]] += value * block
            out.append(blocks)
        return BlockState(list(q), out)


def _joint(dims: dict[int, int], shift: dict[int, int]) -> tuple[dict, dict]:
    """Where (operator index, charge) starts within its shifted charge, and that one's size."""
    at: dict[tuple[int, int], int] = {}
    size: dict[int, int] = {}
    for w, by in sorted(shift.items()):
        for c, n in sorted(dims.items()):
            at[w, c] = size.get(c + by, 0)
            size[c + by] = at[w, c] + n
    return at, size


def with_local(state: BlockState, site: int, op: np.ndarray) -> BlockState:
    """A local operator applied; `CREATE` and `ANNIHILATE` with their Jordan-Wigner string."""
    out, q = state.copy(), state.charges[site]
    fermionic = bool(op[0, 1] or op[1, 0])
    blocks: Blocks = {}
    for (c, p), block in state.tensors[site].items():
        sign = -1.0 if fermionic and (c % DOWN_UNIT + c // DOWN_UNIT) % 2 else 1.0
        for r in np.flatnonzero(op[:, p]):
            blocks[c, int(r)] = sign * op[r, p] * block
    out.tensors[site] = blocks
    if fermionic:  # every charge to the right counts one electron more, or less
        by = int(q[1]) if op[1, 0] else -int(q[1])
        for i in range(site + 1, state.n_sites):
            out.tensors[i] = {(c + by, p): block for (c, p), block in out.tensors[i].items()}
    return out


def added(states: Sequence[BlockState]) -> BlockState:
    """``sum_a |psi_a>``, bonds added."""
    n = states[0].n_sites
    return BlockState(list(states[0].charges), [_direct_sum(states, i) for i in range(n)])


def bundled(states: Sequence[BlockState], site: int, truncation: Truncation) -> BlockState:
    """``sum_a |a> |psi_a>`` with the label a on an additional site, right-canonical."""
    out = BlockState(list(states[0].charges), [])
    out.charges.insert(site, np.zeros(len(states), dtype=np.int64))
    for i in range(states[0].n_sites):
        if i == site:
            out.tensors.append(_label_blocks(states, site))
        out.tensors.append(_direct_sum(states, i))
    out.canonicalise(truncation)
    return out


def _offsets(states: Sequence[BlockState], bond: int) -> dict[int, list[tuple[int, int]]]:
    """Charge -> (start, stop) of each state's part of a joint bond."""
    parts = [state.dims(bond) for state in states]
    out = {}
    for c in sorted(set().union(*parts)):
        stops = np.cumsum([0] + [part.get(c, 0) for part in parts])
        out[c] = [(int(a), int(b)) for a, b in pairwise(stops)]
    return out


def _direct_sum(states: Sequence[BlockState], i: int) -> Blocks:
    """Block-diagonal tensors; the outer bonds, of one state, are shared."""
    last = states[0].n_sites
    left, right = _offsets(states, i), _offsets(states, i + 1)
    out: Blocks = {}
    dtype = np.result_type(*(next(iter(state.tensors[i].values())) for state in states))
    for a, state in enumerate(states):
        for (c, p), block in state.tensors[i].items():
            k = c + int(state.charges[i][p])
            rows = (0, 1) if i == 0 else left[c][a]
            columns = (0, 1) if i + 1 == last else right[k][a]
            shape = (1 if i == 0 else left[c][-1][1], 1 if i + 1 == last else right[k][-1][1])
            target = out.setdefault((c, p), np.zeros(shape, dtype))
            target[slice(*rows), slice(*columns)] += block
    return out


def _label_blocks(states: Sequence[BlockState], bond: int) -> Blocks:
    out = {}
    for c, parts in _offsets(states, bond).items():
        for a, (start, stop) in enumerate(parts):
            block = np.zeros((parts[-1][1],) * 2)
            block[range(start, stop), range(start, stop)] = 1.0
            out[c, a] = block
    return out


def overlaps(bra: BlockState, ket: BlockState, site: int, conjugate: bool = True) -> np.ndarray:
    """(m, m) ``<bra_a|ket_b>`` of bundled states; without conjugation by option.

    Parameters
    ----------
    site : int
        Of the label.
    """

    def turned(block):
        return block.conj() if conjugate else block

    left: dict = {c: np.ones((1, 1)) for c in bra.dims(0)}  # c -> (bra, ket)
    for i in range(site):
        left = _carried_right(left, bra, ket, i, turned)
    right: dict = {c: np.ones((1, 1)) for c in ket.dims(ket.n_sites)}
    for i in range(ket.n_sites - 1, site, -1):
        right = _carried_left(right, bra, ket, i, turned)
    m = ket.charges[site].size
    out = np.zeros((m, m), dtype=np.complex128)
    for c in left.keys() & right.keys():
        for a in range(m):
            for b in range(m):
                if (c, a) in bra.tensors[site] and (c, b) in ket.tensors[site]:
                    middle = left[c] @ ket.tensors[site][c, b] @ right[c].T
                    out[a, b] += np.sum(turned(bra.tensors[site][c, a]) * middle)
    return out


def _carried_right(left: dict, bra: BlockState, ket: BlockState, i: int, turned) -> dict:
    out: dict = {}
    for (c, p), block in ket.tensors[i].items():
        if c in left and (c, p) in bra.tensors[i]:
            k = c + int(ket.charges[i][p])
            term = turned(bra.tensors[i][c, p]).T @ (left[c] @ block)
            out[k] = out[k] + term if k in out else term
    return out


def _carried_left(right: dict, bra: BlockState, ket: BlockState, i: int, turned) -> dict:
    out: dict = {}
    for (c, p), block in ket.tensors[i].items():
        k = c + int(ket.charges[i][p])
        if k in right and (c, p) in bra.tensors[i]:
            term = turned(bra.tensors[i][c, p]) @ (right[k] @ block.T)
            out[c] = out[c] + term if c in out else term
    return out


def overlap(bra: BlockState, ket: BlockState) -> complex:
    """``<bra|ket>``."""
    left: dict = {c: np.ones((1, 1)) for c in bra.dims(0)}
    for i in range(ket.n_sites):
        left = _carried_right(left, bra, ket, i, np.conj)
    return complex(sum(np.sum(x) for x in left.values()))
