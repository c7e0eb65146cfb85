"""Networks of one architecture as a single network that holds the weights of all.

On small problems most time goes into launching operations, once per member of an ensemble. A
stacked network launches each operation once: linear layers multiply batches of matrices, everything
else broadcasts over one more axis, the first, for the members. A module that can do better with
fewer operations says so by ``side_by_side(modules)``, which gives the stacked one.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import nn


class StackedLinear(nn.Module):
    """Linear layers side by side: (M, ..., n_in) -> (M, ..., n_out)."""

    def __init__(self, layers: Sequence[nn.Linear]):
        super().__init__()
        _keep(self, "weight", layers)
        self.weight = self.weight.mT.contiguous()  # (M, n_in, n_out)
        _keep(self, "bias", layers, batch_axis=True)  # (M, 1, n_out), or None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(M, ..., n_in), or (1, ..., n_in) for all members, -> (M, ..., n_out)."""
        weight, bias = self.weight, self.bias
        rows = x if x.ndim == 3 else x.flatten(1, -2)
        if len(rows) != len(weight):
            rows = rows.expand(len(weight), -1, -1)
        rows = torch.bmm(rows, weight) if bias is None else torch.baddbmm(bias, rows, weight)
        return rows if x.ndim == 3 else rows.view(len(weight), *x.shape[1:-1], -1)


class StackedLayerNorm(nn.Module):
    """Layer norms over the last axis side by side, each with its own scale and shift."""

    def __init__(self, layers: Sequence[nn.LayerNorm]):
        super().__init__()
        self.shape, self.eps = layers[0].normalized_shape, layers[0].eps
        _keep(self, "weight", layers)
        _keep(self, "bias", layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(M, ..., n) -> (M, ..., n)."""
        axes = (len(self.weight), *(1,) * (x.ndim - 2), -1)
        norm = nn.functional.layer_norm(x, self.shape, eps=self.eps)
        return torch.addcmul(self.bias.view(axes), norm, self.weight.view(axes))


def joined(layers: Sequence[nn.Linear]) -> nn.Linear:
    """One layer that puts out what all do, side by side; of one input, all with a bias."""
    result = nn.Linear(layers[0].in_features, sum(layer.out_features for layer in layers))
    with torch.no_grad():
        result.weight.copy_(torch.cat([layer.weight for layer in layers]))
        result.bias.copy_(torch.cat([layer.bias for layer in layers]))
    return result


def stacked(networks: Sequence[nn.Module]) -> nn.Module:
    """One network equivalent to all of them, for use, not for training.

    Parameters
    ----------
    networks : sequence of modules
        That are `alike`, and written for any number of axes before those of a sample.

    Returns
    -------
    module
        Takes inputs with a leading axis of M members, or of one for all, gives outputs with M.
        The weights are copies.
    """
    first = networks[0]
    result = copy.copy(first)
    result._modules = {
        name: _layer([network._modules[name] for network in networks]) for name in first._modules
    }
    result._parameters, result._buffers = {}, dict(first._buffers)
    result._non_persistent_buffers_set = set(first._non_persistent_buffers_set)
    for name in first._parameters:
        _keep(result, name, networks, batch_axis=True)
    return result


def alike(networks: Sequence[nn.Module]) -> bool:
    """Whether modules are the same but for the values of their parameters."""
    first, *others = (list(network.modules()) for network in networks)
    return all(len(other) == len(first) and all(map(_same, other, first)) for other in others)


def _same(a: nn.Module, b: nn.Module) -> bool:
    """Type, settings, constants and shapes of two modules, their children left out."""
    simple = (int, float, str, tuple, bool, type(None))
    settings = [
        {name: value for name, value in vars(module).items() if isinstance(value, simple)}
        for module in (a, b)
    ]
    shapes = [
        {name: None if p is None else p.shape for name, p in module._parameters.items()}
        for module in (a, b)
    ]
    return (
        type(a) is type(b)
        and settings[0] == settings[1]
        and shapes[0] == shapes[1]
        and a._modules.keys() == b._modules.keys()
        and a._buffers.keys() == b._buffers.keys()
        and all(torch.equal(value, b._buffers[name]) for name, value in a._buffers.items())
    )


def _layer(layers: Sequence[nn.Module]) -> nn.Module:
    if hasattr(layers[0], "side_by_side"):
        return layers[0].side_by_side(layers)
    if isinstance(layers[0], nn.Linear):
        return StackedLinear(layers)
    if isinstance(layers[0], nn.LayerNorm) and layers[0].elementwise_affine:
        return StackedLayerNorm(layers)
    return stacked(layers)


def _keep(
    module: nn.Module, name: str, sources: Sequence[nn.Module], batch_axis: bool = False
) -> None:
    """Store the sources' parameters side by side, (M, ...) or (M, 1, ...), or None if it is None.

    They move with the module, but are neither trained nor saved.
    """
    values = [getattr(source, name) for source in sources]
    both = None if values[0] is None else torch.stack([value.detach() for value in values])
    if both is not None and batch_axis:
        both = both.unsqueeze(1)
    module.register_buffer(name, both, persistent=False)
