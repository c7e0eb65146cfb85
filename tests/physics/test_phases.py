"""Metal, insulator or neither, on curves that are one of them by construction."""

import numpy as np
import pytest

from dmftnet.errors import InvalidProblemError
from dmftnet.physics.analysis.phases import fermi_level_density, phase_of, pinned_share
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.lattices.bethe import Bethe, semicircle
from dmftnet.physics.lattices.density_of_states import DensityOfStates
from dmftnet.physics.lattices.fixed import Fixed

GRID = FrequencyGrid.geometric(1e-3, 8.0, 800)


def filling(e):
    """Both spins, of a semicircle filled up to e."""
    return 1 + 2 / np.pi * (e * np.sqrt(1 - e**2) + np.arcsin(e))


@pytest.mark.parametrize("e", [0.0, 0.3, -0.7])
@pytest.mark.parametrize("lattice", [Bethe(), DensityOfStates.semicircle()])
def test_density_at_the_fermi_level_of_a_filling(e, lattice):
    """``2/pi sqrt(1 - e^2)``; the mean over 0.02 D bends it by 1e-4."""
    expected = 2 / np.pi * np.sqrt(1 - e**2)
    assert fermi_level_density(lattice, filling(e)) == pytest.approx(expected, rel=1e-3)


def test_a_logarithmic_singularity_is_cut_off():
    """``(2/pi^2) ln(4/e)`` of the square lattice, its mean over |e| < 0.02."""
    mean = 2 / np.pi**2 * (np.log(4 / 0.02) + 1)
    assert fermi_level_density(DensityOfStates.square(), 1.0) == pytest.approx(mean, rel=1e-2)


@pytest.mark.parametrize("e", [0.0, 0.5])
def test_fermi_liquids_are_metals_at_any_filling(e):
    """The non-interacting band itself, A(0) = rho(e_F); at 0.8 of it, neither."""
    band = semicircle(GRID, -e, 1.0, 1.0)
    assert pinned_share(GRID, band, Bethe(), filling(e)) == pytest.approx(1, abs=5e-3)
    assert phase_of(GRID, band, Bethe(), filling(e)) == "metal"
    assert phase_of(GRID, 0.8 * band, Bethe(), filling(e)) == "neither"


def test_insulators_have_a_gap():
    bands = semicircle(GRID, -2.0, 0.9, 0.5) + semicircle(GRID, 1.0, 0.9, 0.5)
    assert phase_of(GRID, bands, Bethe(), 1.0) == "insulator"
    # the false fixed point of a loop at the edge of the gap: A(0) = .27, below 1/pi, and no gap
    resonance = semicircle(GRID, 0.0, 0.01, 0.27 * np.pi * 0.01 / 2)
    assert GRID.at_zero(bands + resonance) == pytest.approx(0.27, abs=0.01)
    assert phase_of(GRID, bands + resonance, Bethe(), 1.0) == "neither"


def test_without_a_lattice_there_is_no_fermi_level():
    with pytest.raises(InvalidProblemError, match="fixed"):
        fermi_level_density(Fixed(), 1.0)
