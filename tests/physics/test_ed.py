"""Exact diagonalisation: against brute force, and against the restricted solver's full space."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from physics.brute_force import BruteForce

from dmftnet.errors import InvalidProblemError, SpaceTooLargeError
from dmftnet.physics.bath.intervals import Intervals
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.interaction import Interaction
from dmftnet.physics.impurity.pole_hybridization import PoleHybridization
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.lattices.bethe import semicircle
from dmftnet.physics.solvers.krylov.ed import EdSolver
from dmftnet.physics.solvers.krylov.ras import RasSolver

GRID = FrequencyGrid.geometric(2e-3, 8.0, 300)
SEMICIRCLE = semicircle(GRID, 0.0, 1.0, 0.25)


def moments(poles, n=4):
    return np.stack([poles.G.moments(n), poles.F.moments(n), poles.I.moments(n)])


@pytest.mark.parametrize(
    ("eps_d", "U", "energies", "couplings"),
    [
        (-1.0, 2.0, [-0.7, 0.0, 0.7], [0.3, 0.25, 0.3]),
        (-0.4, 2.0, [-0.8, 0.1, 0.9], [0.3, 0.2, 0.35]),
        (-1.0, 2.0, [-0.6, 0.6], [0.3, 0.3]),
        (-2.0, 4.0, [0.0], [0.1]),
        (0.3, 0.0, [-0.5, 0.8], [0.3, 0.35]),
    ],
    ids=["half filled", "doped", "odd electrons", "local moment", "free"],
)
def test_equals_brute_force(eps_d, U, energies, couplings):
    """Same energy and moments; local moments averaged over the same multiplet."""
    exact = BruteForce(eps_d, U, energies, couplings)
    bath = PoleHybridization(np.array(energies), np.array(couplings)[:, None])
    solution = EdSolver().solve(ImpurityProblem([eps_d], Interaction(U), bath))
    assert solution.diagnostics["ground_energy"] == pytest.approx(exact.energy, abs=1e-12)
    assert solution.filling == pytest.approx(exact.filling, abs=1e-11)
    assert solution.double_occupancy == pytest.approx(exact.double_occupancy, abs=1e-11)
    poles = solution.greens[0]
    np.testing.assert_allclose(moments(poles), exact.moments(), rtol=0, atol=1e-10)
    z = np.linspace(-4, 4, 33) + 0.05j
    np.testing.assert_allclose(poles.G.greens(z), exact.greens(z), rtol=0, atol=1e-10)


@settings(max_examples=8)
@given(
    n_bath=st.sampled_from([3, 4]),
    U=st.floats(0.5, 5),
    shift=st.floats(-1.5, 1.5),
    centre=st.floats(-0.5, 0.5),
)
def test_equals_the_full_restricted_space(n_bath, U, shift, centre):
    """Same discretisation, same answer; 1e-6 where both stop their Lanczos at a residual 1e-7."""
    problem = ImpurityProblem.on_grid(U, shift - U / 2, GRID, semicircle(GRID, centre, 1.0, 0.25))
    bath = Intervals(n_bath, stretch=2.0, window_quantile=0.99)
    options = {"bath": bath, "broadening": (0.05, 0.1)}
    ed = EdSolver(**options).solve(problem)
    ras = RasSolver(**options, depths=("all",) * 6, ground_state_tolerance=1e-9).solve(problem)
    energies = ed.diagnostics["ground_energy"], ras.diagnostics["ground_energy"]
    assert energies[0] == pytest.approx(energies[1], abs=1e-10)
    assume(ed.diagnostics["states"] <= 2)  # of more, ras answers with one
    assert ed.filling == pytest.approx(ras.filling, abs=1e-6)
    assert ed.double_occupancy == pytest.approx(ras.double_occupancy, abs=1e-6)
    np.testing.assert_allclose(ed.self_energy(), ras.self_energy(), rtol=0, atol=1e-5)
    np.testing.assert_allclose(ed.spectrum(), ras.spectrum(), rtol=0, atol=1e-4)


@pytest.mark.parametrize("estimator", ["ratio", "dyson"])
def test_estimators(estimator):
    """Outside the band narrow Gaussians change nothing: eta^2/2 of the curvature, times 1/G^2."""
    problem = ImpurityProblem.on_grid(2.0, -0.7, GRID, SEMICIRCLE)
    far = FrequencyGrid(np.concatenate([np.linspace(-8, -4.5, 20), np.linspace(4.5, 8, 20)]))
    narrow = {"bath": Intervals(3, stretch=2.0), "broadening": (1e-3, 0.0)}
    best = EdSolver(**narrow).solve(problem).self_energy(far)
    other = EdSolver(**narrow, estimator=estimator).solve(problem).self_energy(far)
    np.testing.assert_allclose(other, best, rtol=0, atol=1e-4)


@pytest.mark.parametrize("n_bath", [12, 59])
def test_too_many_sites_are_refused_before_anything_is_listed(n_bath):
    """59 sites have 2^60 strings: to count them one by one would take for ever."""
    problem = ImpurityProblem.on_grid(2.0, -1.0, GRID, SEMICIRCLE)
    with pytest.raises(
        SpaceTooLargeError, match=f"{n_bath + 1} spatial orbitals.* solver=ras"
    ) as caught:
        EdSolver(bath=Intervals(n_bath)).solve(problem)
    assert "\n" not in str(caught.value)


def test_more_orbitals_than_it_treats_are_refused():
    many = ImpurityProblem.on_grid(1.0, [-0.5] * 5, GRID, np.tile(SEMICIRCLE, (5, 1)))
    with pytest.raises(InvalidProblemError, match="'ed' treats up to 4 orbitals, the problem has"):
        EdSolver().solve(many)


def test_levels_an_orbital_follow_the_number_of_orbitals():
    for n_orb, n_levels in ((1, 7), (2, 6)):
        spectrum = np.tile(SEMICIRCLE, (n_orb, 1))
        problem = ImpurityProblem.on_grid(1.0, [-0.7] * n_orb, GRID, spectrum)
        assert EdSolver(n_lanczos=5).solve(problem).diagnostics["n_levels"] == n_levels
