"""Operator strings on state vectors of a sector of (n_up, n_dn) electrons.

Vectors are indexed as in `KanamoriCluster`, ``up * n_down_strings + down``, of determinants
``c+_u1 c+_u2 ... c+_d1 c+_d2 ... |0>``. A string acts on the two spins one after the other, each
time as a signed partial permutation of the strings of one spin; one image costs a pass over the
vector.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from dmftnet.errors import InvalidProblemError
from dmftnet.physics.fermions.kanamori import Sector
from dmftnet.physics.fermions.operators import Operator, Term, bits
from dmftnet.physics.fermions.strings import Strings


def target_sector(term: Term, sector: Sector, n_sites: int) -> Sector:
    """Electrons of either spin after a string; may be out of range, where the image is zero."""
    low = (1 << n_sites) - 1
    (C_up, C_down), (A_up, A_down) = ((mask & low, mask >> n_sites) for mask in term)
    up, down = C_up.bit_count() - A_up.bit_count(), C_down.bit_count() - A_down.bit_count()
    return sector[0] + up, sector[1] + down


def image(term: Term, sector: Sector, n_sites: int, vectors: np.ndarray) -> np.ndarray:
    """A string on vectors.

    Parameters
    ----------
    vectors : (n, k)
        In `sector`.

    Returns
    -------
    (n_target, k)
        In `target_sector`, which must exist.
    """
    low = (1 << n_sites) - 1
    (C_up, C_down), (A_up, A_down) = ((mask & low, mask >> n_sites) for mask in term)
    up, down = (Strings.of(n_sites, n) for n in sector)
    to_up, from_up, sign_up = _moves(up, C_up, A_up)
    to_down, from_down, sign_down = _moves(down, C_down, A_down)
    new = tuple(len(Strings.of(n_sites, n)) for n in target_sector(term, sector, n_sites))
    psi = vectors.reshape(len(up), len(down), -1)
    out = np.zeros((*new, vectors.shape[1]), dtype=vectors.dtype)
    odd = (C_down.bit_count() + A_down.bit_count()) & 1
    flip = -1.0 if odd and (A_up.bit_count() + sector[0]) & 1 else 1.0
    moved = psi[np.ix_(from_up, from_down)]
    moved *= (flip * sign_up)[:, None, None]
    moved *= sign_down[None, :, None]
    out[np.ix_(to_up, to_down)] = moved
    return out.reshape(-1, vectors.shape[1])


def operator_image(
    operator: Operator, sector: Sector, n_sites: int, vectors: np.ndarray
) -> np.ndarray:
    """Any operator that leads from one sector to one other; see `image`.

    Raises
    ------
    InvalidProblemError
        If it leads to several sectors.
    """
    targets = {target_sector(term, sector, n_sites) for term in operator.terms} or {sector}
    if len(targets) > 1:
        raise InvalidProblemError(
            f"an operator leads from {sector} electrons to {sorted(targets)}; give one whose "
            "strings all add the same number of electrons of each spin"
        )
    target = targets.pop()
    size = len(Strings.of(n_sites, target[0])) * len(Strings.of(n_sites, target[1]))
    is_complex = any(isinstance(x, complex) for x in operator.terms.values())
    total = np.zeros((size, vectors.shape[1]), np.result_type(vectors, 1j if is_complex else 1.0))
    for term, x in operator.terms.items():
        total += x * image(term, sector, n_sites, vectors)
    return total


def expectation(
    operator: Operator, sector: Sector, n_sites: int, vectors: np.ndarray
) -> np.ndarray:
    """(k,) ``<psi|O|psi>`` of the columns of (n, k) vectors in one sector."""
    total = np.zeros(vectors.shape[1], dtype=np.complex128)
    for term, x in operator.terms.items():
        if target_sector(term, sector, n_sites) == sector:
            total += x * np.einsum(
                "ik,ik->k", vectors.conj(), image(term, sector, n_sites, vectors)
            )
    return total


@lru_cache(maxsize=4096)
def _moves(strings: Strings, C: int, A: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where ``c+..c+ c..c`` of one spin leads: rows, columns and signs of its matrix."""
    codes = strings.codes
    columns = np.flatnonzero(((codes & A) == A) & ((codes & C & ~A) == 0))
    found = codes[columns]
    passed = np.zeros(columns.size, dtype=np.int64)
    for bit in bits(A):  # the lowest acts first
        passed += np.bitwise_count(found & (bit - 1))
        found = found ^ bit
    for bit in reversed(list(bits(C))):
        passed += np.bitwise_count(found & (bit - 1))
        found = found | bit
    n_target = strings.n + C.bit_count() - A.bit_count()
    target = Strings.of(strings.n_sites, n_target) if 0 <= n_target <= strings.n_sites else None
    rows = columns if target is None else np.searchsorted(target.codes, found)
    for array in (rows, columns):
        array.setflags(write=False)
    return rows, columns, 1.0 - 2.0 * (passed & 1)
