"""Cost and accuracy of the exact solver: restriction, bath size, poles of G alone or with Sigma.

    OMP_NUM_THREADS=1 python benchmarks/ras.py

One half-filled impurity, U = 2, semicircular hybridization, after compilation. KL is that of
A(w, alpha = 0.1) against depths (all, all, 6, 3), from the poles of G.
"""

from __future__ import annotations

import time

import numpy as np
from rich.console import Console
from rich.table import Table

from dmftnet.physics.analysis.distances import kl_divergence
from dmftnet.physics.bath.intervals import Intervals
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.lattices.bethe import Bethe
from dmftnet.physics.solvers.krylov.ras import RasSolver

ANGLE = 0.1
REFERENCE = ("all", "all", 6, 3)
RESTRICTIONS = [
    ("all", "all"),
    ("all", 8, 3),
    ("all", 12, 3),
    ("all", "all", 3),
    ("all", 6, 3, 1),
    ("all", 8, 3, 1),
    ("all", 12, 3, 1),
    ("all", 8, 6, 1),
    ("all", 12, 6, 1),
    ("all", 15, 3, 3),
]
# The cheapest (depths, Lanczos steps) for the poles of G alone at KL 1e-4 and 1e-5.
QUICK = [(("all", 6, 6, 1), 90), (("all", 10, 6, 1), 120)]
BATHS = [39, 59, 79, 101, 151, 201]


def semicircle_problem(U: float) -> ImpurityProblem:
    """The half-filled impurity in the non-interacting Bethe lattice's hybridization."""
    grid = FrequencyGrid.geometric(1e-3, 8.0, 800)
    return ImpurityProblem.on_grid(U, -U / 2, grid, Bethe().bare_hybridization(grid))


def measure(problem: ImpurityProblem, repeats: int = 3, **options):
    """Fastest of a few runs, in seconds, and the solution."""
    solver = RasSolver(**options)
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        solution = solver.solve(problem)
        seconds.append(time.perf_counter() - start)
    return min(seconds), solution


def rotated(solution, grid: FrequencyGrid) -> np.ndarray:
    """A(w, alpha) of the poles."""
    return solution.greens[0].G.spectrum(grid.omega, ANGLE)


def restriction_table(problem: ImpurityProblem, spacing: str) -> Table:
    """Cost and error against the depths, for one spacing of the 59 bath sites."""
    bath, tight = Intervals(spacing=spacing), {"n_lanczos": 250, "ground_state_tolerance": 1e-7}
    _, exact = measure(problem, 1, depths=REFERENCE, bath=bath, **tight)
    reference = rotated(exact, problem.grid)
    columns = ("depths", "determinants", "s, G alone", "s, with Sigma", "KL of A(alpha=0.1)")
    table = Table(*columns, title=f"59 sites, {spacing} intervals")
    for depths in RESTRICTIONS:
        options = {"depths": depths, "bath": bath}
        alone, _ = measure(problem, with_self_energy=False, **options)
        both, solution = measure(problem, **options)
        kl = float(kl_divergence(problem.grid, reference, rotated(solution, problem.grid)))
        table.add_row(
            ", ".join(map(str, depths)), f"{solution.diagnostics['determinants']:,}",
            f"{alone:.2f}", f"{both:.2f}", f"{kl:.1e}",
        )  # fmt: skip
    for depths, steps in QUICK:
        options = {"depths": depths, "bath": bath, "n_lanczos": steps}
        alone, solution = measure(
            problem, 8, with_self_energy=False, ground_state_tolerance=1e-4, **options
        )
        kl = float(kl_divergence(problem.grid, reference, rotated(solution, problem.grid)))
        table.add_row(
            ", ".join(map(str, depths)) + f"; {steps} steps, residual 1e-4",
            f"{solution.diagnostics['determinants']:,}", f"{alone:.2f}", "", f"{kl:.1e}",
        )  # fmt: skip
    return table


def main() -> None:
    console = Console()
    problem = semicircle_problem(2.0)
    measure(problem, 1, depths=("all", 3), bath=Intervals(11))  # compiles
    for spacing in ("equal", "sinh"):
        console.print(restriction_table(problem, spacing))
    table = Table("bath sites", "determinants", "s, with Sigma", "microseconds a determinant")
    for n_bath in BATHS:
        seconds, solution = measure(problem, 2, bath=Intervals(n_bath), depths=("all", 12, 3, 1))
        size = solution.diagnostics["determinants"]
        table.add_row(str(n_bath), f"{size:,}", f"{seconds:.2f}", f"{1e6 * seconds / size:.2f}")
    console.print(table)


if __name__ == "__main__":
    main()
