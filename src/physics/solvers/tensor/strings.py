"""Matrix elements between images of one state under products of local operators.

``S_ij = <O_i psi|O_j psi>`` and ``H_ij = <O_i psi|H|O_j psi>`` of strings of ladder operators. A
string is one local matrix a site, Jordan-Wigner signs included, so that an image has the bonds of
the state. What a bond's environment holds depends on the part of either string that lies to its
left (or right) alone: environments are made once for each pair of distinct parts, from both ends
to the bond where that is cheapest, and every pair of strings is one inner product there.

Cost: pairs of distinct parts, not of strings, times the cube of the bond dimension.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np

from dmftnet import checks
from dmftnet.physics.solvers.tensor.algebra import ANNIHILATE, CREATE, BlockOperator
from dmftnet.physics.solvers.tensor.blocks import BlockState
from dmftnet.physics.solvers.tensor.local import Environment

PARITY = np.diag([1.0, -1.0])

Ladder = tuple[int, bool]
"""A site, and whether an electron is created there."""

Pair = tuple[int, int]
"""Parts of the bra's and of the ket's string."""


def string_matrices(
    state: BlockState,
    operator: BlockOperator,
    strings: Sequence[Sequence[Ladder]],
    max_memory: float = checks.MAX_MEMORY,
) -> tuple[np.ndarray, np.ndarray]:
    """Overlaps and matrix elements of strings on a state.

    Parameters
    ----------
    state : BlockState
        Real.
    operator : BlockOperator
        Real and symmetric.
    strings
        Of each its ladder operators, the one that acts first in front. All change the charges of
        the state alike.
    max_memory : float, in GiB
        Of the environments at the bond where they meet.

    Returns
    -------
    S, H : (n, n) float64

    Raises
    ------
    SpaceTooLargeError
    """
    factors = [_factors(string, state.n_sites) for string in strings]
    ahead = _parts(factors)
    behind = _parts([row[::-1] for row in factors])
    bond = _meeting_bond(state, ahead, behind)
    n_pairs = len(_pairs(ahead[bond])) + len(_pairs(behind[state.n_sites - bond]))
    entries = sum(n * n for n in state.dims(bond).values()) * len(operator.entries[bond])
    checks.memory(
        f"solver.depth: {n_pairs:,} environments of {len(strings)} strings",
        8.0 * n_pairs * entries,
        max_memory,
        "solver.max_memory",
        "take a smaller depth or max_length, or a smaller bond dimension",
    )
    left = _Walk(state, operator, ahead, side=0).to(bond)
    right = _Walk(state, operator, behind, side=1).to(bond)
    S, H = np.zeros((2, len(strings), len(strings)))
    ends = operator.first[bond], operator.last[bond]
    a, b = ahead[bond].number, behind[state.n_sites - bond].number
    for i, j in combinations_with_replacement(range(len(strings)), 2):
        mine, other = left[a[i], a[j]], right[b[i], b[j]]
        S[i, j] = S[j, i] = _inner(mine.get(ends[0], {}), other.get(ends[1], {}))
        H[i, j] = H[j, i] = sum(_inner(mine[w], other[w]) for w in mine.keys() & other.keys())
    return S, H


def _inner(left: dict, right: dict) -> float:
    return sum(float(np.vdot(left[k], right[k])) for k in left.keys() & right.keys())


def _factors(string: Iterable[Ladder], n_sites: int) -> list[np.ndarray]:
    """The string as one (2, 2) matrix a site."""
    out = [np.eye(2)] * n_sites
    for site, creates in string:
        out[site] = (CREATE if creates else ANNIHILATE) @ out[site]
        out[:site] = [PARITY @ matrix for matrix in out[:site]]
    return out


@dataclass(frozen=True, eq=False)
class _Parts:
    """The distinct beginnings of all strings up to a bond.

    Parameters
    ----------
    number : list of int
        Which one each string has.
    last : list of (parent, matrix)
        Of each the beginning that is one site shorter, and what follows there.
    """

    number: list[int]
    last: list[tuple[int, np.ndarray]]


def _parts(factors: Sequence[Sequence[np.ndarray]]) -> list[_Parts]:
    """At every bond, 0 .. n_sites."""
    found = [_Parts([0] * len(factors), [])]
    for site in range(len(factors[0])):
        known: dict[tuple[int, bytes], int] = {}
        last: list[tuple[int, np.ndarray]] = []
        number = []
        for row, parent in zip(factors, found[-1].number, strict=True):
            matrix = row[site] + 0.0  # no negative zeros
            key = parent, matrix.tobytes()
            if key not in known:
                known[key] = len(last)
                last.append((parent, matrix))
            number.append(known[key])
        found.append(_Parts(number, last))
    return found


def _pairs(parts: _Parts) -> set[Pair]:
    """Those of two strings, the first of them not behind the second."""
    return set(combinations_with_replacement(parts.number, 2))


def _meeting_bond(state: BlockState, ahead: list[_Parts], behind: list[_Parts]) -> int:
    """Where environments from both ends cost least: pairs times the cube of the bond dimension."""
    n = state.n_sites
    cube = [float(sum(d**3 for d in state.dims(bond).values())) for bond in range(n + 1)]
    left = np.cumsum([len(_pairs(ahead[bond])) * cube[bond] for bond in range(n + 1)])
    right = np.cumsum([len(_pairs(behind[n - bond])) * cube[bond] for bond in range(n, -1, -1)])
    return 1 + int(np.argmin((left + right[::-1])[1:n]))


class _Walk:
    """Environments from one end: side 0 from the left, 1 from the right."""

    def __init__(self, state: BlockState, operator: BlockOperator, parts: list[_Parts], side: int):
        self.state, self.operator, self.parts, self.side = state, operator, parts, side

    def to(self, bond: int) -> dict[Pair, Environment]:
        """Of every pair of parts at a bond; blocks by the charges (bra, ket) of the state."""
        n = self.state.n_sites
        steps = n - bond if self.side else bond
        w = self.operator.last[n] if self.side else self.operator.first[0]
        ones = {(c, c): np.ones((1, 1)) for c in self.state.dims(n if self.side else 0)}
        found: dict[Pair, Environment] = {(0, 0): {w: ones}}
        for step in range(steps):
            found = self._step(found, n - 1 - step if self.side else step, self.parts[step + 1])
        return found

    def _step(self, found: dict[Pair, Environment], site: int, parts: _Parts):
        children: dict[Pair, list[Pair]] = {}
        for pair in sorted(_pairs(parts)):
            parents = parts.last[pair[0]][0], parts.last[pair[1]][0]
            children.setdefault(parents, []).append(pair)
        out: dict[Pair, Environment] = {}
        for parents, pairs in children.items():
            carried = self._carried(found[parents], site)
            for bra, ket in pairs:
                matrices = parts.last[bra][1], parts.last[ket][1]
                out[bra, ket] = self._summed(carried, site, *matrices)
        return out

    def _carried(self, environment: Environment, site: int) -> dict:
        """w -> list of (p_bra, p_ket, charges behind the site, block) with the site's tensors."""
        tensor, q = self.state.tensors[site], self.state.charges[site].tolist()
        step = {(c, p): (c, c + q[p]) for c, p in tensor}  # bonds left and right of it
        at: dict[int, list[tuple[int, int]]] = {}  # by the bond that the environment ends on
        for key, bonds in step.items():
            at.setdefault(bonds[self.side], []).append(key)
        out: dict[int, list] = {}
        for w, blocks in environment.items():
            rows = out.setdefault(w, [])
            for (bra, ket), E in blocks.items():
                for ket_key in at.get(ket, ()):
                    B = tensor[ket_key]
                    half = E @ B.T if self.side else E @ B
                    for bra_key in at.get(bra, ()):
                        A = tensor[bra_key]
                        charges = step[bra_key][1 - self.side], step[ket_key][1 - self.side]
                        block = A @ half if self.side else A.T @ half
                        rows.append((bra_key[1], ket_key[1], charges, block))
        return out

    def _summed(self, carried: dict, site: int, bra: np.ndarray, ket: np.ndarray) -> Environment:
        """The operator's entries between the two strings' matrices of the site."""
        weights: dict[tuple[int, int], np.ndarray] = {}
        for left, right, p_out, p_in, value in self.operator.entries[site]:
            ends = (right, left) if self.side else (left, right)
            term = value * np.outer(bra[p_out], ket[p_in])
            weights[ends] = weights[ends] + term if ends in weights else term
        out: Environment = {}
        for (before, after), weight in weights.items():
            if before not in carried or not weight.any():
                continue
            target = out.setdefault(after, {})
            for p_bra, p_ket, charges, block in carried[before]:
                x = weight[p_bra, p_ket]
                if x:
                    term = x * block
                    target[charges] = target[charges] + term if charges in target else term
        return out
