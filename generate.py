"""Exact impurity data: sampling -> solver on an executor -> one HDF5 file.

    python generate.py                                   the dataset that ships, data/bethe_small.h5
    python generate.py dataset=bethe solver=ras_fine     the full-size one, data/bethe.h5
    python generate.py executor=dask executor.n_workers=4
    python generate.py dataset=bethe_reference solver=ras_fine   converged loops to compare with
    python generate.py dataset=collected sampling.problems=FILE   what solver=guarded collected

Killed or interrupted, the same command goes on where it stopped; every finished trajectory is on
disk at once. A finished file is never overwritten.
"""

from __future__ import annotations

import time

import hydra
import numpy as np
import yaml
from omegaconf import DictConfig
from rich.console import Console

from dmftnet.config import entry_point, instantiate, to_plain
from dmftnet.data.generation import Plan, generate, open_journal, recipe_hash
from dmftnet.errors import DmftnetError
from dmftnet.progress import progress
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


@hydra.main(config_path="conf", config_name="generate", version_base="1.3")
@entry_point
def main(cfg: DictConfig) -> None:
    plan, solver, lattice, grid = (
        instantiate(cfg[key]) for key in ("sampling", "solver", "lattice", "grid")
    )
    if not isinstance(cfg.dataset.path, str):
        raise DmftnetError(
            f"dataset.path = {cfg.dataset.path}: several files serve training; give one to write"
        )
    journal = open_journal(cfg.dataset.path, plan, grid, file_attributes(cfg, plan))
    console = Console()
    found = len(journal.jobs)
    if found:
        console.print(f"{journal.path}: {found} of {plan.n_jobs} jobs are there already")
    started, solves = time.monotonic(), 0
    try:
        shown = progress("jobs", plan.n_jobs, found, cfg.progress_every, console)
        with instantiate(cfg.executor) as executor, shown as update:
            run = generate(plan, solver, lattice, grid, executor, journal, cfg.max_in_flight)
            for job, columns in run:
                n_solves, remark = plan.describe(columns)
                solves += n_solves
                rate = solves * 3600 / (time.monotonic() - started)
                update(len(journal.jobs), f"{rate:.0f} solves/h")
                if remark:
                    console.print(f"job {job} {remark}")
        journal.finish()
    finally:
        journal.close()
    total = np.array([plan.describe(columns)[0] for columns in journal.jobs.values()]).sum()
    size = journal.path.stat().st_size / 2**20
    console.print(f"{journal.path}: {plan.n_jobs} jobs, {total} solves, {size:.1f} MiB")
    if solves:
        seconds = time.monotonic() - started
        console.print(f"this run: {solves} solves, {solves * 3600 / seconds:.0f} solves/h")


if __name__ == "__main__":
    main()
