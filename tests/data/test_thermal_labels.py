"""Labels beside a witness, in its standard errors."""

import numpy as np
import pytest
from toy_dataset import make_file
from toy_plans import ed, loops_plan

from dmftnet.data.plans.thermal_sequels import ThermalWitnessPlan
from dmftnet.data.thermal import ThermalStore, WitnessStore
from dmftnet.data.thermal_labels import COMPARED, by_interval, deviations
from dmftnet.errors import StoreError
from dmftnet.physics.solvers.ctseg.solver import CtsegSolver

pytestmark = pytest.mark.filterwarnings("ignore:.* bath levels misses the hybridization")

EDGES = (5.0, 7.0, 10.1, 20.0)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    plan = loops_plan(12, beta=(5.0, 10.0), only="test")
    return make_file(tmp_path_factory.mktemp("labels") / "c.h5", plan, ed(3))


@pytest.fixture(scope="module")
def store(path):
    return ThermalStore.open(path)


@pytest.fixture(scope="module")
def witness(path, store):
    plan, solver = ThermalWitnessPlan(path, n_samples=8), CtsegSolver(n_sweeps=12_800)
    return WitnessStore.open(make_file(path.with_name("w.h5"), plan, solver), store)


def shifted(witness, by):
    """The same with G away by so many of its errors."""
    columns = dict(witness.columns)
    columns["witness/greens"] = witness["greens"] + by * witness["greens_error"]
    return WitnessStore(witness.path, witness.attributes, columns)


def test_right_labels_are_off_by_standard_errors(store, witness):
    """Three levels are right to 1e-5 at these temperatures; the noise is far above."""
    found = deviations(store, witness)
    assert tuple(found) == COMPARED
    assert found["Im G"].shape == (8, store.odd.size) and found["density"].shape == (8,)
    for entry in by_interval(store, witness, EDGES):
        assert 0.3 < entry["rms"]["Im G"] < 2 and entry["beyond"] == 0
        assert 1e-4 < entry["tau_error"] < 5e-3


def test_wrong_labels_are_seen(store, witness):
    entry = by_interval(store, shifted(witness, 10), EDGES)[-1]
    assert entry["beyond"] == 1 and 8 < entry["rms"]["Im G"] < 12


def test_intervals_hold_every_sample_once_and_all_at_last(store, witness):
    entries = by_interval(store, witness, EDGES)
    assert entries[-1]["samples"] == sum(e["samples"] for e in entries[:-1]) == 8
    assert entries[-1]["beta"] == [5.0, 20.0] and [10.1, 20.0] not in [e["beta"] for e in entries]


def test_half_filling_has_no_error_of_the_real_part(store, witness):
    half = np.abs(store["density"][witness["sample"]] - 0.5) < 1e-9
    exact = deviations(store, witness)["Re G"][half]
    assert half.any() and not np.isfinite(exact).any()


def test_a_witness_without_errors_is_refused(path, store):
    plan = ThermalWitnessPlan(path, n_samples=1)
    silent = WitnessStore.open(make_file(path.with_name("s.h5"), plan, ed(3)), store)
    with pytest.raises(StoreError, match=r"holds no standard errors.*solver=ctseg"):
        deviations(store, silent)
