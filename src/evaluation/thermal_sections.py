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
from dmftnet.evaluation.thermal_errors import OneShot, summary_of
from dmftnet.evaluation.thermal_methods import CHEAP, Correction
from dmftnet.evaluation.thermal_spectra import MeasuredSpectrum
from dmftnet.evaluation.thermal_trust import WRONG, Verdicts
from dmftnet.evaluation.thermal_witness import Witness
from dmftnet.evaluation.violations import LAWS, TOLERANCE, Violations
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.report import figures, samples
from dmftnet.report.html import Section, Table

POLES = (
    " Minimal poles of G(iw) are another fit, which nothing keeps positive; the table says how "
    "well they meet G(iw)."
)

DRAWN_STARTS = ("metal", "insulator")
SHOWN = ("ipt", "ed3", "embedded3", "ed4", "ed5")
"""Approximations in the figure of errors."""

INTERVALS = (5.0, 10.0, 20.0, 50.0, 100.1)
"""Of beta, in 1/D."""

ERROR = r"$(1/\beta)\int_0^\beta |\Delta G(\tau)|\,d\tau$"

LOOP_SCALARS = ("converged", "right_phase", "failed", "warned", "iterations", "Z_metal_error",
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


def one_shot_section(
    result: OneShot, milliseconds: Mapping[str, float], unit: float, drawn: Sequence[str]
) -> Section:
    """Single solves of converged loops; `unit`, the milliseconds of one default `ras` solve.

    `drawn` are the corrections in the figure."""
    rows = []
    for label, own in result.summary().items():
        numbers = [own[f"error_{name}"] for name in ("median", "90", "worst")]
        cost = milliseconds[label]
        rows.append([label, *numbers, own["samples"], own["failed"], cost, cost / unit])
    errors = {label: values[np.isfinite(values)] for label, values in result.errors.items()}
    approximations = set(result.store.approximations)
    shown = {
        (f"baseline: {label}" if label in approximations else label): values
        for label, values in errors.items()
        if values.size and label in (*SHOWN, *drawn)
    }
    return Section(
        "One solve, hybridizations of converged loops",
        f"{len(result.rows)} test samples of {result.store.path.name}: error "
        "(1/beta) integral |G - G_exact| dtau against the labels of the file; ms of one solve, CPU "
        "time, the approximations that a correction reads included, all in this run; ras: in units "
        f"of one default solve at T = 0 by the solver ras, {unit:.0f} ms.",
        [Table(("method", "median", "90 %", "worst", "samples", "failed", "ms", "ras"), rows)],
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


def continuous_section(result: OneShot) -> Section:
    """Loops on their way and random spectra, interval by interval of temperature."""
    labels = list(result.errors)
    rows = [
        [f"{e['beta'][0]:g} to {e['beta'][1]:g}", e["samples"], *(e["medians"][k] for k in labels)]
        for e in result.by_interval(INTERVALS)
    ]
    return Section(
        "Continuous baths by temperature",
        f"{len(result.rows)} test samples of {result.store.path.name}: loops on their way, random "
        "spectra, doped or not. Which approximations help where: compare corrections that read "
        "other inputs.",
        [Table(("beta D", "samples", *labels), rows, "Median error of G")],
    )


def held_section(results: Mapping[str, OneShot]) -> Section:
    """Temperatures and lattices that no training saw."""
    labels = list(dict.fromkeys(label for result in results.values() for label in result.errors))
    rows = []
    for label in labels:
        cells: list[Any] = [label]
        for result in results.values():
            own = summary_of(result.errors.get(label, np.zeros(0)))
            cells += [own["error_median"], own["error_worst"]]
        rows.append(cells)
    columns = [f"{name}, {what}" for name in results for what in ("median", "worst")]
    counts = ", ".join(f"{name} {len(result.rows)}" for name, result in results.items())
    return Section(
        "Temperatures and lattices that no training saw",
        f"Converged loops, U of the test intervals ({counts} samples): error of G. The answers are "
        "exact for five levels in place of the bath, which all methods are given.",
        [Table(("method", *columns), rows)] if rows else (),
    )


def trust_section(found: Mapping[str, Mapping[str, Verdicts]]) -> Section:
    """Whether limits tell what is wrong, by set of problems and correction."""
    names = ("samples", "flagged", "wrong", "wrong_unflagged", "worst_unflagged")
    rows = [
        [where, label, *(own.summary()[name] for name in names)]
        for where, of_labels in found.items()
        for label, own in of_labels.items()
    ]
    columns = ("problems", "correction", "samples", "flagged", f"error > {WRONG:g}")
    columns += ("of those not flagged", "worst not flagged")
    return Section(
        "Do the limits tell?",
        "Shares of problems beyond the valid range or the limits of spread and distance, which "
        "were chosen on validation problems of the training data alone."
        if rows
        else "No checkpoint has limits; ship.py makes an ensemble that does.",
        [Table(columns, rows)] if rows else (),
    )


def witness_section(name: str, found: Sequence[Witness]) -> Section:
    """The references beside a solver with error bars."""
    rows = []
    for w in found:
        r = w.reference
        off = (w.Z - r.Z_matsubara) / w.Z_error if w.Z_error > 0 else float("nan")
        pair = (w.double_occupancy, w.double_occupancy_error)
        rows.append(
            [
                r.beta,
                r.U,
                w.Z,
                w.Z_error,
                r.Z_matsubara,
                off,
                *pair,
                r.double_occupancy,
                w.greens_error,
                bool(w.warning),
            ]
        )
    columns = ("beta", "U", "Z", "error", "Z, reference", "deviation / error")
    columns += ("double occupancy", "error of it", "reference", "error of G(tau)", "warned")
    return Section(
        f"The references as {name} sees them",
        f"One solve by {name}, with a continuous bath and standard errors, on each converged "
        "hybridization of the reference loops. Warned: the solver says that errors may be larger "
        "than it tells, as where blocks are too short.",
        [Table(columns, rows)] if rows else (),
    )


def ratio(entry: Mapping[str, Any], label: str) -> float | None:
    """How many times below the best cheap approximation a method is."""
    own = entry["medians"][label]
    return entry["best_cheap_median"] / own if own > 0 else None


def loops_section(
    closures: Mapping[str, Sequence[ThermalClosure]],
    solvers: Sequence[str],
    drawn_betas: Sequence[float],
    witness: tuple[str, Sequence[Witness]] | None = None,
) -> Section:
    """Loops of every solver against the reference; a witness' name and answers in the figure.

    `solvers` are those that are no corrections."""
    rows = []
    for label, own in closures.items():
        for beta in sorted({c.reference.beta for c in own}):
            here = [c for c in own if c.reference.beta == beta]
            scalars = thermal_scalars(here)
            rows.append([label, beta, len(here), *(scalars[name] for name in LOOP_SCALARS)])
    columns = ("solver", "beta", "loops", "converged", "right phase", "failed", "warned")
    columns += ("iterations",)
    columns += ("Z, metal", "Z, insulator", "double occupancy", "filling", "A(beta/2)")
    single = [
        Table(table.columns, table.rows, f"Loops of {label}", folded=True)
        for label, table in ((k, thermal_table(own)) for k, own in closures.items())
    ]
    corrections = [label for label in closures if label not in solvers]
    drawn = {k: closures[k] for k in (*CHEAP, *corrections[:1]) if k in closures} or closures
    panels = weight_panels(drawn, drawn_betas, DRAWN_STARTS, witness)
    return Section(
        "Closed loops on the Bethe lattice",
        "Against the exact solver's loops from the same starts: shares that converged, that found "
        f"its solution (-beta G(beta/2)/pi within {SAME_SOLUTION:g}/D), and whose last answer came "
        "with a warning; largest errors of those in the right phase, Z relative. A dash: no such "
        "loop. In the figure the cheap approximations and the first correction.",
        [Table((*columns,), rows, "Worst errors in the right phase"), *single],
        {"thermal_weights": figures.weight_curves(panels, len(DRAWN_STARTS))} if panels else {},
    )


def spectra_section(
    label: str, found: Sequence[MeasuredSpectrum], grid: FrequencyGrid, asked: bool = False
) -> Section:
    """What the answers of a solver's loops look like on the real axis.

    Parameters
    ----------
    asked : bool
        Whether minimal poles are asked for, which not every loop may have.
    """
    panels = []
    for s in found:
        curves = {f"{label}, beta = {s.beta:g}": s.spectrum}
        if s.fitted is not None:
            curves["minimal poles of G(iw)"] = s.fitted.spectrum[0]
        panels.append(figures.Panel(f"U = {s.U:g}, {s.start}", s.ground, curves))
    return Section(
        "On the real axis",
        f"The positive measure of Sigma of {label} in converged half-filled loops, each node as "
        "broad as the nodes' spacing, and A of it; filled, the exact solver at T = 0. A fit: it "
        "shows whether there is a gap and where weight must be, in features as broad as the "
        "imaginary axis resolves." + (POLES if asked else ""),
        [fitted_table(found)] if asked else (),
        {"thermal_spectra": figures.spectra(grid.omega, panels, 3.5)},
    )


def fitted_table(found: Sequence[MeasuredSpectrum]) -> Table:
    """How good minimal poles are; a dash where none were found."""
    names = ("residual", "off_axis", "not_positive", "negative")
    rows = []
    for s in found:
        about = s.fitted.numbers() if s.fitted else {}
        number = about["n_poles"][0] if about else None
        rows.append([s.U, s.start, number, *(about.get(name) for name in names)])
    columns = ("U", "start", "poles", "residual", "off axis, D", "share of weights not positive")
    return Table((*columns, "negative part of A"), rows, "Minimal poles of G(iw)")


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
