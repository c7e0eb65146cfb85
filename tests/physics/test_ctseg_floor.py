"""Quantum Monte Carlo in baths with a gap: sampled with a floor under Delta(tau), and weighed back.

All seeds are fixed; statistical tests allow what one run in a million exceeds.
"""

import numpy as np
import pytest
from physics.statistics import hotelling
from physics.thermal import Thermal, log_weight
from scipy.stats import chi2

import dmftnet.physics.solvers.ctseg.floor as floor_module
from dmftnet.physics.grids.matsubara import thermal_tau
from dmftnet.physics.impurity.interaction import Interaction
from dmftnet.physics.impurity.matsubara_hybridization import MatsubaraHybridization
from dmftnet.physics.impurity.pole_hybridization import PoleHybridization
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.solvers.ctseg.configuration import bath_table
from dmftnet.physics.solvers.ctseg.determinants import adjugate
from dmftnet.physics.solvers.ctseg.estimates import errors
from dmftnet.physics.solvers.ctseg.floor import floor_of, reweighted
from dmftnet.physics.solvers.ctseg.measurement import Chain
from dmftnet.physics.solvers.ctseg.solver import CtsegSolver

ONE_IN_A_MILLION = 1e-6
BETA, U = 20.0, 3.0
LEVELS, COUPLINGS = np.array([-1.0, 1.0]), np.array([0.3, 0.3])
BATH = PoleHybridization(LEVELS, COUPLINGS[:, None])
HALF, DOPED = (ImpurityProblem([eps], Interaction(U), BATH, BETA) for eps in (-1.5, -1.2))
SMALL = {"n_chains": 2, "n_sweeps": 3200, "n_warmup": 500}


def cofactors(A):
    """(n, n) adjugate from minors."""
    n = len(A)

    def minor(i, j):
        rest = np.delete(np.delete(A, j, axis=0), i, axis=1)
        return (-1) ** (i + j) * np.linalg.det(rest)

    return np.array([[minor(i, j) for j in range(n)] for i in range(n)])


@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_adjugate_of_singular_matrices_too(k):
    """Every rank; the scale of the matrix is one, so that 1e-12 is rounding."""
    rng = np.random.default_rng(k)
    for rank in range(k + 1):
        A = rng.normal(size=(k, rank)) @ rng.normal(size=(rank, k)) / k
        found = np.full((k + 1, k + 1), np.nan)
        determinant = adjugate(A.copy(), k, found)
        assert determinant == pytest.approx(np.linalg.det(A), abs=1e-12)
        np.testing.assert_allclose(found[:k, :k], cofactors(A), atol=1e-12)
    assert adjugate(np.empty((0, 0)), 0, found) == 1


def test_weights_are_those_of_the_definition():
    """Of 2,000 sampled configurations, by determinants from their definition and by minors."""
    c = 0.01
    table, index = bath_table(BATH, HALF.axis, c), np.array([1])
    walker = Chain(np.random.SeedSequence(4), BETA, -1.2, U, table, index, 20, c)

    def delta(tau):
        return thermal_tau(LEVELS, COUPLINGS**2, np.array([tau]), BETA)[0]

    def bath(creators, annihilators, raised):
        apart = annihilators[:, None] - creators
        size = -thermal_tau(LEVELS, COUPLINGS**2, BETA - np.abs(apart).ravel(), BETA)
        return np.sign(apart) * (size.reshape(apart.shape) + raised)

    smallest, orders = 1.0, set()
    for _ in range(2000):
        walker._advance(1)
        state, ratio = walker.configuration, 1.0
        spins = []
        for s, k in enumerate(state.order):
            creators, annihilators = state.creators[s, :k], state.annihilators[s, :k]
            spins.append((creators, annihilators, state.full[s]))
            found = np.empty((k, k))
            one = reweighted(creators, annihilators, state.inverse[s], c, found)
            if k > 0:
                exact = cofactors(bath(creators, annihilators, 0.0))
                exact /= np.linalg.det(bath(creators, annihilators, c))
                scale = np.abs(exact).max()
                np.testing.assert_allclose(found, exact, rtol=0, atol=1e-6 * scale)
            ratio *= one
            orders.add(k)
        plain, raised = (
            log_weight(spins, BETA, -1.2, U, lambda tau, c=c: delta(tau) - c) for c in (0.0, c)
        )
        assert ratio == pytest.approx(plain[0] * raised[0] * np.exp(plain[1] - raised[1]), abs=1e-8)
        smallest = min(smallest, ratio)
    assert smallest < 1e-2 and {0, 1, 2, 3} <= orders


def test_mean_weight_is_a_ratio_of_partition_functions():
    """A level at zero with ``V^2 = 2 c`` beside the bath, and a spin; four states of it alone."""
    c, eps = 0.01, -1.2
    table = bath_table(BATH, HALF.axis, c)
    walker = Chain(np.random.SeedSequence(2), BETA, eps, U, table, np.array([1]), 50, c)
    walker.warm_up(500)
    weights = walker.run(64, 300).numbers[:, 0]
    plain = Thermal(eps, U, LEVELS, COUPLINGS, BETA).partition
    raised = Thermal(eps, U, [*LEVELS, 0.0], [*COUPLINGS, np.sqrt(2 * c)], BETA).partition
    error = weights.std(ddof=1) / 8
    assert error < 0.02 and 0.3 < weights.mean() < 0.9
    assert weights.mean() == pytest.approx(4 * plain / raised, abs=5 * error)


@pytest.mark.parametrize("problem", [HALF, DOPED], ids=["half filled", "doped"])
def test_errors_are_honest_in_a_gap(problem):
    """10 seeds: chi-squared of G(tau), and the scatter of Sigma(i w_0) and of the double occupancy.

    Half filled and without a floor, the first has a probability of 1e-18."""
    eps = float(problem.eps_d[0])
    witness, tau = Thermal(eps, U, LEVELS, COUPLINGS, BETA), np.linspace(0, BETA, 12)[1:-1]
    exact, w = witness.greens_tau(tau), 1j * problem.axis.omega_n[:1]
    sigma, levels, pulls = witness.self_energy(w)[0].imag, [], []
    for seed in range(10):
        samples, found = CtsegSolver(**SMALL, seed=seed).sample(problem)
        assert samples.floor > 0
        levels.append(hotelling(found.greens_tau(tau), exact, rank=3))
        low = found.sigma[:, 0].imag
        pulls.append(
            [
                (low[0] - sigma) / errors(low),
                (found.double_occupancy[0] - witness.double_occupancy)
                / errors(found.double_occupancy),
            ]
        )
    fisher = -2 * np.log(levels).sum()
    assert ONE_IN_A_MILLION < chi2.sf(fisher, 20) < 1 - ONE_IN_A_MILLION
    squares = (np.array(pulls) ** 2).sum(axis=0)
    assert chi2.ppf(ONE_IN_A_MILLION, 10) < squares.min()
    assert squares.max() < chi2.isf(ONE_IN_A_MILLION, 10)


def test_floor_and_mean_weight_are_told():
    """A floor only where the bath has a gap; it leaves most of the weight, and no warning."""
    said = CtsegSolver(**SMALL | {"n_sweeps": 12_800}).solve(HALF).diagnostics
    assert said["floor"] == floor_of(HALF) > 0 and said["sign"] == 1
    assert 0.3 < said["mean_weight"] < 0.95 and said["warning"] == ""
    assert said["accepted, shift both"] > 0.01
    metal = PoleHybridization([-1.0, 0.0, 1.0], np.full((3, 1), 0.3))
    assert floor_of(HALF.replace(hybridization=metal)) == 0


def test_a_floor_too_high_is_told(monkeypatch):
    monkeypatch.setattr(floor_module, "ADDED", 2.0)
    said = CtsegSolver(**SMALL).solve(HALF).diagnostics
    assert said["mean_weight"] < 0.05
    assert "below 0.1: the floor under Delta(tau) is too high" in said["warning"]


def test_noise_in_a_gap_is_no_sign_problem():
    """Delta(tau) that is -1e-5 D^2 near beta/2: some weights are negative, too few to matter."""
    z = 1j * HALF.axis.omega_n
    noisy = MatsubaraHybridization(HALF.axis, BATH.at(z) - 4e-5 / z)
    solution = CtsegSolver(**SMALL).solve(HALF.replace(hybridization=noisy))
    said = solution.diagnostics
    assert said["sign"] > 0.999 and "sign" not in said["warning"]
    exact = Thermal(-1.5, U, LEVELS, COUPLINGS, BETA).double_occupancy
    error = said["double_occupancy_error"]  # 4e-5 of .18 D^2 is far below
    assert solution.double_occupancy == pytest.approx(exact, abs=5 * error)


def test_a_weak_bath_with_a_gap():
    """Couplings of 1e-3, where no segment was met without a floor: the atom's G, within errors."""
    weak = PoleHybridization(LEVELS, np.full((2, 1), 1e-3))
    problem = HALF.replace(hybridization=weak)
    witness, tau = Thermal(-1.5, U, LEVELS, [1e-3, 1e-3], BETA), np.linspace(0, BETA, 12)[1:-1]
    _, found = CtsegSolver(**SMALL).sample(problem)
    error = errors(found.greens_tau(tau))
    assert error.max() < 5e-3
    assert np.all(np.abs(found.greens_tau(tau)[0] - witness.greens_tau(tau)) < 5 * error)
