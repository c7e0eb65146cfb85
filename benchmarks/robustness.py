"""Does rounding decide a loop? The same loop with inputs perturbed by 1e-12, ten times.

    OMP_NUM_THREADS=1 python benchmarks/robustness.py [ras|network|ipt ...]

Close to the end of a branch a loop creeps past the remnant of a solution; phase, double occupancy
and the number of iterations must not depend on noise there. One solve alone answers a perturbation
of any size with changes of A by 1e-6: Lanczos runs without reorthogonalisation. Minutes with `ras`.
"""

from __future__ import annotations

import sys
import warnings

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from dmftnet.errors import DmftnetWarning
from dmftnet.models.solvers.network import NetworkSolver
from dmftnet.physics.analysis.observables import gap
from dmftnet.physics.dmft.loop import DMFTLoop
from dmftnet.physics.dmft.starts import starting_problem
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.lattices.bethe import Bethe
from dmftnet.physics.solvers.krylov.ras import RasSolver
from dmftnet.physics.solvers.perturbative.ipt import IptSolver

NOISE, REPEATS = 1e-12, 10
SOLVERS = {"ras": RasSolver, "network": lambda: NetworkSolver(), "ipt": IptSolver}
CASES = {  # U, eps_d + U/2, start
    "ras": [(3.0, 0.0, "metal"), (3.4, 0.0, "metal")],
    "network": [
        (2.3, 0.0, "insulator"),
        (2.95, 0.0, "metal"),
        (3.0, 0.0, "metal"),
        (3.4, 0.0, "metal"),
        (4.0, 0.8, "metal"),
    ],
    "ipt": [(2.6, 0.0, "insulator"), (3.2, 0.0, "metal"), (4.0, 0.0, "metal")],
}


def perturbed(problem: ImpurityProblem, seed: int) -> ImpurityProblem:
    """The problem with relative noise on its hybridization; a symmetric one stays symmetric."""
    rng = np.random.default_rng(seed)
    noise = NOISE * rng.standard_normal(problem.spectrum.shape)
    if problem.is_particle_hole_symmetric():
        noise = 0.5 * (noise + noise[:, ::-1])
    return problem.replace(spectrum=problem.spectrum * (1 + noise))


def main() -> None:
    warnings.simplefilter("ignore", DmftnetWarning)  # what counts here is that all runs agree
    torch.set_num_threads(1)
    table = Table("solver", "U", "shift", "start", "phases", "spread of double occ.", "iterations")
    lattice = Bethe()
    for name in sys.argv[1:] or SOLVERS:
        solver = SOLVERS[name]()
        grid = solver.grid if solver.grid is not None else FrequencyGrid.geometric()
        for U, shift, start in CASES[name]:
            problem = starting_problem(grid, lattice, U, eps_d=-U / 2 + shift, start=start)
            problems = [problem, *(perturbed(problem, seed) for seed in range(REPEATS))]
            results = DMFTLoop(solver, lattice, max_iterations=150).run(problems)
            gaps = [gap(grid, r.solution.spectrum()[0]) > 0 for r in results]
            phases = {(False, False): "metal", (True, True): "insulator"}
            counts = [r.iterations for r in results]
            d = [r.solution.double_occupancy for r in results]
            table.add_row(
                name, f"{U:g}", f"{shift:g}", start,
                phases.get((min(gaps), max(gaps)), "both"),
                f"{max(d) - min(d):.1e}", f"{min(counts)} to {max(counts)}",
            )  # fmt: skip
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
