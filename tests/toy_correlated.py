"""A small dataset of a real solver: a mean field has no dynamic self-energy to learn."""

from toy_dataset import make_file

from dmftnet.data.plans.sampling import TrajectorySampler
from dmftnet.data.plans.trajectories import TrajectoryPlan
from dmftnet.physics.bath.intervals import Intervals
from dmftnet.physics.solvers.krylov.ras import RasSolver

SOLVER = {"depths": ("all", 4, 1), "bath": Intervals(21), "n_lanczos": 40}


def make_correlated(path, n_trajectories=8, n_iterations=1):
    """Trajectories of U up to 3 on the Bethe lattice; the path."""
    sampler = TrajectorySampler(seed=1, U_max=3.0, U_dense=(1.5, 2.5), block=4)
    return make_file(
        path, TrajectoryPlan(sampler, n_trajectories, n_iterations), RasSolver(**SOLVER)
    )
