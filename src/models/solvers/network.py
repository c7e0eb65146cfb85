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
from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dmftnet import checks
from dmftnet.data.labels import network_spectrum
from dmftnet.errors import DmftnetError, DmftnetWarning, SettingError
from dmftnet.models.networks.dyson import Dyson
from dmftnet.models.networks.ensemble import Ensemble, disagreement
from dmftnet.models.networks.spectral_model import SpectralModel
from dmftnet.models.solvers.applicability import Applicability, load_applicability
from dmftnet.models.training.checkpoint import load_ensemble, load_model
from dmftnet.models.training.record import MAX_SHARPENING
from dmftnet.models.training.scoring import answers, predict_curves
from dmftnet.physics.analysis.resolution import scaled_to
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.impurity.protocol import ImpuritySolution, Solver
from dmftnet.physics.impurity.solutions import CurveSolution, SelfEnergySolution
from dmftnet.places import WEIGHTS

SHIPPED = ("self_energy",)
"""Folders of `dmftnet.places.WEIGHTS` with other networks than the default."""

LARGEST, TINY = 50.0, 1e-12
"""Of a bath that is all but absent the unit of energy is the levels' over this, or in D."""

REFINED = 3
"""Points of a loop's grid for each of the network's, where A follows from the self-energy."""

SHARPENING = 3
"""Default number of steps: with fewer, even a perfect network loses the metal next to the Mott
transition (benchmarks/sharpening.py)."""


class NetworkSolver(Solver):
    """Impurity solver driven by a `SpectralModel`.

    Parameters
    ----------
    checkpoint : path, or sequence of paths, optional
        A folder that ``ship.py`` wrote (with limits), or a run folder of ``train.py``; several make
        an ensemble, whose spread has no limit unless given. By default the weights that ship;
        also a name of `SHIPPED`.
    limits : mapping, optional
        ``spread`` and ``distance``, in place of those in the folder.
    sharpening : int, optional
        Steps that remove the constant part of the resolution from the answers; 0: none.
        What ``ship.py`` chose for the folder by default, or `SHARPENING`.

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
    ):
        checkpoint = WEIGHTS if checkpoint is None else checkpoint
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
        self.network_grid: FrequencyGrid = model.frequency_grid
        self.grid = working_grid(model)
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
        units = [self._unit(problem) for problem in problems]
        pairs = list(zip(problems, units, strict=True))
        inputs = np.stack([self._to_network(*pair) for pair in pairs])
        params = np.array([[problem.U / D, problem.eps_d[0] / D] for problem, D in pairs])
        curves, spectra = predict_curves(self.model, inputs, params)  # on the model's own device
        none = [None] * len(problems)
        several = len(spectra) > 1
        spread = disagreement(self.network_grid, spectra).tolist() if several else none
        nearest = self.applicability.distance
        distance = none if nearest is None else nearest(inputs, params).tolist()
        diagnostics = [
            self._diagnostics(*own, D, {"spread": s, "distance": d})
            for own, D, s, d in zip(params.tolist(), units, spread, distance, strict=True)
        ]
        if self.model.corrects == "self_energy":
            parts = zip(problems, units, curves.mean(axis=0), diagnostics, strict=True)
            return [self._causal(*part) for part in parts]
        answer = answers(spectra, self.network_grid, self.resolution[0], self.sharpening)
        return [self._drawn(*part) for part in zip(problems, answer, diagnostics, strict=True)]

    def _unit(self, problem: ImpurityProblem) -> float:
        """D of the problem's bath where the network sees problems in units of it, else 1."""
        if self.model.corrects == "spectrum":
            return 1.0
        weight = float(problem.grid.integrate(problem.spectrum[0]))
        least = (problem.U + abs(float(problem.eps_d[0]))) / LARGEST
        return max(2 * weight**0.5, least, TINY)

    def _to_network(self, problem: ImpurityProblem, unit: float) -> np.ndarray:
        """(n_w,) hybridization on the network's grid, in units of `unit`."""
        grid, curve = problem.grid, problem.spectrum[0]
        if self.model.corrects == "self_energy":
            weight = grid.integrate(curve) / unit**2
            grid, fine = self.grid, grid
            curve = scaled_to(grid, fine.interpolate(curve, unit * grid.omega), weight)
        elif grid == self.network_grid:
            return curve
        return network_spectrum(grid, self.network_grid, self.resolution, curve)

    def _drawn(
        self, problem: ImpurityProblem, curve: np.ndarray, diagnostics: dict[str, Any]
    ) -> CurveSolution:
        """The answer of a network that puts out spectra."""
        if problem.grid != self.network_grid:
            curve = self.network_grid.interpolate(curve, problem.grid.omega)
        curve = curve / problem.grid.integrate(curve)
        return CurveSolution(problem, curve[None, :], diagnostics, self.resolution)

    def _causal(
        self,
        problem: ImpurityProblem,
        unit: float,
        shape: np.ndarray,
        diagnostics: dict[str, Any],
    ) -> SelfEnergySolution:
        """That of one that puts out the shape of -Im Sigma, frequencies in units of `unit`."""
        grid, params = problem.grid, np.array([problem.U, problem.eps_d[0]])
        shape = self.network_grid.interpolate(shape, grid.omega / unit)
        known = (torch.from_numpy(a) for a in (shape, np.array(problem.spectrum[0]), params))
        with torch.no_grad():
            found = dyson_on(grid)(*known)
        density = found.self_energy.numpy()
        hartree = problem.U * float(found.density)
        sigma = hartree + grid.greens_function(density)
        return SelfEnergySolution(problem, sigma[None], diagnostics)

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
            "extrapolating": self.applicability.extrapolates(U, eps_d),
            **scores,
            "warning": objection,
        }


def working_grid(model: SpectralModel) -> FrequencyGrid:
    """See `NetworkSolver.grid`."""
    own = model.frequency_grid
    if model.corrects == "spectrum":
        return own
    w_min = float(np.abs(own.omega).min())
    return FrequencyGrid.geometric(w_min / REFINED, float(own.omega[-1]), REFINED * own.n_w)


@lru_cache(maxsize=8)
def dyson_on(grid: FrequencyGrid) -> Dyson:
    """Dyson's equation on a grid, made once."""
    return Dyson(grid)
