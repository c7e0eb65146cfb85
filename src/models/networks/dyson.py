"""From the shape of -Im Sigma to the answer: Dyson's equation with the density of its own G.

``Sigma(w) = U n + U^2 n (1 - n) integral s(e) / (w + i0 - e) de``, s >= 0 of integral one and n the
density of one spin: causal, with the exact Hartree-Fock shift and sum rule, whatever s is. n is
that of G itself, the root of ``n(G[n]) - n``, which falls with n: found by secants in a bracket. A
derivative of the answer knows that of n (one step of Newton's method from the root).

Everything is float64, on any grid; ``Re Sigma`` by Kramers-Kronig of the piecewise-linear curve,
and A integrated over each cell (`dmftnet.physics.analysis.self_energy.inverse_spectrum`), so that
bound states keep their weight.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch

from dmftnet.models.networks.constants import Constants
from dmftnet.physics.analysis.self_energy import inverse_weights
from dmftnet.physics.grids.real_axis import FrequencyGrid

MAX_STEPS = 120
"""Of the search for n: two halve the bracket or the error."""

TOLERANCE = 1e-9
"""Of n; what logarithms of nearly equal points leave is a few 1e-8."""

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
        occupied = [grid.cumulative(row, np.zeros(1))[0] for row in np.eye(grid.n_w)]
        self.constant("occupied", occupied)

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
        shape = shape / (shape @ self.weights).unsqueeze(-1)
        free = self.omega - hybridization @ self.hilbert - level.unsqueeze(-1)
        real = shape @ self.hilbert

        def spectrum(n: torch.Tensor) -> torch.Tensor:
            strength = (U**2 * n * (1 - n)).unsqueeze(-1)
            distance = free - (U * n).unsqueeze(-1) - strength * real
            damping = math.pi * (hybridization + strength * shape)
            weights = inverse_weights(distance, damping, self.width, precise=False, xp=torch)
            return weights / (self.weights * weights.sum(-1, keepdim=True))

        n = self._consistent(lambda m: spectrum(m) @ self.occupied, U)
        if torch.is_grad_enabled():
            with torch.no_grad():
                ends = [(n + d).clamp(0, 1) for d in (-STEP, STEP)]
                rise = [spectrum(m) @ self.occupied for m in ends]
                slope = ((rise[1] - rise[0]) / (ends[1] - ends[0])).clamp_max(0.0)
            n = n + (spectrum(n) @ self.occupied - n) / (1 - slope)
        A = spectrum(n)
        return CausalAnswer(A, (U**2 * n * (1 - n)).unsqueeze(-1) * shape, n)

    @torch.no_grad()
    def _consistent(self, density, U: torch.Tensor) -> torch.Tensor:
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
