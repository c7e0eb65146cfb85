"""The rotation kernels on a grid against rotated poles, their derivative, the reconstruction."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmftnet.errors import ConvergenceError, InvalidProblemError
from dmftnet.physics.grids import rotation
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.grids.rotation import (
    Banded,
    rotation_kernel,
    rotation_kernel_derivative,
    smoothing_kernel,
)
from dmftnet.physics.impurity.poles import PoleSpectrum

GRID = FrequencyGrid.geometric(2e-3, 6.0, 200)
TARGET = FrequencyGrid.geometric(1e-2, 5.0, 40)

angles = st.floats(0.05, 1.3)


@st.composite
def spectra(draw, reach=3.0, narrowest=0.1):
    """A few normalised Gaussians inside the grid, (n_w,)."""
    peaks = draw(
        st.lists(
            st.tuples(st.floats(-reach, reach), st.floats(narrowest, 0.7), st.floats(0.1, 1)),
            min_size=1,
            max_size=4,
        )
    )
    A = sum(h * np.exp(-0.5 * ((GRID.omega - c) / s) ** 2) for c, s, h in peaks)
    return A / GRID.integrate(A)


def poles_of_the_curve(A, n_gauss=24):
    """Many poles that stand for the piecewise-linear curve: Gauss-Legendre points in each cell."""
    nodes = np.sort(np.append(GRID.omega, 0.0))
    x, w = np.polynomial.legendre.leggauss(n_gauss)
    half, middle = 0.5 * np.diff(nodes)[:, None], 0.5 * (nodes[1:] + nodes[:-1])[:, None]
    energies = (middle + half * x).ravel()
    return PoleSpectrum(energies, (half * w).ravel() * GRID.interpolate(A, energies))


def semicircle(grid):
    return 2 / np.pi * np.sqrt(np.maximum(1 - grid.omega**2, 0))


@settings(max_examples=20)
@given(A=spectra(), angle=angles)
def test_kernels_equal_rotated_poles(A, angle):
    """24 Gauss points a cell of 8 % width resolve a kernel of 5 % or more to 1e-9."""
    poles = poles_of_the_curve(A)
    rotated = rotation_kernel(GRID, angle, TARGET) @ A
    np.testing.assert_allclose(rotated, poles.spectrum(TARGET.omega, angle), rtol=0, atol=1e-9)
    derivative = rotation_kernel_derivative(GRID, angle, TARGET) @ A
    exact = -poles.greens_angle_derivative(TARGET.omega, angle).imag / np.pi
    np.testing.assert_allclose(derivative, exact, rtol=0, atol=1e-8)


@settings(max_examples=20)
@given(A=spectra(), angle=angles)
def test_rotation_is_causal_and_keeps_the_norm(A, angle):
    """``integral A(w, alpha) dw = 1``; beyond the grid lie Lorentzian tails ~ <|E|> sin/(pi W)."""
    K = rotation_kernel(GRID, angle)
    assert K.min() >= -1e-15
    missing = 1 - GRID.integrate(K @ A)
    tail = 2 / np.pi * GRID.integrate(np.abs(GRID.omega) * A) * np.sin(angle) / GRID.omega[-1]
    assert -2e-3 < missing < 3 * tail + 2e-3  # 2e-3: the trapezoids of a coarse geometric grid


@settings(max_examples=20)
@given(A=spectra(), angle=angles)
def test_rotation_commutes_with_particle_hole_exchange(A, angle):
    K = rotation_kernel(GRID, angle)
    np.testing.assert_allclose(K @ A[::-1], (K @ A)[::-1], rtol=0, atol=1e-12)


@settings(max_examples=10)
@given(A=spectra(), angle=st.floats(0.05, 1.2))
def test_derivative_against_central_differences(A, angle):
    """Error h^2/6 of the third derivative, ~ A/alpha^3: 1e-4 at alpha = 0.05, h = 1e-4."""
    h = 1e-4
    difference = rotation_kernel(GRID, angle + h) - rotation_kernel(GRID, angle - h)
    exact = rotation_kernel_derivative(GRID, angle) @ A
    np.testing.assert_allclose(difference @ A / (2 * h), exact, rtol=0, atol=1e-4)


@settings(max_examples=15)
@given(A=spectra(reach=1.0, narrowest=0.4))
def test_reconstruction_of_the_rotation_is_second_order(A):
    """Halving the angle quarters the error of smooth spectra, within the next order at 0.1.

    Only |w| > 0.02: a piecewise-linear curve has a kink at its central points.
    """
    target = np.abs(GRID.omega) > 0.02

    def error(angle):
        rotated = rotation_kernel(GRID, angle) @ A
        derivative = rotation_kernel_derivative(GRID, angle) @ A
        back = rotated - angle * derivative
        return np.abs(back - A)[target].max(), np.abs(rotated - A)[target].max()

    (coarse, without), (fine, _) = error(0.2), error(0.1)
    assert coarse < 0.5 * without
    assert 2.5 < coarse / fine < 4.5


@pytest.mark.parametrize(
    ("angle", "with_step", "without", "edge"),
    [
        (0.05, 8e-4, 0.066, 0.066),
        (0.1, 3.3e-3, 0.13, 0.088),
        (0.2, 1.4e-2, 0.25, 0.110),
        (0.3, 3.3e-2, 0.37, 0.121),
    ],
)
def test_check_values_of_the_semicircle(angle, with_step, without, edge):
    """Errors of A at w = 0.01 and w = 1, angle by angle; two digits each, so 3 %.

    The first two are the figures of docs/physics. The edge comes from adaptive quadrature of the
    kernel's formula (scipy.integrate.quad, central difference in the angle), and lies in the range
    0.04 to 0.12 given there.
    """
    source = FrequencyGrid(np.sin(np.linspace(-np.pi / 2, np.pi / 2, 1200)))  # dense at the edges
    at = FrequencyGrid([-0.01, 0.01, 1.0])
    exact = semicircle(at)
    rotated = rotation_kernel(source, angle, at) @ semicircle(source)
    derivative = rotation_kernel_derivative(source, angle, at) @ semicircle(source)
    back = rotated - angle * derivative
    assert abs(back - exact)[1] == pytest.approx(with_step, rel=0.03)
    assert abs(rotated - exact)[1] == pytest.approx(without, rel=0.03)
    assert abs(back - exact)[2] == pytest.approx(edge, rel=0.03)


@settings(max_examples=15)
@given(A=spectra(), eta=st.floats(1e-3, 0.05), slope=st.floats(0, 0.1))
def test_smoothing_keeps_the_norm_and_a_flat_metal(A, eta, slope):
    """Both to the tolerance of the scaling, 1e-12 a step."""
    S = smoothing_kernel(GRID, eta, slope)
    assert S.min() >= 0
    assert GRID.integrate(S @ A) == pytest.approx(1, abs=1e-9)
    np.testing.assert_allclose(S.sum(axis=1), 1, rtol=0, atol=1e-9)
    np.testing.assert_allclose(S @ A[::-1], (S @ A)[::-1], rtol=0, atol=1e-9)


def test_smoothing_onto_another_grid_reads_the_curve_off():
    """Points closer than 1.5 widths keep the norm to 1 %, as the docstring promises."""
    A = semicircle(GRID) / GRID.integrate(semicircle(GRID))
    smooth = smoothing_kernel(GRID, 0.02, 0.05) @ A
    dense = FrequencyGrid.geometric(5e-3, 5.0, 200)  # steps of 7 % of |w|, at most 0.01 at zero
    onto = smoothing_kernel(GRID, 0.02, 0.05, dense) @ A
    np.testing.assert_allclose(onto, GRID.interpolate(smooth, dense.omega), rtol=0, atol=1e-12)
    assert dense.integrate(onto) == pytest.approx(1, abs=1e-2)


def test_smoothing_has_the_width_it_says():
    """A peak at 1 gets the standard deviation eta + slope, and slope^2/4 more by the mean width."""
    fine = FrequencyGrid(np.linspace(-2, 2, 2402))
    S = smoothing_kernel(fine, 0.05, 0.1)
    peak = S @ (np.exp(-0.5 * ((fine.omega - 1) / 5e-3) ** 2) / np.sqrt(2 * np.pi) / 5e-3)
    variance = fine.integrate(peak * (fine.omega - 1) ** 2)
    assert np.sqrt(variance) == pytest.approx(0.15, rel=3e-2)


def test_angle_zero_interpolates():
    A = semicircle(GRID)
    np.testing.assert_array_equal(rotation_kernel(GRID, 0.0) @ A, A)
    np.testing.assert_allclose(
        rotation_kernel(GRID, 0.0, TARGET) @ A, GRID.interpolate(A, TARGET.omega), atol=1e-15
    )


def test_tiny_angle_tends_to_the_curve():
    """The exact cell integrals stay finite where the kernel is far sharper than any cell."""
    A = semicircle(GRID)
    assert GRID.integrate(np.abs(rotation_kernel(GRID, 1e-6) @ A - A)) < 1e-4


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: rotation_kernel(GRID, -0.1), "angle = -0.1: .*0 <= angle < pi/2"),
        (lambda: rotation_kernel(GRID, 1.6), "angle = 1.6"),
        (lambda: rotation_kernel_derivative(GRID, 0), "angle 0; use an angle > 0"),
        (lambda: rotation_kernel(FrequencyGrid([-1.0, 0.0, 1.0]), 0.1), "without a point at zero"),
    ],
)
def test_bad_input_is_refused(make, text):
    with pytest.raises(InvalidProblemError, match=text):
        make()


def test_a_resolution_that_cannot_be_balanced_is_told(monkeypatch):
    """Norms would be off; two scalings are too few for so wide a kernel."""
    monkeypatch.setattr(rotation, "MAX_SCALINGS", 2)
    with pytest.raises(ConvergenceError, match=r"norm is off by .* use a smaller slope") as caught:
        smoothing_kernel(FrequencyGrid.geometric(1e-2, 6.0, 60), 0.01, 0.5)
    assert "\n" not in str(caught.value)


def test_a_banded_kernel_is_the_kernel():
    """Of Gaussians that are narrow, wide, and nowhere; in either direction."""
    kernel = smoothing_kernel(GRID, 5e-3, 0.05, TARGET)
    curves = np.random.default_rng(0).random((3, GRID.n_w))
    banded = Banded(kernel)
    assert banded.values.size < 0.7 * kernel.size
    np.testing.assert_allclose(banded(curves), curves @ kernel.T, rtol=1e-12, atol=1e-15)
    kernel[:, 17] = 0.0
    np.testing.assert_allclose(Banded(kernel)(curves), curves @ kernel.T, rtol=1e-12, atol=1e-15)
