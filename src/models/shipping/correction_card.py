"""What the card of shipped corrections says (`dmftnet.models.shipping.model_card`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dmftnet.models.correction.checkpoint import CORRECTIONS
from dmftnet.models.shipping.model_card import (
    CardKind,
    Members,
    Record,
    Words,
    classes,
    ranges,
    training_time,
)

WHAT = """\
{kind} that reads Delta(i w_n), U, eps_d, beta and what {read} makes of a
quantum impurity at finite temperature, and puts out what is missing in the self-energy. \
It drives the
DMFT loop in place of an exact solver."""

VALID = """\
{orbitals}, spin-symmetric, at finite temperature, on the imaginary axis; energies in units of the
problem's own D = 2 sqrt(weight of Delta).

{ranges}

Whatever the network puts out, the answer is causal, with exact norm, boundary condition and tails;
without interaction or without a bath it is exact. Outside the valid range the solver warns and says
by how much; `solver=guarded_correction` passes the problem to exact diagonalisation."""

TESTED = """\
`(1/beta) integral |G - G_exact| dtau` over problems held out from training ({n_test} of them),
exact being the solver that made the data. "Alone": an approximation that is read, as it is."""

USAGE = (
    "dmftnet dmft solver=correction problem.U=2.0 problem.beta=50     # or "
    "solver.checkpoint=<folder>\n"
    "dmftnet dmft solver=guarded_correction problem.U=2.0 problem.beta=50    # ed beyond the limits"
)
USAGE_SEVERAL = """dmftnet dmft solver=correction solver.checkpoint=<folder> problem=kanamori \\
    problem.n_orb={n_orb} problem.U=2.0 problem.J=0.5 problem.beta=50"""

SCORES = {"error_median": "median", "error_90": "90 %", "error_worst": "worst"}


def _words(record: Record, members: Members) -> Words:
    n_orb = members[0].get("n_orb", 1)
    many = f"An ensemble of {len(members)} models" if len(members) > 1 else "A model"
    kind = f"{many} ({classes(members)})"
    read = " and ".join(record["inputs"]) or "no approximation"
    orbitals = (
        "One orbital"
        if n_orb == 1
        else f"{n_orb} orbitals of one level and one bath, rotationally invariant interaction"
    )
    return Words(
        kind=kind,
        what=WHAT.format(kind=kind, read=read),
        use=USAGE if n_orb == 1 else USAGE_SEVERAL.format(n_orb=n_orb),
        valid=VALID.format(orbitals=orbitals, ranges=_ranges(record, n_orb)),
        tested=TESTED.format(n_test=record["calibration"]["test"]["solves"]),
        data=_data(record["data"]),
        cost=_cost(record["cost"]) + training_time(members, digits=1),
    )


def _ranges(record: Record, n_orb: int) -> str:
    half = "+ U/2" if n_orb == 1 else "- (its value at half filling)"
    names = {
        "U": "U / D",
        "shift": f"|eps_d {half}| / D, the distance from half filling",
        "beta": "beta D",
        "J": "J / D",
    }
    last = "- hybridizations near those of the data (limits: see Calibration)"
    return "\n".join([*ranges(names, record), last])


def _data(data: Mapping[str, Any]) -> str:
    return (
        f"`{data['file']}`, SHA-256 `{data['sha256']}`; exact solver, approximations and sampling "
        f"are recorded in the files, with the splits. {data['left_out']} samples lack an "
        "approximation and were left out."
    )


def _cost(cost: Mapping[str, float]) -> str:
    return (
        f"{cost['one_ms']:.3g} ms for one solve, {cost['one_inputs_ms']:.3g} ms of it for the "
        f"approximations; {cost['batch_ms']:.3g} and {cost['batch_inputs_ms']:.3g} ms per solve in "
        f"a batch of {cost['batch']}, CPU time of one thread; {cost['parameters']:,} parameters."
    )


CORRECTION_CARD = CardKind(
    folders=CORRECTIONS,
    title="learned correction at finite temperature",
    command="ship.py kind=corrections",
    solves="problems",
    error="error",
    key="error",
    good="error <= {error:g}",
    rule="an error <= {error:g}",
    quantile="90 % quantile of the error",
    scores=SCORES,
    metric=("green_function_error", ""),
    tag="finite-temperature",
    task="Green function at finite temperature",
    dataset="dmftnet-thermal",
    words=_words,
)
