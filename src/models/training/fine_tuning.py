"""Training that starts from the weights of an earlier run, for instance with more data.

Its checkpoint lists the earlier runs under ``training.earlier``, latest first, so that cost and
origin remain complete.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dmftnet import checks
from dmftnet.errors import DmftnetError
from dmftnet.models.networks.spectral_model import SpectralModel
from dmftnet.models.training.baselines import Baseline
from dmftnet.models.training.checkpoint import load_model

MUST_AGREE = ("model", "head", "grid")


def begin_with(
    model: SpectralModel, description: Mapping[str, Any], directory: str | Path
) -> list[dict[str, Any]]:
    """Give `model` the weights of the run in `directory`.

    Parameters
    ----------
    model : SpectralModel
    description : mapping
        ``model, head, grid`` of `model`, as a checkpoint records them.
    directory : path
        Run folder of ``train.py``, or a member of what ``ship.py`` wrote.

    Returns
    -------
    list of dict
        What ``training.earlier`` of the new run is to hold.

    Raises
    ------
    DmftnetError
        If there is no such run, or it is of another model.
    """
    checks.path("init_from", directory, "a run folder of train.py, or null")
    earlier = load_model(directory)
    record = earlier.record
    if "members" in record or isinstance(earlier, Baseline):
        kind = "an ensemble" if "members" in record else "no network"
        raise DmftnetError(
            f"init_from: '{directory}' holds {kind}; give the folder of a single network"
        )
    for section in MUST_AGREE:
        for key in sorted({*description[section], *record[section]}):
            wanted, found = description[section].get(key), record[section].get(key)
            if wanted != found:
                raise DmftnetError(
                    f"init_from: {section}.{key} = {wanted}, but '{directory}' was trained with "
                    f"{found}; set it to that, or start afresh with init_from=null"
                )
    model.load_state_dict(earlier.state_dict())
    training = dict(record.get("training") or {})
    before = training.pop("earlier", None) or []
    origin = record.get("provenance") or {}
    own = {key: record[key] for key in ("seed", "optimizer", "data") if key in record}
    origin = {key: origin[key] for key in ("command", "commit") if key in origin}
    return [{**training, **own, **origin}, *before]


def training_seconds(record: Mapping[str, Any]) -> float | None:
    """Seconds of a checkpoint's training and of all runs before it; None where not recorded."""
    training = record.get("training") or {}
    parts = [training, *(training.get("earlier") or [])]
    seconds = [part.get("seconds") for part in parts]
    return None if None in seconds else sum(seconds)
