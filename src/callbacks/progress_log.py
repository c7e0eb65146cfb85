"""Progress lines for training without a terminal, where Lightning's bar is invisible."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from dmftnet.progress import EVERY, ProgressLines, say


class ProgressLog(Callback):
    """Periodic lines while a network trains, and one for each validation.

    Parameters
    ----------
    every : float, optional, in seconds
        None: neither.
    options
        Further arguments of `ProgressLines`.
    """

    def __init__(self, every: float | None = EVERY, **options: Any):
        self.every, self.options = every, options
        self.lines = ProgressLines("step", every=every)  # checks the argument before the data load
        self.loss = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_global_zero:
            total, done = trainer.estimated_stepping_batches, trainer.global_step
            self.lines = ProgressLines("step", total, done, self.every, **self.options)
            self.lines.start()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.loss = outputs["loss"].detach()  # converted only when printed, as that waits for a GPU
        epoch = _epoch(trainer)
        self.lines.update(trainer.global_step, lambda: f"{epoch}, loss {self.loss.item():.3e}")

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.every is None or trainer.sanity_checking or not trainer.is_global_zero:
            return
        scores = {k: v for k, v in trainer.callback_metrics.items() if k.startswith("val/")}
        say(f"{_epoch(trainer)}: " + ", ".join(f"{k} {v:.3e}" for k, v in scores.items()))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.lines.stop()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        self.lines.stop()


def _epoch(trainer: Trainer) -> str:
    """Counted from 1, as the bar does not."""
    last = f" of {trainer.max_epochs}" if (trainer.max_epochs or 0) > 0 else ""
    return f"epoch {trainer.current_epoch + 1}{last}"
