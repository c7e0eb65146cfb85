"""Two degenerate orbitals whose G is known exactly, as `toy_thermal`: Sigma from a measure.

``Sigma = h n + S n (1 - n) t(z)`` with ``h = U + 2U' - J`` of two orbitals, written out here, and
a strength S of its own. No physics here is that of the code which it checks.
"""

from functools import cache

import numpy as np
import torch
from scipy.special import expit
from toy_correction import AXIS, NETWORK, STEPS
from toy_thermal import ACCURACY, SIZE, pole_sum, star

from dmftnet.data.thermal_arrays import ThermalArrays
from dmftnet.models.correction.checkpoint import build_correction
from dmftnet.models.correction.ensemble import CorrectionEnsemble
from dmftnet.models.correction.trust import FeatureDistance, ThermalTrust
from dmftnet.models.solvers.correction import CorrectionSolver
from dmftnet.physics.bath.fit import MatsubaraFit
from dmftnet.physics.solvers.krylov.ed import EdSolver

INPUTS = ("ed1",)
N_ORB = 2


def mean_field(U, J):
    return U + 2 * (U - 2 * J) - J


def second_order(U, J):
    return U**2 + (U - 2 * J) ** 2 + (U - 3 * J) ** 2 + 2 * J**2


def poles_of(case, n):
    """Poles and weights of G at a density n of one spin and orbital; energies in D."""
    dynamic = case["strength"] * n * (1 - n) * case["measure"]
    energies = np.concatenate([case["levels"], case["nodes"]])
    weights = np.concatenate([case["couplings"] ** 2, dynamic])
    return star(case["eps_d"] + case["mean_field"] * n, energies, weights)


def density_of(case):
    """The root of ``n(G[n]) = n``, by halving."""
    low, high = 0.0, 1.0
    for _ in range(50):
        n = 0.5 * (low + high)
        poles, weights = poles_of(case, n)
        low, high = (n, high) if weights @ expit(-case["beta"] * poles) > n else (low, n)
    return n


def random_case(rng):
    """Four bath levels; nodes and measure of Sigma, by `quality` of who finds it."""
    U = rng.uniform(1, 3)
    J = rng.choice([0.0, 0.25]) * U
    h = mean_field(U, J)
    return {
        "U": U,
        "J": J,
        "mean_field": h,
        "second_order": second_order(U, J),
        "beta": rng.choice([5.0, 10.0, 20.0]),
        "eps_d": -h / 2 + rng.uniform(-0.5, 0.5),
        "levels": rng.uniform(-1, 1, 4),
        "couplings": np.sqrt(0.25 * rng.dirichlet(np.ones(4) * 3)),
    }


def answered(case, quality):
    """With Sigma as one of this quality has it; one is exact."""
    asymmetry = case["eps_d"] / case["mean_field"] + 0.5
    width = 0.6 + 0.4 * case["U"] + (case["levels"] ** 2) @ case["couplings"] ** 2
    central = quality / (1 + case["U"])
    sides = (1 - central) * (0.5 + 0.3 * quality * asymmetry * np.array([-1, 1]))
    own = case | {
        "nodes": np.array([-width, 0.3 * asymmetry, width]),
        "measure": np.array([sides[0], central, sides[1]]),
        "strength": case["second_order"] * (0.5 + 0.3 * quality / (1 + case["U"])),
    }
    n = own["density"] = density_of(own)
    z = 1j * np.pi / case["beta"] * AXIS.indices
    dynamic = own["strength"] * n * (1 - n) * pole_sum(own["nodes"], own["measure"], z)
    own["self_energy"] = case["mean_field"] * n + dynamic
    own["double_occupancy"] = n**2 * (0.2 + 0.3 * quality / (1 + case["U"]))
    return own


@cache
def toy_arrays(n=30, seed=0):
    """Impurities, and one approximation of each that lacks something smooth."""
    rng = np.random.default_rng(seed)
    rows = []
    for model in range(n):
        case = random_case(rng)
        exact, crude = (answered(case, quality) for quality in (1.0, 0.8))
        z = 1j * np.pi / case["beta"] * AXIS.indices
        lacking = pole_sum(case["levels"][:1], 0.05 * case["couplings"][:1] ** 2, z)
        rows.append(
            {name: exact[name] for name in ("U", "J", "mean_field", "second_order", "eps_d")}
            | {name: exact[name] for name in ("beta", "self_energy", "density", "strength")}
            | {
                "double_occupancy": exact["double_occupancy"],
                "hybridization": pole_sum(case["levels"], case["couplings"] ** 2, z),
                "self_energies": crude["self_energy"][None],
                "densities": np.array([crude["density"]]),
                "strengths": np.array([crude["strength"]]),
                "doubles": np.array([crude["double_occupancy"]]),
                "misfits": lacking[None],
                "model": np.int64(model),
            }
        )
    return ThermalArrays(**{name: np.array([row[name] for row in rows]) for name in rows[0]})


@cache
def toy_model(seed=0, size=1.0):
    """A network trained for a second; of a larger `size` it puts out that many times as much."""
    torch.manual_seed(seed)
    model = build_correction(NETWORK, INPUTS, SIZE, ACCURACY, N_ORB)
    features, coefficients, weights = model.prepare(toy_arrays())
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(4 * STEPS):
        optimizer.zero_grad()
        away = (model.coefficients(features) - coefficients) * weights[:, None]
        away.pow(2).mean().backward()
        optimizer.step()
    with torch.no_grad():
        model.net[-1].weight *= size
        model.net[-1].bias *= size
    return model.eval()


def toy_solvers():
    """What is said to have made the approximation of the toy."""
    return {"ed1": EdSolver(fit=MatsubaraFit(n_bath=1))}


def toy_solver(size=1.0):
    """The solver of one model, without limits."""
    return CorrectionSolver.from_model(toy_model(0, size), toy_solvers(), "toy")


def toy_ensemble(limit=1e9):
    """That of two, trusted up to a limit of their spread."""
    solver = CorrectionSolver.from_model(
        CorrectionEnsemble([toy_model(0), toy_model(1)]).eval(), toy_solvers(), "toy"
    )
    distance = FeatureDistance.fit(solver.model, toy_arrays())
    solver.trust = ThermalTrust({}, {"spread": limit}, distance)
    return solver
