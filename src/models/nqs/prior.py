"""Born conditionals of a Slater determinant along a line: what a neural state starts from.

``P(n_i | n_0 .. n_(i-1))`` of the mean field's determinant, spin by spin, as a table over prefixes:
all strings of one spin are enumerated once. Cost: C(n_sites, n) determinants; a second at 20 sites.
"""

from __future__ import annotations

import numpy as np

from dmftnet.physics.fermions.kanamori import MEAN_FIELD_STEPS, KanamoriCluster, Sector
from dmftnet.physics.fermions.strings import Strings

FLOOR = 2e-2
"""Least probability: what a determinant excludes by symmetry, interactions bring back."""

CHUNK = 20_000
"""Determinants at a time."""


def mean_field_orbitals(cluster: KanamoriCluster, sector: Sector) -> np.ndarray:
    """(n_sites, n_sites) orbitals of the spin-symmetric Hartree mean field, lowest first.

    Of a particle-hole symmetric impurity those of U = 0.
    """
    n_orb, interaction = cluster.n_orb, cluster.interaction
    repulsion = interaction.opposite_spins(n_orb) + interaction.parallel_spins(n_orb)
    density = np.full(n_orb, 0.5)
    for _ in range(MEAN_FIELD_STEPS):
        h = cluster.one_body.copy()
        h[np.arange(n_orb), np.arange(n_orb)] += repulsion @ density
        orbitals = np.linalg.eigh(h)[1]
        filled = [(orbitals[:n_orb, :n] ** 2).sum(axis=1) for n in sector]
        density = 0.5 * (density + 0.5 * (filled[0] + filled[1]))
    return orbitals


def conditionals(orbitals: np.ndarray, n: int, floor: float = FLOOR) -> np.ndarray:
    """Table of a determinant's conditionals.

    Parameters
    ----------
    orbitals : (n_sites, n_sites) float64
        Columns, the first `n` filled; rows in the order of the line.
    floor : float
        Probabilities are kept between it and one less it; 1/2 after a prefix of none.

    Returns
    -------
    (2^n_sites,) float64
        ``P(n_i = 1 | prefix)`` at ``2^i + sum_(j < i) 2^j n_j``; the first entry is not used.
    """
    n_sites = len(orbitals)
    codes = Strings.of(n_sites, n).codes
    weight = np.zeros(2**n_sites)
    for start in range(0, codes.size, CHUNK):
        part = codes[start : start + CHUNK]
        rows = np.nonzero(part[:, None] >> np.arange(n_sites) & 1)[1].reshape(part.size, n)
        weight[part] = np.linalg.det(orbitals[rows, :n]) ** 2
    table = np.full(2**n_sites, 0.5)
    for i in range(n_sites):
        after = weight.reshape(-1, 2 ** (i + 1)).sum(axis=0)
        empty, filled = after[: 2**i], after[2**i :]
        both = empty + filled
        known = both > 1e-12
        share = np.where(known, filled / np.where(known, both, 1.0), 0.5)
        table[2**i : 2 ** (i + 1)] = share.clip(floor, 1 - floor)
    return table
