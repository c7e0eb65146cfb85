"""A guarded correction: who answers, and what is said of it."""

import copy

import numpy as np
import pytest
import torch
from toy_correction import (
    BETA,
    RANGES,
    toy_ensemble,
    toy_problem,
    toy_solver,
)

from dmftnet.errors import ConvergenceError, DmftnetError
from dmftnet.models.solvers.correction import CorrectionSolver
from dmftnet.models.solvers.guarded import GuardedCorrection
from dmftnet.physics.dmft.loop import DMFTLoop
from dmftnet.physics.dmft.summary import summarize
from dmftnet.physics.grids.matsubara import ImaginaryAxis
from dmftnet.physics.impurity.interaction import Interaction
from dmftnet.physics.impurity.matsubara_hybridization import MatsubaraHybridization
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.impurity.protocol import IMAGINARY, REAL, Capabilities
from dmftnet.physics.lattices.bethe import Bethe
from dmftnet.physics.solvers.ctseg.solver import CtsegSolver
from dmftnet.physics.solvers.krylov.ed import EdSolver
from dmftnet.physics.solvers.perturbative.hubbard1 import Hubbard1Solver
from dmftnet.physics.solvers.perturbative.ipt import IptSolver


class Recorder(Hubbard1Solver):
    """Stands for the exact solver; remembers what it was asked."""

    def __init__(self):
        self.asked = []

    def solve_batch(self, problems):
        self.asked += problems
        return super().solve_batch(problems)


def test_within_its_limits_the_correction_answers_and_beyond_them_the_exact_solver():
    exact = Recorder()
    guarded = GuardedCorrection(toy_ensemble(ranges=RANGES), exact)
    inside, outside = toy_problem(2.0, -0.9), toy_problem(5.0, -2.5)
    found = guarded.solve_batch([inside, outside, inside])
    assert exact.asked == [outside]
    assert [s.diagnostics["fallback"] for s in found] == [False, True, False]
    assert [s.problem for s in found] == [inside, outside, inside]
    expected = toy_ensemble().solve(inside).matsubara_greens()
    np.testing.assert_allclose(found[0].matsubara_greens(), expected, rtol=1e-5)
    expected = Hubbard1Solver().solve(outside).matsubara_greens()
    np.testing.assert_array_equal(found[1].matsubara_greens(), expected)
    said = found[1].diagnostics
    assert "U = 5 outside" in said["fallback_reason"] and said["spread"] > 0


class Broken(IptSolver):
    """An approximation without an answer for strong interactions."""

    def self_energies_of(self, batch):
        if np.any(batch.U > 2.4 * batch.beta):
            raise ConvergenceError("ipt was told to fail")
        return super().self_energies_of(batch)


def test_a_correction_that_cannot_be_completed_hands_over():
    """Of a batch that problem alone; a network that puts out no numbers hands over everything."""
    learned, exact = toy_ensemble(), Recorder()
    learned.approximations = {"ipt": Broken()}
    weak, strong = toy_problem(2.0, -0.9), toy_problem(3.0, -1.4)
    found = GuardedCorrection(learned, exact).solve_batch([weak, strong])
    assert exact.asked == [strong] and [s.diagnostics["fallback"] for s in found] == [False, True]
    assert found[1].diagnostics["fallback_reason"] == "ipt was told to fail"
    assert found[1].diagnostics["spread"] is None

    diverged = toy_ensemble()
    diverged.model = copy.deepcopy(diverged.model)
    torch.nn.init.constant_(diverged.model.members[0].net[-1].bias, torch.nan)
    with pytest.raises(ConvergenceError, match="the correction is not finite"):
        diverged.solve(weak)
    solution = GuardedCorrection(diverged, exact).solve(weak)
    assert "not finite" in solution.diagnostics["fallback_reason"]
    assert np.isfinite(solution.matsubara_greens()).all()


def test_other_errors_are_not_swallowed():
    with pytest.raises(DmftnetError, match="solver 'guarded_correction' works at finite"):
        cold = toy_problem().replace(beta=np.inf)
        GuardedCorrection(toy_ensemble(), Recorder()).solve(cold)


def test_a_loop_counts_what_was_handed_over():
    axis = ImaginaryAxis(BETA)
    z = 1j * axis.omega_n
    bath = MatsubaraHybridization(axis, (0.25 / z)[None])
    first = ImpurityProblem([-1.0], Interaction(2.0), bath, BETA)
    loop = DMFTLoop(GuardedCorrection(toy_ensemble(0.0), Recorder()), Bethe(), max_iterations=3)
    result = loop.run_one(first)
    summary = summarize(result, "guarded_correction", "bethe", 0.0)
    assert summary["fallbacks"] == result.iterations and summary["warning"] is None


def test_it_guards_corrections_that_have_limits():
    with pytest.raises(DmftnetError, match=r"solver.correction: '.*' has no limits to guard; use"):
        GuardedCorrection(toy_solver(), EdSolver())
    for arguments, key in (
        ((IptSolver(), EdSolver()), "correction"),
        ((toy_ensemble(), 5), "exact"),
    ):
        with pytest.raises(
            DmftnetError, match=rf"^solver.{key} = .* conf/solver/guarded_correction"
        ):
            GuardedCorrection(*arguments)


def test_it_takes_what_both_solvers_take():
    guarded = GuardedCorrection(toy_ensemble(), EdSolver())
    assert guarded.capabilities == CorrectionSolver.capabilities.common(EdSolver.capabilities)
    assert guarded.capabilities.axes == (IMAGINARY,) and guarded.capabilities.orbitals == 1
    wide = Capabilities(orbitals=3, poles=True, thermal=Capabilities(axes=(REAL, IMAGINARY)))
    narrow = Capabilities(orbitals=2, finite_temperature=True, axes=(IMAGINARY,))
    both = wide.common(narrow)
    assert both.orbitals == 2 and not both.poles and both.axes == ()
    assert both.at(5.0).axes == (IMAGINARY,) and both.at(5.0).orbitals == 1
    assert CtsegSolver.capabilities.common(CtsegSolver.capabilities) == CtsegSolver.capabilities
