"""Lightning's W&B logger without a setting that makes W&B warn."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import loggers


class WandbLogger(loggers.WandbLogger):
    """As Lightning's, which takes all arguments.

    Lightning 2.6 always passes ``anonymous`` to ``wandb.init``. W&B has dropped its anonymous mode,
    warns of the setting in every run, and will refuse it one day (wandb pull request 10909).
    """

    def __init__(self, **arguments: Any):
        super().__init__(**arguments)
        self._wandb_init.pop("anonymous", None)
