"""Small real files for tests of callbacks and reports: dataset, references, checkpoint.

Made by the project's own writers, with the cheap solver of `toy_solver` for an exact one.
"""

import torch
from toy_dataset import make_file
from toy_solver import ToySolver

from dmftnet.data.plans.exact_loops import ReferencePlan
from dmftnet.data.plans.sampling import TrajectorySampler
from dmftnet.data.plans.trajectories import TrajectoryPlan
from dmftnet.models.training.checkpoint import build_model, save_model
from dmftnet.physics.dmft.loop import DMFTLoop

GRID = {"w_min": 0.02, "w_max": 6.0, "n_w": 40}
ANGLES = [0.1, 0.2]
RESOLUTION = [0.02, 0.05]
HEAD = {"_target_": "dmftnet.models.networks.heads.RotatedHead", "eta": 0.02, "slope": 0.05}
NET = {"_target_": "dmftnet.models.networks.mlp.MLP", "width": 16, "n_blocks": 1}
SERIES = (
    {"U": [0.5, 1.0], "shift": [0.0], "start": ["metal", "insulator"]},
    {"U": [1.0], "shift": [0.2, 0.4], "start": ["metal"]},
    {"path": [0.5, 1.0], "start": "metal"},
    {"U": [1.0], "shift": [0.0], "start": ["metal"], "lattice": "square"},
    {"U": [1.0], "filling": [1.0], "start": ["metal"]},
    {"U": [1.0], "shift": [0.6], "start": ["metal"], "settings": {"max_iterations": 1}},
)


def make_dataset(path, n_trajectories=48):
    """Trajectories of two iterations; of 8 one is for validation, one for the test."""
    return make_file(path, TrajectoryPlan(TrajectorySampler(seed=1), n_trajectories, 2), n_w=120)


def make_references(path, max_iterations=60):
    """Half-filled loops, doped ones (one unfinished), a path, another lattice, a filling."""

    def loop(solver, lattice, **settings):
        settings = {"max_iterations": max_iterations, **settings}
        return DMFTLoop(solver, lattice, tolerance=1e-2, **settings)

    symmetric = ToySolver(n_bath=13)  # n = 1 at half filling: 12 sites leave a level at zero
    return make_file(path, ReferencePlan(SERIES, loop), symmetric, n_w=120)


def make_model(seed=0):
    """An untrained network."""
    torch.manual_seed(seed)
    return build_model(NET, HEAD, GRID, ANGLES, RESOLUTION).eval()


def make_checkpoint(folder, seed=0, **record):
    """A run folder of an untrained network."""
    required = {"model": NET, "head": HEAD, "grid": GRID, "angles": ANGLES}
    return save_model(folder, make_model(seed), {**required, "resolution": RESOLUTION, **record})
