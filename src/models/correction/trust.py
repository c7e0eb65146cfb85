"""How near a problem is to what a correction has been trained on.

Three checks, each with a limit: the box of U, beta and the level's distance from half filling,
``|eps_d + U/2|`` for one orbital, of several orbitals J too, of the training samples;
the spread of an ensemble, and the distance to the nearest training sample in the leading principal
components of the features. Limits are calibrated on loops that no training saw (``ship.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from dmftnet import checks
from dmftnet.data.thermal_arrays import ThermalArrays
from dmftnet.errors import SettingError, StoreError
from dmftnet.models.correction.checkpoint import CORRECTIONS, RANGES
from dmftnet.models.correction.ensemble import CorrectionEnsemble
from dmftnet.models.correction.model import CorrectionModel, as_problems
from dmftnet.models.correction.thermal import Problems
from dmftnet.models.training.kind import LIMITS
from dmftnet.physics.solvers.compiled import compiled

N_LEADING = 8
SINGLE = 1e-5
"""Of coordinates: more than single precision and a sum of some squares lose."""


@dataclass(frozen=True, eq=False)
class FeatureDistance:
    """Distance to the nearest training sample.

    Parameters
    ----------
    mean : (F,)
    axes : (k, F)
        Leading principal components of the features, scaled to unit variance.
    points : (n, k)
        Training samples and their mirror images, so that the principal components are even or odd
        and the mirror image of a problem is as near.
    """

    mean: np.ndarray
    axes: np.ndarray
    points: np.ndarray

    def __post_init__(self):
        parts = self.mean, self.axes, self.points
        if not all(part.size and np.isfinite(part).all() for part in parts) or not (
            self.axes.shape == (self.points.shape[1], *self.mean.shape)
        ):
            raise StoreError(
                f"training points of shapes {[part.shape for part in parts]} do not fit together, "
                "or are not finite; run ship.py"
            )
        columns = np.ascontiguousarray(self.points.T, dtype=np.float32)
        object.__setattr__(self, "_columns", columns)

    @classmethod
    def fit(cls, model: CorrectionModel, train: ThermalArrays) -> FeatureDistance:
        """From the training split."""
        parts = [features(model, as_problems(a)) for a in (train, train.particle_hole())]
        rows = np.concatenate(parts)
        mean = rows.mean(axis=0)
        _, values, vectors = np.linalg.svd(rows - mean, full_matrices=False)
        scale = values[:N_LEADING, None] / np.sqrt(len(rows))
        axes = vectors[:N_LEADING] / np.maximum(scale, 1e-9)
        points = (rows - mean) @ axes.T
        return cls(*(np.asarray(a, dtype=np.float32) for a in (mean, axes, points)))

    def __call__(
        self, model: CorrectionModel, problems: Problems, known: torch.Tensor | None = None
    ) -> np.ndarray:
        """(B,) distance, of a problem and of its mirror image the same to rounding.

        ``known`` (B, F), the model's features, where they are at hand.
        """
        first = first_of(model)
        own = first.features(problems) if known is None else known
        scaling = (part.numpy(force=True) for part in (first.offset, first.scale))
        return self.of(*scaling)(own.numpy(force=True))

    def of(self, offset: np.ndarray, scale: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        """The distance for features of a model, (B, F) -> (B,).

        Parameters
        ----------
        offset, scale : (F,) float64
            Of its features.
        """
        leading = self.axes.T / scale[:, None]
        origin = (offset / scale + self.mean) @ self.axes.T

        def distance(features: np.ndarray) -> np.ndarray:
            return nearest(features @ leading - origin, self._columns, self.points)

        return distance

    def arrays(self) -> dict[str, np.ndarray]:
        """What a `FeatureDistance` is rebuilt from."""
        return {"mean": self.mean, "axes": self.axes, "points": self.points}


@compiled
def nearest(places, columns, points):
    """Distance to the nearest of some points, in double precision.

    All points in single precision, in the order of memory, then again those that may be nearest:
    of ten thousand points a tree takes as long, and three times as long where other work has filled
    the processor's cache between two calls.

    Parameters
    ----------
    places : (m, k) float64
    columns : (k, n) float32
        Coordinates of the points.
    points : (n, k) float32 or float64
        The same.

    Returns
    -------
    (m,) float64
    """
    found, squares = np.empty(len(places)), np.empty(len(points), np.float32)
    for row in range(len(places)):
        squares[:] = 0
        largest = 0.0
        for axis in range(len(columns)):
            at = np.float32(places[row, axis])
            largest = max(largest, abs(places[row, axis]))
            for i in range(len(points)):
                away = columns[axis, i] - at
                squares[i] += away * away
        reach = (np.sqrt(np.float64(_least(squares))) + SINGLE * (1 + largest)) ** 2
        best = np.inf
        for i in range(len(points)):
            if not squares[i] > reach:
                square = 0.0
                for axis in range(len(columns)):
                    square += (points[i, axis] - places[row, axis]) ** 2
                best = min(best, square)
        found[row] = np.sqrt(best)
    return found


@compiled
def _least(squares):
    """The least of float32 that are not negative: their bits have the same order as integers.

    Of those a processor compares many at once; of floats, which may be no numbers, one by one.
    """
    bits, found = squares.view(np.int32), np.empty(1, np.int32)
    least = bits[0]
    for i in range(1, bits.size):
        least = min(least, bits[i])
    found[0] = least
    return found.view(np.float32)[0]


def features(model: CorrectionModel | CorrectionEnsemble, problems: Problems) -> np.ndarray:
    """(B, F) features as the (first) model sees them, scaled."""
    first = first_of(model)
    return _scaled(first, first.features(problems))


def first_of(model: CorrectionModel | CorrectionEnsemble) -> CorrectionModel:
    """The model itself, or the first member."""
    return model.members[0] if isinstance(model, CorrectionEnsemble) else model


@torch.no_grad()
def _scaled(model: CorrectionModel, features: torch.Tensor) -> np.ndarray:
    return ((features - model.offset) / model.scale).cpu().numpy()


@dataclass(frozen=True)
class ThermalTrust:
    """The three checks.

    Parameters
    ----------
    ranges : mapping
        ``U``, ``shift``, ``beta`` and ``J`` to (low, high), in D; what is missing is not checked.
    limits : mapping
        ``spread`` and ``distance`` likewise.
    distance : FeatureDistance, optional
    """

    ranges: Mapping[str, Sequence[float]] = field(default_factory=dict)
    limits: Mapping[str, float] = field(default_factory=dict)
    distance: FeatureDistance | None = None

    def __post_init__(self):
        for name, box in checks.mapping("ranges", self.ranges, RANGES).items():
            checks.numbers(f"ranges.{name}", box, size=2)
        for name, limit in checks.mapping("limits", self.limits, LIMITS).items():
            checks.number(f"limits.{name}", limit, at_least=0)
        if "distance" in self.limits and self.distance is None:
            raise SettingError(
                "limits.distance is given, but the checkpoint holds no training points; make one "
                "that does with ship.py"
            )

    def distances(
        self, model, problems: Problems, known: torch.Tensor | None = None
    ) -> list[float | None]:
        """(B,) distances, None where nothing is known of the training data."""
        if self.distance is None:
            return [None] * len(next(iter(problems.values())))
        return self.distance(model, problems, known).tolist()

    def verdict(
        self,
        U: float,
        eps_d: float,
        beta: float,
        scores: Mapping[str, float | None],
        J: float = 0.0,
        half: float | None = None,
    ) -> tuple[bool, str]:
        """Whether the parameters lie outside the box, and one line of what is wrong, or none.

        `half` is the level of half filling, of one orbital ``-U/2``.
        """
        shift = abs(eps_d - (-U / 2 if half is None else half))
        values = {"U": U, "shift": shift, "beta": beta, "J": J}
        outside = [
            f"{name} = {values[name]:.3g} outside {low:.3g} to {high:.3g}"
            for name, (low, high) in self.ranges.items()
            if not low * (1 - 1e-6) - 1e-6 <= values[name] <= high * (1 + 1e-6) + 1e-6
        ]
        beyond = [
            f"{name} {score:.2e} beyond {limit:.2e}"
            for name, limit in self.limits.items()
            if (score := scores[name]) is not None and score > limit
        ]
        if not outside + beyond:
            return False, ""
        where = f"U = {U:.4g}, eps_d = {eps_d:.4g}, beta = {beta:.4g} (in D)"
        return bool(outside), f"{where}: {', '.join(outside + beyond)}"


def load_trust(directory: str | Path, limits: Mapping[str, float] | None = None) -> ThermalTrust:
    """Box, limits and training points of a checkpoint; `limits` replace those on file."""
    return ThermalTrust(
        *CORRECTIONS.trust(directory, limits, lambda _, arrays: FeatureDistance(**arrays))
    )
