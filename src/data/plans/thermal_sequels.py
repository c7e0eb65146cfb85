"""What is made from a thermal file that exists: more approximations, or a witness of its answers.

`ThermalExtendedPlan` writes all of a file once more, with further approximations beside the old
ones; nothing is solved exactly again. `ThermalWitnessPlan` solves some of its samples by another
solver, quantum Monte Carlo say, and keeps G and Sigma with their error bars.

The content of the source is part of the recipe (`inputs`), so that a file cannot go on from
another source than the one it began with.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np
import yaml

from dmftnet import checks
from dmftnet.data.jobfile import Columns
from dmftnet.data.keys import SPLITS, arrays_of
from dmftnet.data.keys import ThermalModels as Models
from dmftnet.data.keys import ThermalRemarks as Remarks
from dmftnet.data.keys import ThermalSamples as Samples
from dmftnet.data.keys import Witness as Keys
from dmftnet.data.plans.thermal import Comparison, ThermalPlan, UniversalAxes, refuse
from dmftnet.data.plans.thermal_answers import OF_APPROXIMATIONS, density_of
from dmftnet.data.thermal import SOURCE_SOLVERS, WITNESS, WITNESS_VERSION, ThermalStore
from dmftnet.errors import SettingError, StoreError
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.matsubara_hybridization import MatsubaraHybridization
from dmftnet.physics.impurity.protocol import ImpuritySolution, ImpuritySolver
from dmftnet.physics.lattices.protocol import Lattice
from dmftnet.provenance import sha256

STREAM = 9
"""Of random numbers, apart from those of other plans."""


class _Sequel:
    """A plan that reads a thermal file, once in each process."""

    def __init__(self, source: str | Path):
        self.source = checks.path("sampling.source", source, "the path of a thermal file")
        self.inputs = sha256(self.source) if self.source.is_file() else ""
        self.store()  # says what is wrong with it

    def store(self) -> ThermalStore:
        """The source."""
        return _opened(str(self.source), self.inputs)


class ThermalExtendedPlan(ThermalPlan, _Sequel):
    """A thermal file with more approximations; the run's own solver is not used.

    Parameters
    ----------
    source : path
        Of the file, with all that it has.
    approximations : mapping of name to ImpuritySolver
        Those to be added.
    per_job : int
        Models of one job.
    split : {"train", "val", "test"}, optional
        Models of it alone.
    """

    def __init__(
        self,
        source: str | Path,
        approximations: Mapping[str, ImpuritySolver],
        per_job: int = 20,
        split: str | None = None,
    ):
        _Sequel.__init__(self, source)
        store = self.store()
        size, accuracy = (float(store.attributes[f"axis_{key}"]) for key in ("size", "accuracy"))
        super().__init__(approximations, UniversalAxes(size, accuracy), n_orb=store.n_orb)
        known = [name for name in self.approximations if name in store.approximations]
        if known:
            raise SettingError(
                f"sampling.approximations.{known[0]}: {self.source} holds an approximation of this "
                "name; give it another one"
            )
        self.per_job = checks.integer("sampling.per_job", per_job, at_least=1)
        self.ids = store.columns[Models.ID]
        if split is not None:
            place = SPLITS.index(checks.choice("sampling.split", split, SPLITS))
            self.ids = self.ids[store.columns[Models.SPLIT] == place]
        self.n_jobs = -(-self.ids.size // self.per_job)
        names = [*store.approximations, *self.approximations]
        self.attributes = self.attributes | {
            "approximations": names,
            "source": self.source.name,
            SOURCE_SOLVERS: yaml.safe_dump(store.told_solvers),
            **{
                f"source_{key}": store.attributes[key]
                for key in ("command", "provenance")
                if key in store.attributes
            },
        }

    def run(
        self, job: int, solver: ImpuritySolver, lattice: Lattice, grid: FrequencyGrid
    ) -> Columns:
        """Some models of the source with all their samples, and the new approximations."""
        store = self.store()
        own = self.ids[job * self.per_job : (job + 1) * self.per_job]
        columns: Columns = {}
        for keys, owner in (
            (Models, Models.ID),
            (Remarks, Remarks.MODEL),
            (Samples, Samples.MODEL),
        ):
            rows = np.isin(store.columns[owner], own)
            given = [key for key in arrays_of(keys) if key in store.columns]
            columns |= {key: store.columns[key][rows] for key in given}
        comparison = Comparison(solver, self.approximations, self.axes)
        exact, more, remarks = store.self_energy(), [], []
        for sample in map(int, np.flatnonzero(np.isin(store["model"], own))):
            answers, said = comparison.approximated(store.problem(sample), exact[sample])
            more.append(answers)
            remarks += [(store["model"][sample], f"sample {sample}, {text}") for text in said]
        for key in (key for key in OF_APPROXIMATIONS if key in columns):
            new = np.array([answers[key] for answers in more], dtype=key.dtype)
            shape = (len(more), len(self.approximations), *columns[key].shape[2:])
            columns[key] = np.concatenate([columns[key], new.reshape(shape)], axis=1)
        for place, key in enumerate((Remarks.MODEL, Remarks.TEXT)):
            new = np.array([remark[place] for remark in remarks], dtype=key.dtype)
            columns[key] = np.concatenate([columns[key], new])
        return columns


class ThermalWitnessPlan(_Sequel):
    """Some samples of a thermal file solved by the run's solver; one job a sample.

    Parameters
    ----------
    source : path
    n_samples : int
    split : {"train", "val", "test"}, optional
        Of which they are drawn; of all by default.
    seed : int
        Of the draw; a larger number of samples contains a smaller one.
    """

    schema = WITNESS
    version = WITNESS_VERSION
    number = "sampling.n_samples"

    def __init__(
        self, source: str | Path, n_samples: int = 300, split: str | None = None, seed: int = 0
    ):
        super().__init__(source)
        store = self.store()
        if split is not None:
            checks.choice("sampling.split", split, SPLITS)
        rows = np.arange(len(store)) if split is None else store.indices(split)
        self.n_jobs = checks.integer(self.number, n_samples, at_least=1)
        if self.n_jobs > rows.size:
            raise SettingError(
                f"{self.number} = {n_samples}: {self.source} holds {rows.size} such samples"
            )
        rng = np.random.default_rng([checks.seed("sampling.seed", seed), STREAM])
        self.rows = rng.permutation(rows)
        self.frequencies = store.odd
        self.attributes = {"source": self.source.name, "source_sha256": self.inputs}

    def run(
        self, job: int, solver: ImpuritySolver, lattice: Lattice, grid: FrequencyGrid
    ) -> Columns:
        """Solve one sample, its hybridization on the axis."""
        store, sample = self.store(), int(self.rows[job])
        problem, axis = store.problem(sample), store.axis(sample)
        values = problem.hybridization.at(1j * axis.omega_n)
        problem = problem.moved(MatsubaraHybridization(axis, values))
        refuse(solver, problem)
        started = time.perf_counter()
        solution = solver.solve(problem)
        seconds = time.perf_counter() - started
        row = {
            Keys.SAMPLE: sample,
            Keys.GREENS: solution.matsubara_greens(axis).mean(axis=0),
            Keys.SELF_ENERGY: solution.matsubara_self_energy(axis).mean(axis=0),
            Keys.DENSITY: density_of(solution),
            Keys.DOUBLE_OCCUPANCY: solution.double_occupancy,
            Keys.GREENS_ERROR: _error(solution, "greens", axis.omega_n.size),
            Keys.SELF_ENERGY_ERROR: _error(solution, "self_energy", axis.omega_n.size),
            Keys.TAU_ERROR: np.abs(_error(solution, "greens_tau")).max(),
            Keys.DENSITY_ERROR: np.abs(_error(solution, "filling")).max() / (2 * problem.n_orb),
            Keys.DOUBLE_ERROR: np.abs(_error(solution, "double_occupancy")).max(),
            Keys.SECONDS: seconds,
        }
        return {key: np.array([row[key]], dtype=key.dtype) for key in arrays_of(Keys)}

    def describe(self, columns: Columns) -> tuple[int, str | None]:
        """One solve."""
        return 1, None


def _error(solution: ImpuritySolution, name: str, size: int = 1) -> np.ndarray:
    """Standard errors that a solver told in its diagnostics, flat; NaN where it told none."""
    found = solution.diagnostics.get(f"{name}_error")
    return np.full(size, np.nan) if found is None else np.asarray(found).reshape(-1)


@lru_cache(maxsize=2)
def _opened(path: str, content: str) -> ThermalStore:
    """A source, read once in each process: too large to send with each job."""
    store = ThermalStore.open(path)
    if sha256(path) != content:
        raise StoreError(f"file {path} has changed meanwhile; run the command again")
    return store
