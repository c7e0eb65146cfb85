"""From the shape of -Im Sigma to the answer: Dyson's equation with the density of its own G.

``Sigma(w) = U n + U^2 n (1 - n) integral s(e) / (w + i0 - e) de``, s >= 0 of integral one and n the
density of one spin: causal, with the exact Hartree-Fock shift and sum rule, whatever s is. n is
that of G itself, the root of ``n(G[n]) - n``, which falls with n: found by secants in a bracket. A
derivative of the answer knows that of n (one step of Newton's method from the root).

Everything is float64, on any grid; ``Re Sigma`` by Kramers-Kronig of the piecewise-linear curve,
and A integrated over each cell (`dmftnet.physics.analysis.self_energy.inverse_spectrum`), so that
bound states keep their weight.

On a CPU the search, and without gradients everything, is compiled
(`dmftnet.physics.analysis.causal_dyson`); elsewhere it takes all problems of a batch side by side.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch

from dmftnet.models.networks.cells import pole_weights
from dmftnet.models.networks.constants import Constants
from dmftnet.physics.analysis.causal_dyson import (
    MAX_STEPS,
    TOLERANCE,
    CausalDyson,
    consistent,
    occupied,
)
from dmftnet.physics.grids.real_axis import FrequencyGrid

STEP = 1e-4
"""Of n, for the slope of ``n(G[n])``."""


class CausalAnswer(NamedTuple):
    """What follows from a shape of -Im Sigma.

    ``spectrum`` (..., n_w) in 1/D, of norm one; ``self_energy`` (..., n_w), ``-Im Sigma / pi`` in
    D; ``density`` (...), of one spin. All float64.
    """

    spectrum: torch.Tensor
    self_energy: torch.Tensor
    density: torch.Tensor


class Dyson(Constants):
    """Dyson's equation on a grid.

    Parameters
    ----------
    grid : FrequencyGrid
    """

    def __init__(self, grid: FrequencyGrid):
        super().__init__()
        self.constant("omega", grid.omega)
        self.constant("weights", grid.weights)
        self.constant("width", np.diff(grid.omega))
        self.constant("hilbert", grid.hilbert.T.copy())
        self.constant("occupied", occupied(grid))
        self.compiled = CausalDyson(grid)

    def forward(
        self, shape: torch.Tensor, hybridization: torch.Tensor, params: torch.Tensor
    ) -> CausalAnswer:
        """The answer to problems.

        Parameters
        ----------
        shape : (..., n_w)
            s above, non-negative, of any integral.
        hybridization : (..., n_w), in D
            ``-Im Delta / pi``.
        params : (..., 2), in D
            U and eps_d.
        """
        shape, hybridization = shape.double(), hybridization.double()
        U, level = params[..., 0].double(), params[..., 1].double()
        on_cpu = self.omega.device.type == "cpu"
        if on_cpu and not torch.is_grad_enabled():
            return self._in_use(shape, hybridization, U, level)
        shape = shape / (shape @ self.weights).unsqueeze(-1)
        free = self.omega - hybridization @ self.hilbert - level.unsqueeze(-1)
        real = shape @ self.hilbert

        def spectrum(n: torch.Tensor) -> torch.Tensor:
            strength = (U**2 * n * (1 - n)).unsqueeze(-1)
            distance = free - (U * n).unsqueeze(-1) - strength * real
            damping = math.pi * (hybridization + strength * shape)
            weights = pole_weights(distance, damping, self.width)
            return weights / (self.weights * weights.sum(-1, keepdim=True))

        if on_cpu:
            n = self._compiled_search(free, hybridization, real, shape, U)
        else:
            n = self.consistent(lambda m: spectrum(m) @ self.occupied, U)
        if torch.is_grad_enabled():
            with torch.no_grad():
                ends = [(n + d).clamp(0, 1) for d in (-STEP, STEP)]
                rise = [spectrum(m) @ self.occupied for m in ends]
                slope = ((rise[1] - rise[0]) / (ends[1] - ends[0])).clamp_max(0.0)
            n = n + (spectrum(n) @ self.occupied - n) / (1 - slope)
        A = spectrum(n)
        return CausalAnswer(A, (U**2 * n * (1 - n)).unsqueeze(-1) * shape, n)

    def _in_use(self, shape, hybridization, U, level) -> CausalAnswer:
        n_w, lead = shape.shape[-1], shape.shape[:-1]
        curves = (a.expand(*lead, n_w).reshape(-1, n_w).numpy() for a in (shape, hybridization))
        numbers = (a.expand(lead).reshape(-1).numpy() for a in (U, level))
        A, sigma, n = self.compiled(*curves, *numbers)
        answer = (A.reshape(shape.shape), sigma.imag.reshape(shape.shape) / -math.pi, n)
        A, density, n = map(torch.from_numpy, answer)
        return CausalAnswer(A, density, n.reshape(lead))

    @torch.no_grad()
    def _compiled_search(self, free, hybridization, real, shape, U) -> torch.Tensor:
        n_w, lead = real.shape[-1], real.shape[:-1]
        rows = (
            a.expand(real.shape).reshape(-1, n_w).numpy()
            for a in (free, hybridization, real, shape)
        )
        numbers = U.expand(lead).reshape(-1).numpy()
        n, _ = consistent(*rows, numbers, self.width.numpy(), self.compiled.below)
        return torch.from_numpy(n).reshape(lead)

    @torch.no_grad()
    def consistent(self, density, U: torch.Tensor) -> torch.Tensor:
        """The root of ``density(n) - n`` between 0 and 1, elementwise.

        Secants in a bracket; its middle where a step leaves it, or the last did not halve the
        error.
        """
        low, high = torch.zeros_like(U), torch.ones_like(U)
        n = torch.full_like(U, 0.5)
        error = density(n) - n
        slope, slow = torch.full_like(U, -2.0), torch.zeros_like(U, dtype=torch.bool)
        for _ in range(MAX_STEPS):
            low, high = torch.where(error > 0, n, low), torch.where(error > 0, high, n)
            following = n - error / slope
            outside = (following <= low) | (following >= high)
            following = torch.where(outside | slow, 0.5 * (low + high), following)
            following = torch.where(error.abs() <= TOLERANCE, n, following)
            moved = following - n
            if not moved.any():
                break
            new = density(following) - following
            secant = (new - error) / torch.where(moved == 0, torch.ones_like(moved), moved)
            slope = torch.where(secant < -1e-3, secant, slope)
            slow = new.abs() > 0.5 * error.abs()
            n, error = following, new
        return n
