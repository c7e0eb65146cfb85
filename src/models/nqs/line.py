"""Determinants of an impurity as local states along a line, and the signs of the ground state.

Sites of chains stand in one line, orbital by orbital from the impurity outward, but for the first
orbital's chain, which runs inward: its impurity site and the second one's are neighbours.

Signs of chains. Let ``N_as`` be the electrons of spin s in chain a and ``Q_a = N_a,up + N_a,dn``.
With the sites of either spin chain by chain, a hop along a chain passes nobody, and a gauge makes
it negative. ``d+_a d_b`` of one spin, a < b, then has the sign ``prod_(a <= c < b) (-1)^N_cs``, so
that spin flip is ``-J prod_c (-1)^Q_c`` and pair hopping ``+J prod_c (-1)^Q_c``; both change Q by
even numbers alone. The signs

``prod_a (-1)^(N_a,up sum_(c < a) Q_c)``

remove the product: spin flip is negative for any number of orbitals, and only pair hopping, the one
term that changes Q, is left positive. It is turned by ``(-1)^D``,
``D = sum_a |Q_a - Q_a^0| / 4`` the pairs that have moved since the mean field's ``Q^0``.

* Two orbitals, or no pair hopping: no element off the diagonal is positive, and by Perron and
  Frobenius a ground state has amplitudes >= 0 (J of an `Interaction` is never negative).
* Three or more: pairs that move around a triangle are frustrated. ``(-1)^D`` serves every hop of a
  pair that changes D; those at equal D, from one chain where Q has changed to another, stay
  positive, small against the others by the weight of ``D > 0`` (docs/physics.md has figures).
  Energies are mean values of H with these signs, hence upper bounds whatever the true ones.

The levels of a star, one orbital, have numbers k from 1 in rising order, behind the impurity. No
order makes every element negative, since an electron that hops passes those on the levels between.
With N electrons of a spin the sign is still a product, ``prod_k [sgn(V_k) (-1)^min(k, N)]^(n_k)``.
At U = 0 these are signs of Cauchy determinants: orbitals are ``V_k / (E_i - e_k)``, and their
energies interlace with the levels, ``E_1 < e_1 < E_2 < e_2 ..``. At U > 0 they are not proved here,
but found by exact diagonalisation, for every amplitude, of small stars. Energies are upper bounds.

Everything else is refused.

A local state is ``n_up + 2 n_down``: 0 empty, 1 up, 2 down, 3 both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from dmftnet.errors import InvalidProblemError
from dmftnet.models.nqs.prior import levels, mean_field
from dmftnet.physics.fermions.connections import MAX_MODES
from dmftnet.physics.fermions.kanamori import DOWN, UP, KanamoriCluster, Sector

EMPTY, SINGLE_UP, SINGLE_DOWN, BOTH = range(4)

SYMMETRIC = 1e-10
"""Of the levels of a particle-hole symmetric cluster, in D."""


class Gate(NamedTuple):
    """What the first orbitals' chains hold together, by a law of conservation.

    ``(electrons on the first sites of the line - electrons) % step == 0``.
    """

    sites: int
    electrons: int
    step: int


@dataclass(frozen=True, eq=False)
class Line:
    """Order of the sites, and the signs of the ground state; use `Line.of`.

    Parameters
    ----------
    order : (n_sites,) int64
        Site of the cluster at each position.
    rank : (n_sites,) int64
        Place of each position's site chain by chain, each from the impurity outward.
    chain : (n_sites,) int64
        Orbital of each position.
    gauge : (2, n_sites) float64
        +1 or -1, of spin and position.
    electrons : (n_orb,) int64, optional
        Of each chain, both spins, before pairs move; None: none do.
    is_stoquastic : bool
        Whether with the signs no element of H off the diagonal is positive.
    is_star : bool
        Whether the bath is levels, each coupled to the impurity alone.
    """

    order: np.ndarray
    rank: np.ndarray
    chain: np.ndarray
    gauge: np.ndarray
    electrons: np.ndarray | None = None
    is_stoquastic: bool = True
    is_star: bool = False

    @classmethod
    def of(cls, cluster: KanamoriCluster, sites: Sequence[Sequence[int]], sector: Sector) -> Line:
        """The line of a cluster.

        Parameters
        ----------
        sites
            Bath sites of each orbital, from the impurity outward; levels of a star in rising order.
        sector : (n_up, n_dn)
            On which the signs depend.

        Raises
        ------
        InvalidProblemError
            If the signs of its ground state are not known.
        """
        h, n_orb = cluster.one_body, cluster.n_orb
        if 2 * cluster.n_sites > MAX_MODES:
            raise InvalidProblemError(
                f"neural states take at most {MAX_MODES // 2} sites, not {cluster.n_sites}; "
                "take fewer bath sites"
            )
        if np.iscomplexobj(h):
            raise InvalidProblemError("a neural state is real; give a real one-body matrix")
        chains = [[orbital, *own] for orbital, own in enumerate(sites)]
        rest = h - np.diag(np.diag(h))
        if n_orb == 1 and cluster.n_sites > 2 and not np.any(rest[1:, 1:]):
            return cls._of_star(h, sector)
        gauge = np.ones((2, cluster.n_sites))
        for chain in chains:
            for i, j in pairwise(chain):
                gauge[:, j] = gauge[:, i] * (-1.0 if h[i, j] > 0 else 1.0)
                rest[i, j] = rest[j, i] = 0.0
        if np.any(rest != 0):
            i, j = np.argwhere(rest != 0)[0]
            raise InvalidProblemError(
                f"sites {i} and {j} are coupled by {h[i, j]:g} but are no neighbours of a chain; "
                "a neural state takes orbitals that do not mix, each with its bath as a chain, "
                "or one with a star"
            )
        rank = np.argsort(np.concatenate(chains))
        of_site = np.repeat(np.arange(n_orb), [len(chain) for chain in chains])[rank]
        if n_orb > 1:
            chains[0].reverse()
        order = np.concatenate(chains).astype(np.int64)
        found = (order, rank[order], of_site[order], gauge[:, order])
        if not pairs_hop(cluster):
            return cls(*found)
        return cls(*found, chain_electrons(cluster, sector), n_orb == 2)

    @classmethod
    def _of_star(cls, h: np.ndarray, sector: Sector) -> Line:
        energies, n_sites = np.diag(h)[1:], len(h)
        if np.any(np.diff(energies) < 0):
            raise InvalidProblemError(
                f"levels {energies.tolist()} of a star do not rise; give them in rising order"
            )
        place = np.arange(1, n_sites)
        signs = [np.where(h[0, 1:] < 0, -1.0, 1.0) * (-1.0) ** place.clip(max=N) for N in sector]
        gauge = np.concatenate([np.ones((2, 1)), signs], axis=1)
        order = np.arange(n_sites)
        return cls(order, order, np.zeros_like(order), gauge, is_stoquastic=False, is_star=True)

    def without_pairs(self) -> Line:
        """The signs of hops and spin flip alone, with no word on pairs that have moved."""
        return replace(self, electrons=None, is_stoquastic=False)

    @property
    def n_sites(self) -> int:
        return self.order.size

    @property
    def n_chains(self) -> int:
        return int(self.chain.max()) + 1

    def states(self, codes: np.ndarray) -> np.ndarray:
        """(n, n_sites) int64 local states of (n,) int64 determinants of the cluster."""
        up = codes[:, None] >> self.order & 1
        return up + 2 * (codes[:, None] >> (self.order + self.n_sites) & 1)

    def codes(self, states: np.ndarray) -> np.ndarray:
        """Determinants of local states, the inverse of `states`."""
        up, down = (states & 1) << self.order, (states >> 1) << (self.order + self.n_sites)
        return (up | down).sum(axis=1)

    def electrons_in_chains(self, states: np.ndarray) -> np.ndarray:
        """(2, n, n_orb) int64 electrons of each spin in each chain."""
        member = (self.chain[:, None] == np.arange(self.n_chains)).astype(np.float32)
        spins = np.stack([states & 1, states >> 1]).astype(np.float32)
        return (spins @ member).astype(np.int64)

    def signs(self, states: np.ndarray) -> np.ndarray:
        """(n,) float64 signs of the ground state's amplitudes in the cluster's determinants.

        Meant for determinants that pass the gates of `Symmetry`; the amplitudes of others vanish.
        """
        site, place = self.order, self.rank
        turned = (site[:, None] < site) & (place[:, None] > place)
        odd = np.zeros(len(states), dtype=np.int64)
        for spin in (UP, DOWN):
            n = (states >> spin & 1).astype(np.float32)  # products of small integers: exact
            odd += ((n @ turned.astype(np.float32)) * n).sum(axis=1).astype(np.int64)
            odd += (n @ (self.gauge[spin] < 0)).astype(np.int64)
        electrons = self.electrons_in_chains(states)
        Q = electrons.sum(axis=0)
        odd += (electrons[UP] * (np.cumsum(Q, axis=1) - Q)).sum(axis=1)
        if self.electrons is not None:
            odd += np.abs(Q - self.electrons).sum(axis=1) // 4
        return 1.0 - 2.0 * (odd & 1)


@dataclass(frozen=True)
class Symmetry:
    """Symmetries under which a state is one number an orbit.

    Parameters
    ----------
    spin_flip : bool
        Up and down exchanged.
    pair_flip : bool
        Empty and doubly filled sites exchanged: particle-hole symmetry times spin flip.
    gates : tuple of Gate
        Of orbitals that do not mix pair hopping is all that moves electrons between chains: each
        keeps its parity, and its number without it.

    Notes
    -----
    The first acts on singly filled sites alone, the second on all others. Canonical is a
    determinant whose first singly filled site is up and whose first other site is doubly filled,
    which a prefix knows; every canonical prefix of the sector has a canonical completion in it.
    """

    spin_flip: bool = False
    pair_flip: bool = False
    gates: tuple[Gate, ...] = ()

    @classmethod
    def of(cls, cluster: KanamoriCluster, sector: Sector) -> Symmetry:
        """Those of the Hamiltonian that stay in the sector; gates are those of the mean field."""
        n_orb, gates = cluster.n_orb, ()
        onsite = np.diag(cluster.one_body).real.copy()
        onsite[:n_orb] -= cluster.interaction.half_filling(n_orb)
        half = sum(sector) == cluster.n_sites and bool(np.abs(onsite).max() < SYMMETRIC)
        if n_orb > 1:
            step = 2 if pairs_hop(cluster) else 2 * cluster.n_sites + 1
            sites = np.bincount(levels(cluster.one_body, UP)[1])
            filled = np.cumsum(chain_electrons(cluster, sector))
            pairs = zip(np.cumsum(sites)[:-1].tolist(), filled[:-1].tolist(), strict=True)
            gates = tuple(Gate(n, electrons, step) for n, electrons in pairs)
        return cls(sector[UP] == sector[DOWN], half, gates)

    def canonical(self, states: np.ndarray) -> np.ndarray:
        """(n, n_sites) canonical images."""
        out = states
        single = (states == SINGLE_UP) | (states == SINGLE_DOWN)
        if self.spin_flip:
            turn = single & (_first(states, single) == SINGLE_DOWN)[:, None]
            out = np.where(turn, 3 - out, out)
        if self.pair_flip:
            turn = ~single & (_first(states, ~single) == EMPTY)[:, None]
            out = np.where(turn, 3 - out, out)
        return out

    def passes(self, states: np.ndarray) -> np.ndarray:
        """(n,) whether the gates let states through."""
        filled = np.cumsum(np.bitwise_count(states), axis=1, dtype=np.int64)
        found = np.ones(len(states), dtype=bool)
        for sites, electrons, step in self.gates:
            found &= (filled[:, sites - 1] - electrons) % step == 0
        return found

    def images(self, states: np.ndarray) -> np.ndarray:
        """(k, n, n_sites) under every element of the group, so that each image comes as often."""
        single = (states == SINGLE_UP) | (states == SINGLE_DOWN)
        found = [states]
        for symmetric, where in ((self.spin_flip, single), (self.pair_flip, ~single)):
            if symmetric:
                found += [np.where(where, 3 - each, each) for each in found]
        return np.stack(found)

    def orbit(self, states: np.ndarray) -> np.ndarray:
        """(n,) number of images, itself included."""
        single = ((states == SINGLE_UP) | (states == SINGLE_DOWN)).sum(axis=1)
        size = np.ones(len(states))
        if self.spin_flip:
            size[single > 0] *= 2
        if self.pair_flip:
            size[single < states.shape[1]] *= 2
        return size


def pairs_hop(cluster: KanamoriCluster) -> bool:
    """Whether there is anything that moves electrons from orbital to orbital."""
    interaction = cluster.interaction
    return cluster.n_orb > 1 and interaction.pair_hopping and interaction.J > 0


def chain_electrons(cluster: KanamoriCluster, sector: Sector) -> np.ndarray:
    """(n_orb,) int64 electrons of both spins that the mean field has in each orbital's chain."""
    h, _ = mean_field(cluster, sector)
    filled = np.concatenate([levels(h, spin)[1][: sector[spin]] for spin in (UP, DOWN)])
    return np.bincount(filled, minlength=cluster.n_orb)


def _first(states: np.ndarray, where: np.ndarray) -> np.ndarray:
    """(n,) first state of a row where a mask holds, -1 where it nowhere does."""
    column = where.argmax(axis=1)
    found = np.take_along_axis(states, column[:, None], axis=1)[:, 0]
    return np.where(where.any(axis=1), found, -1)
