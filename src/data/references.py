"""Converged DMFT solutions of the exact solver, for comparison with a network's closed loop.

One HDF5 file (`dmftnet.data.jobfile`), schema ``dmftnet-references`` version 1, one row a loop:
``references/{U, eps_d, start, converged, iterations, status, filling, double_occupancy,
A0, gap, kl_last, hybridization, spectrum, self_energy, reason}`` with the curves on
``grid/omega``; ``start`` and ``status`` are codes as in `dmftnet.data.store`. Made by
``python generate.py dataset=bethe_reference``, resumable like every file that script writes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np

from dmftnet.data.generation import quality
from dmftnet.data.jobfile import Columns, read_jobs
from dmftnet.data.labels import network_spectrum
from dmftnet.data.sampling import STARTS
from dmftnet.data.store import STATUS
from dmftnet.errors import InvalidProblemError, StoreError
from dmftnet.physics import observables
from dmftnet.physics.dmft import DMFTLoop, DMFTResult
from dmftnet.physics.grid import FrequencyGrid
from dmftnet.physics.impurity import ImpurityProblem, ImpuritySolver
from dmftnet.physics.lattice import Lattice
from dmftnet.physics.starts import starting_hybridization

SCHEMA = "dmftnet-references"
VERSION = 1


@dataclass(frozen=True)
class ReferencePoint:
    """Parameters of one loop: U and eps_d in D, and the start, "metal" or "insulator"."""

    U: float
    eps_d: float
    start: str


class ReferencePlan:
    """One job is one DMFT loop to convergence; a plan for `dmftnet.data.generation.generate`.

    Parameters
    ----------
    series : sequence of dict
        Each with lists ``U``, ``shift`` (``eps_d + U/2``, in D) and ``start``; every combination
        becomes a loop.
    loop : callable
        ``(solver, lattice) -> DMFTLoop``.

    Raises
    ------
    InvalidProblemError
        If a start is unknown.
    """

    schema = SCHEMA
    version = VERSION

    def __init__(
        self,
        series: Sequence[dict],
        loop: Callable[[ImpuritySolver, Lattice], DMFTLoop] = DMFTLoop,
    ):
        self.points = [
            ReferencePoint(float(U), float(-U / 2 + shift), start)
            for part in series
            for U, shift, start in product(part["U"], part["shift"], part["start"])
        ]
        for point in self.points:
            if point.start not in STARTS[:2]:
                raise InvalidProblemError(
                    f"sampling.series: start '{point.start}' is unknown; use metal or insulator"
                )
        self.n_jobs = len(self.points)
        self.loop = loop

    def run(
        self, job: int, solver: ImpuritySolver, lattice: Lattice, grid: FrequencyGrid
    ) -> Columns:
        """Close the loop at one point."""
        point = self.points[job]
        start = starting_hybridization(lattice, grid, point.U, point.eps_d, point.start)
        problem = ImpurityProblem(point.U, point.eps_d, grid, start)
        return _columns(point, self.loop(solver, lattice).run_one(problem))

    def describe(self, columns: Columns) -> tuple[int, str | None]:
        iterations = int(columns["references/iterations"][0])
        if columns["references/converged"][0]:
            return iterations, None
        return iterations, f"did not converge: {columns['references/reason'][0]}"


def _columns(point: ReferencePoint, result: DMFTResult) -> Columns:
    problem, solution = result.problem, result.solution
    grid, A, sigma = problem.grid, solution.spectrum()[0], solution.self_energy()[0]
    row = {
        "U": np.float64(point.U),
        "eps_d": np.float64(point.eps_d),
        "start": np.int32(STARTS.index(point.start)),
        "converged": np.int32(result.converged),
        "iterations": np.int32(result.iterations),
        "status": np.int32(STATUS.index(quality(problem, solution))),
        "filling": np.float64(solution.filling),
        "double_occupancy": np.float64(solution.double_occupancy),
        "A0": np.float64(grid.at_zero(A)),
        "gap": np.float64(observables.gap(grid, A)),
        "kl_last": np.float64(result.kl_history[-1]),
        "hybridization": problem.hybridization[0].astype(np.float32),
        "spectrum": A.astype(np.float32),
        "self_energy": sigma.astype(np.complex64),
        "reason": result.reason,
    }
    return {f"references/{name}": np.array([value]) for name, value in row.items()}


@dataclass(frozen=True, eq=False)
class References:
    """Reference solutions on a network's grid at its resolution; n loops.

    Parameters
    ----------
    grid : FrequencyGrid
    start : tuple of str
        "metal" or "insulator".
    U, eps_d : (n,) float64, in D
    converged : (n,) bool
    iterations : (n,) int
    filling, double_occupancy, Z, Z_matsubara, A0, gap : (n,) float64
        Of the exact solution on its own fine grid.
    hybridization, spectrum : (n, n_w) float64
        At the data's resolution, in D and 1/D.
    self_energy : (n, n_w) complex128
        Exact curve read at the network's frequencies, in D.
    """

    grid: FrequencyGrid
    start: tuple[str, ...]
    U: np.ndarray
    eps_d: np.ndarray
    converged: np.ndarray
    iterations: np.ndarray
    filling: np.ndarray
    double_occupancy: np.ndarray
    Z: np.ndarray
    Z_matsubara: np.ndarray
    A0: np.ndarray
    gap: np.ndarray
    hybridization: np.ndarray
    spectrum: np.ndarray
    self_energy: np.ndarray

    def __len__(self) -> int:
        return self.U.size

    @property
    def half_filled(self) -> np.ndarray:
        """(n,) bool"""
        return np.abs(self.eps_d + self.U / 2) < 1e-9


@dataclass(frozen=True, eq=False)
class ReferenceStore:
    """A file of reference solutions in memory.

    Parameters
    ----------
    path : Path
    attributes : dict
    columns : dict of str to array
    grid : FrequencyGrid
        The fine grid of the file.
    """

    path: Path
    attributes: dict
    columns: Columns
    grid: FrequencyGrid

    @classmethod
    def open(cls, path: str | Path = "data/bethe_reference.h5") -> ReferenceStore:
        """Read and check a file.

        Raises
        ------
        StoreError
            If it is missing, damaged, of another schema or not complete.
        """
        path = Path(path)
        remedy = "make it with: python generate.py dataset=bethe_reference"
        attributes, columns = read_jobs(path, SCHEMA, VERSION, remedy)
        if not attributes["complete"]:
            raise StoreError(
                f"file {path} comes from a run that was interrupted; run the same generate.py "
                "command again to finish it"
            )
        return cls(path, attributes, columns, FrequencyGrid(columns["grid/omega"]))

    def __getitem__(self, name: str) -> np.ndarray:
        """A column by its short name, (n, ...)."""
        return self.columns[f"references/{name}"]

    def __len__(self) -> int:
        return self["U"].size

    def on(self, grid: FrequencyGrid, resolution: tuple[float, float]) -> References:
        """Everything on a network's grid at its Gaussian resolution (eta, slope)."""
        names = ("U", "eps_d", "iterations", "filling", "double_occupancy", "A0", "gap")
        sigma = self["self_energy"].astype(np.complex128)
        norm = self.grid.integrate(self["spectrum"].astype(np.float64))[:, None]
        return References(
            grid=grid,
            start=tuple(STARTS[code] for code in self["start"]),
            converged=self["converged"].astype(bool),
            hybridization=network_spectrum(self.grid, grid, resolution, self["hybridization"]),
            spectrum=network_spectrum(self.grid, grid, resolution, self["spectrum"] / norm),
            self_energy=self.grid.interpolate(sigma, grid.omega),
            Z=np.array([observables.quasiparticle_weight(self.grid, s) for s in sigma]),
            Z_matsubara=np.array(
                [observables.quasiparticle_weight_matsubara(self.grid, s) for s in sigma]
            ),
            **{name: self[name] for name in names},
        )
