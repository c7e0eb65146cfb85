"""What a neural state starts from: Gutzwiller's correlated determinant along a line.

The determinant is that of a mean field whose impurity couples to its bath by ``sqrt(q) V``; the
impurity's occupations then have weights of their own. q and the double occupancy d of an orbital
minimise ``E(sqrt(q) V) + U d`` in Gutzwiller's approximation,

``q = p_1 (sqrt(p_0) + sqrt(p_2))^2 / (n (1 - n))``, ``p_2 = d, p_1 = n - d, p_0 = 1 - 2 n + d``,

n the mean field's density of one spin. At U = 0 q is 1 and d is n^2: the exact ground state.

The determinant enters by its Born conditionals ``P(n_i | n_0 .. n_(i-1))``, spin by spin, as a
table over prefixes: all strings of one spin are enumerated once. Cost: C(n_sites, n) determinants;
a second at 20 sites.

References: M. Gutzwiller, PRL 10, 159 (1963); G. Kotliar, A. Ruckenstein, PRL 57, 1362 (1986).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq, minimize_scalar
from scipy.sparse.csgraph import connected_components

from dmftnet.physics.fermions.kanamori import DOWN, UP, KanamoriCluster, Sector
from dmftnet.physics.fermions.strings import Strings

FLOOR = 2e-2
"""Least probability: what a determinant excludes by symmetry, interactions bring back."""

SWEEPS = 20
"""Over the orbitals of the mean field."""

DEGENERATE = 9
"""Decimals of levels, in D, that are told apart."""

SMALLEST = 1e-6
"""Range of the double occupancy from which on it is varied."""

CHUNK = 20_000
"""Determinants at a time."""


@dataclass(frozen=True, eq=False)
class Correlated:
    """A correlated determinant; use `Correlated.of`.

    Parameters
    ----------
    orbitals : (up, down) of (n_sites, n_sites) float64
        Columns, lowest first.
    weights : (n_orb, 4) float64
        By which interactions change the probabilities of an orbital's occupations 0, up, down, 2.
    """

    orbitals: tuple[np.ndarray, ...]
    weights: np.ndarray

    @classmethod
    def of(cls, cluster: KanamoriCluster, sector: Sector) -> Correlated:
        """Of the spin-symmetric Hartree mean field."""
        h, density = mean_field(cluster, sector)
        weights = np.ones((cluster.n_orb, 4))
        if cluster.interaction.U > 0:
            for orbital, n in enumerate(density):
                q, weights[orbital] = _correlations(h, orbital, n, sector, cluster.interaction.U)
                h = _coupled(h, orbital, q)
        return cls(tuple(levels(h, spin)[0] for spin in (UP, DOWN)), weights)


@dataclass(frozen=True, eq=False)
class Prior:
    """What is known of each occupation before a network is asked; use `Prior.of`.

    Parameters
    ----------
    tables : (up, down) of (2^n_sites,) float64
        As of `conditionals`.
    local : (n_sites, 4) float64
        Further factors of the occupations of each position; 1 off the impurity.
    """

    tables: tuple[np.ndarray, np.ndarray]
    local: np.ndarray

    @classmethod
    def of(cls, cluster: KanamoriCluster, sector: Sector, order: np.ndarray) -> Prior:
        """Of sites in the order of a line."""
        found = Correlated.of(cluster, sector)
        up, down = (
            conditionals(orbitals[order], n)
            for orbitals, n in zip(found.orbitals, sector, strict=True)
        )
        local = np.ones((cluster.n_sites, 4))
        local[: cluster.n_orb] = found.weights.clip(FLOOR)
        return cls((up, down), local[order])


def levels(h: np.ndarray, spin: int) -> tuple[np.ndarray, np.ndarray]:
    """(n_sites, n_sites) orbitals, lowest first, none over two chains; (n_sites,) chain of each.

    Of degenerate ones those of the first chain, number 0, come first for spin up and last for spin
    down, so that two open levels hold one electron each, not two and none.
    """
    _, chain_of = connected_components(np.abs(h) > 0)
    energies, orbitals = np.empty(len(h)), np.zeros((len(h), len(h)))
    for chain in range(chain_of.max() + 1):
        own = np.flatnonzero(chain_of == chain)
        energies[own], orbitals[np.ix_(own, own)] = np.linalg.eigh(h[np.ix_(own, own)])
    order = np.lexsort((chain_of if spin == UP else -chain_of, energies.round(DEGENERATE)))
    return orbitals[:, order], chain_of[order]


def mean_field(cluster: KanamoriCluster, sector: Sector) -> tuple[np.ndarray, np.ndarray]:
    """(n_sites, n_sites) one-body matrix, in D, and (n_orb,) densities of one spin.

    An orbital's density falls with its level, so that each in turn has one root: iterations of all
    at once run away from it where a level close to zero decides.
    """
    n_orb, interaction = cluster.n_orb, cluster.interaction
    repulsion = interaction.opposite_spins(n_orb) + interaction.parallel_spins(n_orb)
    density = np.full(n_orb, 0.5)

    def one_body() -> np.ndarray:
        return cluster.one_body + np.diag(np.pad(repulsion @ density, (0, cluster.n_sites - n_orb)))

    def excess(n: float, orbital: int) -> float:
        density[orbital] = n
        filled = (levels(one_body(), s)[0][orbital, : sector[s]] for s in (UP, DOWN))
        return n - sum((amplitudes**2).sum() for amplitudes in filled) / 2

    for _ in range(SWEEPS if n_orb > 1 else 1):
        for orbital in range(n_orb):
            density[orbital] = brentq(excess, -1e-6, 1 + 1e-6, args=(orbital,), xtol=1e-10)
    return one_body(), density


def _coupled(h: np.ndarray, orbital: int, q: float) -> np.ndarray:
    """The hops of one orbital times ``sqrt(q)``."""
    scale = np.ones(len(h))
    scale[orbital] = np.sqrt(q)
    out = h * scale * scale[:, None]
    out[orbital, orbital] = h[orbital, orbital]
    return out


def _correlations(
    h: np.ndarray, orbital: int, n: float, sector: Sector, U: float
) -> tuple[float, np.ndarray]:
    """q of one orbital, and (4,) factors of its occupations."""
    least = max(0.0, 2 * n - 1)
    if n * n - least < SMALLEST:  # empty or full: nothing to correlate
        return 1.0, np.ones(4)

    def probabilities(d: float) -> np.ndarray:
        return np.array([1 - 2 * n + d, n - d, n - d, d])

    def renormalisation(d: float) -> float:
        empty, single, _, double = probabilities(d)
        return float(single * (np.sqrt(empty) + np.sqrt(double)) ** 2 / (n * (1 - n)))

    def energy(d: float) -> float:
        levels = np.linalg.eigvalsh(_coupled(h, orbital, renormalisation(d)))
        return float(sum(levels[:electrons].sum() for electrons in sector) + U * d)

    found = minimize_scalar(energy, bounds=(least, n * n), method="bounded")
    return renormalisation(found.x), probabilities(found.x) / probabilities(n * n)


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
