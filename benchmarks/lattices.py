"""Loops on lattices that no data came from: networks beside the exact solver.

    OMP_NUM_THREADS=1 python benchmarks/lattices.py                 both shipped ensembles
    OMP_NUM_THREADS=1 python benchmarks/lattices.py outputs/train/x another folder, too

Prints docs/lattices.md. Loops of `data/lattices_reference.h5` (kagome, Lieb, diamond, ...) and of
`data/bethe_reference_test.h5`, on which nothing was chosen, from the same starts. KL of the last
spectrum at the network's resolution and at a common one; Z and double occupancy relative, of the
loops in the right phase. A loop is flagged where the solver warned of its last iteration.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence

import numpy as np

from dmftnet.errors import DmftnetWarning
from dmftnet.evaluation.closure import Closure, LoopSettings, close_loops
from dmftnet.evaluation.exact_loops import COMMON, load_references
from dmftnet.models.solvers.network import SHIPPED, NetworkSolver

SETTINGS = LoopSettings(max_iterations=100)
FILES = ("data/lattices_reference.h5", "data/bethe_reference_test.h5")
WRONG = 1e-2
"""KL above which an answer is wrong."""

HEADER = (
    "lattice", "loops", "converged", "right phase", "flagged", "wrong, not flagged", "KL, median",
    "90 %", "worst", "common KL, median", "90 %", "Z, median", "worst", "double occupancy, median",
    "worst", "filling, worst", "iterations",
)  # fmt: skip

INTRODUCTION = f"""# Networks on lattices that no data came from

Written by `python benchmarks/lattices.py > docs/lattices.md`; do not edit, but run it again.

Loops from the same starts as the exact solver's. KL(A_exact || A) of the last spectrum, of every
loop that converged, at the network's resolution and ("common") at {COMMON[0]:g} +
{COMMON[1]:g} |w|, that of networks that put out spectra; Z and double occupancy relative to the
exact ones, filling absolute, of those in the right phase. Flagged: the solver warned of the last
iteration. Wrong: KL above {WRONG:g} at the network's resolution, or not converged.
"""


def flagged(closure: Closure) -> bool:
    """Whether the last answer came with a warning of the solver."""
    return "the last included" in (closure.summary["warning"] or "")


def row(name: str, closures: Sequence[Closure]) -> list[str]:
    """One line of the table."""
    converged = [c for c in closures if c.converged]
    right = [c for c in converged if c.right_branch]
    kl = np.array([c.kl for c in converged])
    common = np.array([c.common_kl for c in converged])
    wrong = [c for c in closures if not c.converged or c.kl > WRONG]
    Z = [c.Z_error for c in right if c.reference.Z > 0]
    exact = [c.reference for c in right]
    double = [
        abs(c.summary["double_occupancy"] / r.double_occupancy - 1)
        for c, r in zip(right, exact, strict=True)
    ]
    filling = [abs(c.summary["filling"] - r.filling) for c, r in zip(right, exact, strict=True)]
    return [
        name,
        str(len(closures)),
        str(len(converged)),
        str(len(right)),
        str(sum(map(flagged, closures))),
        str(sum(not flagged(c) for c in wrong)),
        *(shown(kl, f) for f in (np.median, ninety, np.max)),
        *(shown(common, f) for f in (np.median, ninety)),
        *(shown(values, f, ".3f") for values in (Z, double) for f in (np.median, np.max)),
        shown(filling, np.max, ".4f"),
        f"{np.mean([c.summary['iterations'] for c in closures]):.1f}",
    ]


def ninety(values: np.ndarray) -> float:
    """Below which nine of ten lie."""
    return float(np.quantile(values, 0.9))


def shown(values, statistic, form: str = ".1e") -> str:
    """A statistic; a dash of nothing."""
    return format(float(statistic(values)), form) if len(values) else "–"


def section(label: str, solver: NetworkSolver) -> str:
    """The table of one solver."""
    closures: list[Closure] = []
    for file in FILES:
        references = load_references(file, solver.grid, solver.resolution, lattices=None)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DmftnetWarning)  # the table says which
            closures += close_loops(solver, references, SETTINGS)
    by_name: dict[str, list[Closure]] = {}
    for closure in closures:
        by_name.setdefault(closure.reference.lattice, []).append(closure)
    own = {"bethe"}
    rows = [row(name, found) for name, found in by_name.items()]
    others = [c for name, found in by_name.items() if name not in own for c in found]
    rows.append(row("**all but bethe**", others))
    lines = [HEADER, ["---"] * len(HEADER), *rows]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"## {label}\n\n{table}\n"


def main(folders: Sequence[str]) -> None:
    print(INTRODUCTION)
    solvers = {
        f"`solver=network solver.checkpoint={name}`": NetworkSolver(name) for name in SHIPPED
    }
    for folder in folders:
        solvers[folder] = NetworkSolver(folder)
    print("\n".join(section(label, solver) for label, solver in solvers.items()), end="")


if __name__ == "__main__":
    main(sys.argv[1:])
