"""Error stability after validation epochs; see `dmftnet.evaluation.error_stability`."""

from __future__ import annotations

import copy

from dmftnet import checks
from dmftnet.callbacks.common import PeriodicCallback
from dmftnet.data.keys import SPLITS
from dmftnet.evaluation.error_stability import error_stability
from dmftnet.report import samples


class ErrorStabilityCallback(PeriodicCallback):
    """Scatter of the validation samples; see the module.

    Parameters
    ----------
    every_n_validations : see `PeriodicCallback`
    split : {"val", "test", "train"}
    """

    name = "error_stability"

    def __init__(self, every_n_validations: int = 1, split: str = "val"):
        super().__init__(every_n_validations)
        self.split = checks.choice("callbacks.stability.split", split, SPLITS)

    def report(self, trainer, pl_module):
        model = copy.deepcopy(pl_module.model).cpu().eval()
        result = error_stability(model, trainer.datamodule.arrays(self.split))
        label = f"{self.split}, epoch {trainer.current_epoch}"
        panels = {label: (result.error_base, result.error_prediction, result.U)}
        return result.scalars(), samples.error_stability(panels), result.table()
