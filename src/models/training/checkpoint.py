"""Trained networks and baselines on disk, see `dmftnet.models.training.kind`.

``model.yaml`` says how to build the model (network, head, grid, angles), what its data were
(resolution, hash, ranges), how good it was, and where it came from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from dmftnet import checks
from dmftnet.errors import DmftnetError
from dmftnet.models.networks.ensemble import Ensemble
from dmftnet.models.networks.heads import Head
from dmftnet.models.networks.network import SpectralNetwork
from dmftnet.models.networks.spectral_model import SpectralModel
from dmftnet.models.training.baselines import Baseline
from dmftnet.models.training.folder import DESCRIPTION, built, model_class
from dmftnet.models.training.kind import FolderKind
from dmftnet.models.training.record import OF_BATH, RANGES, REQUIRED, check_record, upgraded
from dmftnet.provenance import sha256_of_all


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
    cls = model_class(model.get("_target_"))
    arguments = {key: value for key, value in model.items() if key != "_target_"}
    if issubclass(cls, Baseline):
        return built(cls, grid=grid, angles=angles, **arguments)
    head = {} if head is None else checks.section("head", head)
    head_cls = model_class(head.get("_target_", "none"))
    if not (issubclass(cls, SpectralNetwork) and issubclass(head_cls, Head)):
        raise DmftnetError(
            f"model {cls.__name__} with head {head_cls.__name__} is not a network with a "
            "head; choose one of conf/model and one of conf/head"
        )
    arguments = {"n_params": head_cls.n_params, "corrects": head_cls.corrects, **arguments}
    net = built(cls, grid=grid, resolution=resolution, **arguments)
    options = {key: value for key, value in head.items() if key != "_target_"}
    if head_cls.corrects == "self_energy":
        options["resolution"] = resolution
    return built(head_cls, net=net, grid=grid, angles=angles, **options)


def describe_data(datamodule, dataset: Mapping[str, Any]) -> dict[str, Any]:
    """What a checkpoint records of its training data: grid, angles, resolution, hash, ranges.

    ``ranges`` are those of U and of ``|eps_d + U/2|`` (mirror images included) in training, in D;
    where the self-energy is put out, in units of the bath's D, which ``units`` then says.
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
        "smoothed": datamodule.smoothed,
        **({"units": OF_BATH} if datamodule.smoothed == "self_energy" else {}),
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


def _of_record(record: Mapping[str, Any], state: Mapping[str, torch.Tensor]) -> SpectralModel:
    model = build_model(*(record[key] for key in REQUIRED))
    if isinstance(model, Baseline):
        model.prepare(state)
    return model


NETWORKS = FolderKind[SpectralModel](
    schema="dmftnet-model",
    noun="network",
    required=REQUIRED,
    ranges=RANGES,
    shared=("head", "grid", "angles", "resolution", "smoothed", "units", "data", "ranges"),
    check=check_record,
    build=_of_record,
    ensemble=Ensemble,
    upgrade=upgraded,
)
"""Folders of networks, and of baselines."""

read_record, save_model, load_model = NETWORKS.read, NETWORKS.save, NETWORKS.load


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
