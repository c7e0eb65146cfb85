"""Toy files of the evaluation at finite temperature: samples, a trained correction, loops."""

from functools import partial

import h5py
import numpy as np
import yaml
from toy_dataset import make_file
from toy_thermal import ACCURACY, INPUTS, SIZE, write_file

from dmftnet.data.plans.thermal_loops import ThermalLoopsPlan
from dmftnet.data.thermal import ThermalStore
from dmftnet.data.thermal_arrays import ThermalArrays
from dmftnet.models.correction.checkpoint import build_correction, save_correction
from dmftnet.physics.bath.fit import MatsubaraFit
from dmftnet.physics.dmft.loop import DMFTLoop
from dmftnet.physics.grids.matsubara import ImaginaryAxis
from dmftnet.physics.solvers.krylov.ed import EdSolver

ODD = ImaginaryAxis.universal(1.0, SIZE, ACCURACY).indices
ED, FIT = "dmftnet.physics.solvers.krylov.ed.EdSolver", "dmftnet.physics.bath.fit.MatsubaraFit"
SOLVERS = {
    name: {"_target_": ED, "fit": {"_target_": FIT, "n_bath": n}}
    for name, n in zip(INPUTS, (1, 2), strict=True)
}
SERIES = [
    {"U": [1.0, 4.0], "beta": [5.0], "shift": [0.0], "start": ["metal", "atom"]},
    {"U": [2.0], "beta": [10.0], "shift": [0.4], "start": ["insulator"]},
]


def ed(n_bath):
    return EdSolver(fit=MatsubaraFit(n_bath=n_bath))


def make_samples(path, **options):
    """A file that says how its approximations were made."""
    write_file(path, ODD, **options)
    with h5py.File(path, "r+") as file:
        file.attrs["config"] = yaml.safe_dump({"sampling": {"approximations": SOLVERS}})
    return path


def make_correction(folder, samples, target="plain.Approximation", inputs=("crude",), **options):
    """A correction of a file's samples, prepared, not trained."""
    store = ThermalStore.open(samples)
    arrays = ThermalArrays.of(store, inputs).take(store.indices("train"))
    config = {"_target_": f"dmftnet.models.correction.{target}", **options}
    model = build_correction(config, inputs, SIZE, ACCURACY)
    model.prepare(arrays.take(np.flatnonzero(arrays.complete)))
    save_correction(
        folder,
        model,
        {
            "model": config,
            "inputs": list(inputs),
            "size": SIZE,
            "accuracy": ACCURACY,
            "solvers": {name: SOLVERS[name] for name in inputs},
            "data": {"file": samples.name},
        },
    )
    return folder


def make_loops(path, n_bath=3):
    """Reference loops by a few bath levels, which take milliseconds."""
    plan = ThermalLoopsPlan(SERIES, partial(DMFTLoop, tolerance=1e-6, max_iterations=60))
    return make_file(path, plan, ed(n_bath), n_w=300)
