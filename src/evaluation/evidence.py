"""Numbers of a model card: sharpening, limits, scores and cost of the shipped solver.

All are for the solver's answers, after some steps that remove the constant part of the data's
resolution (`dmftnet.physics.analysis.resolution.sharpened`):

* ``score``, against the exact spectrum at the resolution ``slope |w|`` of the answers. It includes
  features finer than the constant part, which no network on this grid could show.
* ``network error``, against the exact spectrum at the data's resolution, sharpened alike: the
  answer of a perfect network. Spread and distance predict this alone, so it calibrates their
  limits.

Each step of sharpening restores finer structure and amplifies the network's errors. Among the
numbers of steps whose loops find the exact phase most often, on the reference loops (`loop_sets`),
the one of lowest validation score is taken.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dmftnet import checks
from dmftnet.data.datamodule import BLOCKS, SpectralDataModule
from dmftnet.data.labels import SpectralArrays
from dmftnet.errors import SettingError
from dmftnet.evaluation.closure import LoopSettings, close_loops
from dmftnet.evaluation.exact_loops import load_references
from dmftnet.models.networks.ensemble import disagreement
from dmftnet.models.networks.spectral_model import SpectralModel
from dmftnet.models.solvers.applicability import TrainingDistance
from dmftnet.models.solvers.network import NetworkSolver
from dmftnet.models.training.record import MAX_SHARPENING
from dmftnet.models.training.scoring import answers, kl_summary, predict_members
from dmftnet.physics.analysis.distances import kl_divergence
from dmftnet.physics.analysis.resolution import sharpened
from dmftnet.physics.impurity.problem import ImpurityProblem

BATCH = 64
LOOP = LoopSettings(max_iterations=150)


@dataclass(frozen=True)
class SharpeningChoice:
    """Steps of sharpening, or how many are tried.

    Parameters
    ----------
    steps : int, optional
        None: chosen by the rule of the module.
    most : int
        Largest number that is tried.

    Raises
    ------
    SettingError
        If one of them is out of its limits.
    """

    steps: int | None = None
    most: int = 6

    def __post_init__(self):
        for name in ("most", "steps"):
            value = getattr(self, name)
            if name == "most" or value is not None:
                limits = {"at_least": 0, "at_most": MAX_SHARPENING}
                checks.integer(f"sharpening.{name}", value, **limits)


@dataclass(frozen=True, eq=False)
class Examination:
    """A solver's answers on one split.

    Parameters
    ----------
    score, network_error : (n,)
        KL divergences, see the module.
    members : (M, n)
        Scores of the members alone.
    indicators : dict of str to (n,)
        ``distance``, and ``spread`` of an ensemble, which predict the error.
    """

    score: np.ndarray
    network_error: np.ndarray
    members: np.ndarray
    indicators: dict[str, np.ndarray]


def examine(
    model: SpectralModel,
    distance: TrainingDistance,
    arrays: SpectralArrays,
    eta: float,
    steps: int,
) -> Examination:
    """Answers on a split after `steps` of sharpening; `eta` is the resolution's constant part.

    Of a network that puts out Sigma at the data's resolution, for which nothing is sharpened.
    """
    members = predict_members(model, arrays.hybridization, arrays.params)
    grid = model.frequency_grid
    exact = np.float64(arrays.bare if model.corrects == "spectrum" else arrays.spectrum)
    indicators = {"distance": distance(arrays.hybridization, arrays.params)}
    if len(members) > 1:
        indicators = {"spread": disagreement(grid, members), **indicators}
    answer = answers(members, grid, eta, steps)
    perfect = sharpened(grid, np.float64(arrays.spectrum), eta, steps)
    return Examination(
        score=kl_divergence(grid, exact, answer),
        network_error=kl_divergence(grid, perfect, answer),
        members=np.stack(
            [kl_divergence(grid, exact, answers(one[None], grid, eta, steps)) for one in members]
        ),
        indicators=indicators,
    )


def choose_sharpening(
    model: SpectralModel,
    arrays: SpectralArrays,
    resolution: Sequence[float],
    references: str | Path,
    choice: SharpeningChoice,
) -> tuple[int, list[dict[str, Any]]]:
    """Steps of sharpening by the rule of the module; none of a network that puts out Sigma.

    Parameters
    ----------
    arrays : SpectralArrays
        The validation split.
    references : path
        Exact loops for the choice.
    choice : SharpeningChoice

    Returns
    -------
    steps : int
    tried : list of dict
        What was tried, if anything: ``steps, score`` (geometric mean), ``right`` and ``loops``,
        ``loop_kl`` (geometric mean).
    """
    if model.corrects == "self_energy":
        if choice.steps:
            raise SettingError(
                f"sharpening.steps = {choice.steps}: the networks put out the self-energy, of "
                "which nothing is sharpened; leave it null"
            )
        return 0, []
    if choice.steps is not None:
        return choice.steps, []
    members = predict_members(model, arrays.hybridization, arrays.params)
    grid, exact = model.frequency_grid, np.float64(arrays.bare)
    known = load_references(references, grid, tuple(resolution), lattices=None)
    tried = []
    for steps in range(choice.most + 1):
        score = kl_divergence(grid, exact, answers(members, grid, resolution[0], steps))
        solver = NetworkSolver.from_model(model, resolution, "candidate", sharpening=steps)
        closures = close_loops(solver, known, LOOP)
        tried.append(
            {
                "steps": steps,
                "score": kl_summary(score)["kl_geometric"],
                "right": sum(c.right_branch for c in closures),
                "loops": len(closures),
                "loop_kl": kl_summary(np.array([c.kl for c in closures]))["kl_geometric"],
            }
        )
    best = min(tried, key=lambda row: (-row["right"], row["score"]))
    return best["steps"], tried


def cost(model: SpectralModel, arrays: SpectralArrays, resolution, steps: int) -> dict[str, float]:
    """Milliseconds of one solve and of one in a batch, fastest of several runs."""
    solver = NetworkSolver.from_model(model, resolution, sharpening=steps)
    own, grid = model.frequency_grid, solver.grid
    problems = [
        ImpurityProblem.on_grid(float(U), float(eps_d), grid, own.interpolate(curve, grid.omega))
        for (U, eps_d), curve in zip(
            arrays.params[:BATCH], np.float64(arrays.hybridization[:BATCH]), strict=True
        )
    ]

    def milliseconds(batch: list[ImpurityProblem], repeats: int) -> float:
        best = np.inf
        for _ in range(repeats):
            began = time.perf_counter()
            solver.solve_batch(batch)
            best = min(best, time.perf_counter() - began)
        return round(1e3 * best / len(batch), 4)

    return {
        "one_ms": milliseconds(problems[:1], 20),
        "batch_ms": milliseconds(problems, 5),
        "batch": len(problems),
        "parameters": sum(p.numel() for p in model.parameters()),
    }


def interpolation(
    twin: SpectralModel, data: SpectralDataModule, distance: TrainingDistance, steps: int
) -> dict[str, Any]:
    """Scores of a twin that was trained without whole intervals of U, inside and outside of them.

    Parameters
    ----------
    twin : SpectralModel
    data : SpectralDataModule
        With the twin's `held_out_U`.
    """
    eta = data.resolution[0]
    found = {
        name: examine(twin, distance, data.arrays(split), eta, steps)
        for name, split in (("inside", BLOCKS), ("outside", "test"))
    }
    scores = {
        name: {"solves": len(own.score), "score": kl_summary(own.score)}
        | {"network error": kl_summary(own.network_error)}
        for name, own in found.items()
    }
    return {"held_out_U": [list(block) for block in data.held_out_U], **scores}
