"""What a learned correction costs, beside the approximations that it corrects and `ras`.

    OMP_NUM_THREADS=1 python benchmarks/correction_cost.py              minutes
    OMP_NUM_THREADS=1 python benchmarks/correction_cost.py outputs/train/x    another folder, too

Problems of the test split of `thermal_continuous`, one at a time, in turn: the approximation, the
correction, `ipt`, `ed` with three levels, and so on, so that whatever else the machine does falls
on all of them; of each the fastest of several rounds, CPU time of this process. ``ras`` is one
solve at default settings, U = 2, half filling. The correction of `ipt` is an ensemble of three
networks like those that ship, prepared but not trained: what it costs does not depend on that.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from dmftnet.data.thermal_datamodule import ThermalDataModule
from dmftnet.errors import DmftnetWarning
from dmftnet.models.correction.ensemble import CorrectionEnsemble
from dmftnet.models.correction.networks import CorrectionNetwork
from dmftnet.models.correction.trust import FeatureDistance, ThermalTrust
from dmftnet.models.shipping.correction import held_out_problems
from dmftnet.models.solvers.correction import CorrectionSolver, built_solver
from dmftnet.physics.dmft.starts import starting_problem
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.lattices.bethe import Bethe
from dmftnet.physics.solvers.krylov.ras import RasSolver

PROBLEMS, ROUNDS = 12, 5
MEMBERS = 3


def untrained(name: str) -> CorrectionSolver:
    """A solver of three networks that correct `name`, with distances as a shipped one."""
    data = ThermalDataModule(inputs=[name])
    train, members = data.arrays("train"), []
    for seed in range(MEMBERS):
        torch.manual_seed(seed)
        members.append(CorrectionNetwork([name], data.size, data.accuracy))
        members[-1].prepare(train)
    model = CorrectionEnsemble(members).eval()
    solver = CorrectionSolver.from_model(model, {name: built_solver(data.solvers[name])}, name)
    solver.trust = ThermalTrust(distance=FeatureDistance.fit(model, train))
    return solver


def milliseconds(call: Callable[[], object]) -> float:
    """CPU time of one call."""
    began = time.process_time()
    call()
    return 1e3 * (time.process_time() - began)


def main(folders: list[str]) -> None:
    warnings.simplefilter("ignore", DmftnetWarning)
    torch.set_num_threads(1)
    solvers = {"correction of ipt, untrained": untrained("ipt"), "correction": CorrectionSolver()}
    solvers |= {folder: CorrectionSolver(folder) for folder in folders}
    alone = {n: s for c in solvers.values() for n, s in c.approximations.items()}
    problems = held_out_problems(ThermalDataModule(inputs=list(alone)), PROBLEMS)
    ras = RasSolver()
    exact = starting_problem(FrequencyGrid.geometric(), Bethe(), U=2.0)
    ras.solve(exact)
    for solver in (*alone.values(), *solvers.values()):
        solver.solve(problems[0])
    found: dict[str, np.ndarray] = {}
    of_ras = np.inf
    for _ in range(ROUNDS):
        of_ras = min(of_ras, milliseconds(lambda: ras.solve(exact)))
        for i, problem in enumerate(problems):
            for name, solver in (alone | solvers).items():
                best = found.setdefault(name, np.full(len(problems), np.inf))
                best[i] = min(best[i], milliseconds(lambda s=solver, p=problem: s.solve(p)))
    table = Table(
        "solver", "ms, mean", "median", "in ras", "in its approximations",
        title=f"{len(problems)} problems, fastest of {ROUNDS}; ras {of_ras:.0f} ms",
    )  # fmt: skip
    for name, best in found.items():
        inputs = solvers[name].approximations if name in solvers else {name: None}
        ratio = best.mean() / sum(found[key].mean() for key in inputs)
        table.add_row(
            name, f"{best.mean():.2f}", f"{np.median(best):.2f}",
            f"{best.mean() / of_ras:.4f}", f"{ratio:.2f}",
        )  # fmt: skip
    Console(width=100).print(table)


if __name__ == "__main__":
    main(sys.argv[1:])
