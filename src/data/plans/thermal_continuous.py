"""Continuous hybridizations at finite temperature: DMFT loops, and random spectra; solved exactly.

A job is a trajectory of `TrajectorySampler`, a function of (seed, id) alone, at an inverse
temperature drawn evenly in its logarithm. It is either

* a loop on the imaginary axis, from a metal, an insulator or a random start, some of whose
  iterations are samples, and always its last; or
* one solve with a random spectrum (`dmftnet.data.plans.random_spectra`): bands, a quasiparticle
  resonance, or of no particular lattice.

With a `fit` each hybridization is replaced by its fit of a few bath levels, scaled to its weight,
and that is solved as it is: exact answers of problems that are all but continuous, many more in the
same time. Levels and couplings are rounded to single precision first, so that the file holds the
very problem that was solved.

A loop may be driven by any solver, such as a learned one, after S. Ross, G. Gordon, D. Bagnell,
AISTATS 15 (2011): the samples are then what that solver meets on its way, solved exactly.

Splits are by trajectory and by intervals of U at once: all trajectories with a U (in D) in the same
block share a split, so that neither a trajectory nor a U of the test is ever near the training.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from dmftnet import checks
from dmftnet.data.jobfile import Columns
from dmftnet.data.keys import SPLITS
from dmftnet.data.plans.sampling import MAX_BLOCK, Trajectory, TrajectorySampler, split_of
from dmftnet.data.plans.thermal import (
    ACCURACY,
    Beyond,
    Comparison,
    Failed,
    ModelRecord,
    ThermalPlan,
    ThermalProblem,
    UniversalAxes,
    problem_in_D,
    refuse,
)
from dmftnet.errors import (
    DmftnetError,
    InvalidProblemError,
    SettingError,
    SpaceTooLargeError,
)
from dmftnet.physics.bath.fit import MatsubaraFit
from dmftnet.physics.dmft.iterations import Iteration
from dmftnet.physics.dmft.loop import DMFTLoop
from dmftnet.physics.dmft.mixing import LinearMixing
from dmftnet.physics.grids.matsubara import UNIVERSAL_SIZE
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.matsubara_hybridization import MatsubaraHybridization
from dmftnet.physics.impurity.pole_hybridization import PoleHybridization
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.impurity.protocol import ImpuritySolution, ImpuritySolver, Solver
from dmftnet.physics.impurity.spectral_hybridization import SpectralHybridization
from dmftnet.physics.impurity.units import unit_of
from dmftnet.physics.lattices.protocol import Lattice

SPECTRA = ("random", "quasiparticle", "agnostic")
"""Starts that a single solve may have."""

STREAM = 8
"""Of random numbers, apart from those of splits and of the spectra."""

ONE, ABOUT_ONE = 1e-9, 1e-3
"""Largest deviation of a lattice's D from 1; where levels are fitted, which have it exactly."""


class ThermalContinuousPlan(ThermalPlan):
    """Loops and single solves; one job is one of them.

    Parameters
    ----------
    sampler : TrajectorySampler
        U, level, start and mixing; its own splits are not used.
    approximations : mapping of name to ImpuritySolver
    n_trajectories : int
    loop_fraction : float
        Share of loops among them.
    beta : (low, high)
        In 1/D.
    max_iterations : int
        Of a loop, which ends before where it has converged.
    tolerance : float
        Of that, relative.
    kept : sequence of int
        Iterations, from 0, that become samples; the last does in any case.
    U_block : float, in D
        Width of the intervals of U that share a split.
    block : int
        Of `block` (at least 3) consecutive intervals one is for validation, one for the test.
    only : str, optional
        "train", "val" or "test": every U is moved, within its interval, to the nearest interval of
        this split.
    fit : MatsubaraFit, optional
        Of the levels that replace a hybridization.
    driver : str or ImpuritySolver, optional
        Of the loops: an approximation, by name, or any other solver, a learned one too; None: the
        run's solver.
    seed : int
    size, accuracy : float
        See `UniversalAxes`.
    n_orb : int
        For plans of several orbitals (`dmftnet.data.plans.thermal_kanamori`).
    """

    def __init__(
        self,
        sampler: TrajectorySampler,
        approximations: Mapping[str, ImpuritySolver],
        n_trajectories: int = 785,
        loop_fraction: float = 0.35,
        beta: Sequence[float] = (5.0, 100.0),
        max_iterations: int = 12,
        tolerance: float = 1e-4,
        kept: Sequence[int] = (0, 1, 2, 4, 7),
        U_block: float = 0.2,
        block: int = 5,
        only: str | None = None,
        fit: MatsubaraFit | None = None,
        driver: str | ImpuritySolver | None = None,
        seed: int = 0,
        size: float = UNIVERSAL_SIZE,
        accuracy: float = ACCURACY,
        *,
        n_orb: int = 1,
    ):
        if not isinstance(fit, MatsubaraFit | None):
            raise SettingError(
                f"sampling.fit = {checks.shown(fit)}: give a fit of bath levels, see "
                "conf/bath/fit.yaml, or null"
            )
        if fit is not None and n_orb > 1:
            raise SettingError("sampling.fit: levels replace the bath of one orbital; give null")
        n_level = None if fit is None else fit.sites
        super().__init__(approximations, UniversalAxes(size, accuracy), n_level, n_orb=n_orb)
        if not isinstance(sampler, TrajectorySampler):
            raise SettingError(
                f"sampling.sampler = {checks.shown(sampler)}: give a TrajectorySampler"
            )
        self.fit = fit
        if isinstance(driver, str):
            checks.choice("sampling.driver", driver, tuple(self.approximations))
            driver = self.approximations[driver]
        if not isinstance(driver, ImpuritySolver | None):
            raise SettingError(
                f"sampling.driver = {checks.shown(driver)}: give the name of an approximation, a "
                "solver, see conf/solver, or null"
            )
        self.driver = driver
        identity = getattr(driver, "identity", None)
        if identity is not None:
            self.inputs = identity
        self.sampler = sampler
        self.n_jobs = checks.integer("sampling.n_trajectories", n_trajectories, at_least=1)
        self.loop_fraction = checks.number(
            "sampling.loop_fraction", loop_fraction, at_least=0, at_most=1
        )
        self.beta = checks.numbers("sampling.beta", beta, size=2, above=0)
        if self.beta[0] > self.beta[1]:
            raise SettingError(f"sampling.beta = {list(self.beta)}: give [lowest, highest]")
        self.max_iterations = checks.integer("sampling.max_iterations", max_iterations, at_least=1)
        self.tolerance = checks.number("sampling.tolerance", tolerance, above=0)
        numbers = checks.numbers("sampling.kept", kept, at_least=0)
        self.kept = frozenset(checks.integer("sampling.kept", number) for number in numbers)
        self.U_block = checks.number("sampling.U_block", U_block, above=0)
        self.block = checks.integer("sampling.block", block, at_least=3, at_most=MAX_BLOCK)
        self.only = None if only is None else checks.choice("sampling.only", only, SPLITS)
        self.seed = checks.seed("sampling.seed", seed)

    def drawn(self, id: int) -> tuple[Trajectory, bool, float]:
        """The trajectory with this id, whether it is a loop, and beta in 1/D."""
        trajectory = self.sampler.trajectory(id)
        rng = np.random.default_rng([self.seed, id, STREAM])
        is_loop = bool(rng.random() < self.loop_fraction)
        low, high = self.beta
        beta = float(low * (high / low) ** rng.random())
        start = str(rng.choice(SPECTRA))
        if self.only is not None:
            trajectory = self._moved(trajectory)
        trajectory = replace(trajectory, split=self.split(trajectory.U))
        return (trajectory if is_loop else replace(trajectory, start=start)), is_loop, beta

    def _moved(self, trajectory: Trajectory) -> Trajectory:
        """To the nearest interval of the split that is asked for, ``eps_d + U/2`` kept."""
        own = self.block_of(trajectory.U)
        steps = (sign * step for step in range(2 * self.block) for sign in (1, -1))
        found = next(
            step
            for step in steps
            if own + step >= 0 and self.split((own + step + 0.5) * self.U_block) == self.only
        )
        change = found * self.U_block
        return replace(trajectory, U=trajectory.U + change, eps_d=trajectory.eps_d - 0.5 * change)

    def block_of(self, U: float) -> int:
        """The interval that a U, in D, lies in."""
        return int(U / self.U_block)

    def split(self, U: float) -> str:
        """That of a U, in D."""
        return split_of(self.block_of(U), self.seed, self.block)

    def run(
        self, job: int, solver: ImpuritySolver, lattice: Lattice, grid: FrequencyGrid
    ) -> Columns:
        """Solve one trajectory; see `dmftnet.data.keys` for the columns."""
        trajectory, is_loop, beta = self.drawn(job)
        spectrum = trajectory.starting_hybridization(lattice, grid)
        record = ModelRecord(
            job, "loop" if is_loop else "spectrum", trajectory.split, self.block_of(trajectory.U)
        )
        comparison = Comparison(solver, self.approximations, self.axes)
        exact = _Exact(solver, self.fit)
        try:
            if is_loop:
                spectrum = spectrum * (self._weight_of(lattice, grid) / grid.integrate(spectrum))
                start = self._problem(trajectory, beta, grid, spectrum)[0]
                self._iterate(record, comparison, exact, lattice, trajectory, start)
            else:
                problem, unit = self._problem(trajectory, beta, grid, spectrum)
                record.add(*comparison.row(ThermalProblem(job, 0, unit, exact.given(problem))))
        except (Beyond, Failed) as error:
            record.end(error)
        return self.columns([record])

    def _problem(
        self, trajectory: Trajectory, beta: float, grid: FrequencyGrid, spectrum: np.ndarray
    ) -> tuple[ImpurityProblem, float]:
        """With a spectrum scaled into units of its own D; and that D."""
        unit = unit_of(float(grid.integrate(spectrum)))
        axis = self.axes.at(beta)
        values = SpectralHybridization(grid, spectrum).at(1j * unit * axis.omega_n) / unit
        return self._of(trajectory, beta, MatsubaraHybridization(axis, values)), unit

    def _of(
        self, trajectory: Trajectory, beta: float, bath: MatsubaraHybridization
    ) -> ImpurityProblem:
        return problem_in_D(trajectory.U, trajectory.eps_d, beta, bath)

    def _weight_of(self, lattice: Lattice, grid: FrequencyGrid) -> float:
        """That of the hybridization in all iterations of a loop.

        Raises
        ------
        InvalidProblemError
            If D of the lattice is not the unit of energy.
        """
        weight = float(grid.integrate(lattice.bare_hybridization(grid)))
        if abs(unit_of(weight) - 1) > (ONE if self.fit is None else ABOUT_ONE):
            raise InvalidProblemError(
                f"lattice '{lattice.name}': its hybridization has D = 2 sqrt(weight) = "
                f"{unit_of(weight):.6g}, loops of this dataset need 1; use lattice=bethe"
            )
        return weight

    def _iterate(
        self,
        record: ModelRecord,
        comparison: Comparison,
        exact: _Exact,
        lattice: Lattice,
        trajectory: Trajectory,
        start: ImpurityProblem,
    ) -> None:
        """Close the loop, D = 1, and compare in some of its iterations."""
        driver = exact if self.driver is None else self.driver
        left: list[Iteration] = []

        def compare(iteration: Iteration) -> None:
            known = exact.solved if driver is exact else exact.given(iteration.problem)
            given = ThermalProblem(record.id, iteration.number - 1, 1.0, known, iteration.kl)
            if driver is exact:
                record.add(*comparison.row_of(given, iteration.solution, exact.seconds))
            else:
                record.add(*comparison.row(given))

        def look(iteration: Iteration) -> None:
            left[:] = [iteration]
            if iteration.number - 1 in self.kept:
                left.clear()
                compare(iteration)

        refuse(comparison.exact if driver is exact else driver, start)
        loop = DMFTLoop(
            driver if driver is exact else _Driver(driver),
            lattice,
            mixing=LinearMixing(trajectory.mixing),
            tolerance=self.tolerance,
            max_iterations=self.max_iterations,
            on_iteration=look,
        )
        try:
            loop.run_one(start)
            for iteration in left:
                compare(iteration)
        except (Beyond, Failed, SettingError, SpaceTooLargeError):
            raise
        except (DmftnetError, np.linalg.LinAlgError) as error:
            raise Failed(checks.reason(error)) from error


class _Driver(Solver):
    """A solver of whose answers only the next problem is kept, and nothing that it warns of."""

    def __init__(self, solver: ImpuritySolver):
        self.solver = solver

    @property
    def name(self) -> str:
        return self.solver.name

    def solve(self, problem: ImpurityProblem) -> ImpuritySolution:
        return self.solve_batch([problem])[0]

    def solve_batch(self, problems: Sequence[ImpurityProblem]) -> Sequence[ImpuritySolution]:
        found = self.solver.solve_batch(problems)
        for solution in found:
            solution.diagnostics["warning"] = ""
        return found


class _Exact(Solver):
    """A solver, on the fit of a problem if there is to be one; what it solved, in which time."""

    def __init__(self, solver: ImpuritySolver, fit: MatsubaraFit | None):
        self.solver, self.fit, self.seconds = solver, fit, float("nan")
        self.solved: ImpurityProblem

    @property
    def name(self) -> str:
        return self.solver.name

    def solve(self, problem: ImpurityProblem) -> ImpuritySolution:
        self.solved = self.given(problem)
        started = time.perf_counter()
        solution = self.solver.solve(self.solved)
        self.seconds = time.perf_counter() - started
        return solution

    def given(self, problem: ImpurityProblem) -> ImpurityProblem:
        """The problem that is solved in place of another, levels rising, ``sum V^2 = 1/4``."""
        if self.fit is None:
            return problem
        levels = self.fit.discretise(problem.hybridization).levels
        order = np.argsort(levels.energies)
        energies, couplings = levels.energies[order], np.abs(levels.couplings[order, 0])
        couplings *= 0.5 / np.linalg.norm(couplings)
        energies, couplings = (
            part.astype(np.float32).astype(np.float64) for part in (energies, couplings)
        )
        return problem.moved(PoleHybridization(energies, couplings[:, None]))
