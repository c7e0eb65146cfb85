"""Training losses: spectra and, weighted by `lam`, their derivative in the complex-time angle.

`DerivativeLoss` is
``L = sum_w q(w) |A_pred - A| + lam sum_w q(w) |dA_pred/dalpha - dA/dalpha|``, averaged over samples
and angles (arXiv:2511.14505). Finite angles alone do not determine the real axis: every
network fits them well, and the derivative decides how it continues to angle zero. L2
regularisation of the weights is the optimizer's weight decay.

With ``amplitude`` it compares ``sqrt(A)``, whose derivative is ``dA/dalpha / (2 sqrt(A))``: errors
count relative to the spectrum's height, as in the KL divergence by which networks are scored
(``KL ~ 2 integral (sqrt(A_pred) - sqrt(A))^2``), and a sharp peak does not outweigh Hubbard bands,
tails and gap edges.

`TaylorLoss` adds a condition between the data and the real axis, where there are no labels: ``mu
sum_w q(w) |A(a) - A(0) - a dA/dalpha(0)| / a`` at a small angle a. It is wrong by ``a/2`` times the
second derivative, so a should be below the smallest angle of the data. It is for the direct head,
which takes the angle as an input; a rotated head fulfils it by construction and is refused.
"""

from __future__ import annotations

import torch
from torch import nn

from dmftnet import checks
from dmftnet.errors import DmftnetError


class DerivativeLoss(nn.Module):
    """L1 loss on spectra and angle derivatives.

    Parameters
    ----------
    lam : float
        Weight of the derivative term, >= 0; at 0 it is recorded in validation only.
    weight_power : float
        ``q ~ (quadrature weight)^power``, scaled to the same total: 1 is the integral over w, 0.5
        gives the low energies of a geometric grid more weight.
    amplitude : bool
        Compare ``sqrt(A + 1e-4)`` in place of A.

    Attributes
    ----------
    small_angle : float or None
        Angle at which the loss needs the model's expansion about zero; None if it does not.
    needs_slopes : bool
        Whether training needs dA/dalpha of the prediction, most of a step with the direct head.
    needs_self_energy : bool
        Whether the loss compares Sigma and filling too.
    """

    small_angle: float | None = None
    needs_self_energy = False
    AMPLITUDE_FLOOR = 1e-4  # 1/D: below it a spectrum counts as empty

    def __init__(self, lam: float = 1.0, weight_power: float = 0.75, amplitude: bool = False):
        super().__init__()
        self.lam = checks.number("loss.lam", lam, at_least=0)
        self.weight_power = checks.number("loss.weight_power", weight_power, at_least=0, at_most=10)
        self.amplitude = checks.flag("loss.amplitude", amplitude)

    def forward(
        self,
        prediction: tuple[torch.Tensor, torch.Tensor],
        target: tuple[torch.Tensor, torch.Tensor],
        weights: torch.Tensor,
        expansion: tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None = None,
    ) -> dict[str, torch.Tensor]:
        """Loss and its two terms.

        Parameters
        ----------
        prediction, target : (A, dA/dalpha), each (B, k, n_w), in 1/D
            The prediction's slopes may be None where they are not needed.
        weights : (n_w,), in D
        expansion : (A(0), dA/dalpha(0), A(small_angle)), each (B, 1, n_w), in 1/D
            Where the loss has a `small_angle`.

        Returns
        -------
        dict of scalars: ``loss``, ``value`` and, where there are slopes, ``derivative``
        """
        q = self._quadrature(weights)
        predicted, wanted = self._measure(*prediction), self._measure(*target)
        terms = {
            name: ((p - t).abs() @ q).mean()
            for name, p, t in zip(("value", "derivative"), predicted, wanted, strict=True)
            if p is not None
        }
        # an explicit branch: 0 * inf would be nan, and at lam = 0 the derivative needs no gradient
        loss = terms["value"]
        if self.needs_slopes:
            loss = loss + self.lam * terms["derivative"]
        return {"loss": loss, **{name: term.detach() for name, term in terms.items()}}

    def _measure(self, A: torch.Tensor, dA: torch.Tensor | None):
        """What is compared: spectra and slopes, or their amplitudes and those slopes."""
        if not self.amplitude:
            return A, dA
        root = (A.clamp_min(0.0) + self.AMPLITUDE_FLOOR).sqrt()
        return root, None if dA is None else 0.5 * dA / root

    @property
    def needs_slopes(self) -> bool:
        """See the class."""
        return self.lam > 0

    def _quadrature(self, weights: torch.Tensor) -> torch.Tensor:
        q = weights**self.weight_power
        return q * (weights.sum() / q.sum())


class TaylorLoss(DerivativeLoss):
    """`DerivativeLoss` and the consistency of the prediction near angle zero.

    Parameters
    ----------
    mu : float
        Weight of the consistency term, > 0.
    angle : float, in radians
        The small angle.
    lam, weight_power, amplitude
        See `DerivativeLoss`.
    """

    def __init__(
        self,
        mu: float = 1.0,
        angle: float = 0.05,
        lam: float = 1.0,
        weight_power: float = 0.75,
        amplitude: bool = False,
    ):
        super().__init__(lam, weight_power, amplitude)
        mu, angle = checks.number("loss.mu", mu), checks.number("loss.angle", angle)
        if mu <= 0:
            raise DmftnetError(
                f"loss.mu = {mu}: the consistency term needs a weight > 0; without it use "
                "loss=derivative"
            )
        if not 0 < angle < 0.5:
            raise DmftnetError(f"loss.angle = {angle}: give a small angle in (0, 0.5), e.g. 0.05")
        self.mu, self.small_angle = float(mu), float(angle)

    def forward(self, prediction, target, weights, expansion=None) -> dict[str, torch.Tensor]:
        """See `DerivativeLoss.forward`; one more term, ``taylor``, divided by the angle so that it
        weighs like an error of the derivative.
        """
        terms = super().forward(prediction, target, weights)
        A, dA, moved = expansion
        error = (moved - A) / self.small_angle - dA
        taylor = (error.abs() @ self._quadrature(weights)).mean()
        return {**terms, "loss": terms["loss"] + self.mu * taylor, "taylor": taylor.detach()}


class SelfEnergyLoss(DerivativeLoss):
    """`DerivativeLoss` on amplitudes, and the errors of Sigma and of the filling.

    -Im Sigma is compared as A is, by the root of ``-Im Sigma / (pi U^2 / 4)``, so that the low
    energies of a metal count as well as a Mott pole.

    Parameters
    ----------
    sigma, filling : float
        Weights of the two, >= 0.
    lam, weight_power
        See `DerivativeLoss`.
    """

    needs_self_energy = True
    SMALLEST_U = 0.02  # D

    def __init__(
        self,
        sigma: float = 1.0,
        filling: float = 2.5,
        lam: float = 1.0,
        weight_power: float = 0.75,
    ):
        super().__init__(lam, weight_power, amplitude=True)
        self.sigma = checks.number("loss.sigma", sigma, at_least=0)
        self.filling = checks.number("loss.filling", filling, at_least=0)

    def forward(
        self, prediction, target, weights, expansion=None, *, params, predicted, exact
    ) -> dict[str, torch.Tensor]:
        """See `DerivativeLoss.forward`; two more terms, ``sigma`` and ``filling``.

        Parameters
        ----------
        params : (B, 2), in D
        predicted, exact : pair of (B, n_w) and (B,)
            ``-Im Sigma / pi``, in D, and the filling of both spins.
        """
        terms = super().forward(prediction, target, weights)
        scale = 0.25 * params[:, :1].clamp_min(self.SMALLEST_U) ** 2
        roots = [
            (density / scale + self.AMPLITUDE_FLOOR).sqrt() for density, _ in (predicted, exact)
        ]
        sigma = ((roots[0] - roots[1]).abs() @ self._quadrature(weights)).mean()
        filling = (predicted[1] - exact[1]).abs().mean()
        loss = terms["loss"] + self.sigma * sigma + self.filling * filling
        return {**terms, "loss": loss, "sigma": sigma.detach(), "filling": filling.detach()}
