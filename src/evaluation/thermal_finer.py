"""Closed loops beside the exact solver's with more bath levels: whose error is it?

Where a loop is about to change phase its solution answers a small change of the bath with a large
one, and the exact solver's few levels are such a change. The same loops with more of them
(`data/thermal_reference_finer.h5`) judge both, the solvers and the references they are compared
with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from dmftnet.data.thermal_loops import ThermalReference
from dmftnet.evaluation.thermal_closure import NUMBERS, ThermalClosure, thermal_scalars
from dmftnet.report.html import Section, Table

REFERENCE = "references"
"""Label of the exact solver's own loops with fewer levels."""

ERRORS = ("Z_metal", "Z_insulator", "double_occupancy", "filling", "A_beta_half")


def beside_finer(
    closures: Mapping[str, Sequence[ThermalClosure]], finer: Sequence[ThermalReference]
) -> dict[str, list[ThermalClosure]]:
    """Those of the loops that `finer` holds too, with its answers as the reference.

    The loops to which they were compared come last, as `REFERENCE`. Empty if there is none.
    """
    answers = {place(r): r for r in finer}
    found = {
        label: [
            replace(c, reference=answers[place(c.reference)])
            for c in own
            if place(c.reference) in answers
        ]
        for label, own in closures.items()
    }
    found = {label: own for label, own in found.items() if own}
    if found:
        compared = next(iter(closures.values()))
        found[REFERENCE] = [
            replace(as_closure(c), reference=answers[place(c.reference)])
            for c in compared
            if place(c.reference) in answers
        ]
    return found


def place(r: ThermalReference) -> tuple[Any, ...]:
    """What tells loops apart."""
    return round(r.U, 9), round(r.eps_d, 9), round(r.beta, 9), r.start


def as_closure(c: ThermalClosure) -> ThermalClosure:
    """The loop that this one was compared with, in its place."""
    r = c.reference
    numbers = {name: getattr(r, name) for name in NUMBERS}
    return replace(
        c,
        numbers={**numbers, "converged": True, "iterations": r.iterations},
        reason="",
        solution=None,
    )


def finer_section(found: Mapping[str, Sequence[ThermalClosure]], file: str) -> Section:
    """Worst errors by solver, and every loop; `file` is the name of that of `finer`."""
    rows, loops = [], []
    for label, own in found.items():
        scalars = thermal_scalars(own)
        right = sum(c.right_phase for c in own)
        rows.append([label, len(own), right, *(scalars[f"{name}_error"] for name in ERRORS)])
        for c in own:
            r = c.reference
            pairs = [(c.numbers.get(name), getattr(r, name)) for name in NUMBERS]
            values = [value for pair in pairs for value in pair]
            loops.append([label, r.U, r.eps_d, r.beta, r.start, c.right_phase, *values])
    columns = ("solver", "loops", "right phase", "Z, metal", "Z, insulator", "double occupancy",
               "filling", "A(beta/2)")  # fmt: skip
    named = [text for name in NUMBERS for text in (name, f"{name}_finer")]
    each = ("solver", "U", "eps_d", "beta", "start", "right_phase", *named)
    return Section(
        "Loops beside more bath levels",
        f"Some of the loops by the exact solver with more levels ({file}): worst errors of those "
        f"in the right phase, Z relative. The row {REFERENCE} is the exact solver's loops to which "
        "the solvers are compared above.",
        [Table(columns, rows), Table(each, loops, "Every loop", folded=True)] if rows else (),
    )
