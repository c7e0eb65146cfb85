"""Densities of states by name: moments in closed form, symmetry, singularities."""

import numpy as np
import pytest

from dmftnet.physics.lattices.named import NAMED

EVEN = {"lieb", "diamond", "stacked_planes", "hypercubic", "two_bands", "pseudogap"}


def moment(lattice, power):
    fine = np.linspace(lattice.energies[0], lattice.energies[-1], 400_001)
    density = np.interp(fine, lattice.energies, lattice.values)
    return np.trapezoid(fine**power * density, fine)


@pytest.mark.parametrize("name", sorted(NAMED))
def test_norm_mean_and_symmetry(name):
    lattice = NAMED[name]()
    assert lattice.name == name
    assert moment(lattice, 0) == pytest.approx(1, abs=1e-3)
    assert moment(lattice, 1) == pytest.approx(0, abs=1e-3)
    assert lattice.particle_hole_symmetric == (name in EVEN)


@pytest.mark.parametrize(
    ("name", "neighbours", "half_bandwidth"),
    [
        ("kagome", 4.0, 3.0),  # bands from -4 t to 2 t
        ("lieb", 8 / 3, np.sqrt(8.0)),  # of three sites one has four neighbours, two have two
        ("diamond", 4.0, 4.0),
        ("square_next_nearest", 4 + 4 * 0.25**2, 4.0),
        ("checkerboard", 6.0, 4.0),  # bands from -4 t (flat, counted with the sign) to 4 t
        ("stacked_planes", 4 + 2 * 0.15**2, 4.3),
    ],
)
def test_the_second_moment_is_the_sum_of_squared_hoppings(name, neighbours, half_bandwidth):
    lattice = NAMED[name]()
    assert moment(lattice, 2) * half_bandwidth**2 == pytest.approx(neighbours, rel=5e-3)


def test_the_pseudogap_is_linear_and_flat_bands_are_sharp():
    e = NAMED["pseudogap"]().energies
    np.testing.assert_allclose(NAMED["pseudogap"]().values, np.abs(e), atol=1e-12)
    for name, weight in (("kagome", 1 / 3), ("lieb", 1 / 3), ("checkerboard", 0.5)):
        lattice = NAMED[name]()
        peak = lattice.energies[np.argmax(lattice.values)]
        fine = np.linspace(peak - 0.02, peak + 0.02, 4001)
        density = np.interp(fine, lattice.energies, lattice.values, left=0.0, right=0.0)
        assert np.trapezoid(density, fine) == pytest.approx(weight, abs=0.03)
