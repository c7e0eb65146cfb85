"""Solve a DMFT problem with any solver.

python dmft.py solver=ras lattice=bethe problem.U=2.0 problem.eps_d=-1.0 start=insulator

Writes ``solution.h5`` and ``summary.json`` into Hydra's run folder, and of a loop on the imaginary
axis files of columns (`dmftnet.physics.dmft.text`). Exit status: 0 converged, 1 not converged
(results are written all the same), 2 bad input (nothing is written). What a solver warns of is one
line ``warning: ...`` on stderr, also in the summary.
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

import dmftnet.models.nqs.by_name  # noqa: F401 - ground states that physics does not know
from dmftnet import checks
from dmftnet.config import entry_point, instantiate, run, to_plain
from dmftnet.errors import ConvergenceError, DmftnetError, DmftnetWarning, SettingError
from dmftnet.physics.analysis.minimal_poles import MinimalPoleFit
from dmftnet.physics.dmft.files import refuse_to_overwrite, save_solution
from dmftnet.physics.dmft.fitted import FittedSpectrum, fitted_spectrum, with_fits
from dmftnet.physics.dmft.iterations import DMFTResult, Iteration, SolveFailedError
from dmftnet.physics.dmft.loop import DMFTLoop
from dmftnet.physics.dmft.mixing import Mixing
from dmftnet.physics.dmft.summary import lowest_weight, summarize
from dmftnet.physics.dmft.text import NAMES, TextFiles
from dmftnet.physics.grids.matsubara import ImaginaryAxis
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.hybridization import diagonal
from dmftnet.physics.impurity.matsubara_hybridization import MatsubaraHybridization
from dmftnet.physics.impurity.protocol import IMAGINARY, REAL, ImpuritySolver
from dmftnet.physics.lattices.protocol import Lattice
from dmftnet.places import CONF
from dmftnet.provenance import provenance

REAL_COLUMNS = (("iteration", 9), ("eps_d", 10), ("KL", 10), ("filling", 9), ("A(0)", 9))
IMAGINARY_COLUMNS = (("iteration", 9), ("eps_d", 10), ("change", 10), ("filling", 9), ("Z", 9))


class Progress:
    """One line per solve, printed at once, so that a log shows the loop's progress."""

    def __init__(self, console: Console):
        self.console = console
        self.started = False

    def __call__(self, step: Iteration) -> None:
        problem, solution = step.problem, step.solution
        if isinstance(problem.hybridization, MatsubaraHybridization):
            columns, last = IMAGINARY_COLUMNS, lowest_weight(solution)[0]
        else:
            curve = diagonal(solution.spectrum())[0].real
            columns, last = REAL_COLUMNS, problem.grid.at_zero(curve)
        if not self.started:
            self.started = True
            self.console.print("".join(f"[bold]{name:>{width}}[/]" for name, width in columns))
        values = (
            f"{step.number}",
            f"{problem.eps_d[0]:.5f}",
            f"{step.kl:.2e}",
            f"{solution.filling:.5f}",
            f"{last:.5f}",
        )
        line = (f"{text:>{width}}" for text, (_, width) in zip(values, columns, strict=True))
        self.console.print("".join(line), highlight=False)


def axis_of(cfg, solver: ImpuritySolver) -> ImaginaryAxis | None:
    """Matsubara frequencies of the loop; None for the real axis."""
    wanted, beta = cfg.axis, cfg.problem.beta
    if wanted is None:
        thermal = beta is not None and IMAGINARY in solver.capabilities.at(beta).axes
        wanted = IMAGINARY if thermal else REAL
    checks.choice("axis", wanted, (REAL, IMAGINARY))
    if wanted == REAL:
        return None
    return instantiate(cfg, "matsubara")(beta=cfg.matsubara_beta if beta is None else beta)


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
        axis = axis_of(cfg, solver)
        if cfg.poles and axis is None:
            raise SettingError(
                "poles: a loop on the real axis has its spectrum; set axis=imaginary (or "
                "problem.beta, with solvers at finite temperature), or poles=none"
            )
        common = {
            "grid": grid,
            "lattice": lattice,
            "start": cfg.start,
            "axis": axis,
        }
        sites = [make_problem(**common, site=site) for site in range(lattice.n_sites)]
        loop: DMFTLoop = make_loop(
            solver=solver, lattice=lattice, mixing=mixing, on_iteration=progress
        )
        began = time.perf_counter()
        if sites[0].filling is None:
            result = loop.run_one(sites)
        elif len(sites) == 1:
            result = search(loop, sites[0], sites[0].filling)
        else:
            raise DmftnetError(
                f"problem.filling with {len(sites)} inequivalent sites: the search moves the level "
                "of one; give problem.eps_d"
            )
    except SolveFailedError as error:  # what the loop had reached is kept
        solver.close()
        result = error.result
    except BaseException:
        solver.close(failed=True)  # a guarded solver keeps what it collected
        raise
    else:
        solver.close()
    seconds = time.perf_counter() - began
    summary = summarize(result, solver.name, lattice.name, seconds, lattice.self_consistent)
    return result, summary


def continued(cfg, fit: MinimalPoleFit, result: DMFTResult) -> tuple[list[FittedSpectrum], str]:
    """The fits of all sites, or none and why: they come after the loop, and cannot undo it."""
    grid = instantiate(cfg, "grid", FrequencyGrid)
    try:
        return [fitted_spectrum(fit, solution, grid) for solution in result.solutions], ""
    except ConvergenceError as error:
        return [], f"no fit on the real axis: {error}"


def show(console: Console, summary: dict) -> None:
    """The summary as a table."""
    table = Table(show_header=False)
    for key, value in summary.items():
        table.add_row(key, in_short(value))
    console.print(table)


def in_short(value) -> str:
    """A value as a table shows it: numbers with six digits, in lists too."""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        return "[" + ", ".join(map(in_short, value)) + "]"
    if isinstance(value, dict):
        return ", ".join(f"{key} {in_short(item)}" for key, item in value.items())
    return str(value)


@hydra.main(version_base="1.3", config_path=CONF, config_name="dmft")
@entry_point
def main(cfg) -> None:
    folder = Path(HydraConfig.get().runtime.output_dir)
    text = instantiate(cfg, "text", TextFiles) if cfg.text is not None else None
    poles = instantiate(cfg, "poles", MinimalPoleFit) if cfg.poles else None
    for name in ("solution.h5", "summary.json", *(NAMES if text else ())):
        refuse_to_overwrite(folder / name)
    console = Console()
    result, summary = solve(cfg, Progress(console))
    fits = []
    if poles is not None:
        fits, missing = continued(cfg, poles, result)
        summary = with_fits(summary, fits, missing)
    save_solution(folder / "solution.h5", result, summary, provenance(to_plain(cfg)), fits)
    if text:
        text.write(folder, result)
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
