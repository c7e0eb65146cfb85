"""KL stability after validation epochs; see `dmftnet.evaluation.stability`."""

from __future__ import annotations

from dmftnet import checks
from dmftnet.callbacks.common import PeriodicCallback
from dmftnet.data.plans.sampling import SPLITS
from dmftnet.evaluation.stability import stability
from dmftnet.report import samples


class KLStability(PeriodicCallback):
    """Scatter of the validation samples; see the module.

    Parameters
    ----------
    every_n_validations : see `PeriodicCallback`
    split : {"val", "test", "train"}
    """

    name = "kl_stability"

    def __init__(self, every_n_validations: int = 1, split: str = "val"):
        super().__init__(every_n_validations)
        self.split = checks.choice("callbacks.stability.split", split, SPLITS)

    def report(self, trainer, pl_module):
        result = stability(pl_module.model, trainer.datamodule.arrays(self.split))
        label = f"{self.split}, epoch {trainer.current_epoch}"
        figure = samples.kl_stability({label: (result.kl_input, result.kl_prediction, result.U)})
        return result.scalars(), figure, result.table()
