"""`ctseg` in loops and on the hybridization of a lattice: known numbers, and what noise means."""

import numpy as np
import pytest

from dmftnet.physics.bath.fit import MatsubaraFit
from dmftnet.physics.dmft.loop import DMFTLoop
from dmftnet.physics.dmft.starts import starting_problem
from dmftnet.physics.grids.matsubara import ImaginaryAxis
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.matsubara_hybridization import MatsubaraHybridization
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.lattices.bethe import Bethe
from dmftnet.physics.solvers.ctseg.solver import CtsegSolver
from dmftnet.physics.solvers.krylov.ed import EdSolver

GRID = FrequencyGrid.geometric(2e-3, 8.0, 200)


@pytest.mark.parametrize(
    ("beta", "double", "Z"), [(20.0, 0.10146, 0.3959), (50.0, 0.10625, 0.3748)]
)
def test_fixed_semicircle(beta, double, Z):
    """U = 2, half filled, from the same method by another code, errors 1e-5 and 2e-4."""
    grid = FrequencyGrid.geometric(1e-3, 8.0, 400)
    problem = ImpurityProblem.on_grid(2.0, -1.0, grid, Bethe().bare_hybridization(grid), beta=beta)
    solution = CtsegSolver(n_chains=2, n_sweeps=19200).solve(problem)
    said = solution.diagnostics
    error = np.hypot(said["double_occupancy_error"], 1e-5)
    assert error < 5e-4 and abs(solution.double_occupancy - double) < 5 * error
    sigma, w = solution.matsubara_self_energy()[0, 0].imag, np.pi / beta
    error = np.hypot(said["self_energy_error"][0].imag, w * 2e-4 / Z**2)
    assert error < 1e-2 and abs(sigma - w * (1 - 1 / Z)) < 5 * error


def test_loop_ends_within_its_noise():
    """Bethe lattice at beta = 5: it stops where the change is within the errors, says so, and more

    sweeps change the answer by what the errors allow, three times those of one solve."""
    axis = ImaginaryAxis(5.0)
    problem = starting_problem(GRID, Bethe(), 2.0, beta=5.0, axis=axis)
    ends = []
    for n_sweeps, seed in ((3200, 0), (12800, 1)):
        solver = CtsegSolver(n_chains=2, n_sweeps=n_sweeps, seed=seed)
        result = DMFTLoop(solver, Bethe()).run_one(problem)
        assert result.converged and "within 2 standard errors of the solver" in result.reason
        assert isinstance(result.problem.hybridization, MatsubaraHybridization)
        assert max(result.kl_history[-2:]) <= 2 * max(s["noise"] for s in result.diagnostics[-2:])
        ends.append(result.solution)
    assert ends[1].diagnostics["noise"] < 0.7 * ends[0].diagnostics["noise"]
    error = np.hypot(*(3 * end.diagnostics["double_occupancy_error"] for end in ends))
    assert abs(ends[0].double_occupancy - ends[1].double_occupancy) < 5 * error
    assert ends[0].filling == pytest.approx(1, abs=1e-9)


def test_a_loop_of_an_exact_solver_knows_no_noise():
    """The tolerance is what was asked for."""
    problem = starting_problem(GRID, Bethe(), 2.0, beta=5.0, axis=ImaginaryAxis(5.0))
    result = DMFTLoop(EdSolver(fit=MatsubaraFit(2)), Bethe()).run_one(problem)
    assert result.converged and result.reason.endswith("<= 1.00e-05 in two iterations")
    assert max(result.kl_history[-2:]) <= 1e-5
