"""All results of one model, as arrays and numbers.

Closure, stability and latent map as during training, for a trained model on the test trajectories,
and what takes longer: search for a filling, hysteresis, lattices absent from the data, calibration
of an ensemble. `dmftnet.evaluation.sections` makes a report of them.
"""

from __future__ import annotations

import glob
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dmftnet import checks
from dmftnet.data.datamodule import BLOCKS, SpectralDataModule
from dmftnet.data.labels import SMOOTHED
from dmftnet.errors import StoreError
from dmftnet.evaluation.calibration import Calibration, calibration
from dmftnet.evaluation.closure import LoopSettings
from dmftnet.evaluation.hysteresis import BRANCHES, BranchPath, HysteresisSettings, follow
from dmftnet.evaluation.latent_map import LatentMap, map_of_model
from dmftnet.evaluation.loop_sets import LoopSet, close_all
from dmftnet.evaluation.naming import KERNEL_RIDGE, NEAREST_NEIGHBOUR, Traits, is_zero_lam
from dmftnet.evaluation.reproduction import reproduction
from dmftnet.evaluation.stability import Stability, stability
from dmftnet.evaluation.summary import summary
from dmftnet.evaluation.targets import targets
from dmftnet.evaluation.variants import variant_table
from dmftnet.models.networks.spectral_model import SpectralModel
from dmftnet.models.solvers.network import NetworkSolver
from dmftnet.models.training.checkpoint import (
    DESCRIPTION,
    build_model,
    load_ensemble,
    load_model,
    shipped_record,
)
from dmftnet.models.training.fine_tuning import training_seconds
from dmftnet.models.training.scoring import hybridization_kl, kl_summary

BASELINES = {
    NEAREST_NEIGHBOUR: "dmftnet.models.training.baselines.NearestNeighbour",
    KERNEL_RIDGE: "dmftnet.models.training.baselines.KernelRidgeRegression",
}


APPLICABILITY = ("ranges", "filling", "limits", "calibration")
"""Entries of a description that say where a model may be trusted."""


@dataclass(frozen=True, eq=False)
class Settings:
    """Settings for every model.

    Parameters
    ----------
    dataset : mapping
        Arguments of `SpectralDataModule`; grid, angles and resolution are each checkpoint's own.
    references : mapping of name to path
        Files of exact converged solutions, see `dmftnet.evaluation.loop_sets`.
    loop : LoopSettings
    hysteresis : HysteresisSettings or None
        None: no branch is followed.
    seed : int
        Of the latent map.
    """

    dataset: Mapping[str, Any]
    references: Mapping[str, str | Path]
    loop: LoopSettings
    hysteresis: HysteresisSettings | None = None
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Assessment:
    """One model's results.

    Parameters
    ----------
    label, variant : str
        Unique in the report; shared by the seeds of one variant.
    checkpoint : str
        Folders, "" for a baseline.
    record : dict
        The checkpoint's description (``model.yaml``); of an ensemble its first member's, with what
        the folder that ships it says of all (limits, cost), if there is one.
    n_parameters : int
    same_data : bool
        Whether it was trained on the file that it is tested on.
    stability : dict of str to Stability
        Splits: "val" and "test"; of networks also "train", and "blocks" of those that were trained
        without them.
    loops : dict of str to LoopSet
        One for each file of references.
    paths : dict of branch to Path
    calibration : Calibration or None
    latent : LatentMap or None
    baseline : bool
    """

    label: str
    variant: str
    checkpoint: str
    record: dict[str, Any]
    n_parameters: int
    same_data: bool
    stability: dict[str, Stability]
    loops: dict[str, LoopSet]
    paths: dict[str, BranchPath] = field(default_factory=dict)
    calibration: Calibration | None = None
    latent: LatentMap | None = None
    baseline: bool = False

    @property
    def test_kl(self) -> np.ndarray:
        """(n,) errors on the test trajectories."""
        return self.stability["test"].kl_prediction

    @property
    def val_kl(self) -> np.ndarray:
        """(n,) errors on the validation trajectories, by which models are chosen."""
        return self.stability["val"].kl_prediction

    def metrics(self) -> dict[str, Any]:
        """Every number, as plain values for JSON."""
        numbers = {
            "variant": self.variant,
            "baseline": self.baseline,
            "network": Traits.of(self.record).plain(),
            "resolution": list(self.record["resolution"]),
            "checkpoint": self.checkpoint,
            "parameters": self.n_parameters,
            "training": _training(self.record),
            "applicability": {k: self.record[k] for k in APPLICABILITY if k in self.record},
            "cost": dict(self.record.get("cost") or {}),
            "trained_on_this_data": self.same_data,
            **{split: result.scalars() for split, result in self.stability.items()},
            "loops": {name: loops.metrics() for name, loops in self.loops.items()},
            "hysteresis": {name: path.numbers() for name, path in self.paths.items()},
        }
        if self.calibration is not None:
            numbers["calibration"] = self.calibration.scalars()
        if self.latent is not None:
            numbers["latent"] = self.latent.scalars()
        return numbers


def _training(record: Mapping[str, Any]) -> dict[str, Any]:
    """What the training cost; empty for baselines, without epochs for ensembles."""
    cost = record.get("training")
    if cost is None:
        return {}
    seconds = training_seconds(record)
    minutes = {} if seconds is None else {"minutes": seconds / 60}
    return {**minutes, **{name: cost[name] for name in ("epochs", "device") if name in cost}}


def find_checkpoints(patterns: Sequence[str]) -> list[Path]:
    """Run folders that match, in order and once each; patterns may hold ``*``.

    Raises
    ------
    StoreError
        If nothing matches; a path without ``*`` must be a checkpoint.
    """
    found: list[Path] = []
    patterns = [str(p) for p in checks.paths("checkpoints", patterns, "run folders or patterns")]
    for pattern in patterns:
        if glob.has_magic(pattern):
            matches = [Path(match) for match in sorted(glob.glob(pattern))]
            found += [path for path in matches if (path / DESCRIPTION).is_file()]
        else:
            found.append(Path(pattern))
    unique = list(dict.fromkeys(found))
    if not unique:
        raise StoreError(
            f"checkpoints = {list(patterns)}: no folder with a {DESCRIPTION}; train one with "
            "train.py or name its run folder"
        )
    return unique


def assess_checkpoints(
    checkpoints: Sequence[Path], label: str, variant: str, settings: Settings
) -> Assessment:
    """Results of one checkpoint, or of the ensemble of several."""
    if len(checkpoints) == 1:
        model = load_model(checkpoints[0])
        record = model.record
    else:
        model = load_ensemble(checkpoints)
        record = ensemble_record(
            checkpoints, [member.record for member in model.members], model.record["ranges"]
        )
    checkpoint = ", ".join(str(path) for path in checkpoints)
    return assess(model, record, label, variant, settings, checkpoint=checkpoint)


def ensemble_record(
    checkpoints: Sequence[Path],
    members: Sequence[Mapping[str, Any]],
    ranges: Mapping[str, Sequence[float]],
) -> dict[str, Any]:
    """Description of an ensemble from its members', see `Assessment`."""
    seconds = [training_seconds(member) for member in members]
    training: dict[str, Any] = {}
    if None not in seconds:
        devices = dict.fromkeys(str(member["training"].get("device")) for member in members)
        training = {"seconds": sum(seconds), "device": ", ".join(devices)}
    own = {"members": [path.name for path in checkpoints], "ranges": ranges, "training": training}
    shipped = shipped_record(checkpoints) or {}
    return {
        **members[0],
        **own,
        **{key: shipped[key] for key in (*APPLICABILITY, "cost") if key in shipped},
    }


def assess_baselines(record: Mapping[str, Any], settings: Settings) -> list[Assessment]:
    """Nearest neighbour and kernel ridge, fitted on a checkpoint's own grid and labels."""
    data = datamodule_of(record, settings.dataset)
    found = []
    for name, target in BASELINES.items():
        model = build_model(
            {"_target_": target}, None, *(record[key] for key in ("grid", "angles", "resolution"))
        )
        model.fit(data.arrays("train"), data.arrays("val"))
        shared = {key: record[key] for key in ("grid", "angles", "resolution")}
        shared["smoothed"] = record.get("smoothed", SMOOTHED[0])
        own = {**shared, "model": {"_target_": target}, "data": {"sha256": data.data_hash}}
        found.append(assess(model.eval(), own, name, name, settings, baseline=True))
    return found


def assess(
    model: SpectralModel,
    record: Mapping[str, Any],
    label: str,
    variant: str,
    settings: Settings,
    checkpoint: str = "",
    baseline: bool = False,
) -> Assessment:
    """Test errors, loops, hysteresis and calibration of one model; the latent map comes later."""
    data = datamodule_of(record, settings.dataset)
    test = data.arrays("test")  # reads and checks the file before anything else asks for it
    solver = NetworkSolver.from_model(model, record["resolution"], label)
    hysteresis = None if baseline else settings.hysteresis
    splits = ["test", "val", *([] if baseline else ["train"])]
    splits += [BLOCKS] if data.held_out_U else []
    errors = {split: stability(model, data.arrays(split)) for split in splits}
    return Assessment(
        label=label,
        variant=variant,
        checkpoint=checkpoint,
        record=dict(record),
        n_parameters=sum(p.numel() for p in model.parameters()),
        same_data=(record.get("data") or {}).get("sha256") == data.data_hash,
        stability=errors,
        loops={
            name: close_all(solver, path, settings.loop)
            for name, path in settings.references.items()
        },
        paths={b: follow(solver, solver.grid, b, hysteresis) for b in BRANCHES}
        if hysteresis
        else {},
        calibration=calibration(model, test, errors["test"].kl_prediction),
        baseline=baseline,
    )


def latent_of(assessment: Assessment, checkpoints: Sequence[Path], settings: Settings) -> LatentMap:
    """The latent map of an assessed model on validation and test samples; seconds each."""
    data = datamodule_of(assessment.record, settings.dataset)
    model = load_model(checkpoints[0]) if len(checkpoints) == 1 else load_ensemble(checkpoints)
    parts = [data.arrays(split) for split in ("val", "test")]
    return map_of_model(model, parts, settings.seed)


def datamodule_of(record: Mapping[str, Any], dataset: Mapping[str, Any]) -> SpectralDataModule:
    """The dataset as a checkpoint sees it."""
    own = {key: record[key] for key in ("grid", "angles", "resolution")}
    own["smoothed"] = record.get("smoothed", SMOOTHED[0])
    own["held_out_U"] = (record.get("data") or {}).get("held_out_U", ())
    return SpectralDataModule(**{k: v for k, v in dataset.items() if k != "_target_"} | own)


def input_errors(record: Mapping[str, Any], dataset: Mapping[str, Any]) -> np.ndarray:
    """(n,) test KL of the input hybridization taken as the answer."""
    data = datamodule_of(record, dataset)
    return hybridization_kl(data.grid, data.arrays("test"))


def metrics(
    assessments: Sequence[Assessment],
    exact: Mapping[str, BranchPath],
    input_kl: np.ndarray,
    best: str | None = None,
    device: str = "CPU",
    kept: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """The content of ``metrics.json``.

    Parameters
    ----------
    assessments : sequence of Assessment
        Baselines too.
    exact : mapping of branch to BranchPath
        The exact solver's hysteresis.
    input_kl : (n,)
        Test errors of the input hybridization.
    best : str, optional
        Label of the model that the targets are for; by default `best_label`'s.
    device : str
        Device of the evaluation, as text.
    kept : mapping of label to metrics, optional
        Of models of an earlier report (`dmftnet.evaluation.kept`); one that is here gives way.
    """
    best = best or best_label(assessments)
    splits = next(a.stability for a in assessments if a.label == best)
    models = {**(kept or {}), **{a.label: a.metrics() for a in assessments}}
    numbers: dict[str, Any] = {
        "best": best,
        "device": device,
        "models": models,
        "variants": variant_table(models),
        "input hybridization": kl_summary(input_kl),
        "exact": {name: path.numbers() for name, path in exact.items()},
        "samples": {split: len(s.U) for split, s in splits.items()},
    }
    return with_conclusions(numbers)


def with_conclusions(numbers: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers, and the targets, the summary and the reproduction that follow from them."""
    judged = {**numbers, "targets": targets(numbers), "reproduction": reproduction(numbers)}
    return {**judged, "summary": summary(judged)}


def best_label(assessments: Sequence[Assessment]) -> str:
    """The network with the lowest median KL on the validation trajectories."""
    networks = [a for a in assessments if not a.baseline]
    return min(networks, key=lambda a: float(np.median(a.val_kl))).label


def shown(assessments: Sequence[Assessment], best: str, n_max: int = 5) -> list[Assessment]:
    """The models drawn in figures, at most `n_max`, no baselines.

    For each architecture and head, with and without the derivative in the loss, the one of lowest
    validation error. Priority: the best of all, training without the derivative, direct heads,
    then lower errors; returned in the given order.
    """
    networks = [a for a in assessments if not a.baseline]

    def urgency(a: Assessment) -> tuple:
        direct = "DirectHead" in str(a.record.get("head"))
        error = float(np.median(a.val_kl))
        return a.label != best, not is_zero_lam(a.record), not direct, error

    chosen: dict[tuple, str] = {}
    for a in sorted(networks, key=urgency):
        parts = (a.record.get(part, {}) or {} for part in ("model", "head"))
        kind = (*(part.get("_target_") for part in parts), is_zero_lam(a.record))
        chosen.setdefault(kind, a.label)
    labels = list(chosen.values())[:n_max]
    return [a for a in networks if a.label in labels]
