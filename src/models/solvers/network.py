"""A trained model as an impurity solver: the same contract as every exact one.

`NetworkSolver` loads a checkpoint and returns `CurveSolution`s, so that loop, scripts and tests
need not know that a network drives them. A batch is one pass through the network.

Its accuracy is that of the checkpoint (test scores in ``model.yaml``), and only near the training
data (`dmftnet.models.solvers.applicability`). The diagnostics of every solution say how near:
``extrapolating`` (U or shift outside the training range), ``distance``, ``spread``, and
``warning``, a line with figures if one of them exceeds its limit, else empty. `solve` also issues
that line as a `DmftnetWarning`, a DMFT loop once at its end. For a reference, or after a warning,
use ``ras``; ``guarded`` does so by itself.

A network that puts out the self-energy (`dmftnet.models.networks.self_energy_head`) gives
`SelfEnergySolution`s: A by Dyson's equation with the hybridization as it is given, on its own grid.
It sees every problem in units of its bath (`dmftnet.data.own_units`), so that the lattices' widths
mean nothing to it; its range and limits are in these units, too.
Of one that puts out spectra, the data's resolution ``eta + slope |w|`` would act again in every
iteration of a loop and wash out the narrow resonance of a metal near the Mott transition; its
constant part is removed from each answer (`dmftnet.physics.analysis.resolution.sharpened`).
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import numpy as np

from dmftnet import checks
from dmftnet.errors import DmftnetError, DmftnetWarning, SettingError
from dmftnet.models.networks.ensemble import Ensemble, disagreement
from dmftnet.models.networks.spectral_model import SpectralModel
from dmftnet.models.solvers.applicability import Applicability, load_applicability
from dmftnet.models.solvers.backend import with_backend
from dmftnet.models.solvers.working_grid import View, dyson_on
from dmftnet.models.training.checkpoint import load_ensemble, load_model
from dmftnet.models.training.record import MAX_SHARPENING
from dmftnet.models.training.scoring import answers, predict_curves
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.impurity.protocol import ImpuritySolution, Solver
from dmftnet.physics.impurity.solutions import CurveSolution, SelfEnergySolution
from dmftnet.places import WEIGHTS

SHIPPED = ("self_energy", "spectrum")
"""Folders of `dmftnet.places.WEIGHTS` with networks, named by what they put out; the first is the
default."""

AT_ONCE = 256
"""Problems whose curves on a fine grid are held together."""

SHARPENING = 3
"""Default number of steps: with fewer, even a perfect network loses the metal next to the Mott
transition (benchmarks/sharpening.py)."""


class NetworkSolver(Solver):
    """Impurity solver driven by a `SpectralModel`.

    Parameters
    ----------
    checkpoint : path, or sequence of paths, optional
        A folder that ``ship.py`` wrote (with limits), or a run folder of ``train.py``; several make
        an ensemble, whose spread has no limit unless given. Or a name of `SHIPPED`, by default
        the first.
    limits : mapping, optional
        ``spread`` and ``distance``, in place of those in the folder.
    sharpening : int, optional
        Steps that remove the constant part of the resolution from the answers; 0: none.
        What ``ship.py`` chose for the folder by default, or `SHARPENING`.
    backend : {"auto", "torch", "onnx"}
        What runs the network's body (`dmftnet.models.solvers.backend`); ``auto``: ONNX Runtime
        where it is installed, else torch. The diagnostics name it.

    Attributes
    ----------
    grid : FrequencyGrid
        The natural working grid of a DMFT loop: the network's own, or where it puts out the
        self-energy one with `REFINED` times as many points. Problems on another grid than the
        network's are smoothed onto that with the training data's resolution, and the answer is
        interpolated back.
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
        backend: str = "auto",
    ):
        checkpoint = SHIPPED[0] if checkpoint is None else checkpoint
        if isinstance(checkpoint, str) and checkpoint in SHIPPED and not Path(checkpoint).exists():
            checkpoint = WEIGHTS / checkpoint
        folders = checks.paths("solver.checkpoint", checkpoint, "a folder or a list of folders")
        if isinstance(checkpoint, str | Path):
            model, applicability = load_model(checkpoint), load_applicability(checkpoint, limits)
            label = Path(checkpoint).name
        else:
            model = load_ensemble(folders)
            applicability = Applicability(model.record.get("ranges") or {}, limits or {})
            label = ", ".join(folder.name for folder in folders)
        if sharpening and model.corrects == "self_energy":
            raise SettingError(
                f"solver.sharpening = {checks.shown(sharpening)}: '{label}' puts out the "
                "self-energy, of which nothing is sharpened; leave it null"
            )
        if sharpening is None:
            sharpening = model.record.get("sharpening", SHARPENING)
        self._setup(model, label, model.record["resolution"], applicability, sharpening, backend)

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
        solver._setup(
            model, label, resolution, applicability or Applicability(), sharpening, "torch"
        )
        return solver

    def _setup(
        self,
        model: SpectralModel,
        label: str,
        resolution: Sequence[float],
        applicability: Applicability,
        sharpening: int,
        backend: str,
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
        self._running, self.backend = with_backend(model, backend)
        self.label = label
        self.network_grid: FrequencyGrid = model.frequency_grid
        self.view = View(model, resolution)
        self.grid = self.view.grid
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
        content.update(self.network_grid.omega.tobytes())
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
        view = self.view
        units = [view.unit(problem) for problem in problems]
        pairs = list(zip(problems, units, strict=True))
        inputs = np.stack([view.hybridization(*pair) for pair in pairs])
        params = np.array([[problem.U / D, problem.eps_d[0] / D] for problem, D in pairs])
        several = isinstance(self.model, Ensemble)
        of_spectra = self.model.corrects == "spectrum"
        curves, spectra = predict_curves(self._running, inputs, params, several or of_spectra)
        none = [None] * len(problems)
        spread = disagreement(self.network_grid, spectra).tolist() if several else none
        nearest = self.applicability.distance
        distance = none if nearest is None else nearest(inputs, params).tolist()
        diagnostics = [
            self._diagnostics(*own, D, {"spread": s, "distance": d})
            for own, D, s, d in zip(params.tolist(), units, spread, distance, strict=True)
        ]
        if of_spectra:
            drawn = answers(spectra, self.network_grid, self.resolution[0], self.sharpening)
            return [self._drawn(*part) for part in zip(problems, drawn, diagnostics, strict=True)]
        found: list[ImpuritySolution] = []
        parts = list(zip(problems, units, curves.mean(axis=0), diagnostics, strict=True))
        for _, group in groupby(parts, key=lambda part: part[0].grid):
            found += [one for some in _batches(group) for one in self._causal(some)]
        return found

    def _drawn(
        self, problem: ImpurityProblem, curve: np.ndarray, diagnostics: dict[str, Any]
    ) -> CurveSolution:
        """The answer of a network that puts out spectra."""
        if problem.grid != self.network_grid:
            curve = self.view.answer(curve, problem.grid)
        curve = curve / problem.grid.integrate(curve)
        return CurveSolution(problem, curve[None, :], diagnostics, self.resolution)

    def _causal(self, parts) -> list[SelfEnergySolution]:
        """Those of one that puts out the shape of -Im Sigma, problems of one grid."""
        problems, units, shapes, diagnostics = zip(*parts, strict=True)
        grid = problems[0].grid
        known = zip(shapes, units, strict=True)
        curves = np.stack([self.view.answer(shape, grid, D) for shape, D in known])
        baths = np.stack([problem.spectrum[0] for problem in problems])
        levels = np.array([[problem.U, problem.eps_d[0]] for problem in problems])
        A, sigma, _ = dyson_on(grid)(curves, baths, *levels.T)
        each = zip(problems, sigma[:, None], diagnostics, A[:, None], strict=True)
        return [SelfEnergySolution(*part) for part in each]

    def _diagnostics(
        self, U: float, eps_d: float, unit: float, scores: dict[str, float | None]
    ) -> dict[str, Any]:
        """Of a problem whose parameters are in units of `unit`."""
        objection = self.applicability.objection(U, eps_d, scores)
        if objection:
            objection = f"network '{self.label}' beyond its limits at {objection}"
            if abs(unit - 1) > 1e-3:
                objection += f" (in units of the bath's own D = {unit:.4g})"
        return {
            "checkpoint": self.label,
            "backend": self.backend,
            "extrapolating": self.applicability.extrapolates(U, eps_d),
            **scores,
            "warning": objection,
        }


def _batches(parts: Iterator) -> Iterator[list]:
    """Lists of at most `AT_ONCE`."""
    while some := list(islice(parts, AT_ONCE)):
        yield some
