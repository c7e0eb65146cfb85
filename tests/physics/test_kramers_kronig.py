"""Kramers-Kronig of curves: by parity, by FFT and by the matrix it is one map, precise far away."""

import numpy as np
import pytest

from dmftnet.physics.grids.kramers_kronig import LARGE
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.lattices.bethe import semicircle

LARGE_GRID = FrequencyGrid.geometric(5e-4, 8.0, 2 * LARGE + 4)
GRIDS = {
    "small": FrequencyGrid.geometric(4e-3, 8.0, 200),
    "large": LARGE_GRID,
    "lopsided": FrequencyGrid(np.linspace(-5.0, 6.3, 231)),
    "symmetric": FrequencyGrid(np.sinh(np.linspace(-3.0, 3.0, 2 * LARGE + 2))),
}
each_grid = pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)


@each_grid
def test_curves_of_any_parity_are_those_of_the_matrix(grid):
    some = np.random.default_rng(0).random((3, grid.n_w))
    even = some + some[:, ::-1]
    for curves in (some, even, some[0], np.stack([some, even]), some + 1j * even):
        expected = curves @ grid.hilbert.T
        np.testing.assert_allclose(grid.kramers_kronig(curves), expected, atol=1e-11)


def test_the_semicircle_on_a_large_grid():
    """``Re G = 2 (w - sqrt(w^2 - 1))`` outside the band, 2 w inside, but for cells at its edges."""
    grid = LARGE_GRID
    w, found = grid.omega, grid.kramers_kronig(semicircle(grid, 0.0, 1.0, 1.0))
    outside = np.sign(w) * np.sqrt(np.maximum(w**2 - 1, 0.0))
    away = np.abs(np.abs(w) - 1) > 0.05
    np.testing.assert_allclose(found[away], (2 * (w - outside))[away], atol=1e-2)


def test_a_far_hat_is_a_pole():
    """Logarithms of its two cells cancel to their last digits."""
    w, H = LARGE_GRID.omega, LARGE_GRID.hilbert
    k = LARGE_GRID.n_w // 2 + 5  # close to zero
    mean = w[k - 1 : k + 2].mean()
    assert H[-1, k] == pytest.approx(LARGE_GRID.weights[k] / (w[-1] - mean), rel=1e-7)
