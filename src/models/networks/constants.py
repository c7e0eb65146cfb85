"""Modules of arrays that follow from the config."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn


class Constants(nn.Module):
    """A module of constant arrays, which follow from the config: not stored, never rounded."""

    def constant(self, name: str, values) -> None:
        self.register_buffer(name, torch.tensor(np.asarray(values)), persistent=False)
        self._show(name)

    def like(self, values: torch.Tensor | np.ndarray, name: str) -> torch.Tensor | np.ndarray:
        """A constant as an array of the library of `values`."""
        constant = vars(self)[name]
        return constant if isinstance(values, torch.Tensor) else constant.numpy()

    def _show(self, name: str) -> None:
        """As a plain attribute too: torch looks a buffer up last of all, a microsecond each."""
        vars(self)[name] = self._buffers[name]

    def _apply(self, fn, recurse: bool = True):
        """Follows the model to its device, but stays in double precision."""
        precise = dict(self._buffers)
        super()._apply(fn, recurse)
        for name, values in precise.items():
            self._buffers[name] = values.to(self._buffers[name].device)
            self._show(name)
        return self
