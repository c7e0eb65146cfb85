"""A correction of `ipt` trained for a second on the impurities of `toy_thermal`, and its solver.

What holds for it holds by construction: it has learned nothing of the problems that tests solve.
"""

from dataclasses import replace
from functools import cache

import numpy as np
import torch
from toy_thermal import ACCURACY, INPUTS, SIZE, random_arrays

from dmftnet.models.correction.checkpoint import build_correction, save_correction
from dmftnet.models.correction.ensemble import CorrectionEnsemble
from dmftnet.models.correction.trust import FeatureDistance, ThermalTrust
from dmftnet.models.solvers.correction import CorrectionSolver
from dmftnet.physics.analysis.self_energy_measure import SelfEnergyMeasure
from dmftnet.physics.grids.matsubara import ImaginaryAxis
from dmftnet.physics.impurity.interaction import Interaction
from dmftnet.physics.impurity.matsubara_hybridization import MatsubaraHybridization
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.solvers.perturbative.ipt import IptSolver

NETWORK = {
    "_target_": "dmftnet.models.correction.networks.CorrectionNetwork",
    "n_components": 6,
    "width": 12,
    "n_layers": 1,
}
PLAIN = {**NETWORK, "_target_": "dmftnet.models.correction.plain.PlainNetwork"}
SOLVERS = {"ipt": {"_target_": "dmftnet.physics.solvers.perturbative.ipt.IptSolver"}}
APPROXIMATIONS = dict.fromkeys(INPUTS, SOLVERS["ipt"])
"""Said of the approximations of `toy_thermal`, so that a solver can be made for them."""

RANGES = {"U": [1.0, 3.0], "shift": [0.0, 0.3], "beta": [5.0, 20.0]}
STEPS = 60
AXIS = SelfEnergyMeasure(SIZE, ACCURACY).axis

BETA = 16.0
ENERGIES, WEIGHTS = np.array([-0.7, 0.15, 0.8]), np.array([0.1, 0.06, 0.09])


@cache
def toy_arrays(n=24, seed=0):
    """Impurities of `toy_thermal` with the fairer of their approximations, in place of `ipt`."""
    arrays = random_arrays(n, AXIS.indices, seed)
    return replace(
        arrays, self_energies=arrays.self_energies[:, 1:], densities=arrays.densities[:, 1:]
    )


@cache
def toy_model(seed=0, config="correction"):
    """A trained network; "plain" predicts G itself, "wild" puts out thirty times too much."""
    torch.manual_seed(seed)
    node = {"correction": NETWORK, "wild": NETWORK, "plain": PLAIN}[config]
    model = build_correction(node, ["ipt"], SIZE, ACCURACY)
    features, coefficients, weights = model.prepare(toy_arrays())
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(STEPS):
        optimizer.zero_grad()
        away = (model.coefficients(features) - coefficients) * weights[:, None]
        away.pow(2).mean().backward()
        optimizer.step()
    if config == "wild":
        with torch.no_grad():
            model.net[-1].weight *= 30
            model.net[-1].bias *= 30
    return model.eval()


def toy_record(**more):
    """What the description of such a model holds."""
    record = {"model": NETWORK, "inputs": ["ipt"], "size": SIZE, "accuracy": ACCURACY}
    return {**record, "solvers": SOLVERS, "ranges": RANGES, **more}


def toy_checkpoint(folder, seed=0, **record):
    """A run folder of `toy_model`."""
    return save_correction(folder, toy_model(seed), toy_record(**record))


def toy_ensemble(limit=1e9, ranges=None):
    """The solver of two of them, trusted up to a limit of their spread."""
    solver = CorrectionSolver.from_model(
        CorrectionEnsemble([toy_model(0), toy_model(1)]).eval(), {"ipt": IptSolver()}, "toy"
    )
    distance = FeatureDistance.fit(solver.model, toy_arrays())
    solver.trust = ThermalTrust(ranges or {}, {"spread": limit}, distance)
    return solver


def toy_solver(config="correction"):
    """The solver of one, without limits."""
    return CorrectionSolver.from_model(toy_model(0, config), {"ipt": IptSolver()})


def toy_problem(U=2.0, eps_d=-0.8, scale=1.0, strength=1.0, beta=BETA):
    """Three levels of weight 1/4, known at Matsubara frequencies; energies times `scale`."""
    axis = ImaginaryAxis.universal(beta / scale, 1600.0, 1e-9)
    z = 1j * axis.omega_n
    weights = strength * WEIGHTS * scale**2
    delta = (weights / (z[:, None] - ENERGIES * scale)).sum(1)
    bath = MatsubaraHybridization(axis, delta[None])
    return ImpurityProblem([eps_d * scale], Interaction(U * scale), bath, beta / scale)


CASES = [
    toy_problem(),
    toy_problem(3.0, -1.5),
    toy_problem(1.0, -0.1),
    toy_problem(2.5, -2.1, beta=5.0),
]
