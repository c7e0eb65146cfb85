"""Exact impurity data: sampling -> solver on an executor -> one HDF5 file.

    python generate.py                                   the small dataset, data/bethe_small.h5
    python generate.py dataset=bethe solver=ras_fine     the full-size one, data/bethe.h5
    python generate.py executor=dask executor.n_workers=4
    python generate.py dataset=bethe_reference solver=ras_fine   converged loops to compare with
    python generate.py dataset=collected sampling.problems=FILE   what solver=guarded collected

The same command resumes an interrupted run; every finished trajectory is on disk at once. A
finished file is never overwritten.
"""

from __future__ import annotations

import sys
import time
from contextlib import AbstractContextManager

import hydra
import numpy as np
import yaml
from omegaconf import DictConfig
from rich.console import Console

import dmftnet.models.nqs.by_name  # noqa: F401 - ground states that physics does not know
from dmftnet import checks
from dmftnet.config import entry_point, instantiate, run, to_plain
from dmftnet.data.generation import Plan, check_size, generate, open_journal, recipe_hash
from dmftnet.errors import DmftnetError
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.protocol import ImpuritySolver
from dmftnet.physics.lattices.protocol import Lattice
from dmftnet.places import CONF
from dmftnet.progress import check_every, progress
from dmftnet.provenance import provenance

RECIPE = ("grid", "lattice", "solver", "sampling")
"""Parts of the config that decide the content of a job."""


def file_attributes(cfg: DictConfig, plan: Plan) -> dict:
    """What the file says about its origin."""
    recipe = {key: to_plain(cfg[key]) for key in RECIPE}
    if hasattr(plan, "inputs"):  # the content of files that it reads
        recipe["inputs"] = plan.inputs
    config = {"seed": cfg.seed, "path": cfg.dataset.path, **recipe}
    record = provenance(config)
    return {
        "recipe": recipe_hash(recipe),
        "solver": str(cfg.solver.get("_target_", "")),
        "seed": int(cfg.seed),
        "config": record.pop("config"),
        "command": record.pop("command"),
        "provenance": yaml.safe_dump(record, sort_keys=False),
    }


@hydra.main(version_base="1.3", config_path=CONF, config_name="generate")
@entry_point
def main(cfg: DictConfig) -> None:
    checks.seed("seed", cfg.seed)
    check_every(cfg.progress_every)
    checks.integer("max_in_flight", cfg.max_in_flight, at_least=1)
    kinds = {"sampling": Plan, "solver": ImpuritySolver, "lattice": Lattice, "grid": FrequencyGrid}
    plan, solver, lattice, grid = (instantiate(cfg, key, kind) for key, kind in kinds.items())
    if isinstance(to_plain(cfg.dataset)["path"], list):
        raise DmftnetError(
            f"dataset.path = {cfg.dataset.path}: several files serve training; give one to write"
        )
    checks.path("dataset.path", cfg.dataset.path, "the path of a file to write")
    check_size(plan, grid, cfg.max_memory)
    if solver.notice():
        print(solver.notice(), file=sys.stderr)
    journal = open_journal(cfg.dataset.path, plan, grid, file_attributes(cfg, plan))
    console = Console()
    found = len(journal.jobs)
    if found:
        console.print(f"{journal.path}: {found} of {plan.n_jobs} jobs are there already")
    started, solves = time.monotonic(), 0
    try:
        pool = instantiate(cfg, "executor", AbstractContextManager)
        shown = progress("jobs", plan.n_jobs, found, cfg.progress_every, console)
        with pool as executor, shown as update:
            for job, columns in generate(
                plan, solver, lattice, grid, executor, journal, cfg.max_in_flight
            ):
                n_solves, remark = plan.describe(columns)
                solves += n_solves
                rate = solves * 3600 / (time.monotonic() - started)
                update(len(journal.jobs), f"{rate:.0f} solves/h")
                if remark:
                    console.print(f"job {job} {remark}")
        journal.finish()
    finally:
        journal.abandon()
    total = np.array([plan.describe(columns)[0] for columns in journal.jobs.values()]).sum()
    size = journal.path.stat().st_size / 2**20
    console.print(f"{journal.path}: {plan.n_jobs} jobs, {total} solves, {size:.1f} MiB")
    if solves:
        seconds = time.monotonic() - started
        console.print(f"this run: {solves} solves, {solves * 3600 / seconds:.0f} solves/h")


if __name__ == "__main__":
    run(main)
