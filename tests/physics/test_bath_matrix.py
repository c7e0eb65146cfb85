"""Discrete baths of several orbitals: what intervals keep of a matrix, and of orbitals apart."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmftnet.errors import InvalidProblemError, SettingError
from dmftnet.physics.bath.intervals import Intervals
from dmftnet.physics.bath.protocol import Discretisation
from dmftnet.physics.bath.star import SPECTATOR_COUPLING
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.pole_hybridization import PoleHybridization
from dmftnet.physics.impurity.spectral_hybridization import SpectralHybridization
from dmftnet.physics.lattices.bethe import semicircle

GRID = FrequencyGrid.geometric(1e-3, 8.0, 400)
SEMICIRCLE = semicircle(GRID, 0.0, 1.0, 0.25)
SHIFTED = semicircle(GRID, 0.3, 0.7, 0.15)
Z = np.linspace(-1.5, 1.5, 31) + 0.2j


def matrix(curves, weights):
    """The spectrum ``sum_i W_i f_i(w)``, (n_orb, n_orb, n_w)."""
    return SpectralHybridization(GRID, np.einsum("iab,iw->abw", weights, curves))


def drawn(seed, n_orb, is_complex):
    """Four bands, each with a positive matrix of weights of its own; energies at random."""
    rng = np.random.default_rng(seed)
    centre, width = rng.uniform([-1, 0.2], [1, 0.8], (4, 2)).T
    curves = [semicircle(GRID, c, w, 0.1) for c, w in zip(centre, width, strict=True)]
    roots = rng.normal(size=(4, n_orb, n_orb)).astype(complex if is_complex else float)
    if is_complex:
        roots += 1j * rng.normal(size=roots.shape)
    return matrix(np.array(curves), roots @ roots.conj().swapaxes(1, 2))


def rotation(angle, phase=0.0):
    """A unitary (2, 2) matrix."""
    c, s = np.cos(angle), np.sin(angle)
    turn = np.array([[c, -s], [s, c]])
    return turn * np.array([1.0, np.exp(1j * phase)]) if phase else turn


@settings(max_examples=25)
@given(
    seed=st.integers(0, 2**32 - 1),
    n_orb=st.integers(1, 3),
    is_complex=st.booleans(),
    n_bath=st.integers(2, 60),
    shift=st.floats(0.0, 0.95),
)
def test_the_weight_of_a_matrix_is_kept(seed, n_orb, is_complex, n_bath, shift):
    """All its elements, and the trace of the first moment; up to what is dropped or a spectator."""
    hybridization = drawn(seed, n_orb, is_complex and n_orb > 1)
    bath = Intervals(n_bath, shift=shift).discretise(hybridization)
    found, exact = (h.moments(2) for h in (bath.levels, hybridization))
    if bath.levels.is_diagonal:
        found = found[..., None] * np.eye(n_orb)
    total = np.trace(exact[0]).real
    lost = 1e-12 + 1e-6 * n_bath + 1e-4
    np.testing.assert_allclose(found[0], exact[0], rtol=0, atol=lost * total)
    np.testing.assert_allclose(
        np.trace(found[1]), np.trace(exact[1]), rtol=0, atol=8 * lost * total
    )
    largest = np.abs(bath.levels.couplings).max(axis=1)
    assert np.all(largest > 0) and bath.levels.energies.size <= n_bath * n_orb
    assert np.iscomplexobj(bath.levels.couplings) == (is_complex and n_orb > 1)


def test_nothing_is_lost_without_gaps():
    """A band over all intervals: every element of the weight to rounding."""
    flat = np.ones((1, GRID.n_w))
    weights = np.array([[[0.3, 0.1 + 0.2j], [0.1 - 0.2j, 0.4]]])
    hybridization = matrix(flat, weights)
    bath = Intervals(20).discretise(hybridization)
    assert bath.levels.energies.size == 40 and bath.spectators == ()
    np.testing.assert_allclose(bath.levels.moments(1)[0], hybridization.moments(1)[0], rtol=1e-12)


@pytest.mark.parametrize("is_complex", [True, False])
def test_delta_converges_with_the_number_of_intervals(is_complex):
    """At 0.2 above the axis: an error of second order in the width of an interval."""
    hybridization = drawn(7, 2, is_complex)
    exact = hybridization.at(Z)
    error = {
        n: np.abs(Intervals(n, stretch=2.0).discretise(hybridization).levels.at(Z) - exact).max()
        for n in (10, 20, 40, 80)
    }
    assert error[10] > 3 * error[20] > 9 * error[40] > 27 * error[80]
    assert error[80] < 2e-3 * np.abs(exact).max()


@pytest.mark.parametrize("phase", [0.0, 0.9])
def test_rotated_orbitals_have_rotated_levels(phase):
    U = rotation(0.6, phase)
    diagonal = np.zeros((2, 2, 2))
    diagonal[0, 0, 0] = diagonal[1, 1, 1] = 1.0
    curves = np.stack([SEMICIRCLE, SHIFTED])
    plain = Intervals(15).discretise(matrix(curves, diagonal)).levels
    turned = Intervals(15).discretise(matrix(curves, U @ diagonal @ U.conj().T)).levels
    np.testing.assert_allclose(turned.energies, plain.energies, rtol=0, atol=1e-9)
    expected = U @ np.moveaxis(plain.matrix_at(Z), -1, 0) @ U.conj().T
    np.testing.assert_allclose(np.moveaxis(turned.at(Z), -1, 0), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("phase", [0.0, 0.9])
def test_equal_weights_of_unlike_bands_do_not_depend_on_the_basis(phase):
    """Where an interval's eigenvalues coincide, its first moments tell the levels apart."""
    grid = FrequencyGrid(np.linspace(-2, 2, 401))
    curves = np.stack([np.full(401, 0.5), 0.5 + 0.4 * np.sin(np.pi * grid.omega)])
    diagonal = np.zeros((2, 2, 2))
    diagonal[0, 0, 0] = diagonal[1, 1, 1] = 1.0
    U = rotation(0.5, phase)
    intervals = Intervals(2, "equal", window_quantile=1.0)
    levels = []
    for weights in (diagonal, U @ diagonal @ U.conj().T):
        spectrum = np.einsum("iab,iw->abw", weights, curves)
        levels.append(intervals.discretise(SpectralHybridization(grid, spectrum)).levels)
    assert np.ptp(levels[0].energies[:2]) > 0.1  # the same weight at unlike energies
    np.testing.assert_allclose(levels[1].energies, levels[0].energies, rtol=0, atol=1e-9)


def test_orbitals_that_do_not_mix_have_the_levels_of_each():
    """Equal ones, whose window is that of the trace; then only the order is another."""
    diagonal = SpectralHybridization(GRID, np.stack([SEMICIRCLE, SEMICIRCLE]))
    apart = Intervals(21).discretise(diagonal)
    together = Intervals(21).discretise(matrix(SEMICIRCLE[None], np.eye(2)[None]))
    assert together.levels.is_diagonal
    for orbital in range(2):
        own = together.levels.couplings[:, orbital] != 0
        star = apart.star(orbital)
        np.testing.assert_allclose(together.levels.energies[own], star.energies, atol=1e-13)
        couplings = together.levels.couplings[own, orbital]
        np.testing.assert_allclose(couplings, star.couplings, rtol=1e-13)


def test_each_orbital_apart_is_what_it_is_alone():
    """To the last bit; with its own window and its own spectator."""
    gapped = semicircle(GRID, -1.0, 0.5, 0.125) + semicircle(GRID, 1.0, 0.5, 0.125)
    spectra = np.stack([SEMICIRCLE, gapped, SHIFTED])
    intervals = Intervals(21)
    bath = intervals.discretise(SpectralHybridization(GRID, spectra))
    for orbital, spectrum in enumerate(spectra):
        alone, star = intervals.star(GRID, spectrum), bath.star(orbital)
        np.testing.assert_array_equal(star.energies, alone.energies)
        np.testing.assert_array_equal(star.couplings, alone.couplings)
        assert star.spectator == alone.spectator == (orbital == 1)
    (spectator,) = bath.spectators
    assert bath.orbitals[spectator] == 1 and bath.levels.energies[spectator] == 0


def test_a_gap_has_one_spectator_an_orbital():
    gapped = semicircle(GRID, -1.0, 0.5, 0.125) + semicircle(GRID, 1.0, 0.5, 0.125)
    weights = np.array([[[1.0, 0.4], [0.4, 0.8]]])
    bath = Intervals(21).discretise(matrix(gapped[None], weights))
    assert len(bath.spectators) == 2 and np.count_nonzero(bath.levels.energies == 0) == 2
    found = bath.levels.couplings[list(bath.spectators)]
    np.testing.assert_array_equal(found, SPECTATOR_COUPLING * np.eye(2))
    half = Intervals(21).discretise(
        matrix(np.stack([gapped, SEMICIRCLE]), [[[1, 0], [0, 0]], [[0, 0], [0, 1]]])
    )
    assert len(half.spectators) == 1  # the second orbital is a metal
    assert half.levels.couplings[half.spectators[0]].tolist() == [SPECTATOR_COUPLING, 0.0]
    with pytest.raises(InvalidProblemError, match="couple to several orbitals"):
        bath.star(0)


def test_one_band_of_two_orbitals_is_one_level_an_interval():
    """``Gamma = v v^+ f(w)``: the star bath of f, coupled by v, and a spectator beside it."""
    v = np.array([0.6, 0.8j])
    flat = np.ones(GRID.n_w)
    levels = Intervals(20).discretise(matrix(flat[None], np.outer(v, v.conj())[None])).levels
    star = Intervals(20).star(GRID, flat)
    own = levels.energies != 0
    np.testing.assert_allclose(levels.energies[own], star.energies, rtol=0, atol=1e-12)
    expected = star.couplings[:, None] * np.array([-0.6j, 0.8])  # the larger one real
    np.testing.assert_allclose(levels.couplings[own], expected, rtol=0, atol=1e-12)
    assert np.count_nonzero(~own) == 1


def test_shifts_add_up_modulo_one():
    intervals = Intervals(9, shift=0.75)
    assert intervals.shifted(0.0) == intervals
    assert intervals.shifted(0.5) == Intervals(9, shift=0.25)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"n_bath": 1}, "solver.bath.n_bath = 1: give an integer >= 2"),
        ({"n_bath": 2.5}, "solver.bath.n_bath = 2.5: give an integer"),
        ({"n_bath": 10**12}, "give an integer >= 2 and <= 1000000"),
        (
            {"spacing": "log"},
            "solver.bath.spacing = 'log' is unknown; use equal, sinh or geometric",
        ),
        ({"stretch": 0}, "solver.bath.stretch = 0: give a number > 0 and <= 50"),
        ({"window_quantile": 1.5}, "solver.bath.window_quantile = 1.5: give a number > 0"),
        ({"shift": 1}, "solver.bath.shift = 1: give a number >= 0 and < 1"),
    ],
)
def test_bad_settings_are_refused(options, text):
    with pytest.raises(SettingError, match=text):
        Intervals(**options)


def test_other_kinds_an_open_number_and_no_weight_are_refused_in_one_line():
    levels = PoleHybridization(np.array([0.1]), np.array([[0.3]]))
    with pytest.raises(InvalidProblemError, match="not a PoleHybridization; give") as caught:
        Intervals().discretise(levels)
    assert "\n" not in str(caught.value)
    spectrum = SpectralHybridization(GRID, SEMICIRCLE)
    assert isinstance(Intervals(None), Discretisation)
    with pytest.raises(SettingError, match=r"bath\.n_bath = None: give an integer >= 2"):
        Intervals(None).discretise(spectrum)
    with pytest.raises(InvalidProblemError, match="vanishes everywhere"):
        Intervals(5).discretise(matrix(np.zeros((1, GRID.n_w)), np.eye(2)[None]))
