"""The labels of a file beside a witness: the same problems by another solver.

Two questions. Are the labels right? Where the witness tells standard errors, as quantum Monte Carlo
does, deviations are in units of these: of root mean square one, if nothing but the noise of the
witness is between the two. And how far from the witness is every method?
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from dmftnet.data.thermal import ThermalStore, WitnessStore
from dmftnet.errors import StoreError
from dmftnet.evaluation.thermal_errors import OneShot, summary_of
from dmftnet.evaluation.thermal_methods import distances, dyson_of, exact_answers
from dmftnet.report.html import Section, Table

LABELS = "exact labels"

Numbers = Mapping[str, Mapping[str, float | int]]
"""By method: median, 90 %, worst, and the number of samples."""

PRECISION = 1e-6
"""Of G that the files keep; of smaller errors nothing can be said."""

COMPARED = ("Re G", "Im G", "density", "double occupancy")

BEYOND = 4.0
"""Standard errors that a deviation passes by chance once in 16,000 times."""


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


def deviations(store: ThermalStore, witness: WitnessStore) -> dict[str, np.ndarray]:
    """What the labels are off by, in standard errors of the witness.

    Returns
    -------
    dict of name in `COMPARED` to (n,) or (n, n_iw) float64
        NaN where the error is below `PRECISION`, as of Re G at half filling.

    Raises
    ------
    StoreError
        If the witness tells no errors.
    """
    if not np.isfinite(witness["tau_error"]).all():
        raise StoreError(
            f"file {witness.path} holds no standard errors, its solver told none; "
            "give one by quantum Monte Carlo: solver=ctseg"
        )
    rows = witness["sample"]
    apart, error = store.greens()[rows] - witness["greens"], witness["greens_error"]
    return {
        "Re G": _quotient(apart.real, error.real),
        "Im G": _quotient(apart.imag, error.imag),
        "density": _quotient(store.density()[rows] - witness["density"], witness["density_error"]),
        "double occupancy": _quotient(
            store["double_occupancy"][rows] - witness["double_occupancy"], witness["double_error"]
        ),
    }


def _quotient(apart: np.ndarray, error: np.ndarray) -> np.ndarray:
    return np.divide(apart, error, out=np.full(apart.shape, np.nan), where=error > PRECISION)


def by_interval(
    store: ThermalStore, witness: WitnessStore, edges: Sequence[float]
) -> list[dict[str, Any]]:
    """One entry an interval of beta, and one for all: number of samples, largest standard error of
    G(tau), root mean square of `deviations`, share of the samples with one `BEYOND`."""
    found, beta = deviations(store, witness), store["beta"][witness["sample"]]
    largest = np.max([_largest(values) for values in found.values()], axis=0)
    entries = []
    for low, high in [*pairwise(edges), (edges[0], edges[-1])]:
        here = (beta >= low) & (beta < high)
        if here.any():
            entries.append(
                {
                    "beta": [low, high],
                    "samples": int(here.sum()),
                    "tau_error": float(witness["tau_error"][here].max()),
                    "rms": {name: _rms(values[here]) for name, values in found.items()},
                    "beyond": float(np.mean(largest[here] > BEYOND)),
                }
            )
    return entries


def _rms(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(np.sqrt(np.mean(known**2))) if known.size else float("nan")


def _largest(values: np.ndarray) -> np.ndarray:
    """(n,) largest magnitude of each sample, zero where none is known."""
    flat = np.abs(values.reshape(len(values), -1))
    return np.where(np.isfinite(flat), flat, 0.0).max(axis=1)


def witness_table(found: Numbers) -> Table:
    """Methods against a witness."""
    numbers = ("median", "90", "worst")
    rows = [[label, *(own[f"error_{n}"] for n in numbers)] for label, own in found.items()]
    count = next(iter(found.values()))["samples"]
    caption = f"Against the witness, {count} samples"
    return Table(("method", "median", "90 %", "worst"), rows, caption)


def labels_section(
    store: ThermalStore,
    witness: WitnessStore,
    entries: Sequence[Mapping[str, Any]],
    found: Numbers,
) -> Section:
    """Tables of `by_interval`, and of `against`."""
    rows = [
        [
            "{:g} to {:g}".format(*entry["beta"]),
            entry["samples"],
            entry["tau_error"],
            *(entry["rms"][name] for name in COMPARED),
            entry["beyond"],
        ]
        for entry in entries
    ]
    columns = ("beta D", "samples", "error of G(tau)", *COMPARED, f"beyond {BEYOND:g}")
    return Section(
        "The labels beside a witness",
        f"{len(witness)} samples of {store.path.name}, drawn from all splits, solved once more "
        f"with standard errors ({witness.path.name}). In the first table the root mean square of "
        "what the labels are off by, in standard errors: one, if they are right; the largest error "
        f"of G(tau), and the share of samples of which any number is off by more than {BEYOND:g}. "
        "G is that at the Matsubara frequencies of the axis; errors below "
        f"{PRECISION:g}, what a file keeps of G, are left out.",
        [Table(columns, rows, "Labels, in standard errors"), witness_table(found)],
    )
