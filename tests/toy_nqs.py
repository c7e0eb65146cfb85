"""Small impurity chains with and without symmetries, for neural states."""

from functools import partial
from itertools import product

import numpy as np

from dmftnet.models.nqs.position_nets import PositionNets
from dmftnet.models.nqs.rwkv import RWKV
from dmftnet.physics.bath.chains import ChainBath
from dmftnet.physics.bath.star import StarBath
from dmftnet.physics.impurity.interaction import Interaction
from dmftnet.physics.solvers.scol.impurity import DiscreteImpurity, ImpurityChains

HUND = Interaction(1.2, 0.2)
NO_PAIRS = Interaction(1.2, 0.2, pair_hopping=False)
ANSATZE = {
    "position nets": partial(PositionNets, width=3),
    "rwkv": partial(RWKV, layers=2, embedding=4, hidden=5, heads=2, patch=2),
    "rwkv of single sites": partial(RWKV, layers=1, embedding=4, hidden=3, patch=1),
    "rwkv of three": partial(RWKV, layers=1, embedding=2, hidden=2, patch=3),
}
"""Small ones."""


def chains(n_bath, interaction, n_orb=1, level=None, onsite=0.0, seed=3):
    """Chains with random hoppings of either sign; half filled unless a level is given."""
    rng = np.random.default_rng(seed)
    hoppings = rng.uniform(0.2, 0.6, (n_orb, n_bath)) * rng.choice([-1, 1], (n_orb, n_bath))
    baths = [ChainBath(onsite * rng.normal(size=n_bath), own) for own in hoppings]
    levels = np.full(n_orb, interaction.half_filling(n_orb) if level is None else level)
    return ImpurityChains.of_chains(levels, interaction, baths)


def star(n_bath, U, level, seed=5):
    """One orbital with random levels, not in order, and couplings."""
    rng = np.random.default_rng(seed)
    bath = StarBath(rng.uniform(-1, 1, n_bath), rng.uniform(0.1, 0.5, n_bath))
    assert np.any(np.diff(bath.energies) < 0)
    return ImpurityChains.of_stars(DiscreteImpurity(np.array([level]), Interaction(U), (bath,)))


def all_states(n_sites, sector):
    """Local states of a sector, by brute force."""
    every = np.array(list(product(range(4), repeat=n_sites)))
    found = ((every & 1).sum(axis=1) == sector[0]) & ((every >> 1).sum(axis=1) == sector[1])
    return every[found]


CASES = {
    "one orbital, symmetric": (chains(3, Interaction(2.0)), (2, 2)),
    "one orbital, magnetised": (chains(3, Interaction(2.0)), (3, 1)),
    "one orbital, doped": (chains(4, Interaction(2.0), level=-0.3, onsite=0.2), (2, 2)),
    "one orbital, unequal": (chains(4, Interaction(1.0), level=-0.3, onsite=0.2), (3, 1)),
    "star": (star(3, 2.0, -1.0), (2, 2)),
    "star, doped": (star(4, 3.0, -0.4), (3, 2)),
    "two orbitals": (chains(2, HUND, n_orb=2), (3, 3)),
    "two orbitals, doped": (chains(1, HUND, n_orb=2, level=-0.2, onsite=0.3), (2, 1)),
    "three orbitals": (chains(1, HUND, n_orb=3), (3, 3)),
    "three orbitals, doped": (chains(1, HUND, n_orb=3, level=-0.5, onsite=0.2), (3, 2)),
    "three orbitals, no pairs that hop": (chains(1, NO_PAIRS, n_orb=3), (3, 3)),
}


def sector_codes(cluster, sector):
    """Determinants of a sector, as `KanamoriCluster` has them."""
    up, down = cluster.strings(sector)
    return (up.codes[:, None] | down.codes[None, :] << cluster.n_sites).ravel()


def exact(cluster, sector):
    """Energies of a sector, and its ground state."""
    energies, vectors = np.linalg.eigh(cluster.hamiltonian(sector).toarray())
    return energies, vectors[:, 0]
