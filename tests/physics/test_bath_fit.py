"""Bath levels fitted on the imaginary axis: known levels come back, and symmetries hold exactly."""

import time
from dataclasses import replace

import numpy as np
import pytest

from dmftnet.errors import InvalidProblemError, SettingError
from dmftnet.physics.bath import fit
from dmftnet.physics.bath.fit import MatsubaraFit
from dmftnet.physics.bath.levels import LevelFit
from dmftnet.physics.bath.protocol import DiscreteBath, Discretisation
from dmftnet.physics.grids.matsubara import ImaginaryAxis
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.matsubara_hybridization import MatsubaraHybridization
from dmftnet.physics.impurity.pole_hybridization import PoleHybridization
from dmftnet.physics.impurity.spectral_hybridization import SpectralHybridization

AXIS = ImaginaryAxis(50.0)
Z = 1j * AXIS.omega_n


def semicircle(z):
    """``Delta = G/4`` of the Bethe lattice at U = 0, above the real axis."""
    return 0.5 * (z - 1j * np.sqrt(1 - z**2))


SEMICIRCLE = semicircle(Z)
LEVELS = PoleHybridization(
    np.array([-0.8, -0.25, 0.3, 1.1]), np.array([[0.3], [0.25], [0.4], [0.2]])
)
MIXING = np.array([[0.4, 0.1], [0.15, -0.3], [0.2, 0.35], [0.3, -0.1]])
PHASES = np.exp(1j * np.array([[0.0, 0.7], [0.0, -1.2], [0.0, 0.4], [0.0, 2.0]]))


def known(values, axis=AXIS):
    return MatsubaraHybridization(axis, values)


def mixing_levels(is_complex, symmetric):
    """Four levels that couple to two orbitals."""
    couplings = MIXING * PHASES if is_complex else MIXING
    if not symmetric:
        return PoleHybridization(LEVELS.energies, couplings)
    pairs = np.concatenate([couplings[:2], couplings[:2][::-1].conj()])
    return PoleHybridization(np.array([-0.9, -0.3, 0.3, 0.9]), pairs)


def chi(bath, hybridization, weight_power=1.0, w_cut=8.0):
    """The residual as it is defined, in plain numpy over all frequencies below w_cut."""
    beta = hybridization.axis.beta
    w = (2 * np.arange(int((w_cut * beta / np.pi + 1) / 2)) + 1) * np.pi / beta
    exact, weight = hybridization.matrix_at(1j * w), w**-weight_power
    error = np.abs(bath.levels.matrix_at(1j * w) - exact) ** 2
    mean = (error.sum(axis=(0, 1)) * weight).sum() / weight.sum()
    return np.sqrt(mean) / np.abs(exact).max()


@pytest.mark.parametrize("n_bath", [3, 4])
def test_levels_that_nothing_fixes_do_not_run_away(n_bath):
    """At high temperature and a wide window a step may overflow; it is shortened, no warning."""
    rng = np.random.default_rng(0)
    for beta in (1.0, 50.0):
        axis = ImaginaryAxis.universal(beta, accuracy=1e-7)
        for _ in range(12):
            couplings = rng.normal(size=(4, 1))
            couplings *= 0.5 / np.linalg.norm(couplings)
            levels = PoleHybridization(rng.uniform(-1, 1, 4), couplings)
            bath = MatsubaraFit(n_bath).discretise(known(levels.at(1j * axis.omega_n), axis))
            assert np.isfinite(bath.levels.energies).all()
            assert bath.diagnostics["fit_residual"] < 2e-2


@pytest.mark.parametrize(
    ("n_bath", "residual"),
    [(2, 1.0e-1), (3, 2.2e-2), (4, 4.0e-3), (5, 6.3e-4), (6, 8.3e-5), (7, 9.3e-6), (8, 9.0e-7)],
)
def test_the_semicircle(n_bath, residual):
    """Each level more is worth a factor of five to ten at beta = 50."""
    hybridization = known(SEMICIRCLE)
    bath = MatsubaraFit(n_bath).discretise(hybridization)
    assert bath.diagnostics["fit_residual"] == pytest.approx(residual, rel=0.03)
    assert chi(bath, hybridization) == pytest.approx(bath.diagnostics["fit_residual"], rel=1e-6)
    assert bath.levels.energies.size == n_bath and bath.diagnostics["fit_starts"] >= 2
    assert ("warning" in bath.diagnostics) == (n_bath == 2)
    energies, couplings = bath.levels.energies, bath.levels.couplings[:, 0]
    np.testing.assert_array_equal(energies, -energies[::-1])
    np.testing.assert_array_equal(couplings, couplings[::-1])
    assert np.count_nonzero(energies == 0) == n_bath % 2


def test_a_bath_that_is_too_small_is_told():
    said = MatsubaraFit(2).discretise(known(SEMICIRCLE)).diagnostics["warning"]
    assert "2 bath levels" in said and "10.2 %, more than 5 %; raise solver.fit.n_bath" in said
    assert "\n" not in said


@pytest.mark.parametrize("symmetric", [True, False])
def test_known_levels_come_back(symmetric):
    """Four levels of a fit of four; the frequencies' own accuracy is 1e-10."""
    bath = MatsubaraFit(4, symmetric=symmetric).discretise(known(LEVELS.at(Z)))
    np.testing.assert_allclose(bath.levels.energies, LEVELS.energies, rtol=0, atol=1e-6)
    np.testing.assert_allclose(bath.levels.couplings, LEVELS.couplings, rtol=0, atol=1e-6)
    assert bath.diagnostics["fit_residual"] < 1e-9 and bath.diagnostics["fit_starts"] >= 2


def test_what_is_known_of_a_gap_comes_back():
    """The pole at zero of an insulator's bath between two bands, at half filling."""
    gapped = PoleHybridization(np.array([-1.0, 0.0, 1.0]), np.array([[0.3], [0.2], [0.3]]))
    bath = MatsubaraFit(3).discretise(known(gapped.at(Z)))
    np.testing.assert_allclose(bath.levels.energies, gapped.energies, rtol=0, atol=1e-6)
    np.testing.assert_allclose(bath.levels.couplings, gapped.couplings, rtol=0, atol=1e-6)


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("is_complex", [True, False])
def test_a_matrix_of_known_levels_comes_back(is_complex, symmetric):
    """Two orbitals that mix; complex couplings where ``Delta_ab != Delta_ba``."""
    exact = mixing_levels(is_complex, symmetric)
    hybridization = known(exact.at(Z))
    bath = MatsubaraFit(2, n_starts=12).discretise(hybridization)
    assert np.iscomplexobj(bath.levels.couplings) == is_complex
    np.testing.assert_allclose(bath.levels.energies, exact.energies, rtol=0, atol=1e-6)
    np.testing.assert_allclose(bath.levels.at(Z), exact.at(Z), rtol=0, atol=1e-8)
    assert bath.levels.is_particle_hole_symmetric() == symmetric
    if symmetric:
        np.testing.assert_array_equal(bath.levels.energies, -bath.levels.energies[::-1])
    with pytest.raises(InvalidProblemError, match="couple to several orbitals"):
        bath.star(0)


def test_a_matrix_that_does_not_mix_is_fitted_as_its_orbitals():
    """The same chi^2 but for its normalisation; n_bath levels an orbital."""
    rows = np.stack([SEMICIRCLE, 0.5 * SEMICIRCLE])
    apart = MatsubaraFit(3).discretise(known(rows))
    matrix = MatsubaraFit(3).discretise(known(rows[:, None, :] * np.eye(2)[:, :, None]))
    np.testing.assert_allclose(matrix.levels.matrix_at(Z), apart.levels.matrix_at(Z), atol=1e-6)
    assert matrix.levels.energies.size == apart.levels.energies.size == 6


def test_odd_baths_of_a_matrix_have_a_level_at_zero_an_orbital():
    hybridization = known(mixing_levels(False, True).at(Z))
    bath = MatsubaraFit(3).discretise(hybridization)
    assert np.count_nonzero(bath.levels.energies == 0) == 2
    assert chi(bath, hybridization) == pytest.approx(bath.diagnostics["fit_residual"], abs=1e-9)


def test_orbitals_are_fitted_one_by_one_and_equal_ones_alike():
    rows = np.stack([SEMICIRCLE, LEVELS.at(Z)[0], SEMICIRCLE * (1 + 1e-13)])
    bath = MatsubaraFit(4).discretise(known(rows))
    for orbital, row in enumerate(rows):
        own = MatsubaraFit(4).discretise(known(row)).star(0)
        star = bath.star(orbital)
        np.testing.assert_allclose(star.energies, own.energies, rtol=0, atol=1e-7)
        np.testing.assert_allclose(star.couplings, own.couplings, rtol=0, atol=1e-7)
    np.testing.assert_array_equal(bath.star(0).energies, bath.star(2).energies)
    np.testing.assert_array_equal(bath.star(0).couplings, bath.star(2).couplings)
    assert bath.star(0).is_symmetric and not bath.star(1).is_symmetric
    assert bath.levels.is_diagonal and not bath.star(0).spectator


def test_symmetric_levels_can_be_switched_off():
    free = MatsubaraFit(5, symmetric=False).discretise(known(SEMICIRCLE)).levels.energies
    paired = MatsubaraFit(5).discretise(known(SEMICIRCLE)).levels.energies
    assert np.any(free != -free[::-1])  # to the last bit it is chance
    np.testing.assert_allclose(free, paired, rtol=0, atol=1e-6)


def test_no_bath_at_all():
    """The atomic limit: levels without couplings, none on another, nothing that is no number."""
    bath = MatsubaraFit(5).discretise(known(np.zeros((2, Z.size))))
    for orbital in range(2):
        star = bath.star(orbital)
        assert star.n_bath == 5 and np.all(star.couplings == 0)
        np.testing.assert_array_equal(star.energies, -star.energies[::-1])
        assert np.diff(star.energies).min() > 0.1
    assert bath.diagnostics["fit_residual"] == 0 and "warning" not in bath.diagnostics
    rounding = 1e-17 * (np.random.default_rng(0).normal(size=Z.size) - 1j)
    assert np.all(MatsubaraFit(5).discretise(known(rounding)).levels.couplings == 0)
    one = MatsubaraFit(2).discretise(known(np.stack([np.zeros(Z.size), SEMICIRCLE])))
    assert np.all(one.star(0).couplings == 0) and np.all(one.star(1).couplings > 0.1)


def test_the_fit_is_a_function_of_values_and_seed():
    """But for last bits, which depend on where in memory arrays lie, as the search ends; another

    seed ends in the same minimum."""
    hybridization = known(LEVELS.at(Z) + 0.3 * SEMICIRCLE)
    first, again, other = (
        MatsubaraFit(4, seed=seed).discretise(hybridization) for seed in (0, 0, 1)
    )
    np.testing.assert_allclose(again.levels.energies, first.levels.energies, rtol=0, atol=1e-6)
    np.testing.assert_allclose(again.levels.couplings, first.levels.couplings, rtol=0, atol=1e-6)
    assert first.diagnostics.keys() == again.diagnostics.keys()
    np.testing.assert_allclose(other.levels.energies, first.levels.energies, rtol=0, atol=1e-5)


def test_what_is_far_from_half_filling():
    """All weight above zero, and far from it: the starts follow the weight."""
    exact = PoleHybridization(np.array([1.9, 3.0]), np.array([[0.3], [0.5]]))
    bath = MatsubaraFit(2).discretise(known(exact.at(Z)))
    np.testing.assert_allclose(bath.levels.energies, exact.energies, rtol=0, atol=1e-6)


def test_one_frequency_below_the_cut():
    """beta = 1: then higher ones are fitted too, and the weight is that of the semicircle."""
    axis = ImaginaryAxis(1.0)
    bath = MatsubaraFit(4).discretise(known(semicircle(1j * axis.omega_n), axis))
    assert bath.diagnostics["fit_residual"] < 1e-8
    np.testing.assert_allclose(bath.levels.moments(1)[0], 0.25, rtol=1e-4)


def test_some_frequencies_can_stand_for_others(monkeypatch):
    """At most 24 of the 64 below w_cut: chi, over all, is that of the fit to all to 1 %."""
    hybridization = known(SEMICIRCLE)
    every = MatsubaraFit(5).discretise(hybridization)
    monkeypatch.setattr(fit, "MAX_POINTS", 24)
    omega_n, counts = MatsubaraFit(5)._frequencies(AXIS.beta)
    assert omega_n.size <= 24 and counts.sum() == 64
    some = MatsubaraFit(5).discretise(hybridization)
    best = every.diagnostics["fit_residual"]
    assert chi(some, hybridization) == pytest.approx(best, rel=0.01)
    assert some.diagnostics["fit_residual"] == pytest.approx(best, rel=0.1)


@pytest.mark.parametrize("weight_power", [0.0, 2.0])
def test_the_weight_is_the_one_that_is_said(weight_power):
    """chi of either fit is the smaller one by its own measure."""
    hybridization = known(SEMICIRCLE)
    fits = {p: MatsubaraFit(4, weight_power=p).discretise(hybridization) for p in (0.0, 2.0)}
    own, other = fits[weight_power], fits[2.0 - weight_power]
    assert chi(own, hybridization, weight_power) == pytest.approx(
        own.diagnostics["fit_residual"], rel=1e-6
    )
    assert chi(own, hybridization, weight_power) < 0.9 * chi(other, hybridization, weight_power)


@pytest.mark.parametrize("n_orb", [1, 2, 3])
@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("is_complex", [True, False])
def test_jacobian(n_orb, paired, is_complex):
    """Against differences, 1e-7 of its largest element."""
    rng = np.random.default_rng(n_orb)
    shape = (n_orb, n_orb, 8)
    values = rng.normal(size=shape) + 1j * rng.normal(size=shape)
    omega_n = (2 * np.arange(8) + 1) * np.pi / 20
    zero = n_orb if paired else 0
    problem = LevelFit(omega_n, values, 1 / omega_n, 8.0, 2 * n_orb, zero, paired, is_complex)
    energies = np.concatenate([rng.normal(size=2 * n_orb), np.zeros(zero)])
    couplings = rng.normal(size=(energies.size, n_orb)).astype(complex if is_complex else float)
    if is_complex:
        couplings[: 2 * n_orb] += 1j * rng.normal(size=(2 * n_orb, n_orb))
    at = problem.pack(energies, couplings)
    for found, given in zip(problem.unpack(at), (energies, couplings), strict=True):
        np.testing.assert_allclose(found, given, rtol=0, atol=1e-14)
    steps = 1e-6 * np.eye(at.size)
    slopes = [
        (problem.residuals(at + step) - problem.residuals(at - step)) / 2e-6 for step in steps
    ]
    jacobian = problem.jacobian(at)
    np.testing.assert_allclose(
        jacobian, np.stack(slopes, axis=1), rtol=0, atol=1e-7 * np.abs(jacobian).max()
    )


def test_one_orbital_takes_little_time():
    """Six levels: 20 ms after the first fit at a temperature; 0.3 s is the promise."""
    hybridization = known(SEMICIRCLE + 0.3 * LEVELS.at(Z))
    MatsubaraFit().discretise(hybridization)
    seconds = []
    for seed in range(3):
        began = time.process_time()
        MatsubaraFit(seed=seed).discretise(hybridization)
        seconds.append(time.process_time() - began)
    assert min(seconds) < 0.3


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"n_bath": 0}, "solver.fit.n_bath = 0: give an integer >= 1 and <= 40"),
        ({"n_bath": "six"}, "solver.fit.n_bath = 'six': give an integer"),
        ({"weight_power": -1}, "solver.fit.weight_power = -1: give a number >= 0"),
        ({"w_cut": 0}, "solver.fit.w_cut = 0: give a number > 0"),
        ({"n_starts": 0}, "solver.fit.n_starts = 0: give an integer >= 1"),
        ({"symmetric": 1}, "solver.fit.symmetric = 1: give true or false"),
        ({"seed": -1}, "solver.fit.seed = -1: give an integer >= 0"),
        ({"max_evaluations": 0}, "solver.fit.max_evaluations = 0: give an integer >= 1"),
    ],
)
def test_bad_settings_are_refused(options, text):
    with pytest.raises(SettingError, match=text):
        MatsubaraFit(**options)


def test_other_kinds_and_an_open_number_are_refused_in_one_line():
    grid = FrequencyGrid.geometric(1e-2, 8.0, 40)
    spectrum = SpectralHybridization(grid, np.ones(40))
    for other in (spectrum, LEVELS):
        with pytest.raises(InvalidProblemError, match=f"not to a {type(other).__name__}") as caught:
            MatsubaraFit().discretise(other)
        assert "\n" not in str(caught.value)
    with pytest.raises(SettingError, match=r"fit\.n_bath = None: give an integer >= 1"):
        MatsubaraFit(None).discretise(known(SEMICIRCLE))


def test_protocol():
    six = MatsubaraFit()
    assert isinstance(six, Discretisation) and replace(six, n_bath=3).n_bath == 3
    bath = six.discretise(known(SEMICIRCLE))
    assert isinstance(bath, DiscreteBath) and bath.spectators == () and bath.orbitals == (0,) * 6
    assert {type(value) for value in bath.diagnostics.values()} == {int, float}
