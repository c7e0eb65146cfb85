"""The project's targets and what was measured, from the numbers of ``metrics.json`` alone.

They concern one model, the best by validation error or the one that ``best`` names: its errors on
held-out trajectories, and its loops against the exact solver's. The loops that count are those on
which nothing was chosen (`dmftnet.evaluation.loop_sets`); the others are given for comparison.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from dmftnet.evaluation.loop_sets import REFERENCE, TEST, judged
from dmftnet.evaluation.naming import NEAREST_NEIGHBOUR

KL_MEDIAN, KL_90 = 5e-4, 8e-3
LOOP_KL, LOOP_ITERATIONS, A0_SHARE = 3e-3, 60, 0.02
HALF_FILLED_U = (0.5, 4.5)
# relative errors of Z; near the transition Z itself is known to 10 %, at U = 2.9 to a third
Z_FAR, Z_NEAR, NEAR_U, LAST_U = 0.05, 0.15, 2.625, 2.875
FILLING_ERROR, CRITICAL_ERROR = 0.01, 0.1
CLIPPED, LEAST_U = 1e-3, 0.5  # share of Im Sigma clipped; without interaction there is none

Loops = Sequence[Mapping[str, Any]]


def targets(numbers: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One entry a target: ``what, target, measured, reference, met``.

    ``met`` is None without a target or a measurement; ``reference`` is the result for the loops on
    which settings were chosen, empty if there is none.

    Parameters
    ----------
    numbers : mapping
        ``metrics.json``: ``best, models, exact``.
    """
    best = numbers["models"][numbers["best"]]
    entries = [
        *_test(best),
        *_loops(judged(best["loops"]), numbers["models"]),
        *_critical(best["hysteresis"], numbers["exact"]),
    ]
    beside = {}
    if TEST in best["loops"] and REFERENCE in best["loops"]:
        own = _loops(best["loops"][REFERENCE], {})
        beside = {entry["what"]: entry["measured"] for entry in own}
    return [{**entry, "reference": beside.get(entry["what"], "")} for entry in entries]


def _loops(own: Mapping[str, Any], models: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Targets for the loops of one set."""
    every = [*own["loops"], *own["loops_elsewhere"]]
    return [
        *_closed_loop(own["loops"]),
        *_fillings(own["loops"]),
        *_elsewhere(own["loops_elsewhere"], models),
        _causality(every),
    ]


def _entry(what: str, target: str, measured: str | None, met: bool | None) -> dict[str, Any]:
    """A row; a target without a measurement is neither met nor missed."""
    if measured is None:
        return {"what": what, "target": target, "measured": "not measured", "met": None}
    return {"what": what, "target": target, "measured": measured, "met": met}


def _at_most(what: str, limit: float, value: float | None) -> dict[str, Any]:
    text = None if value is None else f"{value:.2g}"
    return _entry(what, f"<= {limit:g}", text, value is not None and value <= limit)


def _test(best: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        _at_most("test KL, median", KL_MEDIAN, best["test"]["kl_median"]),
        _at_most("test KL, 90 %", KL_90, best["test"]["kl_90"]),
    ]


def is_half_filled(loop: Mapping[str, Any]) -> bool:
    """Whether a loop's reference is half filled by symmetry."""
    return abs(loop["eps_d_exact"] + loop["U"] / 2) < 1e-9


def compared_kl(loop: Mapping[str, Any]) -> float:
    """KL of a loop at the common resolution where there is one, else at the network's."""
    common = loop["common_kl"]
    return loop["kl"] if common is None else common


def _closed_loop(loops: Loops) -> list[dict[str, Any]]:
    """Half filling, both starts."""
    low, high = HALF_FILLED_U
    half = [loop for loop in loops if is_half_filled(loop) and low <= loop["U"] <= high]
    n, where = len(half), f"half filling, U = {low:g} to {high:g}"
    if not half:
        return [_entry(f"{where}: loops converged", "all", None, None)]
    converged = sum(loop["converged"] for loop in half)
    iterations = max(loop["iterations"] for loop in half)
    right = sum(loop["right_branch"] for loop in half)
    metals = [loop for loop in half if loop["branch_exact"] == "metal"]
    A0 = largest([abs(loop["A0"] / loop["A0_exact"] - 1) for loop in metals])

    def Z(wanted: Callable[[float], bool]) -> float | None:
        return largest([loop["Z_relative_error"] for loop in metals if wanted(loop["U"])])

    text = f"{converged} of {n}, at most {iterations}"
    target = f"all, in at most {LOOP_ITERATIONS} iterations"
    met = converged == n and iterations <= LOOP_ITERATIONS
    return [
        _entry(f"{where}: loops converged", target, text, met),
        _entry(f"{where}: right phase", "all", f"{right} of {n}", right == n),
        _at_most(f"{where}: largest loop KL", LOOP_KL, max(map(compared_kl, half))),
        _at_most(f"{where}: largest relative error of the metal's A(0)", A0_SHARE, A0),
        _at_most(
            f"metal, U < {NEAR_U:g}: largest relative error of Z", Z_FAR, Z(lambda U: U < NEAR_U)
        ),
        _at_most(
            f"metal, U = {NEAR_U:g} to {LAST_U:g}: largest relative error of Z",
            Z_NEAR,
            Z(lambda U: NEAR_U <= U <= LAST_U),
        ),
    ]


def _critical(
    own: Mapping[str, Any], exact: Mapping[str, Mapping[str, Any]]
) -> list[dict[str, Any]]:
    rows = []
    for branch, name in (("insulator", "insulator appears"), ("metal", "metal disappears")):
        a = own.get(branch, {}).get("critical_U")
        b = exact.get(branch, {}).get("critical_U")
        what, target = f"critical U, {name}", f"within {CRITICAL_ERROR:g} of exact"
        if a is None or b is None:
            ends = {"exact": b, "network": a}
            text = ", ".join(
                f"{k} {'no end' if v is None else f'{v:.3f}'}" for k, v in ends.items()
            )
            rows.append(_entry(what, target, text, False))
        else:
            # both brackets are wider than rounding
            met = abs(a - b) <= CRITICAL_ERROR + 1e-9
            rows.append(_entry(what, target, f"{a:.3f}, exact {b:.3f}", met))
    return rows


def _fillings(loops: Loops) -> list[dict[str, Any]]:
    """Doped loops below and above the Mott transition."""
    rows = []
    for name, low, high in (("U < 2.9", 0.0, 2.9), ("U > 2.9", 2.9, np.inf)):
        doped = [loop for loop in loops if low < loop["U"] < high and not is_half_filled(loop)]
        error = largest([abs(loop["filling"] - loop["filling_exact"]) for loop in doped])
        wrong = sum(not loop["right_branch"] for loop in doped)
        text = f"{len(doped) - wrong} of {len(doped)}" if doped else None
        rows += [
            _at_most(f"doped, {name}: largest error of the filling", FILLING_ERROR, error),
            _entry(f"doped, {name}: right phase", "all", text, wrong == 0),
        ]
    return rows


def _elsewhere(loops: Loops, models: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Lattices absent from the data, compared with the nearest neighbour."""
    what = "unseen lattices: loops converged"
    if not loops:
        return [_entry(what, "all", None, None)]
    converged, right = (sum(loop[key] for loop in loops) for key in ("converged", "right_branch"))
    text = f"{np.median([compared_kl(loop) for loop in loops]):.2g}"
    if NEAREST_NEIGHBOUR in models:
        neighbour = judged(models[NEAREST_NEIGHBOUR]["loops"])["elsewhere"]
        text += f", nearest neighbour {neighbour['kl_median']:.2g}"
    n = len(loops)
    return [
        _entry(what, "all", f"{converged} of {n}", converged == n),
        _entry("unseen lattices: right phase", "all", f"{right} of {n}", right == n),
        _entry("unseen lattices: loop KL, median", "reported", text, None),
    ]


def _causality(loops: Loops) -> dict[str, Any]:
    """Share of Im Sigma that Dyson's equation made positive."""
    shares = [loop["clipped_self_energy"] for loop in loops if loop["U"] >= LEAST_U]
    what = f"-Im Sigma >= 0, U >= {LEAST_U:g}: largest share clipped"
    return _at_most(what, CLIPPED, largest(shares))


def largest(values: Sequence[float]) -> float | None:
    """None of nothing."""
    return float(max(values)) if values else None
