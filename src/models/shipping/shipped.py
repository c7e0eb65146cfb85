"""The shipped folder: an ensemble with its limits and training points.

``ship.py`` writes such folders: ``weights/self_energy/`` in the repository, which `NetworkSolver`
reads, and ``weights/correction/``, which `CorrectionSolver` reads:

=================================  ==============================================================
``model.yaml``                     as in `dmftnet.models.training.kind`; on top of it ``members``,
                                   test scores, ``limits`` and how they were calibrated
``member_<i>/``                    the members' checkpoints (none where a single model ships)
``training_points.safetensors``    see `dmftnet.models.solvers.applicability.TrainingDistance`, or
                                   `dmftnet.models.correction.trust.FeatureDistance`
``README.md``                      the model card (`dmftnet.models.shipping.model_card`)
=================================  ==============================================================
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from safetensors.numpy import save_file

from dmftnet.data.files_datamodule import FilesDataModule
from dmftnet.errors import StoreError
from dmftnet.models.training.folder import TRAINING_POINTS, WEIGHTS
from dmftnet.models.training.kind import FolderKind


class Points(Protocol):
    """What the distance to the training data is rebuilt from."""

    def arrays(self) -> dict[str, np.ndarray]: ...


def run_records(kind: FolderKind, checkpoints: Sequence[str]) -> list[dict[str, Any]]:
    """Descriptions of run folders.

    Raises
    ------
    StoreError
        If one is an ensemble already.
    """
    records = [kind.read(checkpoint) for checkpoint in checkpoints]
    for checkpoint, record in zip(checkpoints, records, strict=True):
        if "members" in record:
            raise StoreError(
                f"'{checkpoint}' is no single {kind.noun}; give run folders of train.py"
            )
    return records


def require_data(
    data: FilesDataModule, checkpoints: Sequence[str], records: Sequence[Mapping[str, Any]]
) -> None:
    """Raise StoreError unless all were trained on the files of a data module."""
    for checkpoint, record in zip(checkpoints, records, strict=True):
        origin = record.get("data") or {}
        if origin.get("sha256") != data.data_hash:
            raise StoreError(
                f"'{checkpoint}' was trained on other data ({origin.get('file')}) than "
                f"dataset.path = {', '.join(map(str, data.paths))}: its validation split would "
                "prove nothing; give the dataset it was trained on"
            )


def save_shipped(
    directory: str | Path,
    members: Sequence[str | Path],
    record: Mapping[str, Any],
    distance: Points,
    kind: FolderKind,
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
    distance : Points
        `dmftnet.models.solvers.applicability.TrainingDistance`, or that of corrections.
    kind : FolderKind
    """
    directory = Path(directory)
    directory.mkdir(parents=True)
    records = [kind.read(Path(member)) for member in members]
    if len(members) == 1:
        shutil.copyfile(Path(members[0]) / WEIGHTS, directory / WEIGHTS)
        common = records[0]
    else:
        names = [f"member_{number}" for number in range(len(members))]
        for name, member, own in zip(names, members, records, strict=True):
            (directory / name).mkdir()
            shutil.copyfile(Path(member) / WEIGHTS, directory / name / WEIGHTS)
            kind.write(directory / name, _without_run_folder(own))
        ensemble = f"{kind.ensemble.__module__}.{kind.ensemble.__qualname__}"
        common = {"model": {"_target_": ensemble}, "members": names}
        common |= {key: records[0][key] for key in kind.shared if key in records[0]}
    save_file(distance.arrays(), directory / TRAINING_POINTS)
    kind.write(directory, _without_run_folder({**common, **record}))
    return directory


def _without_run_folder(record: dict[str, Any]) -> dict[str, Any]:
    """The record without run folders, which mean nothing elsewhere."""
    if "provenance" not in record:
        return record
    origin = dict(record["provenance"])
    words = origin.get("command", "").split()
    origin["command"] = " ".join(word for word in words if not word.startswith("hydra."))
    return {**record, "provenance": origin}
