"""The imaginary axis: values at frequencies that are no sampling points."""

import numpy as np
import pytest

from dmftnet.errors import SettingError
from dmftnet.physics.grids.matsubara import ImaginaryAxis
from dmftnet.physics.impurity.pole_hybridization import PoleHybridization

LEVELS = PoleHybridization(
    np.array([-1.9, -0.4, 0.0, 0.02, 7.5]),
    np.array([[0.3, 0.1j], [0.2, 0.4], [0.1, -0.2], [0.3j, 0.2], [0.2, 0.3 + 0.1j]]),
)


@pytest.mark.parametrize("beta", [1.0, 50.0, 100.0])
def test_any_frequency_follows_from_the_sampling_points(beta):
    """Of a complex matrix, of either sign, to the accuracy of the basis, 1e-10 of the largest."""
    axis = ImaginaryAxis(beta)
    indices = np.array([-401, -3, -1, 1, 3, 5, 21, 53, 401])
    exact = LEVELS.at(1j * indices * np.pi / beta)
    coefficients = axis.to_coefficients(LEVELS.at(1j * axis.omega_n))
    found = axis.at_frequencies(coefficients, indices)
    assert found.shape == (2, 2, indices.size)
    np.testing.assert_allclose(found, exact, rtol=0, atol=2e-10 * np.abs(exact).max())
    one = axis.to_coefficients(LEVELS.at(1j * axis.omega_n)[0])
    np.testing.assert_allclose(
        axis.at_frequencies(one, indices)[0], exact[0, 0], rtol=0, atol=2e-10 * np.abs(exact).max()
    )


@pytest.mark.parametrize("axis", [ImaginaryAxis(50.0), ImaginaryAxis.universal(1.0)])
def test_a_constant_and_any_frequency_of_a_self_energy(axis):
    """Poles and a Hermitian constant, of a matrix and of its diagonal; 1e-10 of the largest."""
    constant = np.array([[1.3, 0.2j], [-0.2j, -0.4]])

    def sigma(odd):
        return constant[:, :, None] + LEVELS.at(1j * odd * np.pi / axis.beta)

    values, odd = sigma(axis.indices), 2 * np.array([0, 1, 2, 30, 777, 20_000]) + 1
    limit = 1e-10 * np.abs(values).max()
    found = axis.interpolated(values, odd)
    np.testing.assert_allclose(found, sigma(odd), rtol=0, atol=limit)
    rows = axis.interpolated(values[[0, 1], [0, 1]], odd)
    np.testing.assert_allclose(rows, sigma(odd)[[0, 1], [0, 1]], rtol=0, atol=limit)
    np.testing.assert_allclose(
        axis.interpolated(values[0, 0], odd), sigma(odd)[0, 0], rtol=0, atol=limit
    )


BETAS = (1.0, 2.0, 5.0, 7.0, 10.0, 20.0, 35.0, 50.0, 100.0)


@pytest.mark.parametrize("beta", BETAS)
def test_an_axis_of_fixed_size_has_the_same_points_at_every_temperature(beta):
    """And holds a level anywhere within w_max to 1e-9, so any spectrum of norm one."""
    axis, other = ImaginaryAxis.universal(beta), ImaginaryAxis.universal(3.0)
    np.testing.assert_array_equal(axis.indices, other.indices)
    np.testing.assert_allclose(axis.tau / beta, other.tau / 3, rtol=0, atol=4e-16)
    assert axis.indices.size == 28 and axis.tau.size == 56
    scan = np.concatenate([np.linspace(-1, 1, 321), np.linspace(-0.01, 0.01, 100)])
    energies = axis.w_max * scan[:, None]
    coefficients = axis.to_coefficients(1 / (1j * axis.omega_n - energies))
    tau = beta * np.array([0.0, 1e-5, 1e-3, 0.1, 0.5, 0.9, 0.999, 1.0])
    exact = -np.exp(-energies * tau - np.logaddexp(0, -beta * energies))
    np.testing.assert_allclose(axis.at_tau(coefficients, tau), exact, rtol=0, atol=1e-9)
    odd = 2 * np.array([0, 1, 7, 20, 100, 3000]) + 1
    exact = 1 / (1j * odd * np.pi / beta - energies)
    found = axis.at_frequencies(coefficients, odd)
    np.testing.assert_allclose(found, exact, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"beta": 0.0}, "beta = 0.0: give a number > 0"),
        ({"beta": 10.0, "size": 0}, "size = 0: give a number > 0"),
        ({"beta": 0.01}, "w_max = 160000.0: give a number > 0 and <= 10000"),
    ],
)
def test_bad_axes(arguments, words):
    with pytest.raises(SettingError, match=words):
        ImaginaryAxis.universal(**arguments)
