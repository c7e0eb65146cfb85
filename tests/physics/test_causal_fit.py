"""Positive measures at Matsubara frequencies against levels and closed forms that made them."""

import numpy as np
import pytest

from dmftnet.physics.grids.causal_fit import causal_fit
from dmftnet.physics.grids.matsubara import ImaginaryAxis

BETA = 50.0
ENERGIES = np.array([-1.234, -0.31, 0.0123, 0.456, 1.9])
LISTS = {
    "long": np.arange(1024),
    "short": np.arange(100),
    "subset": np.unique(np.rint(np.geomspace(1, 600, 60)).astype(int)) - 1,
}
WEIGHTS = np.array([0.1, 0.02, 0.05, 0.06, 0.1])


def levels(z):
    return (WEIGHTS / (z[:, None] - ENERGIES)).sum(1)


def semicircle(z):
    return 0.5 / (z + np.sqrt(z - 1) * np.sqrt(z + 1))


def iw(numbers):
    return 1j * (2 * np.asarray(numbers) + 1) * np.pi / BETA


@pytest.mark.parametrize("exact", [levels, semicircle])
@pytest.mark.parametrize("which", LISTS)
def test_every_frequency_follows(exact, which):
    """Between the given ones and beyond: the tail 1/iw, too."""
    z = iw(LISTS[which])
    fit = causal_fit(z.imag, exact(z), BETA, 8.0)
    assert fit.residual < 2e-12 and fit.weights.min() > 0 and np.abs(fit.energies).max() <= 8
    everywhere = iw([0, 1, 5, 37, 200, 2000, 100_000])
    error = np.abs(fit.at(everywhere) - exact(everywhere))
    assert (error * np.maximum(1, everywhere.imag)).max() < 1e-11


def test_twenty_frequencies_say_what_follows():
    """Up to w = 2.5 D, all weight below 1 D; positivity does the rest."""
    z, axis = iw(np.arange(20)), ImaginaryAxis(BETA)
    fit = causal_fit(z.imag, semicircle(z), BETA, axis.w_max)
    assert fit.residual < 2e-12
    at = 1j * axis.omega_n
    np.testing.assert_allclose(fit.at(at), semicircle(at), rtol=0, atol=1e-10)


@pytest.mark.parametrize("noise", [1e-3, 1e-5])
def test_noise_is_not_followed(noise):
    """Of 500 values, mean deviation over seeds: a fraction of the noise, and as causal."""
    z, at = iw(np.arange(500)), iw(np.arange(40))
    left, told = [], []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        spoiled = levels(z) + noise * (rng.normal(size=500) + 1j * rng.normal(size=500))
        fit = causal_fit(z.imag, spoiled, BETA, 8.0)
        left.append(np.sqrt(np.mean(np.abs(fit.at(at) - levels(at)) ** 2)))
        told.append(fit.residual * np.abs(spoiled).max())
        assert fit.weights.min() > 0
    assert np.mean(left) < 0.6 * noise  # the noise itself: 1.4
    assert 2 * noise < np.mean(told) < 6 * noise  # the largest of 500


def test_what_is_not_causal_is_told():
    """A constant, and a spectrum beyond w_max."""
    z = iw(np.arange(300))
    assert causal_fit(z.imag, levels(z) + 0.1, BETA, 8.0).residual > 0.02
    assert causal_fit(z.imag, levels(z), BETA, 1.0).residual > 0.01
    assert causal_fit(z.imag, -levels(z), BETA, 8.0).residual == pytest.approx(1, abs=0.05)


def test_nothing_stays_nothing():
    z = iw(np.arange(30))
    fit = causal_fit(z.imag, np.zeros(30, complex), BETA, 8.0)
    assert fit.residual == 0 and np.all(fit.at(z) == 0)
