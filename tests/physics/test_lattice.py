"""Lattice Green's functions against closed forms and brute force that share no code with them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmftnet.errors import InvalidProblemError
from dmftnet.physics.analysis.self_energy import dyson_spectrum
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.impurity.solutions import CurveSolution
from dmftnet.physics.lattices.bethe import Bethe, semicircle
from dmftnet.physics.lattices.density_of_states import (
    DensityOfStates,
    cubic_density,
    square_density,
)
from dmftnet.physics.lattices.fixed import Fixed
from dmftnet.physics.lattices.protocol import Lattice

GRID = FrequencyGrid.geometric(1e-3, 8.0, 400)
FORMULAS = {
    "semicircle": DensityOfStates.semicircle(),
    "square": DensityOfStates.square(),
    "cubic": DensityOfStates.cubic(),
}


def self_energies():
    """Fermi liquid, Mott insulator, and a strongly damped one; (1, n_w), Im <= 0."""
    w = GRID.omega
    return {
        "fermi liquid": (-0.5 * w - 0.3j * w**2 / (1 + w**2))[None],
        "mott": (1.0 / (w + 0.003j))[None],
        "damped": np.full((1, w.size), 0.1 - 0.5j),
    }


@pytest.mark.parametrize("kind", ["fermi liquid", "mott", "damped"])
def test_sampled_semicircle_agrees_with_the_closed_form(kind):
    sigma = self_energies()[kind]
    exact = Bethe().local_greens(GRID, [0.2], sigma)
    sampled = FORMULAS["semicircle"].local_greens(GRID, [0.2], sigma)
    # 800 chords of a semicircle; worst at the band edge, where its slope diverges
    assert np.abs(exact - sampled).max() < 1e-3
    assert np.median(np.abs(exact - sampled)) < 1e-5


@pytest.mark.parametrize("name", FORMULAS)
def test_resolvent_against_quadrature(name):
    lattice = FORMULAS[name]
    node, weight = np.polynomial.legendre.leggauss(12)
    e, h = lattice.energies, np.diff(lattice.energies)
    inside = e[:-1, None] + 0.5 * h[:, None] * (node + 1)
    mass = np.interp(inside, e, lattice.values) * 0.5 * h[:, None] * weight
    for z in (0.3 + 0.05j, 1.05 + 0.1j, 2.9 + 0.05j, 3.1 + 0.05j, -40 + 3j):
        summed = (mass / (z - inside)).sum()
        G, delta = lattice.resolvent(np.array([z]))
        assert abs(G[0] - summed) < 1e-9
        assert abs(delta[0] - (z - 1 / summed)) < 1e-9 * abs(z) ** 2  # z - 1/G cancels far away


@pytest.mark.parametrize("name", FORMULAS)
def test_far_and_near_forms_meet(name):
    lattice = FORMULAS[name]
    z = 3 * np.exp(1j * np.linspace(0.01, 3.1, 20))
    near, far = lattice.resolvent(z * (1 - 1e-12)), lattice.resolvent(z * (1 + 1e-12))
    for a, b in zip(near, far, strict=True):
        assert np.abs(a - b).max() < 1e-8


def test_second_moments_are_those_of_the_hopping():
    """Sum over neighbours of t^2: 4 (1/4)^2 on the square, 6 (1/6)^2 on the cubic lattice."""
    for name, exact in {"semicircle": 1 / 4, "square": 1 / 4, "cubic": 1 / 6}.items():
        e, rho = FORMULAS[name].energies, FORMULAS[name].values
        fine = np.linspace(-1, 1, 200_001)
        values = np.interp(fine, e, rho)
        assert np.trapezoid(values, fine) == pytest.approx(1, abs=1e-3)
        assert np.trapezoid(values * fine**2, fine) == pytest.approx(exact, abs=2e-4)


def test_densities_against_sums_over_the_brillouin_zone():
    """Cumulative densities from a dense k mesh; the histogram's own noise is about 1e-3."""
    k = (np.arange(200) + 0.5) * np.pi / 200
    c = np.cos(k)
    meshes = {
        "square": (c[:, None] + c).ravel() / 2,
        "cubic": (c[:, None, None] + c[:, None] + c).ravel() / 3,
    }
    for name, mesh in meshes.items():
        lattice = FORMULAS[name]
        grid = FrequencyGrid(lattice.energies)
        at = np.array([-0.8, -0.4, -0.1, 0.0, 0.25, 0.6])
        counted = [np.mean(mesh < x) for x in at]
        assert np.allclose(grid.cumulative(lattice.values, at), counted, atol=4e-3)


def test_known_values_of_the_densities():
    assert square_density(np.array([1.0]))[0] == pytest.approx(1 / np.pi)  # K(0) = pi/2
    assert square_density(np.array([1.2]))[0] == 0
    assert cubic_density(0.0) == pytest.approx(0.8560, abs=1e-3)  # Watson-type constant, t = 1/6
    assert cubic_density(1.0) == pytest.approx(0.0, abs=1e-8)


@settings(max_examples=30, deadline=None)
@given(
    name=st.sampled_from(sorted(FORMULAS)),
    level=st.floats(-2, 2),
    pole=st.floats(-1.5, 1.5),
    weight=st.floats(0, 4),
    damping=st.floats(1e-3, 1.0),
)
def test_any_causal_self_energy_gives_a_causal_hybridization(name, level, pole, weight, damping):
    lattice = FORMULAS[name]
    sigma = weight / (GRID.omega + 1j * damping - pole)
    z = GRID.omega - level - sigma
    G, delta = lattice.resolvent(z.real + 1j * np.maximum(z.imag, 1e-12))
    assert G.imag.max() < 1e-9
    assert delta.imag.max() < 1e-8  # rounding of the cancelling logarithms, not physics


def test_a_shifted_density_is_counted_from_its_centroid():
    """Delta vanishes at high frequency whatever the file's zero of energy."""
    triangle = DensityOfStates([-1.0, 0.4, 1.0], [0.0, 1.0, 0.0])
    moved = DensityOfStates([2.0, 3.4, 4.0], [0.0, 1.0, 0.0])
    assert moved.centroid - triangle.centroid == pytest.approx(3.0)
    assert triangle.centroid == pytest.approx(0.4 / 3)
    z = np.array([0.2 + 0.1j, 1000j])
    delta = moved.resolvent(z)[1]
    assert np.allclose(delta, triangle.resolvent(z)[1], atol=1e-12)
    assert abs(delta[1]) < 1e-3


@pytest.mark.parametrize("name", FORMULAS)
def test_non_interacting_lattice_reproduces_its_own_density(name):
    """Delta from the lattice, then the impurity's Dyson equation, gives rho back."""
    lattice = FORMULAS[name]
    problem = ImpurityProblem.on_grid(0.0, 0.0, GRID, lattice.bare_hybridization(GRID))
    A = dyson_spectrum(problem, np.zeros((1, GRID.n_w), complex))[0]
    inner = np.abs(GRID.omega) < 0.3
    rho = np.interp(GRID.omega, lattice.energies, lattice.values)
    assert (
        np.abs(A - rho)[inner].max() < 0.05 * rho[inner].max()
    )  # the grid cannot see 1/log at zero
    assert GRID.integrate(A) == pytest.approx(1, abs=5e-3)


def test_bethe_hybridization_is_the_spectrum():
    problem = ImpurityProblem.on_grid(1.0, -0.5, GRID, Bethe().bare_hybridization(GRID))
    solution = CurveSolution(problem, semicircle(GRID, 0, 1, 1.0)[None])
    assert np.array_equal(
        Bethe().hybridization(problem, solution).spectrum, solution.spectrum() / 4
    )


def test_self_energy_route_agrees_with_the_bethe_short_cut_at_the_fixed_point():
    """U = 0 semicircle: both conditions map the fixed point onto itself."""
    lattice = FORMULAS["semicircle"]
    problem = ImpurityProblem.on_grid(0.0, 0.0, GRID, Bethe().bare_hybridization(GRID))
    solution = CurveSolution(problem, dyson_spectrum(problem, np.zeros((1, GRID.n_w), complex)))
    new = lattice.hybridization(problem, solution).spectrum[0]
    # 1 % of the weight 1/4: the band edge lies between two points of this coarse grid
    assert GRID.integrate(np.abs(new - problem.spectrum[0])) < 5e-3
    assert 0 <= solution.diagnostics["clipped_hybridization"] < 1e-6


def test_particle_hole_symmetry_is_recognised():
    assert all(lattice.particle_hole_symmetric for lattice in FORMULAS.values())
    assert not DensityOfStates([-1, 0.2, 1], [0, 1, 0]).particle_hole_symmetric
    assert isinstance(Bethe(), Lattice) and isinstance(Fixed(), Lattice)
    assert all(isinstance(lattice, Lattice) for lattice in FORMULAS.values())


def test_density_from_files(tmp_path):
    energies, values = np.linspace(-1, 1, 11), 3 * np.ones(11)
    np.savetxt(tmp_path / "dos.txt", np.stack([energies, values], axis=1))
    np.savez(tmp_path / "dos.npz", energies=energies, values=values)
    for name in ("dos.txt", "dos.npz"):
        lattice = DensityOfStates.from_file(tmp_path / name)
        assert np.allclose(lattice.values, 0.5)
        z = np.array([0.3 + 0.1j])
        assert lattice.resolvent(z)[0][0] == pytest.approx(0.5 * np.log((z + 1) / (z - 1))[0])


@pytest.mark.parametrize(
    ("energies", "values", "text"),
    [
        ([0, 0, 1], [1, 1, 1], "increase strictly"),
        ([0, 1, 2], [1, -0.25, 1], "-0.25"),
        ([0, 1, 2], [0, 0, 0], "zero everywhere"),
        ([0, 1, 2], [0, np.nan, 0], "not finite"),
        ([0, 1], [1, 1, 1], "equal length"),
    ],
)
def test_bad_densities_are_refused(energies, values, text):
    with pytest.raises(InvalidProblemError, match=text):
        DensityOfStates(energies, values)


def test_bad_files_are_refused(tmp_path):
    (tmp_path / "words.txt").write_text("not numbers\n")
    (tmp_path / "three.txt").write_text("1 2 3\n4 5 6\n")
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 truncated")
    for name in ("absent.txt", "words.txt", "three.txt", "broken.npz"):
        with pytest.raises(InvalidProblemError, match=name) as caught:
            DensityOfStates.from_file(tmp_path / name)
        assert "\n" not in str(caught.value)
