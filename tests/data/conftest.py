import pytest
from toy_dataset import make_file
from toy_plans import ed, loops_plan, models_plan

from dmftnet.data.plans.sampling import TrajectorySampler
from dmftnet.data.plans.trajectories import TrajectoryPlan
from dmftnet.physics.solvers.krylov.ed import EdSolver


@pytest.fixture(scope="session")
def plan():
    return TrajectoryPlan(TrajectorySampler(seed=3), n_trajectories=16, n_iterations=2)


@pytest.fixture(scope="session")
def dataset(tmp_path_factory, plan):
    return make_file(tmp_path_factory.mktemp("data") / "toy.h5", plan)


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    return make_file(tmp_path_factory.mktemp("thermal") / "m.h5", models_plan(), EdSolver())


@pytest.fixture(scope="session")
def loops(tmp_path_factory):
    return make_file(tmp_path_factory.mktemp("thermal") / "c.h5", loops_plan(), ed(3))
