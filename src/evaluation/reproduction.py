"""The seed paper's claims (arXiv:2511.14505) and what its network does here, side by side.

The paper's architecture with the angle as an input, with and without the derivative in the loss;
of several weights lambda > 0 the one of lowest validation error. Made from ``metrics.json`` alone.
The claims are those of the paper's abstract and figures in our words; the numbers of the column
"asked" are ours, and so are the network's size, angles and training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dmftnet.evaluation.loop_sets import REFERENCE, judged
from dmftnet.evaluation.naming import PAPERS
from dmftnet.evaluation.targets import CRITICAL_ERROR, is_half_filled, largest
from dmftnet.report.html import cell

KL_MEDIAN, KL_90, ZERO_LAM_RATIO = 3e-3, 4e-2, 3.0
HALF_FILLED_U = (0.5, 4.0)
Z_ERROR, A0_SHARE, FILLING_ERROR = 0.03, 0.03, 0.01
GENERALIZES = "smooth generalization to the real axis from finite angles"
ACCURATE = "quantitative in metal, strongly correlated metal and insulator"
TRANSITION = "Z(U) through the Mott transition"
DOPED = "doped spectrum, filling against the level"
STABLE = "stable in the self-consistency loop"
LATENT = "latent space ordered by A(0) and filling"

Models = Sequence[Mapping[str, Any]]


def papers_variants(
    variants: Sequence[Mapping[str, Any]],
) -> tuple[Mapping[str, Any] | None, Mapping[str, Any] | None]:
    """Rows of the variant table: the paper's network with lambda > 0, and with lambda = 0."""
    found = [v for v in variants if (v["network"]["architecture"], v["network"]["head"]) == PAPERS]
    found.sort(key=lambda v: v["val_median"]["mean"])
    with_it = (v for v in found if v["network"]["lam"])
    without = (v for v in found if v["network"]["lam"] == 0)
    return next(with_it, None), next(without, None)


def reproduction(numbers: Mapping[str, Any]) -> dict[str, Any]:
    """The section of ``docs/results.md``; empty where the report has no such network.

    Parameters
    ----------
    numbers : mapping
        ``metrics.json``: ``models, variants, exact``.

    Returns
    -------
    dict
        ``with`` and ``without``, names of the variants (the second may be None), and ``rows``:
        ``claim, what, asked, found, met, without``; ``met`` is None where nothing is asked.
    """
    # of a model kept from an earlier report the single loops may be gone
    whole = [m for m in numbers["models"].values() if "loops" in judged(m["loops"])]
    known = {m["variant"] for m in whole}
    with_it, without = papers_variants([v for v in numbers["variants"] if v["variant"] in known])
    if with_it is None:
        return {}
    names = [None if v is None else v["variant"] for v in (with_it, without)]
    both = [[m for m in whole if m["variant"] == name] for name in names]
    found, other = (_facts(models, numbers["exact"]) for models in both)
    rows = [{**row, "without": other[i]["found"] if other else None} for i, row in enumerate(found)]
    if without is not None:
        rows.insert(2, _ratio(with_it, without))
    return {"with": names[0], "without": names[1], "rows": rows}


def _row(claim: str, what: str, asked: str, found: str | None, met: bool | None) -> dict[str, Any]:
    return {"claim": claim, "what": what, "asked": asked, "found": found, "met": met}


def _at_most(claim: str, what: str, limit: float, value: float | None) -> dict[str, Any]:
    text, met = (None, None) if value is None else (cell(value), value <= limit)
    return _row(claim, what, f"<= {limit:g}", text, met)


def _ratio(with_it: Mapping[str, Any], without: Mapping[str, Any]) -> dict[str, Any]:
    ratio = without["kl_median"]["mean"] / with_it["kl_median"]["mean"]
    what = "test KL, median, without the derivative over that with it"
    asked, met = f">= {ZERO_LAM_RATIO:g}", ratio >= ZERO_LAM_RATIO
    return {**_row(GENERALIZES, what, asked, cell(ratio), met), "without": None}


def _facts(models: Models, exact: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rows of one variant, all its seeds together; errors are the largest over the seeds."""
    if not models:
        return []
    test = {key: float(np.mean([m["test"][key] for m in models])) for key in ("kl_median", "kl_90")}
    return [
        _at_most(GENERALIZES, "test KL, median", KL_MEDIAN, test["kl_median"]),
        _at_most(GENERALIZES, "test KL, 90 %", KL_90, test["kl_90"]),
        *_half_filled([judged(m["loops"])["loops"] for m in models]),
        *_critical(models, exact),
        *_doped(models),
        _row(
            STABLE,
            "test solves better than their input hybridization",
            "reported",
            _each(models, lambda m: f"{m['test']['share_below_input']:.1%}"),
            None,
        ),
        _row(
            STABLE,
            "KL median of training and test data",
            "reported",
            _each(models, lambda m: ", ".join(cell(m[s]["kl_median"]) for s in ("train", "test"))),
            None,
        ),
        _row(
            LATENT,
            "R2 of A(0) and of the filling in the map",
            "reported",
            _each(
                [m for m in models if "latent" in m],
                lambda m: f"{m['latent']['r2_A0']:.2f}, {m['latent']['r2_filling']:.2f}",
            ),
            None,
        ),
    ]  # fmt: skip


def _each(models: Models, text) -> str | None:
    return "; ".join(map(text, models)) or None


def _half_filled(sets: Sequence[Models]) -> list[dict[str, Any]]:
    low, high = HALF_FILLED_U
    every = [loop for loops in sets for loop in loops]
    half = [loop for loop in every if is_half_filled(loop) and low <= loop["U"] <= high]
    n, where = len(half), f"half filling, U = {low:g} to {high:g}, both starts"
    converged, right = (sum(loop[key] for loop in half) for key in ("converged", "right_branch"))
    metals = [loop for loop in half if loop["branch_exact"] == "metal"]
    Z = [abs((loop["Z"] or 0.0) - loop["Z_exact"]) for loop in metals]
    A0 = [abs(loop["A0"] / loop["A0_exact"] - 1) for loop in metals]
    return [
        _row(ACCURATE, f"{where}: loops converged", "all", f"{converged} of {n}", converged == n),
        _row(ACCURATE, f"{where}: right phase", "all", f"{right} of {n}", right == n),
        _at_most(ACCURATE, f"{where}: largest error of Z", Z_ERROR, largest(Z)),
        _at_most(ACCURATE, f"{where}: largest relative error of A(0)", A0_SHARE, largest(A0)),
    ]


def _critical(models: Models, exact: Mapping[str, Any]) -> list[dict[str, Any]]:
    rows = []
    for branch, name in (("insulator", "insulator appears"), ("metal", "metal disappears")):
        known = exact.get(branch, {}).get("critical_U")
        ends = [m.get("hysteresis", {}).get(branch, {}).get("critical_U") for m in models]
        shown = ", ".join("no end" if end is None else f"{end:.3f}" for end in ends)
        if known is None:
            continue
        met = all(end is not None and abs(end - known) <= CRITICAL_ERROR + 1e-9 for end in ends)
        asked = f"within {CRITICAL_ERROR:g} of {known:.3f}"
        rows.append(_row(TRANSITION, f"critical U, {name}", asked, shown, met))
    return rows


def _doped(models: Models) -> list[dict[str, Any]]:
    """Fillings at given levels, and the search for a filling at the U of the paper's figure."""
    every = [loop for m in models for own in m["loops"].values() for loop in own["loops"]]
    doped = [loop for loop in every if not is_half_filled(loop)]
    rows = []
    for U in (2.0, 4.0):
        errors = [abs(loop["filling"] - loop["filling_exact"]) for loop in doped if loop["U"] == U]
        what = f"U = {U:g}, n(eps_d): largest error of n"
        if errors:
            rows.append(_at_most(DOPED, what, FILLING_ERROR, largest(errors)))
    searches = [m["loops"].get(REFERENCE, {}).get("doped", []) for m in models]
    own = [entry["own"] for some in searches for entry in some]
    texts = [f"{abs(loop['eps_d'] - loop['eps_d_exact']):.3f}, {cell(loop['kl'])}" for loop in own]
    if texts:
        target = searches[0][0]["target"]
        what = f"U = {own[0]['U']:g}, n = {target:g}: error of eps_d, KL"
        rows.append(_row(DOPED, what, "reported", "; ".join(texts), None))
    return rows
