"""Numbers read off a solution, on curves where they are known in closed form."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmftnet.physics.analysis.distances import kl_divergence
from dmftnet.physics.analysis.observables import (
    double_occupancy_from_curves,
    filling_from_spectrum,
    gap,
    gap_edges,
)
from dmftnet.physics.analysis.self_energy import dyson_spectrum
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.lattices.bethe import semicircle

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


def test_double_occupancy_without_interaction():
    A = semicircle(GRID, 0.3, 1.0, 1.0)
    problem = ImpurityProblem.on_grid(0.0, 0.3, GRID, semicircle(GRID, 0.3, 1.0, 0.25))
    n = filling_from_spectrum(GRID, A) / 2
    assert double_occupancy_from_curves(problem, A[None]) == pytest.approx(n**2)


@pytest.mark.parametrize("level", [-0.5, 0.0, 0.4])
def test_double_occupancy_of_a_mean_field(level):
    """``Sigma = U n/2`` gives ``F = Sigma G``: uncorrelated spins, ``(n/2)^2`` for any U.

    To 1 %: both are products of curves with a square-root edge between two grid points.
    """
    U, hybridization = 1.5, semicircle(GRID, 0.0, 1.0, 0.25)
    A = dyson_spectrum(
        ImpurityProblem.on_grid(U, level, GRID, hybridization), np.zeros((1, 800), complex)
    )
    n = filling_from_spectrum(GRID, A[0]) / 2
    problem = ImpurityProblem.on_grid(U, level - U * n, GRID, hybridization)
    assert double_occupancy_from_curves(problem, A) == pytest.approx(n**2, rel=1e-2)


def test_double_occupancy_of_the_atom():
    """Half-filled atom with a trace of a bath: none, to the bath's share Gamma/U^2."""
    U = 3.0
    problem = ImpurityProblem.on_grid(U, -U / 2, GRID, semicircle(GRID, 0.0, 1.0, 1e-3))
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
