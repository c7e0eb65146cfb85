"""Thermal files where something is missing, wrong or added: failed solves, settings, sequels."""

from dataclasses import dataclass

import h5py
import numpy as np
import pytest
import yaml
from toy_dataset import make_file
from toy_plans import FAMILIES, ed, models_plan

from dmftnet.data.keys import SPLITS, THERMAL_STATUS
from dmftnet.data.keys import ThermalModels as Models
from dmftnet.data.keys import ThermalRemarks as Remarks
from dmftnet.data.keys import ThermalSamples as Samples
from dmftnet.data.plans.thermal import BEYOND, Comparison, ThermalProblem, UniversalAxes
from dmftnet.data.plans.thermal_models import ThermalModelsPlan
from dmftnet.data.plans.thermal_sequels import ThermalExtendedPlan, ThermalWitnessPlan
from dmftnet.data.thermal import ThermalStore, WitnessStore
from dmftnet.errors import ConvergenceError, SettingError, StoreError
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.protocol import Solver
from dmftnet.physics.lattices.bethe import Bethe
from dmftnet.physics.solvers.krylov.ed import EdSolver
from dmftnet.physics.solvers.krylov.ras import RasSolver


@dataclass(frozen=True)
class Failing(Solver):
    """Fails below a temperature; above it one fitted level, or the levels that are given."""

    hottest: float = 5.0
    name: str = "failing"
    capabilities = EdSolver.capabilities

    def solve(self, problem):
        if problem.beta > self.hottest:
            raise ConvergenceError("told to fail")
        return ed(1).solve(problem)


def test_an_approximation_that_fails_is_missing_and_said(tmp_path):
    plan = ThermalModelsPlan(FAMILIES, {"ed1": ed(1), "bad": Failing()}, 20, n_bath=1, per_job=10)
    store = ThermalStore.open(make_file(tmp_path / "m.h5", plan, EdSolver()))
    cold = store["beta"] > 5
    assert cold.any() and not cold.all()
    np.testing.assert_array_equal(np.isnan(store.greens("bad")).all(axis=1), cold)
    np.testing.assert_array_equal(np.isnan(store.density("bad")), cold)
    times = store.greens_tau(np.array([0.0, 0.5]), "bad")
    np.testing.assert_array_equal(np.isnan(times).all(axis=1), cold)
    assert np.isfinite(times[~cold]).all()
    assert np.isfinite(store.greens("ed1")).all() and (store.seconds("bad") >= 0).all()
    assert store.columns[Remarks.TEXT].tolist() == ["sample 0, bad: told to fail"] * cold.sum()
    np.testing.assert_array_equal(store.columns[Remarks.MODEL], store["model"][cold])
    with pytest.raises(StoreError, match="no approximation 'ipt'; use one of ed1, bad"):
        store.greens("ipt")


def test_an_exact_solver_that_fails_gives_no_sample(tmp_path):
    plan = models_plan(20)
    store = ThermalStore.open(make_file(tmp_path / "m.h5", plan, Failing()))
    assert 0 < len(store) < 20 and store["beta"].max() <= 5
    status = store.columns[Models.STATUS]
    assert np.count_nonzero(status == THERMAL_STATUS.index("failed")) == 20 - len(store)
    count, remark = plan.describe(store.columns)
    assert count == len(store) and "told to fail" in remark


def test_weight_above_the_axis_is_refused_and_counted(tmp_path):
    """On an axis that ends at 2 D where beta = 50."""
    plan = models_plan(40, size=100.0)
    store = ThermalStore.open(make_file(tmp_path / "m.h5", plan, EdSolver()))
    beyond = store.columns[Models.STATUS] == THERMAL_STATUS.index("beyond")
    assert np.count_nonzero(beyond) == 40 - len(store) > 4
    assert store["beyond"].max() <= BEYOND and store["beta"].max() < 100
    assert len(store.columns[Remarks.TEXT]) == 40 - len(store)
    assert "lies above" in store.columns[Remarks.TEXT][0]
    comparison = Comparison(EdSolver(), {"ed1": ed(1)}, UniversalAxes(1600.0))
    model = plan.model(int(store.columns[Models.ID][beyond][0]))
    row, _ = comparison.row(ThermalProblem(0, 0, 1.0, model.problem))
    assert row[Samples.BEYOND] <= BEYOND  # the default axis holds it


def test_solvers_that_cannot_are_refused_at_once(tmp_path):
    grid = FrequencyGrid.geometric(1e-3, 8.0, 100)
    with pytest.raises(SettingError, match=r"solver 'ras' works at T = 0.*use solver=ed"):
        models_plan().run(0, RasSolver(), Bethe(), grid)
    plan = ThermalModelsPlan(FAMILIES, {"exact": RasSolver()}, 10, per_job=10)
    with pytest.raises(SettingError, match=r"sampling.approximations.exact: solver 'ras'"):
        plan.run(0, EdSolver(), Bethe(), grid)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"n_models": 15}, "n_models = 15: give a multiple of sampling.per_job = 10"),
        ({"n_bath": 7}, "n_bath = 7: give an integer >= 1 and <= 6"),
        ({"block": 2}, "block = 2: give an integer >= 3"),
        ({"symmetric_fraction": 2}, "symmetric_fraction = 2"),
    ],
)
def test_bad_settings_are_named(options, words):
    with pytest.raises(SettingError, match=words):
        models_plan(**options)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"share": 0.4}, "shares sum to 0.9"),
        ({"U": [3, 1]}, r"families\[0\].U = \[3.0, 1.0\]: give \[lowest, highest\]"),
        ({"beta": []}, r"families\[0\].beta = \[\]"),
        ({"V": 1}, r"families\[0\].V is unknown"),
    ],
)
def test_bad_families_are_named(change, words):
    with pytest.raises(SettingError, match=words):
        ThermalModelsPlan([FAMILIES[0] | change, FAMILIES[1]], {"ed1": ed(1)})


@pytest.mark.parametrize("given", [{}, {"ed1": "ed"}])
def test_approximations_are_solvers(given):
    with pytest.raises(SettingError, match=r"sampling.approximations"):
        ThermalModelsPlan(FAMILIES, given)


def spoilt(source, path, change):
    path.write_bytes(source.read_bytes())
    with h5py.File(path, "r+") as file:
        change(file)
    return path


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda f: f.attrs.update(approximations=["ed1"]), r"names .*\['ed1'\], and holds 2"),
        (lambda f: f.attrs.update(axis_accuracy=1e-10), "other Matsubara frequencies"),
        (lambda f: f["samples/model"].__setitem__(0, 7), "samples and models disagree"),
        (lambda f: f["samples/self_energy"].__setitem__((0, 0), np.nan), "not finite"),
        (lambda f: f.__delitem__("samples/bath_energies"), "bath levels or Delta"),
        (lambda f: f.attrs.update(schema_version=9), "version 9"),
    ],
)
def test_files_that_do_not_hold_together_are_refused(models, tmp_path, change, words):
    with pytest.raises(StoreError, match=words):
        ThermalStore.open(spoilt(models, tmp_path / "bad.h5", change))


def test_more_approximations_beside_the_old_ones(models, tmp_path):
    """The same file as if all had been there from the start, to the rounding of its Sigma."""
    names = {"ed1": ed(1), "ed2": ed(2), "more": ed(3)}
    whole = ThermalModelsPlan(FAMILIES, names, 40, 2, 0.3, 10, seed=3)
    whole = ThermalStore.open(make_file(tmp_path / "whole.h5", whole, EdSolver()))
    plan = ThermalExtendedPlan(models, {"more": names["more"]}, per_job=7)
    store = ThermalStore.open(make_file(tmp_path / "more.h5", plan, EdSolver()))
    assert store.approximations == ("ed1", "ed2", "more")
    for name in (None, "ed1", "ed2"):
        np.testing.assert_array_equal(store.self_energy(name), whole.self_energy(name))
        np.testing.assert_array_equal(store.density(name), whole.density(name))
    scale = np.abs(whole.self_energy())
    assert (np.abs(store.self_energy("more") - whole.self_energy("more")) < 1e-5 * scale).all()
    assert store.columns[Models.SPLIT].tolist() == whole.columns[Models.SPLIT].tolist()
    test = ThermalExtendedPlan(models, {"more": names["more"]}, split="test")
    test = ThermalStore.open(make_file(tmp_path / "test.h5", test, EdSolver()))
    rows = store.indices("test")
    assert len(test) == rows.size and (test.splits == SPLITS.index("test")).all()
    np.testing.assert_array_equal(test.self_energy("more"), store.self_energy("more")[rows])
    with pytest.raises(SettingError, match=r"approximations.ed1: .* holds an approximation"):
        ThermalExtendedPlan(models, {"ed1": ed(1)})


def test_an_extended_file_says_how_all_of_it_was_made(models, tmp_path):
    """Configs of old and new approximations, and where the exact answers come from."""

    def says(names):
        made = {"sampling": {"approximations": {name: {"_target_": name} for name in names}}}
        return lambda file: file.attrs.update(config=yaml.safe_dump(made), command="as it was")

    source = spoilt(models, tmp_path / "source.h5", says(["ed1", "ed2"]))
    more = make_file(tmp_path / "more.h5", ThermalExtendedPlan(source, {"ed3": ed(3)}), EdSolver())
    store = ThermalStore.open(spoilt(more, tmp_path / "whole.h5", says(["ed3"])))
    assert list(store.solvers) == list(store.approximations) == ["ed1", "ed2", "ed3"]
    assert store.attributes["source_command"] == "as it was"
    with pytest.raises(StoreError, match="does not say how"):
        _ = ThermalStore.open(more).solvers


@dataclass(frozen=True)
class Noisy(Solver):
    """A solver that knows its error bars."""

    name: str = "noisy"
    capabilities = EdSolver.capabilities

    def solve(self, problem):
        solution = ed(2).solve(problem)
        n = problem.axis.omega_n.size
        solution.diagnostics.update(
            greens_error=np.full((1, n), 1e-3 + 2e-3j),
            greens_tau_error=np.array([[1e-4, 3e-4]]),
            filling_error=2e-3,
        )
        return solution


def test_a_witness_has_error_bars_and_knows_its_source(models, loops, tmp_path):
    plan = ThermalWitnessPlan(loops, n_samples=3, split="train", seed=1)
    path = make_file(tmp_path / "w.h5", plan, Noisy())
    source = ThermalStore.open(loops)
    witness = WitnessStore.open(path, source)
    assert len(witness) == 3 and set(witness["sample"]) <= set(source.indices("train"))
    assert len(set(witness["sample"])) == 3
    np.testing.assert_array_equal(witness["greens_error"], 1e-3 + 2e-3j)
    np.testing.assert_array_equal(witness["tau_error"], 3e-4)
    np.testing.assert_array_equal(witness["density_error"], 1e-3)
    assert np.isnan(witness["self_energy_error"]).all() and np.isnan(witness["double_error"]).all()
    i = int(witness["sample"][0])
    solution = ed(2).solve(source.problem(i))
    np.testing.assert_allclose(witness["greens"][0], solution.matsubara_greens(source.axis(i))[0])
    longer = ThermalWitnessPlan(loops, n_samples=5, split="train", seed=1)
    assert longer.rows[:3].tolist() == witness["sample"].tolist()
    with pytest.raises(StoreError, match="witness of another file than"):
        WitnessStore.open(path, ThermalStore.open(models))
    with pytest.raises(SettingError, match=r"n_samples = 1000: .* holds"):
        ThermalWitnessPlan(loops, n_samples=1000)
