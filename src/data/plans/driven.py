"""Problems that a cheap solver meets on its own way, each solved exactly.

A DMFT loop feeds a solver's answers back, so that after some iterations a learned solver sees
problems that no exact trajectory passes, and where it was never corrected it may settle: at U = 4 D
an ensemble held on to a metal, at the edge of the Mott gap, that the exact solver's loop leaves.
`DrivenPlan` lets the cheap solver drive the loop and labels its problems by the exact one, after
S. Ross, G. Gordon, D. Bagnell, AISTATS 15 (2011):

    python generate.py dataset=driven solver=ras_fine seed=2
    python generate.py dataset=driven solver=ras_fine sampling.driver.checkpoint=outputs/train/mine
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from dmftnet import checks
from dmftnet.data.jobfile import Columns
from dmftnet.data.plans.sampling import TrajectorySampler
from dmftnet.data.plans.trajectories import (
    NoPolesError,
    TrajectoryPlan,
    quality,
    sample_row,
    trajectory_columns,
)
from dmftnet.errors import DmftnetError, SettingError, SpaceTooLargeError
from dmftnet.physics.analysis.resolution import at_resolution
from dmftnet.physics.dmft.loop import DMFTLoop, Iteration
from dmftnet.physics.dmft.mixing import LinearMixing
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.impurity.protocol import ImpuritySolver
from dmftnet.physics.lattices.protocol import Lattice


class Driver(ImpuritySolver, Protocol):
    """A solver with a grid of its own and a hash of what decides its answers."""

    grid: FrequencyGrid
    identity: str


class DrivenPlan(TrajectoryPlan):
    """Trajectories of a driving solver; of its problems every so many is solved exactly.

    Parameters
    ----------
    driver : Driver
        Like `NetworkSolver`. It decides the problems: its
        identity is part of the file's recipe, and where it was ``weights/`` the file's provenance
        names the commit that holds them.
    every : int
        Of the driver's iterations the exact solver gets this one, twice this one and so on, and the
        last if the loop converged.
    sampler, n_trajectories, n_iterations, tolerance, resolution : see `TrajectoryPlan`
        `n_iterations` counts the exact solves of one trajectory, and `resolution` is that of the
        driver's training data.

    Attributes
    ----------
    inputs : str
        The driver's identity: another network makes another dataset.

    Raises
    ------
    DmftnetError
        If the driver has no grid, or a number is out of range.
    """

    resolution: tuple[float, float]

    def __init__(
        self,
        driver: Driver,
        sampler: TrajectorySampler,
        n_trajectories: int,
        n_iterations: int = 5,
        every: int = 8,
        tolerance: float = 1e-5,
        resolution: Sequence[float] = (0.006, 0.06),
    ):
        resolution = checks.resolution("sampling.resolution", resolution)
        super().__init__(sampler, n_trajectories, n_iterations, tolerance, resolution)
        every = checks.integer("sampling.every", every)
        if every < 1:
            raise DmftnetError(f"sampling.every = {every}: give a number of iterations >= 1")
        if not hasattr(driver, "solve_batch") or getattr(driver, "grid", None) is None:
            name = getattr(driver, "name", driver)
            raise DmftnetError(
                f"sampling.driver: '{name}' has no grid of its own; drive with a network"
            )
        self.driver, self.every = driver, int(every)
        self.inputs = driver.identity

    def run(
        self, job: int, solver: ImpuritySolver, lattice: Lattice, grid: FrequencyGrid
    ) -> Columns:
        """Drive one trajectory, then solve what was chosen; columns as of `TrajectoryPlan`."""
        trajectory = self.sampler.trajectory(job)
        samples: list[dict] = []
        status, message = "finished", ""
        try:
            for number, problem in enumerate(self.problems(job, lattice), start=1):
                curve = problem.grid.interpolate(problem.hybridization[0], grid.omega)
                problem = problem.replace(grid=grid, hybridization=curve)
                solution = solver.solve(problem)
                status = quality(problem, solution)
                if status != "finished":
                    break
                iteration = Iteration(job, number, np.nan, problem, solution)
                samples.append(sample_row(trajectory, len(samples), iteration))
        except (NoPolesError, SettingError, SpaceTooLargeError):
            raise
        except (DmftnetError, np.linalg.LinAlgError) as error:
            status, message = "failed", checks.reason(error)
        return trajectory_columns(trajectory, status, message, samples, grid.n_w)

    def problems(self, job: int, lattice: Lattice) -> list[ImpurityProblem]:
        """What the exact solver gets of one trajectory, on the driver's grid."""
        trajectory, grid = self.sampler.trajectory(job), self.driver.grid
        start = trajectory.starting_hybridization(lattice, grid)
        met: list[ImpurityProblem] = []
        loop = DMFTLoop(
            self.driver,
            lattice,
            mixing=LinearMixing(trajectory.mixing),
            tolerance=self.tolerance,
            max_iterations=self.n_iterations * self.every,
            on_iteration=lambda iteration: met.append(iteration.problem),
        )
        start = at_resolution(grid, start, self.resolution)
        result = loop.run_one(ImpurityProblem(trajectory.U, trajectory.eps_d, grid, start))
        chosen = met[self.every - 1 :: self.every]
        return [*chosen, met[-1]] if result.converged and len(met) % self.every else chosen
