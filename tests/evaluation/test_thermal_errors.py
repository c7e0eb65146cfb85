"""Errors of single solves at finite temperature: by quadrature, by hand, and what is refused."""

import time
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import yaml
from toy_loops import SOLVERS, make_correction, make_samples

from dmftnet.data.thermal import ThermalStore
from dmftnet.errors import ConvergenceError, StoreError
from dmftnet.evaluation.thermal_errors import OneShot, median, one_shot, summary_of
from dmftnet.evaluation.thermal_methods import costs, load_corrections, milliseconds
from dmftnet.evaluation.thermal_sections import ratio


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    folder = tmp_path_factory.mktemp("samples")
    return make_samples(folder / "s.h5", n_models=16, failed=[(6, 0)])


@pytest.fixture(scope="module")
def correction(samples):
    return make_correction(samples.parent / "alone", samples)


def test_errors_are_integrals_over_tau(samples):
    """By the trapezoidal rule on a mesh of its own, G(tau) by the file's own transform."""
    store = ThermalStore.open(samples)
    result = one_shot(store, [])
    half = np.geomspace(1e-5, 0.5, 1500)
    x = np.concatenate([[0.0], half, 1 - half[-2::-1], [1.0]])
    exact = store.greens_tau(x)
    for name, errors in result.errors.items():
        reference = np.trapezoid(np.abs(store.greens_tau(x, name) - exact), x, axis=1)
        np.testing.assert_allclose(errors, reference[result.rows], rtol=1e-2, equal_nan=True)
        assert np.nanmax(errors) > 1e-4


def test_only_test_samples_are_evaluated(samples):
    store = ThermalStore.open(samples)
    np.testing.assert_array_equal(one_shot(store, []).rows, np.flatnonzero(store.splits == 2))


def test_a_correction_that_corrects_nothing_has_the_errors_of_its_base(samples, correction):
    (loaded,) = load_corrections([correction])
    result = one_shot(ThermalStore.open(samples), [loaded])
    np.testing.assert_allclose(result.errors["alone"], result.errors["crude"], rtol=1e-10)
    failed = np.isnan(result.errors["crude"])
    assert failed.sum() == 1 and result.summary()["alone"]["failed"] == 1
    assert loaded.describe()["base"] == "crude" and loaded.describe()["inputs"] == ["crude"]


def test_summaries_of_known_errors():
    found = summary_of(np.array([3.0, np.nan, 1.0, 2.0, 10.0, np.nan]))
    assert (found["error_median"], found["error_worst"]) == (2.5, 10.0)
    assert (found["samples"], found["failed"]) == (4, 2)
    nothing = summary_of(np.full(2, np.nan))
    assert np.isnan(nothing["error_median"]) and nothing["failed"] == 2
    assert median(np.array([np.nan, 4.0])) == 4.0 and np.isnan(median(np.full(1, np.nan)))


def test_medians_by_the_temperature_at_which_a_sample_was_drawn():
    """beta and U of a file are in units of each sample's own D."""
    unit = np.array([2.0, 3.0, 2.0, 1.0])
    store = {"beta": np.array([5.0, 5.0, 5.0, 20.0]) * unit, "unit": unit}
    errors = {
        "hubbard1": np.array([4.0, 6.0, 9.0, 1.0]),
        "ipt": np.array([5.0, 3.0, np.nan, 2.0]),
        "network": np.array([0.5, 1.0, 2.0, 0.25]),
    }
    low, high = OneShot(store, np.arange(4), {}, errors).by_temperature()
    assert (low["beta"], low["samples"], high["beta"], high["samples"]) == (5.0, 3, 20.0, 1)
    assert low["medians"] == {"hubbard1": 6.0, "ipt": 4.0, "network": 1.0}
    assert (low["best_cheap"], high["best_cheap"]) == ("ipt", "hubbard1")
    assert (ratio(low, "network"), ratio(high, "network")) == (4.0, 4.0)
    first, second = OneShot(store, np.arange(4), {}, errors).by_interval([5.0, 20.0, 40.0])
    assert (first["beta"], first["samples"], second["samples"]) == ([5.0, 20.0], 3, 1)
    assert first["medians"] == low["medians"] and second["medians"] == high["medians"]


def changed(samples, path, **attributes):
    path.write_bytes(samples.read_bytes())
    with h5py.File(path, "r+") as file:
        file.attrs.update(attributes)
    return ThermalStore.open(path)


def test_a_correction_on_data_that_are_not_its_own_kind_is_refused(samples, correction, tmp_path):
    (loaded,) = load_corrections([correction])
    other = {**SOLVERS, "crude": SOLVERS["fair"]}
    config = yaml.safe_dump({"sampling": {"approximations": other}})
    store = changed(samples, tmp_path / "a.h5", config=config)
    with pytest.raises(StoreError, match="made 'crude' with other settings"):
        one_shot(store, [loaded])
    store = changed(samples, tmp_path / "b.h5", approximations=["rough", "fair"])
    with pytest.raises(StoreError, match="holds no approximation 'crude', which"):
        one_shot(store, [loaded])
    wide = make_samples(tmp_path / "c.h5", n_models=8)
    store = changed(wide, tmp_path / "d.h5", axis_accuracy=1.0000001e-7)
    with pytest.raises(StoreError, match="was trained on an axis of"):
        one_shot(store, [loaded])


def test_a_checkpoint_with_the_name_of_an_approximation_is_refused(samples, tmp_path):
    folder = make_correction(tmp_path / "fair", samples)
    with pytest.raises(StoreError, match="checkpoint 'fair' has the name of an approximation"):
        one_shot(ThermalStore.open(samples), load_corrections([folder]))


def test_labels_of_folders_with_one_name_are_told_apart(samples, tmp_path):
    folders = [make_correction(tmp_path / name / "run", samples) for name in "ab"]
    assert [c.label for c in load_corrections(folders)] == ["a/run", "b/run"]


def test_times_are_medians_without_the_first_solve(monkeypatch):
    clock, waits = [0.0], iter([0.2, 0.01, 0.02, 0.03])
    monkeypatch.setattr(time, "process_time", lambda: clock[0])

    def solve(problem):
        clock[0] += next(waits)

    assert milliseconds(SimpleNamespace(solve=solve), [None] * 3) == pytest.approx(20)

    def refuse(problem):
        raise ConvergenceError("no")

    assert np.isnan(milliseconds(SimpleNamespace(solve=refuse), [None] * 2))


def test_every_method_is_timed(samples, correction):
    store = ThermalStore.open(samples)
    found = costs(store, load_corrections([Path(correction)]), store.indices("test")[:2])
    assert list(found) == ["crude", "fair", "alone"] and all(ms > 0 for ms in found.values())
