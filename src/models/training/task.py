"""What a training is of: how its model is built, trained, scored and written.

``train.py`` knows a `Task` and nothing of what it learns. The data decide which task it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import lightning
from torch import nn


class Task(Protocol):
    """One kind of model.

    Attributes
    ----------
    title : str
        Of the table of test scores.
    columns : dict of key of a score to its heading
    summary : tuple of str
        Scores that ``val/<name>`` of the monitor may be.
    loss, module_class : type
        What the config's ``loss`` must be, and what takes the arguments of its ``module``.
    """

    title: str
    columns: Mapping[str, str]
    summary: tuple[str, ...]
    loss: type
    module_class: type

    def check(self, plain: Mapping[str, Any]) -> None:
        """Raise SettingError where a key is wrong that no class checks."""

    def build(self, plain: Mapping[str, Any], datamodule: Any) -> nn.Module:
        """An untrained model."""

    def begin_with(self, model: nn.Module, plain: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Give it the weights of ``init_from``; what ``training.earlier`` is to hold."""

    def is_fitted(self, model: nn.Module) -> bool:
        """Whether the model is fitted at once, without gradients."""

    def module(
        self, model: nn.Module, loss: nn.Module, optimizer: Any, plain: Mapping[str, Any]
    ) -> lightning.LightningModule:
        """How it is trained."""

    def label(self, choices: Mapping[str, str], model: nn.Module) -> str:
        """Its row in the table."""

    def scores(
        self, name: str, model: nn.Module, datamodule: Any, plain: Mapping[str, Any]
    ) -> dict[str, dict[str, float]]:
        """Test scores of the model, and of what it is to be compared with, by row."""

    def validation(self, model: nn.Module, datamodule: Any) -> dict[str, float]:
        """Scores on the validation split."""

    def save(
        self,
        directory: Path,
        model: nn.Module,
        record: Mapping[str, Any],
        datamodule: Any,
        plain: Mapping[str, Any],
    ) -> None:
        """Write weights and description; `record` holds training and scores."""
