"""`hubbard1`, and `ipt` at finite temperature: against sums over levels, and their exact limits."""

import numpy as np
import pytest

from dmftnet.errors import InvalidProblemError
from dmftnet.physics.grids.matsubara import ImaginaryAxis
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.interaction import Interaction
from dmftnet.physics.impurity.matsubara_hybridization import MatsubaraHybridization
from dmftnet.physics.impurity.pole_hybridization import PoleHybridization
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.lattices.bethe import semicircle
from dmftnet.physics.solvers.krylov.ed import EdSolver
from dmftnet.physics.solvers.perturbative.hubbard1 import Hubbard1Solver
from dmftnet.physics.solvers.perturbative.ipt import IptSolver

ENERGIES, COUPLINGS = np.array([-0.9, -0.2, 0.3, 0.8]), np.array([0.2, 0.3, 0.25, 0.25])
BETAS = [1.0, 5.0, 20.0, 100.0]
CHEAP = [Hubbard1Solver, IptSolver]


def problem(U, eps_d, beta, scale=1.0, energies=ENERGIES):
    bath = PoleHybridization(energies, scale * COUPLINGS[:, None])
    return ImpurityProblem([eps_d], Interaction(U), bath, beta)


def levels(level, scale=1.0):
    """Energies of impurity and bath without interaction, and the impurity's share in each."""
    h = np.diag([level, *ENERGIES])
    h[0, 1:] = h[1:, 0] = scale * COUPLINGS
    energies, states = np.linalg.eigh(h)
    return energies, states[0] ** 2


def triple_sum(level, beta, iw):
    """n_0, and ``S2 / U^2 = sum_ijk w_i w_j w_k [..] / (iw - E_i - E_j + E_k)``."""
    E, w = levels(level)
    f = 1 / (1 + np.exp(beta * E))
    S2 = np.zeros(iw.size, dtype=complex)
    for i, j, k in np.ndindex(E.size, E.size, E.size):
        thermal = (1 - f[i]) * (1 - f[j]) * f[k] + f[i] * f[j] * (1 - f[k])
        S2 += w[i] * w[j] * w[k] * thermal / (iw - E[i] - E[j] + E[k])
    return w @ f, S2


def atom(U, eps_d, beta):
    """n of one spin and the double occupancy."""
    logs = -beta * np.array([0.0, eps_d, eps_d, 2 * eps_d + U])
    weights = np.exp(logs - logs.max()) / np.exp(logs - logs.max()).sum()
    return weights[1] + weights[3], weights[3]


@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize(("U", "eps_d"), [(1.0, -0.5), (2.0, -0.4), (6.0, -3.5), (3.0, 0.4)])
def test_ipt_is_the_triple_sum(U, eps_d, beta):
    """Sigma from the sum over levels at the reference found, and G has its occupation: 1e-7.

    The basis leaves out 1e-10, which ``1 / (1 - b S2)`` magnifies at low temperature.
    """
    solution = IptSolver().solve(problem(U, eps_d, beta))
    eps_0 = solution.diagnostics["reference_level"]
    iw = 1j * solution.axis.omega_n
    n, S2 = triple_sum(eps_0, beta, iw)
    b = ((1 - n) * U + eps_d - eps_0) / (n * (1 - n))
    expected = U * n + U**2 * S2 / (1 - b * S2)
    np.testing.assert_allclose(solution.matsubara_self_energy()[0], expected, rtol=0, atol=1e-7)
    assert solution.filling / 2 == pytest.approx(n, abs=1e-8)
    assert solution.diagnostics["warning"] == ""


@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize("kind", CHEAP)
@pytest.mark.parametrize(("U", "eps_d"), [(2.0, -1.0), (6.0, -0.3), (6.0, 0.5), (1.0, -3.0)])
def test_atomic_limit(kind, U, eps_d, beta):
    """Empty, full and half filled, G and double occupancy to 1e-8."""
    solution = kind().solve(problem(U, eps_d, beta, scale=0.0))
    n, double = atom(U, eps_d, beta)
    iw = 1j * solution.axis.omega_n
    exact = (1 - n) / (iw - eps_d) + n / (iw - eps_d - U)
    np.testing.assert_allclose(solution.values[0], exact, rtol=0, atol=1e-8)
    assert solution.filling == pytest.approx(2 * n, abs=1e-8)
    assert solution.double_occupancy == pytest.approx(double, abs=1e-8)
    assert solution.diagnostics["warning"] == ""


@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize("kind", CHEAP)
def test_no_interaction(kind, beta):
    """Sigma is zero exactly, n that of the levels, and the spins are independent."""
    solution = kind().solve(problem(0.0, 0.3, beta))
    E, w = levels(0.3)
    n = w @ (1 / (1 + np.exp(beta * E)))
    np.testing.assert_array_equal(solution.matsubara_self_energy(), 0)
    assert solution.filling == pytest.approx(2 * n, abs=1e-8)
    assert solution.double_occupancy == pytest.approx(n**2, abs=1e-8)
    assert solution.diagnostics["warning"] == ""


def test_ipt_is_exact_in_second_order():
    """Half filled, halving U divides the errors of Sigma and of double occupancy by 2^4 and 2^3."""
    even = PoleHybridization(np.array([-0.6, -0.2, 0.2, 0.6]), np.full((4, 1), 0.25))
    errors = []
    for U in (0.4, 0.2):
        case = ImpurityProblem([-U / 2], Interaction(U), even, 10.0)
        ours, exact = IptSolver().solve(case), EdSolver().solve(case)
        sigma = ours.matsubara_self_energy() - exact.matsubara_self_energy(ours.axis)
        errors.append([np.abs(sigma).max(), abs(ours.double_occupancy - exact.double_occupancy)])
    ratio = np.array(errors[0]) / np.array(errors[1])
    assert 12 < ratio[0] < 20 and 6 < ratio[1] < 10, ratio


@pytest.mark.parametrize("eps_d", [-1.0, -0.4, 0.2])
def test_first_moment_of_ipt_and_its_violation_by_hubbard1(eps_d):
    """``G = 1/iw + (eps_d + U n)/(iw)^2``, n that of G; Hubbard-I has the atom's and says so."""
    case = problem(2.0, eps_d, 10.0)
    ours = IptSolver().solve(case)
    far = np.array([20001])
    greens = ours.axis.at_frequencies(ours.axis.to_coefficients(ours.values), far)[0, 0]
    w = far[0] * np.pi / 10.0
    assert -(w**2) * greens.real == pytest.approx(eps_d + 2.0 * ours.filling / 2, abs=1e-4)
    approximate = Hubbard1Solver().solve(case)
    start = approximate.sigma[0, -1].real - 2.0 * approximate.filling / 2
    assert start == pytest.approx(approximate.diagnostics["moment_error"], abs=2e-3)
    warned = "Sigma is that of n =" in approximate.diagnostics["warning"]
    assert warned == (eps_d != -1.0)


@pytest.mark.parametrize("kind", CHEAP)
@pytest.mark.parametrize("beta", [1.0, 100.0])
@pytest.mark.parametrize("U", [0.0, 1e-9, 10.0])
@pytest.mark.parametrize("eps_d", [-12.0, -5.0, 0.0, 2.0, 7.0])
def test_empty_full_and_extreme_levels_are_no_numbers_nowhere(kind, U, eps_d, beta):
    solution = kind().solve(problem(U, eps_d, beta))
    values = [solution.values, solution.sigma, solution.filling, solution.double_occupancy]
    assert all(np.all(np.isfinite(v)) for v in values)
    # beyond 1 the axis ends, and then it is warned of
    assert -1e-6 < solution.filling < 2 + 1e-6 or "beyond w_max" in solution.diagnostics["warning"]


@pytest.mark.parametrize("kind", CHEAP)
def test_a_batch_is_its_problems_one_by_one(kind):
    """Of different temperatures and symmetries, in order."""
    parameters = ((2, -1, 5.0), (3, -1, 8.0), (0, 0.3, 5.0), (4, -3, 5.0))
    cases = [problem(float(U), float(eps_d), beta) for U, eps_d, beta in parameters]
    together = kind().solve_batch(cases)
    assert [s.problem for s in together] == cases and kind().solve_batch([]) == []
    for case, answer in zip(cases, together, strict=True):
        np.testing.assert_allclose(kind().solve(case).values, answer.values, rtol=0, atol=1e-12)


def test_ground_states_and_thermal_problems_in_one_batch():
    grid = FrequencyGrid.geometric(0.02, 6.0, 60)
    cold = ImpurityProblem.on_grid(1.0, -0.4, grid, semicircle(grid, 0.0, 1.0, 0.25))
    cases = [problem(2.0, -0.9, 5.0), cold, problem(1.0, -0.3, 5.0)]
    answers = IptSolver().solve_batch(cases)
    assert [s.problem for s in answers] == cases
    np.testing.assert_array_equal(answers[1].spectrum(), IptSolver().solve(cold).spectrum())
    with pytest.raises(InvalidProblemError, match="set axis=imaginary"):
        IptSolver().solve(cold.replace(beta=5.0))


@pytest.mark.parametrize("kind", CHEAP)
def test_weight_beyond_the_axis_is_warned_of(kind):
    """And a wider axis mends it."""
    case = problem(10.0, -0.5, 10.0)
    assert "raise it" in kind().solve(case).diagnostics["warning"]
    axis = ImaginaryAxis(10.0, w_max=20.0)
    wide = MatsubaraHybridization(axis, case.hybridization.at(1j * axis.omega_n))
    assert "raise it" not in kind().solve(case.replace(hybridization=wide)).diagnostics["warning"]


def test_an_impossible_double_occupancy_is_warned_of():
    """Of a doped atom next to few levels, where the interpolation has no ground to stand on."""
    bath = PoleHybridization(np.array([0.1, 0.6]), np.array([[0.2], [0.2]]))
    solution = IptSolver().solve(ImpurityProblem([-2.0], Interaction(6.0), bath, 100.0))
    assert solution.double_occupancy < -1e-4
    assert "double occupancy of -" in solution.diagnostics["warning"]
