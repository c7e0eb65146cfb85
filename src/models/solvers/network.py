"""A trained model as an impurity solver: the same contract as every exact one.

`NetworkSolver` loads a checkpoint and returns `CurveSolution`s, so that loop, scripts and tests
need not know that a network drives them. A batch is one pass through the network.

Its accuracy is that of the checkpoint (test scores in ``model.yaml``), and only near the training
data (`dmftnet.models.solvers.applicability`). The diagnostics of every solution say how near:
``extrapolating`` (U or shift outside the training range), ``distance``, ``spread``, and
``warning``, a line with figures if one of them exceeds its limit, else empty. `solve` also issues
that line as a `DmftnetWarning`, a DMFT loop once at its end. For a reference, or after a warning,
use ``ras``; ``guarded`` does so by itself.

The data's resolution ``eta + slope |w|`` would act again in every iteration of a loop and wash
out the narrow resonance of a metal near the Mott transition; its constant part is removed from each
answer (`dmftnet.physics.analysis.resolution.sharpened`).
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from dmftnet import checks
from dmftnet.data.labels import network_spectrum
from dmftnet.errors import DmftnetError, DmftnetWarning
from dmftnet.models.networks.ensemble import Ensemble, disagreement
from dmftnet.models.networks.spectral_model import SpectralModel
from dmftnet.models.solvers.applicability import Applicability, load_applicability
from dmftnet.models.training.checkpoint import load_ensemble, load_model
from dmftnet.models.training.record import MAX_SHARPENING
from dmftnet.models.training.scoring import answers, predict_members
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.impurity.protocol import ImpuritySolution, Solver
from dmftnet.physics.impurity.solutions import CurveSolution
from dmftnet.places import WEIGHTS

SHARPENING = 3
"""Default number of steps: with fewer, even a perfect network loses the metal next to the Mott
transition (benchmarks/sharpening.py)."""


class NetworkSolver(Solver):
    """Impurity solver driven by a `SpectralModel`.

    Parameters
    ----------
    checkpoint : path, or sequence of paths, optional
        A folder that ``ship.py`` wrote (with limits), or a run folder of ``train.py``; several make
        an ensemble, whose spread has no limit unless given. By default the weights that ship.
    limits : mapping, optional
        ``spread`` and ``distance``, in place of those in the folder.
    sharpening : int, optional
        Steps that remove the constant part of the resolution from the answers; 0: none.
        What ``ship.py`` chose for the folder by default, or `SHARPENING`.

    Attributes
    ----------
    grid : FrequencyGrid
        The network's own grid, the natural working grid of a DMFT loop. Problems on another grid
        are smoothed onto it with the training data's resolution, and the answer is interpolated
        back and normalised.
    applicability : Applicability
    identity : str
        Hash of everything that its answers depend on.
    """

    name = "network"

    def __init__(
        self,
        checkpoint: str | Path | Sequence[str | Path] | None = None,
        limits: Mapping[str, float] | None = None,
        sharpening: int | None = None,
    ):
        checkpoint = WEIGHTS if checkpoint is None else checkpoint
        folders = checks.paths("solver.checkpoint", checkpoint, "a folder or a list of folders")
        if isinstance(checkpoint, str | Path):
            model, applicability = load_model(checkpoint), load_applicability(checkpoint, limits)
            label = Path(checkpoint).name
        else:
            model = load_ensemble(folders)
            applicability = Applicability(model.record.get("ranges") or {}, limits or {})
            label = ", ".join(folder.name for folder in folders)
        if sharpening is None:
            sharpening = model.record.get("sharpening", SHARPENING)
        self._setup(model, label, model.record["resolution"], applicability, sharpening)

    @classmethod
    def from_model(
        cls,
        model: SpectralModel,
        resolution: Sequence[float],
        label: str = "model in training",
        applicability: Applicability | None = None,
        sharpening: int = SHARPENING,
    ) -> NetworkSolver:
        """A solver around a model in memory.

        Parameters
        ----------
        model : SpectralModel
        resolution : (eta, slope), in D
            Gaussian resolution of the model's training data.
        label : str
        applicability : Applicability, optional
            Nothing is checked without.
        sharpening : int
            See the class.
        """
        solver = cls.__new__(cls)
        solver._setup(model, label, resolution, applicability or Applicability(), sharpening)
        return solver

    def _setup(
        self, model, label: str, resolution, applicability: Applicability, sharpening: int
    ) -> None:
        sharpening = checks.integer(
            "solver.sharpening", sharpening, at_least=0, at_most=MAX_SHARPENING
        )
        if "spread" in applicability.limits and not isinstance(model, Ensemble):
            raise DmftnetError(
                f"limits.spread is given, but '{label}' is a single network, which has no spread; "
                "give an ensemble, or limits.distance"
            )
        self.model = model
        self.label = label
        self.grid: FrequencyGrid = model.frequency_grid
        self.resolution = tuple(resolution)
        self.applicability = applicability
        self.sharpening = sharpening

    @property
    def limits(self) -> Mapping[str, float]:
        """Of spread and distance, beyond which answers carry a warning."""
        return self.applicability.limits

    @cached_property
    def identity(self) -> str:
        content = hashlib.sha256(f"{self.resolution} {self.sharpening}".encode())
        content.update(self.grid.omega.tobytes())
        for name, values in sorted(self.model.state_dict().items()):
            content.update(name.encode() + values.cpu().numpy().tobytes())
        return content.hexdigest()

    def solve(self, problem: ImpurityProblem) -> ImpuritySolution:
        """Solve one problem; warns where the answer is beyond the limits."""
        solution = self.solve_batch([problem])[0]
        if solution.diagnostics["warning"]:
            warnings.warn(solution.diagnostics["warning"], DmftnetWarning, stacklevel=2)
        return solution

    def solve_batch(self, problems: Sequence[ImpurityProblem]) -> list[ImpuritySolution]:
        """Solve all problems in one pass through the network; warnings in the diagnostics alone."""
        if not problems:
            return []
        for problem in problems:
            self.require(problem)
        inputs = np.stack([self._to_network(problem) for problem in problems])
        params = np.array([[problem.U, problem.eps_d[0]] for problem in problems])
        members = predict_members(self.model, inputs, params)  # on the model's own device
        curves = answers(members, self.grid, self.resolution[0], self.sharpening)
        none = [None] * len(problems)
        spread = disagreement(self.grid, members).tolist() if len(members) > 1 else none
        nearest = self.applicability.distance
        distance = none if nearest is None else nearest(inputs, params).tolist()
        return [
            self._solution(problem, curve, {"spread": s, "distance": d})
            for problem, curve, s, d in zip(problems, curves, spread, distance, strict=True)
        ]

    def _to_network(self, problem: ImpurityProblem) -> np.ndarray:
        if problem.grid == self.grid:
            return problem.spectrum[0]
        return network_spectrum(problem.grid, self.grid, self.resolution, problem.spectrum[0])

    def _solution(
        self, problem: ImpurityProblem, curve: np.ndarray, scores: dict[str, float | None]
    ) -> CurveSolution:
        if problem.grid != self.grid:
            curve = self.grid.interpolate(curve, problem.grid.omega)
        curve = curve / problem.grid.integrate(curve)
        U, eps_d = problem.U, float(problem.eps_d[0])
        objection = self.applicability.objection(U, eps_d, scores)
        if objection:
            objection = f"network '{self.label}' beyond its limits at {objection}"
        diagnostics = {
            "checkpoint": self.label,
            "extrapolating": self.applicability.extrapolates(U, eps_d),
            **scores,
            "warning": objection,
        }
        return CurveSolution(problem, curve[None, :], diagnostics, self.resolution)
