"""The training loss: spectra and, weighted by `lam`, their derivative in the complex-time angle.

``L = sum_w q(w) |A_pred - A| + lam sum_w q(w) |dA_pred/dalpha - dA/dalpha|``, averaged over samples
and angles (arXiv:2511.14505). Training at finite angles alone does not fix the real axis: every
network reaches a good fit there, and the derivative decides how it continues to angle zero. L2
regularisation of the weights is the optimizer's weight decay.
"""

from __future__ import annotations

import torch
from torch import nn

from dmftnet.errors import DmftnetError


class DerivativeLoss(nn.Module):
    """L1 loss on spectra and angle derivatives.

    Parameters
    ----------
    lam : float
        Weight of the derivative term, >= 0; at 0 it is computed for the record only.
    weight_power : float
        ``q ~ (quadrature weight)^power``, scaled to the same total: 1 is the integral over w, 0.5
        gives the low energies of a geometric grid more say.
    """

    def __init__(self, lam: float = 1.0, weight_power: float = 0.75):
        super().__init__()
        if lam < 0:
            raise DmftnetError(f"loss.lam = {lam}: the derivative's weight must be >= 0")
        self.lam = float(lam)
        self.weight_power = float(weight_power)

    def forward(
        self,
        prediction: tuple[torch.Tensor, torch.Tensor],
        target: tuple[torch.Tensor, torch.Tensor],
        weights: torch.Tensor,
    ) -> dict[str, torch.Tensor]:
        """Loss and its two terms.

        Parameters
        ----------
        prediction, target : (A, dA/dalpha), each (B, k, n_w), in 1/D
        weights : (n_w,), in D

        Returns
        -------
        dict of scalars: ``loss``, ``value``, ``derivative``
        """
        q = weights**self.weight_power
        q = q * (weights.sum() / q.sum())
        value, derivative = (
            ((p - t).abs() @ q).mean() for p, t in zip(prediction, target, strict=True)
        )
        # an explicit branch: 0 * inf would be nan, and at lam = 0 the derivative needs no gradient
        loss = value + self.lam * derivative if self.lam > 0 else value
        return {"loss": loss, "value": value.detach(), "derivative": derivative.detach()}
