"""DMFT loops by `ed` beyond one orbital at T = 0 on the real axis, against independent answers."""

import numpy as np
import pytest
from physics.kanamori import Kanamori

from dmftnet.physics.bath.fit import MatsubaraFit
from dmftnet.physics.bath.intervals import Intervals
from dmftnet.physics.dmft.loop import DMFTLoop
from dmftnet.physics.dmft.starts import starting_problem
from dmftnet.physics.dmft.summary import lowest_weight
from dmftnet.physics.grids.matsubara import ImaginaryAxis
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.lattices.bethe import Bethe
from dmftnet.physics.lattices.density_of_states import DensityOfStates
from dmftnet.physics.solvers.krylov.ed import EdSolver

GRID = FrequencyGrid.geometric(2e-3, 8.0, 200)


def test_the_loop_on_the_imaginary_axis():
    """Bethe lattice, U = 2, beta = 50, six fitted levels: double occupancy .08108(3), and

    Z(i w_0) = .2573(2), of the same method by another code."""
    axis = ImaginaryAxis(50.0)
    problem = starting_problem(GRID, Bethe(), 2.0, beta=50.0, axis=axis)
    result = DMFTLoop(EdSolver(), Bethe()).run_one(problem)
    assert result.converged, result.reason
    assert result.solution.double_occupancy == pytest.approx(0.08108, abs=3e-5)
    assert lowest_weight(result.solution)[0] == pytest.approx(0.2573, abs=2e-4)
    assert result.solution.filling == pytest.approx(1, abs=1e-9)


def test_closed_form_and_density_of_states_agree_on_the_imaginary_axis():
    """At self-consistency ``G/4`` and ``z - 1/G_loc`` are one Delta, to what the fit leaves."""
    axis, solver = ImaginaryAxis(20.0), EdSolver(fit=MatsubaraFit(4))
    found = []
    for lattice in (Bethe(), DensityOfStates.semicircle()):
        problem = starting_problem(GRID, lattice, 1.5, beta=20.0, axis=axis)
        result = DMFTLoop(solver, lattice).run_one(problem)
        assert result.converged, result.reason
        found.append(result.solution)
    assert found[0].double_occupancy == pytest.approx(found[1].double_occupancy, abs=1e-4)
    assert lowest_weight(found[0])[0] == pytest.approx(lowest_weight(found[1])[0], abs=2e-3)


def test_two_orbitals_end_where_brute_force_agrees():
    """A loop with crystal field and Hund's coupling; its last impurity in the whole Fock space."""
    solver = EdSolver(bath=Intervals(2, stretch=2.0, window_quantile=0.99))
    problem = starting_problem(
        GRID, Bethe(), 2.0, eps_d=-2.2, n_orb=2, J=0.3, crystal_field=[-0.1, 0.15]
    )
    loop = DMFTLoop(solver, Bethe(), tolerance=1e-3, zero_tolerance=0.05)
    result = loop.run_one(problem)
    assert result.converged, result.reason
    last, solution = result.problem, result.solution
    bath = solver.bath.discretise(last.hybridization)
    stars = [(bath.star(a).energies, bath.star(a).couplings) for a in range(2)]
    witness = Kanamori(last.eps_d, 2.0, 0.3, stars)
    energy = min(witness.ground_state(*sector)[0] for sector in ((3, 3), (3, 2), (4, 3), (2, 2)))
    assert solution.diagnostics["ground_energy"] == pytest.approx(energy, abs=1e-10)
    assert np.diff(np.diag(solution.density_matrix()).real)[0] < 0  # the lower level is fuller


def test_orbitals_without_interaction_between_them_are_single_ones():
    """U' = J = 0: spectra and densities of two problems of one orbital."""
    options = {"bath": Intervals(3, stretch=2.0, window_quantile=0.99)}
    two = starting_problem(GRID, Bethe(), 2.0, eps_d=-0.8, n_orb=2, U_prime=0.0)
    one = starting_problem(GRID, Bethe(), 2.0, eps_d=-0.8)
    both, alone = (EdSolver(**options).solve(problem) for problem in (two, one))
    for orbital in range(2):
        np.testing.assert_allclose(both.spectrum()[orbital], alone.spectrum()[0], atol=1e-6)
        assert both.density_matrix()[orbital, orbital] == pytest.approx(alone.filling / 2, abs=1e-9)
    assert both.double_occupancy == pytest.approx(alone.double_occupancy, abs=1e-9)
