"""The compiled Dyson equation against plain integrals and bisection, and against numpy's."""

import numpy as np
import pytest
from scipy.optimize import brentq

from dmftnet.physics.analysis.causal_dyson import CausalDyson, cell_weights
from dmftnet.physics.analysis.self_energy import dyson_spectrum, inverse_weights
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.problem import ImpurityProblem

GRID = FrequencyGrid.geometric(4e-3, 8.0, 200)
LOPSIDED = FrequencyGrid(np.linspace(-5.0, 6.3, 231))
GRIDS = pytest.mark.parametrize("grid", [GRID, LOPSIDED], ids=["symmetric", "lopsided"])


def curves(grid, n, seed):
    """(n, n_w) sums of Gaussians, of any norm."""
    rng, result = np.random.default_rng(seed), np.full((n, grid.n_w), 1e-6)
    for row in result:
        for _ in range(rng.integers(1, 4)):
            centre, width = rng.uniform(-3, 3), 10.0 ** rng.uniform(-1.5, 0.2)
            row += rng.uniform(0.1, 1) * np.exp(-0.5 * ((grid.omega - centre) / width) ** 2)
    return result


def problems(grid, n=12):
    shapes, baths = curves(grid, n, 0), curves(grid, n, 1)
    rng = np.random.default_rng(2)
    U = rng.uniform(0, 6, n)
    return shapes, 0.3 * baths, U, rng.uniform(-1, 1, n) - U / 2


def spectrum(grid, shape, bath, U, level, n):
    """A of a density, by numpy."""
    density = U**2 * n * (1 - n) * shape / grid.integrate(shape)
    problem = ImpurityProblem.on_grid(U, level, grid, bath)
    A = dyson_spectrum(problem, (U * n + grid.greens_function(density))[None])[0]
    return A / grid.integrate(A)


@GRIDS
def test_the_density_is_the_root_that_bisection_finds(grid):
    found = CausalDyson(grid)(*problems(grid))
    for i, problem in enumerate(zip(*problems(grid), strict=True)):

        def surplus(n, problem=problem):
            return grid.cumulative(spectrum(grid, *problem, n), np.zeros(1))[0] - n

        assert found.density[i] == pytest.approx(brentq(surplus, 0, 1, xtol=1e-13), abs=2e-9)


@GRIDS
def test_spectrum_and_self_energy_are_those_of_the_density(grid):
    shapes, baths, U, level = problems(grid)
    A, sigma, n = CausalDyson(grid)(shapes, baths, U, level)
    for i in range(len(U)):
        expected = spectrum(grid, shapes[i], baths[i], U[i], level[i], n[i])
        np.testing.assert_allclose(A[i], expected, rtol=1e-9, atol=1e-11)
        density = U[i] ** 2 * n[i] * (1 - n[i]) * shapes[i] / grid.integrate(shapes[i])
        wanted = U[i] * n[i] + grid.greens_function(density)
        np.testing.assert_allclose(sigma[i], wanted, rtol=0, atol=1e-11)


def test_cells_are_those_of_numpy_where_it_is_precise_too():
    """A flat denominator by series, a bound state by logarithms, and a shape of more axes."""
    rng = np.random.default_rng(3)
    real = np.stack([GRID.omega - 0.3, GRID.omega + 5.0, 50 + 1e-3 * GRID.omega])
    imag = np.stack([np.zeros(GRID.n_w), 0.1 * rng.random(GRID.n_w), np.full(GRID.n_w, 2.0)])
    width = np.diff(GRID.omega)
    expected = inverse_weights(real, imag, width)
    np.testing.assert_allclose(cell_weights(real, imag, width), expected, rtol=1e-10, atol=1e-16)
    more = cell_weights(real[:, None], imag[None], width)
    np.testing.assert_allclose(more[1, 1], expected[1], rtol=1e-10, atol=1e-16)
    assert expected[0].sum() == pytest.approx(1, abs=1e-3)  # one level


def test_a_value_that_is_no_number_stays_one():
    shapes, baths, U, level = problems(GRID, 2)
    shapes[1, 7] = np.nan
    found = CausalDyson(GRID)(shapes, baths, U, level)
    assert np.isfinite(found.spectrum[0]).all() and not np.isfinite(found.spectrum[1]).any()
