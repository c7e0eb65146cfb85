"""DMFT closure at finite temperature: the full loop, driven by a correction while it trains.

Each report runs the loops of some references (`dmftnet.data.thermal_loops`) on the Bethe lattice,
with the solvers that made the training data under the correction, and compares with the exact
solver's. Cost: iterations x the time of these solvers; 5 to 10 s for twelve loops over ``ed3``.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path

from dmftnet import checks
from dmftnet.callbacks.common import PeriodicCallback
from dmftnet.data.thermal_loops import ThermalLoopStore, ThermalReference
from dmftnet.errors import SettingError
from dmftnet.evaluation.closure import LoopSettings
from dmftnet.evaluation.thermal_closure import (
    close_thermal,
    each_scalar,
    thermal_scalars,
    thermal_table,
    weight_panels,
)
from dmftnet.models.solvers.correction import CorrectionSolver, built_solver
from dmftnet.physics.impurity.protocol import ImpuritySolver
from dmftnet.report import figures


class ThermalClosureCallback(PeriodicCallback):
    """Closes the DMFT loop with the correction in training; see the module.

    Parameters
    ----------
    references : path
        File of converged loops of the exact solver.
    every_n_validations : see `PeriodicCallback`
    tolerance, max_iterations : see `LoopSettings`
    U : sequence of float, optional, in D
    beta : sequence of float, optional, in 1/D
        Loops at these alone; all in the file by default.
    """

    name = "thermal_closure"

    def __init__(
        self,
        references: str | Path,
        every_n_validations: int = 1,
        tolerance: float = 1e-5,
        max_iterations: int = 60,
        U: Sequence[float] | None = None,
        beta: Sequence[float] | None = None,
    ):
        super().__init__(every_n_validations)
        self.path = checks.path("callbacks.closure.references", references)
        self.settings = LoopSettings(tolerance, max_iterations)
        self.U, self.beta = (
            None if values is None else checks.numbers(f"callbacks.closure.{name}", values)
            for name, values in (("U", U), ("beta", beta))
        )
        self.references: list[ThermalReference] | None = None
        self.solvers: dict[str, ImpuritySolver] = {}

    def setup(self, trainer, pl_module, stage: str) -> None:
        """Read the references before the first step, so that a missing file fails early."""
        if trainer.datamodule.n_orb != 1:
            raise SettingError(
                f"callbacks.closure: references are loops of one orbital, the data have "
                f"{trainer.datamodule.n_orb}; leave it out, as +experiment=correction_kanamori does"
            )
        if self.references is None and stage == "fit":
            self.references = ThermalLoopStore.open(self.path).references(self.U, self.beta)
            configs = trainer.datamodule.solvers
            self.solvers = {name: built_solver(config) for name, config in configs.items()}

    def report(self, trainer, pl_module):
        model = copy.deepcopy(pl_module.model).cpu().eval()  # solvers work there
        solver = CorrectionSolver.from_model(model, self.solvers)
        closures = close_thermal(solver, self.references, self.settings)
        label = f"correction, epoch {trainer.current_epoch}"
        figure = figures.weight_curves(weight_panels({label: closures}))
        scalars = thermal_scalars(closures) | each_scalar(closures)
        return scalars, figure, thermal_table(closures)
