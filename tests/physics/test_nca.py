"""Non-crossing approximation: against a march on a uniform mesh, and where it is exact."""

import numpy as np
import pytest

from dmftnet.errors import SettingError
from dmftnet.physics.grids.matsubara import ImaginaryAxis
from dmftnet.physics.impurity.interaction import Interaction
from dmftnet.physics.impurity.matsubara_hybridization import MatsubaraHybridization
from dmftnet.physics.impurity.pole_hybridization import PoleHybridization
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.solvers.krylov.ed import EdSolver
from dmftnet.physics.solvers.perturbative.nca import NcaSolver

ENERGIES, COUPLINGS = np.array([-0.7, 0.1, 0.6]), np.array([0.3, 0.25, 0.35])
MULTIPLICITY = np.array([1.0, 2.0, 1.0])


def problem(U, eps_d, beta, scale=1.0, energies=ENERGIES):
    bath = PoleHybridization(energies, scale * COUPLINGS[:, None])
    return ImpurityProblem([eps_d], Interaction(U), bath, beta)


def march(U, eps_d, beta, n_steps):
    """P_0, P_s, P_2 on a uniform mesh: trapezoids, one step after the other, no iteration."""
    tau = np.linspace(0, beta, n_steps + 1)
    h, E = tau[1], np.array([0.0, eps_d, 2 * eps_d + U])
    occupied = COUPLINGS**2 / (1 + np.exp(beta * ENERGIES))
    empty = COUPLINGS**2 / (1 + np.exp(-beta * ENERGIES))
    hole = np.exp(np.outer(tau, ENERGIES)) @ occupied  # an electron of the bath is away
    electron = np.exp(-np.outer(tau, ENERGIES)) @ empty

    def kernel(k, P):
        return np.array(
            [2 * hole[k] * P[1], electron[k] * P[0] + hole[k] * P[2], 2 * electron[k] * P[1]]
        )

    P, S = np.ones((n_steps + 1, 3)), np.zeros((n_steps + 1, 3))
    S[0] = kernel(0, P[0])
    slope = -E * P[0]
    for k in range(n_steps):
        memory = (S[k:0:-1] * P[1 : k + 1]).sum(axis=0)
        new = P[k] + h * slope
        for _ in range(8):  # the value at the step's end is on both sides
            end = kernel(k + 1, new)
            new_slope = -E * new + h * (memory + 0.5 * (end * P[0] + S[0] * new))
            new = P[k] + 0.5 * h * (slope + new_slope)
        P[k + 1], S[k + 1], slope = new, kernel(k + 1, new), new_slope
    return P


def observed(P):
    """Double occupancy, then G at 21 even times, of propagators on a uniform mesh."""
    Z = P[-1] @ MULTIPLICITY
    G = -(P[::-1, 0] * P[:, 1] + P[::-1, 1] * P[:, 2]) / Z
    return np.concatenate([[P[-1, 2] / Z], G[:: (len(G) - 1) // 20]])


@pytest.mark.parametrize(("U", "eps_d"), [(2.0, -1.0), (3.0, -0.4), (0.0, 0.2)])
def test_against_a_uniform_mesh(U, eps_d):
    """Its error falls with h^2; extrapolated twice, from 200, 400 and 800 steps: 1e-7."""
    beta = 5.0
    coarse, middle, fine = (observed(march(U, eps_d, beta, n)) for n in (200, 400, 800))
    first, second = middle + (middle - coarse) / 3, fine + (fine - middle) / 3
    limit = second + (second - first) / 15
    order = np.log2(np.abs(coarse - limit).max() / np.abs(middle - limit).max())
    assert order == pytest.approx(2, abs=0.05), "the march is no witness"
    solution = NcaSolver().solve(problem(U, eps_d, beta))
    assert solution.double_occupancy == pytest.approx(limit[0], abs=1e-8)
    G = solution.greens_tau(np.linspace(0, beta, 21))[0]
    np.testing.assert_allclose(G, limit[1:], rtol=0, atol=1e-7)


@pytest.mark.parametrize("beta", [1.0, 10.0, 100.0])
@pytest.mark.parametrize(("U", "eps_d"), [(2.0, -1.0), (6.0, -0.3), (6.0, 0.5), (1.0, -3.0)])
def test_atomic_limit(U, eps_d, beta):
    """Empty, full and half filled; G to 1e-8, the rounding of the basis."""
    solution = NcaSolver().solve(problem(U, eps_d, beta, scale=0.0))
    logs = -beta * np.array([0.0, eps_d, eps_d, 2 * eps_d + U])
    weights = np.exp(logs - logs.max()) / np.exp(logs - logs.max()).sum()
    n = weights[1] + weights[3]
    iw = 1j * solution.axis.omega_n
    exact = (1 - n) / (iw - eps_d) + n / (iw - eps_d - U)
    np.testing.assert_allclose(solution.values[0], exact, rtol=0, atol=1e-8)
    assert solution.filling == pytest.approx(2 * n, abs=1e-8)
    assert solution.double_occupancy == pytest.approx(weights[3], abs=1e-8)
    assert solution.diagnostics["warning"] == ""


def test_exact_to_second_order_in_the_hybridization():
    """Halving V divides the error of n and of the double occupancy by 16."""
    errors = []
    for scale in (0.4, 0.2):
        case = problem(3.0, -0.8, 4.0, scale)
        ours, exact = NcaSolver().solve(case), EdSolver().solve(case)
        errors.append(
            [ours.filling - exact.filling, ours.double_occupancy - exact.double_occupancy]
        )
    ratio = np.array(errors[0]) / np.array(errors[1])
    assert np.all((ratio > 12) & (ratio < 20)), ratio


def test_what_it_violates():
    """U = 0 is not exact, and away from half filling Sigma does not start from ``U n``."""
    free = NcaSolver().solve(problem(0.0, 0.2, 20.0))
    exact = EdSolver().solve(free.problem)
    assert 1e-2 < abs(free.filling - exact.filling) < 0.3
    doped = NcaSolver().solve(problem(2.0, -0.4, 5.0))
    start = doped.matsubara_self_energy()[0, -1].real
    assert 1e-2 < abs(start - 2.0 * doped.filling / 2) < 0.5
    assert "Sigma(i inf) is off U n by" in doped.diagnostics["warning"]
    bath = PoleHybridization(np.array([-0.5, 0.0, 0.5]), np.array([[0.3], [0.2], [0.3]]))
    even = ImpurityProblem([-1.0], Interaction(2.0), bath, 5.0)
    half = NcaSolver().solve(even).diagnostics
    assert abs(half["moment_error"]) < 1e-6 and half["warning"] == ""
    ends = doped.greens_tau(np.array([0.0, 5.0]))
    assert -ends.sum() == pytest.approx(1, abs=1e-9)


def test_a_self_energy_of_the_wrong_sign_is_warned_of():
    warning = NcaSolver().solve(problem(2.0, -0.5, 50.0, scale=4.0)).diagnostics["warning"]
    assert warning.startswith("nca at U = 2, eps_d = -0.5: ") and "Im Sigma = +" in warning
    assert "Im Sigma" not in NcaSolver().solve(problem(4.0, -2.0, 5.0)).diagnostics["warning"]


def test_a_bath_that_binds_by_many_temperatures():
    """Propagators of the atom would grow by e^100: strong coupling from beta = 5 to 100."""
    for beta in (5.0, 50.0, 100.0):
        solution = NcaSolver().solve(problem(4.0, -1.8, beta, scale=4.0))
        assert solution.diagnostics["change"] <= 1e-10
        assert np.all(np.isfinite(solution.values)) and 0 < solution.filling < 2


def test_a_batch_is_its_problems_one_by_one():
    """Of different temperatures, in order; bit by bit but for the order of sums."""
    cases = [problem(U, e, b) for U, e, b in ((2, -1, 5.0), (3, -1, 8.0), (0, 0.3, 5.0))]
    together = NcaSolver().solve_batch(cases)
    assert [s.problem for s in together] == cases and NcaSolver().solve_batch([]) == []
    for case, answer in zip(cases, together, strict=True):
        alone = NcaSolver().solve(case)
        np.testing.assert_allclose(alone.values, answer.values, rtol=0, atol=1e-13)


def test_levels_and_their_values_on_the_axis_are_one_problem():
    case = problem(2.0, -0.7, 6.0)
    axis = ImaginaryAxis(6.0)
    values = MatsubaraHybridization(axis, case.hybridization.at(1j * axis.omega_n))
    same = NcaSolver().solve(case.replace(hybridization=values))
    np.testing.assert_array_equal(same.values, NcaSolver().solve(case).values)


def test_what_does_not_converge_or_reaches_too_far_is_warned_of():
    few = NcaSolver(max_iterations=2).solve(problem(2.0, -1.0, 10.0))
    assert "still change by" in few.diagnostics["warning"]
    far = NcaSolver().solve(problem(2.0, -1.0, 2.0, energies=np.array([-9.0, 0.1, 0.6])))
    assert "bath levels reach 9 D, beyond w_max = 8" in far.diagnostics["warning"]
    high = NcaSolver().solve(problem(2.0, -40.0, 2.0))
    assert "raise" in high.diagnostics["warning"]


@pytest.mark.parametrize("options", [{"tolerance": 0}, {"max_iterations": 0}])
def test_bad_arguments(options):
    with pytest.raises(SettingError, match=f"solver.{next(iter(options))} = 0"):
        NcaSolver(**options)
