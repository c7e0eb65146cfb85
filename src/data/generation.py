"""Run independent jobs on an executor and write their results, one writer, job by job.

A *plan* says what the jobs are: `TrajectoryPlan` makes the training data (each iteration of a DMFT
trajectory is one sample), `dmftnet.data.plans.exact_loops.ReferencePlan` the converged solutions
that the closure callback compares with. `generate` runs any plan on any
`concurrent.futures.Executor`, with a bounded number of jobs in flight, and resumes an
interrupted run.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, wait
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from dmftnet import checks
from dmftnet.data.jobfile import Columns, JobJournal
from dmftnet.errors import DmftnetError
from dmftnet.moved import flat_baths, former, with_targets
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.protocol import ImpuritySolver
from dmftnet.physics.lattices.protocol import Lattice

POLES_EACH = 500
"""Approximate number of poles per solve, to estimate memory."""

NUMBER = "sampling.n_trajectories"
"""Key of the number of jobs, unless a plan says otherwise."""


@runtime_checkable
class Plan(Protocol):
    """What to make.

    Attributes
    ----------
    schema, version
        Of the file.
    n_jobs : int
        Jobs have the ids 0 .. n_jobs - 1.
    attributes : dict, optional
        Of the file.
    frequencies : (n,) float64, optional
        In place of the real-frequency grid's, where curves live on the imaginary axis.
    number : str, optional
        Key of the config that sets the number of jobs.
    """

    schema: str
    version: int
    n_jobs: int

    def run(
        self, job: int, solver: ImpuritySolver, lattice: Lattice, grid: FrequencyGrid
    ) -> Columns:
        """The tables of one job; a function of the arguments alone, called in a worker."""

    def describe(self, columns: Columns) -> tuple[int, str | None]:
        """Number of solves in a finished job, and a remark if something went wrong in it."""


def recipe_hash(config: Mapping[str, Any]) -> str:
    """Hash of everything that the content of a job depends on.

    Not the number of trajectories or models: each is a function of its id, so a dataset can grow.
    Nor limits that decide only whether a solve is tried. Classes enter by name without module, a
    bath's arguments as those of its solver, where they once stood.
    """
    config = with_targets(flat_baths(json.loads(json.dumps(config))), former)
    for number in ("n_trajectories", "n_models", "n_samples"):
        config["sampling"].pop(number, None)
    config.get("solver", {}).pop("max_determinants", None)
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()


def check_size(plan: Plan, grid: FrequencyGrid, max_memory: float) -> None:
    """Raise if the jobs of a plan, all held in memory, would exceed `max_memory`.

    Parameters
    ----------
    max_memory : float, in GiB

    Raises
    ------
    SpaceTooLargeError
    """
    rows = plan.n_jobs * getattr(plan, "n_iterations", 1)
    checks.memory(
        f"a dataset of {checks.shown(plan.n_jobs)} jobs",
        rows * (4.0 * grid.n_w + 12.0 * POLES_EACH),
        checks.number("max_memory", max_memory, above=0),
        "max_memory",
        f"lower {getattr(plan, 'number', NUMBER)}",
    )


def generate(
    plan: Plan,
    solver: ImpuritySolver,
    lattice: Lattice,
    grid: FrequencyGrid,
    executor: Executor,
    journal: JobJournal,
    max_in_flight: int = 64,
) -> Iterator[tuple[int, Columns]]:
    """Run the jobs that the journal does not have yet; yields each after it is on disk.

    The caller ends with ``journal.finish()``. An error in a job that is no `DmftnetError` ends the
    run; all jobs that were finished are kept.
    """
    max_in_flight = checks.integer("max_in_flight", max_in_flight, at_least=1)
    todo = (job for job in range(plan.n_jobs) if job not in journal.jobs)
    running: dict = {}
    try:
        while True:
            while len(running) < max_in_flight and (job := next(todo, None)) is not None:
                running[executor.submit(plan.run, job, solver, lattice, grid)] = job
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                job = running.pop(future)
                journal.add(job, future.result())
                yield job, journal.jobs[job]
    except BrokenExecutor as error:
        raise DmftnetError(
            f"a worker process died ({checks.reason(error)}), perhaps out of memory; "
            "lower executor.n_workers and run the same command again, finished jobs are kept"
        ) from error
    finally:
        for future in running:
            future.cancel()


def open_journal(path: str | Path, plan: Plan, grid: FrequencyGrid, attributes) -> JobJournal:
    """The journal of a plan's file.

    Parameters
    ----------
    attributes : mapping
        ``recipe``, and what else the file records of its origin.
    """
    own: dict[str, Any] = {"schema": plan.schema, "schema_version": plan.version}
    own |= getattr(plan, "attributes", {})
    resolution = getattr(plan, "resolution", None)
    if resolution is not None:
        own["resolution"] = resolution
    frequencies = getattr(plan, "frequencies", grid.omega)
    journal = JobJournal(path, {**attributes, **own}, frequencies)
    surplus = [job for job in journal.jobs if job >= plan.n_jobs]
    if surplus:
        journal.close()
        raise DmftnetError(
            f"{path} already holds job {max(surplus)}, but only {plan.n_jobs} are asked for; raise "
            f"{getattr(plan, 'number', NUMBER)} or choose another dataset.path"
        )
    return journal
