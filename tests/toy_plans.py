"""Small plans at finite temperature, and what two files have in common."""

import h5py
import numpy as np

from dmftnet.data.keys import ThermalSamples as Samples
from dmftnet.data.plans.sampling import TrajectorySampler
from dmftnet.data.plans.thermal_continuous import ThermalContinuousPlan
from dmftnet.data.plans.thermal_kanamori import ThermalKanamoriPlan
from dmftnet.data.plans.thermal_models import ThermalModelsPlan
from dmftnet.physics.bath.fit import MatsubaraFit
from dmftnet.physics.solvers.krylov.ed import EdSolver

FAMILIES = [
    {"share": 0.5, "U": [1, 10], "D": [1, 10], "shift": [-1, 1], "beta": [1, 2, 5, 10, 20, 50]},
    {"share": 0.5, "U": [1, 5], "D": [1, 1], "shift": [-1, 1], "beta": [1, 10, 100]},
]
TIMES = {Samples.SECONDS, Samples.TIMES}  # what no two runs have in common


def ed(n_bath):
    return EdSolver(fit=MatsubaraFit(n_bath=n_bath, n_starts=2))


def models_plan(n_models=40, **options):
    options = {"n_bath": 2, "per_job": 10, "symmetric_fraction": 0.3, "seed": 3} | options
    return ThermalModelsPlan(FAMILIES, {"ed1": ed(1), "ed2": ed(2)}, n_models, **options)


def loops_plan(n_trajectories=12, **options):
    sampler = TrajectorySampler(
        seed=5, U_min=0.5, U_max=4.5, U_dense=(2, 3), start_fractions=(0.3, 0.3, 0.2, 0.2)
    )
    options = {"max_iterations": 3, "kept": [0], "seed": 5, "beta": (5.0, 30.0)} | options
    return ThermalContinuousPlan(sampler, {"ed1": ed(1)}, n_trajectories, **options)


def kanamori_plan(n_trajectories=5, approximations=None, **options):
    """Two degenerate orbitals."""
    sampler = TrajectorySampler(
        seed=2, U_min=0.5, U_max=4.0, U_dense=(1, 2.5), start_fractions=(0.3, 0.3, 0.2, 0.2)
    )
    options = {"max_iterations": 2, "kept": [0], "seed": 2, "beta": (5.0, 10.0)} | options
    chosen = {"ed1": ed(1)} if approximations is None else approximations
    return ThermalKanamoriPlan(sampler, chosen, n_trajectories=n_trajectories, **options)


def contents(path):
    """All arrays but the times."""
    with h5py.File(path) as file:
        found = {}
        file.visititems(
            lambda name, node: found.update({name: node[()]}) if hasattr(node, "shape") else None
        )
    return {name: values for name, values in found.items() if name not in TIMES}


def assert_same(one, two):
    one, two = contents(one), contents(two)
    assert one.keys() == two.keys()
    for name, values in one.items():
        np.testing.assert_array_equal(values, two[name], err_msg=name)
