"""Strings: all ways to put n electrons of one spin on a few orbitals, and operators between them.

A string is an integer whose bit i says whether orbital i is filled; creators stand in rising order
of the orbital, ``c+_0 c+_1 ... |0>``, so that ``c_i`` passes the filled orbitals below i. All that
acts on one spin is then a sparse matrix between strings, made with arithmetic on bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import scipy.sparse as sp


@dataclass(frozen=True, eq=False)
class Strings:
    """All strings of `n` electrons on `n_sites` orbitals; use `Strings.of`, which keeps them.

    Parameters
    ----------
    n_sites, n : int
    codes : (n_strings,) int64
        Rising.
    """

    n_sites: int
    n: int
    codes: np.ndarray

    @staticmethod
    @lru_cache(maxsize=256)
    def of(n_sites: int, n: int) -> Strings:
        """The strings; 0 <= n <= n_sites <= 24."""
        codes = np.arange(2**n_sites, dtype=np.int64)
        codes = codes[np.bitwise_count(codes) == n]
        codes.setflags(write=False)
        return Strings(n_sites, n, codes)

    def __len__(self) -> int:
        return self.codes.size

    @cached_property
    def occupations(self) -> np.ndarray:
        """(n_strings, n_sites) float64, 0 or 1."""
        return ((self.codes[:, None] >> np.arange(self.n_sites)) & 1).astype(np.float64)

    def destroy(self, site: int) -> sp.csr_matrix:
        """(strings of n - 1, strings of n) matrix of ``c_site``."""
        return _destroy(self, site)

    def create(self, site: int) -> sp.csr_matrix:
        """(strings of n + 1, strings of n) matrix of ``c+_site``."""
        return _create(self, site)

    def hop(self, to: int, back: int) -> sp.csr_matrix:
        """(n_strings, n_strings) matrix of ``E_(to, back) = c+_to c_back``."""
        if to == back:
            return sp.diags(self.occupations[:, to]).tocsr()
        free = (self.codes >> back & 1 == 1) & (self.codes >> to & 1 == 0)
        columns = np.flatnonzero(free)
        low, high = min(to, back), max(to, back)
        between = self.codes[columns] & ((1 << high) - (1 << (low + 1)))
        rows = np.searchsorted(self.codes, self.codes[columns] ^ (1 << to) ^ (1 << back))
        return sp.csr_matrix((_parity(between), (rows, columns)), shape=(len(self),) * 2)

    @cached_property
    def _hops(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Elements of all ``c+_p c_q``, p < q: row, column, sign, p, q. No two share a place."""
        parts = []
        for p in range(self.n_sites):
            for q in range(p + 1, self.n_sites):
                hop = self.hop(p, q).tocoo()
                sites = (np.full(hop.nnz, site, dtype=np.int64) for site in (p, q))
                parts.append((hop.row, hop.col, hop.data, *sites))
        if not parts:
            none = np.empty(0, dtype=np.int64)
            return none, none, np.empty(0), none, none
        rows, columns, signs, p_all, q_all = map(np.concatenate, zip(*parts, strict=True))
        return rows, columns, signs, p_all, q_all

    def one_body(self, h: np.ndarray) -> sp.csr_matrix:
        """Matrix of ``sum_pq h_pq c+_p c_q`` of a Hermitian (n_sites, n_sites) h."""
        rows, columns, signs, p, q = self._hops
        values = h[p, q] * signs
        there = values != 0
        rows, columns, values = rows[there], columns[there], values[there]
        diagonal, every = self.occupations @ np.diag(h).real, np.arange(len(self))
        return sp.csr_matrix(
            (
                np.concatenate([diagonal, values, values.conj()]),
                (np.concatenate([every, rows, columns]), np.concatenate([every, columns, rows])),
            ),
            shape=(len(self),) * 2,
        )


@lru_cache(maxsize=512)
def _destroy(strings: Strings, site: int) -> sp.csr_matrix:
    fewer, codes = Strings.of(strings.n_sites, strings.n - 1), strings.codes
    columns = np.flatnonzero(codes >> site & 1)
    rows = np.searchsorted(fewer.codes, codes[columns] ^ (1 << site))
    signs = _parity(codes[columns] & ((1 << site) - 1))
    return sp.csr_matrix((signs, (rows, columns)), shape=(len(fewer), len(strings)))


@lru_cache(maxsize=512)
def _create(strings: Strings, site: int) -> sp.csr_matrix:
    return _destroy(Strings.of(strings.n_sites, strings.n + 1), site).T.tocsr()


def _parity(codes: np.ndarray) -> np.ndarray:
    """+1 or -1 for an even or odd number of bits."""
    return 1.0 - 2.0 * (np.bitwise_count(codes) & 1)
