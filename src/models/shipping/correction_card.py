"""The model card of a shipped correction; every number comes from its ``model.yaml``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from dmftnet.models.shipping.card import (
    DESIGN_EFFECT,
    LEAST,
    SPLIT_COLUMNS,
    label,
    number,
    rule,
    table,
    training,
)
from dmftnet.models.training.fine_tuning import training_seconds

TEMPLATE = """# Model card: learned correction at finite temperature

{what}

```
{usage}
```

Written by `ship.py kind=corrections`; every number below is in `model.yaml`.

## Valid range

{orbitals}, spin-symmetric, at finite temperature, on the imaginary axis; energies in units of the
problem's own D = 2 sqrt(weight of Delta).

{ranges}

Whatever the network puts out, the answer is causal, with exact norm, boundary condition and tails;
without interaction or without a bath it is exact. Outside the valid range the solver warns and says
by how much; `solver=guarded_correction` passes the problem to exact diagonalisation.

## Test scores

`(1/beta) integral |G - G_exact| dtau` over problems held out from training ({n_test} of them),
exact being the solver that made the data. "Alone": an approximation that is read, as it is.

{scores}

## Calibration

Spread and distance predict the error. {rule}
That is a share, not a bound.

{calibration}

## Data

{data}

## Training

{training}

## Cost

{cost}

## Licence

MIT, like the code and the data.
"""

USAGE = (
    "dmftnet dmft solver=correction problem.U=2.0 problem.beta=50     # or "
    "solver.checkpoint=<folder>\n"
    "dmftnet dmft solver=guarded_correction problem.U=2.0 problem.beta=50    # ed beyond the limits"
)
USAGE_SEVERAL = """dmftnet dmft solver=correction solver.checkpoint=<folder> problem=kanamori \\
    problem.n_orb={n_orb} problem.U=2.0 problem.J=0.5 problem.beta=50"""

SCORES = {"error_median": "median", "error_90": "90 %", "error_worst": "worst"}
LABELS = {
    "solves": "problems",
    "accepted": "accepted by the limits",
    "good": "error <= {error:g}, all",
    "good_accepted": "error <= {error:g}, accepted",
    "good_accepted_least": LEAST,
    "design_effect": DESIGN_EFFECT,
    "error_90": "90 % quantile of the error, all",
    "error_90_accepted": "90 % quantile of the error, accepted",
    "rank_correlation_spread": "rank correlation with the spread",
    "rank_correlation_distance": "rank correlation with the distance",
}


def correction_card(record: Mapping[str, Any], members: Sequence[Mapping[str, Any]]) -> str:
    """The card's Markdown, its front matter included.

    Parameters
    ----------
    record : mapping
        The folder's own description, with ``test``, ``limits``, ``calibration`` and ``cost``.
    members : sequence of mappings
        The members' descriptions.
    """
    n_orb = members[0].get("n_orb", 1)
    calibration = record["calibration"]
    error = calibration["error"]
    rows = [
        [label(text, calibration), *(number(calibration[s].get(name)) for s in SPLIT_COLUMNS)]
        for name, text in LABELS.items()
        if name in calibration["validation"]
    ]
    return _front_matter(record, members) + TEMPLATE.format(
        what=_what(record, members),
        usage=USAGE if n_orb == 1 else USAGE_SEVERAL.format(n_orb=n_orb),
        orbitals=(
            "One orbital"
            if n_orb == 1
            else f"{n_orb} orbitals of one level and one bath, rotationally invariant interaction"
        ),
        ranges=_ranges(record["ranges"], n_orb),
        n_test=calibration["test"]["solves"],
        scores=table(
            ["", *SCORES.values()],
            [[row, *(number(v[key]) for key in SCORES)] for row, v in record["test"].items()],
        ),
        rule=rule(record, "problems", f"an error <= {error:g}"),
        calibration=table(["", *SPLIT_COLUMNS], rows),
        data=_data(record["data"]),
        training=training(members),
        cost=_cost(record["cost"], members),
    )


def _front_matter(record: Mapping[str, Any], members: Sequence[Mapping[str, Any]]) -> str:
    """What catalogues of models read of the card."""
    score = record["test"]["this solver"]
    metrics = [
        {"type": "green_function_error", "name": title, "value": float(number(score[key]))}
        for key, title in SCORES.items()
    ]
    result = {
        "task": {"type": "impurity-solver", "name": "Green function at finite temperature"},
        "dataset": {"type": "dmftnet-thermal", "name": record["data"]["file"], "split": "test"},
        "metrics": metrics,
    }
    content = {
        "license": "mit",
        "library_name": "dmftnet",
        "tags": ["physics", "dmft", "quantum-impurity", "finite-temperature"],
        "model-index": [{"name": _kind(members), "results": [result]}],
    }
    return f"---\n{yaml.safe_dump(content, sort_keys=False)}---\n\n"


def _what(record: Mapping[str, Any], members: Sequence[Mapping[str, Any]]) -> str:
    read = " and ".join(record["inputs"]) or "no approximation"
    return (
        f"{_kind(members)} that reads Delta(i w_n), U, eps_d, beta and what {read} makes of a\n"
        "quantum impurity at finite temperature, and puts out what is missing in the self-energy. "
        "It drives the\nDMFT loop in place of an exact solver."
    )


def _kind(members: Sequence[Mapping[str, Any]]) -> str:
    kinds = sorted({member["model"]["_target_"].rpartition(".")[2] for member in members})
    many = f"An ensemble of {len(members)} models" if len(members) > 1 else "A model"
    return f"{many} ({', '.join(kinds)})"


def _ranges(ranges: Mapping[str, Sequence[float]], n_orb: int) -> str:
    half = "+ U/2" if n_orb == 1 else "- (its value at half filling)"
    names = {
        "U": "U / D",
        "shift": f"|eps_d {half}| / D, the distance from half filling",
        "beta": "beta D",
        "J": "J / D",
    }
    lines = [f"- {names[name]}: {low:.3g} to {high:.3g}" for name, (low, high) in ranges.items()]
    lines.append("- hybridizations near those of the data (limits: see Calibration)")
    return "\n".join(lines)


def _data(data: Mapping[str, Any]) -> str:
    return (
        f"`{data['file']}`, SHA-256 `{data['sha256']}`; exact solver, approximations and sampling "
        f"are recorded in the files, with the splits. {data['left_out']} samples lack an "
        "approximation and were left out."
    )


def _cost(cost: Mapping[str, float], members: Sequence[Mapping[str, Any]]) -> str:
    text = (
        f"{cost['one_ms']:.3g} ms for one solve, {cost['one_inputs_ms']:.3g} ms of it for the "
        f"approximations; {cost['batch_ms']:.3g} and {cost['batch_inputs_ms']:.3g} ms per solve in "
        f"a batch of {cost['batch']}, CPU time of one thread; {cost['parameters']:,} parameters."
    )
    seconds = [training_seconds(member) for member in members]
    if None not in seconds:
        devices = sorted({str(member["training"].get("device", "cpu")) for member in members})
        text += f" Training took {sum(seconds) / 60:.1f} minutes in all ({', '.join(devices)})."
    return text
