"""Trained models on disk: ``model.safetensors`` (weights) and ``model.yaml`` (everything else).

Nothing is unpickled, and a checkpoint can only name classes of `dmftnet.models`. ``model.yaml``
says how to build the model (network, head, grid, angles), what its data were (resolution, hash,
ranges), how good it was, and where it came from.

A folder is also a model where its ``model.yaml`` lists ``members``, the names of folders inside it:
then it is their ensemble (`dmftnet.models.shipping.shipped` writes such folders).
"""

from __future__ import annotations

import importlib
import inspect
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import load_file, save_file

from dmftnet import checks
from dmftnet.errors import DmftnetError, SettingError, StoreError
from dmftnet.models.networks.ensemble import Ensemble
from dmftnet.models.networks.heads import Head
from dmftnet.models.networks.network import SpectralNetwork
from dmftnet.models.networks.spectral_model import SpectralModel
from dmftnet.models.training.baselines import Baseline
from dmftnet.models.training.record import REQUIRED, check_record, upgraded
from dmftnet.provenance import provenance, sha256_of_all

SCHEMA = "dmftnet-model"
SCHEMA_VERSION = 1
WEIGHTS, DESCRIPTION = "model.safetensors", "model.yaml"
PACKAGE = "dmftnet.models."
CLASS = re.compile(r"dmftnet\.models(\.\w+)+\.\w+")


def build_model(
    model: Mapping[str, Any],
    head: Mapping[str, Any] | None,
    grid: Mapping[str, float],
    angles: Sequence[float],
    resolution: Sequence[float],
) -> SpectralModel:
    """Build an untrained model from plain configs.

    Parameters
    ----------
    model : mapping
        ``_target_`` (a network, or a baseline) and its arguments.
    head : mapping
        ``_target_`` and arguments; baselines need none.
    grid, angles : see `SpectralModel`
    resolution : (eta, slope), in D
        Of the data, see `SpectralNetwork`.

    Raises
    ------
    DmftnetError
        If a target is no class of `dmftnet.models` or does not take the arguments.
    """
    model = checks.section("model", model)
    grid = checks.grid("dataset.grid", grid)
    cls = _model_class(model.get("_target_"))
    arguments = {key: value for key, value in model.items() if key != "_target_"}
    if issubclass(cls, Baseline):
        return _build(cls, grid=grid, angles=angles, **arguments)
    head = {} if head is None else checks.section("head", head)
    head_cls = _model_class(head.get("_target_", "none"))
    if not (issubclass(cls, SpectralNetwork) and issubclass(head_cls, Head)):
        raise DmftnetError(
            f"model {cls.__name__} with head {head_cls.__name__} is not a network with a "
            "head; choose one of conf/model and one of conf/head"
        )
    arguments = {"n_params": head_cls.n_params, **arguments}
    net = _build(cls, grid=grid, resolution=resolution, **arguments)
    options = {key: value for key, value in head.items() if key != "_target_"}
    return _build(head_cls, net=net, grid=grid, angles=angles, **options)


def _model_class(target: Any) -> type:
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


def _build(cls: type, **arguments) -> Any:
    try:
        checks.names(cls, "it", arguments, complete=True)
    except SettingError as exc:
        raise DmftnetError(f"{cls.__name__} cannot be built: {exc}; check its config") from None
    return cls(**arguments)


def describe_data(datamodule, dataset: Mapping[str, Any]) -> dict[str, Any]:
    """What a checkpoint records of its training data: grid, angles, resolution, hash, ranges.

    ``ranges`` are those of U and of ``|eps_d + U/2|`` (mirror images included) in training, in D.
    """
    U, eps_d = datamodule.arrays("train").params.T.astype(float)
    shift = abs(eps_d + U / 2)
    given = dataset.get("path", "")
    paths = [Path(p) for p in ([given] if isinstance(given, str | Path) else given)]
    found = all(path.is_file() for path in paths)
    blocks = [list(block) for block in datamodule.held_out_U]
    return {
        "grid": dict(dataset["grid"]),
        "angles": list(dataset["angles"]),
        "resolution": list(dataset["resolution"]),
        "data": {
            "file": ", ".join(path.name for path in paths),
            "sha256": sha256_of_all(paths) if found else "not a file",
            **({"held_out_U": blocks} if blocks else {}),
        },
        "ranges": {
            name: [round(float(values.min()), 6), round(float(values.max()), 6)]
            for name, values in (("U", U), ("shift", shift))
        },
    }


def save_model(directory: str | Path, model: SpectralModel, record: Mapping[str, Any]) -> Path:
    """Write a model's weights and description; each file appears complete or not at all.

    Parameters
    ----------
    directory : path
        Created if need be.
    model : SpectralModel
    record : mapping of plain values
        ``model, head, grid, angles, resolution`` as `build_model` takes them; further keys (data
        hash, ranges, metrics) are kept as they are.
    """
    missing = [key for key in REQUIRED if key not in record]
    if missing:
        raise StoreError(f"a model's description lacks {missing}; give all of {list(REQUIRED)}")
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    weights = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    temporary = directory / f"{WEIGHTS}.part"
    save_file(weights, temporary)
    os.replace(temporary, directory / WEIGHTS)
    write_description(directory, {**record, "provenance": provenance()})
    return directory


def write_description(directory: Path, record: Mapping[str, Any]) -> None:
    """Write ``model.yaml``; it appears complete or not at all."""
    description = {"schema": SCHEMA, "schema_version": SCHEMA_VERSION, **record}
    temporary = directory / f"{DESCRIPTION}.part"
    temporary.write_text(yaml.safe_dump(description, sort_keys=False))
    os.replace(temporary, directory / DESCRIPTION)


def read_record(directory: str | Path) -> dict[str, Any]:
    """The checked content of a checkpoint's ``model.yaml``."""
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
    if not isinstance(record, dict) or record.get("schema") != SCHEMA:
        raise StoreError(f"'{path}' is no model description; give the run folder of train.py")
    if record.get("schema_version") != SCHEMA_VERSION:
        raise StoreError(
            f"'{path}' has schema version {record.get('schema_version')}, this dmftnet reads "
            f"{SCHEMA_VERSION}; train again, or use the dmftnet that wrote it"
        )
    record = upgraded(record)
    check_record(path, record)
    return record


def load_model(directory: str | Path) -> SpectralModel:
    """Rebuild a trained model, in evaluation mode, with its description as ``model.record``.

    Raises
    ------
    StoreError
        If files are missing or damaged, or the weights belong to another model.
    """
    record = read_record(directory)
    directory = Path(directory)
    model = (
        _load_members(directory, record) if "members" in record else _load_one(directory, record)
    )
    model.record = record
    return model.eval()


def load_ensemble(directories: Sequence[str | Path]) -> SpectralModel:
    """The ensemble of several checkpoints, or the model itself where there is but one.

    ``model.record`` holds what all members must share, ``resolution``, and the part of the box of
    U and shift that all have seen.
    """
    if len(directories) == 1:
        return load_model(directories[0])
    model = Ensemble([load_model(directory) for directory in directories]).eval()
    records = [member.record for member in model.members]
    resolutions = [list(record["resolution"]) for record in records]
    if any(resolution != resolutions[0] for resolution in resolutions):
        raise DmftnetError(
            f"ensemble: the members' data have resolutions {resolutions}; train all with one "
            "dataset.resolution"
        )
    boxes = [record.get("ranges") or {} for record in records]
    names = [name for name in boxes[0] if all(name in box for box in boxes)]
    ranges = {
        name: [max(box[name][0] for box in boxes), min(box[name][1] for box in boxes)]
        for name in names
    }
    model.record = {"resolution": resolutions[0], "ranges": ranges}
    return model


def shipped_record(directories: Sequence[str | Path]) -> dict[str, Any] | None:
    """Description of the shipped folder whose members are just these; None if there is none."""
    folders = [Path(directory) for directory in directories]
    parent = folders[0].parent
    if not (parent / DESCRIPTION).is_file():
        return None
    record = read_record(parent)
    same = [parent / name for name in record.get("members", [])] == folders
    return record if same else None


def _load_members(directory: Path, record: Mapping[str, Any]) -> Ensemble:
    members = {name: read_record(directory / name) for name in record["members"]}
    for name, own in members.items():
        if "members" in own:
            raise StoreError(
                f"'{directory / name}' is an ensemble itself; a member is a single model"
            )
    return Ensemble([load_model(directory / name) for name in record["members"]])


def _load_one(directory: Path, record: Mapping[str, Any]) -> SpectralModel:
    path = directory / WEIGHTS
    try:
        state = load_file(path)
    except FileNotFoundError:
        raise StoreError(f"'{path}' is missing; copy it next to {DESCRIPTION}, or train") from None
    except Exception as exc:  # of a damaged file safetensors raises almost anything
        raise StoreError(
            f"'{path}' is damaged or truncated ({checks.reason(exc)}); copy it again, or train"
        ) from None
    model = build_model(*(record[key] for key in REQUIRED))
    if isinstance(model, Baseline):
        model.prepare(state)
    _check_weights(path, model, state, record)
    model.load_state_dict(state)
    return model


def _check_weights(
    path: Path, model: SpectralModel, state: dict[str, torch.Tensor], record: dict[str, Any]
) -> None:
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in state.items()}
    architecture = record["model"]["_target_"].rpartition(".")[2]
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
