"""One reader and writer for the folders of every kind of model.

A folder is a model: its weights and ``model.yaml``, which says how to build it, what its data were,
how good it was, and where it came from (`dmftnet.models.training.folder`). Where ``model.yaml``
lists ``members``, the names of folders inside it, it is their ensemble; what `ship.py` wrote holds
``limits`` and training points besides. What a description must hold, and how a model is built from
it, is a matter of the `FolderKind`: `dmftnet.models.training.checkpoint` has that of networks,
`dmftnet.models.correction.checkpoint` that of corrections.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from safetensors.numpy import load_file

from dmftnet import checks
from dmftnet.errors import InvalidProblemError, SettingError, SpaceTooLargeError, StoreError
from dmftnet.models.training.folder import (
    TRAINING_POINTS,
    check_members,
    check_weights,
    read_description,
    read_weights,
    save_folder,
    write_yaml,
)
from dmftnet.moved import renamed, with_targets

SCHEMA_VERSION = 1
LIMITS = ("spread", "distance")
SECTIONS = (
    "model", "loss", "optimizer", "data", "test", "val", "calibration", "cost", "provenance",
    "training",
)  # fmt: skip
"""Entries that every kind may have; mappings, or none."""

Model = TypeVar("Model", bound=torch.nn.Module)
Points = TypeVar("Points")


@dataclass(frozen=True)
class FolderKind(Generic[Model]):
    """How the folders of one kind of model are read and written.

    Parameters
    ----------
    schema : str
    noun : str
        What one is called in errors.
    required : tuple of str
        Entries that every description has.
    ranges : tuple of str
        Parameters whose range in the training data a description may hold.
    shared : tuple of str
        What the description of an ensemble has of its members'.
    check : callable
        Raises InvalidProblemError or SettingError where an entry of its own is wrong.
    build : callable
        The untrained model of a description and of the weights that it is to take.
    ensemble : type
        Of its members' list.
    upgrade : callable
        A description of an earlier version in the form of this one.
    """

    schema: str
    noun: str
    required: tuple[str, ...]
    ranges: tuple[str, ...]
    shared: tuple[str, ...]
    check: Callable[[Mapping[str, Any]], None]
    build: Callable[[Mapping[str, Any], Mapping[str, torch.Tensor]], Model]
    ensemble: type[Model]
    upgrade: Callable[[dict[str, Any]], dict[str, Any]] = dict

    def read(self, directory: str | Path) -> dict[str, Any]:
        """The checked content of a folder's ``model.yaml``, in today's form.

        Raises
        ------
        StoreError
            If it is missing, of another kind or version, incomplete, or a value is not possible.
        """
        path, found = read_description(directory, self.schema, SCHEMA_VERSION)
        record = self.upgrade(with_targets(found, renamed))
        missing = [key for key in self.required if key not in record]
        if missing:
            raise StoreError(f"'{path}' lacks {missing}; the file is incomplete, train again")
        if "members" in record:
            check_members(path, record["members"])
        try:
            check_common(record, self.ranges)
            self.check(record)
        except (InvalidProblemError, SpaceTooLargeError) as error:
            raise StoreError(f"'{path}': {error}; copy the file again, or train") from error
        return record

    def described(self, directory: str | Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """Descriptions of a folder and of its members, of a single model its own.

        Raises
        ------
        StoreError
            As `read`, and if a member is an ensemble itself.
        """
        directory = Path(directory)
        record = self.read(directory)
        if "members" not in record:
            return record, [record]
        members = [self.read(directory / name) for name in record["members"]]
        for name, own in zip(record["members"], members, strict=True):
            if "members" in own:
                raise StoreError(
                    f"'{directory / name}' is an ensemble itself; a member is a single model"
                )
        return record, members

    def load(self, directory: str | Path) -> Model:
        """A trained model, or an ensemble, in evaluation mode, with its description as ``record``.

        Raises
        ------
        StoreError
            If files are missing or damaged, or the weights belong to another model.
        """
        directory = Path(directory)
        record, members = self.described(directory)
        if "members" not in record:
            return self._single(directory, record)
        own = zip(record["members"], members, strict=True)
        return _ready(self.ensemble([self._single(directory / n, r) for n, r in own]), record)

    def _single(self, directory: Path, record: dict[str, Any]) -> Model:
        path, state = read_weights(directory)
        model = self.build(record, state)
        check_weights(path, model, state, record["model"]["_target_"].rpartition(".")[2])
        model.load_state_dict(state)
        return _ready(model, record)

    def save(self, directory: str | Path, model: Model, record: Mapping[str, Any]) -> Path:
        """Write a model's weights and description; each file appears complete or not at all.

        Parameters
        ----------
        directory : path
            Created if need be.
        record : mapping of plain values
            All of `required`; further keys (data hash, ranges, metrics) are kept as they are.

        Raises
        ------
        StoreError
            If the description would be incomplete.
        """
        missing = [key for key in self.required if key not in record]
        if missing:
            raise StoreError(
                f"a {self.noun}'s description lacks {missing}; give all of {list(self.required)}"
            )
        return save_folder(directory, model, self._with_schema(record))

    def write(self, directory: Path, record: Mapping[str, Any]) -> None:
        """Write ``model.yaml`` alone; it appears complete or not at all."""
        write_yaml(directory, self._with_schema(record))

    def _with_schema(self, record: Mapping[str, Any]) -> dict[str, Any]:
        return {"schema": self.schema, "schema_version": SCHEMA_VERSION, **record}

    def trust(
        self,
        directory: str | Path,
        limits: Mapping[str, float] | None,
        points: Callable[[Mapping[str, Any], dict[str, np.ndarray]], Points],
    ) -> tuple[dict[str, Any], dict[str, float], Points | None]:
        """Ranges and limits of a folder, and what `points` makes of its training points, if any.

        Parameters
        ----------
        limits : mapping, optional
            In place of those on file.
        points : callable
            Takes the description and the arrays on file; may raise StoreError.

        Raises
        ------
        StoreError
            As `read`, and if the training points are damaged.
        """
        record, path = self.read(directory), Path(directory) / TRAINING_POINTS
        found = None
        if path.is_file():
            try:
                found = points(record, load_file(path))
            except Exception as exc:  # of a damaged file safetensors raises almost anything
                raise StoreError(
                    f"'{path}' is damaged ({checks.reason(exc)}); copy it anew, or run ship.py"
                ) from None
        given = checks.section("solver.limits", limits or {})
        return record.get("ranges") or {}, {**(record.get("limits") or {}), **given}, found


def _ready(model: Any, record: dict[str, Any]) -> Any:
    model.record = record
    return model.eval()


def check_common(record: Mapping[str, Any], ranges: tuple[str, ...]) -> None:
    """Raise SettingError unless the entries that every kind may have are possible."""
    for key in SECTIONS:
        if record.get(key) is not None:
            checks.section(key, record[key])
    check_class("model", record["model"])
    for name, box in checks.mapping("ranges", record.get("ranges") or {}, ranges).items():
        checks.numbers(f"ranges.{name}", box, size=2)
    for name, limit in checks.mapping("limits", record.get("limits") or {}, LIMITS).items():
        checks.number(f"limits.{name}", limit)
    for key in ("data", "provenance"):
        _check_words(key, record.get(key) or {})
    if record.get("training") is not None:
        _check_training("training", record["training"])


def check_class(key: str, value: Any) -> None:
    """Raise SettingError unless a section names a class."""
    section = checks.section(key, value)
    if not isinstance(section.get("_target_"), str):
        raise SettingError(f"{key}._target_ = {checks.shown(section.get('_target_'))}: give a name")


def _check_words(key: str, section: Mapping[str, Any]) -> None:
    """Where something came from is text."""
    for name in ("file", "sha256", "command", "commit", "device"):
        if not isinstance(section.get(name, ""), str):
            raise SettingError(f"{key}.{name} = {checks.shown(section[name])}: give text")


def _check_training(key: str, value: Any) -> None:
    training = checks.section(key, value)
    _check_words(key, training)
    if training.get("seconds") is not None:
        checks.number(f"{key}.seconds", training["seconds"], at_least=0)
    earlier = training.get("earlier") or []
    if not isinstance(earlier, list):
        raise SettingError(f"{key}.earlier = {checks.shown(earlier)}: give a list of trainings")
    for number, run in enumerate(earlier):
        _check_training(f"{key}.earlier[{number}]", run)
