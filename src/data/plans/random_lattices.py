"""DMFT trajectories on lattices drawn at random, each with its own density of states.

Half of the densities are bands with a singularity of any kind at the Fermi level or elsewhere
(`singular_density`): powers ``|e|^r`` from r = -0.7 to 2, logarithms, steps, edges that rise or
fall as a root, gaps between bands. The others are those of random hoppings, on chains, planes and
cubes with one to three sites in a cell (`hopping_density`). Widths differ by a factor of three.

The lattice of a trajectory is a function of (seed, id) alone, as everything else of it
(`dmftnet.data.plans.sampling`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import product

import numpy as np

from dmftnet import checks
from dmftnet.data.plans.sampling import Trajectory, TrajectorySampler
from dmftnet.data.plans.trajectories import TrajectoryPlan
from dmftnet.physics.lattices.density_of_states import DensityOfStates
from dmftnet.physics.lattices.protocol import Lattice

STREAM = 11
"""Of random numbers, apart from those of other plans."""

N_POINTS = 1200
"""Of a singular density, half of them geometrically near its singularity."""

NEAREST = 1e-5
"""Of a point to a singularity, in half bandwidths: what a power below zero is cut at."""

N_K = {1: 20_000, 2: 400, 3: 60}
"""Points of the Brillouin zone in each direction."""

N_BINS = {1: 400, 2: 240, 3: 120}
"""Of the histogram of their energies."""

SYMMETRIC = 0.6
"""Share of symmetric lattices in trajectories that stay half filled on those."""

SPREAD = 0.6, 1.8
"""Half bandwidth, in D."""


class RandomLatticePlan(TrajectoryPlan):
    """`TrajectoryPlan` with a lattice of its own in each trajectory; the run's is not used.

    Parameters
    ----------
    sampler, n_trajectories, n_iterations, tolerance, resolution : see `TrajectoryPlan`
    doped_symmetric : float
        Share of symmetric lattices in trajectories that are not half filled.
    """

    def __init__(
        self,
        sampler: TrajectorySampler,
        n_trajectories: int,
        n_iterations: int = 6,
        tolerance: float = 1e-5,
        resolution: Sequence[float] | None = None,
        doped_symmetric: float = 0.0,
    ):
        super().__init__(sampler, n_trajectories, n_iterations, tolerance, resolution)
        self.doped_symmetric = checks.number(
            "sampling.doped_symmetric", doped_symmetric, at_least=0, at_most=1
        )

    def lattice_of(self, trajectory: Trajectory, lattice: Lattice) -> Lattice:
        """The lattice of a trajectory."""
        share = SYMMETRIC if trajectory.half_filled else self.doped_symmetric
        return random_lattice(trajectory.seed, trajectory.id, share)


@lru_cache(maxsize=4)
def random_lattice(seed: int, id: int, share: float) -> DensityOfStates:
    """Lattice number `id`, symmetric with probability `share`."""
    rng = np.random.default_rng([seed, id, STREAM])
    symmetric = share > 0 and rng.random() < share
    drawn = singular_density if rng.random() < 0.5 else hopping_density
    energies, values = drawn(rng, symmetric)
    if symmetric:  # to the last bit
        energies, values = 0.5 * (energies - energies[::-1]), 0.5 * (values + values[::-1])
    scale = np.exp(rng.uniform(*np.log(SPREAD)))
    return DensityOfStates(scale * energies, values, f"random {id}")


def singular_density(rng: np.random.Generator, symmetric: bool) -> tuple[np.ndarray, np.ndarray]:
    """Energies and values of a band over [-1, 1] with one singularity.

    Returns
    -------
    energies, values : (n_e,)
    """
    place = 0.0 if symmetric or rng.random() < 0.5 else rng.uniform(-0.7, 0.7)
    near = np.geomspace(NEAREST, 2.0, N_POINTS // 4)
    ends = 1 - np.geomspace(NEAREST, 1.0, N_POINTS // 8)  # edges may fall, or rise, as a root
    energies = np.concatenate(
        [place + near, place - near, ends, -ends, np.linspace(-1, 1, N_POINTS // 4)]
    )
    energies = np.unique(np.round(energies[np.abs(energies) <= 1], 9))
    distance = np.abs(energies - place)
    edge = rng.choice([-0.5, 0.0, 0.5, 1.0], p=[0.2, 0.2, 0.4, 0.2])  # of (1 - e^2)
    band = np.maximum(1 - energies**2, NEAREST) ** edge
    kind = rng.integers(4)
    if kind == 0:  # a power
        power = rng.uniform(-0.7, 2.0)
        band = band * np.maximum(distance, NEAREST) ** power
    elif kind == 1:  # a logarithm
        band = band * (0.1 + rng.uniform(0.2, 1.0) * -np.log(np.maximum(distance, NEAREST) / 2))
    elif kind == 2:  # a step to one side, or a plateau around
        height = rng.uniform(0.05, 4.0)
        side = distance < rng.uniform(0.1, 0.6) if symmetric else energies > place
        band = np.where(side, height * band, band)
    else:  # a gap, or what is left of one
        half, rest = rng.uniform(0.03, 0.4), rng.choice([0.0, 0.05])
        rise = np.sqrt(np.clip(1 - (half / np.maximum(distance, half)) ** 2, 0, 1))
        band = band * np.maximum(rise, rest)
    if not symmetric:
        band = band * (1 + rng.uniform(-0.8, 0.8) * energies)
    return energies, band


def hopping_density(rng: np.random.Generator, symmetric: bool) -> tuple[np.ndarray, np.ndarray]:
    """Energies and values, over [-1, 1], of the first site of a cell with random hoppings.

    A symmetric one is that of a bipartite lattice: only odd distances.

    Returns
    -------
    energies, values : (n_e,)
    """
    dim, n_sites = int(rng.integers(1, 4)), int(rng.choice([1, 2, 3], p=[0.6, 0.2, 0.2]))
    n_sites = 1 if symmetric else n_sites
    axis = 2 * np.pi * (np.arange(N_K[dim]) + 0.5) / N_K[dim]
    k = np.stack(np.meshgrid(*[axis] * dim, indexing="ij"), axis=-1).reshape(-1, dim)
    cells = [cell for cell in product(range(-2, 3), repeat=dim) if 0 < np.abs(cell).sum() <= 3]
    H = np.zeros((len(k), n_sites, n_sites), dtype=complex)
    for cell in cells:
        length = np.abs(cell).sum()
        if symmetric and length % 2 == 0:
            continue
        phase = np.exp(1j * k @ np.array(cell))[:, None, None]
        H += phase * rng.normal(scale=3.0 ** -(length - 1), size=(n_sites, n_sites))
    if n_sites > 1:
        H += rng.normal(size=(n_sites, n_sites))
    H = 0.5 * (H + H.conj().swapaxes(1, 2))
    levels, vectors = np.linalg.eigh(H)
    weights = np.abs(vectors[:, 0, :]) ** 2
    reach = np.abs(levels).max()
    edges = np.linspace(-1, 1, N_BINS[dim] + 1)
    counts, _ = np.histogram(levels / reach, edges, weights=weights)
    return 0.5 * (edges[1:] + edges[:-1]), counts
