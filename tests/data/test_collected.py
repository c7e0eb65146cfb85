"""Collected problems: durable one by one, read while written, made into a dataset with splits."""

import numpy as np
import pytest
from toy_dataset import make_file
from toy_solver import ToySolver

from dmftnet.data.datamodule import SpectralDataModule
from dmftnet.data.plans.collected import CollectedPlan, ProblemCollector, neighbours, read_collected
from dmftnet.data.plans.sampling import SPLITS, STARTS
from dmftnet.data.plans.trajectories import NoPolesError
from dmftnet.data.store import SpectralStore
from dmftnet.errors import DmftnetError, StoreError
from dmftnet.physics.analysis.resolution import at_resolution
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.impurity.solutions import CurveSolution
from dmftnet.physics.lattices.bethe import Bethe, semicircle

COARSE = FrequencyGrid.geometric(3e-3, 6.0, 160)
OTHER = FrequencyGrid.geometric(1e-2, 5.0, 120)
RESOLUTION = (0.006, 0.06)


def problem(U=1.0, weight=0.25, grid=COARSE):
    return ImpurityProblem.on_grid(U, -U / 2 + 0.1, grid, semicircle(grid, 0.0, 1.0, weight))


def collect(path, problems, solver=None):
    collector = ProblemCollector(path, COARSE, RESOLUTION)
    for one in problems:
        collector.add(one, (solver or ToySolver()).solve(one), "spread 1 beyond 0.1")
    return collector


@pytest.fixture
def path(tmp_path):
    """Nine levels, the first with three problems; two grids."""
    problems = [problem(1.0, 0.2), problem(1.0, 0.25), problem(1.0, 0.3, OTHER)]
    problems += [problem(1.0 + 0.1 * k) for k in range(1, 9)]
    collect(tmp_path / "new.h5", problems).close()
    return tmp_path / "new.h5"


def test_problems_come_back_as_they_were(path):
    solves = read_collected(path)
    assert len(solves) == 11 and solves[2].problem.grid == OTHER
    original = problem(1.0, 0.2)
    np.testing.assert_array_equal(solves[0].problem.spectrum, original.spectrum)
    exact = ToySolver().solve(original)
    np.testing.assert_array_equal(solves[0].solution.spectrum(), exact.spectrum())
    assert solves[0].solution.filling == exact.filling


def test_a_writer_that_was_killed_loses_nothing(tmp_path):
    """What was added is there before `close`, for readers and for the next writer."""
    path = tmp_path / "new.h5"
    killed = collect(path, [problem(), problem(2.0)])
    assert [s.problem.U for s in read_collected(path)] == [1.0, 2.0]
    with pytest.raises(StoreError, match="another process is writing"):
        ProblemCollector(path, COARSE, RESOLUTION)
    killed._journal.close()  # the lock dies with its process
    following = collect(path, [problem(3.0)])
    assert len(following) == 3
    following.close()
    assert [s.problem.U for s in read_collected(path)] == [1.0, 2.0, 3.0]
    assert [p.name for p in tmp_path.iterdir()] == ["new.h5"]
    collect(path, []).close()
    assert len(read_collected(path)) == 3


def test_a_dataset_with_splits(path, tmp_path):
    plan = CollectedPlan(path, block=3)
    assert plan.n_jobs == 9
    make_file(tmp_path / "data.h5", plan)
    store = SpectralStore.open(tmp_path / "data.h5")
    assert len(store) == 11 and set(store["start"]) == {STARTS.index("collected")}
    assert np.bincount(store["trajectory"]).tolist() == [3] + 8 * [1]
    assert np.bincount(store.columns["trajectories/split"]).tolist() == [3, 3, 3]
    moved = store.solution(0).spectrum()[0]
    own = ToySolver().solve(problem(1.0, 0.2)).spectrum()[0]
    difference = COARSE.integrate(np.abs(store.grid.interpolate(moved, COARSE.omega) - own))
    assert difference < 0.02  # float32 poles, and another grid
    data = SpectralDataModule(tmp_path / "data.h5", resolution=RESOLUTION, cache=False)
    assert sum(len(data.arrays(split)) for split in SPLITS) == 11


def test_all_into_training(path, tmp_path):
    make_file(tmp_path / "data.h5", CollectedPlan([path], block=0))
    assert set(SpectralStore.open(tmp_path / "data.h5").splits) == {SPLITS.index("train")}


def test_solving_again_takes_the_given_solver(path, tmp_path):
    make_file(tmp_path / "a.h5", CollectedPlan(path, resolve=True), ToySolver(n_bath=5))
    make_file(tmp_path / "b.h5", CollectedPlan(path), ToySolver(n_bath=5))
    poles = [SpectralStore.open(tmp_path / name)["n_poles"].max() for name in ("a.h5", "b.h5")]
    assert poles[0] <= 6 < poles[1]


def test_unfit_solves_are_dropped_with_a_remark(tmp_path):
    solver = ToySolver(fault="sector")  # for U above 2
    collect(tmp_path / "new.h5", [problem(1.0), problem(3.0)], solver).close()
    plan = CollectedPlan(tmp_path / "new.h5")
    grid = FrequencyGrid.geometric(1e-3, 8.0, 400)
    columns = plan.run(1, ToySolver(), Bethe(), grid)
    assert plan.describe(columns) == (0, "some problems were dropped: sector")
    assert plan.describe(plan.run(0, ToySolver(), Bethe(), grid)) == (1, None)


def test_the_recipe_follows_the_content(path):
    before = CollectedPlan(path)
    collect(path, [problem(7.0)]).close()
    after = CollectedPlan(path)
    assert before.inputs != after.inputs and after.n_jobs == before.n_jobs + 1
    with pytest.raises(StoreError, match="has grown meanwhile"):
        before.run(0, ToySolver(), Bethe(), COARSE)


def test_what_cannot_be_used_is_named(path, tmp_path, dataset):
    with pytest.raises(StoreError, match="does not exist; collect problems with"):
        CollectedPlan(tmp_path / "none.h5")
    with pytest.raises(StoreError, match="has schema dmftnet-spectra"):
        CollectedPlan(dataset)
    with pytest.raises(StoreError, match="has schema dmftnet-spectra"):
        ProblemCollector(dataset, COARSE, RESOLUTION)
    with pytest.raises(DmftnetError, match=r"sampling\.block = 2"):
        CollectedPlan(path, block=2)
    collect(tmp_path / "empty.h5", []).close()
    with pytest.raises(StoreError, match="holds no problem yet"):
        CollectedPlan(tmp_path / "empty.h5")
    curve = CurveSolution(problem(), np.full((1, COARSE.n_w), 0.1))
    collector = ProblemCollector(tmp_path / "curve.h5", COARSE, RESOLUTION)
    with pytest.raises(NoPolesError, match="use ras or ed"):
        collector.add(problem(), curve, "")
    collector.close()


def test_curves_are_smoothed_once(path, tmp_path):
    """What the network took as it is enters training so; what it smoothed first, smoothed."""
    make_file(tmp_path / "data.h5", CollectedPlan(path))
    store = SpectralStore.open(tmp_path / "data.h5")
    assert store.resolution == RESOLUTION
    options = {"w_min": 3e-3, "w_max": 6.0, "n_w": 160}
    data = SpectralDataModule(
        tmp_path / "data.h5", grid=options, resolution=RESOLUTION, cache=False
    )
    every = np.concatenate([data.arrays(split).hybridization for split in SPLITS])
    U = np.concatenate([data.arrays(split).params[:, 0] for split in SPLITS])
    own = {0.2: problem(1.0, 0.2), 0.3: problem(1.0, 0.3, OTHER)}
    taken = own[0.2].spectrum[0]
    smoothed = at_resolution(OTHER, own[0.3].spectrum[0], RESOLUTION)
    expected = {0.2: taken, 0.3: OTHER.interpolate(smoothed, COARSE.omega)}
    for weight, curve in expected.items():
        found = min(every[U == 1.0], key=lambda h: abs(COARSE.integrate(h) - weight))
        once = COARSE.integrate(np.abs(found - curve))
        twice = COARSE.integrate(np.abs(found - at_resolution(COARSE, curve, RESOLUTION)))
        # through the fine grid of the file and back: the band's edge between two points
        assert once < 1e-2 * weight and once < 0.75 * twice


def test_levels_of_a_search_share_a_split(tmp_path):
    """A filling search ends with levels that differ by 1e-3; all of a chain of them is one job."""
    levels = [-0.5, -0.25, -0.2101, -0.21, -0.2, -0.17]
    problems = [problem(1.0).replace(eps_d=level) for level in levels]
    problems += [problem(1.04).replace(eps_d=-0.2), problem(1.2).replace(eps_d=-0.2)]
    collect(tmp_path / "new.h5", problems).close()
    groups = neighbours(read_collected(tmp_path / "new.h5"))
    found = [[round(float(solve.problem.eps_d[0]), 4) for solve in group] for group in groups]
    assert found == [[-0.5], [-0.25, -0.2101, -0.21, -0.2, -0.17, -0.2], [-0.2]]


def test_files_of_two_networks_do_not_mix(path, tmp_path):
    collector = ProblemCollector(tmp_path / "other.h5", COARSE, (0.01, 0.06))
    collector.add(problem(), ToySolver().solve(problem()), "")
    collector.close()
    with pytest.raises(DmftnetError, match="files of one network"):
        CollectedPlan([path, tmp_path / "other.h5"])
    with pytest.raises(StoreError, match="another configuration"):
        ProblemCollector(path, COARSE, (0.01, 0.06))
