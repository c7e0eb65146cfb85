"""Which operator strings span the excited states.

Seeds are ``d+`` and ``q+ = [d, H_int]+`` of one orbital and spin; those of the removal side are the
adjoints of all strings. The set of an orbital holds

* the strings of both seeds;
* every bare ``c+_i`` of its chain, so that U = 0 is exact whatever else is in the set;
* of each segment, a piece of every orbital's chain, the strings of nested commutators with an
  auxiliary Hamiltonian, up to `depth` of them: the impurity with its interaction, the sites of the
  piece, and a hop between each orbital and the first of them (of the first piece the chain's own).
  Strings of more than `max_length` operators are dropped on the way;
* what is left of a string when modes that it fills and empties are taken out of it. Particle-hole
  exchange makes these of it, so that the set is its own mirror image.

Strings count once, and without their coefficients: any invertible combination of them spans the
same space. Reference: J. Rigo, M. Schmitt, arXiv 2512.08624.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from dmftnet.errors import SpaceTooLargeError
from dmftnet.physics.fermions.hamiltonian import kanamori, quadratic
from dmftnet.physics.fermions.operators import Operator, Term, bits, length, mode
from dmftnet.physics.impurity.interaction import Interaction


@dataclass(frozen=True)
class Reach:
    """How far a set of strings goes.

    Parameters
    ----------
    depth : int
        Nested commutators.
    n_segments : int
        Pieces that each chain is cut into.
    max_length : int
        Creators and annihilators of a string.
    max_strings : int
        More are refused.
    """

    depth: int
    n_segments: int
    max_length: int
    max_strings: int = 5000

    def check(self, found: Collection[Term]) -> None:
        """Raise if a set has grown beyond the limit.

        Raises
        ------
        SpaceTooLargeError
        """
        if len(found) > self.max_strings:
            raise SpaceTooLargeError(
                f"solver.depth = {self.depth} with solver.max_length = {self.max_length} makes "
                f"more strings than solver.max_strings = {self.max_strings:,}; take a smaller "
                "depth or max_length, or raise solver.max_strings"
            )


@dataclass(frozen=True, eq=False)
class StringSet:
    """Strings that add an electron, and the seeds in terms of them.

    Parameters
    ----------
    strings : tuple of Term
        Distinct; those of the seeds first.
    d, q : Operator
        ``d+`` and ``q+``, sums of these strings.
    """

    strings: tuple[Term, ...]
    d: Operator
    q: Operator

    def coefficients(self, operator: Operator) -> np.ndarray:
        """(n_strings,) of an operator that is a sum of the strings."""
        place = {term: i for i, term in enumerate(self.strings)}
        dtype = complex if any(isinstance(x, complex) for x in operator.terms.values()) else float
        found = np.zeros(len(self.strings), dtype=dtype)
        for term, x in operator.terms.items():
            found[place[term]] = x
        return found

    def adjoint(self) -> StringSet:
        """Of the removal side: every string, ``d`` and ``q``."""
        strings = tuple((A, C) for C, A in self.strings)
        return StringSet(strings, self.d.adjoint(), self.q.adjoint())


def string_set(
    one_body: np.ndarray,
    interaction: Interaction,
    chains: Sequence[Sequence[int]],
    orbital: int,
    spin: int,
    reach: Reach,
) -> StringSet:
    """The set of one orbital and spin.

    Parameters
    ----------
    one_body : (n_sites, n_sites) float64, in D
        The impurity's orbitals stand first.
    chains : one sequence of sites an orbital
        From the impurity outward.
    """
    n, n_orb = len(one_body), len(chains)
    H_int = kanamori(interaction, n_orb, n)
    d = Operator.of((mode(orbital, spin, n),))
    q = H_int.commutator(d)  # [d, H_int]+ = [H_int, d+]
    strings = dict.fromkeys([*d.terms, *q.terms])
    strings.update(dict.fromkeys((1 << mode(site, spin, n), 0) for site in chains[orbital]))
    for segment in _segments(chains, reach.n_segments):
        H = quadratic(_auxiliary(one_body, segment)) + H_int
        strings.update(dict.fromkeys(_nested(H, [*d.terms, *q.terms], reach)))
    for term in list(strings):
        strings.update(dict.fromkeys(_reduced(term)))
    reach.check(strings)
    return StringSet(tuple(strings), d, q)


def _segments(chains: Sequence[Sequence[int]], count: int) -> list[list[list[int]]]:
    """Pieces of equal length, each a piece of every chain; fewer where chains are shorter."""
    count = min(count, max(1, *(len(chain) for chain in chains)))
    cut = [[piece.tolist() for piece in np.array_split(chain, count)] for chain in chains]
    return [list(pieces) for pieces in zip(*cut, strict=True)]


def _auxiliary(one_body: np.ndarray, segment: Sequence[Sequence[int]]) -> np.ndarray:
    """Hops of the impurity and one piece of each chain; on-site terms make no new strings."""
    n_orb = len(segment)
    kept = np.array([*range(n_orb), *(site for piece in segment for site in piece)], dtype=int)
    h = np.zeros_like(one_body)
    h[np.ix_(kept, kept)] = one_body[np.ix_(kept, kept)]
    np.fill_diagonal(h, 0.0)
    for orbital, piece in enumerate(segment):
        if piece and h[orbital, piece[0]] == 0:
            h[orbital, piece[0]] = h[piece[0], orbital] = 1.0  # its size decides nothing
    return h


def _nested(H: Operator, seeds: Sequence[Term], reach: Reach) -> list[Term]:
    """Strings of up to `depth` nested commutators, level by level."""
    seen, level = dict.fromkeys(seeds), list(seeds)
    for _ in range(reach.depth):
        new: dict[Term, None] = {}
        for term in level:
            for found in H.commutator(Operator({term: 1.0})).terms:
                if found not in seen and length(found) <= reach.max_length:
                    new[found] = None
            reach.check(new)
        seen.update(new)
        level = list(new)
    return list(seen)


def _reduced(term: Term) -> Iterator[Term]:
    """A string without some of the modes that it both fills and empties."""
    paired = [*bits(term[0] & term[1])]
    for choice in range(1, 1 << len(paired)):
        gone = sum(bit for i, bit in enumerate(paired) if choice >> i & 1)
        yield term[0] & ~gone, term[1] & ~gone
