"""The learning rate: a linear rise, then a cosine to zero."""

from __future__ import annotations

import math

import torch


def warmed_cosine(
    optimizer: torch.optim.Optimizer, total: int, warmup_fraction: float
) -> torch.optim.lr_scheduler.LambdaLR:
    """Schedule by step.

    Parameters
    ----------
    total : int
        Steps in all.
    warmup_fraction : float
        Share of the steps in which the learning rate rises.
    """
    warmup = max(1, round(warmup_fraction * total))

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / (total - warmup + 1))))

    return torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
