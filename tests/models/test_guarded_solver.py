"""The guarded solver: who answers, what is counted and collected; warnings of the loop."""

import warnings

import numpy as np
import pytest
from synthetic import make_arrays
from toy_files import ANGLES, GRID, RESOLUTION, make_model
from toy_solver import ToySolver

from dmftnet.data.plans.collected import read_collected
from dmftnet.errors import DmftnetError, DmftnetWarning
from dmftnet.models.networks.ensemble import Ensemble
from dmftnet.models.solvers.applicability import Applicability, TrainingDistance
from dmftnet.models.solvers.guarded import GuardedSolver
from dmftnet.models.solvers.network import NetworkSolver
from dmftnet.physics.dmft.loop import DMFTLoop
from dmftnet.physics.dmft.summary import summarize
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.lattices.bethe import Bethe

FREQUENCIES = FrequencyGrid.geometric(**GRID)
EVERYTHING, NOTHING = {"spread": 1e9}, {"spread": -1.0}
BOX = {"U": [0.0, 3.0], "shift": [0.0, 1.0]}


def network(limits, ranges=None):
    train = make_arrays(16, 0, GRID, ANGLES)
    distance = TrainingDistance.fit(FREQUENCIES, train.hybridization, train.params)
    rules = Applicability(ranges or {}, limits, distance)
    model = Ensemble([make_model(0), make_model(1)]).eval()
    return NetworkSolver.from_model(model, RESOLUTION, "toy network", rules)


def problem(U=1.0, grid=FREQUENCIES):
    return ImpurityProblem.on_grid(U, -U / 2, grid, Bethe().bare_hybridization(grid))


def loop(solver, max_iterations=4):
    return DMFTLoop(solver, Bethe(), max_iterations=max_iterations)


def test_within_the_limits_the_network_answers():
    own, guarded = network(EVERYTHING), GuardedSolver(network(EVERYTHING), ToySolver())
    assert guarded.grid == own.grid and guarded.name == "guarded"
    solution = guarded.solve(problem())
    np.testing.assert_array_equal(solution.spectrum(), own.solve(problem()).spectrum())
    assert solution.diagnostics["fallback"] is False and solution.greens is None


def test_beyond_them_the_exact_solver_does():
    solution = GuardedSolver(network(NOTHING), ToySolver()).solve(problem())
    np.testing.assert_array_equal(solution.spectrum(), ToySolver().solve(problem()).spectrum())
    assert solution.diagnostics["fallback"] is True
    assert "spread" in solution.diagnostics["fallback_reason"]
    assert solution.diagnostics["spread"] > 0 and not solution.diagnostics.get("warning")


def test_a_batch_is_divided_problem_by_problem():
    guarded = GuardedSolver(network(EVERYTHING, BOX), ToySolver())
    problems = [problem(U) for U in (1.0, 5.0, 2.0, 4.0)]
    solutions = guarded.solve_batch(problems)
    assert [s.diagnostics["fallback"] for s in solutions] == [False, True, False, True]
    assert [s.problem for s in solutions] == problems
    assert guarded.solve_batch([]) == []


def test_a_loop_that_always_falls_back_is_the_exact_loop():
    """Bit by bit, on the network's grid; what that grid costs is measured in the class's notes."""
    guarded = loop(GuardedSolver(network(NOTHING), ToySolver())).run_one(problem())
    exact = loop(ToySolver()).run_one(problem())
    np.testing.assert_array_equal(guarded.solution.spectrum(), exact.solution.spectrum())
    assert guarded.kl_history == exact.kl_history
    summary = summarize(guarded, "guarded", "bethe", 0.0)
    assert summary["fallbacks"] == guarded.iterations and summary["warning"] is None
    assert summarize(exact, "toy", "bethe", 0.0)["fallbacks"] == 0


def test_what_falls_back_is_collected(tmp_path):
    with GuardedSolver(network(EVERYTHING, BOX), ToySolver(), tmp_path / "new.h5") as guarded:
        result = loop(guarded).run_one(problem(5.0))
        guarded.solve(problem(1.0))
    solves = read_collected(tmp_path / "new.h5")
    assert len(solves) == result.iterations
    last = solves[-1]
    np.testing.assert_array_equal(last.problem.spectrum, result.problem.spectrum)
    np.testing.assert_array_equal(last.solution.spectrum(), result.solution.spectrum())
    assert [p.name for p in tmp_path.iterdir()] == ["new.h5"]


def test_a_network_without_limits_guards_nothing():
    with pytest.raises(DmftnetError, match=r"has no limits to guard; use a folder that ship\.py"):
        GuardedSolver(network({}), ToySolver())


def test_a_spread_needs_an_ensemble():
    with pytest.raises(DmftnetError, match="single network"):
        NetworkSolver.from_model(make_model(), RESOLUTION, "m", Applicability({}, EVERYTHING))


def test_the_network_alone_warns_once_a_loop_and_at_each_single_solve():
    solver = network({"spread": 1e9, "distance": 1e-3}, BOX)
    with pytest.warns(DmftnetWarning, match=r"U = 5, eps_d = -2.5: .*distance .* beyond 1.00e-03"):
        solver.solve(problem(5.0))
    with pytest.warns(DmftnetWarning, match=r"4 of 4 solves, the last included: ") as caught:
        result = loop(solver).run_one(problem(5.0))
    assert len(caught) == 1 and "\n" not in str(caught[0].message)
    summary = summarize(result, "network", "bethe", 0.0)
    assert summary["warning"] == result.warning == str(caught[0].message)
    with pytest.warns(DmftnetWarning, match=r"2 of 2 loops; 4 of 4 solves"):
        loop(solver).run([problem(5.0), problem(4.0)])


def test_within_the_limits_nothing_is_said():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = loop(network(EVERYTHING, BOX)).run_one(problem(1.0))
    assert result.warning == "" and summarize(result, "network", "bethe", 0.0)["warning"] is None
