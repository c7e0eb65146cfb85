"""Training of a correction with Lightning: the error of G, and the relative error of Sigma."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import lightning
import numpy as np
import torch
from torch import nn

from dmftnet import checks
from dmftnet.data.keys import ThermalBatch as Batch
from dmftnet.errors import ConvergenceError
from dmftnet.models.correction.model import CorrectionModel
from dmftnet.models.correction.scoring import error_summary
from dmftnet.models.correction.thermal import Answer, mean_field
from dmftnet.models.training.schedule import warmed_cosine

N_LOWEST = 8
"""Matsubara frequencies at which the relative error of Sigma counts."""

FLOOR = 0.05
"""D, below which the dynamic part of Sigma is nothing to be relative to."""


class CorrectionLoss(nn.Module):
    """``E / unit + geometric * L + relative * R`` of a batch.

    E is the mean of ``e = (1/beta) integral |G - G_exact| dtau``, and L that of
    ``log(1 + e / floor)``, by which samples whose error is small count too; R that of the root mean
    square, over the lowest frequencies, of ``|Sigma - Sigma_exact| / |Sigma_exact - U/2|``, which
    is what Z and the Mott gap follow from, and which G hardly sees in an insulator. Of several
    orbitals ``doubles * K / unit`` is added, K the mean of ``|d - d_exact|``, d the double
    occupancy.

    Parameters
    ----------
    unit : float
        Error of G that counts as one.
    relative, geometric, doubles : float
    floor : float
        Error of G below which nothing is gained: that of the axis and of the measure.
    """

    def __init__(
        self,
        unit: float = 1e-3,
        relative: float = 0.2,
        geometric: float = 0.3,
        floor: float = 2e-6,
        doubles: float = 0.1,
    ):
        super().__init__()
        self.doubles = checks.number("loss.doubles", doubles, at_least=0)
        self.geometric = checks.number("loss.geometric", geometric, at_least=0)
        self.floor = checks.number("loss.floor", floor, above=0)
        self.unit = checks.number("loss.unit", unit, above=0)
        self.relative = checks.number("loss.relative", relative, at_least=0)

    def forward(self, model: CorrectionModel, batch: dict[str, torch.Tensor], answer: Answer):
        """Terms by name, ``loss`` among them."""
        exact = batch[Batch.SELF_ENERGY]
        greens = model.dyson.greens(batch, exact)
        errors = model.dyson.distance(answer.greens, greens, batch[Batch.BETA])
        error, geometric = errors.mean(), torch.log1p(errors / self.floor).mean()
        size = (exact - mean_field(batch)[:, None] / 2).abs().clamp_min(FLOOR)
        share = ((answer.sigma - exact).abs() / size)[:, :N_LOWEST].pow(2).mean(-1)
        relative = (share + 1e-10).sqrt().mean()
        loss = error / self.unit + self.geometric * geometric + self.relative * relative
        terms = {"error": error, "geometric": geometric, "relative": relative}
        if model.n_orb > 1:
            found = answer.density**2 + model.outputs(batch).correlation
            terms["doubles"] = (found - batch[Batch.DOUBLE_OCCUPANCY]).abs().mean()
            loss = loss + self.doubles * terms["doubles"] / self.unit
        return {"loss": loss, **terms}


class CorrectionModule(lightning.LightningModule):
    """A correction and how it is trained.

    Parameters
    ----------
    model : CorrectionModel
        Prepared.
    loss : CorrectionLoss
    optimizer : callable
        ``parameters -> torch.optim.Optimizer``.
    warmup_fraction : float
        See `dmftnet.models.training.schedule`.
    clip : float
        Largest norm of a gradient.
    seed : int
    hyperparameters : mapping of plain values
        The run's config, for the loggers and the checkpoint.
    """

    def __init__(
        self,
        model: CorrectionModel,
        loss: CorrectionLoss,
        optimizer: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer],
        warmup_fraction: float = 0.05,
        clip: float = 1.0,
        seed: int = 0,
        hyperparameters: Mapping | None = None,
    ):
        super().__init__()
        self.save_hyperparameters(dict(hyperparameters or {}))
        self.model, self.loss, self.make_optimizer = model, loss, optimizer
        optimizer(self.model.parameters())  # fails now rather than during training
        self.warmup_fraction = checks.number(
            "module.warmup_fraction", warmup_fraction, at_least=0, at_most=1
        )
        self.clip = checks.number("module.clip", clip, above=0)
        self.seed = checks.seed("seed", seed)
        self.found: list[np.ndarray] = []

    def on_train_batch_start(self, batch, batch_idx: int) -> None:
        torch.manual_seed(self.seed * 1_000_003 + self.global_step)

    def training_step(self, batch: dict[str, torch.Tensor], batch_idx: int) -> torch.Tensor:
        terms = self.loss(self.model, batch, self.model(batch))
        if not torch.isfinite(terms["loss"]):
            raise ConvergenceError(
                f"training loss is {terms['loss'].item()} at step {self.global_step}; "
                "lower optimizer.lr or raise warmup_fraction"
            )
        for name, value in terms.items():
            self.log(
                f"train/{name}", value, on_step=False, on_epoch=True, batch_size=len(batch[Batch.U])
            )
        return terms["loss"]

    def configure_gradient_clipping(self, optimizer, *options, **more) -> None:
        nn.utils.clip_grad_norm_(self.model.parameters(), self.clip)

    def configure_optimizers(self):
        optimizer = self.make_optimizer(self.parameters())
        total = max(1, int(self.trainer.estimated_stepping_batches))
        scheduler = warmed_cosine(optimizer, total, self.warmup_fraction)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }

    def on_validation_epoch_start(self) -> None:
        self.found = []

    on_test_epoch_start = on_validation_epoch_start

    def validation_step(self, batch: dict[str, torch.Tensor], batch_idx: int) -> None:
        answer = self.model(batch)
        terms = self.loss(self.model, batch, answer)
        for name, value in terms.items():
            self.log(f"val/{name}", value, batch_size=len(batch[Batch.U]))
        self.found.append(self._errors(batch, answer))

    def test_step(self, batch: dict[str, torch.Tensor], batch_idx: int) -> None:
        self.found.append(self._errors(batch, self.model(batch)))

    def _errors(self, batch: dict[str, torch.Tensor], answer: Answer) -> np.ndarray:
        greens = self.model.dyson.greens(batch, batch[Batch.SELF_ENERGY])
        return self.model.dyson.distance(answer.greens, greens, batch[Batch.BETA]).cpu().numpy()

    def on_validation_epoch_end(self) -> None:
        scores = error_summary(np.concatenate(self.found))
        self.log_dict({f"val/{name}": value for name, value in scores.items()}, prog_bar=False)

    def on_test_epoch_end(self) -> None:
        scores = error_summary(np.concatenate(self.found))
        self.log_dict({f"test/{name}": value for name, value in scores.items()})
