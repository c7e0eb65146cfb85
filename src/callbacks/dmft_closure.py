"""DMFT closure: the full self-consistency loop, driven by the network while it trains.

A small single-shot error says little about the fixed point: loop errors are several times larger
near the Mott transition. So each report runs the loop from the reference problems' own starts (half
filling from metal and insulator, one doped series) and compares with the exact solver's converged
spectra, which lie beside the dataset (`dmftnet.data.references`).

Cost: all loops share one batch; 2 to 8 s for 28 loops on one core, figure included, depending on
the network and on how many iterations they take.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from dmftnet.callbacks.common import PeriodicCallback, evaluating
from dmftnet.data.references import ReferenceStore
from dmftnet.errors import StoreError
from dmftnet.models.network_solver import NetworkSolver
from dmftnet.physics.dmft import DMFTLoop
from dmftnet.physics.grid import FrequencyGrid
from dmftnet.physics.impurity import ImpurityProblem, ImpuritySolver
from dmftnet.physics.lattice import Bethe, Lattice
from dmftnet.physics.mixing import LinearMixing
from dmftnet.physics.observables import kl_divergence
from dmftnet.physics.solution_io import summarize
from dmftnet.physics.starts import starting_hybridization
from dmftnet.report import figures
from dmftnet.report.html import Table

COLUMNS = (
    "U",
    "eps_d",
    "start",
    "converged",
    "iterations",
    "kl",
    "A0",
    "A0_exact",
    "Z",
    "Z_exact",
    "filling",
    "filling_exact",
    "double_occupancy",
    "double_occupancy_exact",
    "gap",
)


@dataclass(frozen=True)
class LoopSettings:
    """How the loops are run.

    Parameters
    ----------
    mixing : float
        Linear; 0.35 to 0.5 cures limit cycles near the Mott transition.
    tolerance : float
        See `DMFTLoop`.
    max_iterations : int
    """

    mixing: float = 0.5
    tolerance: float = 1e-5
    max_iterations: int = 60


@dataclass(frozen=True, eq=False)
class Reference:
    """One exact converged solution, as a network sees it.

    Parameters
    ----------
    grid : FrequencyGrid
        The network's.
    U, eps_d : float, in D
    start : "metal" or "insulator"
    filling, double_occupancy, Z, A0 : float
        Exact, from the fine grid; Z is zero where there is a gap.
    spectrum : (n_w,) float64, in 1/D
        At the network's resolution.
    fine_grid : FrequencyGrid
        The exact solver's.
    self_energy : (n_fine,) complex128, in D
        On the fine grid, where an insulator's pole at zero frequency can be seen.
    """

    grid: FrequencyGrid
    U: float
    eps_d: float
    start: str
    filling: float
    double_occupancy: float
    Z: float
    A0: float
    spectrum: np.ndarray = field(repr=False)
    fine_grid: FrequencyGrid = field(repr=False)
    self_energy: np.ndarray = field(repr=False)

    @property
    def half_filled(self) -> bool:
        return abs(self.eps_d + self.U / 2) < 1e-9


def load_references(
    path: str | Path, grid: FrequencyGrid, resolution: tuple[float, float]
) -> list[Reference]:
    """The references in a file whose exact loop converged; the others are no truth to compare with.

    Raises
    ------
    StoreError
        If the file cannot be used, or holds no converged loop.
    """
    store = ReferenceStore.open(path)
    every = store.on(grid, tuple(resolution))
    names = ("U", "eps_d", "filling", "double_occupancy", "A0")
    references = [
        Reference(
            grid=grid,
            start=every.start[i],
            Z=0.0 if every.gap[i] > 0 else float(every.Z[i]),
            spectrum=every.spectrum[i],
            fine_grid=store.grid,
            self_energy=np.complex128(store["self_energy"][i]),
            **{name: float(getattr(every, name)[i]) for name in names},
        )
        for i in np.flatnonzero(every.converged)
    ]
    if not references:
        raise StoreError(
            f"file {path} holds no converged loop; raise sampling.loop.max_iterations and make it "
            "again with: python generate.py dataset=bethe_reference"
        )
    return references


@dataclass(frozen=True, eq=False)
class Closure:
    """One loop of a solver beside its exact reference.

    Parameters
    ----------
    reference : Reference
        The exact converged solution on the solver's grid.
    summary : dict
        Numbers of the solver's last iteration (`dmftnet.physics.solution_io.summarize`).
    kl : float
        ``KL(A_exact || A)`` of the last iteration, converged or not.
    spectrum : (n_w,) float64, in 1/D
    self_energy : (n_w,) complex128, in D
    reason : str
        Why the loop ended.
    """

    reference: Reference
    summary: dict[str, Any]
    kl: float
    spectrum: np.ndarray = field(repr=False)
    self_energy: np.ndarray = field(repr=False)
    reason: str

    @property
    def converged(self) -> bool:
        return self.summary["converged"]

    @property
    def title(self) -> str:
        """What a figure's panel says."""
        reference = self.reference
        if reference.half_filled:
            return f"U = {reference.U:g}, {reference.start} start"
        return f"U = {reference.U:g}, n = {reference.filling:.2f}, {reference.start} start"

    def on_grid(self, grid: FrequencyGrid) -> Closure:
        """The same loop with its own curves interpolated to another grid, for drawing."""
        if grid == self.reference.grid:
            return self
        move = self.reference.grid.interpolate
        return replace(
            self,
            spectrum=move(self.spectrum, grid.omega),
            self_energy=move(self.self_energy, grid.omega),
        )

    def row(self) -> list:
        """Values of `COLUMNS`."""
        reference, s = self.reference, self.summary
        return [
            reference.U,
            reference.eps_d,
            reference.start,
            s["converged"],
            s["iterations"],
            self.kl,
            s["A0"],
            reference.A0,
            s["Z"],
            reference.Z,
            s["filling"],
            reference.filling,
            s["double_occupancy"],
            reference.double_occupancy,
            s["gap"],
        ]


def close_loops(
    solver: ImpuritySolver,
    references: Sequence[Reference],
    settings: LoopSettings,
    lattice: Lattice | None = None,
) -> list[Closure]:
    """Run the DMFT loop of every reference problem with a solver, as one batch."""
    lattice = lattice if lattice is not None else Bethe()
    problems = []
    for reference in references:
        grid, U, eps_d = reference.grid, reference.U, reference.eps_d
        start = starting_hybridization(lattice, grid, U, eps_d, reference.start)
        problems.append(ImpurityProblem(U, eps_d, grid, start))
    loop = DMFTLoop(
        solver,
        lattice,
        LinearMixing(settings.mixing),
        tolerance=settings.tolerance,
        max_iterations=settings.max_iterations,
    )
    began = time.perf_counter()
    results = loop.run(problems)
    seconds = (time.perf_counter() - began) / max(len(results), 1)
    closures = []
    for reference, result in zip(references, results, strict=True):
        spectrum = result.solution.spectrum()[0]
        closures.append(
            Closure(
                reference=reference,
                summary=summarize(result, solver.name, lattice.name, seconds),
                kl=float(kl_divergence(reference.grid, reference.spectrum, spectrum)),
                spectrum=spectrum,
                self_energy=result.solution.self_energy()[0],
                reason=result.reason,
            )
        )
    return closures


def closure_scalars(closures: Sequence[Closure]) -> dict[str, float]:
    """Share converged, KL, largest errors of A(0), Z and filling, and the numbers of each loop."""
    rows = [dict(zip(COLUMNS, closure.row(), strict=True)) for closure in closures]
    kl = np.array([row["kl"] for row in rows])
    scalars = {
        "converged": float(np.mean([row["converged"] for row in rows])),
        "iterations": float(np.mean([row["iterations"] for row in rows])),
        "kl_median": float(np.median(kl)),
        "kl_worst": float(kl.max()),
    }
    for name in ("A0", "Z", "filling"):
        errors = [abs(row[name] - row[f"{name}_exact"]) for row in rows]
        scalars[f"{name}_error"] = float(np.max(errors))
    for row in rows:
        where = f"U{row['U']:g}_eps{row['eps_d']:g}_{row['start']}"
        scalars |= {f"{where}/{name}": float(row[name]) for name in ("kl", "A0", "Z")}
    return scalars


def closure_table(closures: Sequence[Closure]) -> Table:
    """One row a loop."""
    return Table(COLUMNS, [closure.row() for closure in closures])


def spectra_panels(closures: dict[str, Sequence[Closure]]) -> list[figures.Panel]:
    """Panels of `figures.spectra`: one a reference, the models' curves by label."""
    labels = list(closures)
    panels = []
    for same in zip(*closures.values(), strict=True):
        failed = [k for k, closure in zip(labels, same, strict=True) if not closure.converged]
        curves = {k: closure.spectrum for k, closure in zip(labels, same, strict=True)}
        panels.append(
            figures.Panel(same[0].title, same[0].reference.spectrum, curves, frozenset(failed))
        )
    return panels


class DmftClosure(PeriodicCallback):
    """Closes the DMFT loop with the model in training; see the module.

    Parameters
    ----------
    references : path
        File of converged exact solutions.
    every_n_validations : see `PeriodicCallback`
    mixing, tolerance, max_iterations : see `LoopSettings`
    """

    name = "dmft_closure"

    def __init__(
        self,
        references: str | Path,
        every_n_validations: int = 1,
        mixing: float = 0.5,
        tolerance: float = 1e-5,
        max_iterations: int = 60,
    ):
        super().__init__(every_n_validations)
        self.path = Path(references)
        self.settings = LoopSettings(mixing, tolerance, max_iterations)
        self.references: list[Reference] | None = None

    def setup(self, trainer, pl_module, stage: str) -> None:
        """Read the references before the first step, so that a missing file costs nothing."""
        if self.references is None and stage == "fit":
            grid, resolution = pl_module.frequency_grid, trainer.datamodule.resolution
            self.references = load_references(self.path, grid, resolution)

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
