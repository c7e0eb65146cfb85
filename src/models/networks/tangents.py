"""Forward mode: values of a network and their tangents, to be differentiated once more.

A training step of the direct head needs the gradient of a tangent. `push` writes tangents out for
the layers of `dmftnet.models.networks.crossattn`: `torch.func.jvp` fills in zero tangents of the
weights and adds them, which on small batches takes as long as all the rest.

Networks that do use `torch.func.jvp` need `DefinedNorm` about it. Torch's tangent of a layer norm
takes mean and variance for constants when it is differentiated in turn: the tangent is right, its
gradient is not.

Shapes are those of `dmftnet.models.networks.layers`; a tangent has the shape of its value.
"""

from __future__ import annotations

import math
from functools import singledispatch

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from dmftnet.models.networks.layers import Attention, AttentionBlock

Pair = tuple[torch.Tensor, torch.Tensor]


def defined_norm(x, shape, weight=None, bias=None, eps: float = 1e-5) -> torch.Tensor:
    """Layer norm over the last axis, from elementary operations."""
    centred = x - x.mean(dim=-1, keepdim=True)
    norm = centred * torch.rsqrt((centred * centred).mean(dim=-1, keepdim=True) + eps)
    norm = norm if weight is None else norm * weight
    return norm if bias is None else norm + bias


class DefinedNorm(TorchFunctionMode):
    """Within it a layer norm is `defined_norm`, whose tangent has the right gradient."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is nn.functional.layer_norm:
            func = defined_norm
        return func(*args, **(kwargs or {}))


class _GELU(torch.autograd.Function):
    """GELU and its tangent, with their derivatives in closed form."""

    @staticmethod
    def forward(ctx, x: torch.Tensor, dx: torch.Tensor) -> Pair:
        below = torch.special.ndtr(x)
        density = torch.exp(-0.5 * x * x).mul_(1.0 / math.sqrt(2.0 * math.pi))
        slope = torch.addcmul(below, x, density)
        ctx.save_for_backward(x, dx, density, slope)
        return x * below, slope * dx

    @staticmethod
    def backward(ctx, *gradients: torch.Tensor) -> Pair:
        x, dx, density, slope = ctx.saved_tensors
        of_value, of_tangent = gradients
        curvature = (2.0 - x * x).mul_(density).mul_(dx)
        return torch.addcmul(of_value * slope, of_tangent, curvature), of_tangent * slope


@singledispatch
def push(layer: nn.Module, x: torch.Tensor, dx: torch.Tensor) -> Pair:
    """A layer's output and its tangent.

    Parameters
    ----------
    layer : module
        Linear, GELU, LayerNorm, Dropout, or several of them in a row.
    x, dx : (..., d)
        Input, and its derivative in one variable.

    Raises
    ------
    TypeError
        If the layer is of another kind.
    """
    raise TypeError(f"no tangent is written out for a {type(layer).__name__}")


@push.register
def _(layer: nn.Identity, x, dx):
    return x, dx


@push.register
def _(layer: nn.Sequential, x, dx):
    for part in layer:
        x, dx = push(part, x, dx)
    return x, dx


@push.register
def _(layer: nn.Linear, x, dx):
    return layer(x), nn.functional.linear(dx, layer.weight)


@push.register
def _(layer: nn.GELU, x, dx):
    return _GELU.apply(x, dx)


@push.register
def _(layer: nn.Dropout, x, dx):
    if not layer.training:
        return x, dx
    kept = layer(torch.ones_like(x))
    return x * kept, dx * kept


@push.register
def _(layer: nn.LayerNorm, x, dx):
    norm = nn.functional.layer_norm(x, layer.normalized_shape, eps=layer.eps)
    scale = torch.rsqrt(x.var(dim=-1, correction=0, keepdim=True) + layer.eps)
    shift = dx.mean(dim=-1, keepdim=True)
    stretch = (norm * dx).mean(dim=-1, keepdim=True)
    slope = torch.addcmul(dx - shift, norm, stretch, value=-1.0) * scale
    return torch.addcmul(layer.bias, norm, layer.weight), slope * layer.weight


def weights(layer: Attention, other: torch.Tensor, d_other: torch.Tensor) -> Pair:
    """(B, h, T, T) attention matrix of a sequence with itself, and its tangent."""
    q, dq = (layer.split(x) for x in push(layer.query, other, d_other))
    k, dk = (layer.split(x) for x in push(layer.key, other, d_other))
    q, dq = (x * q.shape[-1] ** -0.5 for x in (q, dq))
    mixing = torch.softmax(q @ k.mT, dim=-1)
    slope = torch.cat([dq, q], dim=-1) @ torch.cat([k, dk], dim=-1).mT
    slope = slope - (mixing * slope).sum(dim=-1, keepdim=True)
    return mixing, mixing * slope


def push_block(
    block: AttentionBlock,
    x: torch.Tensor,
    dx: torch.Tensor | None,
    other: torch.Tensor,
    d_other: torch.Tensor,
) -> Pair:
    """A block whose carried sequence is the value; the same for the sequence of parameters.

    Parameters
    ----------
    x, dx : (B, T, d)
        What is carried, and its tangent, None where it has none.
    other, d_other : (B, T, d)
        Query and key.
    """
    attention = block.attention
    mixing, d_mixing = weights(attention, *push(block.norm_other, other, d_other))
    if dx is None:
        value = attention.split(attention.value(block.norm_carried(x)))
        mixed, d_mixed = mixing @ value, d_mixing @ value
    else:
        pair = push(attention.value, *push(block.norm_carried, x, dx))
        value, d_value = (attention.split(part) for part in pair)
        mixed = mixing @ value
        d_mixed = torch.cat([d_mixing, mixing], dim=-1) @ torch.cat([value, d_value], dim=-2)
    pair = push(attention.output, attention.merged(mixed), attention.merged(d_mixed))
    pair = push(block.dropout, *pair)
    x, dx = x + pair[0], pair[1] if dx is None else dx + pair[1]
    pair = push(block.forward_net, *push(block.norm_forward, x, dx))
    pair = push(block.dropout, *pair)
    return x + pair[0], dx + pair[1]
