"""A trained model as an impurity solver: the same contract as every exact one.

`NetworkSolver` loads a checkpoint and answers with `CurveSolution`s, so that the DMFT loop, the
scripts and the tests never know what drives them. Batches go through the network at once.

Accuracy is that of the checkpoint (``model.yaml`` holds its test scores) and only inside the range
of its training data; `diagnostics["extrapolating"]` says where a problem lies outside. For a
reference, or outside that range, use ``ras``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dmftnet.data.labels import network_spectrum
from dmftnet.models.checkpoint import load_model
from dmftnet.models.heads import SpectralModel
from dmftnet.models.scoring import predict_real_axis
from dmftnet.physics.grid import FrequencyGrid
from dmftnet.physics.impurity import ImpurityProblem, ImpuritySolution, require_one_orbital
from dmftnet.physics.solution import CurveSolution


class NetworkSolver:
    """Impurity solver driven by a `SpectralModel`.

    Parameters
    ----------
    checkpoint : path
        Run folder of ``train.py`` with ``model.safetensors`` and ``model.yaml``.

    Attributes
    ----------
    grid : FrequencyGrid
        The network's own grid, the natural working grid of a DMFT loop. Problems on another grid
        are smoothed onto it with the training data's resolution, and the answer is interpolated
        back and normalised.
    """

    name = "network"

    def __init__(self, checkpoint: str | Path):
        model = load_model(checkpoint)
        self._setup(model, Path(checkpoint).name, model.record)

    @classmethod
    def from_model(
        cls, model: SpectralModel, resolution: Sequence[float], label: str = "model in training"
    ) -> NetworkSolver:
        """A solver around a model in memory.

        Parameters
        ----------
        model : SpectralModel
        resolution : (eta, slope), in D
            Gaussian resolution of the model's training data.
        label : str
        """
        solver = cls.__new__(cls)
        solver._setup(model, label, {"resolution": list(resolution)})
        return solver

    def _setup(self, model, label: str, record: dict) -> None:
        self.model = model
        self.label = label
        self.grid: FrequencyGrid = model.frequency_grid
        self.resolution = tuple(record["resolution"])
        self.ranges = record.get("ranges", {})

    def solve(self, problem: ImpurityProblem) -> ImpuritySolution:
        """Solve one problem."""
        return self.solve_batch([problem])[0]

    def solve_batch(self, problems: Sequence[ImpurityProblem]) -> list[ImpuritySolution]:
        """Solve all problems in one pass through the network."""
        if not problems:
            return []
        for problem in problems:
            require_one_orbital(problem, self.name)
        inputs = np.stack([self._to_network(problem) for problem in problems])
        params = np.array([[problem.U, problem.eps_d[0]] for problem in problems])
        curves = predict_real_axis(self.model, inputs, params)  # on the model's own device
        return [self._solution(*pair) for pair in zip(problems, curves, strict=True)]

    def _to_network(self, problem: ImpurityProblem) -> np.ndarray:
        if problem.grid == self.grid:
            return problem.hybridization[0]
        return network_spectrum(problem.grid, self.grid, self.resolution, problem.hybridization[0])

    def _solution(self, problem: ImpurityProblem, curve: np.ndarray) -> CurveSolution:
        if problem.grid != self.grid:
            curve = self.grid.interpolate(curve, problem.grid.omega)
        curve = curve / problem.grid.integrate(curve)
        diagnostics = {"checkpoint": self.label, "extrapolating": self._extrapolates(problem)}
        return CurveSolution(problem, curve[None, :], diagnostics)

    def _extrapolates(self, problem: ImpurityProblem) -> bool:
        values = {"U": problem.U, "shift": abs(problem.eps_d[0] + problem.U / 2)}
        return any(
            not low - 1e-6 <= values[name] <= high + 1e-6
            for name, (low, high) in self.ranges.items()
        )
