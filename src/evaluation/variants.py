"""Names of checkpoints, and what several seeds of one variant say together.

A variant is everything that decides a training but its seed: architecture, head, loss, optimizer,
data, grid, angles. Checkpoints of one variant are its seeds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dmftnet.evaluation.loop_sets import judged

DEFINING = ("model", "head", "loss", "optimizer", "grid", "angles", "resolution", "data", "members")
COLUMNS = {
    "val_median": ("val", "kl_median"),
    "kl_median": ("test", "kl_median"),
    "kl_90": ("test", "kl_90"),
    "kl_worst": ("test", "kl_worst"),
    "blocks_median": ("blocks", "kl_median"),
    "blocks_90": ("blocks", "kl_90"),
    "converged": ("closure", "converged"),
    "right_branch": ("closure", "right_branch"),
    "loop_kl_median": ("closure", "kl_median"),
    "loop_kl_worst": ("closure", "kl_worst"),
    "A0_error": ("closure", "A0_error"),
    "Z_error": ("closure", "Z_error"),
    "filling_error": ("closure", "filling_error"),
    "minutes": ("training", "minutes"),
}
"""Columns of the table of variants, and where a model's metrics hold them; ``closure`` is that of
the loops which are judged."""


def variant_names(
    records: Sequence[Mapping[str, Any]], paths: Sequence[Path]
) -> tuple[list[str], list[str]]:
    """Names of the variants and of the checkpoints, one each, the latter unique.

    A variant's name says architecture, head and loss; where two variants would be called the same,
    also the folder of the first checkpoint.
    """
    keys = [_key(record) for record in records]
    by_key: dict[str, str] = {}
    for key, record, path in zip(keys, records, paths, strict=True):
        if key not in by_key:
            name = describe(record)
            by_key[key] = f"{name} ({path.name})" if name in by_key.values() else name
    variants = [by_key[key] for key in keys]
    labels = []
    for variant, record, path in zip(variants, records, paths, strict=True):
        label = variant
        if variants.count(variant) > 1:
            label = f"{variant}, seed {record.get('seed', '?')}"
        labels.append(f"{label} ({path.name})" if label in labels else label)
    return variants, labels


def describe(record: Mapping[str, Any]) -> str:
    """Architecture, head, loss, what was added to the data or trained before, in a few words."""
    if "members" in record:
        return f"ensemble of {len(record['members'])}"
    _, module, cls = record["model"]["_target_"].rsplit(".", 2)
    if module == "baselines":
        return {"NearestNeighbour": "nearest neighbour"}.get(cls, "kernel ridge")
    head = record["head"]["_target_"].rsplit(".", 1)[1].removesuffix("Head").lower()
    if record["model"].get("log_residual"):  # the output corrects the guesses
        head += ", residual"
    elif record["model"].get("guesses"):  # which are inputs alone
        head += ", guesses"
    loss = record.get("loss") or {}
    kind = str(loss.get("_target_", "")).rsplit(".", 1)[-1].removesuffix("Loss").lower()
    parts = [module, head]
    if kind not in ("", "derivative"):
        parts.append(kind)
    if loss.get("amplitude"):
        parts.append("amplitude")
    if loss.get("lam") is not None:
        parts.append(f"lam {loss['lam']:g}")
    data = record.get("data") or {}
    _, *added = str(data.get("file", "")).split(", ")
    parts += [f"+ {Path(name).stem}" for name in added]
    if data.get("held_out_U"):
        parts.append("U blocks held out")
    if _is_fine_tuned(record):
        parts.append("fine-tuned")
    return ", ".join(parts)


def is_zero_lam(record: Mapping[str, Any]) -> bool:
    """Trained without the derivative's share of the loss."""
    return (record.get("loss") or {}).get("lam") == 0


def variant_table(models: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One entry a variant: its seeds, and mean and standard deviation of each of `COLUMNS`.

    Parameters
    ----------
    models : mapping of label to metrics
        As in ``metrics.json``. A quantity that a model lacks is left out; one seed has no spread.

    Returns
    -------
    list of dict, the lowest median error on the validation trajectories first
    """
    table = []
    for variant in dict.fromkeys(entry["variant"] for entry in models.values()):
        entries = [entry for entry in models.values() if entry["variant"] == variant]
        row: dict[str, Any] = {
            "variant": variant,
            "seeds": len(entries),
            "baseline": entries[0]["baseline"],
            "parameters": entries[0]["parameters"],
            "zero_lam": entries[0]["zero_lam"],
        }
        parts = [{**entry, "closure": judged(entry["loops"])["closure"]} for entry in entries]
        for name, (part, key) in COLUMNS.items():
            values = [entry[part][key] for entry in parts if entry.get(part)]
            if values:
                spread = float(np.std(values, ddof=1)) if len(values) > 1 else None
                row[name] = {"mean": float(np.mean(values)), "spread": spread}
        table.append(row)
    return sorted(table, key=lambda row: row["val_median"]["mean"])


def _key(record: Mapping[str, Any]) -> str:
    decisive = {key: record.get(key) for key in DEFINING}
    decisive["fine_tuned"] = _is_fine_tuned(record)
    return json.dumps(decisive, sort_keys=True, default=str)


def _is_fine_tuned(record: Mapping[str, Any]) -> bool:
    return bool((record.get("training") or {}).get("earlier"))
