"""The summary for a reader in a hurry: how good, where valid, at what cost.

Made from ``metrics.json`` alone, for one model, the best by its validation error or the one that
``best`` names. The report and ``docs/results.md`` open with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dmftnet.evaluation.loop_sets import TEST, judged
from dmftnet.models.shipping.network_card import filling_range
from dmftnet.report.html import cell


def summary(numbers: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Three entries, ``title`` and ``lines``.

    Parameters
    ----------
    numbers : mapping
        ``metrics.json``: ``best, models, exact, samples, targets, device``.
    """
    best = numbers["models"][numbers["best"]]
    return [
        {"title": "How good", "lines": _how_good(best, numbers)},
        {"title": "Where valid", "lines": _where_valid(best)},
        {"title": "What it costs", "lines": _cost(best, numbers["device"])},
    ]


def _how_good(best: Mapping[str, Any], numbers: Mapping[str, Any]) -> list[str]:
    test, loops = best["test"], judged(best["loops"])
    asked = [entry["met"] for entry in numbers["targets"] if entry["met"] is not None]
    places = {"loops": "the Bethe lattice", "loops_elsewhere": "lattices absent from the data"}
    found = [f"{_right(loops[key])} on {where}" for key, where in places.items() if loops[key]]
    chosen = "nothing was" if TEST in best["loops"] else "settings were"
    return [
        f"KL(exact || predicted) of {numbers['samples']['test']} test solves: median "
        f"{cell(test['kl_median'])}, 90 % below {cell(test['kl_90'])}, worst "
        f"{cell(test['kl_worst'])}; median of the input hybridization "
        f"{cell(test['kl_input_median'])}.",
        f"DMFT loops converged in the exact solver's phase: {', '.join(found) or 'none run'}; "
        f"{chosen} chosen on these loops.",
        *_mott(best["hysteresis"], numbers["exact"]),
        f"Targets met: {sum(asked)} of {len(asked)}.",
    ]


def _right(loops: Sequence[Mapping[str, Any]]) -> str:
    return f"{sum(loop['converged'] and loop['right_branch'] for loop in loops)} of {len(loops)}"


def _mott(own: Mapping[str, Any], exact: Mapping[str, Any]) -> list[str]:
    """Where the two half-filled solutions end."""
    words = {"insulator": "insulator down to", "metal": "metal up to"}
    ends = [
        f"{text} U = {_end(own[branch])} (exact {_end(exact[branch])})"
        for branch, text in words.items()
        if branch in own and branch in exact
    ]
    return [f"Mott transition: {', '.join(ends)}."] if ends else []


def _end(path: Mapping[str, Any]) -> str:
    return "no end" if path["critical_U"] is None else f"{path['critical_U']:.3f}"


def _where_valid(best: Mapping[str, Any]) -> list[str]:
    applies = best["applicability"]
    lines = ["One orbital, equal spins, zero temperature."]
    ranges = applies.get("ranges") or {}
    names = {"U": "U", "shift": "|eps_d + U/2|"}
    trained = [f"{names[key]} {_range(*box)} D" for key, box in ranges.items()]
    if "filling" in applies:
        low, high = filling_range(applies["filling"])
        trained.append(f"filling {low:.3g} to {high:.3g} (98 % of the solves)")
    if trained:
        lines.append(f"Trained on {', '.join(trained)}.")
    every = [
        loop
        for own in best["loops"].values()
        for loop in (*own["loops"], *own["loops_elsewhere"])
        if loop["converged"] and loop["right_branch"]
    ]
    if every:
        U, n = ([loop[key] for loop in every] for key in ("U", "filling_exact"))
        lattices = ", ".join(sorted({loop["lattice"] for loop in every}))
        lines.append(
            f"Loops checked against the exact solver: U = {min(U):g} to {max(U):g} D, filling "
            f"{min(n):.2f} to {max(n):.2f}, lattices {lattices}."
        )
    return [*lines, *_limits(applies)]


def _range(low: float, high: float) -> str:
    return f"up to {high:.3g}" if low <= 0.01 * high else f"from {low:.3g} to {high:.3g}"


def _limits(applies: Mapping[str, Any]) -> list[str]:
    """Limits beyond which the solver warns, and what they achieve."""
    if not applies.get("limits"):
        return ["No limits calibrated: ship.py does, for the solver to warn beyond them."]
    texts = {"spread": "a spread of its members of {}", "distance": "a distance of {} to its data"}
    limits = [texts[name].format(cell(limit)) for name, limit in applies["limits"].items()]
    line = f"It warns outside the data's U and eps_d, and beyond {' or '.join(limits)}"
    calibration = applies.get("calibration") or {}
    test = calibration.get("test")
    if test and "good_accepted" in test:
        line += (
            f". {test['accepted']:.0%} of the test solves of its data lie within; of these "
            f"{test['good_accepted']:.0%} have a network error KL <= {calibration['kl']:g}, of all "
            f"{test['good']:.0%}"
        )
    return [f"{line}."]


def _cost(best: Mapping[str, Any], device: str) -> list[str]:
    lines = []
    if best["cost"]:
        one, batch = best["cost"]["one_ms"] / 1e3, best["cost"]["batch_ms"] / 1e3
        lines.append(
            f"A solve: {_time(one)}, or {_time(batch)} each in a batch of "
            f"{best['cost']['batch']} (measured by ship.py, one CPU thread)."
        )
    parts = []
    for key, where in (("loops", "the Bethe lattice"), ("loops_elsewhere", "other lattices")):
        loops = [loop for own in best["loops"].values() for loop in own[key]]
        if loops:
            seconds = float(np.median([loop["seconds"] for loop in loops]))
            steps = np.median([loop["iterations"] for loop in loops])
            parts.append(f"{_time(seconds)} and {steps:.0f} iterations on {where}")
    if parts:
        lines.append(
            f"A DMFT loop: {', '.join(parts)} (medians; all loops on a lattice run as one batch; "
            f"measured in this evaluation, {device})."
        )
    if "minutes" in best["training"]:
        lines.append(f"Training: {best['training']['minutes']:.0f} minutes in all.")
    return lines


def _time(seconds: float) -> str:
    return f"{1e3 * seconds:.2g} ms" if seconds < 0.1 else f"{seconds:.2g} s"
