"""All loops of one model on one file of references.

There are two such files. The first serves to monitor training and to choose settings (sharpening,
mixing, where to add data). On the second, at other U, levels and lattices, nothing is chosen: the
targets refer to its loops. Both are reported.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dmftnet.evaluation.closure import (
    Closure,
    LoopSettings,
    close_fillings,
    close_loops,
    closure_scalars,
)
from dmftnet.evaluation.exact_loops import load_references
from dmftnet.models.solvers.network import NetworkSolver

REFERENCE, TEST = "reference", "test"
"""Names of the two sets: the one for choosing settings, the one on which nothing is chosen."""


def judged(loops: Mapping[str, Any]) -> Any:
    """The set for targets and tables: the one on which nothing was chosen, if present."""
    return loops[TEST] if TEST in loops else loops[REFERENCE]


@dataclass(frozen=True, eq=False)
class LoopSet:
    """Loops of a model for one file of references.

    Parameters
    ----------
    closures, elsewhere : list of Closure
        On the Bethe lattice, and on lattices absent from the data.
    doped : list of (Closure, Closure)
        Own search for a filling, and the loop at the exact level.
    """

    closures: list[Closure]
    elsewhere: list[Closure]
    doped: list[tuple[Closure, Closure]]

    def metrics(self) -> dict[str, Any]:
        """Every number, as plain values for JSON."""
        every = [*self.closures, *self.elsewhere, *(c for pair in self.doped for c in pair)]
        clipped = [c.clipped for c in every]
        return {
            "closure": _scalars(self.closures),
            "elsewhere": _scalars(self.elsewhere),
            "clipped_self_energy": {
                "median": float(np.median(clipped)),
                "worst": float(np.max(clipped)),
            },
            "loops": [c.numbers() for c in self.closures],
            "loops_elsewhere": [c.numbers() for c in self.elsewhere],
            "doped": [
                {
                    "target": own.reference.target,
                    "own": own.numbers(),
                    "exact_level": same.numbers(),
                }
                for own, same in self.doped
            ],
        }


def close_all(solver: NetworkSolver, path: str | Path, loop: LoopSettings) -> LoopSet:
    """Every loop of a file of references, driven by a network.

    Raises
    ------
    StoreError
        If the file cannot be used.
    """
    grid, resolution = solver.grid, solver.resolution
    points = load_references(path, grid, resolution, lattices=None)
    targets = load_references(path, grid, resolution, kinds=("filling",))
    return LoopSet(
        closures=close_loops(solver, [r for r in points if r.lattice == "bethe"], loop),
        elsewhere=close_loops(solver, [r for r in points if r.lattice != "bethe"], loop),
        doped=close_fillings(solver, targets, loop),
    )


def _scalars(closures: Sequence[Closure]) -> dict[str, float]:
    if not closures:
        return {}
    return {key: value for key, value in closure_scalars(closures).items() if "/" not in key}
