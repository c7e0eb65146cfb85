"""The model card of shipped weights; every number comes from their ``model.yaml``.

Its sections, tables and front matter are the same for every kind of model. What differs, a
`CardKind` has: `dmftnet.models.shipping.network_card` that of networks,
`dmftnet.models.shipping.correction_card` that of corrections.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from dmftnet.models.training.fine_tuning import training_seconds
from dmftnet.models.training.kind import FolderKind

TEMPLATE = """# Model card: {title}

{what}

```
{use}
```

Written by `{command}`; every number below is in `model.yaml`.

## Valid range

{valid}

## Test scores

{tested}

{scores}

{more}## Calibration

Spread and distance predict the {error}. {rule}
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

SPLIT_COLUMNS = ("validation", "test")
SETTINGS = ("model", "head", "loss", "optimizer")

Record = Mapping[str, Any]
Members = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Words:
    """Sections of one card, in Markdown.

    Parameters
    ----------
    kind : str
        What the folder holds, "An ensemble of ...".
    what, use, valid, tested, data, cost : str
        What it does, commands, its range, what the test scores are, and of which data; its cost.
    more : str
        Sections between scores and calibration.
    """

    kind: str
    what: str
    use: str
    valid: str
    tested: str
    data: str
    cost: str
    more: str = ""


@dataclass(frozen=True)
class CardKind:
    """What the cards of one kind of model say in their own words.

    Parameters
    ----------
    folders : FolderKind
    title, command : str
        Of the card; what writes it.
    solves : str
        What is counted.
    error : str
        What spread and distance predict.
    key, good, rule : str
        Of the promise: its entry in ``calibration``, the label of what keeps it, and in a sentence;
        formatted with the entry.
    quantile : str
        Label of the 90 % quantile.
    scores : mapping
        Entry of a row of ``test`` to its heading.
    metric : (type, prefix)
        Of the front matter.
    tag, task, dataset : str
        Of the front matter.
    words : callable
        From the folder's description and its members'.
    """

    folders: FolderKind
    title: str
    command: str
    solves: str
    error: str
    key: str
    good: str
    rule: str
    quantile: str
    scores: Mapping[str, str]
    metric: tuple[str, str]
    tag: str
    task: str
    dataset: str
    words: Callable[[Record, Members], Words]

    def labels(self) -> dict[str, str]:
        """Rows of the table of calibration: entry to label."""
        return {
            "solves": self.solves,
            "accepted": "accepted by the limits",
            "good": f"{self.good}, all",
            "good_accepted": f"{self.good}, accepted",
            "good_accepted_least": "of that, at least, with {confidence:.0%} confidence",
            "design_effect": "so many count as one independent",
            f"{self.key}_90": f"{self.quantile}, all",
            f"{self.key}_90_accepted": f"{self.quantile}, accepted",
            "rank_correlation_spread": "rank correlation with the spread",
            "rank_correlation_distance": "rank correlation with the distance",
        }


def card(kind: CardKind, folder: str | Path) -> str:
    """The Markdown of a shipped folder's card, with its front matter.

    Parameters
    ----------
    kind : CardKind
    folder : path
        Its description holds ``test``, ``limits``, ``calibration`` and ``cost``.

    Raises
    ------
    StoreError
        If it is no folder of that kind.
    """
    record, members = kind.folders.described(folder)
    words, calibration = kind.words(record, members), record["calibration"]
    figures = {key: v for key, v in calibration.items() if isinstance(v, float)}
    rows = [
        [text.format(**figures), *(number(calibration[s].get(name)) for s in SPLIT_COLUMNS)]
        for name, text in kind.labels().items()
        if name in calibration["validation"]
    ]
    text = TEMPLATE.format(
        title=kind.title,
        what=words.what,
        use=words.use,
        command=kind.command,
        valid=words.valid,
        tested=words.tested,
        scores=score_table(kind.scores, record["test"]),
        more=words.more,
        error=kind.error,
        rule=_rule(record, kind.solves, kind.rule.format(**figures)),
        calibration=table(["", *SPLIT_COLUMNS], rows),
        data=words.data,
        training=_training(members),
        cost=words.cost,
    )
    return _front_matter(kind, record, words.kind) + text


def _front_matter(kind: CardKind, record: Record, name: str) -> str:
    """What catalogues of models read of the card, as YAML between two lines of dashes."""
    score = record["test"]["this solver"]
    metric, prefix = kind.metric
    metrics = [
        {"type": metric, "name": f"{prefix}{title}", "value": float(number(score[key]))}
        for key, title in kind.scores.items()
    ]
    file = record["data"].get("file", "without a name")
    result = {
        "task": {"type": "impurity-solver", "name": kind.task},
        "dataset": {"type": kind.dataset, "name": file, "split": "test"},
        "metrics": metrics,
    }
    content = {
        "license": "mit",
        "library_name": "dmftnet",
        "tags": ["physics", "dmft", "quantum-impurity", kind.tag],
        "model-index": [{"name": name, "results": [result]}],
    }
    return f"---\n{yaml.safe_dump(content, sort_keys=False)}---\n\n"


def _rule(record: Record, solves: str, good: str) -> str:
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


def classes(members: Members, key: str = "model") -> str:
    """Names of the members' classes."""
    return ", ".join(sorted({own[key]["_target_"].rpartition(".")[2] for own in members}))


def ranges(names: Mapping[str, str], record: Record, unit: str = "") -> list[str]:
    """A line for each range in the training data."""
    boxes = (record.get("ranges") or {}).items()
    return [f"- {names[name]}: {low:.3g} to {high:.3g}{unit}" for name, (low, high) in boxes]


def _training(members: Members) -> str:
    """Settings that all members share, then one line for each run."""
    shared = {
        key: members[0][key]
        for key in SETTINGS
        if key in members[0] and all(member.get(key) == members[0][key] for member in members)
    }
    lines = ["```yaml", yaml.safe_dump(shared, sort_keys=False).rstrip(), "```", ""]
    rows = []
    for place, member in enumerate(members):
        training = member.get("training") or {}
        own = {**training, **(member.get("provenance") or {}), "seed": member.get("seed", "")}
        rows.append([str(place), *_run(own)])
        rows += [[f"{place}, before", *_run(run)] for run in training.get("earlier") or []]
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


def training_time(members: Members, digits: int) -> str:
    """A sentence on how long all trainings took; empty where one is not recorded."""
    seconds = [training_seconds(member) for member in members]
    if None in seconds:
        return ""
    devices = sorted({str(member["training"].get("device", "cpu")) for member in members})
    minutes = sum(seconds) / 60
    return f" Training took {minutes:.{digits}f} minutes in all ({', '.join(devices)})."


def score_table(headings: Mapping[str, str], rows: Mapping[str, Mapping[str, float]]) -> str:
    """Rows of scores, by name."""
    cells = [[name, *(number(row[key]) for key in headings)] for name, row in rows.items()]
    return table(["", *headings.values()], cells)


def number(value: float | None) -> str:
    """A figure in a table; empty where there is none."""
    if value is None:
        return ""
    return (
        str(value) if isinstance(value, int) else f"{value:.2e}" if value < 0.1 else f"{value:.3f}"
    )


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
