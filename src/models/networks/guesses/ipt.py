"""Modified second-order perturbation theory as a guess: in torch, by matrices, in fixed steps.

The theory is that of the solver ``ipt`` (`dmftnet.physics.solvers.perturbative.second_order`); here
it is told to use torch and given what does for a guess: occupations on the imaginary axis, and the
diagram on a coarse uniform grid as products of matrices in float32, whose rounding is 1e-8 of the
whole weight. Everything else is float64, runs on the model's device and is not differentiated.

It agrees with the solver to 1e-3 (L1 distance of spectra) at half filling and to a few per cent
where Sigma has a pole outside the bath.
"""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
import torch

from dmftnet.models.networks.cells import pole_weights
from dmftnet.models.networks.constants import Constants
from dmftnet.models.networks.guesses.guess import Guess, SelfEnergy
from dmftnet.models.networks.symmetry import is_even
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.solvers.perturbative.diagram import SecondOrderDiagram, diagram_matrices
from dmftnet.physics.solvers.perturbative.second_order import ImaginaryAxis


class MatrixDiagram(Constants, SecondOrderDiagram):
    """The second-order diagram of a symmetric grid by products of matrices."""

    xp = torch
    STEP = 0.01  # D, of the uniform grid
    RANGE = 20.0  # D, three factors of up to 6 D each

    def __init__(self, grid: FrequencyGrid):
        Constants.__init__(self)
        self.n_holes = grid.n_w // 2
        matrices = diagram_matrices(grid, self.STEP, round(self.RANGE / self.STEP))
        for name, matrix in matrices.items():
            self.constant(name, np.float32(matrix))

    def to_times(self, particles, holes):
        both = torch.cat([particles, holes]).float()  # (2 B, n_w / 2)
        return tuple((both @ matrix).unflatten(0, (2, -1)) for matrix in (self.cosine, self.sine))

    def to_points(self, real, imag):
        real, imag = real.flatten(0, 1), imag.flatten(0, 1)
        ends = real @ self.from_real + imag @ self.from_imag  # (2 B, n_w / 2 + 1)
        return ends.clamp_min(0.0).double().chunk(2)


class ModifiedIPT(Constants, ImaginaryAxis):
    """Self-energies of modified second-order perturbation theory for a batch.

    Parameters
    ----------
    grid : FrequencyGrid
        Symmetric.
    """

    xp = torch

    def __init__(self, grid: FrequencyGrid):
        Constants.__init__(self)
        ImaginaryAxis.__init__(self, grid, MatrixDiagram(grid))

    def forward(self, hybridization: torch.Tensor, params: torch.Tensor) -> torch.Tensor:
        """(B, n_w), (B, >= 2) -> (B, n_w) complex128 self-energy, ``Im Sigma <= 0``."""
        problems = self.problems(*params[:, :2].double().T, hybridization.double())
        return self.solve(problems, is_even(hybridization, params[:, :2])).sigma

    def poles(self, real, imag):
        return pole_weights(real, imag, self.width)

    def take(self, values, index):
        return values.gather(-1, index)


class SecondOrder(Guess):
    """Exact at U = 0, to order U^2 and in the atomic limit."""

    partners: ClassVar = {"ipt": "ipt"}
    damped = True

    def __init__(self, grid: FrequencyGrid, name: str = "ipt"):
        super().__init__(grid, name)
        self.theory = ModifiedIPT(grid)

    def forward(self, hybridization: torch.Tensor, params: torch.Tensor) -> SelfEnergy:
        sigma = self.theory(hybridization, params)
        return SelfEnergy(sigma.real + params[:, 1:2], -sigma.imag / math.pi)
