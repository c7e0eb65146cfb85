"""Lightning's W&B logger without a setting that W&B warns of."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import loggers


class WandbLogger(loggers.WandbLogger):
    """As Lightning's, to which all arguments go.

    Lightning 2.6 hands ``anonymous`` to ``wandb.init`` whether it was given or not. W&B has dropped
    its anonymous mode, warns of the mere setting in every run, and will refuse it one day (wandb
    pull request 10909).
    """

    def __init__(self, **arguments: Any):
        super().__init__(**arguments)
        self._wandb_init.pop("anonymous", None)
