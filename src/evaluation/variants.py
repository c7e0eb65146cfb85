"""What the seeds of one variant say together; their names are those of `naming`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dmftnet.evaluation.loop_sets import judged

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
    "loop_common_kl": ("closure", "common_kl_median"),
    "loop_kl_worst": ("closure", "kl_worst"),
    "A0_error": ("closure", "A0_error"),
    "Z_error": ("closure", "Z_error"),
    "filling_error": ("closure", "filling_error"),
    "minutes": ("training", "minutes"),
}
"""Columns of the table of variants, and where a model's metrics hold them; ``closure`` is that of
the loops on which nothing was chosen."""


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
            "network": entries[0]["network"],
            "resolution": entries[0]["resolution"],
            "commit": entries[0].get("commit"),
        }
        parts = [{**entry, "closure": judged(entry["loops"])["closure"]} for entry in entries]
        for name, (part, key) in COLUMNS.items():
            values = [entry[part][key] for entry in parts if key in (entry.get(part) or {})]
            if values:
                spread = float(np.std(values, ddof=1)) if len(values) > 1 else None
                row[name] = {"mean": float(np.mean(values)), "spread": spread}
        table.append(row)
    return sorted(table, key=lambda row: row["val_median"]["mean"])
