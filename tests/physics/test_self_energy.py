"""Self-energy: causal by construction, three estimators of one thing, Dyson on a grid."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from physics.brute_force import BruteForce
from physics.properties import exact_moments

from dmftnet.errors import InvalidProblemError
from dmftnet.physics.analysis.self_energy import (
    SMALL,
    causal,
    dyson_self_energy,
    dyson_spectrum,
    hat_integrals,
    improved_self_energy,
)
from dmftnet.physics.bath.intervals import Intervals
from dmftnet.physics.bath.star import StarBath
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.pole_solutions import PoleSolution
from dmftnet.physics.impurity.poles import ResponsePoles
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.impurity.solutions import CurveSolution
from dmftnet.physics.lattices.bethe import semicircle
from dmftnet.physics.solvers.krylov.ed import EdSolver

GRID = FrequencyGrid.geometric(2e-3, 8.0, 300)
FINE = FrequencyGrid.geometric()  # the default of dmft.py
OMEGA = np.linspace(-6, 6, 241)
EPS_D, U = -0.6, 2.0
BATH = StarBath(np.array([-0.8, 0.1, 0.9]), np.array([0.3, 0.2, 0.35]))


@pytest.fixture(scope="module")
def exact():
    """(brute-force impurity, its poles) of three bath sites."""
    atom = BruteForce(EPS_D, U, BATH.energies, BATH.couplings)
    return atom, ResponsePoles(*atom.poles())


def problem(spectrum, eps_d=EPS_D, u=U, grid=GRID):
    return ImpurityProblem.on_grid(u, eps_d, grid, spectrum)


@given(
    n=st.integers(1, 30),
    seed=st.integers(0, 2**32 - 1),
    eta=st.floats(1e-3, 0.3),
    slope=st.floats(0, 0.2),
)
def test_improved_self_energy_is_causal_for_any_amplitudes(n, seed, eta, slope):
    """A Schur complement of a positive matrix; 1e-12 of its terms is their rounding."""
    rng = np.random.default_rng(seed)
    amplitudes = rng.normal(size=(n, 2)) * 10.0 ** rng.uniform(-6, 1, (n, 2))
    poles = ResponsePoles(rng.uniform(-4, 4, n), amplitudes)
    # within 30 widths of a pole: farther out every broadened G underflows to a real number
    omega = poles.energies[:, None] + (eta + slope * np.abs(poles.energies[:, None])) * OMEGA[::8]
    omega = np.sort(omega.ravel())
    sigma = improved_self_energy(poles, omega, 0.3, eta, slope)
    G, F, I = (part.gaussian_greens(omega, eta, slope) for part in (poles.G, poles.F, poles.I))
    assert np.all(sigma.imag <= 1e-12 * (np.abs(I) + np.abs(F**2 / G)))


def test_three_estimators_agree_on_an_exact_bath(exact):
    """At complex z they are the same function; 1e-9 is the rounding of 256 eigenstates over 1/G."""
    atom, poles = exact
    z = OMEGA + 0.2j
    G, F, I = (part.greens(z) for part in (poles.G, poles.F, poles.I))
    improved = U * atom.filling / 2 + I - F**2 / G
    np.testing.assert_allclose(F / G, improved, atol=1e-9)
    dyson = z - EPS_D - BATH.hybridization_function(z) - 1 / G
    np.testing.assert_allclose(dyson, improved, atol=1e-9)


def test_estimators_of_a_solution_agree_outside_the_band(exact):
    """Narrow Gaussians change a function without poles nearby by eta^2/2 of its curvature."""
    atom, poles = exact
    eta = 1e-3
    far = FrequencyGrid(np.concatenate([np.linspace(-8, -4.5, 40), np.linspace(4.5, 8, 40)]))
    solutions = [
        PoleSolution(
            problem(semicircle(GRID, 0, 1, 0.25)), (poles,), atom.filling, atom.double_occupancy,
            (eta, 0.0), estimator, ((BATH,),),
        )
        for estimator in ("improved", "ratio", "dyson")
    ]  # fmt: skip
    sigma = [solution.self_energy(far) for solution in solutions]
    np.testing.assert_allclose(sigma[1], sigma[0], atol=1e-5)
    np.testing.assert_allclose(sigma[2], sigma[0], atol=1e-4)  # w - 1/G cancels two digits
    # and the tail: U n/2 + U^2 (n/2)(1 - n/2) / w, the next order is 4 % of it at 40 D
    n, tail = atom.filling / 2, FrequencyGrid(np.array([-80.0, -60.0, -40.0, 40.0, 60.0, 80.0]))
    rest = solutions[0].self_energy(tail)[0] - U * n
    np.testing.assert_allclose(rest, U**2 * n * (1 - n) / tail.omega, rtol=4e-2)


def test_unknown_estimator_is_refused(exact):
    solution = PoleSolution(
        problem(semicircle(GRID, 0, 1, 0.25)), (exact[1],), 1.0, 0.1, (0.01, 0.05), "best"
    )
    with pytest.raises(InvalidProblemError, match="'best' is unknown; use improved, ratio or"):
        solution.self_energy()


def test_moments_of_the_responses(exact):
    """Commutators: ``<{d, d+}>, <{[d, H], d+}>, <{q, d+}>, <{q, q+}>``."""
    atom, poles = exact
    n = atom.filling / 2
    np.testing.assert_allclose(poles.G.moments(2), exact_moments(U, EPS_D, 2 * n), atol=1e-12)
    assert poles.F.moments(1)[0] == pytest.approx(U * n, abs=1e-12)
    assert poles.I.moments(1)[0] == pytest.approx(U**2 * n, abs=1e-12)
    lesser = poles.F.weights[poles.energies < 0].sum()
    assert lesser == pytest.approx(U * atom.double_occupancy, abs=1e-12)


@pytest.mark.parametrize("n_w", [120, 300])
@pytest.mark.parametrize("eps_d", [2.0, -1.7])
def test_dyson_keeps_the_weight_of_a_bound_state(n_w, eps_d):
    """A level outside the band, U = 0: ``Z = 1/(1 - Delta'(E))`` at ``E - eps_d = Delta(E)``.

    Exact for the semicircle ``Delta = (z - sqrt(z^2 - 1))/2``. On a grid the weight errs by the
    curvature of Delta over one cell (5 to 11 % of |w|): below 1 %. The state is infinitely sharp.
    """
    grid = FrequencyGrid.geometric(2e-3, 8.0, n_w)
    given = problem(semicircle(grid, 0.0, 1.0, 0.25), eps_d, 0.0, grid)
    A = dyson_spectrum(given, np.zeros((1, n_w), complex))[0]
    assert A.min() >= 0
    assert grid.integrate(A) == pytest.approx(1, abs=5e-3)
    E = _bound_state(eps_d)
    weight = 1 / (1 - 0.5 * (1 - np.abs(E) / np.sqrt(E**2 - 1)))
    outside = grid.integrate(np.where(np.sign(eps_d) * grid.omega > 1.15, A, 0))
    assert outside == pytest.approx(weight, abs=1e-2)
    first = grid.integrate(A * grid.omega)
    assert first == pytest.approx(eps_d, abs=2e-2 * abs(eps_d))


def _bound_state(eps_d):
    """Energy of the level split off the semicircular band, by bisection of Dyson's equation."""
    s, a, b = np.sign(eps_d), 1.0, 10.0
    for _ in range(80):
        middle = 0.5 * (a + b)
        residual = middle - 0.5 * (middle - np.sqrt(middle**2 - 1)) - s * eps_d
        a, b = (middle, b) if residual < 0 else (a, middle)
    return s * a


@settings(max_examples=30)
@given(
    centre=st.floats(-1, 1),
    width=st.floats(0.1, 1),
    eps_d=st.floats(-2, 2),
    level=st.floats(-2, 2),
    strength=st.floats(0, 2),
    damping=st.floats(1e-2, 1),
)
def test_dyson_spectra_are_positive_and_normalised(centre, width, eps_d, level, strength, damping):
    """Any causal Sigma, here one broad pole: ``A >= 0`` and the norm.

    On the usual grid, to 3 %: the worst is a bound state just splitting off the band edge, where
    Delta goes as a square root inside one cell (2.1 % at U = 0, eps_d = 1/2).
    """
    given = problem(semicircle(FINE, centre, width, 0.25), eps_d, grid=FINE)
    sigma = (strength**2 / (FINE.omega + 1j * damping - level))[None]
    A = dyson_spectrum(given, sigma)
    assert A.min() >= 0
    # what the Lorentzian tail of Sigma puts outside the grid
    tails = 2 * strength**2 * damping / np.pi / 3 / (FINE.omega[-1] - 4) ** 3
    assert FINE.integrate(A)[0] == pytest.approx(1, abs=3e-2 + tails)


def test_dyson_round_trip():
    """Sigma -> A -> Sigma where A resolves it: 3 % of |Sigma| (a coarse grid's Kramers-Kronig)."""
    given = problem(semicircle(GRID, 0.0, 1.0, 0.25), -1.0)
    sigma = (1.0 + 1.0 / (GRID.omega + 0.3j))[None]
    back, clipped = dyson_self_energy(given, dyson_spectrum(given, sigma))
    assert clipped < 1e-2
    inner = np.abs(GRID.omega) < 0.5
    assert np.abs(back - sigma)[0, inner].max() < 0.03 * np.abs(sigma).max()
    assert back.imag.max() <= 0


def test_clipped_weight_is_reported():
    """A spectrum wider than the hybridization allows has ``Im Sigma > 0`` somewhere."""
    A = semicircle(GRID, 0.0, 0.4, 1.0)[None]
    solution = CurveSolution(problem(semicircle(GRID, 0.0, 1.0, 0.25), 0.0, 0.0), A)
    assert solution.self_energy().imag.max() <= 0
    assert solution.clipped_self_energy > 0.1


def test_curve_solution_on_other_grids_and_angles():
    other = FrequencyGrid.geometric(1e-2, 3.0, 40)
    A = semicircle(GRID, 0.0, 1.0, 1.0)[None]
    solution = CurveSolution(problem(semicircle(GRID, 0.0, 1.0, 0.25), 0.0, 0.0), A)
    np.testing.assert_allclose(solution.spectrum(other), GRID.interpolate(A, other.omega))
    assert solution.spectrum(other, angle=0.1).shape == (1, 40)
    assert solution.self_energy(other).shape == (1, 40)
    assert solution.filling == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("w_min", [1e-3, 1e-5, 1e-8])
def test_dyson_spectra_keep_their_digits_on_any_grid(w_min):
    """Cells of 1e-8 D: the logarithms of a cell cancel, a series takes over.

    A smooth A at the points, compared with the pointwise formula: they differ by the curvature of
    1/d over a cell of 2 %, 1e-3."""
    grid = FrequencyGrid.geometric(w_min, 8.0, 2 * round(30 * np.log(8.0 / w_min)))
    given = problem(semicircle(grid, 0.0, 1.0, 0.25), -0.8, grid=grid)
    sigma = (0.8 + 0.5 / (grid.omega + 0.7j - 0.1))[None]
    A = dyson_spectrum(given, sigma)[0]
    pointwise = -(1 / (grid.omega + 0.8 - given.hybridization.retarded() - sigma)).imag[0] / np.pi
    low = np.abs(grid.omega) < 0.3
    np.testing.assert_allclose(A[low], pointwise[low], rtol=1e-3)


def test_series_and_logarithms_meet():
    """At the seam both forms of the cell integrals agree with quadrature."""
    node, weight = np.polynomial.legendre.leggauss(20)
    t, weight = 0.5 * (node + 1), 0.5 * weight
    phases = np.exp(1j * np.linspace(-3, 3, 7))
    for size in (1e-9, 0.5 * SMALL, 0.999 * SMALL, 1.001 * SMALL, 0.3):
        u = size * phases
        falling, rising = hat_integrals(u.copy())
        kernel = weight / (1 + u[:, None] * t)
        np.testing.assert_allclose(falling, kernel @ (1 - t), rtol=1e-12)
        np.testing.assert_allclose(rising, kernel @ t, rtol=1e-12)


def test_a_self_energy_that_breaks_causality_is_refused_not_used():
    """``Im Sigma > 0`` would give a norm of 2.7 without a word."""
    given = problem(semicircle(GRID, 0.0, 1.0, 0.25), -0.5)
    sigma = (0.3 + 0.8j * np.exp(-((GRID.omega - 1.0) ** 2)))[None]
    with pytest.raises(InvalidProblemError, match=r"Im Sigma of orbital 0 is 0\.8.* > 0") as caught:
        dyson_spectrum(given, sigma)
    assert "\n" not in str(caught.value)
    clipped, share = causal(GRID, sigma)
    assert share == 1 and clipped.imag.max() == 0
    assert GRID.integrate(dyson_spectrum(given, clipped)[0]) == pytest.approx(1, abs=3e-2)


@pytest.mark.parametrize("estimator", ["ratio", "dyson"])
def test_estimators_without_causality_tell_what_they_clip(estimator):
    """Of broadened poles, which go their own ways in G, F and Delta."""
    given = ImpurityProblem.on_grid(2.0, -0.7, GRID, semicircle(GRID, 0.0, 1.0, 0.25))
    solution = EdSolver(bath=Intervals(3, stretch=2.0), estimator=estimator).solve(given)
    assert solution.self_energy().imag.max() <= 0
    assert 0 < solution.clipped_self_energy < 0.5
    assert solution.spectrum().min() >= 0
