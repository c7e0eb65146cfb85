"""Modified second-order perturbation theory as a guess.

The theory is that of the solver ``ipt`` (`dmftnet.physics.solvers.perturbative.second_order`), with
what does for a guess: occupations on the imaginary axis and the diagram on a coarse uniform grid.
Arrays of torch stay on their device, the diagram there by products of matrices in float32, whose
rounding is 1e-8 of the whole weight. Everything else is float64; nothing is differentiated.

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

    def sides(self, particles, holes):
        both = torch.cat([particles, holes]).float()  # (2 B, n_w / 2)
        real, imag = ((both @ part).unflatten(0, (2, -1)) for part in (self.cosine, self.sine))
        square = real * real - imag * imag, 2.0 * real * imag
        real, imag = real.flip(0), imag.flip(0)
        product = square[0] * real - square[1] * imag, square[0] * imag + square[1] * real
        real, imag = (part.flatten(0, 1) for part in product)
        ends = real @ self.from_real + imag @ self.from_imag  # (2 B, n_w / 2 + 1)
        return ends.clamp_min(0.0).double().chunk(2)


class ModifiedIPT(Constants, ImaginaryAxis):
    """Modified second-order perturbation theory for a batch, in torch.

    Parameters
    ----------
    grid : FrequencyGrid
        Symmetric.
    """

    xp = torch

    def __init__(self, grid: FrequencyGrid):
        Constants.__init__(self)
        ImaginaryAxis.__init__(self, grid, MatrixDiagram(grid))

    def keep_transform(self, grid):
        self.constant("hilbert", grid.hilbert.T.copy())

    def kramers_kronig(self, curves):
        return curves @ self.hilbert

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
        self.in_torch = ModifiedIPT(grid)
        self.in_numpy = ImaginaryAxis(grid, SecondOrderDiagram(grid, MatrixDiagram.STEP))

    def forward(self, hybridization, params) -> SelfEnergy:
        theory = self.in_torch if isinstance(params, torch.Tensor) else self.in_numpy
        problems = theory.problems(params[:, 0], params[:, 1], hybridization)
        even = is_even(hybridization, params, theory.xp)
        sigma = theory.solve(problems, even).sigma
        return SelfEnergy(sigma.real + params[:, 1:2], -sigma.imag / math.pi)
