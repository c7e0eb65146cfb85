"""Solve a DMFT problem with any solver.

python dmft.py solver=ras lattice=bethe problem.U=2.0 problem.eps_d=-1.0 start=insulator

Writes ``solution.h5`` and ``summary.json`` into Hydra's run folder. Exit status: 0 converged, 1 not
converged (results are written all the same), 2 bad input (nothing is written). A learned solver
beyond its limits prints one line ``warning: ...`` on stderr, also in the summary.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from rich.console import Console
from rich.table import Table

from dmftnet.config import entry_point, instantiate, run, to_plain
from dmftnet.errors import DmftnetWarning
from dmftnet.physics.dmft.files import refuse_to_overwrite, save_solution, summarize
from dmftnet.physics.dmft.loop import DMFTLoop, DMFTResult, Iteration
from dmftnet.physics.dmft.mixing import Mixing
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.protocol import ImpuritySolver
from dmftnet.physics.lattices.protocol import Lattice
from dmftnet.places import CONF
from dmftnet.provenance import provenance

COLUMNS = (("iteration", 9), ("eps_d", 10), ("KL", 10), ("filling", 9), ("A(0)", 9))


class Progress:
    """One line per solve, printed at once, so that a log shows the loop's progress."""

    def __init__(self, console: Console):
        self.console = console
        self.started = False

    def __call__(self, step: Iteration) -> None:
        if not self.started:
            self.started = True
            self.console.print("".join(f"[bold]{name:>{width}}[/]" for name, width in COLUMNS))
        grid, problem = step.problem.grid, step.problem
        values = (
            f"{step.number}",
            f"{problem.eps_d[0]:.5f}",
            f"{step.kl:.2e}",
            f"{step.solution.filling:.5f}",
            f"{grid.at_zero(step.solution.spectrum()[0]):.5f}",
        )
        line = (f"{text:>{width}}" for text, (_, width) in zip(values, COLUMNS, strict=True))
        self.console.print("".join(line), highlight=False)


def solve(cfg, progress: Progress) -> tuple[DMFTResult, dict]:
    """Build everything from the config and run the loop or the filling search."""
    warnings.simplefilter("ignore", DmftnetWarning)  # the summary carries it, once for all loops
    lattice = instantiate(cfg, "lattice", Lattice)
    mixing = instantiate(cfg, "mixing", Mixing)
    make_loop, make_problem, search = (
        instantiate(cfg, key) for key in ("loop", "problem", "filling_search")
    )
    solver = instantiate(cfg, "solver", ImpuritySolver)
    try:
        if solver.notice():
            print(solver.notice(), file=sys.stderr)
        grid = solver.grid or instantiate(cfg, "grid", FrequencyGrid)
        problem = make_problem(grid=grid, lattice=lattice, start=cfg.start)
        loop: DMFTLoop = make_loop(
            solver=solver, lattice=lattice, mixing=mixing, on_iteration=progress
        )
        began = time.perf_counter()
        if problem.filling is None:
            result = loop.run_one(problem)
        else:
            result = search(loop, problem, problem.filling)
    except BaseException:
        solver.close(failed=True)  # a guarded solver keeps what it collected
        raise
    solver.close()
    seconds = time.perf_counter() - began
    return result, summarize(result, solver.name, lattice.name, seconds)


def show(console: Console, summary: dict) -> None:
    """The summary as a table."""
    table = Table(show_header=False)
    for key, value in summary.items():
        table.add_row(key, f"{value:.6g}" if isinstance(value, float) else str(value))
    console.print(table)


@hydra.main(version_base="1.3", config_path=CONF, config_name="dmft")
@entry_point
def main(cfg) -> None:
    folder = Path(HydraConfig.get().runtime.output_dir)
    for name in ("solution.h5", "summary.json"):
        refuse_to_overwrite(folder / name)
    console = Console()
    result, summary = solve(cfg, Progress(console))
    save_solution(folder / "solution.h5", result, summary, provenance(to_plain(cfg)))
    (folder / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    show(console, summary)
    if summary["warning"]:
        print(f"warning: {summary['warning']}", file=sys.stderr)
    if not result.converged:
        print(f"not converged: {result.reason}", file=sys.stderr)
        sys.exit(1)
    console.print(f"converged: {result.reason}", highlight=False)


if __name__ == "__main__":
    run(main)
