"""The files of a model: ``model.safetensors`` (weights) and ``model.yaml`` (everything else).

Nothing is unpickled, and a description can only name classes of `dmftnet.models`. What it must hold
is a matter of the kind of model (`dmftnet.models.training.kind`).
"""

from __future__ import annotations

import importlib
import inspect
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import load_file, save_file

from dmftnet import checks
from dmftnet.errors import DmftnetError, SettingError, StoreError
from dmftnet.provenance import provenance

WEIGHTS, DESCRIPTION = "model.safetensors", "model.yaml"
TRAINING_POINTS = "training_points.safetensors"
"""Beside the weights of what ships: from it the distance to the training data is rebuilt."""

PACKAGE = "dmftnet.models."
USES = {
    "dmftnet-model": "solver=network, or ship.py kind=networks",
    "dmftnet-correction": "solver=correction, or ship.py kind=corrections",
}
"""What folders of each schema are for."""

CLASS = re.compile(r"dmftnet\.models(\.\w+)+\.\w+")


def model_class(target: Any) -> type:
    """The class of a ``_target_``.

    Raises
    ------
    DmftnetError
        If it is none of `dmftnet.models`, or cannot be built.
    """
    module, _, name = str(target).rpartition(".")
    if not f"{module}.".startswith(PACKAGE):
        raise DmftnetError(
            f"model class {checks.shown(target)} is not part of {PACKAGE[:-1]}; name one that is"
        )
    try:
        # a name that is none must not reach the import, which would say so in its own ways
        found = getattr(importlib.import_module(module), name) if CLASS.fullmatch(target) else None
    except (ImportError, AttributeError):
        found = None
    if not inspect.isclass(found) or inspect.isabstract(found):
        raise DmftnetError(
            f"model class {checks.shown(target)} does not exist, or is no class that can be built; "
            "see conf/model and conf/head for what does"
        )
    return found


def built(cls: type, **arguments) -> Any:
    """An object of the class.

    Raises
    ------
    DmftnetError
        If it does not take the arguments.
    """
    try:
        checks.names(cls, "it", arguments, complete=True)
    except SettingError as exc:
        raise DmftnetError(f"{cls.__name__} cannot be built: {exc}; check its config") from None
    return cls(**arguments)


def save_folder(
    directory: str | Path, model: torch.nn.Module, described: Mapping[str, Any]
) -> Path:
    """Write weights and description, with provenance; each file appears complete or not at all."""
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    weights = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    temporary = directory / f"{WEIGHTS}.part"
    save_file(weights, temporary)
    os.replace(temporary, directory / WEIGHTS)
    write_yaml(directory, {**described, "provenance": provenance()})
    return directory


def write_yaml(directory: Path, described: Mapping[str, Any]) -> None:
    """Write ``model.yaml``; it appears complete or not at all."""
    temporary = directory / f"{DESCRIPTION}.part"
    temporary.write_text(yaml.safe_dump(dict(described), sort_keys=False))
    os.replace(temporary, directory / DESCRIPTION)


def read_description(
    directory: str | Path, schema: str, version: int
) -> tuple[Path, dict[str, Any]]:
    """Path and content of a folder's ``model.yaml``.

    Raises
    ------
    StoreError
        If there is none, or it is of another schema or version.
    """
    path = checks.path("checkpoint", directory, "a run folder of train.py") / DESCRIPTION
    if not path.is_file():
        raise StoreError(
            f"no checkpoint at '{directory}': it has no {DESCRIPTION}; give the run folder of "
            "train.py, or a folder that ship.py wrote"
        )
    try:
        record = yaml.safe_load(path.read_text())
    except Exception:  # a parser raises almost anything: of dates, numbers, keys, nesting
        record = None
    other = record.get("schema") if isinstance(record, dict) else None
    if isinstance(other, str) and other != schema and other in USES:
        raise StoreError(
            f"'{path}' has schema {other}, {schema} is needed here; use it with {USES[other]}"
        )
    if not isinstance(record, dict) or other != schema:
        raise StoreError(f"'{path}' is no model description; give the run folder of train.py")
    if record.get("schema_version") != version:
        raise StoreError(
            f"'{path}' has schema version {record.get('schema_version')}, this dmftnet reads "
            f"{version}; train again, or use the dmftnet that wrote it"
        )
    return path, record


def check_members(path: Path, names: Any) -> None:
    """Raise StoreError unless what a description lists as members are names of folders in it."""
    if not isinstance(names, list) or not names or not all(map(_is_folder_name, names)):
        raise StoreError(
            f"'{path}' lists members {checks.shown(names)}; give names of folders inside it"
        )


def _is_folder_name(name: Any) -> bool:
    """Not empty, which would be the folder itself, and not elsewhere."""
    return isinstance(name, str) and bool(name) and Path(name).name == name != ".."


def read_weights(directory: Path) -> tuple[Path, dict[str, torch.Tensor]]:
    """Path and arrays of a folder's ``model.safetensors``.

    Raises
    ------
    StoreError
        If it is missing or damaged.
    """
    path = directory / WEIGHTS
    try:
        state = load_file(path)
    except FileNotFoundError:
        raise StoreError(f"'{path}' is missing; copy it next to {DESCRIPTION}, or train") from None
    except Exception as exc:  # of a damaged file safetensors raises almost anything
        raise StoreError(
            f"'{path}' is damaged or truncated ({checks.reason(exc)}); copy it again, or train"
        ) from None
    return path, state


def check_weights(
    path: Path, model: torch.nn.Module, state: Mapping[str, torch.Tensor], architecture: str
) -> None:
    """Raise unless weights are those of a model, and finite.

    Raises
    ------
    StoreError
    """
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in state.items()}
    remedy = f"{DESCRIPTION} and {WEIGHTS} must come from the same run"
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) == found.get(name):
            continue
        raise StoreError(
            f"'{path}' does not fit {architecture}: {name} has shape "
            f"{found.get(name, 'none')}, the model wants {expected.get(name, 'none')}; {remedy}"
        )
    for name, tensor in state.items():
        if not torch.isfinite(tensor).all():
            raise StoreError(
                f"'{path}': {name} holds a value that is not finite; copy it again, or train"
            )
