"""Problems from the loops of a cheap solver, solved exactly.

A DMFT loop feeds a solver's answers back, so that a learned solver soon sees problems that no exact
trajectory contains, and may settle where it was never corrected: at U = 4 D, at the edge of the
Mott gap, an ensemble kept a metal that the exact solver's loop leaves. `DrivenPlan` lets the cheap
solver drive the loop and labels its problems by the exact one, after S. Ross, G. Gordon, D.
Bagnell, AISTATS 15 (2011):

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
from dmftnet.physics.dmft.iterations import Iteration
from dmftnet.physics.dmft.loop import DMFTLoop
from dmftnet.physics.dmft.mixing import LinearMixing
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.impurity.protocol import ImpuritySolver
from dmftnet.physics.impurity.spectral_hybridization import SpectralHybridization
from dmftnet.physics.lattices.protocol import Lattice


class Driver(ImpuritySolver, Protocol):
    """A solver with a grid of its own and a hash of what decides its answers."""

    grid: FrequencyGrid
    identity: str


class DrivenPlan(TrajectoryPlan):
    """Trajectories of a driving solver; every n-th of its problems is solved exactly.

    Parameters
    ----------
    driver : Driver
        Like `NetworkSolver`. It determines the problems:
        its identity is part of the file's recipe; of what ships the file's provenance names the
        commit that holds them.
    every : int
        The exact solver gets every such iteration of the driver, and the last if the loop
        converged.
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
        if not isinstance(driver, ImpuritySolver) or driver.grid is None:
            name = driver.name if isinstance(driver, ImpuritySolver) else driver
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
                curve = problem.grid.interpolate(problem.spectrum[0], grid.omega)
                problem = problem.replace(hybridization=SpectralHybridization(grid, curve))
                solution = solver.solve(problem)
                status = quality(problem, solution)
                if status != "finished":
                    break
                iteration = Iteration(job, number, np.nan, (problem,), (solution,))
                samples.append(sample_row(trajectory, len(samples), iteration))
        except (NoPolesError, SettingError, SpaceTooLargeError):
            raise
        except (DmftnetError, np.linalg.LinAlgError) as error:
            status, message = "failed", checks.reason(error)
        return trajectory_columns(trajectory, status, message, samples, grid.n_w)

    def problems(self, job: int, lattice: Lattice) -> list[ImpurityProblem]:
        """The problems of one trajectory for the exact solver, on the driver's grid."""
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
        result = loop.run_one(ImpurityProblem.on_grid(trajectory.U, trajectory.eps_d, grid, start))
        chosen = met[self.every - 1 :: self.every]
        return [*chosen, met[-1]] if result.converged and len(met) % self.every else chosen
