"""Trained corrections on disk, see `dmftnet.models.training.kind`.

``model.yaml`` says how to build the model (class, approximations that it reads, axis), with which
solvers those approximations are made, what its data were, how good it was, where it came from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from dmftnet import checks
from dmftnet.errors import DmftnetError, SettingError
from dmftnet.models.correction.ensemble import CorrectionEnsemble
from dmftnet.models.correction.model import CorrectionModel
from dmftnet.models.training.folder import built, model_class
from dmftnet.models.training.kind import FolderKind

REQUIRED = ("model", "inputs", "size", "accuracy", "solvers")
RANGES = ("U", "shift", "beta", "J")


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


def check_record(record: Mapping[str, Any]) -> None:
    """Raise SettingError unless the values of a description are possible."""
    for key in ("size", "accuracy"):
        checks.number(key, record[key], above=0)
    checks.integer("n_orb", record.get("n_orb", 1), at_least=1)
    solvers, inputs = checks.section("solvers", record["solvers"]), record["inputs"]
    if not isinstance(inputs, list) or not all(isinstance(name, str) for name in inputs):
        raise SettingError(f"inputs = {checks.shown(inputs)}: give a list of names of `solvers`")
    unknown = [name for name in inputs if name not in solvers]
    if unknown:
        raise SettingError(f"names no solver for {unknown}")


def _of_record(record: Mapping[str, Any], state: Mapping[str, torch.Tensor]) -> CorrectionModel:
    own = (record[key] for key in ("model", "inputs", "size", "accuracy"))
    model = build_correction(*own, record.get("n_orb", 1))
    model.resize(state)
    return model


CORRECTIONS = FolderKind[CorrectionModel | CorrectionEnsemble](
    schema="dmftnet-correction",
    noun="correction",
    required=REQUIRED,
    ranges=RANGES,
    shared=("inputs", "size", "accuracy", "solvers", "data", "ranges"),
    check=check_record,
    build=_of_record,
    ensemble=CorrectionEnsemble,
)

read_correction, save_correction, load_correction = (
    CORRECTIONS.read, CORRECTIONS.save, CORRECTIONS.load,
)  # fmt: skip
