"""Z on self-energies whose Z is known in closed form."""

import numpy as np
import pytest

from dmftnet.physics.analysis.quasiparticle import (
    has_pole_at_zero,
    matsubara_self_energy,
    matsubara_weight,
    quasiparticle_weight,
    quasiparticle_weights,
)
from dmftnet.physics.analysis.self_energy import dyson_spectrum
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.impurity.solutions import SelfEnergySolution
from dmftnet.physics.lattices.bethe import semicircle

GRID = FrequencyGrid.geometric(1e-3, 8.0, 800)
W = GRID.omega
HYBRIDIZATION = semicircle(GRID, 0.0, 1.0, 0.25)


def two_peaks(Z, e, width=0.1):
    """Sigma with Gaussian peaks of a relative width at +-e: ``Z = 1/(1 + integral S/E^2)``."""
    peaks = sum(np.exp(-0.5 * ((W - c) / (width * e)) ** 2) for c in (e, -e))
    return GRID.greens_function((1 / Z - 1) / GRID.integrate(peaks / W**2) * peaks)


def solved(sigma, level=0.0):
    """Problem, its spectrum and Sigma as arrays with an axis of orbitals."""
    problem = ImpurityProblem.on_grid(2.0, level, GRID, HYBRIDIZATION)
    return problem, dyson_spectrum(problem, sigma[None]), sigma[None]


def of(sigma, **options):
    return quasiparticle_weight(*solved(sigma), **options)


@pytest.mark.parametrize(("Z", "e"), [(0.05, 0.2), (0.3, 0.3), (0.8, 0.7)])
@pytest.mark.parametrize("smeared", [False, True])
def test_z_of_a_fermi_liquid(Z, e, smeared):
    """Peaks of Sigma at +-e; over a window of 0.02 Z changes by (0.02/e)^2, 1 % at most."""
    found = of(two_peaks(Z, e), smeared=smeared)
    assert found.value == pytest.approx(Z, rel=1e-2)
    assert abs(found.value - Z) <= found.error + 2e-3 * Z and found.error < 0.05 * Z
    assert len(found.estimates) == 3 and not found.note


def test_next_to_the_transition_the_error_says_what_is_known():
    """Z = 0.02 with poles of Sigma at 0.06: the window of 0.02 is far too wide for 5 %."""
    found = of(two_peaks(0.02, 0.06))
    assert abs(found.value - 0.02) <= found.error < 0.01


def test_the_error_spans_all_estimates():
    ripples = 5e-3 * np.sin(W / 0.01) * np.exp(-((W / 0.05) ** 2))
    found = of(two_peaks(0.3, 0.5) + ripples)
    estimates = np.array(list(found.estimates.values()))
    assert found.value == np.median(estimates)
    assert found.error == pytest.approx(np.abs(estimates - found.value).max())
    assert found.error > 0.01


def test_z_without_a_self_energy_is_one():
    problem, A, sigma = solved(np.full(GRID.n_w, 0.0j))
    found = quasiparticle_weight(problem, A, sigma)
    assert found.value == pytest.approx(1, abs=1e-6)
    assert found.error < 2e-3, "the norm of A, 1e-4, over y"


def test_orbitals_and_solutions():
    """One number an orbital; both orbitals see their own hybridization and level."""
    problem = ImpurityProblem.on_grid(
        2.0, [0.0, 0.2], GRID, np.stack([HYBRIDIZATION, semicircle(GRID, 0.1, 0.8, 0.2)])
    )
    sigma = np.stack([two_peaks(0.3, 0.4), two_peaks(0.6, 0.5) + 0.1])
    found = quasiparticle_weights(SelfEnergySolution(problem, sigma))
    assert [z.value for z in found] == pytest.approx([0.3, 0.6], rel=2e-2)


# --- the imaginary axis ---------------------------------------------------------------------------


@pytest.mark.parametrize("level", [0.0, -0.1])
@pytest.mark.parametrize(("e", "width"), [(0.03, 0.02), (0.3, 0.2)])
def test_self_energy_on_the_imaginary_axis(level, e, width):
    """Peaks of Sigma as sharp as the cells around them, and broad ones: Sigma(iy) from A and Delta.

    Cells of 2 % lose up to 0.7 % of the norm of A: 1 % of Sigma, 1e-3 D of its imaginary and 1 % of
    a band's energies in its real part."""
    y = np.array([0.005, 0.01, 0.02, 0.1])
    sigma = two_peaks(0.2, e, width)
    problem, A, _ = solved(sigma, level)
    exact = GRID.cauchy(-sigma.imag / np.pi, 1j * y)
    found = matsubara_self_energy(problem, A, y)[0]
    np.testing.assert_allclose(found.imag, exact.imag, rtol=1e-2, atol=1e-3)
    np.testing.assert_allclose(found.real, 0, rtol=0, atol=1e-2)
    np.testing.assert_allclose(matsubara_weight(problem, A, y)[0], 1 / (1 - found.imag / y))


@pytest.mark.parametrize("weight", [1.0, 4.0])
def test_mott_pole_on_the_imaginary_axis(weight):
    """``Sigma = w^2/z``: ``Z(iy) = 1/(1 + w^2/y^2)``, however sharp the pole is on the real axis.

    3 %: in the gap G is the tail of bands, of which cells of 2 % keep the norm to 1 %."""
    y = np.array([0.01, 0.05])
    problem, A, _ = solved(weight / (W + 1e-9j))
    found = matsubara_weight(problem, A, y)[0]
    np.testing.assert_allclose(found, 1 / (1 + weight / y**2), rtol=3e-2)


def test_z_beyond_the_transition_hardly_moves_with_the_width_of_the_pole():
    """Samples of Im Sigma gave .0350 and .0036 for two solutions that differ in nothing else."""
    values = [
        matsubara_weight(*solved(0.02 / (W + 0.01j * share))[:2], [0.01])[0, 0]
        for share in (1.0, 1.05)
    ]
    assert values[1] == pytest.approx(values[0], rel=0.05)


# --- insulators and broken input ------------------------------------------------------------------


@pytest.mark.parametrize("eta", [1e-6, 2e-3])
def test_z_vanishes_in_a_mott_insulator(eta):
    """``Sigma = U/2 + U^2/4 / w``: a pole at zero, resolved by the grid or not."""
    sigma = 4.0 / (W + 1j * eta)
    assert has_pole_at_zero(GRID, sigma + 2.0)
    found = of(sigma)
    assert found.value == found.error == 0 and not found.note


def test_noise_on_a_flat_self_energy_is_no_pole():
    """A network's self-energy of a weakly interacting metal: nothing but small errors."""
    noise = 0.02 * np.cos(40 * np.arcsinh(W / 1e-2)) / (1 + np.abs(W))
    assert not has_pole_at_zero(GRID, 0.1 + noise - 1e-3j)


def test_a_rising_self_energy_is_told_and_not_called_one():
    """Re Sigma = +0.5 w near zero: no causal function, so no Z = 1."""
    rising = 0.5 * W * np.exp(-((W / 0.3) ** 2)) - 1e-3j
    found = of(rising)
    assert "rises" in found.note and "\n" not in found.note
    assert np.isnan(found.value) or found.value < 1
    assert not {"window", "slope"} & set(found.estimates)


def test_a_spectrum_that_lost_its_norm_has_no_say_on_the_imaginary_axis():
    """A bound state beyond the band's edge, between two grid points: 7 % of A are missing."""
    problem, A, sigma = solved(two_peaks(0.2, 0.3, 0.2), level=-0.3)
    assert GRID.integrate(A[0]) < 0.95
    found = quasiparticle_weight(problem, A, sigma)
    assert found.value == pytest.approx(0.2, rel=2e-2) and "matsubara" not in found.estimates
    assert "norm" in found.note
