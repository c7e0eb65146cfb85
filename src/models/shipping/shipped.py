"""The shipped folder: an ensemble with its limits and training points.

``ship.py`` writes such folders: ``weights/self_energy/`` in the repository, which `NetworkSolver`
reads, and ``weights/correction/``, which `CorrectionSolver` reads:

=================================  ==============================================================
``model.yaml``                     as in `dmftnet.models.training.checkpoint`, or
                                   `dmftnet.models.correction.checkpoint`; on top of it ``members``,
                                   test scores, ``limits`` and how they were calibrated
``member_<i>/``                    the members' checkpoints (none where a single model ships)
``training_points.safetensors``    see `dmftnet.models.solvers.applicability.TrainingDistance`, or
                                   `dmftnet.models.correction.trust.FeatureDistance`
``README.md``                      the model card (`dmftnet.models.shipping.card`, or
                                   `correction_card`)
=================================  ==============================================================
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.numpy import save_file

from dmftnet.models.correction.checkpoint import read_correction, write_correction
from dmftnet.models.correction.trust import FeatureDistance
from dmftnet.models.solvers.applicability import TRAINING_POINTS, TrainingDistance
from dmftnet.models.training.checkpoint import read_record, write_description
from dmftnet.models.training.folder import WEIGHTS


@dataclass(frozen=True)
class FolderKind:
    """How the descriptions of one kind of model are read and written.

    Parameters
    ----------
    read, write : callable
        Of a folder's ``model.yaml``.
    ensemble : str
        Its class.
    shared : tuple of str
        What an ensemble's description has of its members'.
    """

    read: Callable[[Path], dict[str, Any]]
    write: Callable[[Path, Mapping[str, Any]], None]
    ensemble: str
    shared: tuple[str, ...]


NETWORKS = FolderKind(
    read_record,
    write_description,
    "dmftnet.models.networks.ensemble.Ensemble",
    ("head", "grid", "angles", "resolution", "smoothed", "units", "data", "ranges"),
)
CORRECTIONS = FolderKind(
    read_correction,
    write_correction,
    "dmftnet.models.correction.ensemble.CorrectionEnsemble",
    ("inputs", "size", "accuracy", "solvers", "data", "ranges"),
)


def save_shipped(
    directory: str | Path,
    members: Sequence[str | Path],
    record: Mapping[str, Any],
    distance: TrainingDistance | FeatureDistance,
    kind: FolderKind = NETWORKS,
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
    distance : TrainingDistance or FeatureDistance
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
        common = {"model": {"_target_": kind.ensemble}, "members": names}
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
