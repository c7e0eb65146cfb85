"""Heads: from a network's raw output to spectra at finite angles and on the real axis.

Training data live on complex-time contours, ``A(w, alpha)`` and ``dA/dalpha``; what is wanted is
``A(w, 0)``. Two ways, and a third by the self-energy (`dmftnet.models.networks.self_energy_head`):

* `DirectHead` (the seed paper's): the angle is an input of the network, trained at finite angles
  and evaluated at zero. ``dA/dalpha`` is the forward-mode derivative of the network. It inherits
  the error of extrapolating in the angle.
* `RotatedHead`: the network's output *is* the real-axis spectrum, compared with the data through
  the exact rotation ``K_alpha`` and ``dK_alpha/dalpha`` (`dmftnet.physics.grids.rotation`).
  Inverting the rotation amplifies noise, so the output passes through a Gaussian of
  width ``eta + slope |w|``.

A head owns its network and is the whole model (`dmftnet.models.networks.spectral_model`).

Where the network has ``log_residual``, its output corrects the cheap spectra R_k of
`dmftnet.models.networks.guesses`: ``A = exp(raw) sum_k s_k R_k``, the shares s_k being a softmax of
further outputs at each frequency. One R_k follows from Dyson's equation with the perturbative ``-Im
Sigma`` times a factor from the network, so that the bath's imprint on the spectrum need not be
learned. The direct head rotates the R_k to the requested angle.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import nn

from dmftnet import checks
from dmftnet.errors import DmftnetError
from dmftnet.models.networks.network import SpectralNetwork
from dmftnet.models.networks.spectral_model import SpectralModel, rotation_matrices
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.grids.rotation import smoothing_kernel


@lru_cache(maxsize=8)
def small_rotation(grid: FrequencyGrid, angle: float) -> tuple[np.ndarray, np.ndarray]:
    """``K_alpha`` at a small angle, and ``dK/dalpha`` at zero, (1, n_w, n_w) each.

    The latter at a hundredth of a radian, where the kernel is already smooth on the fine grid.
    """
    return rotation_matrices(grid, (angle,))[0], rotation_matrices(grid, (0.01,))[1]


class Head(SpectralModel):
    """A network and the way from its raw output to a positive curve.

    ``softplus(raw)^power``, or ``exp(raw)`` times a mixture of the guesses where the network is
    a log-residual one; a broad Lorentzian among them keeps every frequency in reach.
    """

    n_params: int
    power = 1.0
    BROAD_WIDTH = 1.5  # in D

    def __init__(self, net: SpectralNetwork, grid: Mapping, angles: Sequence[float]):
        super().__init__(grid, angles)
        if net.n_params != self.n_params:
            raise DmftnetError(
                f"{type(self).__name__} feeds {self.n_params} parameters, but the network was "
                f"built for {net.n_params}; set model.n_params={self.n_params}"
            )
        if net.corrects != self.corrects:
            raise DmftnetError(
                f"{type(self).__name__} needs a network of the {self.corrects}, not of the "
                f"{net.corrects}; leave model.corrects to the head"
            )
        self.net = net
        omega = self.frequency_grid.omega
        broad = 1.0 / (omega**2 + self.BROAD_WIDTH**2)
        self._constant("broad", broad / self.frequency_grid.integrate(broad))

    def guesses(self, hybridization: torch.Tensor, params: torch.Tensor) -> torch.Tensor | None:
        if self.net.guesses is None:
            return None
        return self.net.guesses(hybridization, params)

    def mirrored_guesses(self, guesses: torch.Tensor) -> torch.Tensor:
        if self.net.guesses is None:
            return super().mirrored_guesses(guesses)
        return self.net.guesses.mirrored(guesses)

    def latent(self, hybridization: torch.Tensor, params: torch.Tensor) -> torch.Tensor:
        return self.net.latent(hybridization, self._complete(params))

    def _complete(self, params: torch.Tensor) -> torch.Tensor:
        """``[U, eps_d]`` as the network wants it on the real axis."""
        return params

    def _smooth(self, values: torch.Tensor) -> torch.Tensor:
        """(..., n_w) without structure that the data do not determine."""
        return values

    def _curve(self, hybridization, params, guesses, rotate=None) -> torch.Tensor:
        """(B, n_w) positive curve; `rotate` takes real-axis spectra to the angles of `params`."""
        if guesses is None:
            guesses = self.guesses(hybridization, params)
        output = self.net(hybridization, params, guesses)
        return self._positive(output, hybridization, guesses, rotate)

    def _positive(self, output, hybridization, guesses, rotate=None) -> torch.Tensor:
        """(B, n_w) positive curve of the network's raw output (B, n_outputs, n_w)."""
        if not self.net.log_residual:
            return nn.functional.softplus(output[..., 0, :]) ** self.power
        output = self._smooth(output)
        residual, damping, level = output[..., :3, :].unbind(dim=-2)
        factor, level = torch.exp(damping.clamp(-20.0, 5.0)), level.mean(dim=-1)
        corrected = self.net.guesses.corrected(hybridization, guesses, factor, level)
        spectra = guesses[..., : self.net.guesses.n_spectra, :]
        spectra = spectra.expand(*corrected.shape[:-1], -1, -1)
        broad = self.broad.expand(*spectra.shape[:-2], 1, -1)
        guesses = torch.cat([corrected.unsqueeze(-2), spectra, broad], dim=-2)
        if rotate is not None:
            guesses = rotate(guesses)
        mixture = (torch.softmax(output[..., 3:, :], dim=-2) * guesses).sum(dim=-2)
        return mixture * torch.exp(residual.clamp(-20.0, 5.0))


class RotatedHead(Head):
    """The output is the real-axis spectrum; finite angles follow by exact rotation.

    Parameters
    ----------
    net : SpectralNetwork
        Built for ``n_params = 2``.
    grid, angles : see `SpectralModel`
    eta, slope : float
        The curve is smoothed by a Gaussian of width ``eta + slope |w|``, in D; a little below the
        data's resolution, so that every label is in reach. For a log-residual network the outputs
        are smoothed instead: the guesses already have the data's resolution and would become
        too broad.
    power : float
        The positive curve is ``softplus(raw)^power``; 2 empties gaps and tails better than 1, where
        a background of 1e-4 over the whole window costs a KL of 1e-3.
    """

    n_params = 2

    def __init__(
        self,
        net: SpectralNetwork,
        grid: Mapping,
        angles: Sequence[float],
        eta: float = 0.0045,
        slope: float = 0.045,
        power: float = 2.0,
    ):
        super().__init__(net, grid, angles)
        self.power = checks.number("head.power", power, above=0, at_most=10)
        checks.number("head.eta", eta, at_least=checks.NARROWEST, at_most=100)
        checks.number("head.slope", slope, at_least=0, at_most=100)
        self._constant("smoothing", smoothing_kernel(self.frequency_grid, eta, slope))

    def predict(self, hybridization, params, guesses=None) -> torch.Tensor:
        curve = self._curve(hybridization, params, guesses)
        if not self.net.log_residual:
            curve = self._smooth(curve)
        return self.normalise(curve)

    def _smooth(self, values: torch.Tensor) -> torch.Tensor:
        return values @ self.smoothing.T


class DirectHead(Head):
    """The angle is the network's third parameter; the real axis is the output at angle zero.

    At finite angle part of the weight leaves the grid (about 1 %), so that only the real-axis
    spectrum is divided by its quadrature.
    """

    n_params = 3
    angles_are_free = False

    def predict(self, hybridization, params, guesses=None) -> torch.Tensor:
        return self.normalise(self._curve(hybridization, self._complete(params), guesses))

    def spectrum(self, hybridization, params, index=None, guesses=None, slopes=True):
        """See `SpectralModel.spectrum`; ``dA`` is the network's forward-mode derivative."""
        if index is None:
            index = torch.arange(len(self.angles), device=params.device).expand(len(params), -1)
        kernels = None
        if self.net.log_residual:  # a copy of the kernels for every sample: not cheap
            kernels = tuple(
                matrix[index].flatten(0, 1) for matrix in (self.rotation, self.rotation_derivative)
            )
        return self._at(hybridization, params, self.angles[index], guesses, kernels, slopes)

    def expansion(
        self,
        hybridization: torch.Tensor,
        params: torch.Tensor,
        angle: float,
        guesses: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The network's own continuation to angle zero, where no training spectrum lies.

        Returns
        -------
        A(w, 0), dA(w, 0)/dalpha, A(w, angle) : (B, 1, n_w), in 1/D, not normalised
        """
        if guesses is None:
            guesses = self.guesses(hybridization, params)
        small, slope = (
            torch.tensor(matrix[0], dtype=params.dtype, device=params.device)
            for matrix in small_rotation(self.frequency_grid, angle)
        )
        zero = params.new_zeros(len(params), 1)
        unit = torch.eye(len(small), dtype=params.dtype, device=params.device)
        A, dA = self._at(hybridization, params, zero, guesses, (unit, slope))
        full = torch.cat([params, zero + angle], dim=-1)
        moved = self._curve(hybridization, full, guesses, lambda x: x @ small.T)
        return A, dA, moved[:, None]

    def _at(self, hybridization, params, angles, guesses, kernels, slopes=True):
        """Curves and tangents (None without `slopes`) at (B, k) angles, each (B, k, n_w).

        `kernels` are the rotation there and its derivative, ([B k,] n_w, n_w) each; a network that
        corrects no guesses needs none.
        """
        if guesses is None:  # here, once for all angles
            guesses = self.guesses(hybridization, params)
        k = angles.shape[1]
        repeated = hybridization.repeat_interleave(k, dim=0)  # (B k, n_w)
        fixed = params.repeat_interleave(k, dim=0)
        if guesses is not None:
            guesses = guesses.repeat_interleave(k, dim=0)
        at = angles.flatten()

        def curve(angle: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
            def rotate(x: torch.Tensor) -> torch.Tensor:  # the value, and the exact tangent
                step = (angle - at)[:, None, None]
                return x @ kernels[0].mT + step * (x @ kernels[1].mT)

            return self._positive(output, repeated, guesses, rotate)

        full = torch.cat([fixed, at.unsqueeze(-1)], dim=-1)
        if not slopes:
            return curve(at, self.net(repeated, full, guesses)).unflatten(0, (-1, k)), None
        output, slope = self.net.with_slope(repeated, full, guesses)
        A, dA = torch.func.jvp(curve, (at, output), (torch.ones_like(at), slope))
        return A.unflatten(0, (-1, k)), dA.unflatten(0, (-1, k))

    def _complete(self, params: torch.Tensor) -> torch.Tensor:
        return torch.cat([params, torch.zeros_like(params[..., :1])], dim=-1)
