"""Reference loops at finite temperature; a plan for `generate`.

Independent loops on the imaginary axis at every combination of U, beta, ``eps_d + U/2`` and start
of a series. One loop is one job. The numbers are those of `dmftnet.physics.dmft.summary`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from dmftnet import checks
from dmftnet.data.jobfile import Columns
from dmftnet.data.keys import arrays_of
from dmftnet.data.loop_keys import THERMAL_STARTS
from dmftnet.data.loop_keys import ThermalLoops as Keys
from dmftnet.data.thermal_loops import LOOPS, SCHEMA, VERSION, starting_point
from dmftnet.errors import SettingError
from dmftnet.physics.dmft.loop import DMFTLoop
from dmftnet.physics.dmft.summary import summarize
from dmftnet.physics.grids.matsubara import ACCURACY, UNIVERSAL_SIZE, ImaginaryAxis
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.protocol import ImpuritySolver
from dmftnet.physics.lattices.protocol import Lattice

KEYS = ("U", "beta", "shift", "start")


@dataclass(frozen=True)
class ThermalLoop:
    """One loop.

    Parameters
    ----------
    U, shift : float, in D
        ``shift = eps_d + U/2``.
    beta : float, in 1/D
    start : {"metal", "insulator", "atom"}
    """

    U: float
    beta: float
    shift: float
    start: str


class ThermalLoopsPlan:
    """The reference loops; a plan for `dmftnet.data.generation.generate`.

    Parameters
    ----------
    series : sequence of mapping
        Each with lists ``U``, ``beta``, ``shift`` and ``start``.
    loop : callable
        ``(solver, lattice) -> DMFTLoop``.
    size, accuracy : float
        Of the axis, see `ImaginaryAxis.universal`.

    Raises
    ------
    SettingError
        If a start or a key is unknown, or a list is none.
    """

    schema = SCHEMA
    version = VERSION

    def __init__(
        self,
        series: Sequence[Mapping[str, Any]],
        loop: Callable[..., DMFTLoop] = DMFTLoop,
        size: float = UNIVERSAL_SIZE,
        accuracy: float = ACCURACY,
    ):
        if not isinstance(series, Sequence) or isinstance(series, str) or not series:
            raise SettingError(f"sampling.series = {checks.shown(series)}: give a list of sections")
        self.jobs = [job for number, part in enumerate(series) for job in _loops(part, number)]
        self.n_jobs = len(self.jobs)
        self.loop = loop
        self.size = checks.number("sampling.size", size, above=0)
        self.accuracy = checks.number("sampling.accuracy", accuracy, above=0)
        self.frequencies = np.asarray(self._axis(1.0).indices, dtype=np.float64)
        self.attributes = {"axis_size": self.size, "axis_accuracy": self.accuracy}

    def _axis(self, beta: float) -> ImaginaryAxis:
        return ImaginaryAxis.universal(beta, self.size, self.accuracy)

    def run(
        self, job: int, solver: ImpuritySolver, lattice: Lattice, grid: FrequencyGrid
    ) -> Columns:
        """Close one loop."""
        task = self.jobs[job]
        eps_d, axis = task.shift - task.U / 2, self._axis(task.beta)
        problem = starting_point(lattice, grid, axis, task.U, eps_d, task.start)
        began = time.perf_counter()
        result = self.loop(solver, lattice).run_one(problem)
        numbers = summarize(result, solver.name, lattice.name, time.perf_counter() - began)
        row = numbers | {
            "eps_d": eps_d,
            "start": THERMAL_STARTS.index(task.start),
            "change": numbers["change_last"],
            "hybridization": result.problem.hybridization.at(1j * axis.omega_n)[0],
            "self_energy": result.solution.matsubara_self_energy(axis)[0],
            "reason": result.reason,
        }
        return {
            key: np.array([row[key.removeprefix(f"{LOOPS}/")]], dtype=key.dtype)
            for key in arrays_of(Keys)
        }

    def describe(self, columns: Columns) -> tuple[int, str | None]:
        """Solves of the loop, and whether it did not converge."""
        U, beta = columns[Keys.U][0], columns[Keys.BETA][0]
        remark = f"U = {U:g}, beta = {beta:g} did not converge: {columns[Keys.REASON][0]}"
        return int(columns[Keys.ITERATIONS][0]), None if columns[Keys.CONVERGED][0] else remark


def _loops(part: Mapping[str, Any], number: int) -> list[ThermalLoop]:
    """Those of one series."""
    where = f"sampling.series[{number}]"
    checks.mapping(where, part, KEYS, complete=True)
    limits = {"U": {"at_least": 0}, "beta": {"above": 0}, "shift": {}}
    U, beta, shift = (
        checks.numbers(f"{where}.{name}", part[name], at_least_size=1, **limit)
        for name, limit in limits.items()
    )
    starts = part["start"]
    if not isinstance(starts, Sequence) or isinstance(starts, str) or not starts:
        raise SettingError(f"{where}.start = {checks.shown(starts)}: give a list")
    for start in starts:
        checks.choice(f"{where}.start", start, THERMAL_STARTS)
    return [ThermalLoop(*each) for each in product(U, beta, shift, starts)]
