"""What a correction puts out, and what is made of it before it is projected."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch

from dmftnet.errors import ConvergenceError
from dmftnet.models.correction.thermal import Answer

NOT_FINITE = (
    "the correction is not finite: its training diverged, or its file is damaged; train with a "
    "lower optimizer.lr, or copy the weights again"
)


class Outputs(NamedTuple):
    """``q`` (B, n_iw); ``strength`` (B,) in D^2 and ``correlation`` ``d - n^2`` (B,).

    Of one orbital these two are None: U^2, and what G and Sigma say. ``measures`` (B, J), of models
    that put them out: q is theirs, and nothing is left to project.
    """

    q: torch.Tensor
    strength: torch.Tensor | None = None
    correlation: torch.Tensor | None = None
    measures: torch.Tensor | None = None


class Prediction(NamedTuple):
    """Outputs, and the answer that they make without a projection.

    ``spread``, of an ensemble: (B,) mean of ``(1/beta) integral |G_i - G| dtau`` over its members.
    """

    outputs: Outputs
    answer: Answer
    spread: torch.Tensor | None = None


def combined(
    outputs: Sequence[Outputs], how: Callable[[Sequence[torch.Tensor]], torch.Tensor]
) -> Outputs:
    """Part by part; what one of them lacks, all lack."""
    parts = zip(*outputs, strict=True)
    return Outputs(*(None if any(p is None for p in part) else how(part) for part in parts))


def require_finite(outputs: Outputs) -> Outputs:
    """The same; ConvergenceError where they are not finite."""
    if not all(bool(torch.isfinite(part).all()) for part in outputs if part is not None):
        raise ConvergenceError(NOT_FINITE)
    return outputs
