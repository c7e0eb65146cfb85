"""Training of a spectral model on complex-time data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from dmftnet.errors import SettingError
from dmftnet.models.networks.spectral_model import SpectralModel
from dmftnet.models.training.baselines import Baseline
from dmftnet.models.training.checkpoint import build_model, describe_data, save_model
from dmftnet.models.training.fine_tuning import begin_with
from dmftnet.models.training.losses import DerivativeLoss
from dmftnet.models.training.module import SpectralModule
from dmftnet.models.training.scoring import SUMMARY, kl_summary, real_axis_kl, scores_beside


class SpectralTask:
    """See `dmftnet.models.training.task.Task`."""

    title = "KL(A_ref || A) on the real axis, test trajectories"
    columns: ClassVar[Mapping[str, str]] = {
        "kl_median": "median",
        "kl_90": "90 %",
        "kl_worst": "worst",
    }
    summary = SUMMARY
    module_class = SpectralModule
    loss = DerivativeLoss

    def check(self, plain: Mapping[str, Any]) -> None:
        """Every key has a class that checks it."""

    def build(self, plain: Mapping[str, Any], datamodule: Any) -> SpectralModel:
        data = (plain["dataset"][key] for key in ("grid", "angles", "resolution"))
        model = build_model(plain["model"], plain["head"], *data)
        if not isinstance(model, Baseline) and model.corrects != datamodule.smoothed:
            raise SettingError(
                f"dataset.smoothed = {datamodule.smoothed}: {type(model).__name__} needs data "
                f"whose {model.corrects} carries the resolution; set "
                f"dataset.smoothed={model.corrects}"
            )
        return model

    def begin_with(self, model: SpectralModel, plain: Mapping[str, Any]) -> list[dict[str, Any]]:
        description = {
            "model": plain["model"],
            "head": plain["head"],
            "grid": plain["dataset"]["grid"],
        }
        return begin_with(model, description, plain["init_from"])

    def is_fitted(self, model: SpectralModel) -> bool:
        return isinstance(model, Baseline)

    def module(self, model, loss, optimizer, plain: Mapping[str, Any]) -> SpectralModule:
        return SpectralModule(
            model,
            loss,
            optimizer,
            seed=plain["seed"],
            hyperparameters=plain,
            **plain["module"],
        )

    def label(self, choices: Mapping[str, str], model: SpectralModel) -> str:
        return (
            choices["model"]
            if self.is_fitted(model)
            else f"{choices['model']}, {choices['head']} head"
        )

    def scores(self, name, model, datamodule, plain) -> dict[str, dict[str, float]]:
        dataset = plain["dataset"] if plain["baselines"] else None
        return scores_beside(name, model, datamodule, dataset)

    def validation(self, model: SpectralModel, datamodule) -> dict[str, float]:
        return kl_summary(real_axis_kl(model, datamodule.arrays("val")))

    def save(self, directory: Path, model, record, datamodule, plain) -> None:
        described = {key: plain[key] for key in ("model", "head", "loss", "optimizer", "seed")}
        data = describe_data(datamodule, plain["dataset"])
        save_model(directory, model, {**described, **record, **data})
