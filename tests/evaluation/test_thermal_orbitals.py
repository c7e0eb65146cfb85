"""Errors of several orbitals: by group, and against a witness that is the labels' own solver."""

import pytest
from toy_dataset import make_file
from toy_plans import ed, kanamori_plan

from dmftnet.data.plans.thermal_sequels import ThermalWitnessPlan
from dmftnet.data.thermal import ThermalStore, WitnessStore
from dmftnet.errors import StoreError
from dmftnet.evaluation.thermal_errors import one_shot
from dmftnet.evaluation.thermal_orbitals import LABELS, against, by_group, groups, orbitals_section

pytestmark = pytest.mark.filterwarnings("ignore:.* bath levels misses the hybridization")


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    plan = kanamori_plan(4, loop_fraction=0.0, only="test")
    return make_file(tmp_path_factory.mktemp("orbitals") / "k.h5", plan, ed(2))


@pytest.fixture(scope="module")
def result(path):
    return one_shot(ThermalStore.open(path), [])


def test_groups_are_halves_of_the_samples(result):
    store, masks = result.store, list(groups(result).values())
    for one, other in zip(masks[::2], masks[1::2], strict=True):
        assert ((one | other) & ~(one & other)).all()
    assert (store.interaction(int(result.rows[0])).J == 0) == masks[0][0]
    medians = by_group(result)
    assert medians["beta < 32"]["ed1"] == pytest.approx(result.summary()["ed1"]["error_median"])


def test_a_witness_that_is_the_labels_solver(result, path, tmp_path):
    """The labels are right, and an approximation is as wrong as against the labels."""
    plan = ThermalWitnessPlan(path, n_samples=4, split="test")
    witness = WitnessStore.open(make_file(tmp_path / "w.h5", plan, ed(2)), result.store)
    found = against(result, witness)
    assert found[LABELS]["error_worst"] < 1e-5 < 1e-4 < found["ed1"]["error_worst"]
    assert found["ed1"]["samples"] == len(result.rows) == 4
    assert found["ed1"]["error_median"] == pytest.approx(
        result.summary()["ed1"]["error_median"], rel=0.05
    )
    tables = orbitals_section(result, {"ed1": 1.0}, found).tables
    assert [row[0] for row in tables[1].rows] == ["ed1", LABELS]


def test_a_witness_without_test_samples_is_refused(result, path, tmp_path):
    plan = ThermalWitnessPlan(path, n_samples=1, split="test")
    witness = WitnessStore.open(make_file(tmp_path / "w.h5", plan, ed(2)), result.store)
    witness["sample"][:] = len(result.store)
    with pytest.raises(StoreError, match="holds no test sample; use"):
        against(result, witness)
