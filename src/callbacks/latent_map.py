"""Latent map after validation epochs; see `dmftnet.evaluation.latent_map`."""

from __future__ import annotations

from collections.abc import Sequence

from dmftnet import checks
from dmftnet.callbacks.common import PeriodicCallback
from dmftnet.data.plans.sampling import SPLITS
from dmftnet.errors import DmftnetError
from dmftnet.evaluation.latent_map import map_of_model, require_samples
from dmftnet.report import samples


class LatentMapCallback(PeriodicCallback):
    """The map of training and validation samples; see the module.

    Parameters
    ----------
    every_n_validations : see `PeriodicCallback`
        0, the default, draws it once at the end of the training.
    splits : sequence of str
    """

    name = "latent_map"

    def __init__(self, every_n_validations: int = 0, splits: Sequence[str] = ("train", "val")):
        super().__init__(every_n_validations)
        if isinstance(splits, str) or not isinstance(splits, Sequence) or not splits:
            raise DmftnetError(
                f"callbacks.latent.splits = {checks.shown(splits)}: give a list of splits"
            )
        self.splits = tuple(checks.choice("callbacks.latent.splits", s, SPLITS) for s in splits)

    def setup(self, trainer, pl_module, stage: str) -> None:
        """Raise before the first step if the samples are too few for a map."""
        if stage == "fit":
            n = sum(len(trainer.datamodule.arrays(split)) for split in self.splits)
            require_samples(n)

    def report(self, trainer, pl_module):
        parts = [trainer.datamodule.arrays(split) for split in self.splits]
        result = map_of_model(pl_module.model, parts)
        label = f"{' + '.join(self.splits)}, epoch {trainer.current_epoch}"
        figure = samples.latent_map({label: (result.embedding, result.A0, result.filling)})
        return result.scalars(), figure, result.table()
