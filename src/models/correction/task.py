"""Training of a correction at finite temperature."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from dmftnet import checks
from dmftnet.errors import DmftnetError
from dmftnet.models.correction.answers import errors
from dmftnet.models.correction.checkpoint import build_correction, save_correction
from dmftnet.models.correction.model import CorrectionModel
from dmftnet.models.correction.module import CorrectionLoss, CorrectionModule
from dmftnet.models.correction.scoring import SUMMARY, approximation_errors, error_summary


class CorrectionTask:
    """See `dmftnet.models.training.task.Task`."""

    title = "(1/beta) integral |G - G_exact| dtau, test models"
    columns: ClassVar[Mapping[str, str]] = {
        "error_median": "median",
        "error_90": "90 %",
        "error_worst": "worst",
    }
    summary = SUMMARY
    module_class = CorrectionModule
    loss = CorrectionLoss

    def check(self, plain: Mapping[str, Any]) -> None:
        if plain["init_from"] is not None:
            raise DmftnetError(
                f"init_from = {checks.shown(plain['init_from'])}: corrections train in minutes and "
                "start afresh; set it to null"
            )

    def build(self, plain: Mapping[str, Any], datamodule: Any) -> CorrectionModel:
        model = build_correction(
            plain["model"],
            datamodule.inputs,
            datamodule.size,
            datamodule.accuracy,
            datamodule.n_orb,
        )
        if not self.is_fitted(model):
            model.prepare(datamodule.arrays("train"))
        return model

    def begin_with(self, model: CorrectionModel, plain: Mapping[str, Any]) -> list[dict[str, Any]]:
        return []

    def is_fitted(self, model: CorrectionModel) -> bool:
        return not model.needs_gradient

    def module(self, model, loss, optimizer, plain: Mapping[str, Any]) -> CorrectionModule:
        return CorrectionModule(
            model,
            loss,
            optimizer,
            seed=plain["seed"],
            hyperparameters=plain,
            **plain["module"],
        )

    def label(self, choices: Mapping[str, str], model: CorrectionModel) -> str:
        return f"{choices['model']}, {' + '.join(model.inputs) or 'no approximation'}"

    def scores(self, name, model, datamodule, plain) -> dict[str, dict[str, float]]:
        test = datamodule.arrays("test")
        rows = {name: error_summary(errors(model, test))}
        if plain["baselines"]:
            alone = approximation_errors(model, test)
            rows |= {f"{name} alone": error_summary(values) for name, values in alone.items()}
        return rows

    def validation(self, model: CorrectionModel, datamodule) -> dict[str, float]:
        return error_summary(errors(model, datamodule.arrays("val")))

    def save(self, directory: Path, model, record, datamodule, plain) -> None:
        described = {key: plain[key] for key in ("model", "loss", "optimizer", "seed")}
        data = {
            "inputs": list(datamodule.inputs),
            "size": datamodule.size,
            "accuracy": datamodule.accuracy,
            "n_orb": datamodule.n_orb,
            "solvers": datamodule.solvers,
            "data": {
                "file": ", ".join(path.name for path in datamodule.paths),
                "sha256": datamodule.data_hash,
                "left_out": datamodule.left_out,
            },
            "ranges": datamodule.ranges(),
        }
        save_correction(directory, model, {**described, **data, **record})
