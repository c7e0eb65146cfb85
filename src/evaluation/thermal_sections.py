"""From results at finite temperature to the sections of the report: tables, figures, text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dmftnet.evaluation.thermal_closure import (
    SAME_SOLUTION,
    ThermalClosure,
    thermal_scalars,
    thermal_table,
    weight_panels,
)
from dmftnet.evaluation.thermal_errors import OneShot
from dmftnet.evaluation.thermal_methods import CHEAP, Correction
from dmftnet.evaluation.violations import LAWS, TOLERANCE, Violations
from dmftnet.report import figures, samples
from dmftnet.report.html import Section, Table

DRAWN_STARTS = ("metal", "insulator")
SHOWN = ("ipt", "ed3", "ed4", "ed5")
"""Approximations in the figure of errors."""

ERROR = r"$(1/\beta)\int_0^\beta |\Delta G(\tau)|\,d\tau$"

LOOP_SCALARS = ("converged", "right_phase", "failed", "iterations", "Z_metal_error",
                "Z_insulator_error", "double_occupancy_error", "filling_error",
                "A_beta_half_error")  # fmt: skip


def models_section(corrections: Sequence[Correction]) -> Section:
    """What the corrections are."""
    names = ("class", "members", "inputs", "base", "parameters", "data")
    rows = []
    for c in corrections:
        about = c.describe()
        about["inputs"] = " + ".join(about["inputs"]) or "none"
        rows.append([c.label, *(about[name] for name in names)])
    return Section(
        "Corrections",
        "Each reads the answers of its inputs and corrects the one called base."
        if rows
        else "No checkpoint is given: approximations alone.",
        [Table(("name", *names), rows)] if rows else (),
    )


def one_shot_section(result: OneShot, milliseconds: Mapping[str, float]) -> Section:
    """Single solves of converged loops."""
    rows = []
    for label, own in result.summary().items():
        numbers = [own[f"error_{name}"] for name in ("median", "90", "worst")]
        rows.append([label, *numbers, own["samples"], own["failed"], milliseconds[label]])
    errors = {label: values[np.isfinite(values)] for label, values in result.errors.items()}
    approximations = set(result.store.approximations)
    shown = {
        (f"baseline: {label}" if label in approximations else label): values
        for label, values in errors.items()
        if values.size and (label not in approximations or label in SHOWN)
    }
    return Section(
        "One solve, hybridizations of converged loops",
        f"{len(result.rows)} test samples of {result.store.path.name}: error "
        "(1/beta) integral |G - G_exact| dtau against the labels of the file; ms of one solve, the "
        "approximations that a correction reads included, all timed in this run.",
        [Table(("method", "median", "90 %", "worst", "samples", "failed", "ms"), rows)],
        {"thermal_errors": samples.kl_distribution(shown, ERROR)} if shown else {},
    )


def temperature_section(result: OneShot, corrections: Sequence[Correction]) -> Section:
    """Random models, temperature by temperature."""
    labels, entries = list(result.errors), result.by_temperature()
    medians = [
        [e["beta"], e["samples"], *(e["medians"][label] for label in labels)] for e in entries
    ]
    tables = [Table(("beta", "samples", *labels), medians, "Median error of G")]
    if corrections and any(e["best_cheap"] for e in entries):
        rows = [
            [e["beta"], e["best_cheap"], *(ratio(e, c.label) for c in corrections)] for e in entries
        ]
        columns = ("beta", "best of them", *(c.label for c in corrections))
        caption = f"Median of the best of {', '.join(CHEAP)}, over that of each correction"
        tables.append(Table(columns, rows, caption))
    return Section(
        "Random models by temperature",
        f"{len(result.rows)} test samples of {result.store.path.name}; beta in the unit in which "
        "a sample was drawn, 1/eV or 1/D.",
        tables,
    )


def ratio(entry: Mapping[str, Any], label: str) -> float | None:
    """How many times below the best cheap approximation a method is."""
    own = entry["medians"][label]
    return entry["best_cheap_median"] / own if own > 0 else None


def loops_section(
    closures: Mapping[str, Sequence[ThermalClosure]], drawn_betas: Sequence[float]
) -> Section:
    """Loops of every solver against the reference."""
    rows = []
    for label, own in closures.items():
        for beta in sorted({c.reference.beta for c in own}):
            here = [c for c in own if c.reference.beta == beta]
            scalars = thermal_scalars(here)
            rows.append([label, beta, len(here), *(scalars[name] for name in LOOP_SCALARS)])
    columns = ("solver", "beta", "loops", "converged", "right phase", "failed", "iterations")
    columns += ("Z, metal", "Z, insulator", "double occupancy", "filling", "A(beta/2)")
    single = [
        Table(table.columns, table.rows, f"Loops of {label}", folded=True)
        for label, table in ((k, thermal_table(own)) for k, own in closures.items())
    ]
    panels = weight_panels(closures, drawn_betas, DRAWN_STARTS)
    return Section(
        "Closed loops on the Bethe lattice",
        "Against the exact solver's loops from the same starts: shares that converged, and that "
        f"found its solution (-beta G(beta/2)/pi within {SAME_SOLUTION:g}/D); largest errors of "
        "those, Z relative. A dash: no such loop.",
        [Table((*columns,), rows, "Worst errors in the right phase"), *single],
        {"thermal_weights": figures.weight_curves(panels, len(DRAWN_STARTS))} if panels else {},
    )


def violations_section(found: Mapping[str, Violations]) -> Section:
    """How many held-out predictions break an exact law."""
    rows, amounts = [], []
    for label, own in found.items():
        counts, worst = own.counts(), own.worst()
        rows.append([label, counts["predictions"], *(counts[law] for law in (*LAWS, "any"))])
        amounts.append([label, *(worst[law] for law in LAWS)])
    return Section(
        "Exact laws",
        f"Held-out predictions that break a law by more than {TOLERANCE:g}: norm G(0) + G(beta) = "
        "-1; the density told is -G(beta); -G positive and convex in tau; -Im Sigma >= 0 at the "
        "Matsubara frequencies of the axis. The exact labels are a check of the count.",
        [
            Table(("method", "predictions", *LAWS, "any"), rows, "Broken"),
            Table(("method", *LAWS), amounts, "Largest amount"),
        ],
    )
