"""Cheap physical spectra on the network grid, from the problem alone.

A network that corrects a good guess needs less data. `Guesses` offers five, all non-negative, of
norm one and at the data's resolution:

* ``ipt``: modified second-order perturbation theory (`dmftnet.physics.solvers.perturbative.ipt`),
  exact at U = 0, to order U^2 and in the atomic limit;
* ``hybridization``: the normalised input, close to the answer late in a DMFT loop;
* ``lower``, ``middle``, ``upper``: resonant levels at ``eps_d + U (0, 1/2, 1)`` in the given bath
  (the other spin absent, half there, there): Hubbard bands, bound states included.

Particle-hole mirroring mirrors each and exchanges ``lower`` and ``upper``. They depend on no
weight, so training computes them once for all samples.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch

from dmftnet.models.networks.perturbation import Constants, Inverse, ModifiedIPT
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.grids.rotation import smoothing_kernel

NAMES = ("ipt", "hybridization", "lower", "middle", "upper")
MIRRORED = [0, 1, 4, 3, 2, 5, 6]  # which row each becomes under particle-hole mirroring


class Guesses(Constants):
    """The spectra of the module's docstring, and the self-energy behind the first.

    Parameters
    ----------
    grid : mapping
        ``w_min, w_max, n_w`` of the network grid.
    resolution : (eta, slope)
        Gaussian width ``eta + slope |w|`` that every guess is smoothed with, in D; that of the
        training data. The hybridization has it already.

    Attributes
    ----------
    names : tuple of str
        The spectra. Two more rows hold ``-Im Sigma / pi`` and ``eps_d + Re Sigma`` of ``ipt``.
    n_channels : int
        Rows in all.
    """

    names = NAMES
    n_channels = len(NAMES) + 2
    LOG_FLOOR = 1e-4  # 1/D

    def __init__(self, grid: Mapping, resolution: Sequence[float]):
        super().__init__()
        frequencies = FrequencyGrid.geometric(**grid)
        self.ipt, self.inverse = ModifiedIPT(frequencies), Inverse(frequencies)
        self.constant("omega", frequencies.omega)
        self.constant("weights", frequencies.weights)
        self.constant("hilbert", frequencies.hilbert.T.copy())
        self.constant("smoothing", smoothing_kernel(frequencies, *resolution).T.copy())
        self.constant("occupation", [0.0, 0.5, 1.0])

    @torch.no_grad()
    def forward(self, hybridization: torch.Tensor, params: torch.Tensor) -> torch.Tensor:
        """(B, n_w), (B, >= 2) ``[U, eps_d]`` -> (B, 7, n_w), in the input's precision."""
        h, p = hybridization.double(), params.double()
        U, eps_d = p[:, :1], p[:, 1:2]
        sigma = self.ipt(h, p)
        constant = (U * self.occupation)[..., None].expand(-1, -1, h.shape[-1])  # Hartree terms
        shift = torch.cat([sigma.real[:, None, :], constant], dim=1) + eps_d[..., None]
        density = torch.zeros_like(shift)
        density[:, 0] = -sigma.imag / math.pi
        curves = self.dyson(h[:, None, :], shift, density)
        bath = h / (h @ self.weights).clamp_min(1e-6)[:, None]
        own = [curves[:, :1], bath[:, None], curves[:, 1:], density[:, :1], shift[:, :1]]
        return torch.cat(own, dim=1).to(hybridization.dtype)

    def dyson(
        self, hybridization: torch.Tensor, shift: torch.Tensor, density: torch.Tensor
    ) -> torch.Tensor:
        """Spectra at the data's resolution, of norm one, from ``eps_d + Re Sigma`` and ``-Im/pi``.

        All (..., n_w), in float64, in D and 1/D; differentiable.
        """
        real = self.omega - hybridization @ self.hilbert - shift
        poles = self.inverse(real, math.pi * (hybridization + density))
        curves = (poles / self.weights) @ self.smoothing
        return curves / (curves @ self.weights).unsqueeze(-1)

    def corrected(
        self,
        hybridization: torch.Tensor,
        guesses: torch.Tensor,
        factor: torch.Tensor,
        level: torch.Tensor,
    ) -> torch.Tensor:
        """``ipt`` with ``-Im Sigma`` multiplied by `factor` and the level shifted by `level`.

        ``Re Sigma`` follows by Kramers-Kronig, so that the result is causal, keeps the bath's
        features and is exact wherever a causal Sigma of this shape is.

        Parameters
        ----------
        hybridization, factor : (..., n_w)
        guesses : (..., 7, n_w)
        level : (...), in D

        Returns
        -------
        (..., n_w), in 1/D
        """
        density, shift = guesses[..., -2, :].double(), guesses[..., -1, :].double()
        changed = density * factor.double()
        shift = shift + (changed - density) @ self.hilbert + level.double().unsqueeze(-1)
        return self.dyson(hybridization.double(), shift, changed).to(guesses.dtype)

    def features(self, hybridization: torch.Tensor, guesses: torch.Tensor) -> torch.Tensor:
        """(..., n_w), (..., 7, n_w) -> (..., n_w, 7) numbers of order one.

        Logarithms of the spectra and of ``-Im Sigma``, and the inverse of ``Re G``, which passes
        through zero at the quasiparticle energies.
        """
        logarithms = 0.4 * torch.log10(guesses[..., :-1, :].clamp_min(self.LOG_FLOOR)) + 0.4
        real = self.omega - hybridization.double() @ self.hilbert - guesses[..., -1, :].double()
        inverse = 0.3 * torch.asinh(10.0 * real).to(guesses.dtype)
        return torch.cat([logarithms, inverse.unsqueeze(-2)], dim=-2).mT

    @staticmethod
    def mirrored(guesses: torch.Tensor) -> torch.Tensor:
        """(..., 7, n_w) guesses of the particle-hole mirrored problems."""
        sign = guesses.new_tensor([1.0] * (guesses.shape[-2] - 1) + [-1.0])[:, None]
        return sign * guesses[..., MIRRORED, :].flip(-1)
