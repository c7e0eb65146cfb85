"""What the shipped corrections cost, beside the approximations that they correct and `ras`.

    OMP_NUM_THREADS=1 python benchmarks/correction_cost.py              minutes
    OMP_NUM_THREADS=1 python benchmarks/correction_cost.py correction_ipt      this one alone
    OMP_NUM_THREADS=1 python benchmarks/correction_cost.py outputs/train/x     of another folder

One problem at a time, in turn: the approximation, the correction, the next, and so on, so that
whatever else the machine does falls on all of them; of each the median of several rounds, CPU time
of this process. The problems are of two test splits: of `thermal_continuous` those that are not
half-filled by symmetry, where `ipt` searches its reference level, and of `thermal_bethe` those that
are, where it has nothing to search. ``ras`` is one solve at default settings, U = 2, half filling.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable, Sequence

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from dmftnet.data.thermal import ThermalStore
from dmftnet.data.thermal_datamodule import ThermalDataModule
from dmftnet.errors import DmftnetWarning
from dmftnet.models.shipping.correction import held_out_problems
from dmftnet.models.solvers.correction import CorrectionSolver, built_solver
from dmftnet.models.solvers.correction_inputs import solved_within
from dmftnet.physics.dmft.starts import starting_problem
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.lattices.bethe import Bethe
from dmftnet.physics.solvers.krylov.ras import RasSolver

PROBLEMS, ROUNDS = 12, 20
SHIPPED = "correction_ipt", "correction"
BESIDE = ("ed3",)
"""Approximations on file that no shipped correction reads."""

SETS = {"doped": "data/thermal_continuous.h5", "half-filled": "data/thermal_bethe.h5"}


def chosen(inputs: list[str]) -> dict[str, list[ImpurityProblem]]:
    """Of each set so many problems, half-filled by symmetry or not as its name says."""
    found = {}
    for name, path in SETS.items():
        held_out = held_out_problems(ThermalDataModule(path=path, inputs=inputs), 10 * PROBLEMS)
        even = name == "half-filled"
        found[name] = [p for p in held_out if p.is_particle_hole_symmetric() == even][:PROBLEMS]
    return found


def milliseconds(call: Callable[[], object]) -> float:
    """CPU time of one call."""
    began = time.process_time()
    call()
    return 1e3 * (time.process_time() - began)


def main(corrections: Sequence[str]) -> None:
    warnings.simplefilter("ignore", DmftnetWarning)
    torch.set_num_threads(1)
    solvers = {name: CorrectionSolver(name) for name in corrections}
    alone = {n: s for c in solvers.values() for n, s in c.approximations.items()}
    if "correction" in solvers:
        on_file = ThermalStore.open(SETS["doped"]).solvers
        alone |= {name: built_solver(on_file[name]) for name in BESIDE}
    sets = chosen(list(alone))
    ras = RasSolver()
    exact = starting_problem(FrequencyGrid.geometric(), Bethe(), U=2.0)
    ras.solve(exact)
    rounds = {
        (name, kind): np.empty((ROUNDS, len(problems)))
        for kind, problems in sets.items()
        for name in alone | solvers
    }
    rounds_of_ras = np.empty(ROUNDS)
    for k in range(ROUNDS):
        rounds_of_ras[k] = milliseconds(lambda: ras.solve(exact))
        for kind, problems in sets.items():
            for i, problem in enumerate(problems):
                for name, solver in (alone | solvers).items():
                    taken = milliseconds(lambda s=solver, p=problem: s.solve(p))
                    rounds[name, kind][k, i] = taken
    of_ras, found = np.median(rounds_of_ras), {k: np.median(v, axis=0) for k, v in rounds.items()}
    table = Table(
        "solver", "problems", "ms, mean", "median", "in ras", "in its approximations",
        title=f"median of {ROUNDS}; ras {of_ras:.0f} ms",
    )  # fmt: skip
    for (name, kind), each in found.items():
        inputs = solvers[name].approximations if name in solvers else {name: None}
        inputs = inputs.keys() - solved_within(inputs).keys()
        ratio = each.mean() / sum(found[key, kind].mean() for key in inputs)
        table.add_row(
            name, f"{len(each)} {kind}", f"{each.mean():.3g}", f"{np.median(each):.3g}",
            f"{each.mean() / of_ras:.2g}", f"{ratio:.2f}",
        )  # fmt: skip
    Console(width=100).print(table)


if __name__ == "__main__":
    main(sys.argv[1:] or SHIPPED)
