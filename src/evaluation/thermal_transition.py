"""Where a solver puts the Mott transition, beside the exact solver (`data/thermal_transition.h5`).

Loops on the half-filled Bethe lattice at one temperature, U in small steps, from a metal and from
an insulator. Followed upwards from one start, the solution is metallic up to some U and insulating
from the next on; the transition lies between the two. Where both phases exist the metal's start
finds it later than the insulator's: the end of the metal, and that of the insulator.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from dmftnet.evaluation.thermal_closure import ThermalClosure
from dmftnet.report.html import Section, Table

INSULATOR = "insulator"


@dataclass(frozen=True)
class Transition:
    """Between the last metal and the first insulator of one series.

    Parameters
    ----------
    beta : float, in 1/D
    start : str
        Of the loops.
    U : (low, high), in D, or None
        The one and the other; None where all are in one phase, or the phases alternate.
    U_exact : (low, high), in D, or None
        Likewise of the exact solver.
    converged : int
        Loops, of `loops`.
    loops : int
    """

    beta: float
    start: str
    U: tuple[float, float] | None
    U_exact: tuple[float, float] | None
    converged: int
    loops: int

    @property
    def shift(self) -> float:
        """Of the middle of the interval against the exact solver's, in D; NaN where unknown."""
        if self.U is None or self.U_exact is None:
            return float("nan")
        return float(np.mean(self.U) - np.mean(self.U_exact))

    def plain(self) -> dict[str, Any]:
        """Every number, ready for JSON."""
        return {**vars(self), "shift": self.shift}


def change(U: Sequence[float], insulating: Sequence[bool]) -> tuple[float, float] | None:
    """The neighbouring U, rising, between which a series becomes insulating, once and for good."""
    steps = [i for i, (one, next) in enumerate(pairwise(insulating)) if one != next]
    if len(steps) != 1 or insulating[0]:
        return None
    return U[steps[0]], U[steps[0] + 1]


def transitions(closures: Sequence[ThermalClosure]) -> list[Transition]:
    """One for each temperature and start of half-filled loops, in the order of the references."""
    own = [c for c in closures if c.reference.half_filled]
    found = []
    for beta, start in dict.fromkeys((c.reference.beta, c.reference.start) for c in own):
        series = sorted(
            (c for c in own if (c.reference.beta, c.reference.start) == (beta, start)),
            key=lambda c: c.reference.U,
        )
        U = [c.reference.U for c in series]
        failed = any(c.phase == "failed" for c in series)
        found.append(
            Transition(
                beta,
                start,
                None if failed else change(U, [c.phase == INSULATOR for c in series]),
                change(U, [c.reference_phase == INSULATOR for c in series]),
                sum(c.converged for c in series),
                len(series),
            )
        )
    return found


def transition_section(found: Mapping[str, Sequence[Transition]]) -> Section:
    """Where each solver's loops change phase."""
    rows = [
        [label, t.beta, t.start, t.loops, t.converged, _between(t.U), _between(t.U_exact), t.shift]
        for label, own in found.items()
        for t in own
    ]
    columns = ("solver", "beta", "start", "loops", "converged", "transition at U", "exact", "shift")
    return Section(
        "The Mott transition",
        "Loops at half filling, U in small steps: between which two the solution from a start "
        "turns insulating, and the middle of that interval against the exact solver's, in D. A "
        "dash: all in one phase, or not one change.",
        [Table(columns, rows)] if rows else (),
    )


def _between(pair: tuple[float, float] | None) -> str | None:
    return None if pair is None else f"{pair[0]:g} to {pair[1]:g}"
