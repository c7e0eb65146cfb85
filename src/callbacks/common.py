"""Base of the callbacks: when they report, and one way to every logger."""

from __future__ import annotations

import csv
import io
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger
from matplotlib.figure import Figure
from PIL import Image

from dmftnet import checks
from dmftnet.report.html import Table
from dmftnet.report.style import to_png


class PeriodicCallback(Callback, ABC):
    """A callback that reports after every n-th validation epoch, and after the last.

    Subclasses give ``name`` and ``report(trainer, pl_module) -> (scalars, figure, table)``.

    Parameters
    ----------
    every_n_validations : int
        1: each validation epoch; 0: only the end of training.
    """

    name: str

    def __init__(self, every_n_validations: int = 1):
        self.every_n_validations = checks.integer(
            f"callbacks: every_n_validations of {type(self).__name__}",
            every_n_validations,
            at_least=0,
        )
        self.n_validations = 0
        self.reported_at = 0

    def state_dict(self) -> dict[str, int]:
        return {"n_validations": self.n_validations, "reported_at": self.reported_at}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        self.n_validations = state_dict["n_validations"]
        self.reported_at = state_dict["reported_at"]

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.sanity_checking or not trainer.is_global_zero:
            return
        self.n_validations += 1
        if self.every_n_validations and self.n_validations % self.every_n_validations == 0:
            self._publish(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_global_zero and self.reported_at < self.n_validations:
            self._publish(trainer, pl_module)

    @abstractmethod
    def report(
        self, trainer: Trainer, pl_module: LightningModule
    ) -> tuple[dict[str, float], Figure, Table]:
        """Scalars, one figure and one table for the current model."""

    def _publish(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.reported_at = self.n_validations
        scalars, figure, table = self.report(trainer, pl_module)
        publish(trainer, self.name, scalars, figure, table)


def publish(
    trainer: Trainer, name: str, scalars: Mapping[str, float], figure: Figure, table: Table
) -> None:
    """Scalars to every logger, figure and table to W&B and as files into the run's folder.

    The files ``callbacks/<name>.png`` and ``.csv`` are those of the latest report; W&B keeps all.
    """
    png = to_png(figure)
    folder = Path(trainer.default_root_dir) / "callbacks"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.png").write_bytes(png)
    with open(folder / f"{name}.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([table.columns, *table.rows])
    named = {f"{name}/{key}": float(value) for key, value in scalars.items()}
    for logger in trainer.loggers:
        logger.log_metrics({"epoch": trainer.current_epoch, **named}, step=trainer.global_step)
        if isinstance(logger, WandbLogger):
            logger.log_image(f"{name}/figure", images=[Image.open(io.BytesIO(png))])
            logger.log_table(f"{name}/table", columns=list(table.columns), data=_plain(table.rows))


def _plain(rows: Sequence[Sequence[Any]]) -> list[list[Any]]:
    """Rows of Python scalars, as W&B's tables want them."""
    return [[v.item() if isinstance(v, np.generic) else v for v in row] for row in rows]
