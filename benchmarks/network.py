"""A network solve beside the exact one, in the same run, as ratios.

    OMP_NUM_THREADS=1 python benchmarks/network.py outputs/demo/train

One solve, a batch of 64, and a whole DMFT loop at U = 2, on one core after compilation.
"""

from __future__ import annotations

import sys
import time

import torch
from rich.console import Console
from rich.table import Table

from dmftnet.models.network_solver import NetworkSolver
from dmftnet.physics.dmft import DMFTLoop
from dmftnet.physics.grid import FrequencyGrid
from dmftnet.physics.lattice import Bethe
from dmftnet.physics.solvers.ras import RasSolver
from dmftnet.physics.starts import one_orbital_problem

U = 2.0


def seconds(call, repeats: int) -> float:
    """Fastest of a few runs."""
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
    return best


def main(checkpoint: str) -> None:
    torch.set_num_threads(1)
    network, ras, lattice = NetworkSolver(checkpoint), RasSolver(), Bethe()
    problem = one_orbital_problem(network.grid, lattice, U=U)
    fine = one_orbital_problem(FrequencyGrid.geometric(1e-3, 8.0, 800), lattice, U=U)
    ras.solve(fine)  # compiles
    exact = seconds(lambda: ras.solve(fine).spectrum(), 3)
    rows = [("one solve", exact, seconds(lambda: network.solve(problem), 50))]
    batch = [problem] * 64
    rows.append(("batch of 64, each", exact, seconds(lambda: network.solve_batch(batch), 10) / 64))
    loops = [
        seconds(lambda s=solver, p=start: DMFTLoop(s, lattice).run_one(p), 1)
        for solver, start in ((ras, fine), (network, problem))
    ]
    rows.append((f"DMFT loop, U = {U:g}", *loops))
    table = Table("", "ras", "network", "ratio")
    for name, slow, fast in rows:
        table.add_row(name, f"{slow:.2f} s", f"{1e3 * fast:.2f} ms", f"{slow / fast:.0f}")
    Console().print(table)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python benchmarks/network.py CHECKPOINT_FOLDER")
    main(sys.argv[1])
