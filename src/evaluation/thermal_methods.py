"""What is compared at finite temperature: each approximation of a file, and trained corrections.

A *method* answers the samples of a file (`dmftnet.data.thermal`): an approximation by the Sigma on
file, a correction by its own. G follows by Dyson's equation in each case, so the error
``(1/beta) integral |G - G_exact| dtau`` is that of Sigma alone.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from dmftnet.data.thermal import ThermalStore
from dmftnet.data.thermal_arrays import ThermalArrays
from dmftnet.errors import DmftnetError, DmftnetWarning, StoreError
from dmftnet.models.correction.answers import CHUNK, answers
from dmftnet.models.correction.checkpoint import load_correction
from dmftnet.models.correction.ensemble import CorrectionEnsemble
from dmftnet.models.correction.model import CorrectionModel, as_problems
from dmftnet.models.correction.thermal import ThermalDyson
from dmftnet.models.solvers.correction import CorrectionSolver, built_solver
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.interaction import Interaction
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.impurity.protocol import ImpuritySolver
from dmftnet.physics.impurity.spectral_hybridization import SpectralHybridization
from dmftnet.physics.lattices.bethe import Bethe
from dmftnet.physics.solvers.krylov.ras import RasSolver

CHEAP = ("hubbard1", "ipt", "nca")
"""Approximations without a bath that is fitted; what the lectures correct."""


@dataclass(frozen=True, eq=False)
class Correction:
    """A trained correction and where it lies.

    Parameters
    ----------
    label : str
        Unique in the report.
    path : Path
    model : CorrectionModel or CorrectionEnsemble
        With its ``record``.
    """

    label: str
    path: Path
    model: CorrectionModel | CorrectionEnsemble

    def describe(self) -> dict:
        """What it is, as plain values."""
        record, members = self.model.record, [self.model]
        if isinstance(self.model, CorrectionEnsemble):
            members = list(self.model.members)
        first = members[0]
        return {
            "class": type(first).__name__,
            "members": len(members),
            "inputs": list(first.inputs),
            "base": None if first.base is None else first.inputs[first.base],
            "parameters": sum(p.numel() for m in members for p in m.parameters()),
            "data": str((record.get("data") or {}).get("file", "")),
            "checkpoint": str(self.path),
        }


@dataclass(frozen=True, eq=False)
class Answers:
    """Sigma, G and the density as a method gives them; NaN where it failed.

    Parameters
    ----------
    greens, sigma : (n, n_iw) complex128, in 1/D and D
    density : (n,) float64
        Of one spin.
    """

    greens: np.ndarray
    sigma: np.ndarray
    density: np.ndarray

    def first(self, n: int) -> Answers:
        """Those of the first n samples."""
        return Answers(self.greens[:n], self.sigma[:n], self.density[:n])


def load_corrections(paths: Sequence[Path]) -> list[Correction]:
    """Trained corrections, named by their folders.

    Raises
    ------
    StoreError
        If one cannot be used.
    """
    names = [path.name for path in paths]
    labels = [
        path.name if names.count(path.name) == 1 else f"{path.parent.name}/{path.name}"
        for path in paths
    ]
    if len(set(labels)) < len(labels):
        labels = [str(path) for path in paths]
    return [
        Correction(label, path, load_correction(path))
        for label, path in zip(labels, paths, strict=True)
    ]


def dyson_of(store: ThermalStore) -> ThermalDyson:
    """Dyson's equation on a file's axis."""
    return ThermalDyson(*(float(store.attributes[f"axis_{key}"]) for key in ("size", "accuracy")))


def exact_answers(store: ThermalStore, rows: np.ndarray) -> Answers:
    """The labels themselves."""
    return Answers(store.greens()[rows], store.self_energy()[rows], store.density()[rows])


def approximation_answers(store: ThermalStore, name: str, rows: np.ndarray) -> Answers:
    """Those of an approximation on file."""
    return Answers(
        store.greens(name)[rows], store.self_energy(name)[rows], store.density(name)[rows]
    )


def correction_answers(store: ThermalStore, correction: Correction, rows: np.ndarray) -> Answers:
    """Those of a correction, from the approximations on file.

    Raises
    ------
    StoreError
        If the file lacks one of its inputs, made it with other settings, or is on another axis.
    """
    model = correction.model
    _require_same(store, correction)
    arrays = ThermalArrays.of(store, model.inputs).take(rows)
    shape = (len(rows), store.odd.size)
    found = Answers(
        np.full(shape, np.nan, complex), np.full(shape, np.nan, complex), np.full(len(rows), np.nan)
    )
    complete = np.flatnonzero(arrays.complete)
    for part in np.split(complete, range(CHUNK, complete.size, CHUNK)):
        if part.size:
            answer = answers(model, as_problems(arrays.take(part)))[1]
            found.greens[part] = answer.greens.detach().numpy()
            found.sigma[part] = answer.sigma.detach().numpy()
            found.density[part] = answer.density.detach().numpy()
    return found


def _require_same(store: ThermalStore, correction: Correction) -> None:
    record, model = correction.model.record, correction.model
    own = (model.measure.size, model.measure.accuracy)
    given = tuple(float(store.attributes[f"axis_{key}"]) for key in ("size", "accuracy"))
    if own != given:
        raise StoreError(
            f"'{correction.path}' was trained on an axis of beta w_max and accuracy {own}, file "
            f"{store.path} has {given}; evaluate on a file of its axis"
        )
    for name in model.inputs:
        if name not in store.approximations:
            raise StoreError(
                f"file {store.path} holds no approximation '{name}', which '{correction.path}' "
                f"reads, but {', '.join(store.approximations)}; evaluate on another file"
            )
        if record["solvers"][name] != store.solvers[name]:
            raise StoreError(
                f"file {store.path} made '{name}' with other settings than the data of "
                f"'{correction.path}'; train on data of these settings"
            )


def errors_of(
    store: ThermalStore, dyson: ThermalDyson, found: Answers, rows: np.ndarray
) -> np.ndarray:
    """(n,) ``(1/beta) integral |G - G_exact| dtau``; NaN where the method failed."""
    return distances(store, dyson, found.greens, store.greens()[rows], rows)


def distances(
    store: ThermalStore, dyson: ThermalDyson, a: np.ndarray, b: np.ndarray, rows: np.ndarray
) -> np.ndarray:
    """(n,) ``(1/beta) integral |G_a - G_b| dtau`` of (n, n_iw) G of these samples."""
    beta = torch.as_tensor(store["beta"][rows].astype(np.float64))
    away = torch.as_tensor(np.ascontiguousarray(a - b))
    return dyson.distance(away, torch.zeros_like(away), beta).numpy()


def all_answers(
    store: ThermalStore, corrections: Sequence[Correction], rows: np.ndarray
) -> dict[str, Answers]:
    """Those of every approximation on file, then of every correction, by label."""
    return {name: approximation_answers(store, name, rows) for name in store.approximations} | {
        c.label: correction_answers(store, c, rows) for c in corrections
    }


def milliseconds(solver: ImpuritySolver, problems: Sequence[ImpurityProblem]) -> float:
    """Median CPU time of a solve, one problem at a time; NaN where all failed.

    The first problem is solved once before: bases are made and functions compiled then.
    """
    seconds = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DmftnetWarning)
        for problem in (problems[0], *problems):
            began = time.process_time()
            try:
                solver.solve(problem)
            except (DmftnetError, np.linalg.LinAlgError):
                continue
            seconds.append(time.process_time() - began)
    return 1e3 * float(np.median(seconds[1:])) if len(seconds) > 1 else float("nan")


def costs(
    store: ThermalStore, corrections: Sequence[Correction], rows: np.ndarray
) -> dict[str, float]:
    """Milliseconds of a solve by every method, its approximations included, in this run."""
    problems = [store.problem(int(row)) for row in rows]
    solvers: Mapping[str, ImpuritySolver] = {
        **{name: built_solver(store.solvers[name]) for name in store.approximations},
        **{c.label: CorrectionSolver(c.path) for c in corrections},
    }
    return {label: milliseconds(solver, problems) for label, solver in solvers.items()}


def ras_milliseconds(n_timed: int) -> float:
    """Of one default solve by `ras` on the semicircle at U = 2, T = 0: the unit of cost."""
    lattice, grid = Bethe(), FrequencyGrid.geometric()
    bath = SpectralHybridization(grid, lattice.bare_hybridization(grid))
    problem = ImpurityProblem(np.array([-1.0]), Interaction(2.0), bath)
    return milliseconds(RasSolver(), [problem] * n_timed)
