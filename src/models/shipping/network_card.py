"""What the card of shipped networks says (`dmftnet.models.shipping.model_card`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dmftnet.models.shipping.model_card import (
    CardKind,
    Members,
    Record,
    Words,
    classes,
    number,
    ranges,
    score_table,
    table,
    training_time,
)
from dmftnet.models.training.checkpoint import NETWORKS

WHAT = """{kind} that maps the hybridization spectrum, U and eps_d of \
a quantum impurity to its real-frequency spectral function, trained on exact complex-time \
spectra. It drives the DMFT loop in place of an exact solver."""

VALID = """\
One orbital, spin-symmetric, T = 0; {units}

{ranges}

{resolution}
Outside the valid range it warns and says by how much; `solver=guarded` passes the problem to the
exact solver."""

TESTED = """\
KL(A_exact || A) on the real axis over trajectories held out from training ({n_test} solves),
{compared}"""

OF_SPECTRA = {
    "use": """\
dmftnet dmft solver=network_spectrum problem.U=2.0
dmftnet dmft solver=network solver.checkpoint=FOLDER problem.U=2.0   # another folder""",
    "resolution": """\
The networks' spectra have the Gaussian resolution {eta:g} + {slope:g} |w| on {n_w} frequencies from
{w_min:g} to {w_max:g} D. Its constant part would act anew in every iteration of a loop; the solver
removes it (`solver.sharpening`, here {steps} steps), and all numbers below are for such answers.\
""",
    "units": "energies in units of the half-bandwidth D.",
    "compared": """\
A_exact at the resolution {slope:g} |w| of the answers. It includes features that no network on
this grid, at the data's resolution, could show; "network error" compares with the answer of a
perfect network instead.""",
}
OF_SELF_ENERGIES = {
    "use": """\
dmftnet dmft solver=network problem.U=2.0 lattice=square   # another folder: solver.checkpoint=...
dmftnet dmft solver=guarded problem.U=2.0     # exact solver beyond the limits of this one""",
    "resolution": """\
The networks put out -Im Sigma with the Gaussian resolution {eta:g} + {slope:g} |w| on {n_w}
frequencies from {w_min:g} to {w_max:g} D; Sigma has its exact sum rule and Hartree-Fock shift, A
follows by Dyson's equation on the problem's own grid. Nothing is sharpened.""",
    "units": """\
energies in units of the problem's own bath,
D = 2 sqrt(weight of Delta), of the semicircle its half-bandwidth.""",
    "compared": """\
both at the data's resolution.""",
}
"""What a card says of networks that put out the one or the other."""

SCORES = {"kl_median": "median", "kl_90": "90 %", "kl_worst": "worst"}
PARAMETERS = {"U": "U", "shift": "|eps_d + U/2|, the distance from half filling"}


def _words(record: Record, members: Members) -> Words:
    of_spectra = record.get("smoothed") != "self_energy"
    values = {"steps": record["sharpening"], **record["grid"]}
    values |= {"eta": record["resolution"][0], "slope": record["resolution"][1]}
    own = OF_SPECTRA if of_spectra else OF_SELF_ENERGIES
    said = {name: text.format(**values) for name, text in own.items()}
    many = f"An ensemble of {len(members)} networks" if len(members) > 1 else "A network"
    kind = f"{many} ({classes(members)}, {classes(members[:1], 'head')})"
    sharpening = _sharpening(record) if of_spectra else ""
    return Words(
        kind=kind,
        what=WHAT.format(kind=kind),
        use=said["use"],
        valid=VALID.format(
            units=said["units"], ranges=_ranges(record), resolution=said["resolution"]
        ),
        tested=TESTED.format(
            n_test=record["calibration"]["test"]["solves"], compared=said["compared"]
        ),
        more=_interpolation(record.get("interpolation")) + sharpening,
        data=f"`{record['data'].get('file', 'without a name')}`, SHA-256 "
        f"`{record['data']['sha256']}`; exact solver and sampling are recorded in the files, split "
        "by whole DMFT trajectories.",
        cost=_cost(record["cost"]) + training_time(members, digits=0),
    )


def _ranges(record: Record) -> str:
    low, high = filling_range(record["filling"])
    lines = ranges(PARAMETERS, record, " D")
    lines.append(f"- filling of both spins: {low:.3g} to {high:.3g} in 98 % of the data")
    lines.append("- hybridizations near those of the data (limits: see Calibration)")
    return "\n".join(lines)


def filling_range(filling: Sequence[float]) -> tuple[float, float]:
    """Range of the filling of both spins, mirror images included."""
    low, _, _, high = sorted([*filling, *(2 - n for n in filling)])
    return low, high


def _sharpening(record: Mapping[str, Any]) -> str:
    """The section that says why so many steps."""
    steps, tried = record["sharpening"], record["sharpening_tried"]
    if not tried:
        return f"## Sharpening\n\n{steps} steps, as given to `ship.py`.\n\n"
    rows = [
        [
            str(row["steps"]),
            number(row["score"]),
            f"{row['right']} of {row['loops']}",
            number(row["loop_kl"]),
        ]
        for row in tried
    ]
    header = ["steps", "validation score", "loops in the exact phase", "KL of the loops"]
    return (
        f"## Sharpening\n\n{steps} steps: lowest validation score among those whose reference "
        "loops find the exact phase most often. Geometric means of KL.\n\n"
        f"{table(header, rows)}\n\n"
    )


def _interpolation(found: Mapping[str, Any] | None) -> str:
    """Score of a twin in intervals of U that it never saw."""
    if found is None:
        return ""
    blocks = ", ".join(f"{low:g} to {high:g}" for low, high in found["held_out_U"])
    rows = {
        f"{where} ({found[where]['solves']} solves), {kind}": found[where][kind]
        for where in ("inside", "outside")
        for kind in ("score", "network error")
    }
    return (
        "## Between the data\n\nTest trajectories lie close to training ones in U. Scores of a "
        f"twin trained without U = {blocks} D,\ninside these intervals and on the test "
        f"trajectories outside:\n\n{score_table(SCORES, rows)}\n\n"
    )


def _cost(cost: Mapping[str, float]) -> str:
    return (
        f"{cost['one_ms']:.2g} ms for one solve, {cost['batch_ms']:.2g} ms per solve in a batch of "
        f"{cost['batch']}, on one CPU thread; {cost['parameters']:,} parameters."
    )


NETWORK_CARD = CardKind(
    folders=NETWORKS,
    title="learned impurity solver",
    command="ship.py",
    solves="solves",
    error="network error",
    key="kl",
    good="network error KL <= {kl:g}",
    rule="a network error KL <= {kl:g}",
    quantile="its 90 % quantile",
    scores=SCORES,
    metric=("kl_divergence", "KL, "),
    tag="spectral-function",
    task="spectral function",
    dataset="dmftnet-spectra",
    words=_words,
)
