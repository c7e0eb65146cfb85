"""Second-order perturbation theory as the networks use it: in torch, with matrices, in fixed steps.

The theory is that of the solver ``ipt`` (`dmftnet.physics.solvers.perturbative.second_order`); here
it is told to use torch and given what does for a guess: occupations on the imaginary axis, and the
diagram on a coarse uniform grid as products of matrices in float32, whose rounding is 1e-8 of the
whole weight. Everything else is float64, runs on the model's device and is not differentiated.

It agrees with the solver to 1e-3 (L1 distance of spectra) at half filling and to a few per cent
where Sigma has a pole outside the bath.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from dmftnet.models.networks.symmetry import is_even
from dmftnet.physics.analysis.self_energy import inverse_weights
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.solvers.perturbative.diagram import SecondOrderDiagram, diagram_matrices
from dmftnet.physics.solvers.perturbative.second_order import ImaginaryAxis


class Constants(nn.Module):
    """A module of constant arrays, which follow from the config: not stored, never rounded."""

    def constant(self, name: str, values) -> None:
        self.register_buffer(name, torch.tensor(np.asarray(values)), persistent=False)

    def _apply(self, fn, recurse: bool = True):
        """Follows the model to its device, but stays in double precision."""
        precise = dict(self._buffers)
        super()._apply(fn, recurse)
        for name, values in precise.items():
            self._buffers[name] = values.to(self._buffers[name].device)
        return self


class Inverse(Constants):
    """Pole weights of ``1/d`` on the points, differentiable; see `inverse_weights`."""

    def __init__(self, grid: FrequencyGrid):
        super().__init__()
        self.constant("width", np.diff(grid.omega))

    def forward(self, real: torch.Tensor, imag: torch.Tensor) -> torch.Tensor:
        """(..., n_w) parts of d, ``Im d >= 0`` -> (..., n_w) weights ``-Im (1/d) dw / pi``."""
        return inverse_weights(real, imag, self.width, precise=False, xp=torch)


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
    precise = False

    def __init__(self, grid: FrequencyGrid):
        Constants.__init__(self)
        ImaginaryAxis.__init__(self, grid, MatrixDiagram(grid))

    def forward(self, hybridization: torch.Tensor, params: torch.Tensor) -> torch.Tensor:
        """(B, n_w), (B, >= 2) -> (B, n_w) complex128 self-energy, ``Im Sigma <= 0``."""
        problems = self.problems(*params[:, :2].double().T, hybridization.double())
        return self.solve(problems, is_even(hybridization, params[:, :2])).sigma

    def take(self, values, index):
        return values.gather(-1, index)
