"""How far Z and A(0) of the metal next to the Mott transition are converged.

    OMP_NUM_THREADS=1 python benchmarks/z_convergence.py            U = 2.8, about twenty minutes
    OMP_NUM_THREADS=1 python benchmarks/z_convergence.py 2.9 3      another U, the first three rows

Closed loops at half filling for finer baths and larger spaces, each from the solution of the row
before. Z is the hardest number there: it vanishes at U_c2, so a relative error of 5 % is what a
shift of U by 0.2 % does. A(0) pi D/2 of the exact metal is 1. ``ras_fine`` (conf/solver) is the row
that the full-size dataset is made with.
"""

from __future__ import annotations

import sys
import time

import numpy as np
from rich.console import Console
from rich.table import Table

from dmftnet.physics.bath.intervals import Intervals
from dmftnet.physics.dmft.loop import DMFTLoop
from dmftnet.physics.dmft.summary import summarize
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.lattices.bethe import Bethe
from dmftnet.physics.solvers.krylov.ras import RasSolver

# (bath sites, stretch, depths, block-Lanczos steps)
CASES = [
    (59, 5.5, ("all", 12, 6, 1), 80),  # ras_fine
    (79, 5.5, ("all", 12, 6, 1), 80),
    (59, 5.5, ("all", 12, 6, 2), 80),
    (101, 6.0, ("all", 12, 6, 1), 80),
    (59, 4.5, ("all", 8, 6, 1), 120),  # ras
    (59, 5.5, ("all", 12, 6, 1), 120),
    (59, 5.5, ("all", 12, 8, 1), 80),
    (59, 5.5, ("all", 16, 8, 3), 120),
]


def main(U: float = 2.8, rows: int = len(CASES)) -> None:
    grid, lattice = FrequencyGrid.geometric(1e-3, 8.0, 1200), Bethe()
    hybridization = lattice.bare_hybridization(grid)
    table = Table(
        "sites", "stretch", "depths", "steps", "CPU s a solve", "Z", "double occ.", "A(0) pi D/2",
        title=f"U = {U:g}, half filling",
    )  # fmt: skip
    console = Console(width=110)
    for n_bath, stretch, depths, steps in CASES[:rows]:
        bath = Intervals(n_bath, stretch=stretch)
        solver = RasSolver(bath=bath, depths=depths, n_lanczos=steps)
        loop = DMFTLoop(solver, lattice, tolerance=1e-6, max_iterations=100)
        clock = time.process_time()
        result = loop.run_one(ImpurityProblem.on_grid(U, -U / 2, grid, hybridization))
        seconds = (time.process_time() - clock) / result.iterations
        hybridization = result.problem.spectrum[0]
        s = summarize(result, "ras", lattice.name, seconds)
        table.add_row(
            str(n_bath), f"{stretch:g}", ", ".join(map(str, depths)), str(steps), f"{seconds:.1f}",
            f"{s['Z']:.4f}", f"{s['double_occupancy']:.5f}", f"{s['A0'] * np.pi / 2:.3f}",
        )  # fmt: skip
        console.print(f"{n_bath} sites, {depths}: {result.reason}")
    console.print(table)


if __name__ == "__main__":
    if len(sys.argv) > 3:
        sys.exit("usage: python benchmarks/z_convergence.py [U [ROWS]]")
    main(*(kind(word) for kind, word in zip((float, int), sys.argv[1:], strict=False)))
