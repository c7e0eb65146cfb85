"""What exact diagonalisation costs, against orbitals, levels and temperature.

OMP_NUM_THREADS=1 python benchmarks/ed.py [largest number of spatial orbitals]      default: 10
"""

from __future__ import annotations

import sys
import time
from math import comb

import numpy as np
from rich.console import Console
from rich.table import Table

from dmftnet.physics.impurity.interaction import Interaction
from dmftnet.physics.impurity.pole_hybridization import PoleHybridization
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.solvers.krylov.ed import EdSolver

# (orbitals, bath levels an orbital, beta)
CASES = [
    (1, 5, 50.0), (1, 6, 50.0), (1, 7, np.inf), (1, 7, 50.0), (2, 2, 50.0), (2, 3, np.inf),
    (2, 3, 50.0), (2, 4, np.inf), (2, 5, np.inf), (3, 3, np.inf),
]  # fmt: skip
U, J = 2.0, 0.3
COLUMNS = ("orbitals", "levels each", "beta", "largest sector", "states", "dropped", "poles", "s")


def problem(n_orb: int, n_bath: int, beta: float) -> ImpurityProblem:
    """Half-filled, degenerate orbitals with evenly spaced levels of weight 1/4 in all."""
    energies = np.tile(np.linspace(-0.8, 0.8, n_bath), n_orb)
    couplings = np.kron(np.eye(n_orb), np.full((n_bath, 1), 0.5 / np.sqrt(n_bath)))
    interaction = Interaction(U, J if n_orb > 1 else 0.0)
    levels = np.full(n_orb, interaction.half_filling(n_orb))
    return ImpurityProblem(levels, interaction, PoleHybridization(energies, couplings), beta)


def main(largest: int = 10) -> None:
    console = Console(width=100)
    table = Table(*COLUMNS, title=f"solver=ed, U = {U:g}, J = {J:g} of several orbitals")
    solver = EdSolver()
    solver.solve(problem(1, 3, np.inf))  # compiles
    for n_orb, n_bath, beta in CASES:
        n_sites = n_orb * (1 + n_bath)
        if n_sites > largest:
            continue
        start = time.process_time()
        solution = solver.solve(problem(n_orb, n_bath, beta))
        seconds = time.process_time() - start
        said = solution.diagnostics
        table.add_row(
            str(n_orb), str(n_bath), f"{beta:g}", f"{comb(n_sites, n_sites // 2) ** 2:,}",
            str(said["states"]), f"{said['dropped_weight']:.0e}",
            f"{solution.greens[0].energies.size:,}", f"{seconds:.2f}",
        )  # fmt: skip
    console.print(table)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
