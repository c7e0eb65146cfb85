"""The entries of a network's ``model.yaml``, checked when it is read.

People read this file and may change it: every entry that is used has its type and limits here, or,
where other kinds of models have it too, in `dmftnet.models.training.kind`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dmftnet import checks
from dmftnet.errors import SettingError
from dmftnet.models.training.kind import check_class
from dmftnet.physics.grids.real_axis import FrequencyGrid

REQUIRED = ("model", "head", "grid", "angles", "resolution")
RANGES = ("U", "shift")
MAX_SHARPENING = 20
"""Most steps of sharpening: each amplifies features finer than the resolution, and noise."""

FORMER_KEYS = {"references": "guesses"}
"""Former names of networks' arguments."""

FORMER_GUESSES = ["ipt", "hybridization", "lower", "middle", "upper"]
"""Those of every network whose description names none."""

OF_BATH = "bath"
"""Units of energy of what a network sees: D of the problem's bath (`dmftnet.data.own_units`)."""


def upgraded(record: Mapping[str, Any]) -> dict[str, Any]:
    """A description of an earlier version in the form of this one.

    The cheap spectra that a network corrects are called ``guesses``, not ``references``. Which they
    are had no name.
    """
    model = record.get("model")
    if isinstance(model, dict):
        model = {FORMER_KEYS.get(key, key): value for key, value in model.items()}
        if "guesses" in model:
            model.setdefault("guess_names", list(FORMER_GUESSES))
        return {**record, "model": model}
    return record


def check_record(record: Mapping[str, Any]) -> None:
    """Raise InvalidProblemError or SettingError unless the values are possible."""
    if record["head"] is not None:  # a baseline has none
        check_class("head", record["head"])
    FrequencyGrid.geometric(**checks.grid("grid", record["grid"]))
    checks.numbers("angles", record["angles"], at_least_size=1, above=0, below=np.pi / 2)
    checks.resolution("resolution", record["resolution"])
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
