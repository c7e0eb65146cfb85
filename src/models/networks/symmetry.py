"""Particle-hole symmetry of impurity problems as networks see them."""

from __future__ import annotations

from types import ModuleType

import torch


def mirror(params: torch.Tensor) -> torch.Tensor:
    """Particle-hole mirrored ``[U, eps_d] -> [U, -U - eps_d]``; (B, 2) -> (B, 2)."""
    U, eps_d = params[:, 0], params[:, 1]
    return torch.stack([U, -U - eps_d], dim=-1)


def is_even(hybridization, params, xp: ModuleType = torch):
    """(B,) whether a problem is its own particle-hole mirror image, up to float32 rounding.

    Of arrays of torch, or of numpy as `xp`.
    """
    scale = 1e-6 * xp.clip(xp.amax(hybridization, -1), 1.0, None)
    difference = xp.amax(abs(hybridization - xp.flip(hybridization, (-1,))), -1)
    shift = abs(params[:, 1] + 0.5 * params[:, 0])
    return (difference <= scale) & (shift <= 1e-6)
