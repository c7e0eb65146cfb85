import os
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from content import content_hash
from hydra import compose, initialize_config_dir
from shell import python_path
from toy_dataset import make_file
from toy_solver import ToySolver

from dmftnet.config import instantiate
from dmftnet.data import executors
from dmftnet.data.generation import recipe_hash
from dmftnet.data.keys import STATUS
from dmftnet.data.plans.sampling import SPLITS, TrajectorySampler
from dmftnet.data.plans.trajectories import TrajectoryPlan
from dmftnet.data.store import SpectralStore
from dmftnet.errors import DmftnetError, StoreError
from dmftnet.physics.impurity.solutions import CurveSolution

ROOT = Path(__file__).parents[2]
TESTS = python_path(ROOT / "tests")  # where workers find the toy solver


@pytest.fixture(scope="module")
def store(dataset):
    return SpectralStore.open(dataset)


def test_samples_are_the_iterations_of_their_trajectory(store, plan):
    for row, number in enumerate(store.columns["trajectories/id"]):
        trajectory = plan.sampler.trajectory(int(number))
        own = np.flatnonzero(store["trajectory"] == number)
        assert own.size == store.columns["trajectories/n_samples"][row]
        assert store["iteration"][own].tolist() == list(range(own.size))
        assert own.size <= plan.n_iterations
        assert np.all(store["U"][own] == trajectory.U)
        assert np.all(store["eps_d"][own] == trajectory.eps_d)
        assert SPLITS[store.columns["trajectories/split"][row]] == trajectory.split


def test_hybridizations_follow_the_mixed_loop(store, plan):
    """Delta of the next iteration is the mixture of this one's and (D^2/4) A."""
    checked = 0
    for first in np.flatnonzero(store["iteration"] == 0):
        if first + 1 == len(store) or store["iteration"][first + 1] != 1:
            continue
        trajectory = plan.sampler.trajectory(int(store["trajectory"][first]))
        old = store["hybridization"][first].astype(float)
        new = 0.25 * store.solution(first).spectrum()[0]
        if trajectory.half_filled:
            new = 0.5 * (new + new[::-1])
        mixed = (1 - trajectory.mixing) * old + trajectory.mixing * new
        error = np.abs(store["hybridization"][first + 1] - mixed)
        assert store.grid.integrate(error) < 1e-4  # poles and curves are stored in float32
        checked += 1
    assert checked >= 5


def test_poles_hold_the_norm_and_the_filling(store):
    for sample in range(len(store)):
        G = store.poles(sample).G
        assert G.weights.sum() == pytest.approx(1, abs=1e-5)
        assert 2 * G.occupied_weight == pytest.approx(store["filling"][sample], abs=1e-5)


def test_splits_are_whole_trajectories(store):
    indices = {split: store.indices(split) for split in SPLITS}
    assert sorted(np.concatenate(list(indices.values()))) == list(range(len(store)))
    owners = [set(store["trajectory"][i]) for i in indices.values()]
    assert not (owners[0] & owners[1] or owners[0] & owners[2] or owners[1] & owners[2])
    with pytest.raises(StoreError, match="split 'other' is unknown"):
        store.indices("other")


@pytest.mark.parametrize("kind", ["local", "dask"])
def test_every_executor_gives_the_same_content(tmp_path, plan, dataset, kind, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", TESTS)
    with getattr(executors, kind)(n_workers=1) as executor:
        names = tuple(executors.ONE_THREAD)
        environment = executor.submit(_environment, names).result()
        assert environment == ["1"] * len(names)
        path = make_file(tmp_path / "a.h5", plan, executor=_Kept(executor))
    assert content_hash(path) == content_hash(dataset)


def _environment(names):
    return [os.environ.get(name) for name in names]


class _Kept:
    """Lends an executor that its owner closes."""

    def __init__(self, executor):
        self.executor = executor

    def __enter__(self):
        return self.executor

    def __exit__(self, *exc):
        return None


class _Counting(Executor):
    """Runs at submission; remembers how many results were waiting at most."""

    def __init__(self):
        self.waiting, self.most = set(), 0

    def submit(self, function, *args):
        future = Future()
        future.set_result(function(*args))
        self.waiting = {f for f in self.waiting if not f.taken}
        future.taken = False
        original = future.result
        future.result = lambda: (setattr(future, "taken", True), original())[1]
        self.waiting.add(future)
        self.most = max(self.most, len(self.waiting))
        return future


def test_the_number_of_jobs_in_flight_is_bounded(tmp_path, plan, dataset):
    counting = _Counting()
    path = make_file(tmp_path / "a.h5", plan, executor=counting, max_in_flight=3)
    assert counting.most == 3
    assert content_hash(path) == content_hash(dataset)


@pytest.mark.parametrize("fault", ["norm", "sector", "error"])
def test_a_bad_solve_ends_its_trajectory_and_is_counted(tmp_path, plan, fault):
    store = SpectralStore.open(make_file(tmp_path / "a.h5", plan, ToySolver(fault=fault)))
    bad = store.columns["trajectories/U"] > 2
    status = np.array(STATUS)[store.columns["trajectories/status"]]
    expected = "failed" if fault == "error" else fault
    assert bad.sum() > 4
    assert set(status[bad]) == {expected}
    assert np.all(store.columns["trajectories/n_samples"][bad] == 0)
    assert not np.any(store["U"] > 2)
    if fault == "error":
        assert set(store.columns["trajectories/message"][bad]) == {
            "the toy solver was told to fail"
        }


def test_a_dead_worker_is_reported_and_the_rest_kept(tmp_path, plan, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", TESTS)
    with executors.local(n_workers=1) as executor:
        with pytest.raises(DmftnetError, match="worker process died"):
            make_file(tmp_path / "a.h5", plan, ToySolver(fault="crash"), executor=_Kept(executor))
    with pytest.raises(StoreError, match="interrupted; run the same"):
        SpectralStore.open(tmp_path / "a.h5")


class _CurveSolver(ToySolver):
    def solve(self, problem):
        return CurveSolution(problem, super().solve(problem).spectrum())


def test_a_solver_without_poles_is_refused(tmp_path, plan):
    with pytest.raises(DmftnetError, match="a dataset stores poles"):
        make_file(tmp_path / "a.h5", plan, _CurveSolver())


def test_a_dataset_grows_by_the_number_of_trajectories(tmp_path, dataset, plan):
    small = TrajectoryPlan(plan.sampler, n_trajectories=6, n_iterations=2)
    path = make_file(tmp_path / "a.h5", small)
    make_file(path, plan)
    assert content_hash(path) == content_hash(dataset)
    with pytest.raises(DmftnetError, match="already holds job 15, but only 6 are asked for"):
        make_file(path, small, executor=ThreadPoolExecutor(1))
    assert content_hash(path) == content_hash(dataset)


def test_the_recipe_ignores_the_number_of_trajectories_alone():
    recipe = {"grid": {"n_w": 800}, "sampling": {"n_trajectories": 4, "seed": 0}}
    grown = {"grid": {"n_w": 800}, "sampling": {"n_trajectories": 9, "seed": 0}}
    other = {"grid": {"n_w": 800}, "sampling": {"n_trajectories": 4, "seed": 1}}
    assert recipe_hash(recipe) == recipe_hash(grown) != recipe_hash(other)
    assert recipe["sampling"]["n_trajectories"] == 4


@pytest.mark.parametrize(
    "options", [{"n_trajectories": 0}, {"n_trajectories": 1, "n_iterations": 0}]
)
def test_empty_plans_are_refused(options):
    with pytest.raises(DmftnetError, match="at least 1"):
        TrajectoryPlan(TrajectorySampler(), **options)


def test_bad_executors_are_refused():
    for kind in (executors.local, executors.dask):
        with pytest.raises(DmftnetError, match="n_workers = 0"), kind(n_workers=0):
            pass


@pytest.mark.parametrize("dataset_name", ["bethe_small", "bethe", "bethe_reference"])
def test_every_dataset_composes_with_its_sampling(dataset_name):
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = compose("generate", [f"dataset={dataset_name}", "executor=dask"])
    plan = instantiate(config.sampling)
    assert plan.n_jobs >= 20
    assert config.dataset.path == f"data/{dataset_name}.h5"
    assert config.executor._target_ == "dmftnet.data.executors.dask"
    assert instantiate(config.grid).is_symmetric
