"""Checks a training checkpoint before Lightning resumes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from dmftnet import checks
from dmftnet.errors import StoreError

NEEDED = {
    "state_dict": dict,
    "optimizer_states": list,
    "lr_schedulers": list,
    "loops": dict,
    "callbacks": dict,
    "epoch": int,
    "global_step": int,
}
REMEDY = "give a run's checkpoints/last.ckpt, or start afresh with resume=null"


def require_resumable(path: Any, module: torch.nn.Module) -> Path:
    """Raise unless a file is a training checkpoint of this module.

    Parameters
    ----------
    path : path
    module : LightningModule
        What is to be trained.

    Raises
    ------
    StoreError
        If it is missing, damaged, or of another model.
    """
    path = checks.path("resume", path, "a run's checkpoints/last.ckpt, or null")
    if not path.is_file():
        raise StoreError(f"resume: no file '{path}'; give a run's checkpoints/last.ckpt")
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as exc:  # of a damaged file torch raises almost anything, with odd advice
        raise StoreError(
            f"resume: file {path} is damaged, or no checkpoint of a training; {REMEDY}"
        ) from exc
    if not isinstance(found, dict) or not all(
        isinstance(found.get(key), kind) for key, kind in NEEDED.items()
    ):
        raise StoreError(f"resume: file {path} is no checkpoint of a training; {REMEDY}")
    expected, weights = _shapes(module.state_dict()), _shapes(found["state_dict"])
    for name in sorted(expected.keys() | weights.keys(), key=str):
        if expected.get(name) != weights.get(name):
            raise StoreError(
                f"resume: file {path} is of another model, {name} has shape "
                f"{weights.get(name, 'none')} in place of {expected.get(name, 'none')}; {REMEDY}"
            )
    if not all(torch.isfinite(tensor).all() for tensor in found["state_dict"].values()):
        raise StoreError(f"resume: file {path} holds a weight that is not finite; {REMEDY}")
    return path


def _shapes(state: dict[str, Any]) -> dict[str, Any]:
    return {
        name: tuple(value.shape) if isinstance(value, torch.Tensor) else type(value).__name__
        for name, value in state.items()
    }
