"""Everything that the report says about one checkpoint, as arrays and numbers.

The same functions that watch a training (closure, stability, latent map) applied to a trained model
and the test trajectories; `dmftnet.callbacks.sections` turns the result into a report.
"""

from __future__ import annotations

import glob
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dmftnet.callbacks.dmft_closure import (
    Closure,
    LoopSettings,
    close_loops,
    closure_scalars,
    load_references,
)
from dmftnet.callbacks.kl_stability import Stability, stability
from dmftnet.callbacks.latent_map import LatentMap, map_of_model
from dmftnet.data.datamodule import SpectralDataModule
from dmftnet.errors import StoreError
from dmftnet.models.checkpoint import DESCRIPTION, build_model, load_model
from dmftnet.models.network_solver import NetworkSolver
from dmftnet.models.scoring import hybridization_kl, kl_summary, real_axis_kl

BASELINES = {
    "nearest neighbour": "dmftnet.models.kernel_ridge.NearestNeighbour",
    "kernel ridge": "dmftnet.models.kernel_ridge.KernelRidgeRegression",
}


@dataclass(frozen=True, eq=False)
class Assessment:
    """One checkpoint's results.

    Parameters
    ----------
    label : str
        Short and unique in the report.
    checkpoint : Path
    record : dict
        The checkpoint's description (``model.yaml``).
    n_parameters : int
    same_data : bool
        Whether the checkpoint was trained on the very file that it is tested on.
    stability : Stability
        Errors on the test trajectories.
    closures : list of Closure
    latent : LatentMap
    """

    label: str
    checkpoint: Path
    record: dict[str, Any]
    n_parameters: int
    same_data: bool
    stability: Stability
    closures: list[Closure]
    latent: LatentMap

    def metrics(self) -> dict[str, Any]:
        """Every number, as plain values for JSON."""
        closure = closure_scalars(self.closures)
        return {
            "checkpoint": str(self.checkpoint),
            "parameters": self.n_parameters,
            "trained_on_this_data": self.same_data,
            "test": self.stability.scalars(),
            "closure": {key: value for key, value in closure.items() if "/" not in key},
            "loops": [
                {"U": c.reference.U, "eps_d": c.reference.eps_d, "start": c.reference.start}
                | {"kl": c.kl, "Z_exact": c.reference.Z, "A0_exact": c.reference.A0}
                | {"filling_exact": c.reference.filling, "reason": c.reason}
                | {k: v for k, v in c.summary.items() if k not in ("U", "eps_d", "solver")}
                for c in self.closures
            ],
            "latent": self.latent.scalars(),
        }


def find_checkpoints(patterns: Sequence[str]) -> list[Path]:
    """Run folders that match, in order and once each; patterns may hold ``*``.

    Raises
    ------
    StoreError
        If nothing matches; a path without ``*`` must be a checkpoint.
    """
    found: list[Path] = []
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


def assess(
    checkpoint: Path,
    label: str,
    dataset: Mapping[str, Any],
    references: str | Path,
    settings: LoopSettings,
    seed: int = 0,
) -> Assessment:
    """Test errors, closure and latent map of one checkpoint.

    Parameters
    ----------
    dataset : mapping
        Arguments of `SpectralDataModule`; the grid, angles and resolution are the checkpoint's own.
    references : path of the exact converged solutions
    """
    model = load_model(checkpoint)
    record = model.record
    data = datamodule_of(record, dataset)
    test = data.arrays("test")  # reads and checks the file before anything else asks for it
    solver = NetworkSolver.from_model(model, record["resolution"], label)
    exact = load_references(references, model.frequency_grid, record["resolution"])
    return Assessment(
        label=label,
        checkpoint=checkpoint,
        record=record,
        n_parameters=sum(p.numel() for p in model.parameters()),
        same_data=record.get("data", {}).get("sha256") == data.data_hash,
        stability=stability(model, test),
        closures=close_loops(solver, exact, settings),
        latent=map_of_model(model, [data.arrays(split) for split in ("val", "test")], seed),
    )


def datamodule_of(record: Mapping[str, Any], dataset: Mapping[str, Any]) -> SpectralDataModule:
    """The dataset as a checkpoint sees it."""
    own = {key: record[key] for key in ("grid", "angles", "resolution")}
    return SpectralDataModule(**{k: v for k, v in dataset.items() if k != "_target_"} | own)


def baseline_errors(record: Mapping[str, Any], dataset: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Test KL, (n,) each, of what needs no network, on a checkpoint's own grid and labels."""
    data = datamodule_of(record, dataset)
    test = data.arrays("test")
    errors = {"input hybridization": hybridization_kl(data.grid, test)}
    for name, target in BASELINES.items():
        model = build_model({"_target_": target}, None, record["grid"], record["angles"])
        model.fit(data.arrays("train"), data.arrays("val"))
        errors[name] = real_axis_kl(model.eval(), test)
    return errors


def metrics(
    assessments: Sequence[Assessment], baselines: Mapping[str, np.ndarray]
) -> dict[str, Any]:
    """The content of ``metrics.json``."""
    return {
        "models": {a.label: a.metrics() for a in assessments},
        "baselines": {name: kl_summary(kl) for name, kl in baselines.items()},
    }


def labels(checkpoints: Sequence[Path], records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Short names: architecture, head and lam; the folder's name where that is not unique."""
    names = [_describe(record) for record in records]
    return [
        name if names.count(name) == 1 else f"{name} ({path.name})"
        for name, path in zip(names, checkpoints, strict=True)
    ]


def _describe(record: Mapping[str, Any]) -> str:
    _, module, cls = record["model"]["_target_"].rsplit(".", 2)
    if record["model"]["_target_"] in BASELINES.values():
        return cls
    head = record["head"]["_target_"].rsplit(".", 1)[1].removesuffix("Head").lower()
    lam = (record.get("loss") or {}).get("lam")
    return f"{module}, {head}" + ("" if lam is None else f", lam {lam:g}")
