"""Problems that a learned solver passed to the exact one, collected into a dataset.

`ProblemCollector` appends each such problem with its exact poles to one HDF5 file
(`dmftnet.data.jobfile`: every solve is durable at once, a killed writer damages nothing, one writer
at a time), schema ``dmftnet-collected`` version 2, its arrays those of `dmftnet.data.keys`.

The attribute ``resolution`` is that of the learned solver's data. Row counts of each solve are in
``rows/``; problems on any grid share a file. `CollectedPlan` makes it a dataset for training:
``python generate.py dataset=collected sampling.problems=...``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from dmftnet import checks
from dmftnet.data.jobfile import Columns, JobJournal, read_jobs, split_jobs
from dmftnet.data.keys import JOBS, STATUS, Problems, Trajectories
from dmftnet.data.plans.sampling import MAX_BLOCK, Trajectory, split_of
from dmftnet.data.plans.trajectories import NoPolesError, quality, sample_row, trajectory_columns
from dmftnet.data.store import SCHEMA as SPECTRA
from dmftnet.data.store import VERSION as SPECTRA_VERSION
from dmftnet.data.store import check_file
from dmftnet.errors import DmftnetError, StoreError
from dmftnet.physics.analysis.resolution import at_resolution
from dmftnet.physics.dmft.iterations import Iteration
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.pole_solutions import PoleSolution
from dmftnet.physics.impurity.poles import ResponsePoles
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.impurity.protocol import ImpuritySolution, ImpuritySolver
from dmftnet.physics.impurity.spectral_hybridization import SpectralHybridization
from dmftnet.physics.lattices.protocol import Lattice
from dmftnet.places import command

SCHEMA = "dmftnet-collected"
VERSION = 2
RECIPE = "any problem, each with the poles of an exact solve"
NEAR = 0.05
"""Distance in U and in eps_d, in D, of neighbours that share a split: levels of a filling search
come close together."""
REMEDY = f"collect problems with: {command('dmft')} solver=guarded solver.collect=<file>"


class ProblemCollector:
    """Appends solved problems to a file.

    Parameters
    ----------
    path : path
        Continued if it exists.
    grid : FrequencyGrid
        The learned solver's own.
    resolution : (eta, slope), in D
        Of its training data.

    Raises
    ------
    StoreError
        If another process writes the file, or it holds something else.
    """

    def __init__(self, path: str | Path, grid: FrequencyGrid, resolution: Sequence[float]):
        resolution = [float(part) for part in resolution]
        attributes = {"schema": SCHEMA, "schema_version": VERSION, "resolution": resolution}
        attributes["recipe"] = f"{RECIPE}, left by a network at resolution {resolution}"
        self.grid = grid
        self._journal = JobJournal(path, attributes, omega=np.empty(0))

    def __len__(self) -> int:
        """Number of solves in the file."""
        return len(self._journal.jobs)

    def add(self, problem: ImpurityProblem, solution: ImpuritySolution, reason: str) -> None:
        """Make one solve durable; `reason` says why it was asked for."""
        if solution.greens is None:
            raise NoPolesError("only solvers that know poles can be collected; use ras or ed")
        known = cast(PoleSolution, solution)
        poles = known.greens[0].compressed()
        row = {
            "U": problem.U,
            "eps_d": problem.eps_d[0],
            "filling": solution.filling,
            "double_occupancy": solution.double_occupancy,
            "broadening": known.broadening,
            "sector_verified": np.int32(solution.diagnostics.get("sector_verified", True)),
            "at_resolution": np.int32(problem.grid == self.grid),
            "reason": reason,
        }
        columns: Columns = {f"problems/{name}": np.array([value]) for name, value in row.items()}
        columns["curves/omega"] = problem.grid.omega
        columns["curves/hybridization"] = problem.spectrum[0]
        columns["poles/energies"] = poles.energies
        columns["poles/amplitudes"] = poles.amplitudes
        self._journal.add(max(self._journal.jobs, default=-1) + 1, columns)

    def close(self) -> None:
        """Write everything into the file; without it the solves stay in its ``.part`` folder."""
        self._journal.finish()

    def abandon(self) -> None:
        """After an error: like `close`, but removes a new file without a solve."""
        if len(self):
            self.close()
        else:
            self._journal.abandon()


@dataclass(frozen=True, eq=False)
class CollectedSolve:
    """One solve of a collected file, on its own grid.

    Parameters
    ----------
    problem : ImpurityProblem
    solution : PoleSolution
    resolution : (eta, slope), in D
        Of the learned solver's data.
    at_resolution : bool
        Whether that solver took the curve as it is; else it smoothed it onto its own grid.
    """

    problem: ImpurityProblem
    solution: PoleSolution
    resolution: tuple[float, float]
    at_resolution: bool

    @classmethod
    def of(cls, columns: Columns, resolution: tuple[float, float]) -> CollectedSolve:
        """From the columns of its job, and the file's resolution."""
        row = {n.split("/")[1]: v[0] for n, v in columns.items() if n.startswith("problems/")}
        problem = ImpurityProblem.on_grid(
            float(row["U"]),
            float(row["eps_d"]),
            FrequencyGrid(columns[Problems.OMEGA]),
            columns[Problems.HYBRIDIZATION],
        )
        poles = ResponsePoles(columns[Problems.ENERGIES], columns[Problems.AMPLITUDES])
        solution = _pole_solution(problem, poles, row)
        return cls(problem, solution, resolution, bool(row["at_resolution"]))

    def on(self, grid: FrequencyGrid) -> CollectedSolve:
        """The same impurity on another grid, its hybridization as the learned solver took it."""
        fine, curve = self.problem.grid, self.problem.spectrum[0]
        if not self.at_resolution:
            curve = at_resolution(fine, curve, self.resolution)
        curve = fine.interpolate(curve, grid.omega)
        problem = self.problem.replace(hybridization=SpectralHybridization(grid, curve))
        old = self.solution
        row: dict[str, Any] = {"filling": old.filling, "double_occupancy": old.double_occupancy}
        row |= {"broadening": old.broadening, **old.diagnostics}
        solution = _pole_solution(problem, old.greens[0], row)
        return CollectedSolve(problem, solution, self.resolution, True)


def _pole_solution(problem: ImpurityProblem, poles: ResponsePoles, row) -> PoleSolution:
    eta, slope = map(float, row["broadening"])
    return PoleSolution(
        problem=problem,
        greens=(poles,),
        filling=float(row["filling"]),
        double_occupancy=float(row["double_occupancy"]),
        broadening=(eta, slope),
        diagnostics={"sector_verified": bool(row["sector_verified"])},
    )


def read_collected(path: str | Path) -> list[CollectedSolve]:
    """All solves of a file in the order they came, those of an interrupted writer included."""
    path = Path(path)
    solves: dict[int, CollectedSolve] = {}
    shards = sorted(path.with_name(path.name + ".part").glob("[0-9]*.h5"))
    for file in (*shards, path):  # what a writer moves from the first to the last is seen twice
        if file == path or file.is_file():
            attributes, columns = read_jobs(file, SCHEMA, VERSION, REMEDY)
            if columns[JOBS].size:
                check_file(file, SCHEMA, columns, REMEDY)
            resolution = checks.resolution(f"{file}: resolution", attributes.get("resolution"))
            jobs = split_jobs(columns)
            if not all(len(own[Problems.U]) == 1 for own in jobs.values()):
                raise StoreError(
                    f"file {file} holds another number of problems than of solves; {REMEDY}"
                )
            solves |= {job: CollectedSolve.of(own, resolution) for job, own in jobs.items()}
    if not solves:
        raise StoreError(
            f"file {path} holds no problem yet, the network was trusted in every solve; {REMEDY}"
        )
    return [solves[job] for job in sorted(solves)]


@dataclass(frozen=True, eq=False)
class _Collection:
    """Solves of all files, neighbours together in the order of their first; resolution and hash."""

    groups: list[list[CollectedSolve]]
    resolution: tuple[float, float]
    content: str


@lru_cache(maxsize=1)
def _collection(paths: tuple[str, ...]) -> _Collection:
    solves = [solve for path in paths for solve in read_collected(path)]
    resolutions = {solve.resolution for solve in solves}
    if len(resolutions) > 1:
        raise DmftnetError(
            f"sampling.problems = {list(paths)}: collected at resolutions {sorted(resolutions)}; "
            "give files of one network"
        )
    content = hashlib.sha256()
    for solve in solves:
        key = np.array([solve.problem.U, float(solve.problem.eps_d[0])])
        content.update(key.tobytes() + solve.problem.spectrum.tobytes())
    return _Collection(neighbours(solves), solves[0].resolution, content.hexdigest())


def neighbours(solves: Sequence[CollectedSolve]) -> list[list[CollectedSolve]]:
    """Groups linked by steps of at most `NEAR` in U and eps_d, in the order of their first."""
    levels = np.array([[solve.problem.U, solve.problem.eps_d[0]] for solve in solves])
    pairs = cKDTree(levels).query_pairs(NEAR, p=np.inf, output_type="ndarray")
    n = len(solves)
    links = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    groups: dict[int, list[CollectedSolve]] = {}
    for solve, label in zip(solves, connected_components(links, directed=False)[1], strict=True):
        groups.setdefault(int(label), []).append(solve)
    return list(groups.values())


class CollectedPlan:
    """A dataset of collected problems; a plan for `dmftnet.data.generation.generate`.

    Problems whose U and eps_d are neighbours (`NEAR`), most of them from one DMFT loop or from one
    search for a filling, are one job and fall into one split, like the iterations of a trajectory.

    Parameters
    ----------
    problems : path or sequence of paths
        Files of `ProblemCollector`.
    resolve : bool
        Solve each problem again with the chosen solver; else take the poles as they are.
    block : int
        Of `block` consecutive jobs one is for validation and one for the test; 0 puts all into
        training, for use with a dataset that has its own splits.
    seed : int
        Of the choice.

    Attributes
    ----------
    resolution : (eta, slope), in D
        That the hybridizations have, of the solver's data that left the problems.
    inputs : str
        Hash of the problems, part of the dataset's recipe: a collected file that has grown makes a
        new dataset, not a longer one.
    """

    schema = SPECTRA
    version = SPECTRA_VERSION

    def __init__(
        self,
        problems: str | Path | Sequence[str | Path],
        resolve: bool = False,
        block: int = 8,
        seed: int = 0,
    ):
        block = checks.integer("sampling.block", block, at_least=0, at_most=MAX_BLOCK)
        if block and block < 3:
            raise DmftnetError(
                f"sampling.block = {block}: a block needs at least 3 jobs, one for each of "
                "training, validation and test; 0 puts all into training"
            )
        self.paths = tuple(map(str, checks.paths("sampling.problems", problems)))
        _collection.cache_clear()  # a file may have grown since another plan read it
        found = _collection(self.paths)
        self.n_jobs, self.inputs = len(found.groups), found.content
        self.resolution = found.resolution
        self.resolve, self.block = checks.flag("sampling.resolve", resolve), block
        self.seed = checks.seed("sampling.seed", seed)

    def run(
        self, job: int, solver: ImpuritySolver, lattice: Lattice, grid: FrequencyGrid
    ) -> Columns:
        """Every problem of one group that is fit for the dataset, on the dataset's grid."""
        found = _collection(self.paths)  # read once per worker: too large to send with each job
        if found.content != self.inputs:
            raise StoreError(f"{', '.join(self.paths)} has grown meanwhile; run the command again")
        group = found.groups[job]
        first = group[0].problem
        split = split_of(job, self.seed, self.block) if self.block else "train"
        trajectory = Trajectory(
            job, first.U, float(first.eps_d[0]), "collected", 1.0, split, self.seed
        )
        samples: list[dict] = []
        status = "finished"
        for solve in group:
            moved = solve.on(grid)
            known = cast(ImpuritySolution, moved.solution)
            solution = solver.solve(moved.problem) if self.resolve else known
            verdict = quality(moved.problem, solution)
            if verdict != "finished":
                status = verdict
                continue
            iteration = Iteration(job, len(samples) + 1, np.nan, (moved.problem,), (solution,))
            samples.append(sample_row(trajectory, len(samples), iteration))
        return trajectory_columns(trajectory, status, "", samples, grid.n_w)

    def describe(self, columns: Columns) -> tuple[int, str | None]:
        status = STATUS[int(columns[Trajectories.STATUS][0])]
        n_samples = int(columns[Trajectories.N_SAMPLES][0])
        remark = f"some problems were dropped: {status}" if status != "finished" else None
        return n_samples, remark
