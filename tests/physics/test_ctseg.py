"""Quantum Monte Carlo against definitions, brute force, and its own error bars.

All seeds are fixed. A statistical test allows five standard errors, or the probability of as much,
so that it holds for almost any seed, and fails where an error of the code shows.
"""

import numpy as np
import pytest
from physics.statistics import hotelling
from physics.thermal import Thermal, log_weight, time_line
from scipy.stats import chi2, norm

import dmftnet.physics.solvers.ctseg.configuration as configuration
from dmftnet.errors import ConvergenceError, SettingError
from dmftnet.physics.grids.matsubara import ImaginaryAxis, thermal_tau
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.interaction import Interaction
from dmftnet.physics.impurity.matsubara_hybridization import MatsubaraHybridization
from dmftnet.physics.impurity.pole_hybridization import PoleHybridization
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.lattices.bethe import semicircle
from dmftnet.physics.solvers.ctseg import determinants
from dmftnet.physics.solvers.ctseg.configuration import (
    bath_table,
    matrix_of,
    occupied_until,
    overlap,
)
from dmftnet.physics.solvers.ctseg.estimates import errors
from dmftnet.physics.solvers.ctseg.measurement import Chain
from dmftnet.physics.solvers.ctseg.solver import CtsegSolver

FIVE_SIGMA = 2 * norm.sf(5)
BETA, U, EPS = 8.0, 2.0, -0.7
LEVELS, COUPLINGS = [-0.6, 0.1, 0.7], [0.3, 0.25, 0.35]
BATH = PoleHybridization(LEVELS, np.array(COUPLINGS)[:, None])
AXIS = ImaginaryAxis(BETA)
PROBLEM = ImpurityProblem([EPS], Interaction(U), BATH, BETA)
GRID = FrequencyGrid.geometric(2e-3, 8.0, 200)
SMALL = {"n_chains": 2, "n_sweeps": 9600, "n_warmup": 500}


@pytest.fixture(scope="module", name="witness")
def _witness():
    return Thermal(EPS, U, LEVELS, COUPLINGS, BETA)


def delta(tau):
    return thermal_tau(np.array(LEVELS), np.array(COUPLINGS) ** 2, np.array([tau]), BETA)[0]


def chain(seed=1, moves=1, eps=EPS, U=U, floor=0.0):
    table = bath_table(BATH, AXIS, floor)
    return Chain(np.random.SeedSequence(seed), BETA, eps, U, table, np.array([1]), moves, floor)


def spins_of(state):
    return [
        (
            state.creators[s, : state.order[s]],
            state.annihilators[s, : state.order[s]],
            state.full[s],
        )
        for s in range(2)
    ]


# --- parts ----------------------------------------------------------------------------------------


def test_fast_updates_are_those_of_the_matrix():
    """A row and a column inserted, taken out, replaced: ratios and inverses to rounding."""
    rng, k = np.random.default_rng(3), 5
    A = rng.normal(size=(k + 1, k + 1))
    small = np.delete(np.delete(A, 3, axis=0), 1, axis=1)  # without annihilator 3 and creator 1
    inverse = np.zeros((k + 2, k + 2))
    inverse[:k, :k] = np.linalg.inv(small)
    column, row = np.delete(A[:, 1], 3), np.delete(A[3], 1)
    by_column, by_row = np.zeros(k), np.zeros(k)
    ratio = determinants.grown_ratio(inverse, k, column, row, A[3, 1], by_column)
    # in last place; in its own place each row or column passed on the way changes the sign
    sign = (-1) ** (3 + 1)
    assert sign * ratio == pytest.approx(np.linalg.det(A) / np.linalg.det(small), rel=1e-10)
    determinants.grow(inverse, k, (1, 3), row, by_column, by_row, ratio)
    np.testing.assert_allclose(inverse[: k + 1, : k + 1], np.linalg.inv(A), atol=1e-10)
    for axis in (0, 1):
        new, B = rng.normal(size=k + 1), A.copy()
        B[(2, slice(None)) if axis == 0 else (slice(None), 2)] = new
        ratio_of = determinants.row_ratio if axis == 0 else determinants.column_ratio
        replace = determinants.replace_row if axis == 0 else determinants.replace_column
        ratio = ratio_of(inverse, k + 1, 2, new)
        assert ratio == pytest.approx(np.linalg.det(B) / np.linalg.det(A), rel=1e-9)
        replace(inverse, k + 1, 2, new, ratio)
        A = B
        np.testing.assert_allclose(inverse[: k + 1, : k + 1], np.linalg.inv(A), atol=1e-9)
    smaller = np.delete(np.delete(A, 2, axis=0), 4, axis=1)
    ratio = inverse[4, 2] * (-1) ** (4 + 2)
    assert ratio == pytest.approx(np.linalg.det(smaller) / np.linalg.det(A), rel=1e-9)
    determinants.shrink(inverse, k + 1, (4, 2))
    np.testing.assert_allclose(inverse[:k, :k], np.linalg.inv(smaller), atol=1e-9)


def test_bath_between_its_points():
    """The spline of Delta(tau) against sums over levels, one at the edge of the axis: 1e-7."""
    bath = PoleHybridization([-7.9, 0.3], [[0.5], [0.5]])
    table = bath_table(bath, AXIS)
    length = np.linspace(0.003, BETA - 0.003, 997)
    exact = thermal_tau(bath.energies, np.full(2, 0.25), BETA - length, BETA)
    found = [configuration.bath(one, BETA, table) for one in length]
    back = [configuration.bath(one - BETA, BETA, table) for one in length]
    np.testing.assert_allclose(found, -exact, rtol=0, atol=1e-7)
    np.testing.assert_allclose(back, exact, rtol=0, atol=1e-7)


@pytest.mark.parametrize("floor", [0.0, 0.02])
def test_every_configuration_is_what_the_expansion_says(floor):
    """After each of 4,000 moves: sorted times, inverse, lengths and overlap, and a weight that is

    positive by its definition. Every kind of move is accepted on the way."""
    walker, seen = chain(seed=5, floor=floor), set()
    accepted = 0
    for _ in range(4000):
        counts = walker._advance(1)[3]
        accepted = accepted + counts[:, 1]
        state, beta = walker.configuration, BETA
        spins = spins_of(state)
        points = np.unique(np.concatenate([[0.0, beta], *(np.concatenate(s[:2]) for s in spins)]))
        lines = [time_line(*spin, points, beta) for spin in spins]
        for s, (creators, annihilators, full) in enumerate(spins):
            k = creators.size
            assert np.all(np.diff(creators) > 0) and np.all(np.diff(annihilators) > 0)
            A = matrix_of(creators, annihilators, k, beta, walker.table)
            np.testing.assert_allclose(state.inverse[s, :k, :k] @ A, np.eye(k), atol=1e-7)
            length = occupied_until(creators, annihilators, k, full, beta)
            assert length == pytest.approx(lines[s] @ np.diff(points), abs=1e-10)
            seen.add((k, bool(k and annihilators[0] < creators[0])))
        both = overlap(state.creators, state.annihilators, state.order, state.full, beta)
        assert both == pytest.approx((lines[0] * lines[1]) @ np.diff(points), abs=1e-10)
        assert state.sign[0] == 1
        assert log_weight(spins, beta, EPS, U, lambda tau: delta(tau) - floor)[0] == 1
    assert np.all(accepted > 10)
    assert {(0, False), (1, False), (1, True), (2, False), (2, True), (3, True)} <= seen


def test_room_changes_nothing(monkeypatch):
    """Chains that begin with room for two segments, and double it: bit by bit the same."""
    wide = CtsegSolver(**SMALL | {"n_sweeps": 320}).solve(PROBLEM)
    monkeypatch.setattr(configuration.Configuration.empty.__func__, "__defaults__", (2,))
    assert configuration.Configuration.empty().room == 2
    narrow = CtsegSolver(**SMALL | {"n_sweeps": 320}).solve(PROBLEM)
    np.testing.assert_array_equal(wide.values, narrow.values)


def test_share_without_operators(witness):
    """Configurations without any operator have the share ``Z_atom Z_bath / Z``, exactly."""
    walker, n = chain(seed=2, moves=40), 20_000
    walker.warm_up(500)
    bare = np.array(
        [walker._advance(1) and walker.configuration.order.sum() == 0 for _ in range(n)]
    )
    atom = 1 + 2 * np.exp(-BETA * EPS) + np.exp(-BETA * (2 * EPS + U))
    bath = np.prod(1 + np.exp(-BETA * np.array(LEVELS))) ** 2
    blocks = bare.reshape(100, -1).mean(axis=1)
    error = blocks.std(ddof=1) / 10
    assert error < 0.01
    assert bare.mean() == pytest.approx(atom * bath / witness.partition, abs=5 * error)


# --- answers --------------------------------------------------------------------------------------


def test_against_brute_force(witness):
    """G(tau), Sigma, n and double occupancy within five errors, which are small; norm exact."""
    solution = CtsegSolver(**SMALL).solve(PROBLEM)
    said = solution.diagnostics
    tau, error = said["tau"], said["greens_tau_error"]
    apart = solution.greens_tau(tau)[0] - witness.greens_tau(tau)
    assert error.max() < 2e-3 and np.all(np.abs(apart) < 5 * error)
    sigma = solution.matsubara_self_energy()[0] - witness.self_energy(1j * AXIS.omega_n)
    error = said["self_energy_error"]
    assert error.real.max() < 2e-2 and error.imag[0] < 2e-2
    assert np.all(np.abs(sigma.real) < 5 * error.real)
    assert np.all(np.abs(sigma.imag) < 5 * error.imag)
    assert said["filling_error"] < 1e-3 and said["double_occupancy_error"] < 1e-3
    assert abs(solution.filling - witness.filling) < 5 * said["filling_error"]
    double = solution.double_occupancy - witness.double_occupancy
    assert abs(double) < 5 * said["double_occupancy_error"]
    ends = solution.greens_tau(np.array([0.0, BETA]))[0]
    assert ends.sum() == pytest.approx(-1, abs=1e-9)
    assert said["sign"] == 1 and said["drift"] < 1e-9 and said["warning"] == ""
    assert said["floor"] == 0 and said["mean_weight"] == 1


def test_errors_are_honest(witness):
    """24 seeds: chi-squared over tau with the covariance of each run, and the scatter of the runs.

    With the covariance of n_b blocks ``chi^2 (n_b - r) / (r (n_b - 1))`` follows F(r, n_b - r), r
    directions being kept.
    The sum over runs of the errors' squares is a chi-squared of its own.
    """
    tau = np.linspace(0, BETA, 12)[1:-1]
    exact, levels, scaled = witness.greens_tau(tau), [], []
    for seed in range(24):
        _, found = CtsegSolver(**SMALL | {"n_sweeps": 2400, "seed": seed}).sample(PROBLEM)
        replicas = found.greens_tau(tau)
        levels.append(hotelling(replicas, exact, rank=4))
        scaled.append((replicas[0] - exact) / errors(replicas))
    fisher = -2 * np.log(levels).sum()
    assert FIVE_SIGMA < chi2.sf(fisher, 48) < 1 - FIVE_SIGMA
    assert min(levels) > FIVE_SIGMA and max(levels) > 0.5
    squares = (np.array(scaled) ** 2).mean(axis=0)  # 1 on average, 24 degrees of freedom
    assert chi2.ppf(1e-4, 24) / 24 < squares.min() and squares.max() < chi2.ppf(1 - 1e-4, 24) / 24
    assert np.abs(np.mean(scaled, axis=0)).max() < 5 / np.sqrt(24)


def test_without_interaction():
    """Sigma vanishes exactly; G as measured, which knows nothing of that, within its errors."""
    free = PROBLEM.replace(U=0.0, eps_d=0.2)
    samples, found = CtsegSolver(**SMALL).sample(free)
    z = 1j * samples.indices * np.pi / BETA
    exact = 1 / (z - 0.2 - BATH.at(z)[0])
    n_blocks = len(samples.curves)
    measured = samples.curves[:, 0]
    for part in (np.real, np.imag):
        error = part(measured).std(axis=0, ddof=1) / np.sqrt(n_blocks)
        assert error.max() < 2e-2
        assert np.all(np.abs(part(measured.mean(axis=0) - exact)) < 5 * error)
    assert np.abs(found.sigma).max() < 1e-9
    error = errors(found.double_occupancy)
    double = found.double_occupancy[0] - (found.filling[0] / 2) ** 2
    assert error < 1e-3 and abs(double) < 5 * error


def test_a_sign_is_carried_and_told():
    """``Delta = 1/(z + 1) - .9/(z - 1)``: damped at Matsubara frequencies, of no positive spectrum.

    Without interaction G is known all the same. Weights change sign, and with it the answer is
    right; without it, off by 40 errors."""
    z = 1j * AXIS.omega_n
    bath = MatsubaraHybridization(AXIS, 1 / (z + 1) - 0.9 / (z - 1))
    free = ImpurityProblem([0.2], Interaction(0.0), bath, BETA)
    solver = CtsegSolver(**SMALL)
    samples, _ = solver.sample(free)
    signs = samples.numbers[:, 0]
    assert 0.5 < signs.mean() < 0.8
    z = 1j * samples.indices * np.pi / BETA
    exact = 1 / (z - 0.2 - 1 / (z + 1) + 0.9 / (z - 1))
    # the mean of ``measured - sign * exact`` is zero, by blocks without a quotient
    apart = samples.curves[:, 0] - signs[:, None] * exact
    for part in (np.real, np.imag):
        error = part(apart).std(axis=0, ddof=1) / np.sqrt(len(apart))
        assert error.max() < 3e-2 and np.all(np.abs(part(apart).mean(axis=0)) < 5 * error)
    said = solver.solve(free.replace(U=1.0)).diagnostics
    assert said["sign"] < 0.9 and "Delta is not that of a positive spectrum" in said["warning"]


@pytest.mark.parametrize("eps", [-1.0, -0.3])
def test_atom(eps):
    """Without a bath the four states, exactly."""
    nothing = PoleHybridization(np.zeros(0), np.zeros((0, 1)))
    solution = CtsegSolver().solve(ImpurityProblem([eps], Interaction(U), nothing, BETA))
    atom = Thermal(eps, U, [], [], BETA)
    tau = np.linspace(0, BETA, 9)
    np.testing.assert_allclose(solution.greens_tau(tau)[0], atom.greens_tau(tau), atol=1e-9)
    assert solution.double_occupancy == pytest.approx(atom.double_occupancy, abs=1e-12)
    assert solution.filling == pytest.approx(atom.filling, abs=1e-9)


def test_close_to_the_atom():
    """A weak bath, where segments are rare: within five errors of brute force, not of the atom."""
    bath = PoleHybridization([0.1], [[0.12]])
    solution = CtsegSolver(**SMALL).solve(ImpurityProblem([-1.2], Interaction(U), bath, BETA))
    witness, tau = Thermal(-1.2, U, [0.1], [0.12], BETA), np.linspace(0, BETA, 9)[1:-1]
    _, found = CtsegSolver(**SMALL).sample(solution.problem)
    error = errors(found.greens_tau(tau))
    assert error.max() < 5e-3
    assert np.all(np.abs(solution.greens_tau(tau)[0] - witness.greens_tau(tau)) < 5 * error)
    with pytest.raises(ConvergenceError, match=r"met no segment.*raise solver\.n_sweeps"):
        weak = PoleHybridization([0.1], [[1e-4]])
        CtsegSolver(**SMALL).solve(ImpurityProblem([-1.0], Interaction(U), weak, BETA))


def test_a_bath_may_be_given_in_any_way():
    """The same semicircle as a spectrum and at Matsubara frequencies: independent, and alike."""
    spectrum = ImpurityProblem.on_grid(U, EPS, GRID, semicircle(GRID, 0.1, 1.0, 0.25), beta=BETA)
    on_axis = spectrum.replace(hybridization=spectrum.hybridization.at_axis(AXIS))
    one, two = (CtsegSolver(**SMALL).sample(problem)[1] for problem in (spectrum, on_axis))
    tau = np.linspace(0, BETA, 9)
    apart = one.greens_tau(tau)[0] - two.greens_tau(tau)[0]
    error = np.hypot(errors(one.greens_tau(tau)), errors(two.greens_tau(tau)))
    assert np.all(apart != 0) and np.all(np.abs(apart) < 5 * error)


def test_particle_hole_symmetry_is_exact():
    """A symmetric problem: n = 1, G imaginary, Re Sigma = U/2, to rounding."""
    bath = PoleHybridization([-0.5, 0.5], [[0.35], [0.35]])
    problem = ImpurityProblem([-U / 2], Interaction(U), bath, BETA)
    solution = CtsegSolver(**SMALL | {"n_sweeps": 3200}).solve(problem)
    assert solution.filling == pytest.approx(1, abs=1e-9)
    assert np.abs(solution.values.real).max() < 1e-12
    np.testing.assert_allclose(solution.matsubara_self_energy().real, U / 2, atol=1e-9)
    witness, tau = Thermal(-U / 2, U, [-0.5, 0.5], [0.35, 0.35], BETA), AXIS.tau
    error = solution.diagnostics["greens_tau_error"][1:-1]
    assert np.all(np.abs(solution.greens_tau(tau)[0] - witness.greens_tau(tau)) < 5 * error)


def test_threads_and_chains_and_seeds():
    """The number of threads changes no bit; seeds and chains give independent answers."""
    few = SMALL | {"n_sweeps": 640, "n_chains": 3}
    one, many = (CtsegSolver(**few, n_threads=n).solve(PROBLEM) for n in (1, 3))
    np.testing.assert_array_equal(one.values, many.values)
    assert one.double_occupancy == many.double_occupancy
    other = CtsegSolver(**few, seed=1).solve(PROBLEM)
    assert np.all(one.values != other.values)
    samples, _ = CtsegSolver(**few).sample(PROBLEM)
    blocks = samples.numbers[:, 1].reshape(3, -1)
    assert np.abs(np.corrcoef(blocks) - np.eye(3)).max() < 5 / np.sqrt(blocks.shape[1])


def test_until_error():
    """Goes on in whole rounds until the error is met, or says that it is not."""
    few = SMALL | {"n_sweeps": 3200}
    first = CtsegSolver(**few).solve(PROBLEM).diagnostics
    wanted = first["largest_error"] / 2
    met = CtsegSolver(**few, until_error=wanted).solve(PROBLEM).diagnostics
    assert met["largest_error"] <= wanted and met["warning"] == ""
    assert met["sweeps"] > 2 * first["sweeps"] and met["sweeps"] % first["sweeps"] == 0
    missed = CtsegSolver(**few, until_error=wanted, max_sweeps=6400).solve(PROBLEM).diagnostics
    assert missed["sweeps"] == 2 * first["sweeps"]
    assert f"above solver.until_error = {wanted:g}; raise solver.max_sweeps" in missed["warning"]


def test_blocks_too_short_are_told():
    solver = CtsegSolver(n_chains=1, n_sweeps=6400, n_blocks=32, moves=1, n_warmup=500)
    said = solver.solve(PROBLEM).diagnostics
    assert said["autocorrelation"] > 2 and "errors may be too small" in said["warning"]


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"n_chains": 0}, "n_chains = 0: give an integer >= 1"),
        ({"n_sweeps": 1000}, "n_sweeps = 1000: give a multiple of solver.n_blocks = 32"),
        ({"n_chains": 1, "n_blocks": 8}, "at least 32 blocks in all"),
        ({"until_error": 0.0}, "until_error = 0.0: give a number >= 1e-07 and < 1"),
        ({"until_error": 1e-4, "max_sweeps": 320}, "max_sweeps = 320: give at least"),
        ({"moves": 0}, "moves = 0: give an integer >= 1"),
    ],
)
def test_wrong_settings_are_refused(arguments, match):
    with pytest.raises(SettingError, match=match):
        CtsegSolver(**arguments)
