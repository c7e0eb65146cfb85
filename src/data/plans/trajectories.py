"""The plan of the training data: DMFT trajectories, each of whose iterations is a sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np

from dmftnet import checks
from dmftnet.arrays import ArrayKey
from dmftnet.data.jobfile import Columns
from dmftnet.data.keys import (
    OFFSETS,
    SPLITS,
    STARTS,
    STATUS,
    Poles,
    Samples,
    Trajectories,
    arrays_of,
)
from dmftnet.data.plans.sampling import Trajectory, TrajectorySampler
from dmftnet.data.store import SCHEMA, VERSION
from dmftnet.errors import DmftnetError, SettingError, SpaceTooLargeError
from dmftnet.physics.analysis.resolution import FiniteResolution, at_resolution
from dmftnet.physics.dmft.iterations import Iteration
from dmftnet.physics.dmft.loop import DMFTLoop
from dmftnet.physics.dmft.mixing import LinearMixing
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.pole_solutions import PoleSolution
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.impurity.protocol import ImpuritySolution, ImpuritySolver
from dmftnet.physics.lattices.protocol import Lattice

NORM_TOLERANCE = 0.02
"""Largest error of the norm of G (poles, and curve on the grid), and of the filling."""


class _Dropped(Exception):
    """Ends a trajectory whose next solve is too inaccurate."""


class TrajectoryPlan:
    """The training data: one job is one DMFT trajectory, one row each of its iterations.

    Parameters
    ----------
    sampler : TrajectorySampler
    n_trajectories, n_iterations : int
    tolerance : float
        A trajectory also ends when the KL of its hybridization stays below this in two iterations.
    resolution : (eta, slope), optional
        Gaussian width ``eta + slope |w|``, in D, of every hybridization that is solved
        (`dmftnet.physics.analysis.resolution`); none by default. That of the labels avoids
        features that no network on its grid could see.
    """

    schema = SCHEMA
    version = VERSION

    def __init__(
        self,
        sampler: TrajectorySampler,
        n_trajectories: int,
        n_iterations: int = 6,
        tolerance: float = 1e-5,
        resolution: Sequence[float] | None = None,
    ):
        n_trajectories = checks.integer("sampling.n_trajectories", n_trajectories)
        n_iterations = checks.integer("sampling.n_iterations", n_iterations)
        if n_trajectories < 1 or n_iterations < 1:
            raise DmftnetError(
                f"sampling: n_trajectories = {n_trajectories} and n_iterations = {n_iterations} "
                "must be at least 1"
            )
        self.sampler = sampler
        if not hasattr(sampler, "trajectory"):
            raise SettingError(
                f"sampling.sampler = {checks.shown(sampler)}: give a TrajectorySampler"
            )
        self.n_jobs, self.n_iterations = n_trajectories, n_iterations
        self.tolerance = checks.number("sampling.tolerance", tolerance, above=0)
        self.resolution = (
            None if resolution is None else checks.resolution("sampling.resolution", resolution)
        )

    def run(
        self, job: int, solver: ImpuritySolver, lattice: Lattice, grid: FrequencyGrid
    ) -> Columns:
        """Iterate one trajectory; see `dmftnet.data.keys` for the columns."""
        trajectory = self.sampler.trajectory(job)
        lattice = self.lattice_of(trajectory, lattice)
        start = trajectory.starting_hybridization(lattice, grid)
        if self.resolution is not None:
            start = at_resolution(grid, start, self.resolution)
            lattice = FiniteResolution(lattice, self.resolution)
        samples: list[dict] = []
        status, message = "finished", ""

        def record(iteration: Iteration) -> None:
            nonlocal status
            status = quality(iteration.problem, iteration.solution)
            if status != "finished":
                raise _Dropped
            samples.append(sample_row(trajectory, len(samples), iteration))

        loop = DMFTLoop(
            solver,
            lattice,
            mixing=LinearMixing(trajectory.mixing),
            tolerance=self.tolerance,
            max_iterations=self.n_iterations,
            on_iteration=record,
        )
        try:
            loop.run_one(ImpurityProblem.on_grid(trajectory.U, trajectory.eps_d, grid, start))
        except _Dropped:
            pass  # the file's status column says so
        except (NoPolesError, SettingError, SpaceTooLargeError):
            raise  # of the solver and not of this trajectory: so would all the others
        except (DmftnetError, np.linalg.LinAlgError) as error:
            status, message = "failed", checks.reason(error)
        return trajectory_columns(trajectory, status, message, samples, grid.n_w)

    def lattice_of(self, trajectory: Trajectory, lattice: Lattice) -> Lattice:
        """The lattice of a trajectory: the run's."""
        return lattice

    def describe(self, columns: Columns) -> tuple[int, str | None]:
        status = STATUS[int(columns[Trajectories.STATUS][0])]
        n_samples = int(columns[Trajectories.N_SAMPLES][0])
        if status == "finished":
            return n_samples, None
        message = str(columns[Trajectories.MESSAGE][0])
        return n_samples, f"ended after {n_samples} samples: {status} {message}".strip()


class NoPolesError(DmftnetError):
    """The solver returns curves, from which no dataset can be made."""


def quality(problem: ImpurityProblem, solution: ImpuritySolution) -> str:
    """The `STATUS` of a solve; "finished" if it is accurate enough for the dataset."""
    if solution.greens is None:
        raise NoPolesError(
            "the chosen solver returns a curve, a dataset stores poles; use solver=ras or ed"
        )
    if not solution.diagnostics.get("sector_verified", True):
        return "sector"
    G = solution.greens[0].G
    curve_norm = float(problem.grid.integrate(solution.spectrum()[0]))
    if not max(abs(G.weights.sum() - 1), abs(curve_norm - 1)) <= NORM_TOLERANCE:
        return "norm"
    if not abs(2 * G.occupied_weight - solution.filling) <= NORM_TOLERANCE:
        return "filling"
    return "finished"


def sample_row(trajectory: Trajectory, number: int, iteration: Iteration) -> dict:
    """One row of each sample column, and the poles."""
    problem, solution = iteration.problem, cast(PoleSolution, iteration.solution)  # see `quality`
    poles = solution.greens[0].compressed()
    return {
        "trajectory": np.int32(trajectory.id),
        "iteration": np.int32(number),
        "U": np.float64(problem.U),
        "eps_d": np.float64(problem.eps_d[0]),
        "filling": np.float64(solution.filling),
        "double_occupancy": np.float64(solution.double_occupancy),
        "start": np.int32(STARTS.index(trajectory.start)),
        "broadening": np.array(solution.broadening, dtype=np.float64),
        "hybridization": problem.spectrum[0].astype(np.float32),
        "n_poles": np.int64(poles.energies.size),
        "poles": poles,
    }


def trajectory_columns(
    trajectory: Trajectory, status: str, message: str, samples: list[dict], n_w: int
) -> Columns:
    """The tables of a trajectory; the types also hold where it gave no sample."""
    columns: Columns = {
        key: _typed(key, [row[key.short] for row in samples], n_w)
        for key in arrays_of(Samples)
        if key not in OFFSETS.values()
    }
    poles = [row["poles"] for row in samples]
    columns[Poles.ENERGIES] = np.concatenate([np.empty(0), *(p.energies for p in poles)])
    columns[Poles.AMPLITUDES] = np.concatenate([np.empty((0, 2)), *(p.amplitudes for p in poles)])
    for key in (Poles.ENERGIES, Poles.AMPLITUDES):
        columns[key] = columns[key].astype(key.dtype)
    row = {
        Trajectories.ID: trajectory.id,
        Trajectories.SPLIT: SPLITS.index(trajectory.split),
        Trajectories.STATUS: STATUS.index(status),
        Trajectories.START: STARTS.index(trajectory.start),
        Trajectories.U: trajectory.U,
        Trajectories.EPS_D: trajectory.eps_d,
        Trajectories.MIXING: trajectory.mixing,
        Trajectories.N_SAMPLES: len(samples),
        Trajectories.MESSAGE: message,
    }
    return columns | {key: _typed(key, [value]) for key, value in row.items()}


def _typed(key: ArrayKey, rows: list, n_w: int = 0) -> np.ndarray:
    """Rows as the array that the key says, also where there is none."""
    return np.array(rows, dtype=key.dtype).reshape(-1, *key.sized({"n_w": n_w})[1:])
