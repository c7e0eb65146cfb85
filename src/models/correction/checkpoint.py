"""Trained corrections on disk, see `dmftnet.models.training.folder`.

``model.yaml`` says how to build the model (class, approximations that it reads, axis), with which
solvers those approximations are made, what its data were, how good it was, where it came from. A
folder whose ``model.yaml`` lists ``members`` is their ensemble.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dmftnet import checks
from dmftnet.errors import DmftnetError, SettingError, StoreError
from dmftnet.models.correction.ensemble import CorrectionEnsemble
from dmftnet.models.correction.model import CorrectionModel
from dmftnet.models.training.folder import (
    DESCRIPTION,
    built,
    check_members,
    check_weights,
    model_class,
    read_description,
    read_weights,
    save_folder,
    write_yaml,
)

SCHEMA = "dmftnet-correction"
SCHEMA_VERSION = 1
REQUIRED = ("model", "inputs", "size", "accuracy", "solvers")
SECTIONS = ("model", "solvers", "ranges", "limits", "data", "training", "provenance")


def build_correction(
    model: Mapping[str, Any],
    inputs: Sequence[str],
    size: float,
    accuracy: float,
    n_orb: int = 1,
) -> CorrectionModel:
    """An untrained model from plain configs.

    Parameters
    ----------
    model : mapping
        ``_target_`` and its arguments.
    inputs, size, accuracy, n_orb : see `CorrectionModel`

    Raises
    ------
    DmftnetError
        If the target is no correction, or does not take the arguments.
    """
    model = checks.section("model", model)
    cls = model_class(model.get("_target_"))
    if not issubclass(cls, CorrectionModel):
        raise DmftnetError(
            f"model {cls.__name__} is no correction at finite temperature; choose model=correction "
            "or another of conf/model/correction*.yaml"
        )
    arguments = {key: value for key, value in model.items() if key != "_target_"}
    known = {"inputs": list(inputs), "size": size, "accuracy": accuracy, "n_orb": n_orb}
    return built(cls, **known, **arguments)


def save_correction(
    directory: str | Path, model: CorrectionModel, record: Mapping[str, Any]
) -> Path:
    """Write weights and description; `record` holds all of `REQUIRED`, and whatever else."""
    missing = [key for key in REQUIRED if key not in record]
    if missing:
        raise StoreError(f"a correction's description lacks {missing}; give all of {REQUIRED}")
    return save_folder(directory, model, _described(record))


def write_correction(directory: Path, record: Mapping[str, Any]) -> None:
    """Write ``model.yaml`` alone."""
    write_yaml(directory, _described(record))


def _described(record: Mapping[str, Any]) -> dict[str, Any]:
    return {"schema": SCHEMA, "schema_version": SCHEMA_VERSION, **record}


def read_correction(directory: str | Path) -> dict[str, Any]:
    """The checked content of a folder's ``model.yaml``."""
    path, record = read_description(directory, SCHEMA, SCHEMA_VERSION)
    missing = [key for key in REQUIRED if key not in record]
    if missing:
        raise StoreError(f"'{path}' lacks {missing}; the file is incomplete, train again")
    if "members" in record:
        check_members(path, record["members"])
    try:
        for key in ("size", "accuracy"):
            checks.number(key, record[key], above=0)
        for key in SECTIONS:
            checks.section(key, record.get(key) or {})
    except SettingError as error:
        raise StoreError(f"'{path}': {error}; copy the file again, or train") from error
    inputs = record["inputs"]
    if not isinstance(inputs, list) or not all(isinstance(name, str) for name in inputs):
        raise StoreError(
            f"'{path}': inputs = {checks.shown(inputs)}; copy the file again, or train"
        )
    unknown = [name for name in inputs if name not in checks.section("solvers", record["solvers"])]
    if unknown:
        raise StoreError(f"'{path}' names no solver for {unknown}; copy the file again, or train")
    return record


def load_correction(directory: str | Path) -> CorrectionModel | CorrectionEnsemble:
    """A trained model, or an ensemble, in evaluation mode, with its description as ``record``.

    Raises
    ------
    StoreError
        If files are missing or damaged, or the weights belong to another model.
    """
    directory = Path(directory)
    record = read_correction(directory)
    if "members" in record:
        own = {name: read_correction(directory / name) for name in record["members"]}
        for name, described in own.items():
            if "members" in described:
                raise StoreError(
                    f"'{directory / name}' is an ensemble itself; a member is a single model"
                )
        members = [_load_one(directory / name, described) for name, described in own.items()]
        model: CorrectionModel | CorrectionEnsemble = CorrectionEnsemble(members)
    else:
        model = _load_one(directory, record)
    model.record = record
    return model.eval()


def _load_one(directory: Path, record: Mapping[str, Any]) -> CorrectionModel:
    path, state = read_weights(directory)
    own = (record[key] for key in ("model", "inputs", "size", "accuracy"))
    model = build_correction(*own, record.get("n_orb", 1))
    model.resize(state)
    check_weights(path, model, state, record["model"]["_target_"].rpartition(".")[2])
    model.load_state_dict(state)
    return model


__all__ = [
    "DESCRIPTION",
    "build_correction",
    "load_correction",
    "read_correction",
    "save_correction",
    "write_correction",
]
