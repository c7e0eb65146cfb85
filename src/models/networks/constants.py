"""Modules of arrays that follow from the config, for arrays of torch or of numpy.

On a CPU small operations of numpy cost a third of torch's. What has no weights is written for
either library, by the names that both have.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import nn

Array = Any
"""Of numpy or of torch."""


def library(values: Array) -> ModuleType:
    """numpy or torch, whose array this is."""
    return torch if isinstance(values, torch.Tensor) else np


def precise(values: Array) -> Array:
    """In float64."""
    return values.double() if isinstance(values, torch.Tensor) else values.astype(np.float64)


def rounded(values: Array, model: Array) -> Array:
    """In the precision of `model`."""
    if isinstance(values, torch.Tensor):
        return values.to(model.dtype)
    return values.astype(model.dtype, copy=False)


class Constants(nn.Module):
    """A module of constant arrays, which follow from the config: not stored, never rounded."""

    def constant(self, name: str, values) -> None:
        self.register_buffer(name, torch.tensor(np.asarray(values)), persistent=False)
        self._show(name)

    def like(self, values: Array, name: str) -> Array:
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
