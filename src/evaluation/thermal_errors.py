"""Errors of single solves at finite temperature, over all samples and by temperature."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from dmftnet.data.thermal import ThermalStore
from dmftnet.errors import StoreError
from dmftnet.evaluation.thermal_methods import (
    CHEAP,
    Answers,
    Correction,
    all_answers,
    dyson_of,
    errors_of,
)
from dmftnet.models.correction.scoring import error_summary

SPLIT = "test"
"""The only one that is evaluated."""


@dataclass(frozen=True, eq=False)
class OneShot:
    """Errors of every method on the test samples of a file.

    Parameters
    ----------
    store : ThermalStore
    rows : (n,) int
        The samples.
    answers : dict of label to Answers
    errors : dict of label to (n,) float64
        NaN where a method failed.
    """

    store: ThermalStore
    rows: np.ndarray
    answers: Mapping[str, Answers]
    errors: Mapping[str, np.ndarray]

    @property
    def beta_drawn(self) -> np.ndarray:
        """(n,) inverse temperature in the unit in which the sample was drawn, 1/eV or 1/D."""
        beta, unit = (self.store[name][self.rows] for name in ("beta", "unit"))
        return np.round(beta / unit, 6)

    def summary(self) -> dict[str, dict[str, float | int]]:
        """By label: median, 90 %, worst, geometric mean; samples that failed."""
        return {label: summary_of(values) for label, values in self.errors.items()}

    def by_interval(self, edges: Sequence[float]) -> list[dict]:
        """One entry an interval of beta: medians of every method."""
        entries = []
        for low, high in pairwise(edges):
            here = (self.beta_drawn >= low) & (self.beta_drawn < high)
            medians = {label: median(values[here]) for label, values in self.errors.items()}
            entries.append({"beta": [low, high], "samples": int(here.sum()), "medians": medians})
        return entries

    def by_temperature(self) -> list[dict]:
        """One entry a temperature: medians of every method, and of the best cheap one."""
        entries = []
        for beta in np.unique(self.beta_drawn):
            here = self.beta_drawn == beta
            medians = {label: median(values[here]) for label, values in self.errors.items()}
            cheap = {name: medians[name] for name in CHEAP if name in medians}
            best = min(cheap, key=cheap.__getitem__) if cheap else None
            entries.append(
                {
                    "beta": float(beta),
                    "samples": int(here.sum()),
                    "medians": medians,
                    "best_cheap": best,
                    "best_cheap_median": None if best is None else cheap[best],
                }
            )
        return entries


def one_shot(store: ThermalStore, corrections: Sequence[Correction]) -> OneShot:
    """Errors of all methods on the test samples.

    Raises
    ------
    StoreError
        If the file has none, or a correction does not belong to it.
    """
    rows = store.indices(SPLIT)
    if not rows.size:
        raise StoreError(f"file {store.path} has no {SPLIT} sample; generate more")
    names = {c.label for c in corrections} & set(store.approximations)
    if names:
        raise StoreError(
            f"checkpoint '{min(names)}' has the name of an approximation in {store.path}; rename "
            "its folder"
        )
    dyson, answers = dyson_of(store), all_answers(store, corrections, rows)
    errors = {label: errors_of(store, dyson, found, rows) for label, found in answers.items()}
    return OneShot(store, rows, answers, errors)


def summary_of(errors: np.ndarray) -> dict[str, float | int]:
    """`error_summary` of what was answered, and how many were not."""
    found = errors[np.isfinite(errors)]
    nothing = dict.fromkeys(error_summary(np.ones(1)), float("nan"))
    own = error_summary(found) if found.size else nothing
    return {**own, "samples": int(found.size), "failed": int(errors.size - found.size)}


def median(errors: np.ndarray) -> float:
    """Of what was answered; NaN of nothing."""
    found = errors[np.isfinite(errors)]
    return float(np.median(found)) if found.size else float("nan")
