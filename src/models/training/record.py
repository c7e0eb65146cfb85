"""The entries of a checkpoint's ``model.yaml``, checked when it is read.

People read this file and may change it: every entry that is used has its type and limits here, and
an error names the file and the entry.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dmftnet import checks
from dmftnet.errors import InvalidProblemError, SettingError, SpaceTooLargeError, StoreError
from dmftnet.models.training.folder import check_members
from dmftnet.moved import renamed, with_targets
from dmftnet.physics.grids.real_axis import FrequencyGrid

REQUIRED = ("model", "head", "grid", "angles", "resolution")
RANGES = ("U", "shift")
LIMITS = ("spread", "distance")
MAX_SHARPENING = 20
"""Most steps of sharpening: each amplifies features finer than the resolution, and noise."""

FORMER_KEYS = {"references": "guesses"}
"""Former names of networks' arguments."""

FORMER_GUESSES = ["ipt", "hybridization", "lower", "middle", "upper"]
"""Those of every network whose description names none."""

OF_BATH = "bath"
"""Units of energy of what a network sees: D of the problem's bath (`dmftnet.data.own_units`)."""

SECTIONS = ("loss", "optimizer", "data", "test", "val", "calibration", "cost", "provenance")


def upgraded(record: Mapping[str, Any]) -> dict[str, Any]:
    """A description of an earlier version in the form of this one.

    Classes have moved (`dmftnet.moved`), and the cheap spectra that a network corrects are called
    ``guesses``, not ``references``. Which they are had no name.
    """
    record = with_targets(record, renamed)
    model = record.get("model")
    if isinstance(model, dict):
        model = {FORMER_KEYS.get(key, key): value for key, value in model.items()}
        if "guesses" in model:
            model.setdefault("guess_names", list(FORMER_GUESSES))
        record["model"] = model
    return record


def check_record(path: Path, record: Mapping[str, Any]) -> None:
    """Raise unless a description is complete and its values are possible.

    Raises
    ------
    StoreError
    """
    missing = [key for key in REQUIRED if key not in record]
    if missing:
        raise StoreError(f"'{path}' lacks {missing}; the file is incomplete, train again")
    if "members" in record:
        check_members(path, record["members"])
    try:
        _check_required(record)
        _check_optional(record)
    except (InvalidProblemError, SpaceTooLargeError) as error:
        raise StoreError(f"'{path}': {error}; copy the file again, or train") from error


def _check_required(record: Mapping[str, Any]) -> None:
    _check_class("model", record["model"])
    if record["head"] is not None:  # a baseline has none
        _check_class("head", record["head"])
    FrequencyGrid.geometric(**checks.grid("grid", record["grid"]))
    checks.numbers("angles", record["angles"], at_least_size=1, above=0, below=np.pi / 2)
    checks.resolution("resolution", record["resolution"])


def _check_class(key: str, value: Any) -> None:
    section = checks.section(key, value)
    if not isinstance(section.get("_target_"), str):
        raise SettingError(f"{key}._target_ = {checks.shown(section.get('_target_'))}: give a name")


def _check_optional(record: Mapping[str, Any]) -> None:
    for key in SECTIONS:
        if record.get(key) is not None:
            checks.section(key, record[key])
    for name, box in checks.mapping("ranges", record.get("ranges") or {}, RANGES).items():
        checks.numbers(f"ranges.{name}", box, size=2)
    for name, limit in checks.mapping("limits", record.get("limits") or {}, LIMITS).items():
        checks.number(f"limits.{name}", limit)
    if record.get("filling") is not None:
        checks.numbers("filling", record["filling"], size=2)
    if record.get("smoothed") == "self_energy" and record.get("units") != OF_BATH:
        raise SettingError(
            f"units = {checks.shown(record.get('units'))}: networks that put out the self-energy "
            f"see problems in units of their bath, '{OF_BATH}', since this version"
        )
    if record.get("sharpening") is not None:
        checks.integer("sharpening", record["sharpening"], at_least=0, at_most=MAX_SHARPENING)
    lam = (record.get("loss") or {}).get("lam")
    if lam is not None:
        checks.number("loss.lam", lam)
    for key in ("data", "provenance"):
        _check_words(key, record.get(key) or {})
    if record.get("training") is not None:
        _check_training("training", record["training"])


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
