"""Algebra of operator strings: products, adjoints, commutators of any fermion operators.

A string is a pair of bit masks over the modes, ``(creators, annihilators)``, and stands for

``c+_i1 c+_i2 ... c+_ip  c_jq ... c_j2 c_j1``,   ``i1 < i2 < ...``, ``j1 < j2 < ...``

so that its adjoint is the pair exchanged, without a sign. An `Operator` is a sum of strings with
coefficients. Products are brought to normal order by Wick's theorem: every set of modes that the
left string empties and the right one fills is contracted, or not. Masks are Python integers, so
there is no limit on the number of modes.

Mode ``site`` is that of spin up, ``n_sites + site`` that of spin down: `mode`.

Cost: a microsecond or a few for two strings; a commutator touches only strings that share a mode.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

Term: TypeAlias = tuple[int, int]
"""A normal-ordered string: masks of the creators and of the annihilators."""

IDENTITY: Term = (0, 0)


def mode(site: int, spin: int, n_sites: int) -> int:
    """Bit of a site's mode; spin 0 is up, 1 down."""
    return site + spin * n_sites


def length(term: Term) -> int:
    """Number of creators and annihilators of a string."""
    return term[0].bit_count() + term[1].bit_count()


def bits(mask: int) -> Iterator[int]:
    """Set bits of a mask as masks of one bit, lowest first."""
    while mask:
        lowest = mask & -mask
        yield lowest
        mask ^= lowest


@dataclass(frozen=True)
class Operator:
    """A sum of normal-ordered strings.

    Parameters
    ----------
    terms : mapping of Term to float or complex
        Coefficients; strings that are not there have none. In D for a Hamiltonian.
    """

    terms: Mapping[Term, complex]

    @classmethod
    def of(cls, creators: Iterable[int] = (), annihilators: Iterable[int] = ()) -> Operator:
        """One string ``c+_i c+_j ... c_k c_l ...`` with its operators in the order given.

        Parameters
        ----------
        creators, annihilators : iterable of int
            Modes.
        """
        result = cls({IDENTITY: 1.0})
        for i in creators:
            result = result @ cls({(1 << i, 0): 1.0})
        for j in annihilators:
            result = result @ cls({(0, 1 << j): 1.0})
        return result

    def __add__(self, other: Operator) -> Operator:
        return Operator(_added(self.terms, other.terms, 1.0))

    def __sub__(self, other: Operator) -> Operator:
        return Operator(_added(self.terms, other.terms, -1.0))

    def __rmul__(self, factor: complex) -> Operator:
        return Operator({term: factor * x for term, x in self.terms.items() if factor * x != 0})

    def __matmul__(self, other: Operator) -> Operator:
        total: dict[Term, complex] = {}
        for left, x in self.terms.items():
            for right, y in other.terms.items():
                for term, sign in products(left, right):
                    total[term] = total.get(term, 0.0) + sign * x * y
        return Operator({term: x for term, x in total.items() if x != 0})

    def __len__(self) -> int:
        return len(self.terms)

    def adjoint(self) -> Operator:
        """The Hermitian adjoint."""
        return Operator(
            {(term[1], term[0]): complex(x).conjugate() if isinstance(x, complex) else x
             for term, x in self.terms.items()}
        )  # fmt: skip

    def commutator(self, other: Operator) -> Operator:
        """``[self, other]``; strings of `other` that share no mode with one of self cost nothing.

        Of two strings of which one is even, the products without any contraction cancel.
        """
        total: dict[Term, complex] = {}
        for right, y in other.terms.items():
            odd = length(right) & 1
            touched = self._touching(right[0] | right[1])
            if odd:  # two odd strings do not commute even where they share no mode
                touched = list(dict.fromkeys([*touched, *self._odd]))
            for left in touched:
                x = self.terms[left]
                contracted = not (odd and length(left) & 1)
                for term, sign in products(left, right, contracted):
                    total[term] = total.get(term, 0.0) + sign * x * y
                for term, sign in products(right, left, contracted):
                    total[term] = total.get(term, 0.0) - sign * x * y
        return Operator({term: x for term, x in total.items() if x != 0})

    @cached_property
    def _by_mode(self) -> dict[int, list[Term]]:
        """Strings by each of the modes that they act on."""
        found: dict[int, list[Term]] = {}
        for term in self.terms:
            for bit in bits(term[0] | term[1]):
                found.setdefault(bit, []).append(term)
        return found

    @cached_property
    def _odd(self) -> list[Term]:
        return [term for term in self.terms if length(term) & 1]

    def _touching(self, mask: int) -> list[Term]:
        """Strings that act on some mode of a mask, each once, in a fixed order."""
        return list(dict.fromkeys(t for bit in bits(mask) for t in self._by_mode.get(bit, ())))


def products(left: Term, right: Term, contracted: bool = False) -> Iterator[tuple[Term, int]]:
    """Normal-ordered strings of the product of two, each with its sign; none comes twice.

    Parameters
    ----------
    contracted : bool
        Leave out the string without a contraction.
    """
    for paired in _subsets(left[1] & right[0]):
        if contracted and not paired:
            continue
        A, C = left[1], right[0]
        parity = 0
        for bit in bits(paired):
            parity ^= ((A & (bit - 1)).bit_count() ^ (C & (bit - 1)).bit_count()) & 1
            A ^= bit
            C ^= bit
        if left[0] & C or A & right[1]:
            continue
        parity ^= A.bit_count() & C.bit_count() & 1
        parity ^= _crossings(left[0], C) ^ _crossings(right[1], A)
        yield (left[0] | C, A | right[1]), 1 - 2 * parity


def _crossings(high: int, low: int) -> int:
    """Parity of the pairs (i in high, j in low) with i > j."""
    count = 0
    for bit in bits(low):
        count += (high & ~(2 * bit - 1)).bit_count()
    return count & 1


def _subsets(mask: int) -> Iterator[int]:
    subset = mask
    while True:
        yield subset
        if not subset:
            return
        subset = (subset - 1) & mask


def _added(
    first: Mapping[Term, complex], second: Mapping[Term, complex], factor: float
) -> dict[Term, complex]:
    total = dict(first)
    for term, x in second.items():
        total[term] = total.get(term, 0.0) + factor * x
    return {term: x for term, x in total.items() if x != 0}
