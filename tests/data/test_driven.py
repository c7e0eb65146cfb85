"""Problems of a driver's own loop: the driver decides the way, the exact solver the labels."""

from dataclasses import dataclass

import numpy as np
import pytest
from toy_dataset import make_file
from toy_solver import ToySolver

from dmftnet.data.keys import STATUS
from dmftnet.data.plans.driven import DrivenPlan
from dmftnet.data.plans.sampling import TrajectorySampler
from dmftnet.data.store import SpectralStore
from dmftnet.errors import DmftnetError
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.protocol import Solver
from dmftnet.physics.impurity.solutions import CurveSolution
from dmftnet.physics.impurity.spectral_hybridization import SpectralHybridization
from dmftnet.physics.lattices.bethe import Bethe, semicircle

COARSE = FrequencyGrid.geometric(3e-3, 6.0, 80)
RESOLUTION = (0.006, 0.06)


@dataclass(frozen=True)
class Driver(Solver):
    """Answers every problem with one semicircle, so that its loop's way is known."""

    centre: float = 0.4
    grid: FrequencyGrid = COARSE
    name: str = "driver"
    identity: str = "abc"

    def solve(self, problem):
        curve = semicircle(COARSE, self.centre, 1.0, 1.0)
        return CurveSolution(problem, curve[None] / COARSE.integrate(curve), {})


def make_plan(driver=None, **options):
    sampler = TrajectorySampler(seed=4, half_filled_fraction=0.0)
    options = {"n_trajectories": 4, "n_iterations": 3, "every": 2, "tolerance": 1e-12} | options
    return DrivenPlan(driver or Driver(), sampler, resolution=RESOLUTION, **options)


def test_problems_lie_on_the_drivers_way():
    """``Delta_k = Delta + (1 - m)^k (Delta_0 - Delta)`` under linear mixing m."""
    plan = make_plan()
    lattice, answer = Bethe(), semicircle(COARSE, 0.4, 1.0, 1.0)
    end = 0.25 * answer / COARSE.integrate(answer)
    trajectory = plan.sampler.trajectory(1)
    met = plan.problems(1, lattice)
    assert len(met) == 3
    (first, second, third) = (problem.spectrum[0] - end for problem in met)
    ratio = (1 - trajectory.mixing) ** plan.every
    np.testing.assert_allclose(second, ratio * first, atol=1e-9)
    np.testing.assert_allclose(third, ratio * second, atol=1e-9)


def test_labels_are_the_exact_solvers(tmp_path):
    plan = make_plan()
    store = SpectralStore.open(make_file(tmp_path / "driven.h5", plan))
    assert len(store) == 12 and store.resolution == RESOLUTION
    for number in range(4):
        own = np.flatnonzero(store["trajectory"] == number)
        for sample, problem in zip(own, plan.problems(number, Bethe()), strict=True):
            curve = problem.grid.interpolate(problem.spectrum[0], store.grid.omega)
            np.testing.assert_allclose(store["hybridization"][sample], curve, atol=1e-6)
            exact = ToySolver().solve(
                problem.replace(hybridization=SpectralHybridization(store.grid, curve))
            )
            assert store["filling"][sample] == pytest.approx(exact.filling, abs=1e-6)


def test_a_loop_that_converged_ends_with_its_last_problem():
    met = make_plan(n_iterations=9, every=100, tolerance=1e-6).problems(1, Bethe())
    assert len(met) == 1  # it converged before the hundredth
    answer = semicircle(COARSE, 0.4, 1.0, 1.0)
    end = 0.25 * answer / COARSE.integrate(answer)
    assert COARSE.integrate(np.abs(met[0].spectrum[0] - end)) < 0.01


def test_failed_solves_are_told(tmp_path):
    plan = make_plan(n_trajectories=12)
    store = SpectralStore.open(make_file(tmp_path / "a.h5", plan, solver=ToySolver(fault="error")))
    failed = store.columns["trajectories/U"] > 2
    status = np.array(STATUS)[store.columns["trajectories/status"]]
    assert failed.any() and np.all((status == "failed") == failed)
    assert np.all(store.columns["trajectories/n_samples"][failed] == 0)


@pytest.mark.parametrize(
    ("driver", "options", "match"),
    [
        (ToySolver(), {}, "'toy' has no grid of its own; drive with a network"),
        (Driver(), {"every": 0}, "sampling.every = 0: give a number of iterations >= 1"),
    ],
)
def test_bad_plans_are_refused(driver, options, match):
    with pytest.raises(DmftnetError, match=match):
        make_plan(driver, **options)


def test_another_driver_makes_another_dataset(tmp_path):
    """The driver's identity is in the recipe: no other network may continue a file."""
    assert make_plan(Driver(identity="abc")).inputs == "abc"
    assert make_plan(Driver(identity="xyz")).inputs == "xyz"
