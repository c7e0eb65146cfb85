"""Poles: moments, causality and exact rotation into complex time."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmftnet.errors import InvalidProblemError
from dmftnet.physics.impurity.poles import PoleSpectrum, ResponsePoles, gaussian_kernel

OMEGA = np.linspace(-6, 6, 301)

energy = st.floats(1e-3, 4.0) | st.floats(-4.0, -1e-3)
poles = st.lists(st.tuples(energy, st.floats(0.0, 1.0)), min_size=1, max_size=12).map(
    lambda pairs: PoleSpectrum(*np.array(pairs).T)
)
angles = st.floats(0.02, 1.5)


@given(spectrum=poles)
def test_moments_are_sums_over_poles_and_the_tail_of_G(spectrum):
    """``G(z) = sum_k m_k / z^(k+1)``: at |z| = 4000 the eighth term is below rounding."""
    m = spectrum.moments(5)
    for k in range(5):
        assert m[k] == pytest.approx(np.sum(spectrum.weights * spectrum.energies**k), abs=1e-9)
    z = np.array([4000.0j])
    tail = (spectrum.moments(8) / z ** np.arange(1, 9)).sum()
    assert abs(spectrum.greens(z)[0] - tail) <= 1e-15 * max(1, spectrum.weights.sum())


@given(spectrum=poles, angle=angles)
def test_rotated_spectra_are_causal_and_keep_their_norm(spectrum, angle):
    A = spectrum.spectrum(OMEGA, angle)
    assert A.min() >= 0
    # the Lorentzians' weight in a window: arctangents, in closed form
    c, s = np.cos(angle), np.abs(spectrum.energies) * np.sin(angle)
    inside = np.arctan((1e9 - spectrum.energies * c) / s) - np.arctan(
        (-1e9 - spectrum.energies * c) / s
    )
    assert spectrum.weights @ inside / np.pi == pytest.approx(spectrum.weights.sum(), abs=1e-7)
    exact = (spectrum.weights * s / ((OMEGA[:, None] - spectrum.energies * c) ** 2 + s**2)).sum(1)
    np.testing.assert_allclose(A, exact / np.pi, rtol=1e-9, atol=1e-14)


@given(spectrum=poles, angle=st.floats(0.02, 1.4))
def test_angle_derivative_against_central_differences(spectrum, angle):
    """Step 1e-5 of a function whose scale is the angle: 1e-5 of the largest value."""
    h = 1e-5
    exact = spectrum.greens_angle_derivative(OMEGA, angle)
    numeric = (spectrum.greens(OMEGA, angle + h) - spectrum.greens(OMEGA, angle - h)) / (2 * h)
    scale = np.abs(spectrum.weights / spectrum.energies).sum() / angle**2
    assert np.abs(exact - numeric).max() <= 1e-5 * max(scale, 1e-12)


@given(spectrum=poles, first=st.floats(0, 0.7), second=st.floats(0, 0.7))
def test_rotations_compose(spectrum, first, second):
    sign = np.sign(spectrum.energies)
    np.testing.assert_allclose(
        spectrum.rotated_energies(first) * np.exp(-1j * second * sign),
        spectrum.rotated_energies(first + second),
        rtol=1e-13,
    )


@given(spectrum=poles)
def test_reconstruction_of_rotated_poles_is_second_order(spectrum):
    """``G(alpha) - alpha dG/dalpha`` at Im z = 1: halving alpha quarters the error.

    The quotient tends to 4; at alpha = 0.02 the next order changes it by less than 20 %.
    """
    z = OMEGA[::10] + 1j

    def error(angle):
        step = spectrum.greens(z, angle) - angle * spectrum.greens_angle_derivative(z, angle)
        return np.abs(step - spectrum.greens(z)).max()

    # the lower half plane of the rotated poles is left alone: z lies above all of them
    coarse, fine = error(0.02), error(0.01)
    if coarse > 1e-10:
        assert 3.2 < coarse / fine < 4.8


@given(spectrum=poles, eta=st.floats(0.05, 0.5), slope=st.floats(0, 0.2))
def test_gaussian_broadening_is_causal_normalised_and_kramers_kronig(spectrum, eta, slope):
    """A window of 10 widths beyond the outermost pole holds a Gaussian to rounding."""
    width = eta + slope * 4.0
    omega = np.linspace(-4 - 12 * width, 4 + 12 * width, 8001)
    G = spectrum.gaussian_greens(omega, eta, slope)
    A = -G.imag / np.pi
    assert A.min() >= -1e-15
    assert np.trapezoid(A, omega) == pytest.approx(spectrum.weights.sum(), abs=1e-10)
    # Re G at z: the moments of A fix its tail; compare far outside with the first two
    far = np.array([300.0])
    m = np.trapezoid(np.stack([A, A * omega]), omega)
    tail = m[0] / far + m[1] / far**2
    np.testing.assert_allclose(
        spectrum.gaussian_greens(far, eta, slope).real, tail, rtol=1e-2, atol=1e-9
    )


@pytest.mark.parametrize("width", [0.1, 0.3, 0.7])
def test_log_gaussian_poles_are_normalised_on_their_side_of_zero(width):
    """Norm, and mean logarithm ``ln |E| + alpha^2/4``: a pole at E is one at 1, stretched."""
    x = np.linspace(-8, 8, 4001)
    for E in (1.0, -0.02):
        omega = E * np.exp(x)[:: 1 if E > 0 else -1]
        A = PoleSpectrum([E], [0.7]).log_gaussian_spectrum(omega, width)
        log = np.log(np.abs(omega))
        density = A * np.abs(omega) / 0.7  # per unit of the logarithm
        assert np.abs(np.trapezoid(density, log)) == pytest.approx(1, abs=1e-12)
        mean = np.trapezoid(density * log, log) / np.trapezoid(density, log)
        assert mean == pytest.approx(np.log(abs(E)) + width**2 / 4, abs=1e-12)
        other = PoleSpectrum([E], [0.7]).log_gaussian_spectrum(-omega, width)
        np.testing.assert_array_equal(other, 0)


def test_log_gaussian_poles_pass_over_into_a_gaussian_core():
    """Above the core nothing changes; at zero a Gaussian is left; between, both add up to one."""
    omega = np.linspace(-3, 3, 60001)
    far = PoleSpectrum([0.5, -1.0], [0.3, 0.7])
    with_core = far.log_gaussian_spectrum(omega, 0.3, core=0.1)
    np.testing.assert_array_equal(with_core, far.log_gaussian_spectrum(omega, 0.3))
    centre = PoleSpectrum([0.0], [1.0]).log_gaussian_spectrum(omega, 0.3, core=0.1)
    expected = np.exp(-((omega / 0.1) ** 2)) / (0.1 * np.sqrt(np.pi))
    np.testing.assert_allclose(centre, expected, rtol=0, atol=1e-12)
    for E in (0.02, 0.05, 0.09):
        both = PoleSpectrum([E], [1.0]).log_gaussian_spectrum(omega, 0.3, core=0.1)
        assert np.trapezoid(both, omega) == pytest.approx(1, abs=1e-6)


def test_occupied_weight_and_shape():
    spectrum = PoleSpectrum([-1.0, -0.2, 0.5], [0.25, 0.5, 0.25])
    assert spectrum.occupied_weight == 0.75
    z = np.array([[1.0j, 2.0j], [3.0j, 1.0 + 1j]])
    assert spectrum.greens(z).shape == (2, 2)
    assert spectrum.greens(z)[1, 0] == pytest.approx(
        0.25 / (3j + 1) + 0.5 / (3j + 0.2) + 0.25 / (3j - 0.5)
    )


def test_response_poles():
    """One amplitude vector gives all three weights: ``G I = F^2`` pole by pole."""
    rng = np.random.default_rng(0)
    response = ResponsePoles(rng.normal(size=7), rng.normal(size=(7, 2)))
    G, F, I = response.G, response.F, response.I
    np.testing.assert_allclose(G.weights * I.weights, F.weights**2)
    assert G.weights.min() >= 0 and I.weights.min() >= 0
    padded = ResponsePoles([*response.energies, 5.0], [*response.amplitudes, (1e-9, -1e-9)])
    assert padded.compressed().energies.size == 7
    heavy_in_I = ResponsePoles([*response.energies, 5.0], [*response.amplitudes, (0.0, 1e-3)])
    assert heavy_in_I.compressed().energies.size == 8


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: PoleSpectrum([1.0, np.nan], [1.0, 1.0]), r"energies\[1\] is not finite"),
        (lambda: PoleSpectrum([1.0], [np.inf]), r"weights\[0\] is not finite"),
        (lambda: PoleSpectrum([1.0, 2.0], [1.0]), r"energies \(2,\) and weights \(1,\)"),
        (lambda: ResponsePoles([1.0], [[1.0]]), r"shape \(1, 1\); 1 poles need \(1, 2\)"),
        (lambda: PoleSpectrum([1.0], [1.0]).spectrum(OMEGA, 0.0), "angle = 0.0: .*gaussian_greens"),
        (lambda: PoleSpectrum([1.0], [1.0]).spectrum(OMEGA, 2.0), "angle = 2.0"),
        (lambda: PoleSpectrum([1.0], [1.0]).log_gaussian_spectrum(OMEGA, 0.0), "width = 0.0, core"),
        (lambda: PoleSpectrum([0.0], [1.0]).log_gaussian_spectrum(OMEGA, 0.3), "give core > 0"),
        (lambda: gaussian_kernel(np.ones(1), OMEGA, 0.0, 0.1), "eta = 0.0, slope = 0.1: eta must"),
    ],
)
def test_bad_input_is_refused(make, text):
    with pytest.raises(InvalidProblemError, match=text):
        make()


def test_responses_are_the_sums_of_G_F_and_I():
    rng = np.random.default_rng(2)
    answer = ResponsePoles(rng.normal(size=5000), rng.normal(size=(5000, 2)))
    z = 1j * np.array([0.1, 1.0, 30.0]) + 0.2
    found = answer.responses(z)
    for part, spectrum in zip(found, (answer.G, answer.F, answer.I), strict=True):
        scale = np.abs(spectrum.weights).sum() / z.imag
        assert (np.abs(part - spectrum.greens(z)) <= 1e-14 * scale).all()
