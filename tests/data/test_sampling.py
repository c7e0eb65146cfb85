import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmftnet.data.plans.random_spectra import (
    agnostic_spectrum,
    quasiparticle_spectrum,
    random_bands,
)
from dmftnet.data.plans.sampling import SPLITS, STARTS, TrajectorySampler
from dmftnet.errors import InvalidProblemError
from dmftnet.physics.dmft.starts import starting_hybridization
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.lattices.bethe import Bethe

GRID = FrequencyGrid.geometric(1e-3, 8.0, 400)


@pytest.fixture(scope="module")
def trajectories():
    sampler = TrajectorySampler(seed=7)
    return [sampler.trajectory(i) for i in range(160)]


def test_a_trajectory_follows_from_seed_and_id_alone(trajectories):
    for i in (3, 150, 0):  # any order, a new sampler each time
        assert TrajectorySampler(seed=7).trajectory(i) == trajectories[i]
    assert TrajectorySampler(seed=8).trajectory(3) != trajectories[3]


def test_random_starts_follow_from_seed_and_id_alone(trajectories):
    random = [t for t in trajectories if t.start == "random"][:2]
    spectra = [t.starting_hybridization(Bethe(), GRID) for t in random]
    again = [t.starting_hybridization(Bethe(), GRID) for t in reversed(random)][::-1]
    assert np.array_equal(spectra, again)
    assert not np.allclose(*spectra)


def test_the_ranges_are_covered(trajectories):
    U = np.array([t.U for t in trajectories])
    shift = np.array([t.eps_d + t.U / 2 for t in trajectories])
    assert U.min() >= 0 and U.max() <= 4
    assert np.ptp(U) > 3.9
    dense = np.mean((U > 2.2) & (U < 3.2))
    assert abs(dense - (0.3 + 0.7 / 4)) < 0.03
    assert abs(np.mean(shift == 0) - 0.5) < 0.03
    assert np.all(np.abs(shift) <= 0.5 + U / 2)
    assert (shift > 0.3).sum() > 20 and (shift < -0.3).sum() > 20
    for start, share in zip(STARTS[:-1], (0.4, 0.3, 0.3, 0.0, 0.0), strict=True):
        assert abs(np.mean([t.start == start for t in trajectories]) - share) < 0.05


def test_levels_can_be_kept_near_the_edge_of_the_gap():
    sampler = TrajectorySampler(
        3, U_dense=(2.8, 4.0), dense_fraction=1.0, half_filled_fraction=0.0,
        highest_level=-0.2, lowest_level=-1.3,
    )  # fmt: skip
    drawn = [sampler.trajectory(i) for i in range(200)]
    below = np.array([min(t.eps_d, -t.U - t.eps_d) for t in drawn])  # of hole-doped mirror images
    above = np.array([max(t.eps_d, -t.U - t.eps_d) for t in drawn])
    assert min(t.U for t in drawn) >= 2.8
    assert np.all(above >= -1.3 - 1e-12) and np.all(above <= -0.2)
    assert above.min() < -1.25 and above.max() > -0.25
    assert abs(np.mean([t.eps_d == b for t, b in zip(drawn, below, strict=True)]) - 0.5) < 0.05


def test_levels_can_be_kept_near_half_filling():
    sampler = TrajectorySampler(3, half_filled_fraction=0.0, largest_shift=0.4)
    shifts = np.array([t.eps_d + t.U / 2 for t in map(sampler.trajectory, range(200))])
    assert np.abs(shifts).max() <= 0.4
    assert abs(np.mean(np.abs(shifts) < 0.2) - 0.5) < 0.05 and abs(shifts.mean()) < 0.02


def test_splits_are_balanced_in_every_block(trajectories):
    for block in range(0, 160, 8):
        roles = [t.split for t in trajectories[block : block + 8]]
        assert (roles.count("val"), roles.count("test")) == (1, 1)
    places = [i % 8 for i, t in enumerate(trajectories) if t.split == "test"]
    assert len(set(places)) > 4  # not always the same place
    assert set(SPLITS) == {t.split for t in trajectories}


def test_starts_are_causal_and_half_filled_ones_even(trajectories):
    for t in trajectories[:40]:
        spectrum = t.starting_hybridization(Bethe(), GRID)
        assert spectrum.shape == (GRID.n_w,)
        assert np.all(np.isfinite(spectrum)) and np.all(spectrum >= 0)
        if t.half_filled:
            np.testing.assert_allclose(spectrum, spectrum[::-1], atol=1e-12)


@given(seed=st.integers(0, 10**6), symmetric=st.booleans(), weight=st.floats(0.05, 1.0))
def test_random_bands_is_causal_and_keeps_its_weight(seed, symmetric, weight):
    spectrum = random_bands(np.random.default_rng(seed), GRID, weight, symmetric)
    assert np.all(spectrum >= 0)
    assert 0.6 * weight <= GRID.integrate(spectrum) * (1 + 1e-9)
    assert GRID.integrate(spectrum) <= 1.6 * weight * (1 + 1e-9)
    if symmetric:
        np.testing.assert_allclose(spectrum, spectrum[::-1], atol=1e-12)


def test_every_kind_of_start_is_drawn_with_its_share():
    shares = (0.1, 0.2, 0.1, 0.4, 0.2)
    sampler = TrajectorySampler(seed=3, start_fractions=shares, highest_level=0.65)
    drawn = [sampler.trajectory(i) for i in range(160)]
    for start, share in zip(STARTS[:-1], shares, strict=True):
        assert abs(np.mean([t.start == start for t in drawn]) - share) < 0.05
    shift = np.array([abs(t.eps_d + t.U / 2) - t.U / 2 for t in drawn])
    assert 0.6 < shift.max() <= 0.65
    for t in drawn[:60]:
        spectrum = t.starting_hybridization(Bethe(), GRID)
        assert np.all(np.isfinite(spectrum)) and np.all(spectrum >= 0)
        assert 0.03 < GRID.integrate(spectrum) < 0.81
        if t.half_filled:
            np.testing.assert_allclose(spectrum, spectrum[::-1], atol=1e-12)


@given(seed=st.integers(0, 10**6))
def test_a_quasiparticle_start_is_pinned_and_keeps_its_weight(seed):
    bands = starting_hybridization(Bethe(), GRID, 2.8, -1.4, "insulator")
    spectrum = quasiparticle_spectrum(np.random.default_rng(seed), GRID, bands, symmetric=True)
    # the resonance on the grid: a semicircle of half-width >= 0.01 against steps of 2 %
    assert GRID.integrate(spectrum) == pytest.approx(0.25, rel=5e-3)
    assert GRID.at_zero(spectrum) == pytest.approx(0.25 * 2 / np.pi, rel=0.03)


@given(seed=st.integers(0, 10**6), symmetric=st.booleans())
def test_agnostic_spectra_are_causal_and_of_moderate_weight(seed, symmetric):
    spectrum = agnostic_spectrum(np.random.default_rng(seed), GRID, symmetric)
    assert np.all(np.isfinite(spectrum)) and np.all(spectrum >= 0)
    assert 0.05 * (1 - 1e-9) <= GRID.integrate(spectrum) <= 0.8 * (1 + 1e-9)
    if symmetric:
        np.testing.assert_allclose(spectrum, spectrum[::-1], atol=1e-12)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"U_dense": (3.0, 2.0)}, "U_dense"),
        ({"U_max": 2.0}, "U_max"),
        ({"start_fractions": (0.5, 0.5, 0.5)}, "start_fractions"),
        ({"half_filled_fraction": 1.5}, "1.5"),
        ({"mixing": (0.0, 1.0)}, "mixing"),
        ({"block": 2}, "block = 2"),
    ],
)
def test_bad_ranges_are_named(options, word):
    with pytest.raises(InvalidProblemError, match=word):
        TrajectorySampler(**options)


def test_a_gap_over_all_bands_is_not_cut():
    """One draw in some hundreds puts a gap over its only band; an empty bath cannot be solved."""
    weights = [
        GRID.integrate(agnostic_spectrum(np.random.default_rng([0, seed]), GRID, symmetric=True))
        for seed in range(400)
    ]
    assert min(weights) > 0.04
