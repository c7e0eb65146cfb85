"""References beside a solver with error bars, and limits that are known to hold or not."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from toy_loops import ed, make_loops

from dmftnet.data.thermal_loops import ThermalLoopStore
from dmftnet.evaluation.thermal_trust import Verdicts
from dmftnet.evaluation.thermal_witness import witnesses
from dmftnet.physics.impurity.protocol import Solver
from dmftnet.physics.solvers.krylov.ed import EdSolver

SIGMA_ERROR = 0.03


@dataclass(frozen=True)
class Told(Solver):
    """The solver of the references, with errors that it is told to tell."""

    name = "told"
    capabilities = EdSolver.capabilities

    def solve(self, problem):
        solution = ed(3).solve(problem)
        told = {
            "self_energy_error": np.full((1, problem.axis.omega_n.size), SIGMA_ERROR),
            "double_occupancy_error": 0.002,
            "greens_tau_error": np.array([[1e-4, 3e-4]]),
        }
        return replace(solution, diagnostics=told)


def test_the_references_own_solver_agrees_with_them(tmp_path):
    store = ThermalLoopStore.open(make_loops(tmp_path / "r.h5"))
    found = witnesses(store, Told(), None, [5.0])
    assert [w.reference.U for w in found] == [1.0, 4.0]
    for w in found:
        assert w.reference.start == "metal" and w.reference.beta == 5.0
        assert w.Z == pytest.approx(w.reference.Z_matsubara, abs=1e-4)
        assert w.double_occupancy == pytest.approx(w.reference.double_occupancy, abs=1e-4)
        assert w.Z_error == pytest.approx(w.Z**2 * SIGMA_ERROR / (np.pi / 5), rel=1e-12)
        assert (w.double_occupancy_error, w.greens_error) == (0.002, 3e-4)
    assert witnesses(store, Told(), None, [10.0]) == []  # doped, from an insulator


def test_shares_of_verdicts_are_those_of_a_list():
    errors = np.array([1e-5, 2e-3, 5e-4, 3e-3, 1e-4])
    own = Verdicts(errors, np.array([False, True, False, False, True])).summary()
    assert own == {
        "samples": 5,
        "flagged": 0.4,
        "wrong": 0.4,
        "wrong_unflagged": pytest.approx(1 / 3),
        "worst_unflagged": 3e-3,
    }
    nothing = Verdicts(errors, np.ones(5, dtype=bool)).summary()
    assert nothing["wrong_unflagged"] == 0 and np.isnan(nothing["worst_unflagged"])
