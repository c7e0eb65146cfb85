"""Corrections of several degenerate orbitals: single solves, by interaction, filling, temperature.

The labels come from a bath of a few levels an orbital, a correction brings one of fewer up to it.
How far the labels themselves are from more levels a witness tells: some of the test samples solved
with more of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dmftnet.data.thermal import WitnessStore
from dmftnet.errors import StoreError
from dmftnet.evaluation.thermal_errors import OneShot, median, summary_of
from dmftnet.evaluation.thermal_methods import distances, dyson_of, exact_answers
from dmftnet.report.html import Section, Table

LABELS = "exact labels"
HALF = 1e-3
"""Of the density of one spin and orbital from 1/2, up to which a sample is half filled."""

COLD = 32.0
"""1/D, between the two temperatures of the promise, beta = 20 and 50."""


def groups(result: OneShot) -> dict[str, np.ndarray]:
    """Masks (n,) of the samples by name."""
    store, rows = result.store, result.rows
    half = np.abs(store.density()[rows] - 0.5) < HALF
    coupled, cold = store.J[rows] > 0, store["beta"][rows] > COLD
    return {
        "J = 0": ~coupled,
        "J > 0": coupled,
        "half filled": half,
        "others": ~half,
        f"beta < {COLD:g}": ~cold,
        f"beta > {COLD:g}": cold,
    }


def by_group(result: OneShot) -> dict[str, dict[str, float]]:
    """Median error of every method in each group."""
    return {
        name: {label: median(own[mask]) for label, own in result.errors.items()}
        for name, mask in groups(result).items()
    }


def against(result: OneShot, witness: WitnessStore) -> dict[str, dict[str, float | int]]:
    """Errors of every method, the labels too, against a witness' Sigma in the same Dyson equation.

    Raises
    ------
    StoreError
        If none of its samples is of the test.
    """
    store, place = result.store, {int(row): i for i, row in enumerate(result.rows)}
    own = [(place[int(s)], j) for j, s in enumerate(witness["sample"]) if int(s) in place]
    if not own:
        raise StoreError(f"file {witness.path} holds no test sample; use sampling.split=test")
    here, there = (np.array(column, dtype=int) for column in zip(*own, strict=True))
    rows = result.rows[here]
    free = 1j * store.omega_n[rows] - store["eps_d"][rows, None] - store.hybridization[rows]
    greens = 1 / (free - witness["self_energy"][there])
    every = {**result.answers, LABELS: exact_answers(store, result.rows)}
    dyson = dyson_of(store)
    return {
        label: summary_of(distances(store, dyson, answers.greens[here], greens, rows))
        for label, answers in every.items()
    }


def orbitals_section(
    result: OneShot,
    milliseconds: Mapping[str, float],
    witness: Mapping[str, Mapping[str, float | int]] | None,
) -> Section:
    """Tables of one file and its witness."""
    own, parts = result.summary(), by_group(result)
    numbers = ("median", "90", "worst")
    rows: list[list[Any]] = [
        [
            label,
            *(own[label][f"error_{name}"] for name in numbers),
            *(part[label] for part in parts.values()),
            milliseconds[label],
        ]
        for label in own
    ]
    columns = ("method", "median", "90 %", "worst", *parts, "ms")
    tables = [Table(columns, rows, "Error of G; medians of the groups")]
    if witness:
        seen = [[k, *(v[f"error_{name}"] for name in numbers)] for k, v in witness.items()]
        count = next(iter(witness.values()))["samples"]
        caption = f"Against the witness, {count} samples"
        tables.append(Table(("method", "median", "90 %", "worst"), seen, caption))
    store = result.store
    return Section(
        f"{store.n_orb} degenerate orbitals",
        f"{len(result.rows)} test samples of {store.path.name} ({store.n_orb} orbitals, Kanamori "
        "interaction): error (1/beta) integral |G - G_exact| dtau against the labels of the file; "
        "the witness has more bath levels an orbital.",
        tables,
    )
