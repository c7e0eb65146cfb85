"""Numbers read off a solution, on curves where they are known in closed form."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmftnet.physics.grid import FrequencyGrid
from dmftnet.physics.impurity import ImpurityProblem
from dmftnet.physics.lattice import semicircle
from dmftnet.physics.observables import (
    double_occupancy_from_curves,
    exact_moments,
    filling_from_spectrum,
    gap,
    gap_edges,
    kl_divergence,
    quasiparticle_weight,
    quasiparticle_weight_matsubara,
    spectral_weight_vanishes,
)
from dmftnet.physics.self_energy import dyson_spectrum

GRID = FrequencyGrid.geometric(1e-3, 8.0, 800)
W = GRID.omega


def gaussian(centre, width):
    return np.exp(-0.5 * ((W - centre) / width) ** 2) / np.sqrt(2 * np.pi) / width


@given(centres=st.tuples(st.floats(-2, 2), st.floats(-2, 2)), width=st.floats(0.3, 1))
def test_kl_is_non_negative_and_zero_for_equals(centres, width):
    P, Q = (gaussian(c, width) for c in centres)
    assert kl_divergence(GRID, P, Q) >= -1e-15
    assert kl_divergence(GRID, P, P) == 0


def test_kl_of_gaussians():
    """``ln(s2/s1) + (s1^2 + d^2)/(2 s2^2) - 1/2``; the quadrature of 4 % cells errs by 1e-3."""
    expected = np.log(0.8 / 0.5) + (0.25 + 0.09) / (2 * 0.64) - 0.5
    found = kl_divergence(GRID, gaussian(0.1, 0.5), gaussian(0.4, 0.8))
    assert found == pytest.approx(expected, rel=2e-3)


def test_kl_of_a_scaled_spectrum():
    """Q = c P of norm 1: ``c - 1 - ln c``, the generalised form for different norms."""
    P = semicircle(GRID, 0.0, 1.0, 1.0)
    for c in (0.5, 0.9, 2.0):
        assert kl_divergence(GRID, P, c * P) == pytest.approx(c - 1 - np.log(c), rel=1e-9)


def test_kl_where_one_vanishes():
    """Q where P is zero costs its weight; P where Q is zero costs much, but finitely."""
    left, right = semicircle(GRID, -2.0, 0.5, 1.0), semicircle(GRID, 2.0, 0.5, 1.0)
    assert kl_divergence(GRID, left, left + right) == pytest.approx(1, rel=1e-6)
    assert 20 < kl_divergence(GRID, left, right) < 30  # ln(1e12) = 27.6, minus P ln P and norms
    assert kl_divergence(GRID, np.stack([left, right]), left).shape == (2,)


@given(centre=st.floats(-0.9, 0.9))
def test_filling_of_a_shifted_band(centre):
    """Area of a circle's segment: ``1 - (2/pi)(x sqrt(1 - x^2) + arcsin x)`` for both spins."""
    exact = 1 - 2 / np.pi * (centre * np.sqrt(1 - centre**2) + np.arcsin(centre))
    A = semicircle(GRID, centre, 1.0, 1.0)
    assert filling_from_spectrum(GRID, A) == pytest.approx(exact, abs=1e-3)


@pytest.mark.parametrize(("Z", "e"), [(0.02, 0.06), (0.05, 0.1), (0.3, 0.2), (0.8, 0.7)])
def test_z_of_a_fermi_liquid(Z, e):
    """Two poles of Sigma at +-e, broadened as by a solver; they come close near a Mott transition.

    ``Z = 1/(1 + 2 g^2/e^2)``; the curvature over 0.15 Z changes it by (0.15 Z/e)^2: 5 %.
    """
    g2, width = 0.5 * (1 / Z - 1) * e**2, 2e-3 + 0.05 * np.abs(W)
    sigma = 1.0 + g2 * (1 / (W - e + 1j * width) + 1 / (W + e + 1j * width))
    assert quasiparticle_weight(GRID, sigma) == pytest.approx(Z, rel=5e-2)


def test_z_without_a_self_energy_is_one():
    assert quasiparticle_weight(GRID, np.full(GRID.n_w, 0.3 + 0j)) == pytest.approx(1)


def test_z_matsubara_of_two_poles():
    """``Sigma = g^2 [1/(z - e) + 1/(z + e)]``: ``Z = 1/(1 + 2 g^2/(e^2 + w0^2))``."""
    g2, e = 0.3, 0.7
    S = g2 * (gaussian(e, 0.03) + gaussian(-e, 0.03))
    sigma = GRID.greens_function(S)
    for w0 in (0.01, 0.3):
        exact = 1 / (1 + 2 * g2 / (e**2 + w0**2))
        assert quasiparticle_weight_matsubara(GRID, sigma, w0) == pytest.approx(exact, rel=1e-2)
    slope_form = quasiparticle_weight(GRID, sigma)  # the same at w0 -> 0 for a causal Sigma
    assert slope_form == pytest.approx(1 / (1 + 2 * g2 / e**2), rel=1e-2)


@pytest.mark.parametrize("eta", [1e-6, 2e-3])
def test_z_vanishes_in_a_mott_insulator(eta):
    """``Sigma = U/2 + U^2/4 / w``: a pole at zero, resolved by the grid or not."""
    sigma = 2.0 + 4.0 / (W + 1j * eta)
    assert spectral_weight_vanishes(GRID, sigma)
    assert quasiparticle_weight(GRID, sigma) == 0
    assert quasiparticle_weight_matsubara(GRID, sigma) == 0


def test_noise_on_a_flat_self_energy_is_no_pole():
    """A network's self-energy of a weakly interacting metal: nothing but small errors."""
    noise = 0.02 * np.cos(40 * np.arcsinh(W / 1e-2)) / (1 + np.abs(W))
    assert not spectral_weight_vanishes(GRID, 0.1 + noise - 1e-3j)
    assert quasiparticle_weight(GRID, np.full(W.size, 0.1 - 1e-9j)) == 1


def test_double_occupancy_without_interaction():
    A = semicircle(GRID, 0.3, 1.0, 1.0)
    problem = ImpurityProblem(0.0, 0.3, GRID, semicircle(GRID, 0.3, 1.0, 0.25))
    n = filling_from_spectrum(GRID, A) / 2
    assert double_occupancy_from_curves(problem, A[None]) == pytest.approx(n**2)


@pytest.mark.parametrize("level", [-0.5, 0.0, 0.4])
def test_double_occupancy_of_a_mean_field(level):
    """``Sigma = U n/2`` gives ``F = Sigma G``: uncorrelated spins, ``(n/2)^2`` for any U.

    To 1 %: both are products of curves with a square-root edge between two grid points.
    """
    U, hybridization = 1.5, semicircle(GRID, 0.0, 1.0, 0.25)
    A = dyson_spectrum(ImpurityProblem(U, level, GRID, hybridization), np.zeros((1, 800), complex))
    n = filling_from_spectrum(GRID, A[0]) / 2
    problem = ImpurityProblem(U, level - U * n, GRID, hybridization)
    assert double_occupancy_from_curves(problem, A) == pytest.approx(n**2, rel=1e-2)


def test_double_occupancy_of_the_atom():
    """Half-filled atom with a trace of a bath: none, to the bath's share Gamma/U^2."""
    U = 3.0
    problem = ImpurityProblem(U, -U / 2, GRID, semicircle(GRID, 0.0, 1.0, 1e-3))
    sigma = (U / 2 + U**2 / 4 / (W + 1e-9j))[None]
    found = double_occupancy_from_curves(problem, dyson_spectrum(problem, sigma))
    assert abs(found) < 5e-3


def test_gap():
    A = semicircle(GRID, -1.2, 0.7, 0.5) + semicircle(GRID, 1.5, 0.7, 0.5)
    low, high = gap_edges(GRID, A)
    assert low == pytest.approx(-0.5, abs=0.02) and high == pytest.approx(0.8, abs=0.03)
    assert gap(GRID, A) == pytest.approx(high - low)
    assert gap(GRID, semicircle(GRID, 0.0, 1.0, 1.0)) == 0
    assert gap_edges(GRID, semicircle(GRID, 0.0, 1.0, 1.0)) is None
    assert gap(GRID, np.zeros(GRID.n_w)) == 16


def test_exact_moments():
    np.testing.assert_array_equal(exact_moments(2.0, -1.0, 1.0), [1.0, 0.0])
    np.testing.assert_array_equal(exact_moments(0.0, 0.3, 0.7), [1.0, 0.3])
