"""The shipped folder: an ensemble with its limits and training points.

``ship.py`` writes such a folder, ``weights/`` in the repository, and `NetworkSolver` reads it:

=================================  ==============================================================
``model.yaml``                     as in `dmftnet.models.training.checkpoint`; on top of it
                                   ``members``, test scores, ``limits`` and how they were calibrated
``member_<i>/``                    the members' checkpoints (none where a single model ships)
``training_points.safetensors``    see `dmftnet.models.solvers.applicability.TrainingDistance`
``README.md``                      the model card (`dmftnet.models.shipping.card`)
=================================  ==============================================================
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors.numpy import load_file, save_file

from dmftnet import checks
from dmftnet.errors import DmftnetError, StoreError
from dmftnet.models.networks.spectral_model import SpectralModel
from dmftnet.models.shipping.ensemble import Ensemble
from dmftnet.models.solvers.applicability import Applicability, TrainingDistance
from dmftnet.models.training.checkpoint import (
    DESCRIPTION,
    WEIGHTS,
    load_model,
    read_record,
    write_description,
)
from dmftnet.physics.grids.real_axis import FrequencyGrid

TRAINING_POINTS = "training_points.safetensors"
ENSEMBLE = "dmftnet.models.shipping.ensemble.Ensemble"


def save_shipped(
    directory: str | Path,
    members: Sequence[str | Path],
    record: Mapping[str, Any],
    distance: TrainingDistance,
) -> Path:
    """Copy checkpoints into one folder, a solver with its limits.

    One checkpoint is copied as it is, several become ``member_0``, ``member_1``, ... The
    copies keep the records of their runs except the run folders.

    Parameters
    ----------
    directory : path
        Must not exist.
    members : sequence of paths
        Folders of single models.
    record : mapping of plain values
        Added to the description: test scores, ``limits``, ``calibration``, ``shipping``, the
        provenance of the folder; ``provenance`` stays that of each training.
    distance : TrainingDistance
    """
    directory = Path(directory)
    directory.mkdir(parents=True)
    records = [read_record(member) for member in members]
    if len(members) == 1:
        shutil.copyfile(Path(members[0]) / WEIGHTS, directory / WEIGHTS)
        common = records[0]
    else:
        names = [f"member_{number}" for number in range(len(members))]
        for name, member, own in zip(names, members, records, strict=True):
            (directory / name).mkdir()
            shutil.copyfile(Path(member) / WEIGHTS, directory / name / WEIGHTS)
            write_description(directory / name, _without_run_folder(own))
        shared = ("head", "grid", "angles", "resolution", "data", "ranges")
        common = {"model": {"_target_": ENSEMBLE}, "members": names}
        common |= {key: records[0][key] for key in shared if key in records[0]}
    save_file(distance.arrays(), directory / TRAINING_POINTS)
    write_description(directory, _without_run_folder({**common, **record}))
    return directory


def _without_run_folder(record: dict[str, Any]) -> dict[str, Any]:
    """The record without run folders, which mean nothing elsewhere."""
    if "provenance" not in record:
        return record
    origin = dict(record["provenance"])
    words = origin.get("command", "").split()
    origin["command"] = " ".join(word for word in words if not word.startswith("hydra."))
    return {**record, "provenance": origin}


def load_ensemble(directories: Sequence[str | Path]) -> SpectralModel:
    """The ensemble of several checkpoints, or the model itself if there is only one.

    ``model.record`` holds the common ``resolution`` and the range of U and shift that all members
    have seen.
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


def load_applicability(
    directory: str | Path, limits: Mapping[str, float] | None = None
) -> Applicability:
    """The box, limits and training points of a checkpoint; `limits` replace those on file."""
    directory = Path(directory)
    record, path = read_record(directory), directory / TRAINING_POINTS
    distance = None
    if path.is_file():
        grid = FrequencyGrid.geometric(**record["grid"])
        try:
            distance = TrainingDistance(grid, **load_file(path))
        except Exception as exc:  # of a damaged file safetensors raises almost anything
            raise StoreError(
                f"'{path}' is damaged ({checks.reason(exc)}); copy it again, or run ship.py"
            ) from None
    limits = {**(record.get("limits") or {}), **checks.section("solver.limits", limits or {})}
    return Applicability(record.get("ranges") or {}, limits, distance)
