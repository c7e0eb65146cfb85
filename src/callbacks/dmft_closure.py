"""DMFT closure: the full self-consistency loop, driven by the network while it trains.

A small error of single solves says little about the fixed point: near the Mott transition loop
errors are several times larger. Each report therefore runs the loop from the starts of the
reference problems (half filling from metal and insulator, doped series) and compares with the exact
solver's converged spectra (`dmftnet.data.exact_loops`).

Cost: all loops share one batch; 2 to 8 s for 28 loops on one core, figure included, depending on
the network and on how many iterations they take.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dmftnet import checks
from dmftnet.callbacks.common import PeriodicCallback
from dmftnet.errors import DmftnetError
from dmftnet.evaluation.closure import (
    LoopSettings,
    close_loops,
    closure_scalars,
    closure_table,
    spectra_panels,
)
from dmftnet.evaluation.exact_loops import Reference, load_references
from dmftnet.models.solvers.network import NetworkSolver
from dmftnet.models.solvers.working_grid import working_grid
from dmftnet.models.training.scoring import evaluating
from dmftnet.report import figures


class DmftClosure(PeriodicCallback):
    """Closes the DMFT loop with the model in training; see the module.

    Parameters
    ----------
    references : path
        File of converged exact solutions.
    every_n_validations : see `PeriodicCallback`
    tolerance, max_iterations : see `LoopSettings`
    half_filled_U : sequence of float, optional, in D
        Half-filled loops at these U only; all in the file by default.
    """

    name = "dmft_closure"

    def __init__(
        self,
        references: str | Path,
        every_n_validations: int = 1,
        tolerance: float = 1e-5,
        max_iterations: int = 60,
        half_filled_U: Sequence[float] | None = None,
    ):
        super().__init__(every_n_validations)
        self.path = checks.path("callbacks.closure.references", references)
        self.settings = LoopSettings(tolerance, max_iterations)
        self.half_filled_U = (
            None
            if half_filled_U is None
            else checks.numbers("callbacks.closure.half_filled_U", half_filled_U)
        )
        self.references: list[Reference] | None = None

    def setup(self, trainer, pl_module, stage: str) -> None:
        """Read the references before the first step, so that a missing file fails early."""
        if self.references is None and stage == "fit":
            grid, resolution = working_grid(pl_module.model), trainer.datamodule.resolution
            found = load_references(self.path, grid, resolution)
            self.references = [r for r in found if self._wanted(r)]
            if not self.references:
                raise DmftnetError(
                    f"callbacks.closure.half_filled_U = {checks.shown(self.half_filled_U)}: file "
                    f"{self.path} holds no such loop; name some of its U, or null for all"
                )

    def _wanted(self, reference: Reference) -> bool:
        if self.half_filled_U is None or not reference.half_filled:
            return True
        return any(abs(reference.U - U) < 1e-9 for U in self.half_filled_U)

    def report(self, trainer, pl_module):
        resolution = trainer.datamodule.resolution
        with evaluating(pl_module.model):
            solver = NetworkSolver.from_model(pl_module.model, resolution)
            closures = close_loops(solver, self.references, self.settings)
        figure = figures.spectra(
            self.references[0].grid.omega,
            spectra_panels({f"network, epoch {trainer.current_epoch}": closures}),
        )
        return closure_scalars(closures), figure, closure_table(closures)
