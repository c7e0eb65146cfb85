"""Converged DMFT solutions of the exact solver, to compare networks' loops with.

One HDF5 file (`dmftnet.data.jobfile`), schema ``dmftnet-references`` version 2, one row per loop.
``python generate.py dataset=bethe_reference solver=ras_fine`` makes it
(`dmftnet.data.plans.exact_loops`), resumable like every file that script writes. Its arrays are
those of `dmftnet.data.keys`, curves are on ``grid/omega``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dmftnet.data.jobfile import Columns
from dmftnet.data.keys import KINDS, STARTS
from dmftnet.data.keys import References as Keys
from dmftnet.data.labels import network_spectrum
from dmftnet.data.store import grid_of, read_complete
from dmftnet.errors import InvalidProblemError
from dmftnet.physics.analysis.quasiparticle import QuasiparticleWeight, quasiparticle_weight
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.lattices.bethe import Bethe
from dmftnet.physics.lattices.density_of_states import DensityOfStates
from dmftnet.physics.lattices.named import NAMED
from dmftnet.physics.lattices.protocol import Lattice
from dmftnet.places import how_to_get

SCHEMA = "dmftnet-references"
VERSION = 2
REFERENCES = Keys.U.rpartition("/")[0]
REMEDY = how_to_get(
    "dataset=bethe_reference solver=ras_fine",
    "references (in a training callbacks.closure.references)",
)

LATTICES: dict[str, Callable[[], Any]] = {
    "bethe": Bethe,
    "square": DensityOfStates.square,
    "cubic": DensityOfStates.cubic,
    **NAMED,
}
"""Lattices that a file can name."""


def lattice_named(name: str) -> Lattice:
    """The lattice of this name.

    Raises
    ------
    InvalidProblemError
        If there is none.
    """
    if not isinstance(name, str) or name not in LATTICES:
        raise InvalidProblemError(
            f"lattice '{name}' cannot be named in references; use one of {sorted(LATTICES)}"
        )
    return LATTICES[name]()


@dataclass(frozen=True, eq=False)
class References:
    """Reference solutions on a network's grid at its resolution; n loops.

    Parameters
    ----------
    grid : FrequencyGrid
    kind : tuple of str
        Members of `KINDS`.
    lattice : tuple of str
    start : tuple of str
        "metal" or "insulator".
    series : (n,) int
    U, eps_d : (n,) float64, in D
    target : (n,) float64
        Filling searched for, or NaN.
    converged : (n,) bool
    iterations : (n,) int
    filling, double_occupancy, Z, Z_error, A0, gap : (n,) float64
        Of the exact solution on its own fine grid.
    hybridization, spectrum : (n, n_w) float64
        At the data's resolution, in D and 1/D.
    self_energy : (n, n_w) complex128
        Exact curve read at the network's frequencies, in D.
    """

    grid: FrequencyGrid
    kind: tuple[str, ...]
    lattice: tuple[str, ...]
    start: tuple[str, ...]
    series: np.ndarray
    U: np.ndarray
    eps_d: np.ndarray
    target: np.ndarray
    converged: np.ndarray
    iterations: np.ndarray
    filling: np.ndarray
    double_occupancy: np.ndarray
    Z: np.ndarray
    Z_error: np.ndarray
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
        attributes, columns = read_complete(path, SCHEMA, VERSION, REMEDY)
        for name in np.unique(columns[Keys.LATTICE]):
            lattice_named(str(name))
        return cls(path, attributes, columns, grid_of(path, columns, REMEDY))

    def __getitem__(self, name: str) -> np.ndarray:
        """A column by its short name, (n, ...)."""
        return self.columns[f"{REFERENCES}/{name}"]

    def __len__(self) -> int:
        return self["U"].size

    def quasiparticle_weight(self, row: int) -> QuasiparticleWeight:
        """Z of one loop."""
        U, eps_d, hybridization = (self[name][row] for name in ("U", "eps_d", "hybridization"))
        problem = ImpurityProblem.on_grid(float(U), float(eps_d), self.grid, hybridization)
        spectrum, sigma = (self[name][row][None] for name in ("spectrum", "self_energy"))
        return quasiparticle_weight(problem, spectrum, sigma.astype(np.complex128))

    @property
    def normalized_spectrum(self) -> np.ndarray:
        """(L, n) float64 spectra, in 1/D, on the file's grid with integral 1."""
        spectrum = self["spectrum"].astype(np.float64)
        return spectrum / self.grid.integrate(spectrum)[:, None]

    def on(self, grid: FrequencyGrid, resolution: tuple[float, float]) -> References:
        """Everything on a network's grid at its Gaussian resolution (eta, slope)."""
        names = ("series", "U", "eps_d", "target", "iterations", "filling", "double_occupancy")
        sigma = self["self_energy"].astype(np.complex128)
        Z = [self.quasiparticle_weight(row) for row in range(len(self))]
        return References(
            grid=grid,
            kind=tuple(KINDS[code] for code in self["kind"]),
            lattice=tuple(map(str, self["lattice"])),
            start=tuple(STARTS[code] for code in self["start"]),
            converged=self["converged"].astype(bool),
            hybridization=network_spectrum(self.grid, grid, resolution, self["hybridization"]),
            spectrum=network_spectrum(self.grid, grid, resolution, self.normalized_spectrum),
            self_energy=self.grid.interpolate(sigma, grid.omega),
            Z=np.array([z.value for z in Z]),
            Z_error=np.array([z.error for z in Z]),
            **{name: self[name] for name in (*names, "A0", "gap")},
        )
