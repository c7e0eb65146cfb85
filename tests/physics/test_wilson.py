"""The Wilson chain: Wilson's hoppings, what is kept, and how far the arithmetic reaches."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmftnet.errors import InvalidProblemError, SettingError
from dmftnet.physics.bath.chains import star_to_chain
from dmftnet.physics.bath.protocol import Discretisation, SpectrumDiscretisation
from dmftnet.physics.bath.wilson import Wilson, tridiagonal
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.pole_hybridization import PoleHybridization
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.impurity.spectral_hybridization import SpectralHybridization
from dmftnet.physics.lattices.bethe import semicircle
from dmftnet.physics.solvers.krylov.ras import RasSolver

GRID = FrequencyGrid.geometric(1e-3, 8.0, 400)
SEMICIRCLE = semicircle(GRID, 0.0, 1.0, 0.25)
BAND_GRID = FrequencyGrid(np.linspace(-1, 1, 201))
FLAT = np.full(201, 0.5)


def wilsons_hopping(n, lam):
    """K. G. Wilson, RMP 47, 773 (1975), eq. (VII.15): between sites n and n + 1, D = 1."""
    numerator = 0.5 * (1 + 1 / lam) * (1 - lam ** -(n + 1.0)) * lam ** (-n / 2)
    return numerator / np.sqrt((1 - lam ** -(2.0 * n + 1)) * (1 - lam ** -(2.0 * n + 3)))


@pytest.mark.parametrize("lam", [1.5, 2.0, 3.0, 10.0])
def test_flat_band_has_wilsons_hoppings(lam):
    """40 sites, over up to twenty decades, to relative accuracy."""
    chain = Wilson(40, lam, window_quantile=1.0).chain(BAND_GRID, FLAT)
    assert chain.hoppings[0] == pytest.approx(1.0, rel=1e-14)  # of weight 1
    np.testing.assert_allclose(chain.hoppings[1:], wilsons_hopping(np.arange(39), lam), rtol=1e-12)
    assert np.all(np.abs(chain.onsite) <= 1e-14 * chain.hoppings)


def test_digits_suffice():
    """Many more change no bit that a float shows."""
    recipe = Wilson(40, 2.0, z=0.37)
    energies, weights = recipe.levels(GRID, semicircle(GRID, 0.3, 0.9, 0.2))
    used = recipe.chain(GRID, semicircle(GRID, 0.3, 0.9, 0.2))
    more = tridiagonal(energies, weights, 40, 120)
    np.testing.assert_array_equal(used.hoppings, more.hoppings)
    np.testing.assert_array_equal(used.onsite, more.onsite)


@settings(max_examples=15, deadline=None)
@given(
    n_bath=st.integers(2, 12),
    lam=st.floats(1.3, 4.0),
    z=st.floats(0.05, 1.0),
    centre=st.floats(-0.6, 0.6),
)
def test_weight_centroid_and_moments_are_kept(n_bath, lam, z, centre):
    """Weight and first moment of the spectrum; of the levels ``2 n_bath`` moments.

    The levels hold both integrals interval by interval; a chain of n sites has 2n moments of them.
    """
    spectrum = semicircle(GRID, centre, 0.8, 0.3)
    recipe = Wilson(n_bath, lam, z)
    energies, weights = recipe.levels(GRID, spectrum)
    assert np.all(np.diff(energies) > 0) and np.all(weights > 0)
    exact = GRID.moments(spectrum, 2)
    np.testing.assert_allclose([weights.sum(), weights @ energies], exact, rtol=1e-12, atol=1e-14)
    star = recipe.star(GRID, spectrum)
    assert star.n_bath == n_bath
    powers = np.arange(2 * n_bath)[:, None]
    found = (star.couplings**2 * star.energies**powers).sum(axis=1)
    np.testing.assert_allclose(found, (weights * energies**powers).sum(axis=1), atol=1e-13)


def test_star_and_chain_are_one_bath():
    """A star has floats' absolute accuracy, 1e-16, of which the last of 30 hoppings has ten."""
    recipe = Wilson(30)
    chain, again = recipe.chain(GRID, SEMICIRCLE), star_to_chain(recipe.star(GRID, SEMICIRCLE))
    np.testing.assert_allclose(again.hoppings, chain.hoppings, rtol=0, atol=1e-14)
    np.testing.assert_allclose(again.onsite, chain.onsite, rtol=0, atol=1e-14)
    ratio = chain.hoppings[3:] / chain.hoppings[1:-2]
    np.testing.assert_allclose(ratio[-10:], 0.5, rtol=1e-3)  # two sites, one factor Lambda
    assert recipe.star(GRID, SEMICIRCLE).is_symmetric


def test_a_gap_ends_the_chain():
    """Levels exist where the spectrum does; without any there is no bath."""
    gapped = np.where(np.abs(GRID.omega) > 0.3, SEMICIRCLE, 0.0)
    star = Wilson(30).star(GRID, gapped)
    assert star.n_bath < 8
    assert np.abs(star.energies).min() > 0.25
    with pytest.raises(InvalidProblemError, match="the hybridization spectrum vanishes everywhere"):
        Wilson(30).star(GRID, 0 * SEMICIRCLE)


def test_shifts_interleave_and_come_round():
    recipe = Wilson(9, z=1.0)
    assert recipe.shifted(0.25).z == 0.75 and recipe.shifted(1.0) == recipe
    assert Wilson(9, z=0.25).shifted(0.5).z == 0.75
    lowest, between = (np.abs(r.levels(GRID, SEMICIRCLE)[0]) for r in (recipe, recipe.shifted(0.5)))
    inner = np.sort(between)[5:-10]
    assert np.all(np.abs(inner[:, None] / lowest - 1).min(axis=1) > 0.1)


def test_other_solvers_take_it():
    """As a bath of `ras`: norm and first moment of G are exact in any bath."""
    problem = ImpurityProblem.on_grid(2.0, -1.0, GRID, SEMICIRCLE)
    solution = RasSolver(depths=("all", 5, 2), bath=Wilson(13)).solve(problem)
    np.testing.assert_allclose(solution.greens[0].G.moments(2), [1.0, 0.0], rtol=0, atol=1e-4)


def test_what_it_takes_and_refuses():
    assert isinstance(Wilson(5), Discretisation) and isinstance(Wilson(5), SpectrumDiscretisation)
    with pytest.raises(SettingError, match=r"solver.bath.Lambda = 1: give a number >= 1.1"):
        Wilson(5, Lambda=1)
    with pytest.raises(SettingError, match=r"solver.bath.z = 0: give a number > 0 and <= 1"):
        Wilson(5, z=0)
    with pytest.raises(SettingError, match=r"solver.bath.n_bath = None: give an integer >= 2"):
        Wilson().star(GRID, SEMICIRCLE)
    with pytest.raises(InvalidProblemError, match=r"discretises a spectrum, not a PoleHybr"):
        Wilson(5).discretise(PoleHybridization([0.1], [[0.3]]))
    mixing = np.einsum("ab,w->abw", np.array([[1.0, 0.5], [0.5, 1.0]]), SEMICIRCLE)
    with pytest.raises(InvalidProblemError, match=r"takes orbitals that do not mix; use intervals"):
        Wilson(5).discretise(SpectralHybridization(GRID, mixing))
