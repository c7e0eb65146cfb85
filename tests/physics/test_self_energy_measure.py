"""Measures of a self-energy: sums of poles written out, and what a projection promises."""

import numpy as np
import pytest
from scipy.optimize import nnls
from toy_thermal import ACCURACY, SIZE, pole_sum

from dmftnet.errors import ConvergenceError, SettingError
from dmftnet.physics.analysis.self_energy_measure import NORM_WEIGHT, SelfEnergyMeasure


@pytest.fixture(scope="module")
def measure():
    return SelfEnergyMeasure(SIZE, ACCURACY)


def drawn(rng, measure, n_poles):
    """Poles anywhere within the nodes' reach, not on them, and their values."""
    end = measure.nodes[-1]
    energies = rng.choice([-1, 1], n_poles) * np.exp(rng.uniform(-3, np.log(0.9 * end), n_poles))
    weights = rng.dirichlet(np.ones(n_poles))
    return pole_sum(energies, weights, 1j * measure.axis.omega_n)


def test_nodes_are_symmetric_and_reach_half_the_axis(measure):
    assert np.array_equal(measure.nodes, -measure.nodes[::-1])
    assert measure.nodes[-1] == pytest.approx(SIZE / 2)
    assert np.all(np.diff(measure.nodes) > 0)


def test_values_are_sums_over_nodes_at_any_temperature(measure):
    rng, beta = np.random.default_rng(0), 7.0
    weights = rng.dirichlet(np.ones(measure.nodes.size), 3)
    z = 1j * measure.axis.omega_n / beta
    expected = pole_sum(measure.nodes / beta, weights[:, None, :], z)
    assert np.allclose(measure.at(weights, z, beta), expected, rtol=1e-13)
    assert np.allclose(weights @ measure.kernel.T * beta, expected, rtol=1e-13)


@pytest.mark.parametrize("n_poles", [1, 2, 5, 60])
def test_what_lives_on_the_nodes_is_met(measure, n_poles):
    rng = np.random.default_rng(n_poles)
    truth = np.zeros(measure.nodes.size)
    truth[rng.choice(truth.size, n_poles, replace=False)] = rng.dirichlet(np.ones(n_poles))
    values = measure.kernel @ truth
    found = measure.fit(values, np.ones(values.size))
    assert np.abs(measure.kernel @ found - values).max() < 1e-8


def test_finer_nodes_meet_sharp_poles_better():
    """A pole between nodes of spacing h is met to h^2: twice the nodes, a quarter of the error."""
    rng, worst = np.random.default_rng(5), []
    for n_nodes in (40, 80):
        fine = SelfEnergyMeasure(SIZE, ACCURACY, n_nodes=n_nodes)
        weights = 1 / fine.axis.omega_n  # errors of the norm of G
        values = [drawn(rng, fine, 3) for _ in range(100)]
        found = [fine.kernel @ fine.fit(v, weights) for v in values]
        errors = [np.abs((f - v) / v).max() for f, v in zip(found, values, strict=True)]
        worst.append(np.median(errors))
    assert worst[0] < 5e-3
    assert worst[0] / worst[1] == pytest.approx(4, rel=0.5)


@pytest.mark.parametrize(("noise", "usual"), [(1e-3, 0.97), (0.1, 0.9), (1.0, 0.7)])
def test_a_projection_never_leads_away_from_a_causal_truth(measure, noise, usual):
    """In the norm that is minimised: the weighted values and, with its weight, the norm."""
    rng = np.random.default_rng(0)
    nearer = []
    for _ in range(100):
        truth = rng.dirichlet(np.full(measure.nodes.size, 0.05))
        values = measure.kernel @ truth
        weights = rng.uniform(0.1, 1, values.size)
        shift = noise * np.abs(values) * ([1, 1j] @ rng.normal(size=(2, values.size)))
        found = measure.unnormalised(values + shift, weights)
        away = np.abs((measure.kernel @ found - values) * weights / weights.max())
        distance = np.hypot(np.linalg.norm(away), NORM_WEIGHT * (found.sum() - 1))
        nearer.append(distance / np.linalg.norm(shift * weights / weights.max()))
    assert max(nearer) <= 1 + 1e-9
    assert np.median(nearer) < usual


@pytest.mark.parametrize("seed", range(3))
def test_the_answer_is_a_measure_whatever_is_given(measure, seed):
    rng = np.random.default_rng(seed)
    omega_n = measure.axis.omega_n
    for scale in (1e-3, 1.0, 1e3):
        values = drawn(rng, measure, 3) + scale / omega_n * (rng.normal(size=omega_n.size) - 0.5j)
        found = measure.fit(values, rng.uniform(0, 1, omega_n.size))
        assert np.all(found >= 0) and found.sum() == pytest.approx(1, abs=1e-12)
        assert np.all((measure.kernel @ found).imag < 0)


def test_a_mirrored_self_energy_has_a_mirrored_answer(measure):
    values = drawn(np.random.default_rng(2), measure, 4)
    weights = 1 / measure.axis.omega_n
    here, there = measure.fit(values, weights), measure.fit(-values.conj(), weights)
    assert np.allclose(measure.kernel @ here, -(measure.kernel @ there).conj(), atol=1e-7)


@pytest.mark.parametrize("seed", range(5))
def test_imaginary_values_have_an_even_measure_and_the_best(measure, seed):
    """Half the unknowns and half the equations, against all of them."""
    rng, omega_n = np.random.default_rng(seed), measure.axis.omega_n
    values = 1j * drawn(rng, measure, 4).imag * rng.uniform(0.98, 1.02, omega_n.size)
    weights = 1 / (omega_n**2 + 10.0)
    found = measure.unnormalised(values, weights)
    assert np.array_equal(found, found[::-1])
    scale = weights / weights.max()
    rows, norm = measure.kernel * scale[:, None], np.full((1, measure.nodes.size), NORM_WEIGHT)
    matrix = np.concatenate([rows.real, rows.imag, norm])
    goal = np.concatenate([(values * scale).real, (values * scale).imag, [NORM_WEIGHT]])
    expected = nnls(matrix, goal, maxiter=100 * measure.nodes.size)[0]
    np.testing.assert_allclose(matrix @ found, matrix @ expected, rtol=0, atol=1e-7)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(measure, bad):
    values = drawn(np.random.default_rng(0), measure, 2)
    values[3] = bad
    with pytest.raises(ConvergenceError, match="must be finite"):
        measure.fit(values, np.ones(values.size))


def test_values_of_the_wrong_sign_are_refused():
    measure = SelfEnergyMeasure(SIZE, ACCURACY)
    with pytest.raises(ConvergenceError, match="wrong sign"):
        measure.fit(1e6j * np.ones(measure.axis.omega_n.size), np.ones(measure.axis.omega_n.size))


@pytest.mark.parametrize("setting", [{"n_nodes": 3}, {"even": 0.0}])
def test_settings_out_of_range_are_refused(setting):
    with pytest.raises(SettingError, match=next(iter(setting))):
        SelfEnergyMeasure(**setting)
