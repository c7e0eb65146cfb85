import pytest
from toy_dataset import make_file

from dmftnet.data.plans.sampling import TrajectorySampler
from dmftnet.data.plans.trajectories import TrajectoryPlan


@pytest.fixture(scope="session")
def plan():
    return TrajectoryPlan(TrajectorySampler(seed=3), n_trajectories=16, n_iterations=2)


@pytest.fixture(scope="session")
def dataset(tmp_path_factory, plan):
    return make_file(tmp_path_factory.mktemp("data") / "toy.h5", plan)
