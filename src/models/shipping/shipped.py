"""The shipped folder: an ensemble with its limits and training points.

``ship.py`` writes such folders: ``weights/self_energy/`` in the repository, which `NetworkSolver`
reads, and ``weights/correction/``, which `CorrectionSolver` reads:

=================================  ==============================================================
``model.yaml``                     as in `dmftnet.models.training.kind`; on top of it ``members``,
                                   test scores, ``limits`` and how they were calibrated
``member_<i>/``                    the members' checkpoints, in half precision (none where a single
                                   model ships)
``training_points.safetensors``    see `dmftnet.models.solvers.applicability.TrainingDistance`, or
                                   `dmftnet.models.correction.trust.FeatureDistance`
``README.md``                      the model card (`dmftnet.models.shipping.model_card`)
=================================  ==============================================================
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_tensors

from dmftnet.data.files_datamodule import FilesDataModule
from dmftnet.errors import StoreError
from dmftnet.models.training.folder import TRAINING_POINTS, WEIGHTS, read_weights
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


Evidence = Callable[[list[Path]], tuple[Mapping[str, Any], Points]]
"""From the members' folders to what is added to the description (test scores, ``limits``,
``calibration``, ``shipping``), and the points."""


def save_shipped(
    directory: str | Path, members: Sequence[str | Path], evidence: Evidence, kind: FolderKind
) -> Path:
    """Copy checkpoints into one folder, a solver with its limits.

    One checkpoint stands in the folder itself, several become ``member_0``, ``member_1``, ... The
    copies keep the records of their runs except the run folders. Float32 weights are rounded to
    float16, relative 5e-4, and read as float32 again: the evidence is that of the copies.

    Parameters
    ----------
    directory : path
        Must not exist.
    members : sequence of paths
        Folders of single models.
    evidence : callable
        See `Evidence`.
    kind : FolderKind
    """
    directory = Path(directory)
    directory.mkdir(parents=True)
    records = [_without_run_folder(kind.read(Path(member))) for member in members]
    names = [f"member_{number}" for number in range(len(members))]
    copies = [directory / name for name in names] if len(members) > 1 else [directory]
    for copy, member, own in zip(copies, members, records, strict=True):
        copy.mkdir(exist_ok=True)
        _copy_weights(Path(member), copy)
        kind.write(copy, own)
    common = records[0]
    if len(members) > 1:
        ensemble = f"{kind.ensemble.__module__}.{kind.ensemble.__qualname__}"
        common = {"model": {"_target_": ensemble}, "members": names}
        common |= {key: records[0][key] for key in kind.shared if key in records[0]}
    record, distance = evidence(copies)
    save_file(distance.arrays(), directory / TRAINING_POINTS)
    kind.write(directory, {**common, **record})
    return directory


def _copy_weights(source: Path, directory: Path) -> None:
    _, state = read_weights(source)
    save_tensors({name: halved(values) for name, values in state.items()}, directory / WEIGHTS)


def halved(values: torch.Tensor) -> torch.Tensor:
    """Float32 as float16, where that holds it; anything else as it is."""
    rounded = values.half() if values.dtype == torch.float32 else values
    return rounded if bool(torch.isfinite(rounded).all()) else values


def _without_run_folder(record: dict[str, Any]) -> dict[str, Any]:
    """The record without run folders, which mean nothing elsewhere."""
    if "provenance" not in record:
        return record
    origin = dict(record["provenance"])
    words = origin.get("command", "").split()
    origin["command"] = " ".join(word for word in words if not word.startswith("hydra."))
    return {**record, "provenance": origin}
