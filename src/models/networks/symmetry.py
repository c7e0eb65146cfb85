"""Particle-hole symmetry of impurity problems in torch."""

from __future__ import annotations

import torch


def mirror(params: torch.Tensor) -> torch.Tensor:
    """Particle-hole mirrored ``[U, eps_d] -> [U, -U - eps_d]``; (B, 2) -> (B, 2)."""
    U, eps_d = params[:, 0], params[:, 1]
    return torch.stack([U, -U - eps_d], dim=-1)


def is_even(hybridization: torch.Tensor, params: torch.Tensor) -> torch.Tensor:
    """(B,) whether a problem is its own particle-hole mirror image, up to float32 rounding."""
    scale = 1e-6 * hybridization.amax(dim=-1).clamp_min(1.0)
    difference = (hybridization - hybridization.flip(-1)).abs().amax(dim=-1)
    shift = (params[:, 1] + 0.5 * params[:, 0]).abs()
    return (difference <= scale) & (shift <= 1e-6)
