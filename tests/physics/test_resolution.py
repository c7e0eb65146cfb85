import numpy as np
import pytest

from dmftnet.errors import InvalidProblemError
from dmftnet.physics.analysis.resolution import FiniteResolution, at_resolution, sharpened
from dmftnet.physics.analysis.self_energy import dyson_spectrum
from dmftnet.physics.grids.matsubara import ImaginaryAxis
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.interaction import Interaction
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.impurity.solutions import CurveSolution, MatsubaraSolution
from dmftnet.physics.impurity.spectral_hybridization import SpectralHybridization
from dmftnet.physics.lattices.bethe import Bethe, semicircle

GRID = FrequencyGrid.geometric(1e-3, 8.0, 600)
RESOLUTION = (0.006, 0.06)


def test_a_narrow_line_gets_the_stated_gaussian_width():
    line = semicircle(GRID, 1.0, 0.01, 0.3)
    smooth = at_resolution(GRID, line, RESOLUTION)
    assert GRID.integrate(smooth) == pytest.approx(0.3, rel=1e-12)
    mean = GRID.integrate(smooth * GRID.omega) / 0.3
    width = np.sqrt(GRID.integrate(smooth * (GRID.omega - mean) ** 2) / 0.3)
    assert mean == pytest.approx(1.0, abs=0.015)  # the width grows across the line: it leans
    assert width == pytest.approx(0.066, rel=0.03)


def test_a_gap_stays_empty_and_a_flat_band_flat():
    gapped = semicircle(GRID, -1.0, 0.5, 0.1) + semicircle(GRID, 1.0, 0.5, 0.1)
    assert GRID.at_zero(at_resolution(GRID, gapped, RESOLUTION)) < 1e-12
    flat = np.where(np.abs(GRID.omega) < 1, 0.2, 0.0)
    smooth = at_resolution(GRID, flat, RESOLUTION)
    np.testing.assert_allclose(smooth[np.abs(GRID.omega) < 0.5], 0.2, rtol=1e-3)


def test_sharpening_gives_a_resonance_its_shape_back():
    """A Gaussian three times as wide as eta, beside a band; each step comes nearer."""
    peak = 2.0 * np.exp(-0.5 * (GRID.omega / 0.018) ** 2) + semicircle(GRID, 1.0, 0.5, 0.2)
    smooth = at_resolution(GRID, peak, (0.006, 0.0))
    np.testing.assert_array_equal(sharpened(GRID, smooth, 0.006, 0), smooth)
    curves = [sharpened(GRID, smooth, 0.006, steps) for steps in (0, 1, 2)]
    distances = [GRID.integrate(np.abs(A - peak)) for A in curves]
    assert distances[0] > 4 * distances[1] > 8 * distances[2]
    lost = [1 - GRID.at_zero(A) / GRID.at_zero(peak) for A in curves]
    assert lost[0] > 0.04 and abs(lost[2]) < 2e-3
    for A in curves:
        assert GRID.integrate(A) == pytest.approx(GRID.integrate(peak), rel=1e-12)
        assert np.all(A >= 0)


def test_curves_are_smoothed_together_and_an_empty_one_stays_empty():
    curves = np.stack([semicircle(GRID, 0.0, 1.0, 1.0), np.zeros(GRID.n_w)])
    both = at_resolution(GRID, curves, RESOLUTION)
    np.testing.assert_allclose(both[0], at_resolution(GRID, curves[0], RESOLUTION), atol=1e-14)
    assert not both[1].any()


def test_a_lattice_at_finite_resolution_smooths_every_hybridization():
    exact, smooth = Bethe(), FiniteResolution(Bethe(), RESOLUTION)
    assert (smooth.name, smooth.self_consistent) == (exact.name, exact.self_consistent)
    bare = exact.bare_hybridization(GRID)
    expected = at_resolution(GRID, bare, RESOLUTION)
    np.testing.assert_array_equal(smooth.bare_hybridization(GRID), expected)
    problem = ImpurityProblem.on_grid(0.0, 0.3, GRID, bare)
    solution = CurveSolution(problem, dyson_spectrum(problem, np.zeros((1, GRID.n_w))), {})
    (new,) = exact.update([problem], [solution])
    expected = at_resolution(GRID, new.spectrum, RESOLUTION)
    (found,) = smooth.update([problem], [solution])
    np.testing.assert_array_equal(found.spectrum, expected)


def test_a_resolution_refuses_values_on_the_imaginary_axis():
    """Which a lattice gives where the problem lives there."""
    axis = ImaginaryAxis(20.0)
    curve = SpectralHybridization(GRID, Bethe().bare_hybridization(GRID)).at_axis(axis)
    problem = ImpurityProblem([0.0], Interaction(0.0), curve, beta=20.0)
    solution = MatsubaraSolution(problem, axis, 4 * curve.values, 0.25)
    (new,) = Bethe().update([problem], [solution])
    np.testing.assert_allclose(new.values, curve.values, atol=1e-14)
    with pytest.raises(InvalidProblemError, match="not a MatsubaraHybridization; give the"):
        FiniteResolution(Bethe(), RESOLUTION).update([problem], [solution])


@pytest.mark.parametrize("resolution", [(0.0, 0.06), (-0.1, 0.1), (0.01, -0.1)])
def test_bad_resolutions_are_refused(resolution):
    with pytest.raises(InvalidProblemError, match="resolution"):
        FiniteResolution(Bethe(), resolution)
