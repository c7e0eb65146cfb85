"""Contours, the chain rule in the angle, and the way back to real time."""

import numpy as np
import pytest
from scipy.special import exp1

from dmftnet.errors import InvalidProblemError
from dmftnet.physics.grids.time_contour import (
    SHAPES,
    TimeContour,
    angle_derivatives,
    bell_polynomials,
    reconstruct,
    signal_of_poles,
)

ENERGIES, WEIGHTS = np.array([0.3, 0.8, 1.1]), np.array([0.5, 0.3, 0.2])
TIMES = np.linspace(0, 20, 81)


def errors(shape, angle, orders=range(5)):
    """Largest error of the reconstructed three-pole signal, order by order."""
    contour = TimeContour(20.0, angle, shape)
    moments = signal_of_poles(ENERGIES, WEIGHTS, contour.z(TIMES), 5)
    exact = signal_of_poles(ENERGIES, WEIGHTS, TIMES)[0]
    return [np.abs(reconstruct(contour, TIMES, moments, n) - exact).max() for n in orders]


def test_the_decreasing_contour_is_its_exponential_integral():
    contour = TimeContour(20.0, 0.2, "decreasing")
    u = np.exp(-contour.w0 * TIMES)
    closed = (exp1(0.2j * u) - exp1(0.2j)) / contour.w0
    np.testing.assert_allclose(contour.z(TIMES), closed, rtol=0, atol=1e-12)
    assert contour.z(TIMES)[0] == 0
    # it stays at the bounded distance alpha/w0 from the real axis
    assert -contour.z(TIMES)[-1].imag == pytest.approx(0.2 / contour.w0, rel=2e-2)


def test_straight_contours():
    np.testing.assert_allclose(TimeContour(20.0, 0.1).z(TIMES), TIMES * np.exp(-0.1j), atol=1e-14)
    for shape in SHAPES:
        np.testing.assert_array_equal(TimeContour(20.0, 0.0, shape).z(TIMES), TIMES)


@pytest.mark.parametrize("shape", SHAPES)
def test_contour_derivatives_are_derivatives_of_the_contour(shape):
    """Central differences of z in the angle; 1e-6 is their error at h = 1e-3."""
    h, angle = 1e-3, 0.2
    below, here, above = (TimeContour(20.0, angle + k * h, shape).z(TIMES) for k in (-1, 0, 1))
    J = TimeContour(20.0, angle, shape).angle_derivatives(TIMES, 4)
    assert J.shape == (4, TIMES.size)
    np.testing.assert_allclose(J[0], -1j * (above - below) / (2 * h), atol=1e-5)
    np.testing.assert_allclose(J[1], -1j * (above - 2 * here + below) / h**2, atol=1e-4)


def test_bell_polynomials():
    """``B_4k`` from the textbook."""
    x = np.array([2.0, 3.0, 5.0, 7.0]).reshape(4, 1)
    B = bell_polynomials(x)[..., 0].real
    a, b, c, d = x[:, 0]
    np.testing.assert_allclose(B[4], [0, d, 4 * a * c + 3 * b**2, 6 * a**2 * b, a**4])


def test_derivatives_in_the_angle_match_differences():
    """dphi/dalpha and d2phi/dalpha2 of the signal itself."""
    h, angle = 1e-3, 0.15
    signals = [
        signal_of_poles(ENERGIES, WEIGHTS, TimeContour(20.0, angle + k * h, "decreasing").z(TIMES))
        for k in (-1, 0, 1)
    ]
    contour = TimeContour(20.0, angle, "decreasing")
    moments = signal_of_poles(ENERGIES, WEIGHTS, contour.z(TIMES), 3)
    found = angle_derivatives(moments, contour.angle_derivatives(TIMES, 2))
    below, here, above = (signal[0] for signal in signals)
    np.testing.assert_allclose(found[1], (above - below) / (2 * h), atol=1e-4)
    np.testing.assert_allclose(found[2], (above - 2 * here + below) / h**2, atol=1e-3)


def test_each_order_gains_a_factor_of_the_angle():
    """Error of order n scales as alpha^(n+1); each order gains at least the factor 2.5 alpha."""
    fine, coarse = errors("decreasing", 0.05), errors("decreasing", 0.1)
    for n in range(5):
        assert coarse[n] / fine[n] == pytest.approx(2 ** (n + 1), rel=0.25)
    for angle, found in ((0.05, fine), (0.1, coarse)):
        gains = np.array(found[1:]) / found[:-1]
        assert np.all(gains < 2.5 * angle)


def test_the_constant_contour_reconstructs_short_times_only():
    constant, decreasing = errors("constant", 0.1), errors("decreasing", 0.1)
    assert constant[4] > 100 * decreasing[4]


def test_reconstruction_at_angle_zero_is_the_signal():
    assert max(errors("decreasing", 0.0)) < 1e-14


def test_matrix_signals_are_reconstructed_component_by_component():
    weights = np.stack([WEIGHTS, 2 * WEIGHTS], axis=1)
    contour = TimeContour(20.0, 0.1, "decreasing")
    moments = signal_of_poles(ENERGIES, weights, contour.z(TIMES), 3)
    both = reconstruct(contour, TIMES, moments, 2)
    np.testing.assert_allclose(both[:, 1], 2 * both[:, 0])
    alone = reconstruct(contour, TIMES, moments[..., 0], 2)  # sums in an order of its own
    np.testing.assert_allclose(both[:, 0], alone, rtol=0, atol=1e-14 * np.abs(alone).max())


@pytest.mark.parametrize(
    "build",
    [
        lambda: TimeContour(0.0),
        lambda: TimeContour(1.0, 2.0),
        lambda: TimeContour(1.0, 0.1, "spiral"),
        lambda: reconstruct(TimeContour(1.0, 0.1), TIMES, np.zeros((2, 81)), 2),
        lambda: angle_derivatives(np.zeros((2, 81)), np.zeros((3, 81))),
    ],
)
def test_bad_input_is_named(build):
    with pytest.raises(InvalidProblemError) as caught:
        build()
    assert "\n" not in str(caught.value)
