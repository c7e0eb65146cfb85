"""The DMFT loop on solvers whose fixed points are known in closed form."""

import pickle
from dataclasses import dataclass, field

import numpy as np
import pytest

from dmftnet.errors import ConvergenceError, InvalidProblemError
from dmftnet.physics.analysis.observables import gap
from dmftnet.physics.analysis.self_energy import dyson_spectrum
from dmftnet.physics.dmft.filling import solve_filling
from dmftnet.physics.dmft.iterations import SolveFailedError
from dmftnet.physics.dmft.loop import DMFTLoop, continue_in_U
from dmftnet.physics.dmft.mixing import AndersonMixing, LinearMixing
from dmftnet.physics.dmft.starts import starting_hybridization, starting_problem
from dmftnet.physics.dmft.summary import summarize
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.impurity.protocol import Solver
from dmftnet.physics.impurity.solutions import CurveSolution
from dmftnet.physics.lattices.bethe import Bethe, semicircle
from dmftnet.physics.lattices.density_of_states import DensityOfStates
from dmftnet.physics.lattices.fixed import Fixed

GRID = FrequencyGrid.geometric(1e-3, 8.0, 240)


@dataclass
class GaussianSolver(Solver):
    """Exact at U = 0."""

    name: str = "gaussian"
    batches: list = field(default_factory=list)

    def solve(self, problem):
        return CurveSolution(problem, dyson_spectrum(problem, np.zeros((1, GRID.n_w), complex)))

    def solve_batch(self, problems):
        self.batches.append(len(problems))
        return super().solve_batch(problems)


@dataclass
class FailingSolver(GaussianSolver):
    """Exact at U = 0, but for one call of all."""

    fails_in: int = 3

    def solve(self, problem):
        if len(self.batches) == self.fails_in:
            raise ConvergenceError("stopped at a residual")
        return super().solve(problem)


@dataclass
class AtomicSolver(Solver):
    """The half-filled atom's self-energy: a Mott insulator that moves rigidly with eps_d."""

    name: str = "atomic"

    def solve(self, problem):
        U = problem.U
        sigma = U / 2 + U**2 / 4 / (GRID.omega + 1e-3j - problem.eps_d[0] - U / 2)
        return CurveSolution(problem, dyson_spectrum(problem, sigma[None]))


@dataclass
class CurveSolver(Solver):
    """Whatever curve the test asks for."""

    curve: object
    name: str = "curve"

    def solve(self, problem):
        return CurveSolution(problem, self.curve(problem)[None])


def non_interacting(start="insulator", eps_d=0.0):
    return ImpurityProblem.on_grid(
        0.0, eps_d, GRID, starting_hybridization(Bethe(), GRID, 0.0, eps_d, start)
    )


class AsymmetricBethe(Bethe):
    """A Bethe lattice that does not know its symmetry, so that every search has to search."""

    particle_hole_symmetric = False


MIXINGS = {"linear": LinearMixing(0.7), "anderson": AndersonMixing()}


@pytest.mark.parametrize("mixing", MIXINGS.values(), ids=MIXINGS)
@pytest.mark.parametrize("lattice", [Bethe(), DensityOfStates.semicircle()], ids=["bethe", "dos"])
def test_non_interacting_loop_ends_at_the_semicircle(mixing, lattice):
    result = DMFTLoop(GaussianSolver(), lattice, mixing).run_one(non_interacting())
    assert result.converged, result.reason
    assert max(result.kl_history[-2:]) <= 1e-5
    exact = semicircle(GRID, 0.0, 1.0, 1.0)
    A = result.solution.spectrum()[0]
    assert GRID.integrate(np.abs(A - exact)) < 0.02  # the band edge between two grid points
    assert GRID.at_zero(A) == pytest.approx(2 / np.pi, rel=5e-3)
    assert result.solution.filling == pytest.approx(1.0, abs=2e-3)  # norm of the curve


def test_symmetry_is_kept_to_the_last_bit():
    result = DMFTLoop(GaussianSolver(), Bethe()).run_one(non_interacting())
    hybridization = result.problem.spectrum[0]
    assert np.array_equal(hybridization, hybridization[::-1])


def approach(rate, offset):
    """A solver whose new hybridization goes the share `rate` of the way to a fixed one."""
    target = semicircle(GRID, 0.0, 1.0, 1.0)
    start = (1 - offset) * target + offset * semicircle(GRID, 0.0, 0.8, 1.0)

    def curve(problem):
        return 4 * (problem.spectrum[0] + rate * (target / 4 - problem.spectrum[0]))

    return CurveSolver(curve), ImpurityProblem.on_grid(1.0, -0.4, GRID, start / 4)


def test_a_loop_that_creeps_has_not_converged():
    """Both loops begin with a KL below the tolerance; one of them is 50 steps from its end."""
    solver, problem = approach(rate=0.02, offset=0.3)
    result = DMFTLoop(solver, Bethe(), max_iterations=20).run_one(problem)
    assert max(result.kl_history) <= 1e-5 and not result.converged
    assert "creeps: eigenvalue 0.980" in result.reason and "\n" not in result.reason
    solver, problem = approach(rate=0.2, offset=0.03)
    result = DMFTLoop(solver, Bethe(), max_iterations=20).run_one(problem)
    assert result.converged and result.iterations <= 5, result.reason


def test_creeping_is_measured_whatever_the_mixing():
    """Small steps of a contracting iteration are slow, but arrive: the eigenvalue is f's own."""
    solver, problem = approach(rate=0.5, offset=0.01)
    assert DMFTLoop(solver, Bethe(), LinearMixing(0.05)).run_one(problem).converged


def test_batch_equals_single_runs_and_finished_problems_leave_it():
    problems = [non_interacting("metal"), non_interacting("insulator"), non_interacting(eps_d=0.4)]
    solver = GaussianSolver()
    seen = []
    loop = DMFTLoop(solver, Bethe(), on_iteration=lambda step: seen.append(step.index))
    batch = loop.run(problems)
    assert solver.batches[0] == 3 and solver.batches[-1] < 3
    for i, (problem, together) in enumerate(zip(problems, batch, strict=True)):
        alone = DMFTLoop(GaussianSolver(), Bethe()).run_one(problem)
        assert np.array_equal(alone.solution.spectrum(), together.solution.spectrum())
        assert alone.kl_history == together.kl_history
        assert seen.count(i) == together.iterations == len(together.kl_history)


def test_tiny_mixing_cannot_fake_convergence():
    wandering = CurveSolver(lambda problem: semicircle(GRID, 0.3, 1.0, 1.0))
    start = ImpurityProblem.on_grid(1.0, -0.5, GRID, semicircle(GRID, -0.3, 1.0, 0.25))
    result = DMFTLoop(wandering, Bethe(), LinearMixing(1e-3), max_iterations=6).run_one(start)
    assert not result.converged
    assert result.iterations == 6
    assert "after 6 iterations" in result.reason and "\n" not in result.reason


def test_one_lucky_iteration_is_not_convergence():
    """The output meets the tolerance once, then moves on."""
    calls = []

    def curve(problem):
        calls.append(0)
        centre = 0.0 if len(calls) == 1 else 0.3
        return semicircle(GRID, centre, 1.0, 1.0)

    start = ImpurityProblem.on_grid(1.0, -0.4, GRID, semicircle(GRID, 0.0, 1.0, 0.25))
    result = DMFTLoop(CurveSolver(curve), Bethe()).run_one(start)
    assert result.kl_history[0] <= 1e-5 < result.kl_history[1]
    assert result.converged and result.iterations > 3


def test_a_spectrum_that_is_not_finite_ends_the_loop_with_a_reason():
    broken = CurveSolver(lambda problem: np.full(GRID.n_w, np.nan))
    result = DMFTLoop(broken, Bethe()).run_one(non_interacting())
    assert not result.converged and result.iterations == 1
    assert "not finite" in result.reason


def test_fixed_lattice_is_one_solve():
    problem = non_interacting("metal")
    result = DMFTLoop(GaussianSolver(), Fixed()).run_one(problem)
    assert result.converged and result.iterations == 1
    assert result.problem is problem


def test_starts_have_the_same_weight_and_only_the_insulator_has_a_gap():
    for U, eps_d in ((0.0, 0.0), (0.3, -0.1), (2.0, -1.0), (4.0, -2.0), (4.0, 1.0)):
        metal, insulator = (
            starting_hybridization(Bethe(), GRID, U, eps_d, kind) for kind in ("metal", "insulator")
        )
        assert GRID.integrate(metal) == pytest.approx(0.25, rel=1e-12)
        assert GRID.integrate(insulator) == pytest.approx(0.25, rel=1e-12)
        assert gap(GRID, metal) == 0
        assert gap(GRID, insulator) > 0.1


def test_continuation_starts_from_the_solution_before_and_keeps_the_doping():
    starts = []

    def curve(problem):
        starts.append(problem.spectrum)
        return 0.5 * (
            semicircle(GRID, -1 - problem.U / 2, 1.0, 1.0) + semicircle(GRID, problem.U, 1, 1.0)
        )

    loop = DMFTLoop(CurveSolver(curve), Bethe(), LinearMixing(1.0))
    start = ImpurityProblem.on_grid(1.0, -0.4, GRID, semicircle(GRID, 0, 1, 0.25))
    results = continue_in_U(loop, start, [1.0, 1.5, 2.0])
    assert [r.problem.U for r in results] == [1.0, 1.5, 2.0]
    assert [r.problem.eps_d[0] for r in results] == pytest.approx([-0.4, -0.65, -0.9])
    assert np.array_equal(starts[results[0].iterations], results[0].problem.spectrum)


def occupation_of_the_semicircle(eps_d):
    x = np.clip(-eps_d, -1, 1)
    return 1 + 2 / np.pi * (np.arcsin(x) + x * np.sqrt(1 - x**2))


@pytest.mark.parametrize("target", [0.4, 0.85, 1.6])
def test_filling_search_in_a_metal(target):
    loop = DMFTLoop(GaussianSolver(), Bethe(), AndersonMixing())
    result = solve_filling(loop, non_interacting("metal"), target)
    assert result.converged, result.reason
    assert result.solution.filling == pytest.approx(target, abs=1e-3)
    assert result.plateau is None
    # slope of n is at most 4/pi; the rest is the grid's band edge
    assert occupation_of_the_semicircle(result.problem.eps_d[0]) == pytest.approx(target, abs=6e-3)


@pytest.mark.parametrize("offset", [0.5, -0.6, 0.0])
def test_filling_search_inside_a_gap_returns_the_centre(offset):
    U = 4.0
    level = -U / 2 + offset
    problem = ImpurityProblem.on_grid(
        U, level, GRID, starting_hybridization(Bethe(), GRID, U, level, "insulator")
    )
    loop = DMFTLoop(AtomicSolver(), AsymmetricBethe(), AndersonMixing(), tolerance=1e-4)
    result = solve_filling(loop, problem, 1.0)
    assert result.converged, result.reason
    low, high = result.plateau
    assert low < -U / 2 < high
    # 2 % of the plateau is the search's own limit, the grid's cells at the edges add as much
    assert result.problem.eps_d[0] == pytest.approx(-U / 2, abs=0.04 * (high - low))


@dataclass
class TiltedAtom(Solver):
    """Two Hubbard bands that hold `tilt` electrons too few: a curve that is wrong by so much."""

    tilt: float
    name: str = "tilted"

    def solve(self, problem):
        bands = [semicircle(GRID, problem.eps_d[0] + e, 0.5, 0.5) for e in (0.0, problem.U)]
        curve = (1 - self.tilt) * bands[0] + (1 + self.tilt) * bands[1]
        return CurveSolution(problem, curve[None])


@pytest.mark.parametrize(
    ("tilt", "centre", "found"),
    [
        (0.0, 0.0, "plain"),
        (0.04, 0.0, "noted"),
        (0.08, 0.0, "failed"),
        (0.0, 0.1, "plain"),
        (0.04, 0.1, "noted"),
    ],
)
def test_a_gapped_curve_with_a_wrong_filling_does_not_pass_for_an_integer(tilt, centre, found):
    """At the level that symmetry knows, and where it has to be searched."""
    problem = ImpurityProblem.on_grid(4.0, -2.3, GRID, semicircle(GRID, centre, 1, 0.25))
    loop = DMFTLoop(TiltedAtom(tilt), Fixed())
    result = solve_filling(loop, problem, 1.0, max_loops=8)
    assert result.converged is (found != "failed"), result.reason
    assert (result.warning != "") is (found == "noted")
    if found == "noted":
        assert "filling 0.96" in result.warning and "counts as 1" in result.warning
        summary = summarize(result, "tilted", "fixed", 0.0)
        assert summary["warning"] == result.warning and "\n" not in result.warning


def test_filling_search_leaves_a_plateau_for_a_doped_target():
    U = 4.0
    problem = ImpurityProblem.on_grid(
        U, -U / 2, GRID, starting_hybridization(Bethe(), GRID, U, -U / 2, "insulator")
    )
    loop = DMFTLoop(AtomicSolver(), Bethe(), AndersonMixing(), tolerance=1e-4)
    result = solve_filling(loop, problem, 0.9)
    assert result.solution.filling == pytest.approx(0.9, abs=1e-3)
    assert result.problem.eps_d[0] > -U / 2


def test_half_filling_of_a_symmetric_lattice_needs_no_search():
    problem = ImpurityProblem.on_grid(
        2.0, -0.2, GRID, starting_hybridization(Bethe(), GRID, 2.0, -1.0, "insulator")
    )
    result = solve_filling(DMFTLoop(AtomicSolver(), Bethe(), tolerance=1e-4), problem, 1)
    assert result.problem.eps_d[0] == -1.0


def test_filling_that_jumps_is_reported_not_invented():
    jump = CurveSolver(
        lambda problem: semicircle(GRID, 0.35 if problem.eps_d[0] > 0.1 else -0.35, 1.0, 1.0)
    )
    problem = non_interacting("metal")
    result = solve_filling(DMFTLoop(jump, Fixed()), problem, 0.95, max_loops=12)
    assert not result.converged
    assert "0.95" in result.reason and "jumps" in result.reason and "\n" not in result.reason


def test_half_filling_of_an_asymmetric_lattice_is_searched():
    lattice = DensityOfStates([-1.0, 0.4, 1.0], [0.0, 1.0, 0.0])
    problem = starting_problem(GRID, lattice, U=0.0)
    assert problem.filling == 1.0
    loop = DMFTLoop(GaussianSolver(), lattice, AndersonMixing())
    result = solve_filling(loop, problem, problem.filling)
    assert result.converged, result.reason
    # the triangle's median -1 + sqrt(1.4), counted from its centroid 0.4/3
    assert result.problem.eps_d[0] == pytest.approx(1 - np.sqrt(1.4) + 0.4 / 3, abs=5e-3)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"U": -1.0}, "U = -1"),
        ({"U": 2.0, "eps_d": 1.0, "filling": 0.9}, "both given"),
        ({"U": 2.0, "filling": 2.5}, "filling = 2.5"),
        ({"U": 20.0}, "w_max"),
        ({"U": 2.0, "start": "absent.h5"}, "absent.h5"),
        ({"U": float("nan")}, "U = nan"),
    ],
)
def test_bad_problems_are_refused(arguments, text):
    with pytest.raises(InvalidProblemError, match=text):
        starting_problem(GRID, Bethe(), **arguments)


@pytest.mark.parametrize(
    "make",
    [
        lambda: LinearMixing(0.0),
        lambda: LinearMixing(1.2),
        lambda: AndersonMixing(memory=0),
        lambda: DMFTLoop(GaussianSolver(), Bethe(), tolerance=0),
        lambda: DMFTLoop(GaussianSolver(), Bethe(), max_iterations=0),
    ],
)
def test_bad_settings_are_refused(make):
    with pytest.raises(InvalidProblemError):
        make()


def test_a_solve_that_fails_leaves_what_the_loop_had_reached():
    problem = starting_problem(GRID, Bethe(), 0.0, start="insulator")
    met = []
    loop = DMFTLoop(FailingSolver(), Bethe(), tolerance=1e-12, on_iteration=met.append)
    with pytest.raises(SolveFailedError, match=r"^stopped at a residual$") as caught:
        loop.run_one(problem)
    result = caught.value.result
    assert (result.converged, result.iterations) == (False, 2)
    assert result.reason == "iteration 3 failed: stopped at a residual"
    assert result.solution is met[-1].solution and result.problem is met[-1].problem
    assert result.kl_history == tuple(iteration.kl for iteration in met)
    assert summarize(result, "failing", "bethe", 1.0)["converged"] is False
    elsewhere = pickle.loads(pickle.dumps(caught.value))  # as from a worker
    assert type(elsewhere) is ConvergenceError and str(elsewhere) == "stopped at a residual"


@pytest.mark.parametrize(("fails_in", "n_loops"), [(1, 1), (3, 2)])
def test_of_a_first_solve_or_of_several_loops_nothing_is_left(fails_in, n_loops):
    problem = starting_problem(GRID, Bethe(), 0.0, start="insulator")
    loop = DMFTLoop(FailingSolver(fails_in=fails_in), Bethe(), tolerance=1e-12)
    with pytest.raises(ConvergenceError, match="stopped at a residual") as caught:
        loop.run([problem] * n_loops)
    assert not isinstance(caught.value, SolveFailedError)
