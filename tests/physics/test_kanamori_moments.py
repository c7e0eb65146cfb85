"""Moments of the self-energy of degenerate orbitals, against the whole Fock space."""

import numpy as np
import pytest
from physics.kanamori import Kanamori

from dmftnet.errors import InvalidProblemError
from dmftnet.physics.analysis.self_energy import bath_misfit, dynamic_strength
from dmftnet.physics.bath.fit import MatsubaraFit
from dmftnet.physics.impurity.interaction import Interaction
from dmftnet.physics.impurity.matsubara_hybridization import MatsubaraHybridization
from dmftnet.physics.impurity.pole_hybridization import PoleHybridization
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.impurity.solutions import MatsubaraSolution
from dmftnet.physics.solvers.krylov.ed import EdSolver

BETA = 10.0
ENERGIES, COUPLINGS = np.array([0.3]), np.array([0.45])
CASES = [(2.0, 0.5, -1.2), (2.0, 0.0, -3.0), (1.2, 0.4, 0.1)]


def brute(U, J, weights_of):
    """n, ``<{q, d+}>`` and ``<{q, q+}>`` of one orbital; weights_of(cluster) is the ensemble."""
    cluster = Kanamori([0.0, 0.0], U, J, [(ENERGIES, COUPLINGS)] * 2)
    d = cluster.d[0][0]
    q = cluster.commutator(d)
    rho = weights_of(cluster)

    def mean(operator):
        return float(np.sum(rho * operator.T.toarray()))

    return mean(d.T @ d), mean(q @ d.T + d.T @ q), mean(q @ q.T + q.T @ q)


def thermal(U, J, eps_d):
    """(n_states, n_states) ``e^(-beta H) / Z``."""

    def weights_of(_):
        cluster = Kanamori([eps_d] * 2, U, J, [(ENERGIES, COUPLINGS)] * 2)
        levels, states = np.linalg.eigh(cluster.H.toarray())
        factors = np.exp(-BETA * (levels - levels[0]))
        return (states * (factors / factors.sum())) @ states.T

    return weights_of


def problem(U, J, eps_d):
    couplings = np.kron(np.eye(2), COUPLINGS[:, None])
    bath = PoleHybridization(np.tile(ENERGIES, 2), couplings)
    return ImpurityProblem(np.full(2, eps_d), Interaction(U, J), bath, BETA)


@pytest.mark.parametrize(("U", "J", "eps_d"), CASES)
def test_moments_are_those_of_the_whole_fock_space(U, J, eps_d):
    n, first, second = brute(U, J, thermal(U, J, eps_d))
    assert first == pytest.approx(Interaction(U, J).mean_field(2) * n, abs=1e-10)
    solution = EdSolver().solve(problem(U, J, eps_d))
    assert solution.filling / 4 == pytest.approx(n, abs=1e-9)
    strength = (second - first**2) / (n * (1 - n))
    assert dynamic_strength(solution) == pytest.approx(strength, rel=1e-8)
    # and that is what Sigma does at high frequency
    z = 1j * np.array([1e4])
    poles = solution.greens[0]
    G, F, I = poles.responses(z)
    tail = z * (I - F**2 / G)
    assert tail.real[0] == pytest.approx(strength * n * (1 - n), rel=1e-5)


@pytest.mark.parametrize(("U", "J", "x"), [(2.0, 0.5, 0.4), (2.0, 0.0, 0.0), (1.2, 0.4, -1.1)])
def test_the_strength_without_correlations(U, J, x):
    """In the ensemble ``e^(-x N)`` of the orbitals."""

    def weights_of(cluster):
        number = sum(d.T @ d for pair in cluster.d for d in pair).diagonal()
        factors = np.exp(-x * number)
        return np.diag(factors / factors.sum())

    n, first, second = brute(U, J, weights_of)
    interaction = Interaction(U, J)
    assert n == pytest.approx(1 / (1 + np.exp(x)), abs=1e-12)
    assert first == pytest.approx(interaction.mean_field(2) * n, abs=1e-10)
    expected = interaction.second_order(2) * n * (1 - n)
    assert second - first**2 == pytest.approx(expected, rel=1e-10)


def test_one_orbital_is_a_case():
    interaction = Interaction(1.7)
    assert interaction.mean_field(1) == 1.7
    assert interaction.second_order(1) == 1.7**2
    bath = PoleHybridization(ENERGIES, COUPLINGS[:, None])
    solution = EdSolver().solve(ImpurityProblem([-0.6], interaction, bath, BETA))
    assert dynamic_strength(solution) == 1.7**2
    poles = solution.greens[0]
    n, mean = solution.filling / 2, poles.F.weights.sum()
    assert (poles.amplitudes[:, 1] ** 2).sum() - mean**2 == pytest.approx(
        1.7**2 * n * (1 - n), rel=1e-10
    )


@pytest.mark.parametrize("side", [1, -1])
def test_orbitals_that_are_empty_or_full_have_the_limit(side):
    """It is approached from where there is something left."""
    interaction = Interaction(2.0, 0.5)
    half, expected = interaction.half_filling(2), interaction.second_order(2)
    found = [
        dynamic_strength(EdSolver().solve(problem(2.0, 0.5, half + side * away)))
        for away in (4.0, 12.0, 1e5)
    ]
    away = np.abs(np.array(found) / expected - 1)
    assert away[2] == 0 and away[1] < away[0] < 0.1


def test_a_solution_without_poles_has_no_strength():
    given = problem(*CASES[0])
    axis = given.axis
    unknown = MatsubaraSolution(given, axis, np.tile(1 / (1j * axis.omega_n), (2, 1)), 0.2)
    with pytest.raises(InvalidProblemError, match="follows from poles"):
        dynamic_strength(unknown)


@pytest.mark.parametrize("n_bath", [1, 2])
def test_a_misfit_is_that_of_the_fitted_levels(n_bath):
    given = problem(*CASES[0])
    axis = given.axis
    band = 0.5 / (1j * axis.omega_n + 1j * np.sqrt(1 + axis.omega_n**2))
    given = given.moved(MatsubaraHybridization(axis, np.tile(band, (2, 1))))
    fit = MatsubaraFit(n_bath=n_bath)
    levels = fit.discretise(given.hybridization).levels
    expected = levels.at(1j * axis.omega_n)[0] - band
    found = bath_misfit(EdSolver(fit=fit).solve(given), axis)
    assert np.abs(found - expected).max() < 1e-8 < 1e-3 < np.abs(expected).max()


def test_degenerate_orbitals_are_told_from_others():
    two = problem(*CASES[0])
    assert two.is_degenerate()
    values = two.hybridization.at(1j * two.axis.omega_n)
    alike = two.moved(MatsubaraHybridization(two.axis, values))
    assert alike.is_degenerate()
    assert not two.moved(
        MatsubaraHybridization(two.axis, values * np.array([[1.0], [1.01]]))
    ).is_degenerate()
    other = ImpurityProblem(np.array([-1.2, -1.1]), Interaction(2.0, 0.5), two.hybridization, BETA)
    assert not other.is_degenerate()
