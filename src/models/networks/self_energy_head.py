"""The head that puts out the self-energy: a positive shape of -Im Sigma, A by Dyson's equation.

A spectrum at finite resolution cannot close a DMFT loop on every lattice: Dyson's equation divides
the smeared G by its near-zero self where the density of states vanishes. A self-energy at finite
resolution can, and needs no sharpening. The network puts out

``s(w) = exp(raw) sum_k q_k(w) R_k(w)``, scaled to integral one,

the shares q_k a softmax of further outputs at each frequency, of the perturbative -Im Sigma, the
hybridization and a broad curve, each of integral one (or ``softplus(raw)^2`` of a network that
corrects nothing); `dmftnet.models.networks.dyson` makes Sigma, the density and A of it. Training
compares A(w, alpha) and dA/dalpha with complex-time data as the rotated head does, and may compare
Sigma and the filling beside it (`dmftnet.models.training.losses.SelfEnergyLoss`). The data are
those of ``dataset.smoothed = self_energy``.

In use the shape is averaged with that of the particle-hole mirror image, and over an ensemble; the
solver takes Dyson's equation on the problem's own, finer grid (`dmftnet.models.solvers.network`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from dmftnet.models.networks.cells import compiles
from dmftnet.models.networks.dyson import CausalAnswer, Dyson
from dmftnet.models.networks.heads import Head
from dmftnet.models.networks.network import SpectralNetwork
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.grids.rotation import (
    Banded,
    rotation_kernel,
    rotation_kernel_derivative,
    smoothing_kernel,
)

LARGEST, SMALLEST = 6.0, -15.0
"""Of the exponent."""


class SelfEnergyHead(Head):
    """The output is the shape of -Im Sigma on the network's grid.

    Parameters
    ----------
    net : SpectralNetwork
        Built with ``corrects="self_energy"``.
    grid, angles : see `SpectralModel`
    resolution : (eta, slope), in D
        Of the data; spectra have it where they are scored (`finished`).
    """

    n_params = 2
    corrects = "self_energy"
    power = 2.0  # of a network that corrects nothing: empties gaps

    def __init__(
        self,
        net: SpectralNetwork,
        grid: Mapping,
        angles: Sequence[float],
        resolution: Sequence[float],
    ):
        super().__init__(net, grid, angles)
        points = self.frequency_grid
        self.dyson = Dyson(points)
        smoothing = smoothing_kernel(points, *resolution)
        self._constant("smoothing", smoothing.T)
        self.smoothed = Banded(smoothing)

    @staticmethod
    def rotations(grid: FrequencyGrid, angles: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
        """Of a curve that is linear between the points: A may have bound states, and no spline."""
        kernels = [rotation_kernel(grid, angle, grid) for angle in angles]
        derivatives = [rotation_kernel_derivative(grid, angle, grid) for angle in angles]
        return np.stack(kernels), np.stack(derivatives)

    def predict(self, hybridization, params, guesses=None) -> torch.Tensor:
        """(..., B, n_w) shape of -Im Sigma, of integral one."""
        if guesses is None:
            guesses = self.guesses(hybridization, params)
        output = self.net(hybridization, params, guesses)
        if not self.net.log_residual:
            return self.normalise(torch.nn.functional.softplus(output[..., 0, :]) ** self.power)
        perturbative = guesses[..., -2, :]
        broad = self.broad.expand_as(perturbative)
        known = [self._of_norm_one(curve) for curve in (perturbative, hybridization)]
        curves = torch.stack([*known, broad], dim=-2)
        mixture = (torch.softmax(output[..., 1:, :], dim=-2) * curves).sum(dim=-2)
        return self.normalise(mixture * torch.exp(output[..., 0, :].clamp(SMALLEST, LARGEST)))

    def _of_norm_one(self, curve: torch.Tensor) -> torch.Tensor:
        """Scaled to integral one; a curve that vanishes stays zero."""
        return curve / (curve @ self.weights).clamp_min(1e-9).unsqueeze(-1)

    def answer(
        self,
        hybridization: torch.Tensor,
        params: torch.Tensor,
        guesses: torch.Tensor | None = None,
    ) -> CausalAnswer:
        """Spectrum, Sigma and density of (B, n_w) hybridizations and (B, 2) ``[U, eps_d]``."""
        shape = self.predict(hybridization, params, guesses)
        return self.dyson(shape, hybridization, params)

    def finished(self, curve, hybridization, params) -> torch.Tensor:
        """The spectrum of a shape, at the data's resolution."""
        spectrum = self.dyson(curve, hybridization, params).spectrum
        if compiles(spectrum):
            rows = self.smoothed(spectrum.flatten(0, -2).numpy())
            smooth = torch.from_numpy(rows).to(self.smoothing.dtype).view(spectrum.shape)
        else:
            smooth = spectrum.to(self.smoothing.dtype) @ self.smoothing
        return self.normalise(smooth)

    def spectrum(self, hybridization, params, index=None, guesses=None, slopes=True):
        """See `SpectralModel.spectrum`; of A without the resolution."""
        answer = self.answer(hybridization, params, guesses)
        return self.rotated(answer.spectrum.to(self.rotation.dtype), index)
