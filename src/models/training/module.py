"""Training of any spectral model: optimizer, schedule, metrics, exact resume.

`SpectralModule` is the Lightning side of a `SpectralModel`: it draws the angles of a step, applies
the loss, and scores the *real-axis* spectrum, absent from the training labels, by KL divergence in
float64.

A run that was stopped at the end of an epoch and resumed from its checkpoint continues bit for bit:
the datamodule's order depends on (seed, epoch), and everything random inside a step (dropout, the
angles) on (seed, step), never on the history of a generator.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import lightning
import numpy as np
import torch
from torch import nn

from dmftnet import checks
from dmftnet.data.keys import Batch
from dmftnet.errors import ConvergenceError, DmftnetError
from dmftnet.models.networks.spectral_model import SpectralModel, select
from dmftnet.models.training.schedule import warmed_cosine
from dmftnet.models.training.scoring import kl_summary
from dmftnet.physics.analysis.distances import kl_divergence

CHUNK = 256  # problems whose guesses are computed at once


def as_list(loaders) -> list:
    """Lightning's loaders: none, one or several."""
    if loaders is None:
        return []
    return loaders if isinstance(loaders, list) else [loaders]


class SpectralModule(lightning.LightningModule):
    """A spectral model and how it is trained.

    Parameters
    ----------
    model : SpectralModel
        A head with its network.
    loss : nn.Module
        ``loss(prediction, target, weights, expansion) -> {"loss": ..., name: term}``, with
        ``small_angle``, ``needs_slopes`` and ``needs_self_energy``, see
        `dmftnet.models.training.losses`.
    optimizer : callable
        ``parameters -> torch.optim.Optimizer``, learning rate and weight decay bound.
    warmup_fraction : float
        Share of the steps in which the learning rate rises linearly; a cosine to zero follows.
    angles_per_step : int
        Angles drawn for each sample and step where every angle costs a pass through the network
        (direct head); 0 takes all of them.
    seed : int
    max_memory : float, in GiB
        A step that would need more is refused before training starts.
    hyperparameters : mapping of plain values
        The run's config, for the loggers and the checkpoint.

    Notes
    -----
    Batches are dicts of the tensors of `dmftnet.data.keys.Batch`. What a model computes
    from the problem alone (`SpectralModel.guesses`) is computed once, when training starts, and
    joins the samples as ``guesses``.
    """

    def __init__(
        self,
        model: SpectralModel,
        loss: nn.Module,
        optimizer: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer],
        warmup_fraction: float = 0.05,
        angles_per_step: int = 1,
        seed: int = 0,
        max_memory: float = checks.MAX_MEMORY,
        hyperparameters: Mapping | None = None,
    ):
        super().__init__()
        self.save_hyperparameters(dict(hyperparameters or {}))
        self.model = model
        self.loss = loss
        self.make_optimizer = optimizer
        optimizer(self.model.parameters())  # fails now rather than during training
        self.warmup_fraction = checks.number(
            "module.warmup_fraction", warmup_fraction, at_least=0, at_most=1
        )
        self.angles_per_step = checks.integer("module.angles_per_step", angles_per_step, at_least=0)
        self.seed = checks.seed("seed", seed)
        self.max_memory = checks.number("module.max_memory", max_memory, above=0)
        self.kl: list[np.ndarray] = []
        if loss.needs_self_energy and model.corrects != "self_energy":
            raise DmftnetError(
                f"loss {type(loss).__name__} compares self-energies, and {type(model).__name__} "
                "puts out spectra; use head=self_energy, or loss=derivative"
            )
        if loss.small_angle is not None and model.angles_are_free:
            raise DmftnetError(
                f"loss {type(loss).__name__} needs the angle as an input, and "
                f"{type(model).__name__} relates all angles by the exact rotation; use "
                "head=direct, or loss=derivative"
            )

    # --- for callbacks and solvers -------------------------------------------------

    @property
    def frequency_grid(self):
        """The network grid."""
        return self.model.frequency_grid

    def real_axis(self, hybridization: torch.Tensor, params: torch.Tensor) -> torch.Tensor:
        """See `SpectralModel.real_axis`."""
        return self.model.real_axis(hybridization, params)

    def latent(self, hybridization: torch.Tensor, params: torch.Tensor) -> torch.Tensor:
        """See `SpectralModel.latent`."""
        return self.model.latent(hybridization, params)

    # --- training ---------------------------------------------------------------------------

    def on_train_start(self) -> None:
        self._check_memory()
        loaders = [self.trainer.train_dataloader, *as_list(self.trainer.val_dataloaders)]
        for loader in loaders:
            samples = loader.dataset.tensors
            if Batch.GUESSES not in samples:
                guesses = self._guesses(samples[Batch.HYBRIDIZATION], samples[Batch.PARAMS])
                if guesses is not None:
                    samples[Batch.GUESSES] = guesses

    def _check_memory(self) -> None:
        """Raise if what a step keeps for its gradient would not fit.

        Raises
        ------
        SpaceTooLargeError
        """
        loader = self.trainer.train_dataloader
        n_batch = min(loader.batch_size, len(loader.dataset))
        passes = 1  # with the angle as an input, a value and a slope for each
        if not self.model.angles_are_free:
            n_angle = len(self.model.angles)
            passes = 2 * (min(self.angles_per_step, n_angle) or n_angle)
        checks.memory(
            f"a step of dataset.batch_size = {n_batch} samples",
            float(n_batch * passes * self.model.net.sample_bytes),
            self.max_memory,
            "module.max_memory",
            "take smaller batches or a smaller network",
        )

    @torch.no_grad()
    def _guesses(self, hybridization, params) -> torch.Tensor | None:
        """Guesses of a whole split, in main memory like the rest of it."""
        parts = [
            self.model.guesses(h.to(self.device), p.to(self.device))
            for h, p in zip(hybridization.split(CHUNK), params.split(CHUNK), strict=True)
        ]
        return None if parts[0] is None else torch.cat(parts).to(hybridization.device)

    def on_train_batch_start(self, batch, batch_idx: int) -> None:
        torch.manual_seed(self.seed * 1_000_003 + self.global_step)

    def objective(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Terms of the loss in a training step, ``loss`` among them, at the angles drawn for it."""
        return self._terms(batch, self._draw_angles(batch))

    def training_step(self, batch: dict[str, torch.Tensor], batch_idx: int) -> torch.Tensor:
        terms = self.objective(batch)
        if not torch.isfinite(terms["loss"]):
            raise ConvergenceError(
                f"training loss is {terms['loss'].item()} at step {self.global_step}; "
                "lower optimizer.lr or raise warmup_fraction"
            )
        size = len(batch[Batch.PARAMS])
        for name, value in terms.items():
            self.log(f"train/{name}", value, on_step=False, on_epoch=True, batch_size=size)
        return terms["loss"]

    def _draw_angles(self, batch) -> torch.Tensor | None:
        n_angle = batch[Batch.ROTATED].shape[1]
        if self.model.angles_are_free or not 0 < self.angles_per_step < n_angle:
            return None
        order = torch.rand(len(batch[Batch.PARAMS]), n_angle, device=self.device).argsort(dim=1)
        return order[:, : self.angles_per_step]

    def _terms(self, batch, index: torch.Tensor | None) -> dict[str, torch.Tensor]:
        inputs, guesses = (
            (batch[Batch.HYBRIDIZATION], batch[Batch.PARAMS]),
            batch.get(Batch.GUESSES),
        )
        if self.loss.needs_self_energy:
            return self._causal_terms(batch, inputs, guesses)
        slopes = self.loss.needs_slopes or not self.training
        prediction = self.model.spectrum(*inputs, index, guesses, slopes)
        target = (batch[Batch.ROTATED], batch[Batch.DERIVATIVE])
        if index is not None:
            target = (select(target[0], index), select(target[1], index))
        expansion = None
        if self.loss.small_angle is not None:
            expansion = self.model.expansion(*inputs, self.loss.small_angle, guesses)
        return self.loss(prediction, target, self.model.weights, expansion)

    def _causal_terms(self, batch, inputs, guesses) -> dict[str, torch.Tensor]:
        """Of a head that puts out Sigma: spectra, Sigma and filling from one answer."""
        answer = self.model.answer(*inputs, guesses)
        dtype = self.model.rotation.dtype
        return self.loss(
            self.model.rotated(answer.spectrum.to(dtype)),
            (batch[Batch.ROTATED], batch[Batch.DERIVATIVE]),
            self.model.weights,
            params=batch[Batch.PARAMS],
            predicted=(answer.self_energy.to(dtype), 2 * answer.density.to(dtype)),
            exact=(batch[Batch.SELF_ENERGY], batch[Batch.FILLING]),
        )

    def configure_optimizers(self):
        optimizer = self.make_optimizer(self.parameters())
        total = max(1, int(self.trainer.estimated_stepping_batches))
        scheduler = warmed_cosine(optimizer, total, self.warmup_fraction)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }

    # --- scores -----------------------------------------------------------------------------

    def on_validation_epoch_start(self) -> None:
        self.kl = []

    def on_test_epoch_start(self) -> None:
        self.kl = []

    def validation_step(self, batch: dict[str, torch.Tensor], batch_idx: int) -> None:
        terms = self._terms(batch, None)
        for name, value in terms.items():
            self.log(f"val/{name}", value, batch_size=len(batch[Batch.PARAMS]))
        self.kl.append(self._real_axis_kl(batch))

    def test_step(self, batch: dict[str, torch.Tensor], batch_idx: int) -> None:
        self.kl.append(self._real_axis_kl(batch))

    def _real_axis_kl(self, batch) -> np.ndarray:
        known = (batch[Batch.GUESSES],) if Batch.GUESSES in batch else ()
        A = self.model.real_axis(batch[Batch.HYBRIDIZATION], batch[Batch.PARAMS], *known)
        reference = batch[Batch.SPECTRUM].cpu().numpy().astype(np.float64)
        return kl_divergence(self.frequency_grid, reference, A.cpu().numpy().astype(np.float64))

    def on_validation_epoch_end(self) -> None:
        scores = kl_summary(np.concatenate(self.kl))
        self.log_dict({f"val/{name}": value for name, value in scores.items()}, prog_bar=False)

    def on_test_epoch_end(self) -> None:
        scores = kl_summary(np.concatenate(self.kl))
        self.log_dict({f"test/{name}": value for name, value in scores.items()})
