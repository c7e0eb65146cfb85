"""Matrix elements of an operator, determinant by determinant, where no sector is enumerated.

A determinant is an integer whose bit m says whether mode m is filled, creators in rising order of
the mode as in `dmftnet.physics.fermions.action`. The sign that a string picks up is
``(-1)^(filled modes under a mask)`` times one constant of the string, so that all determinants and
all strings are done in a few operations on arrays of integers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dmftnet.errors import InvalidProblemError
from dmftnet.physics.fermions.operators import Operator, bits

MAX_MODES = 62
"""Bits of a signed integer that may be filled."""


@dataclass(frozen=True, eq=False)
class Connections:
    """A real operator on determinants; use `Connections.of`.

    Parameters
    ----------
    filled : (n_diagonal,) int64
        Modes of each product of densities.
    weights : (n_diagonal,) float64
    creators, annihilators, passed : (n_terms,) int64
        Masks of the other strings; filled modes of `passed` give their sign.
    values : (n_terms,) float64
    """

    filled: np.ndarray
    weights: np.ndarray
    creators: np.ndarray
    annihilators: np.ndarray
    passed: np.ndarray
    values: np.ndarray

    @classmethod
    def of(cls, operator: Operator) -> Connections:
        """The strings of an operator, sorted.

        Raises
        ------
        InvalidProblemError
            If a coefficient is complex, or a mode lies beyond 61.
        """
        diagonal: list[tuple[int, float]] = []
        others: list[tuple[int, int, int, float]] = []
        for (C, A), x in operator.terms.items():
            if isinstance(x, complex):
                raise InvalidProblemError(
                    f"a string of the operator has the coefficient {x}; give a real operator"
                )
            if (C | A).bit_length() > MAX_MODES:
                raise InvalidProblemError(
                    f"an operator acts on mode {(C | A).bit_length() - 1}, beyond the "
                    f"{MAX_MODES} that one integer holds; take fewer sites"
                )
            if C == A:
                diagonal.append((C, float(x)))
                continue
            mask = parity = 0
            for k, bit in enumerate(bits(A)):  # the k lower ones are gone
                mask ^= bit - 1
                parity ^= k & 1
            for bit in bits(C):
                mask ^= bit - 1
                parity ^= (A & (bit - 1)).bit_count() & 1
            others.append((C, A, mask, float(x) * (1 - 2 * parity)))
        creators, annihilators, passed = (
            np.array([row[k] for row in others], dtype=np.int64) for k in range(3)
        )
        return cls(
            np.array([mask for mask, _ in diagonal], dtype=np.int64),
            np.array([x for _, x in diagonal], dtype=np.float64),
            creators,
            annihilators,
            passed,
            np.array([row[3] for row in others], dtype=np.float64),
        )

    def diagonal(self, codes: np.ndarray) -> np.ndarray:
        """(n,) ``<s|O|s>`` of (n,) int64 determinants."""
        return ((codes[:, None] & self.filled) == self.filled) @ self.weights

    def connected(self, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Where the operator leads from each determinant.

        Parameters
        ----------
        codes : (n,) int64

        Returns
        -------
        rows : (n_found,) int64
            Place of the determinant s in `codes`.
        found : (n_found,) int64
            Determinants ``s' != s``; one that several strings lead to comes several times.
        elements : (n_found,) float64
            ``<s'|O|s>``.
        """
        rows, _, found, elements = self.moves(codes)
        return rows, found, elements

    def moves(self, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """As `connected`, string by string: rows, strings (n_found,) int64, found, elements.

        Strings count those that change the determinant, in the order of the operator.
        """
        left = codes[:, None] ^ self.annihilators
        there = (codes[:, None] & self.annihilators) == self.annihilators
        rows, terms = np.nonzero(there & ((left & self.creators) == 0))
        found = left[rows, terms] | self.creators[terms]
        odd = np.bitwise_count(codes[rows] & self.passed[terms]) & 1
        return rows, terms, found, self.values[terms] * (1.0 - 2.0 * odd)
