"""Closed DMFT loops of the exact solver on the Bethe lattice, beside an independent NRG.

    OMP_NUM_THREADS=1 python benchmarks/dmft_accuracy.py            (about half an hour)

NRG values: full-density-matrix NRG, z-averaged (docs/physics.md, calibration).
"""

from __future__ import annotations

import time

import numpy as np
from rich.console import Console
from rich.table import Table

from dmftnet.physics.bath.intervals import Intervals
from dmftnet.physics.dmft.loop import DMFTLoop
from dmftnet.physics.dmft.starts import starting_problem
from dmftnet.physics.dmft.summary import summarize
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.lattices.bethe import Bethe
from dmftnet.physics.solvers.krylov.ras import RasSolver

# (U, eps_d, start, bath sites, depths)
SHALLOW, DEFAULT, DEEP = ("all", 12, 3, 1), ("all", 12, 6, 1), ("all", 15, 6, 3)
CASES = [
    (1.0, -0.5, "metal", 59, DEFAULT),
    (2.0, -1.0, "metal", 59, SHALLOW),
    (2.0, -1.0, "metal", 59, DEFAULT),
    (2.0, -1.0, "metal", 101, DEFAULT),
    (2.0, -1.0, "metal", 59, DEEP),
    (2.0, -1.0, "insulator", 59, DEFAULT),
    (2.0, -0.5, "metal", 59, DEFAULT),
    (2.6, -1.3, "metal", 59, DEFAULT),
    (2.6, -1.3, "insulator", 59, DEFAULT),
    (3.4, -1.7, "metal", 59, DEFAULT),
    (4.0, -2.0, "insulator", 59, DEFAULT),
]
NRG = {
    (1.0, -0.5): "Z 0.725(1), D 0.1668(1)",
    (2.0, -1.0): "Z 0.265(2), D 0.0851(3)",
    (2.0, -0.5): "n 0.8393(5)",
    (4.0, -2.0): "D 0.00823(2)",
}


def main() -> None:
    grid, lattice = FrequencyGrid.geometric(1e-3, 8.0, 800), Bethe()
    table = Table(
        "U", "eps_d", "start", "sites", "depths", "converged", "iterations", "s a solve", "n",
        "double occ.", "Z", "Z(i0.01)", "A(0) pi D/2", "gap", "NRG",
    )  # fmt: skip
    console = Console(width=160)
    for U, eps_d, start, n_bath, depths in CASES:
        solver = RasSolver(bath=Intervals(n_bath), depths=depths)
        loop = DMFTLoop(solver, lattice, max_iterations=60)
        problem = starting_problem(grid, lattice, U=U, eps_d=eps_d, start=start)
        clock = time.perf_counter()
        result = loop.run_one(problem)
        seconds = (time.perf_counter() - clock) / result.iterations
        s = summarize(result, "ras", "bethe", seconds)
        table.add_row(
            f"{U:g}", f"{eps_d:g}", start, str(n_bath), ", ".join(map(str, depths)),
            str(s["converged"]), str(s["iterations"]), f"{seconds:.1f}", f"{s['filling']:.4f}",
            f"{s['double_occupancy']:.5f}", f"{s['Z']:.4f}", f"{s['Z_matsubara']:.4f}",
            f"{s['A0'] * np.pi / 2:.4f}", f"{s['gap']:.2f}", NRG.get((U, eps_d), ""),
        )  # fmt: skip
        console.print(f"U = {U:g} from the {start}, {n_bath} sites: {result.reason}")
    console.print(table)


if __name__ == "__main__":
    main()
