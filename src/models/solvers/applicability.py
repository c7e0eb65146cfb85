"""Where a trained network may be trusted: parameter box, distance to its data, ensemble spread.

Three checks of one problem, from crude to fine:

* *box*: U and ``|eps_d + U/2|`` inside the range of the training data;
* *distance* to the nearest training problem, mirror images included, in the coordinates
  ``2 sqrt(-Im Delta/pi)`` (so that two hybridizations are compared by their Hellinger distance),
  ``U/2`` and ``2 (eps_d + U/2)``, all in D. The curve enters by its first principal components and
  the length of what these leave out, so that a shape of a kind never seen is far from everything;
* *spread* of an ensemble (`dmftnet.models.networks.ensemble`).

The limits of the last two come from validation solves, whose true errors are known
(`dmftnet.models.solvers.limits`). Corrections at finite temperature have checks of their own
(`dmftnet.models.correction.trust`), and limits by the same rule.

The model card and the report's section "calibration" show how well distance and spread rank the
true errors. Cost: one tree search per problem; at most `MAX_POINTS` x 19 numbers besides the
weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial import cKDTree

from dmftnet import checks
from dmftnet.errors import DmftnetError, StoreError
from dmftnet.models.training.checkpoint import NETWORKS
from dmftnet.models.training.kind import LIMITS
from dmftnet.physics.grids.real_axis import FrequencyGrid

MAX_POINTS = 10_000
"""Training problems kept for the distance, chosen at random if there are more."""

N_COMPONENTS = 16
U_SCALE, SHIFT_SCALE = 0.5, 2.0  # weights of U and eps_d + U/2 against the curve's distance


class TrainingDistance:
    """Distance of a problem to the nearest of a set of training problems.

    Parameters
    ----------
    grid : FrequencyGrid
        The network's.
    mean : (n_w,), components : (k, n_w)
        Of the training curves ``2 sqrt(h w)``, w the quadrature weights; orthonormal rows.
    points : (n, k + 3)
        Coordinates of the training problems.
    """

    def __init__(
        self, grid: FrequencyGrid, mean: np.ndarray, components: np.ndarray, points: np.ndarray
    ):
        self.grid = grid
        self.mean, self.components, self.points = (
            np.asarray(array, dtype=np.float32) for array in (mean, components, points)
        )
        k = len(self.components)
        expected = {"mean": (grid.n_w,), "components": (k, grid.n_w), "points": ("n", k + 3)}
        for name, shape in expected.items():
            array = getattr(self, name)
            found = ("n", *array.shape[1:]) if "n" in shape else array.shape
            if found != shape or not array.size or not np.isfinite(array).all():
                raise StoreError(
                    f"training points: {name} has shape {array.shape}, finite numbers of shape "
                    f"{shape} are needed; run ship.py"
                )
        self._tree = cKDTree(self.points)

    @classmethod
    def fit(
        cls,
        grid: FrequencyGrid,
        hybridization: np.ndarray,
        params: np.ndarray,
        max_points: int = MAX_POINTS,
    ) -> TrainingDistance:
        """Coordinates from the training split.

        Parameters
        ----------
        hybridization : (n, n_w), in D
        params : (n, 2)
            U and eps_d, in D.
        """
        n = len(params)
        if n > max_points:
            kept = np.sort(np.random.default_rng(0).permutation(n)[:max_points])
            hybridization, params = hybridization[kept], params[kept]
        curves = _curves(grid, hybridization)
        curves = np.concatenate([curves, curves[:, ::-1]])  # components of definite parity
        mean = curves.mean(axis=0)
        _, _, components = np.linalg.svd(curves - mean, full_matrices=False)
        empty = np.zeros((1, min(N_COMPONENTS, len(components)) + 3))
        own = cls(grid, mean, components[:N_COMPONENTS], empty)
        return cls(grid, own.mean, own.components, own.coordinates(hybridization, params))

    def coordinates(self, hybridization: np.ndarray, params: np.ndarray) -> np.ndarray:
        """(n, n_w), (n, 2) -> (n, k + 3): components, length of the rest, U and shift scaled."""
        curves = _curves(self.grid, hybridization) - self.mean
        inside = curves @ self.components.T
        rest = np.sqrt(np.maximum((curves**2).sum(axis=1) - (inside**2).sum(axis=1), 0.0))
        U, eps_d = np.asarray(params, dtype=np.float64).T
        return np.column_stack([inside, rest, U_SCALE * U, SHIFT_SCALE * (eps_d + U / 2)])

    def __call__(self, hybridization: np.ndarray, params: np.ndarray) -> np.ndarray:
        """(n, n_w), (n, 2) -> (n,) float64 distance, the same for a problem and its mirror."""
        U, eps_d = np.asarray(params, dtype=np.float64).T
        mirrored = np.stack([U, -U - eps_d], axis=1)
        curves = np.concatenate([hybridization, hybridization[:, ::-1]])
        both = self._tree.query(self.coordinates(curves, np.concatenate([params, mirrored])))[0]
        return both.reshape(2, -1).min(axis=0)

    def arrays(self) -> dict[str, np.ndarray]:
        """What `TrainingDistance` is rebuilt from."""
        return {"mean": self.mean, "components": self.components, "points": self.points}


def _curves(grid: FrequencyGrid, hybridization: np.ndarray) -> np.ndarray:
    """(n, n_w) hybridizations -> (n, n_w) of Euclidean length ``2 sqrt(integral h)``."""
    weighted = np.asarray(hybridization, dtype=np.float64) * grid.weights
    return 2.0 * np.sqrt(np.maximum(weighted, 0.0))


@dataclass(frozen=True)
class Applicability:
    """The three checks of one solver.

    Parameters
    ----------
    ranges : mapping
        ``U`` and ``shift`` (that is ``|eps_d + U/2|``) to (low, high), in D; empty: no box.
    limits : mapping
        ``distance`` and ``spread`` to their limits; what is missing is not checked.
    distance : TrainingDistance, optional
    """

    ranges: Mapping[str, Sequence[float]] = field(default_factory=dict)
    limits: Mapping[str, float] = field(default_factory=dict)
    distance: TrainingDistance | None = None

    def __post_init__(self):
        unknown = set(checks.section("limits", self.limits)) - {*LIMITS}
        if unknown:
            raise DmftnetError(
                f"limits: '{sorted(unknown)[0]}' is unknown; give spread, distance or both"
            )
        for name, limit in self.limits.items():
            checks.number(f"limits.{name}", limit)
        if "distance" in self.limits and self.distance is None:
            raise DmftnetError(
                "limits.distance is given, but the checkpoint holds no training points; make one "
                "that does with ship.py"
            )

    def extrapolates(self, U: float, eps_d: float) -> bool:
        """Whether a problem's parameters lie outside the box."""
        values = {"U": U, "shift": abs(eps_d + U / 2)}
        return any(
            not low - 1e-6 <= values[name] <= high + 1e-6
            for name, (low, high) in self.ranges.items()
        )

    def objection(self, U: float, eps_d: float, scores: Mapping[str, float | None]) -> str:
        """One line with figures that says why not to trust an answer; empty if nothing is wrong.

        Parameters
        ----------
        scores : mapping
            ``spread`` and ``distance``, None where there is none.
        """
        found = []
        if self.extrapolates(U, eps_d):
            boxes = ", ".join(f"{name} {low:g} to {high:g}" for name, (low, high) in self._boxes())
            found.append(f"parameters outside the training data's ({boxes})")
        for name, limit in self.limits.items():
            value = scores[name]
            if value is not None and value > limit:
                found.append(f"{name} {value:.2e} beyond {limit:.2e}")
        return f"U = {U:g}, eps_d = {eps_d:g}: {', '.join(found)}" if found else ""

    def _boxes(self):
        names = {"U": "U", "shift": "|eps_d + U/2|"}
        return [(names[name], box) for name, box in self.ranges.items()]


def load_applicability(
    directory: str | Path, limits: Mapping[str, float] | None = None
) -> Applicability:
    """The box, limits and training points of a checkpoint; `limits` replace those on file."""

    def points(record: Mapping[str, Any], arrays: dict[str, np.ndarray]) -> TrainingDistance:
        return TrainingDistance(FrequencyGrid.geometric(**record["grid"]), **arrays)

    return Applicability(*NETWORKS.trust(directory, limits, points))
