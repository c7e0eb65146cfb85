"""Random lattices: functions of seed and id, of norm one, symmetric where they must be."""

import numpy as np
import pytest
from toy_dataset import make_file
from toy_solver import ToySolver

from dmftnet.data.plans.random_lattices import (
    SPREAD,
    RandomLatticePlan,
    hopping_density,
    random_lattice,
    singular_density,
)
from dmftnet.data.plans.sampling import TrajectorySampler
from dmftnet.data.store import SpectralStore
from dmftnet.physics.grids.real_axis import FrequencyGrid


@pytest.mark.parametrize("share", [0.6, 0.0])
def test_a_lattice_follows_from_seed_and_id(share):
    for id in range(6):
        lattice = random_lattice(3, id, share)
        random_lattice.cache_clear()
        again = random_lattice(3, id, share)
        assert np.array_equal(lattice.values, again.values)
        # a step or a root at the ends: the mean is subtracted, the width stays
        width = np.ptp(lattice.energies) / 2
        assert 0.9 * SPREAD[0] < width < 1.1 * SPREAD[1]
        assert np.trapezoid(lattice.values, lattice.energies) == pytest.approx(1)
    assert not np.array_equal(
        random_lattice(3, 1, share).values, random_lattice(4, 1, share).values
    )


def test_trajectories_have_symmetric_lattices_as_often_as_said():
    symmetric = [random_lattice(0, id, 0.6).particle_hole_symmetric for id in range(30)]
    assert 8 <= sum(symmetric) <= 28
    assert not any(random_lattice(0, id, 0.0).particle_hole_symmetric for id in range(10))
    sampler = TrajectorySampler(seed=2, half_filled_fraction=0.0, largest_shift=0.5, block=4)
    for share in (0.0, 1.0):
        plan = RandomLatticePlan(sampler, 4, doped_symmetric=share)
        lattice = plan.lattice_of(sampler.trajectory(1), None)
        assert lattice.particle_hole_symmetric == (share == 1)


@pytest.mark.parametrize("drawn", [singular_density, hopping_density])
@pytest.mark.parametrize("symmetric", [True, False])
def test_densities_are_causal_and_even_where_asked(drawn, symmetric):
    for seed in range(5):
        energies, values = drawn(np.random.default_rng(seed), symmetric)
        assert np.all(np.diff(energies) > 0) and np.abs(energies).max() <= 1
        assert np.all(values >= 0) and np.all(np.isfinite(values)) and values.max() > 0
        if symmetric:
            np.testing.assert_allclose(energies, -energies[::-1], atol=1e-12)
            np.testing.assert_allclose(values, values[::-1], rtol=1e-6, atol=0.06 * values.max())


def test_every_trajectory_runs_on_its_own_lattice(tmp_path):
    sampler = TrajectorySampler(seed=2, start_fractions=(1.0,), block=4)
    plan = RandomLatticePlan(sampler, 4, 2)
    path = make_file(tmp_path / "few.h5", plan, ToySolver())
    store = SpectralStore.open(path)
    first = {int(t): i for i, t in reversed(list(enumerate(store["trajectory"])))}
    assert len(first) >= 3  # the toy solver may drop a trajectory
    for id, row in first.items():
        lattice = plan.lattice_of(sampler.trajectory(id), None)
        weight = store.grid.integrate(lattice.bare_hybridization(store.grid))
        assert store.grid.integrate(store["hybridization"][row]) == pytest.approx(weight, rel=1e-4)


def test_the_grid_of_a_file_holds_every_lattice():
    """The widest bare hybridization at the largest level ends inside the grid of generate.py."""
    grid = FrequencyGrid.geometric(1e-3, 8.0, 400)
    for id in range(8):
        h = random_lattice(0, id, 0.0).bare_hybridization(grid)
        assert max(h[0], h[-1]) < 1e-12 * h.max()
