"""The imaginary axis: values at frequencies that are no sampling points."""

import numpy as np
import pytest

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
