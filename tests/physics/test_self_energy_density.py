"""-Im Sigma as a curve that keeps every pole: sum rules on any grid."""

import numpy as np
import pytest
from physics.brute_force import BruteForce

from dmftnet.physics.analysis.self_energy import improved_self_energy
from dmftnet.physics.analysis.self_energy_density import self_energy_density
from dmftnet.physics.bath.intervals import Intervals
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.poles import ResponsePoles
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.lattices.bethe import semicircle
from dmftnet.physics.solvers.krylov.ras import RasSolver

GRIDS = [
    FrequencyGrid.geometric(1e-3, 8.0, 400),
    FrequencyGrid.geometric(5e-3, 8.0, 120),
    FrequencyGrid(np.linspace(-8.0, 8.1, 500)),
]


def solver(*broadening):
    """Broad enough for the grids."""
    return RasSolver(depths=("all", 5, 2), bath=Intervals(31), broadening=broadening)


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("eps_d", [-1.5, -0.4, 0.3])
def test_the_pole_of_an_atom_keeps_its_weight_and_place(grid, eps_d):
    """Sigma = U n + U^2 n (1 - n) / (w - eps_d - U (1 - n)): no width at all.

    Levels at -1.5 and U = 3 make it exactly zero, between two points; at -0.4 the atom is empty but
    for a weak bath level, which fills it by a quarter.
    """
    U = 3.0
    atom = BruteForce(eps_d, U, np.array([0.05]), np.array([0.2]))
    poles = ResponsePoles(*atom.poles())
    n = poles.G.weights[poles.energies < 0].sum()
    density = self_energy_density(grid, poles, 1e-2, 0.05)
    assert np.all(density >= 0)
    assert grid.integrate(density) == pytest.approx(U**2 * n * (1 - n), rel=1e-2)


@pytest.mark.parametrize(
    ("U", "eps_d", "centre"), [(1.0, -0.5, 0.0), (4.0, -2.0, 2.0), (3.0, -1.0, 1.4)]
)
def test_the_sum_rule_of_metals_and_insulators(U, eps_d, centre):
    fine = FrequencyGrid.geometric(1e-3, 8.0, 600)
    bath = 0.125 * (semicircle(fine, centre, 0.9, 1.0) + semicircle(fine, -centre, 0.9, 1.0))
    solution = solver(0.03, 0.05).solve(ImpurityProblem.on_grid(U, eps_d, fine, bath))
    n = solution.filling / 2
    for grid in GRIDS:
        density = self_energy_density(grid, solution.greens[0], *solution.broadening)
        assert grid.integrate(density) == pytest.approx(U**2 * n * (1 - n), rel=1e-2)


def test_where_nothing_is_sharp_it_is_the_improved_estimator():
    grid = GRIDS[0]
    bath = 0.25 * semicircle(grid, 0.0, 1.0, 1.0)
    solution = solver(0.2, 0.1).solve(ImpurityProblem.on_grid(1.0, -0.5, grid, bath))
    poles, (eta, slope) = solution.greens[0], solution.broadening
    density = self_energy_density(grid, poles, eta, slope)
    sigma = improved_self_energy(poles, grid.omega, 0.5, eta, slope)
    low = np.abs(grid.omega) < 0.5
    np.testing.assert_allclose(density[low], -sigma.imag[low] / np.pi, rtol=1e-9, atol=1e-12)
