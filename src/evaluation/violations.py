"""Exact laws that a Green function may break, counted sample by sample.

* norm: ``G(0) + G(beta) = -1``;
* density: ``-G(beta)`` is the density that the method tells;
* positivity: ``-G(tau) >= 0``;
* convexity: -G(tau) lies nowhere above a chord;
* causality: ``-Im Sigma(i w_n) >= 0`` at every Matsubara frequency of the axis.

Each is broken where it is missed by more than `TOLERANCE`: files keep approximations in half
precision of what they lack, which moves their G and Sigma by up to some 1e-5. Exact labels must
show none; corrections, which are not stored, keep all laws to 1e-6.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dmftnet.data.thermal import ThermalStore
from dmftnet.evaluation.thermal_errors import OneShot
from dmftnet.evaluation.thermal_methods import Answers, exact_answers
from dmftnet.physics.grids.matsubara import ImaginaryAxis

LAWS = ("norm", "density", "positivity", "convexity", "causality")
TOLERANCE = 1e-4
"""Of G(tau), of densities, and of Im Sigma in D."""

N_TIMES = 40
"""On each half of [0, beta], denser towards the ends, where G changes."""


@dataclass(frozen=True, eq=False)
class Violations:
    """By how much each law is missed.

    Parameters
    ----------
    amounts : dict of law to (n,) float64
        NaN where the method failed.
    """

    amounts: dict[str, np.ndarray]

    def counts(self) -> dict[str, int]:
        """Predictions, and those that break each law, or any."""
        found = np.isfinite(self.amounts["norm"])
        broken = {law: self.amounts[law][found] > TOLERANCE for law in LAWS}
        every = np.any(list(broken.values()), axis=0)
        each = {law: int(values.sum()) for law, values in broken.items()}
        return {"predictions": int(found.sum()), **each, "any": int(every.sum())}

    def worst(self) -> dict[str, float]:
        """The largest amount of each law; zero where it holds exactly."""
        found = np.isfinite(self.amounts["norm"])
        return {
            law: float(np.max(self.amounts[law][found], initial=0.0)) for law in LAWS
        }  # fmt: skip


def violations(store: ThermalStore, found: Answers, rows: np.ndarray) -> Violations:
    """How the answers to some samples of a file keep the laws."""
    size, accuracy = (float(store.attributes[f"axis_{key}"]) for key in ("size", "accuracy"))
    axis = ImaginaryAxis.universal(1.0, size, accuracy)
    half = np.geomspace(1e-4, 0.5, N_TIMES)
    x = np.concatenate([[0.0], half, 1 - half[-2::-1], [1.0]])
    answered = np.isfinite(found.greens).all(axis=1)
    greens = found.greens[answered] / store["beta"][rows][answered, None]
    minus = -axis.at_tau(axis.to_coefficients(greens), x)
    share = (x[1:-1] - x[:-2]) / (x[2:] - x[:-2])
    chord = (1 - share) * minus[:, :-2] + share * minus[:, 2:]
    own = {
        "norm": np.abs(minus[:, 0] + minus[:, -1] - 1),
        "density": np.abs(minus[:, -1] - found.density[answered]),
        "positivity": np.maximum(-minus.min(axis=1), 0.0),
        "convexity": np.maximum((minus[:, 1:-1] - chord).max(axis=1), 0.0),
        "causality": np.maximum(found.sigma[answered].imag.max(axis=1), 0.0),
    }
    amounts = {law: np.full(len(rows), np.nan) for law in LAWS}
    for law in LAWS:
        amounts[law][answered] = own[law]
    return Violations(amounts)


def count_violations(results: Sequence[OneShot], most: int) -> dict[str, Violations]:
    """Of every method that all files have, and of the exact labels, on at most so many samples.

    Parameters
    ----------
    results : sequence of OneShot
        All of the first, then as many as are left.
    most : int
    """
    common = set.intersection(*(set(r.answers) for r in results))
    parts: dict[str, list[Violations]] = {}
    for result in results:
        rows, left = result.rows[:most], most
        most -= rows.size
        if not rows.size:
            break
        found = {"exact labels": exact_answers(result.store, rows)} | {
            label: own.first(left) for label, own in result.answers.items() if label in common
        }
        for label, own in found.items():
            parts.setdefault(label, []).append(violations(result.store, own, rows))
    return {label: joined(own) for label, own in parts.items()}


def joined(parts: Sequence[Violations]) -> Violations:
    """Those of several files as one."""
    return Violations({law: np.concatenate([p.amounts[law] for p in parts]) for law in LAWS})
