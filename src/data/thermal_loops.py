"""Converged DMFT loops at finite temperature, to compare loops of other solvers with.

One HDF5 file (`dmftnet.data.jobfile`), schema ``dmftnet-thermal-loops`` version 1, one row per
loop on the Bethe lattice, its arrays those of `dmftnet.data.keys`.
``python generate.py dataset=thermal_reference solver=ed`` makes it
(`dmftnet.data.plans.thermal_loops`). The axis is universal, as in `dmftnet.data.thermal`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dmftnet.data.jobfile import Columns
from dmftnet.data.loop_keys import THERMAL_STARTS
from dmftnet.data.loop_keys import ThermalLoops as Keys
from dmftnet.data.store import read_complete
from dmftnet.errors import StoreError
from dmftnet.physics.dmft.starts import starting_bath
from dmftnet.physics.grids.matsubara import ImaginaryAxis
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.interaction import Interaction
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.lattices.protocol import Lattice
from dmftnet.places import how_to_get

SCHEMA = "dmftnet-thermal-loops"
VERSION = 1
LOOPS = Keys.U.rpartition("/")[0]
REMEDY = how_to_get(
    "dataset=thermal_reference solver=ed", "references (in a training callbacks.closure.references)"
)


@dataclass(frozen=True)
class ThermalReference:
    """The numbers of one converged loop of the exact solver.

    Parameters
    ----------
    U, eps_d : float, in D
    beta : float, in 1/D
    start : {"metal", "insulator", "atom"}
    iterations : int
    filling : float
        Both spins.
    double_occupancy, Z_matsubara : float
    A_beta_half : float, in 1/D
    internal_energy : float, in D
    seconds : float
    """

    U: float
    eps_d: float
    beta: float
    start: str
    iterations: int
    filling: float
    double_occupancy: float
    Z_matsubara: float
    A_beta_half: float
    internal_energy: float
    seconds: float

    @property
    def half_filled(self) -> bool:
        return abs(self.eps_d + self.U / 2) < 1e-9


@dataclass(frozen=True, eq=False)
class ThermalLoopStore:
    """A file of loops in memory.

    Parameters
    ----------
    path : Path
    attributes : dict
        Schema, recipe hash, config and provenance; ``axis_size``, ``axis_accuracy``.
    columns : dict of str to array
    """

    path: Path
    attributes: dict
    columns: Columns

    @classmethod
    def open(cls, path: str | Path = "data/thermal_reference.h5") -> ThermalLoopStore:
        """Read and check a file.

        Raises
        ------
        StoreError
            If it is missing, damaged, of another schema or not complete.
        """
        path = Path(path)
        attributes, columns = read_complete(path, SCHEMA, VERSION, REMEDY)
        return cls(path, attributes, columns)

    def __getitem__(self, name: str) -> np.ndarray:
        """A column by its short name."""
        return self.columns[f"{LOOPS}/{name}"]

    def __len__(self) -> int:
        return self["U"].size

    def axis(self, row: int) -> ImaginaryAxis:
        """The imaginary axis of one loop."""
        size, accuracy = (float(self.attributes[f"axis_{key}"]) for key in ("size", "accuracy"))
        return ImaginaryAxis.universal(float(self["beta"][row]), size, accuracy)

    def references(
        self, U: Sequence[float] | None = None, beta: Sequence[float] | None = None
    ) -> list[ThermalReference]:
        """Converged loops, see `rows`."""
        return [self.reference(row) for row in self.rows(U, beta)]

    def rows(
        self, U: Sequence[float] | None = None, beta: Sequence[float] | None = None
    ) -> list[int]:
        """Those of converged loops, at these U and beta alone if they are given.

        Raises
        ------
        StoreError
            If there is none, or a U or beta is not in the file.
        """
        wanted = self["converged"].astype(bool)
        for name, values in (("U", U), ("beta", beta)):
            if values is None:
                continue
            known = self[name]
            missing = [v for v in values if not np.isclose(known, v, rtol=1e-9).any()]
            if missing:
                raise StoreError(
                    f"file {self.path} holds no loop at {name} = {missing[0]:g}; use some of "
                    f"{sorted(map(float, set(known)))}, or null for all"
                )
            wanted &= np.isclose(known[:, None], np.asarray(values), rtol=1e-9).any(axis=1)
        if not wanted.any():
            raise StoreError(
                f"file {self.path} holds no converged loop at these U and beta; name others, or "
                f"null for all; or raise sampling.loop.max_iterations and {REMEDY}"
            )
        return np.flatnonzero(wanted).tolist()

    def reference(self, row: int) -> ThermalReference:
        """The numbers of one loop."""
        known = ("U", "eps_d", "beta", "filling", "double_occupancy", "Z_matsubara")
        names = (*known, "A_beta_half", "internal_energy", "seconds")
        return ThermalReference(
            start=THERMAL_STARTS[self["start"][row]],
            iterations=int(self["iterations"][row]),
            **{name: float(self[name][row]) for name in names},
        )


def starting_point(
    lattice: Lattice,
    grid: FrequencyGrid,
    axis: ImaginaryAxis,
    U: float,
    eps_d: float,
    start: str,
) -> ImpurityProblem:
    """The impurity problem that a loop at finite temperature starts from.

    Parameters
    ----------
    grid : FrequencyGrid
        On which the bands of the start are drawn.
    axis : ImaginaryAxis
        Of the loop; beta is its.
    U, eps_d : float, in D
    start : {"metal", "insulator", "atom"}
    """
    bath = starting_bath(lattice, grid, U, eps_d, start, axis=axis)
    return ImpurityProblem(np.array([eps_d]), Interaction(U), bath, axis.beta)
