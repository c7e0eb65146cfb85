"""The model card of shipped weights; every number comes from their ``model.yaml``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from dmftnet.models.training.fine_tuning import training_seconds

TEMPLATE = """# Model card: learned impurity solver

{what}

```
{use}
```

Written by `ship.py`; every number below is in `model.yaml`.

## Valid range

One orbital, spin-symmetric, T = 0; {units}

{ranges}

{resolution}
Outside the valid range it warns and says by how much; `solver=guarded` passes the problem to the
exact solver.

## Test scores

KL(A_exact || A) on the real axis over trajectories held out from training ({n_test} solves),
{compared}

{scores}

{interpolation}{sharpening}## Calibration

Spread and distance predict the network error. {rule}
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

LEAST = "of that, at least, with {confidence:.0%} confidence"
DESIGN_EFFECT = "so many count as one independent"
SCORES = {"kl_median": "median", "kl_90": "90 %", "kl_worst": "worst"}
LABELS = {
    "solves": "solves",
    "accepted": "accepted by the limits",
    "good": "network error KL <= {kl:g}, all",
    "good_accepted": "network error KL <= {kl:g}, accepted",
    "good_accepted_least": LEAST,
    "design_effect": DESIGN_EFFECT,
    "kl_90": "its 90 % quantile, all",
    "kl_90_accepted": "its 90 % quantile, accepted",
    "rank_correlation_spread": "rank correlation with the spread",
    "rank_correlation_distance": "rank correlation with the distance",
}
SETTINGS = ("model", "head", "loss", "optimizer")


def model_card(
    record: Mapping[str, Any],
    members: Sequence[Mapping[str, Any]],
    test: Mapping[str, Mapping[str, float]],
) -> str:
    """The card's Markdown, below its `front_matter`.

    Parameters
    ----------
    record : mapping
        The folder's own description, with ``limits``, ``calibration`` and ``cost``.
    members : sequence of mappings
        The members' descriptions.
    test : mapping
        Row of the score table to its `kl_summary`.
    """
    calibration = record["calibration"]
    kl = calibration["kl"]
    names = [name for name in LABELS if name in calibration["validation"]]
    of_spectra = record.get("smoothed") != "self_energy"
    values = {"steps": record["sharpening"], **record["grid"]}
    values |= {"eta": record["resolution"][0], "slope": record["resolution"][1]}
    words = OF_SPECTRA if of_spectra else OF_SELF_ENERGIES
    rows = [
        [
            label(LABELS[name], calibration),
            *(number(calibration[s].get(name)) for s in SPLIT_COLUMNS),
        ]
        for name in names
    ]
    return TEMPLATE.format(
        what=_what(members),
        ranges=_ranges(record.get("ranges") or {}, record["filling"]),
        **{name: text.format(**values) for name, text in words.items()},
        n_test=calibration["test"]["solves"],
        scores=table(
            ["", *SCORES.values()],
            [[row, *(number(values[key]) for key in SCORES)] for row, values in test.items()],
        ),
        sharpening=_sharpening(record) if of_spectra else "",
        interpolation=_interpolation(record.get("interpolation")),
        rule=rule(record, "solves", f"a network error KL <= {kl:g}"),
        calibration=table(["", *SPLIT_COLUMNS], rows),
        data=f"`{record['data'].get('file', 'without a name')}`, SHA-256 "
        f"`{record['data']['sha256']}`; exact solver and sampling are recorded in the files, split "
        "by whole DMFT trajectories.",
        training=training(members),
        cost=_cost(record["cost"], members),
    )


def label(text: str, calibration: Mapping[str, Any]) -> str:
    """A row's name, with the figures of the promise."""
    return text.format(**{key: v for key, v in calibration.items() if isinstance(v, float)})


def rule(record: Mapping[str, Any], solves: str, good: str) -> str:
    """How the limits were chosen, and what they are; with confidence, where they were."""
    calibration = record["calibration"]
    share = f"{calibration['share']:.0%}"
    limits = ", ".join(f"{name} {limit:.3g}" for name, limit in record["limits"].items())
    if "confidence" not in calibration:
        return (
            f"Of all pairs of limits within which at least\n{share} of the validation {solves} "
            f"have {good}, these accept most: {limits}."
        )
    effect = calibration["validation"]["design_effect"]
    return (
        f"Of all pairs of limits within which at least\n{share} have {good}, with "
        f"{calibration['confidence']:.0%} confidence, these accept most of the\nvalidation "
        f"{solves}: {limits}. The confidence is that of a count (the upper end of\nWilson's "
        f"interval of the share that is worse), {effect:.2g} {solves} counting as one: those of "
        "one loop fail together."
    )


def front_matter(record: Mapping[str, Any], members: Sequence[Mapping[str, Any]]) -> str:
    """What catalogues of models read of the card, as YAML between two lines of dashes.

    Parameters
    ----------
    record, members : see `model_card`
    """
    score = record["test"]["this solver"]
    metrics = [
        {"type": "kl_divergence", "name": f"KL, {title}", "value": float(number(score[key]))}
        for key, title in SCORES.items()
    ]
    content = {
        "license": "mit",
        "library_name": "dmftnet",
        "tags": ["physics", "dmft", "quantum-impurity", "spectral-function"],
        "model-index": [
            {
                "name": _kind(members),
                "results": [
                    {
                        "task": {"type": "impurity-solver", "name": "spectral function"},
                        "dataset": {
                            "type": "dmftnet-spectra",
                            "name": record["data"].get("file", "without a name"),
                            "split": "test",
                        },
                        "metrics": metrics,
                    }
                ],
            }
        ],
    }
    return f"---\n{yaml.safe_dump(content, sort_keys=False)}---\n\n"


SPLIT_COLUMNS = ("validation", "test")


def _what(members) -> str:
    return (
        f"{_kind(members)} that maps the hybridization spectrum, U and eps_d of "
        "a quantum impurity to its real-frequency spectral function, trained on exact complex-time "
        "spectra. It drives the DMFT loop in place of an exact solver."
    )


def _kind(members) -> str:
    kinds = sorted({member["model"]["_target_"].rpartition(".")[2] for member in members})
    head = members[0]["head"]["_target_"].rpartition(".")[2]
    many = f"An ensemble of {len(members)} networks" if len(members) > 1 else "A network"
    return f"{many} ({', '.join(kinds)}, {head})"


def _ranges(ranges: Mapping[str, Sequence[float]], filling: Sequence[float]) -> str:
    names = {"U": "U", "shift": "|eps_d + U/2|, the distance from half filling"}
    lines = [f"- {names[name]}: {low:.3g} to {high:.3g} D" for name, (low, high) in ranges.items()]
    low, high = filling_range(filling)
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
    rows = [
        [
            f"{where} ({found[where]['solves']} solves), {kind}",
            *(number(found[where][kind][key]) for key in SCORES),
        ]
        for where in ("inside", "outside")
        for kind in ("score", "network error")
    ]
    return (
        "## Between the data\n\nTest trajectories lie close to training ones in U. Scores of a "
        f"twin trained without U = {blocks} D,\ninside these intervals and on the test "
        f"trajectories outside:\n\n{table(['', *SCORES.values()], rows)}\n\n"
    )


def training(members) -> str:
    """Settings that all members share, then one line for each run."""
    shared = {
        key: members[0][key]
        for key in SETTINGS
        if key in members[0] and all(member.get(key) == members[0][key] for member in members)
    }
    lines = ["```yaml", yaml.safe_dump(shared, sort_keys=False).rstrip(), "```", ""]
    rows = []
    for number, member in enumerate(members):
        training = member.get("training") or {}
        own = {**training, **(member.get("provenance") or {}), "seed": member.get("seed", "")}
        rows.append([str(number), *_run(own)])
        rows += [[f"{number}, before", *_run(run)] for run in training.get("earlier") or []]
    return "\n".join(lines) + table(["member", "seed", "command", "commit", "time"], rows)


def _run(run: Mapping[str, Any]) -> list[str]:
    """Seed, command, commit and time of one training."""
    seconds = run.get("seconds")
    return [
        str(run.get("seed", "")),
        f"`{run.get('command', '')}`",
        run.get("commit", "")[:12],
        "" if seconds is None else f"{seconds / 60:.0f} min",
    ]


def _cost(cost: Mapping[str, float], members) -> str:
    text = (
        f"{cost['one_ms']:.2g} ms for one solve, {cost['batch_ms']:.2g} ms per solve in a batch of "
        f"{cost['batch']}, on one CPU thread; {cost['parameters']:,} parameters."
    )
    seconds = [training_seconds(member) for member in members]
    if None not in seconds:
        devices = sorted({str(member["training"].get("device", "cpu")) for member in members})
        text += f" Training took {sum(seconds) / 60:.0f} minutes in all ({', '.join(devices)})."
    return text


def number(value: float | None) -> str:
    if value is None:
        return ""
    return (
        str(value) if isinstance(value, int) else f"{value:.2e}" if value < 0.1 else f"{value:.3f}"
    )


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
