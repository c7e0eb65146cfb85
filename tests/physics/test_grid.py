"""Frequency grids: quadrature, Kramers-Kronig and interpolation of one piecewise-linear curve."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmftnet.errors import InvalidProblemError
from dmftnet.physics.grids.real_axis import FrequencyGrid

GRID = FrequencyGrid.geometric(1e-3, 8.0, 400)

increments = st.lists(st.floats(1e-3, 2.0), min_size=3, max_size=30)
seeds = st.integers(0, 2**32 - 1)


def random_curve(steps, seed):
    """A grid around zero from its steps, and values on it."""
    omega = np.cumsum(steps) - 0.4 * np.sum(steps)
    return FrequencyGrid(omega), np.random.default_rng(seed).uniform(0, 2, len(steps))


@given(steps=increments, seed=seeds)
def test_quadrature_cumulative_and_interpolation_are_one_curve(steps, seed):
    grid, f = random_curve(steps, seed)
    fine = np.unique(np.concatenate([grid.omega, np.linspace(*grid.omega[[0, -1]], 400)]))
    values = grid.interpolate(f, fine)
    assert grid.integrate(f) == pytest.approx(np.trapezoid(values, fine), rel=1e-12)
    running = grid.cumulative(f, fine)
    by_hand = np.concatenate([[0], np.cumsum(0.5 * np.diff(fine) * (values[1:] + values[:-1]))])
    np.testing.assert_allclose(running, by_hand, atol=1e-12 * by_hand[-1])


@given(steps=increments, seed=seeds)
def test_hilbert_transform_against_quadrature_off_the_axis(steps, seed):
    """``G(w + i eta)`` by brute quadrature tends to ``H f - i pi f``; compared at interior points.

    eta = 1e-7 against cells >= 1e-3: corrections of eta/h ln(eta/h) stay below 1e-2 of f.
    """
    grid, f = random_curve(steps, seed)
    f[0] = f[-1] = 0  # a step at the edge has a true logarithmic divergence there
    x, h = grid.omega, np.diff(grid.omega)
    z = x[1:-1] + 1e-7j
    log = np.log(z[:, None] - x[:-1]) - np.log(z[:, None] - x[1:])
    slope = np.diff(f) / h
    value_at_z = f[:-1] + slope * (z[:, None] - x[:-1])
    expected = (value_at_z * log - slope * h).sum(axis=1)  # integral f(E) / (z - E), cell by cell
    np.testing.assert_allclose(grid.greens_function(f)[1:-1], expected, atol=2e-2)


@pytest.mark.parametrize(("n_w", "tolerance"), [(400, 2e-2), (1600, 3e-3)])
def test_kramers_kronig_of_the_semicircle(n_w, tolerance):
    """``G = 2 (w - sqrt(w^2 - 1))``; the cell at the band edge errs by its width to the 3/2."""
    grid = FrequencyGrid.geometric(1e-3, 8.0, n_w)
    w = grid.omega
    A = 2 / np.pi * np.sqrt(np.maximum(1 - w**2, 0))
    G = grid.greens_function(A)
    outside = np.sign(w) * np.sqrt(np.maximum(w**2 - 1, 0))
    away = np.abs(np.abs(w) - 1) > 0.1
    np.testing.assert_allclose(G.real[away], 2 * (w - outside)[away], rtol=0, atol=tolerance)
    np.testing.assert_array_equal(G.imag, -np.pi * A)


def test_geometric_grid():
    assert GRID.is_symmetric and GRID.n_w == 400
    assert np.abs(GRID.omega).min() == pytest.approx(1e-3) and not np.any(GRID.omega == 0)
    assert GRID.weights.sum() == pytest.approx(16.0)
    np.testing.assert_allclose(GRID.omega[200:] / GRID.omega[-201:-401:-1], -1)
    assert not FrequencyGrid([-1.0, 0.0, 2.0]).is_symmetric
    assert GRID == FrequencyGrid.geometric(1e-3, 8.0, 400) != FrequencyGrid.geometric(1e-3, 8, 402)
    assert hash(GRID) == hash(FrequencyGrid.geometric(1e-3, 8.0, 400))


def test_values_at_zero_and_outside():
    line = 3 + 2 * GRID.omega
    assert GRID.at_zero(np.stack([line, -line])) == pytest.approx([3, -3])
    assert GRID.interpolate(line, np.array([-9.0, 8.5])).tolist() == [0, 0]
    assert GRID.cumulative(np.ones(GRID.n_w), np.array([-20.0, 20.0])) == pytest.approx([0, 16])


def test_arrays_are_frozen_copies():
    omega = np.array([-1.0, 0.5, 2.0])
    grid = FrequencyGrid(omega)
    omega[0] = 5
    assert grid.omega[0] == -1
    with pytest.raises(ValueError, match="read-only"):
        grid.omega[0] = 0


@pytest.mark.parametrize(
    ("omega", "text"),
    [
        ([0.0, 1.0], r"at least 3 points, got shape \(2,\)"),
        (np.zeros((3, 3)), r"got shape \(3, 3\)"),
        ([0.0, np.nan, 1.0], "point 1 is nan; every point must be finite"),
        ([0.0, 2.0, np.inf], "point 2 is inf"),
        ([0.0, 2.0, 1.0], r"omega\[1\] = 2 is followed by omega\[2\] = 1; sort"),
        ([0.0, 1.0, 1.0], "increase strictly.*drop duplicates"),
    ],
)
def test_bad_points_are_refused_in_one_line(omega, text):
    with pytest.raises(InvalidProblemError, match=text) as caught:
        FrequencyGrid(omega)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((1e-3, 8.0, 7), "n_w = 7: .*even"),
        ((1e-3, 8.0, 2), "n_w = 2"),
        ((0.0, 8.0, 10), "w_min = 0.0, w_max = 8.0: .*0 < w_min < w_max"),
        ((2.0, 1.0, 10), "w_min = 2.0"),
    ],
)
def test_bad_geometric_grids_are_refused(arguments, text):
    with pytest.raises(InvalidProblemError, match=text):
        FrequencyGrid.geometric(*arguments)


def test_cauchy_integral_off_the_real_axis():
    """A box and a triangle in closed form; far away the moments, near the axis the Hilbert pair."""
    grid = FrequencyGrid(np.array([-1.0, -0.5, 0.25, 1.0]))
    z = np.array([0.3 + 0.01j, -2.0 + 1.0j, 5.0j, 1e3j])
    box, ramp = np.ones(4), grid.omega
    logarithm = np.log((z + 1) / (z - 1))
    np.testing.assert_allclose(grid.cauchy(box, z), logarithm, rtol=1e-10)
    np.testing.assert_allclose(grid.cauchy(ramp, z), z * logarithm - 2, rtol=1e-6)
    assert grid.cauchy(np.stack([box, ramp]), z).shape == (2, 4)


@pytest.mark.parametrize("y", [1e-9, 1e-6])
def test_cauchy_integral_approaches_the_retarded_function(y):
    grid = FrequencyGrid.geometric(1e-3, 4.0, 200)
    A = np.exp(-((grid.omega - 0.3) ** 2))
    inner = slice(1, -1)  # at the ends the curve has a step
    near = grid.cauchy(A, grid.omega[inner] + 1j * y)
    # y times the curve's slope, of order one, and its logarithm
    np.testing.assert_allclose(near, grid.greens_function(A)[inner], rtol=0, atol=20 * y)
