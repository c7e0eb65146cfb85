"""What the cheap solvers miss at finite temperature, and what they cost.

OMP_NUM_THREADS=1 python benchmarks/cheap_solvers.py [beta ...]      default: 20 50; minutes

Each is given the hybridization of a DMFT loop that `ed` closed on the Bethe lattice with six fitted
levels, and compared with `ed` there. ``error`` is ``(1/beta) integral |G - G_ed| dtau``; ``norm``
``|-G(0) - G(beta) - 1|``; ``moment`` how far Sigma(i inf), from the last two frequencies, lies from
``U n``, n that of G; ``double occ.`` the error of the double occupancy, all three the largest;
``Im Sigma > 0`` counts problems. The first table has errors one by one, the second over all of them
with the cost of a solve.
"""

from __future__ import annotations

import sys
import time
import warnings

import numpy as np
from rich.console import Console
from rich.table import Table

from dmftnet.errors import DmftnetWarning
from dmftnet.physics.dmft.loop import DMFTLoop
from dmftnet.physics.dmft.starts import starting_problem
from dmftnet.physics.grids.matsubara import ImaginaryAxis
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.impurity.protocol import ImpuritySolution
from dmftnet.physics.lattices.bethe import Bethe
from dmftnet.physics.solvers.krylov.ed import EdSolver
from dmftnet.physics.solvers.perturbative.hubbard1 import Hubbard1Solver
from dmftnet.physics.solvers.perturbative.ipt import IptSolver
from dmftnet.physics.solvers.perturbative.nca import NcaSolver, high_frequency

CASES = [(1.0, 0.0), (2.0, 0.0), (2.2, 0.0), (2.8, 0.0), (4.0, 0.0), (2.0, 0.5), (4.0, 1.0)]
"""U and the distance of eps_d from half filling, in D."""

CHEAP = (Hubbard1Solver(), IptSolver(), NcaSolver())
TIMES, BATCH = 5, 32


def loops(beta: float) -> list[ImpuritySolution]:
    """Answers of `ed` in closed loops, each from the start that its U asks for."""
    axis, lattice, grid = ImaginaryAxis(beta), Bethe(), FrequencyGrid.geometric()
    answers = []
    for U, doping in CASES:
        start = "insulator" if U > 2.5 and doping == 0 else "metal"
        problem = starting_problem(
            grid, lattice, U, -U / 2 + doping, start=start, beta=beta, axis=axis
        )
        answers.append(DMFTLoop(EdSolver(), lattice).run_one(problem).solution)
    return answers


def measured(solution: ImpuritySolution, exact: ImpuritySolution) -> dict[str, float]:
    """One solution against the exact one."""
    problem = solution.problem
    axis, beta = problem.axis, problem.beta
    tau, weights = np.polynomial.legendre.leggauss(400)
    G, reference = (s.greens_tau(0.5 * beta * (tau + 1))[0] for s in (solution, exact))
    ends = solution.greens_tau(np.array([0.0, beta]))[0]
    sigma = solution.matsubara_self_energy(axis)[0]
    start = float(high_frequency(axis.omega_n, sigma[None])[0])
    return {
        "error": 0.5 * float(weights @ np.abs(G - reference)),
        "norm": abs(float(ends.sum()) + 1),
        "moment": abs(start - problem.U * solution.filling / 2),
        "positive": float(sigma.imag.max()),
        "double": abs(solution.double_occupancy - exact.double_occupancy),
    }


def cost(solver, problems: list[ImpurityProblem]) -> tuple[float, float]:
    """Milliseconds of one solve, and of each in a batch; the first, which makes a basis, apart."""
    solver.solve_batch(problems)
    began = time.process_time()
    for _ in range(TIMES):
        for problem in problems:
            solver.solve(problem)
    alone = (time.process_time() - began) / (TIMES * len(problems))
    many = (problems * BATCH)[:BATCH]
    began = time.process_time()
    solver.solve_batch(many)
    return 1e3 * alone, 1e3 * (time.process_time() - began) / BATCH


def main(betas: list[float]) -> None:
    warnings.simplefilter("ignore", DmftnetWarning)
    console = Console(width=110)
    for beta in betas:
        exact = loops(beta)
        problems = [solution.problem for solution in exact]
        each = Table(
            "U", "eps_d + U/2", *(s.name for s in CHEAP), title=f"error of G(tau), beta = {beta:g}"
        )
        table = Table(
            "solver", "median error", "worst", "norm", "moment", "Im Sigma > 0", "double occ.",
            "warned of", "ms", "ms in a batch", title=f"{len(CASES)} problems, beta = {beta:g}",
        )  # fmt: skip
        errors = []
        for solver in CHEAP:
            answers = solver.solve_batch(problems)
            found = [measured(*pair) for pair in zip(answers, exact, strict=True)]
            error, norm, moment, positive, double = (
                np.array([f[key] for f in found])
                for key in ("error", "norm", "moment", "positive", "double")
            )
            errors.append(error)
            warned = sum(bool(answer.diagnostics["warning"]) for answer in answers)
            alone, batched = cost(solver, problems)
            table.add_row(
                solver.name, f"{np.median(error):.1e}", f"{error.max():.1e}", f"{norm.max():.0e}",
                f"{moment.max():.1e}", str(int((positive > 0).sum())), f"{double.max():.1e}",
                str(warned), f"{alone:.2f}", f"{batched:.2f}",
            )  # fmt: skip
        for (U, doping), *row in zip(CASES, *errors, strict=True):
            each.add_row(f"{U:g}", f"{doping:g}", *(f"{value:.1e}" for value in row))
        console.print(each, table)


if __name__ == "__main__":
    main([float(word) for word in sys.argv[1:]] or [20.0, 50.0])
