"""Every impurity solver, small enough to be tried on everything that it says it can solve.

A new solver joins by one line in `GROUND` or `SOLVERS`. The networks have random weights: what
holds for them holds by construction, whatever they have learned; the corrections are trained on
impurities that no test solves. A guarded solver takes part twice: as the learned solver that it
always trusts, and as the exact solver that it always falls back to.
"""

import torch
import toy_kanamori
from synthetic import ANGLES, RESOLUTION
from toy_correction import toy_ensemble, toy_solver

from dmftnet.models.networks.ensemble import Ensemble
from dmftnet.models.solvers.applicability import Applicability
from dmftnet.models.solvers.guarded import GuardedCorrection, GuardedSolver
from dmftnet.models.solvers.network import NetworkSolver
from dmftnet.models.training.checkpoint import build_model
from dmftnet.physics.bath.fit import MatsubaraFit
from dmftnet.physics.bath.intervals import Intervals
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.solvers.ctseg.solver import CtsegSolver
from dmftnet.physics.solvers.embedded import EmbeddedSolver
from dmftnet.physics.solvers.krylov.ed import EdSolver
from dmftnet.physics.solvers.krylov.ras import RasSolver
from dmftnet.physics.solvers.perturbative.hubbard1 import Hubbard1Solver
from dmftnet.physics.solvers.perturbative.ipt import IptSolver
from dmftnet.physics.solvers.perturbative.nca import NcaSolver
from dmftnet.physics.solvers.scol.restricted_states import RestrictedGroundStates
from dmftnet.physics.solvers.scol.solver import ScolSolver
from dmftnet.physics.solvers.tensor.mps import MpsSolver

NETWORK_GRID = {"w_min": 5e-3, "w_max": 8.0, "n_w": 200}
GRID = FrequencyGrid.geometric(**NETWORK_GRID)


def tiny_model(model, head, seed=3):
    """A network with random weights, on the grid of the problems."""
    torch.manual_seed(seed)
    node = {"_target_": f"dmftnet.models.networks.{model}", "width": 8, "n_heads": 2}
    head = {"_target_": f"dmftnet.models.networks.{head}"}
    return build_model(node, head, NETWORK_GRID, ANGLES, RESOLUTION).eval()


def tiny_network(model, head):
    """The solver of one such network."""
    return NetworkSolver.from_model(tiny_model(model, head), RESOLUTION)


def tiny_ensemble(limit=1.0):
    """The solver of two of them, trusted up to a limit of their spread."""
    members = [tiny_model("crossquery.CrossQuery", "heads.RotatedHead", seed) for seed in (3, 4)]
    rules = Applicability({}, {"spread": limit})
    return NetworkSolver.from_model(Ensemble(members).eval(), RESOLUTION, "two", rules)


FEW = Intervals(3, stretch=2.0, window_quantile=0.99)
# tight ground states: every law below then holds to the tolerance it states
EXACT = {
    "ras": lambda: RasSolver(depths=("all", 5, 2), bath=Intervals(13), ground_state_tolerance=1e-8),
    "ed": lambda: EdSolver(bath=FEW, fit=MatsubaraFit(2)),
    "scol": lambda: ScolSolver(bath=FEW),
    "scol, restricted": lambda: ScolSolver(
        depth=1,
        bath=Intervals(13),
        ground_state=RestrictedGroundStates(depths=("all", 5, 2), tolerance=1e-8),
    ),
}
GROUND = EXACT | {  # at T = 0 on the real axis, and some beyond
    # to a time at which every level of so short a bath is told from the next
    "mps": lambda: MpsSolver(
        bath=Intervals(3), t_max=40.0, dt=1.0, truncation=1e-12, ground_truncation=1e-16
    ),
    "ipt": IptSolver,
    "network, film": lambda: tiny_network("film.Film", "heads.RotatedHead"),
    "network, rotated head": lambda: tiny_network("crossquery.CrossQuery", "heads.RotatedHead"),
    "network, direct head": lambda: tiny_network("crossattn.CrossAttention", "heads.DirectHead"),
    "network, self-energy": lambda: tiny_network("film.Film", "self_energy_head.SelfEnergyHead"),
    "network, ensemble": tiny_ensemble,
    "guarded, network trusted": lambda: GuardedSolver(tiny_ensemble(), EXACT["ed"]()),
    "guarded, falling back": lambda: GuardedSolver(tiny_ensemble(-1.0), EXACT["ed"]()),
}
THERMAL = {  # at T > 0 alone, and without a real axis
    "hubbard1": Hubbard1Solver,
    "nca": NcaSolver,
    "embedded": lambda: EmbeddedSolver(EdSolver(fit=MatsubaraFit(2)), IptSolver()),
    "ctseg": lambda: CtsegSolver(n_chains=2, n_sweeps=9600, n_warmup=500),
    "correction": toy_solver,
    "correction, two orbitals": toy_kanamori.toy_solver,
    "guarded correction, trusted": lambda: GuardedCorrection(toy_ensemble(), EXACT["ed"]()),
    "guarded correction, falling back": lambda: GuardedCorrection(toy_ensemble(0.0), EXACT["ed"]()),
}
SOLVERS = GROUND | THERMAL
WITNESSES = EXACT | {"mps": GROUND["mps"]}  # two exact ones, and one that fits poles to signals
LEARNED = ("network", "guarded")  # computed in float32
SYMMETRY = {"network": 2e-5, "guarded": 2e-5, "mps": 1e-5}  # where it is not 1e-6, see the tests
