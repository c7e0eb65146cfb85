"""A dataset in units of each problem's bath: the same physics, whatever the width of the band."""

from dataclasses import replace

import numpy as np
import pytest
from toy_correlated import make_correlated

from dmftnet.data.labels import make_labels
from dmftnet.data.own_units import OUTSIDE, OwnUnits
from dmftnet.data.store import SpectralStore
from dmftnet.errors import InvalidProblemError
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.units import unit_of

GRID = FrequencyGrid.geometric(5e-3, 8.0, 120)
RESOLUTION = (0.03, 0.1)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return SpectralStore.open(make_correlated(tmp_path_factory.mktemp("own") / "few.h5"))


def wider(store, factor):
    """The same problems with all energies multiplied."""
    columns = dict(store.columns)
    for name in ("U", "eps_d", "hybridization"):
        columns[f"samples/{name}"] = factor * columns[f"samples/{name}"].astype(np.float64)
    columns["samples/broadening"] = columns["samples/broadening"] * [factor, 1.0]
    columns["poles/energies"] = factor * columns["poles/energies"].astype(np.float64)
    columns["poles/amplitudes"] = columns["poles/amplitudes"] * [1.0, factor]
    return replace(store, columns=columns, grid=FrequencyGrid(factor * store.grid.omega))


@pytest.mark.parametrize("factor", [0.7, 1.6])
def test_the_width_of_the_band_means_nothing(store, factor):
    own, other = OwnUnits(store), OwnUnits(wider(store, factor))
    np.testing.assert_allclose(other.unit, factor * own.unit, rtol=1e-6)
    for name in ("U", "eps_d", "broadening"):
        np.testing.assert_allclose(other[name], own[name], rtol=1e-6)
    here = make_labels(store, GRID, (0.15,), RESOLUTION, "self_energy")
    there = make_labels(wider(store, factor), GRID, (0.15,), RESOLUTION, "self_energy")
    np.testing.assert_array_equal(here.consistent, there.consistent)
    assert here.consistent.any()
    chosen = here.consistent > 0
    for name, share in (("hybridization", 0.02), ("self_energy", 0.08), ("rotated", 0.06)):
        a, b = (getattr(arrays, name)[chosen].astype(float) for arrays in (here, there))
        change = GRID.integrate(np.abs(a - b))
        assert np.all(change <= share * GRID.integrate(np.abs(a))), (
            name
        )  # grids of 400 points differ


def test_every_bath_has_the_weight_of_the_semicircle(store):
    for samples in (OwnUnits(store), OwnUnits(wider(store, 1.3))):
        weights = samples.grid.integrate(samples["hybridization"])
        np.testing.assert_allclose(weights, 0.25, rtol=1e-9)
        solution = samples.solution(0)
        assert solution.problem.U == pytest.approx(samples["U"][0])
        # the second amplitude is that of [d, H_int]: its weight is U^2 n, n of one spin
        found = (samples.poles(0).amplitudes[:, 1] ** 2).sum()
        n = store["filling"][0] / 2
        assert found == pytest.approx(samples["U"][0] ** 2 * n, rel=2e-2)


def test_what_reaches_beyond_the_grid_is_no_label(store):
    own = OwnUnits(store)
    assert own.inside(8.0).all() and not own.inside(0.5).any()
    last = np.array([np.abs(own.poles(i).energies).max() for i in range(len(own))])
    middle = float(np.median(last)) / 2
    inside = own.inside(middle)
    for i in range(len(own)):
        weights, energies = own.poles(i).amplitudes ** 2, own.poles(i).energies
        share = weights[np.abs(energies) > middle].sum(axis=0) / weights.sum(axis=0)
        if share.max() > OUTSIDE:
            assert not inside[i]


def test_without_a_bath_there_is_no_unit():
    with pytest.raises(InvalidProblemError, match="weight 0"):
        unit_of(0.0)
