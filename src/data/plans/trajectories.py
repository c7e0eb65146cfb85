"""The plan of the training data: DMFT trajectories, each of whose iterations is a sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np

from dmftnet import checks
from dmftnet.data.jobfile import Columns
from dmftnet.data.plans.sampling import SPLITS, STARTS, Trajectory, TrajectorySampler
from dmftnet.data.store import SCHEMA, STATUS, VERSION
from dmftnet.errors import DmftnetError, SettingError, SpaceTooLargeError
from dmftnet.physics.analysis.resolution import FiniteResolution, at_resolution
from dmftnet.physics.dmft.loop import DMFTLoop, Iteration
from dmftnet.physics.dmft.mixing import LinearMixing
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.impurity.protocol import ImpuritySolution, ImpuritySolver
from dmftnet.physics.impurity.solutions import PoleSolution
from dmftnet.physics.lattices.protocol import Lattice

NORM_TOLERANCE = 0.02
"""Largest error of the norm of G (poles, and curve on the grid), and of the filling."""


class _Dropped(Exception):
    """Ends a trajectory whose next solve is not good enough to keep."""


class TrajectoryPlan:
    """The training data: one job is one DMFT trajectory, one row each of its iterations.

    Parameters
    ----------
    sampler : TrajectorySampler
    n_trajectories, n_iterations : int
    tolerance : float
        A trajectory also ends when the KL of its hybridization stays below this in two
        iterations, as more samples would only repeat the last one.
    resolution : (eta, slope), optional
        Gaussian width ``eta + slope |w|``, in D, of every hybridization that is solved
        (`dmftnet.physics.analysis.resolution`); none by default. That of the labels avoids samples
        whose features no network on its grid could see.
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
        """Iterate one trajectory; see `dmftnet.data.store` for the columns."""
        trajectory = self.sampler.trajectory(job)
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
            loop.run_one(ImpurityProblem(trajectory.U, trajectory.eps_d, grid, start))
        except _Dropped:
            pass  # the file's status column says so
        except (NoPolesError, SettingError, SpaceTooLargeError):
            raise  # of the solver and not of this trajectory: so would all the others
        except (DmftnetError, np.linalg.LinAlgError) as error:
            status, message = "failed", checks.reason(error)
        return trajectory_columns(trajectory, status, message, samples, grid.n_w)

    def describe(self, columns: Columns) -> tuple[int, str | None]:
        status = STATUS[int(columns["trajectories/status"][0])]
        n_samples = int(columns["trajectories/n_samples"][0])
        if status == "finished":
            return n_samples, None
        message = str(columns["trajectories/message"][0])
        return n_samples, f"ended after {n_samples} samples: {status} {message}".strip()


class NoPolesError(DmftnetError):
    """The solver gives curves, from which no dataset can be made."""


def quality(problem: ImpurityProblem, solution: ImpuritySolution) -> str:
    """The entry of `STATUS` that a solve deserves; "finished" if it is fit for the dataset."""
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
        "hybridization": problem.hybridization[0].astype(np.float32),
        "n_poles": np.int64(poles.energies.size),
        "poles": poles,
    }


def trajectory_columns(
    trajectory: Trajectory, status: str, message: str, samples: list[dict], n_w: int
) -> Columns:
    """The tables of a trajectory; the types also hold where it gave no sample."""
    i4, i8, f4, f8 = np.int32, np.int64, np.float32, np.float64
    kinds = {
        "trajectory": ((), i4),
        "iteration": ((), i4),
        "U": ((), f8),
        "eps_d": ((), f8),
        "filling": ((), f8),
        "double_occupancy": ((), f8),
        "start": ((), i4),
        "broadening": ((2,), f8),
        "hybridization": ((n_w,), f4),
        "n_poles": ((), i8),
    }
    columns: Columns = {
        f"samples/{name}": np.array([s[name] for s in samples], kind).reshape(-1, *shape)
        for name, (shape, kind) in kinds.items()
    }
    energies = [s["poles"].energies for s in samples]
    amplitudes = [s["poles"].amplitudes for s in samples]
    columns["poles/energies"] = np.concatenate([np.empty(0), *energies]).astype(f4)
    columns["poles/amplitudes"] = np.concatenate([np.empty((0, 2)), *amplitudes]).astype(f4)
    row = {
        "id": (trajectory.id, i4),
        "split": (SPLITS.index(trajectory.split), i4),
        "status": (STATUS.index(status), i4),
        "start": (STARTS.index(trajectory.start), i4),
        "U": (trajectory.U, f8),
        "eps_d": (trajectory.eps_d, f8),
        "mixing": (trajectory.mixing, f8),
        "n_samples": (len(samples), i4),
    }
    for name, (value, kind) in row.items():
        columns[f"trajectories/{name}"] = np.array([value], kind)
    columns["trajectories/message"] = np.array([message])
    return columns
