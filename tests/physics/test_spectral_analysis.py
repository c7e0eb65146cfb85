"""Signals of known poles back to poles: exponential fit, linear prediction, plain transform."""

import numpy as np
import pytest

from dmftnet.errors import InvalidProblemError
from dmftnet.physics.analysis.distances import kl_divergence
from dmftnet.physics.analysis.positive_weights import positive_poles, refitted
from dmftnet.physics.analysis.spectral_analysis import (
    SpectralAnalysis,
    cell_weights,
    fit_exponentials,
    frequency_cells,
    predict_linearly,
)
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.poles import PoleSpectrum

GRID = FrequencyGrid.geometric(2e-2, 4.0, 150)
E = np.array([0.2, 0.7, 1.5])
A = np.array([[0.5, 0.3], [0.4, -0.2], [0.3, 0.6]])
DT, N_T = 0.25, 81


def signal(energies, amplitudes, angle=0.0):
    """(n_t, 2, 2) correlators on a straight contour."""
    z = DT * np.arange(N_T) * np.exp(-1j * angle)
    residues = amplitudes[:, :, None] * amplitudes[:, None, :]
    return np.tensordot(np.exp(-1j * np.outer(z, energies)), residues, axes=1)


def continuum():
    """Both sides of a smooth metallic spectrum: 400 poles a side, d and an independent q."""
    x = (np.arange(400) + 0.5) / 200
    rho = np.exp(-((x - 1) ** 2) / 0.18) + 0.7 / (1 + (x / 0.25) ** 2)
    a = np.sqrt(rho / rho.sum() / 2)
    return x, np.stack([a, a * np.cos(2 * x)], axis=1)


@pytest.mark.parametrize("angle", [0.0, 0.1, 0.3])
def test_a_few_poles_are_found_exactly(angle):
    """Three poles with rank-one residues, from a straight contour at any angle."""
    fit = fit_exponentials(signal(E, A, angle), DT, angle, 1e-9)
    order = np.argsort(fit.energies.real)
    np.testing.assert_allclose(fit.energies[order], E, rtol=0, atol=1e-9)
    expected = A[:, :, None] * A[:, None, :]
    np.testing.assert_allclose(fit.residues[order], expected, rtol=0, atol=1e-8)
    assert fit.residual < 1e-9


def test_poles_of_both_sides():
    """Sharp poles stay poles: energies, signs of the amplitudes' products, sum rule."""
    parts = signal(E, A, 0.1), signal(E, A, 0.1)
    poles, info = SpectralAnalysis(tolerance=1e-9).poles(*parts, DT, 0.1)
    keep = poles.amplitudes[:, 0] ** 2 > 1e-8
    order = np.argsort(poles.energies[keep])
    np.testing.assert_allclose(poles.energies[keep][order], [*-E[::-1], *E], atol=1e-8)
    products = poles.F.weights[keep][order]
    np.testing.assert_allclose(products[3:], A[:, 0] * A[:, 1], atol=1e-7)
    assert info["clipped"] < 1e-7 and info["n_exponentials"] == 6


@pytest.mark.parametrize(
    ("method", "angle", "limit"),
    [("esprit", 0.1, 3e-3), ("esprit", 0.2, 3e-3), ("esprit", 0.0, 3e-3),
     ("linear_prediction", 0.0, 5e-3), ("fourier", 0.0, 6e-2)],
)  # fmt: skip
def test_a_continuum(method, angle, limit):
    """KL of the spectrum, t = 20, at a resolution of 0.03 + 0.05 |w|; the transform is coarser."""
    x, a = continuum()
    parts = signal(x, a, angle), signal(x, a, angle)
    sum_rule = (parts[0] + parts[1])[0].real
    poles, info = SpectralAnalysis(method).poles(*parts, DT, angle, sum_rule)
    exact = np.concatenate([x, -x]), np.concatenate([a[:, 0] ** 2] * 2)

    def curve(spectrum):
        return -spectrum.gaussian_greens(GRID.omega, 0.03, 0.05).imag / np.pi

    kl = kl_divergence(GRID, curve(PoleSpectrum(*exact)), curve(poles.G))
    assert kl < limit
    np.testing.assert_allclose(poles.amplitudes.T @ poles.amplitudes, sum_rule, atol=1e-9)
    assert info["clipped"] < 2e-2 and info["sum_rule_error"] < 2e-2


def test_linear_prediction_continues_damped_oscillations():
    t = 0.2 * np.arange(300)
    full = (np.exp((-0.05 - 0.9j) * t) + 0.5 * np.exp((-0.1 + 0.4j) * t))[:, None, None]
    found = predict_linearly(full[:100], 200, ridge=1e-14)
    np.testing.assert_allclose(found, full, atol=1e-3)


def test_linear_prediction_never_grows():
    rng = np.random.default_rng(1)
    noise = (rng.normal(size=60) + 1j * rng.normal(size=60))[:, None, None]
    assert np.abs(predict_linearly(noise, 2000)).max() < 10 * np.abs(noise).max()


def test_cells_hold_the_whole_weight_of_a_damped_pole():
    """An integral over all frequencies is the weight; the tails beyond 30 D hold 2e-3 of it."""
    fit = fit_exponentials(signal(E - 0.1j, A), DT, 0.0, 1e-9)
    edges = frequency_cells(30.0)
    total = cell_weights(fit, edges).sum(axis=0)
    np.testing.assert_allclose(total, A.T @ A, atol=3e-3)
    np.testing.assert_allclose(edges, -edges[::-1])


def test_negative_weight_is_clipped_and_reported():
    weights = np.array([[[1.0]], [[-0.1]]])
    poles, clipped, _ = positive_poles(np.array([1.0, 2.0]), weights)
    assert clipped == pytest.approx(0.1 / 1.1)
    np.testing.assert_allclose(poles.G.weights, [1.0])
    np.testing.assert_array_equal(poles.amplitudes[:, 1], 0)


def test_a_signal_of_nothing_has_no_poles():
    fit = fit_exponentials(np.zeros((10, 2, 2)), DT)
    assert fit.energies.size == 0


def test_bad_input_is_named():
    with pytest.raises(InvalidProblemError, match="unknown"):
        SpectralAnalysis("guess")
    with pytest.raises(InvalidProblemError, match="real time"):
        SpectralAnalysis("fourier").poles(signal(E, A), signal(E, A), DT, 0.1)
    with pytest.raises(InvalidProblemError, match="at least 4 times"):
        fit_exponentials(np.zeros((3, 1, 1)), DT)
    with pytest.raises(InvalidProblemError, match="1 <= order < 5"):
        predict_linearly(np.zeros((10, 1, 1)), 5, order=9)


def test_negative_weights_are_refitted_to_the_signals():
    """A pole split into a positive and a negative part, with a tail on the wrong side of zero."""
    energies = np.array([-0.3, -0.1, 0.2, 0.8, 1.0, 1.2])
    truth = np.array([0.5, 0.0, 0.0, 0.2, 0.3, 0.0])[:, None, None]
    wrong = np.array([0.4, 0.1, 0.05, 0.4, 0.2, -0.15])[:, None, None]
    z = np.arange(30) * np.exp(-0.1j)
    signals = [
        np.exp(-1j * np.multiply.outer(z, np.abs(energies[side]))) @ truth[side].reshape(-1, 1)
        for side in (energies > 0, energies < 0)
    ]
    signals = [signal[:, :, None] for signal in signals]
    weights, residual = refitted(energies, wrong, signals, z, 1e-4)
    assert residual < 1e-4 and weights.min() >= 0
    np.testing.assert_allclose(weights, truth, rtol=0, atol=2e-3)
