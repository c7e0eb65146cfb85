"""The labels of a file beside a witness: the same problems by another solver.

Are the labels right? The witness tells standard errors, as quantum Monte Carlo does, and deviations
are in units of these: of root mean square one, if nothing but its noise is between the two.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from dmftnet.data.thermal import ThermalStore, WitnessStore
from dmftnet.errors import StoreError

PRECISION = 1e-6
"""Of G that the files keep; of smaller errors nothing can be said."""

COMPARED = ("Re G", "Im G", "density", "double occupancy")

BEYOND = 4.0
"""Standard errors that a deviation passes by chance once in 16,000 times."""


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
