"""Determinants of an impurity as local states along a line, and the signs of the ground state.

Sites of chains stand in one line: an orbital's chain from the impurity outward, and of two orbitals
the first chain inward, then the second outward, so that the two impurity sites are neighbours. Of
either spin no hop then passes an electron. With gauge signs that make every hop negative, and E_12
of the two impurity sites negative for spin up and positive for spin down, spin flip and pair
hopping, ``+J E_ab x (E_ba + E_ab)``, are negative too. All off-diagonal elements are then <= 0, and
by Perron and Frobenius a ground state of the sector has amplitudes >= 0.

This holds for real chains: of one orbital, of two with any `Interaction` (its J is never negative),
of more where it has densities alone.

The levels of a star, one orbital, have numbers k from 1 in rising order, behind the impurity. No
order makes every element negative, since an electron that hops passes those on the levels between.
With N electrons of a spin the sign is still a product, ``prod_k [sgn(V_k) (-1)^min(k, N)]^(n_k)``.
At U = 0 these are signs of Cauchy determinants: orbitals are ``V_k / (E_i - e_k)``, and their
energies interlace with the levels, ``E_1 < e_1 < E_2 < e_2 ..``. At U > 0 they are not proved here,
but found by exact diagonalisation, for every amplitude, of small stars. Energies are mean values of
H with these signs, hence upper bounds whatever the true ones.

Everything else is refused.

A local state is ``n_up + 2 n_down``: 0 empty, 1 up, 2 down, 3 both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from dmftnet.errors import InvalidProblemError
from dmftnet.models.nqs.prior import levels, mean_field
from dmftnet.physics.fermions.connections import MAX_MODES
from dmftnet.physics.fermions.kanamori import DOWN, UP, KanamoriCluster, Sector

EMPTY, SINGLE_UP, SINGLE_DOWN, BOTH = range(4)

SYMMETRIC = 1e-10
"""Of the levels of a particle-hole symmetric cluster, in D."""


@dataclass(frozen=True, eq=False)
class Line:
    """Order of the sites, and what makes the ground state positive; use `Line.of`.

    Parameters
    ----------
    order : (n_sites,) int64
        Site of the cluster at each position.
    gauge : (2, n_sites) float64
        +1 or -1, of spin and position.
    is_star : bool
        Whether every bath site is coupled to the impurity alone; the signs are then products of
        the gauge in the cluster's own order of sites, and elements of H have either sign.
    """

    order: np.ndarray
    gauge: np.ndarray
    is_star: bool = False

    @classmethod
    def of(cls, cluster: KanamoriCluster, sites: Sequence[Sequence[int]], sector: Sector) -> Line:
        """The line of a cluster.

        Parameters
        ----------
        sites
            Bath sites of each orbital, from the impurity outward; levels of a star in rising order.
        sector : (n_up, n_dn)
            On which the signs of a star depend.

        Raises
        ------
        InvalidProblemError
            If the signs of its ground state are not known.
        """
        h, n_orb, interaction = cluster.one_body, cluster.n_orb, cluster.interaction
        if 2 * cluster.n_sites > MAX_MODES:
            raise InvalidProblemError(
                f"neural states take at most {MAX_MODES // 2} sites, not {cluster.n_sites}; "
                "take fewer bath sites"
            )
        if n_orb > 2 and not interaction.is_density_density:
            raise InvalidProblemError(
                f"the ground state of {n_orb} orbitals with spin flip or pair hopping has signs "
                "that no order removes; take at most 2 orbitals, or densities alone"
            )
        if np.iscomplexobj(h):
            raise InvalidProblemError("a neural state is real; give a real one-body matrix")
        chains = [[orbital, *own] for orbital, own in enumerate(sites)]
        rest = h - np.diag(np.diag(h))
        if n_orb == 1 and cluster.n_sites > 2 and not np.any(rest[1:, 1:]):
            return cls._of_star(h, sector)
        gauge = np.ones((2, cluster.n_sites))
        for chain in chains:
            if chain[0] == 1:
                gauge[UP, 1] = -gauge[UP, 0]
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
        if n_orb == 2:
            chains[0].reverse()
        order = np.concatenate(chains).astype(np.int64)
        return cls(order, gauge[:, order])

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
        return cls(np.arange(n_sites), gauge, is_star=True)

    @property
    def n_sites(self) -> int:
        return self.order.size

    def states(self, codes: np.ndarray) -> np.ndarray:
        """(n, n_sites) int64 local states of (n,) int64 determinants of the cluster."""
        up = codes[:, None] >> self.order & 1
        return up + 2 * (codes[:, None] >> (self.order + self.n_sites) & 1)

    def codes(self, states: np.ndarray) -> np.ndarray:
        """Determinants of local states, the inverse of `states`."""
        up, down = (states & 1) << self.order, (states >> 1) << (self.order + self.n_sites)
        return (up | down).sum(axis=1)

    def signs(self, states: np.ndarray) -> np.ndarray:
        """(n,) float64 signs of a positive state's amplitudes in the cluster's determinants."""
        turned = np.triu(self.order[:, None] > self.order[None, :]).astype(np.int64)
        turned *= not self.is_star
        total = np.ones(len(states))
        for spin in (UP, DOWN):
            n = states >> spin & 1
            crossings = np.einsum("bi,ij,bj->b", n, turned, n)
            flipped = n @ (self.gauge[spin] < 0)
            total *= 1.0 - 2.0 * ((crossings + flipped) & 1)
        return total


@dataclass(frozen=True)
class Symmetry:
    """Symmetries under which a state is one number an orbit.

    Parameters
    ----------
    spin_flip : bool
        Up and down exchanged.
    pair_flip : bool
        Empty and doubly filled sites exchanged: particle-hole symmetry times spin flip.
    gate : (int, int), optional
        So many sites at the beginning of the line hold an even (0) or odd (1) number of electrons:
        of two orbitals that do not mix, pair hopping is all that moves electrons between them.

    Notes
    -----
    The first acts on singly filled sites alone, the second on all others. Canonical is a
    determinant whose first singly filled site is up and whose first other site is doubly filled,
    which a prefix knows; every canonical prefix of the sector has a canonical completion in it.
    """

    spin_flip: bool = False
    pair_flip: bool = False
    gate: tuple[int, int] | None = None

    @classmethod
    def of(cls, cluster: KanamoriCluster, sector: Sector) -> Symmetry:
        """Those of the Hamiltonian that stay in the sector; the parity is the mean field's."""
        n_orb = cluster.n_orb
        onsite = np.diag(cluster.one_body).real.copy()
        onsite[:n_orb] -= cluster.interaction.half_filling(n_orb)
        half = sum(sector) == cluster.n_sites and bool(np.abs(onsite).max() < SYMMETRIC)
        gate = None
        if n_orb == 2:
            h, _ = mean_field(cluster, sector)
            chains = [levels(h, spin)[1] for spin in (UP, DOWN)]
            electrons = sum(int((chains[s][: sector[s]] == 0).sum()) for s in (UP, DOWN))
            gate = (int((chains[UP] == 0).sum()), electrons % 2)
        return cls(sector[UP] == sector[DOWN], half, gate)

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


def _first(states: np.ndarray, where: np.ndarray) -> np.ndarray:
    """(n,) first state of a row where a mask holds, -1 where it nowhere does."""
    column = where.argmax(axis=1)
    found = np.take_along_axis(states, column[:, None], axis=1)[:, 0]
    return np.where(where.any(axis=1), found, -1)
