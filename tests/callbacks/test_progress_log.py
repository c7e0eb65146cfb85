"""What the log of a training says, with a clock of the test's own."""

import lightning
import pytest
import torch
from synthetic import ANGLES, GRID, RESOLUTION, SyntheticDataModule
from toy_networks import HEADS, NETWORKS

from dmftnet.callbacks.progress_log import ProgressLog
from dmftnet.errors import DmftnetError
from dmftnet.models.training.checkpoint import build_model
from dmftnet.models.training.losses import DerivativeLoss
from dmftnet.models.training.module import SpectralModule


class LinePerStep(lightning.Callback):
    """Asks the log for its line after every step, each of which takes half a minute."""

    def __init__(self, every):
        self.seconds, self.lines, self.losses = 0.0, [], []
        self.watched = ProgressLog(every, clock=self.clock, wait=lambda seconds: True)

    def clock(self):
        return self.seconds

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.seconds += 30.0
        self.lines.append(self.watched.lines.line())
        self.losses.append(outputs["loss"].item())


def fit(folder, *callbacks):
    """Two epochs of two steps."""
    torch.manual_seed(0)
    model = build_model(NETWORKS["mlp"], HEADS["rotated"], GRID, ANGLES, RESOLUTION)
    module = SpectralModule(model, DerivativeLoss(), lambda p: torch.optim.SGD(p, lr=1e-3))
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_epochs=2,
        callbacks=list(callbacks),
        logger=False,
        default_root_dir=folder,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        num_sanity_val_steps=1,
    )
    trainer.fit(module, SyntheticDataModule(n=16))
    return trainer


def test_a_training_says_where_it_is(tmp_path, capsys):
    watch = LinePerStep(every=60.0)
    trainer = fit(tmp_path, watch.watched, watch)
    first, second = (f"{loss:.3e}" for loss in watch.losses[1:3])
    assert watch.lines[1] == (
        f"step 2 of 4 (50 %), 60 s, 2/min, about 60 s left; epoch 1 of 2, loss {first}"
    )
    assert watch.lines[2] == (
        f"step 3 of 4 (75 %), 90 s, 2/min, about 30 s left; epoch 2 of 2, loss {second}"
    )
    printed = capsys.readouterr().out.splitlines()
    validations = [line for line in printed if line.startswith("epoch ")]
    assert [line.split(":")[0] for line in validations] == ["epoch 1 of 2", "epoch 2 of 2"]
    for name in ("val/loss", "val/kl_median", "val/kl_worst"):
        assert f"{name} {trainer.callback_metrics[name]:.3e}" in validations[-1]
    assert not watch.watched.lines._thread.is_alive()


def test_null_is_silent(tmp_path, capsys):
    fit(tmp_path, ProgressLog(every=None))
    assert "epoch" not in capsys.readouterr().out


def test_an_error_ends_the_lines(tmp_path):
    log = ProgressLog(every=3600.0)

    class Fails(lightning.Callback):
        def on_train_batch_end(self, *arguments):
            assert log.lines._thread.is_alive()
            raise KeyError("a defect")

    with pytest.raises(KeyError):
        fit(tmp_path, log, Fails())
    assert not log.lines._thread.is_alive()


def test_a_senseless_period_is_refused_before_any_data_is_read():
    with pytest.raises(DmftnetError, match="progress_every = 0"):
        ProgressLog(0.0)
