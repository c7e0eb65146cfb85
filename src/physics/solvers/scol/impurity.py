"""A discrete impurity, and the one-particle basis in which strings act on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.linalg import block_diag

from dmftnet.physics.bath.chains import ChainBath, star_to_chain
from dmftnet.physics.bath.protocol import DiscreteBath
from dmftnet.physics.bath.star import StarBath
from dmftnet.physics.fermions.kanamori import KanamoriCluster
from dmftnet.physics.impurity.interaction import Interaction
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.solvers.scol.sets import Reach, StringSet, string_set


@dataclass(frozen=True, eq=False)
class DiscreteImpurity:
    """Orbitals that do not mix, with bath levels.

    Parameters
    ----------
    levels : (n_orb,) float64, in D
    interaction : Interaction
    stars : tuple of StarBath
        One an orbital.
    is_symmetric : bool
        Whether it is half filled by particle-hole symmetry.
    """

    levels: np.ndarray
    interaction: Interaction
    stars: tuple[StarBath, ...]
    is_symmetric: bool = False

    @classmethod
    def of(cls, problem: ImpurityProblem, bath: DiscreteBath) -> DiscreteImpurity:
        """A problem with its discretised hybridization."""
        stars = tuple(bath.star(orbital) for orbital in range(problem.n_orb))
        symmetric = problem.is_particle_hole_symmetric() and all(s.is_symmetric for s in stars)
        return cls(problem.eps_d, problem.interaction, stars, symmetric)


@dataclass(frozen=True, eq=False)
class ImpurityChains:
    """The Hamiltonian in a basis where each orbital's bath has an order: chains or stars.

    Parameters
    ----------
    cluster : KanamoriCluster
        The impurity's orbitals stand first.
    sites : tuple of tuple of int
        Bath sites of each orbital, from the impurity outward; levels of a star as they rise.
    """

    cluster: KanamoriCluster
    sites: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, impurity: DiscreteImpurity) -> ImpurityChains:
        """Every orbital's levels as a chain."""
        chains = [star_to_chain(star) for star in impurity.stars]
        return cls.of_chains(impurity.levels, impurity.interaction, chains)

    @classmethod
    def of_stars(cls, impurity: DiscreteImpurity) -> ImpurityChains:
        """Every orbital's levels as they are, in rising order."""
        blocks = []
        for star, level in zip(impurity.stars, impurity.levels, strict=True):
            rising = np.concatenate([[0], 1 + np.argsort(star.energies, kind="stable")])
            blocks.append(star.one_body(float(level))[np.ix_(rising, rising)])
        return cls.of_blocks(blocks, impurity.interaction)

    @classmethod
    def of_chains(
        cls, levels: np.ndarray, interaction: Interaction, chains: Sequence[ChainBath]
    ) -> ImpurityChains:
        """Chains one after the other behind the impurity."""
        blocks = [chain.one_body(float(level)) for chain, level in zip(chains, levels, strict=True)]
        return cls.of_blocks(blocks, interaction)

    @classmethod
    def of_blocks(cls, blocks: Sequence[np.ndarray], interaction: Interaction) -> ImpurityChains:
        """Orbitals one after the other, then the bath of each.

        Parameters
        ----------
        blocks : sequence of (n_bath + 1, n_bath + 1) float64, in D
            One-body matrix of each orbital, which stands first, and its bath, the nearest first.
        """
        n_orb = len(blocks)
        starts = np.cumsum([0, *(len(block) for block in blocks)])[:-1]
        behind = [
            start + np.arange(1, len(block)) for start, block in zip(starts, blocks, strict=True)
        ]
        order = np.concatenate([starts, *behind])
        one_body = block_diag(*blocks)[np.ix_(order, order)]
        ends = n_orb + np.cumsum([0, *(sites.size for sites in behind)])
        sites = tuple(tuple(range(a, b)) for a, b in pairwise(ends.tolist()))
        return cls(KanamoriCluster(one_body, interaction, n_orb), sites)

    def string_set(self, orbital: int, spin: int, reach: Reach) -> StringSet:
        """See `dmftnet.physics.solvers.scol.sets.string_set`."""
        cluster = self.cluster
        return string_set(cluster.one_body, cluster.interaction, self.sites, orbital, spin, reach)

    def equal_orbital(self, orbital: int) -> int | None:
        """An earlier orbital with the same level and bath."""
        h = self.cluster.one_body
        own = (orbital, *self.sites[orbital])
        for other in range(orbital):
            theirs = (other, *self.sites[other])
            if len(own) == len(theirs) and np.allclose(
                h[np.ix_(own, own)], h[np.ix_(theirs, theirs)], rtol=0, atol=1e-12
            ):
                return other
        return None
