"""Modified second-order perturbation theory for a whole batch, in torch.

The twin of the numpy solver `dmftnet.physics.solvers.perturbative.ipt`, which has the formulas:
float64, no loop over problems and a fixed number of steps. Green's functions are smooth on the
imaginary axis, so the occupation that reference and answer share is found there, by a secant.

A problem that is its own particle-hole mirror image is half filled with its reference level at
zero; it needs no search and no dressing.

It agrees with the solver to 1e-3 (L1 distance of spectra) at half filling and to a few per cent
where Sigma has a pole outside the bath. Nothing here is differentiated but `Inverse`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from dmftnet.models.networks.symmetry import is_even
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.solvers.perturbative.ipt import B_MIN, SHARPNESS, SPREAD


class Constants(nn.Module):
    """A module of constant arrays that follow from the config: not stored, never rounded."""

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
    """Pole weights of ``1/d`` on the points, d taken linear in each cell, integrated exactly.

    The torch form of `dmftnet.physics.analysis.self_energy.inverse_spectrum`.
    """

    FLOOR = 1e-12  # D, of the imaginary part: keeps the logarithm on its branch inside a gap

    def __init__(self, grid: FrequencyGrid):
        super().__init__()
        self.constant("width", np.diff(grid.omega))

    def forward(self, real: torch.Tensor, imag: torch.Tensor) -> torch.Tensor:
        """(..., n_w) parts of d, ``Im d >= 0`` -> (..., n_w) weights ``-Im (1/d) dw / pi``."""
        d = torch.complex(real, imag.clamp_min(self.FLOOR).expand_as(real))
        log = torch.log(d)
        step = d.diff(dim=-1)
        mean = log.diff(dim=-1) / step  # of 1/d over the cell
        rising = (self.width * (1.0 - mean * d[..., :-1]) / step).imag
        falling = self.width * mean.imag - rising
        weights = -(nn.functional.pad(falling, (0, 1)) + nn.functional.pad(rising, (1, 0)))
        return weights.clamp_min(0.0) / math.pi


class SecondOrderDiagram(Constants):
    """Spectral weights of ``S2 / U^2`` from those of the reference.

    Convolutions are products of Fourier transforms: a matrix takes poles on the points to times,
    another takes the product back to the points. Both follow from a uniform grid of energies on
    which a pole is shared between its neighbours, as in the numpy solver. Particles and mirrored
    holes are two rows of one array, so that mirror images stay mirror images. float32: rounding is
    1e-8 of the whole weight.
    """

    STEP = 0.01  # D, of the uniform grid
    RANGE = 20.0  # D, three factors of up to 6 D each

    def __init__(self, grid: FrequencyGrid):
        super().__init__()
        positive = grid.omega[grid.n_w // 2 :]
        n_bins = round(self.RANGE / self.STEP)
        energies = self.STEP * np.arange(n_bins)
        # one half of the diagram ends on its own points and on the nearest one across zero
        points = np.concatenate([[-positive[0]], positive])
        to_bins = FrequencyGrid(energies).interpolate(np.eye(n_bins), positive).T  # (n_w/2, n_bins)
        to_points = FrequencyGrid(points).interpolate(np.eye(points.size), energies).T
        to_points[energies > points[-1], -1] = 1.0
        to_times = np.fft.rfft(to_bins)
        weights = np.full(to_times.shape[1], 2.0)
        weights[0] = 1.0
        if n_bins % 2 == 0:
            weights[-1] = 1.0
        back = weights[:, None] * np.fft.rfft(to_points.T).conj().T / n_bins
        for name, matrix in (
            ("cosine", to_times.real),
            ("sine", to_times.imag),
            ("from_real", back.real),
            ("from_imag", -back.imag),
        ):
            self.constant(name, np.float32(matrix))

    def forward(self, weights: torch.Tensor) -> torch.Tensor:
        """(B, n_w) -> (B, n_w), in all ``n_0 (1 - n_0)``."""
        holes, particles = weights.unflatten(-1, (2, -1)).unbind(-2)
        both = torch.cat([particles, holes.flip(-1)]).float()  # (2 B, n_w / 2)
        c, s = (both @ self.cosine).unflatten(0, (2, -1)), (both @ self.sine).unflatten(0, (2, -1))
        real, imag = c * c - s * s, 2.0 * c * s  # of the square
        c, s = c.flip(0), s.flip(0)
        product = (real * c - imag * s).flatten(0, 1), (real * s + imag * c).flatten(0, 1)
        ends = product[0] @ self.from_real + product[1] @ self.from_imag  # (2 B, n_w / 2 + 1)
        upper, lower = ends.clamp_min(0.0).to(weights.dtype).chunk(2)
        margin = weights.shape[-1] - upper.shape[-1]
        pad = nn.functional.pad
        return pad(upper, (margin, 0)) + pad(lower.flip(-1), (0, margin))


class _Problems(NamedTuple):
    """Problems whose occupation is to be found.

    ``U, eps_d`` (B,); ``real, imag`` (B, n_w), of ``w - Delta``; ``delta`` (B, n_y), the
    hybridization at ``i y``; ``levels, table`` (B, n_level), reference levels and occupations.
    """

    U: torch.Tensor
    eps_d: torch.Tensor
    real: torch.Tensor
    imag: torch.Tensor
    delta: torch.Tensor
    levels: torch.Tensor
    table: torch.Tensor

    def reference_level(self, n: torch.Tensor) -> torch.Tensor:
        """(B,) level of the reference of occupation n, linear between the table's entries."""
        right = torch.searchsorted(-self.table, -n[:, None]).clamp(1, self.table.shape[-1] - 1)
        (x0, x1), (n0, n1) = (
            (values.gather(-1, right - 1), values.gather(-1, right))
            for values in (self.levels, self.table)
        )
        share = ((n0 - n[:, None]) / (n0 - n1).clamp_min(1e-12)).clamp(0.0, 1.0)
        return (x0 + share * (x1 - x0))[:, 0]

    def dressing(self, eps_0: torch.Tensor, n: torch.Tensor) -> torch.Tensor:
        """(B, 1) coefficient that makes the atomic limit exact."""
        return (((1.0 - n) * self.U + self.eps_d - eps_0) / (n * (1.0 - n)))[:, None]


class ModifiedIPT(Constants):
    """Self-energies of modified second-order perturbation theory for a batch.

    Parameters
    ----------
    grid : FrequencyGrid
        Symmetric.
    """

    N_EVALUATIONS = 4  # of the diagram, the last at the occupation found, then within 5e-4
    N_MIN = 1e-3  # occupations lie between this and one minus this
    OFFSETS = np.geomspace(1e-4, 6.0, 32)  # D, tabulated reference levels, about that at w = 0
    MATSUBARA = np.geomspace(1e-4, 1e3, 40)  # D, quadrature points on the imaginary axis

    def __init__(self, grid: FrequencyGrid):
        super().__init__()
        self.inverse, self.diagram = Inverse(grid), SecondOrderDiagram(grid)
        self.half = grid.n_w // 2
        self.constant("omega", grid.omega)
        self.constant("weights", grid.weights)
        self.constant("hilbert", grid.hilbert.T.copy())
        self.constant("offsets", np.concatenate([-self.OFFSETS[::-1], [0.0], self.OFFSETS]))
        y = self.MATSUBARA
        step = math.log(y[1] / y[0])  # trapezoidal in ln y, constant below the first point
        quadrature = y * step
        quadrature[0] += y[0] * (1.0 - 0.5 * step)
        quadrature[-1] *= 0.5
        self.constant("quadrature", quadrature / math.pi)
        self.constant("y", y)
        continuation = 1.0 / (1j * y - grid.omega[:, None])  # of poles on the points
        self.constant("continuation_real", continuation.real)
        self.constant("continuation_imag", continuation.imag)

    def forward(self, hybridization: torch.Tensor, params: torch.Tensor) -> torch.Tensor:
        """(B, n_w), (B, >= 2) -> (B, n_w) complex128 self-energy, ``Im Sigma <= 0``."""
        h, U, eps_d = hybridization.double(), params[:, 0].double(), params[:, 1].double()
        real, imag = self.omega - h @ self.hilbert, math.pi * h  # of w - Delta
        n, eps_0 = torch.full_like(U, 0.5), torch.zeros_like(U)
        uneven = ~is_even(hybridization, params[:, :2])
        some = bool(uneven.any())
        if some:
            parts = (values[uneven] for values in (U, eps_d, real, imag))
            problems = self._problems(h[uneven], *parts)
            n[uneven] = self._consistent_occupation(problems)
            eps_0[uneven] = problems.reference_level(n[uneven])
        density = self._diagram(real, imag, n, eps_0) / self.weights
        if some:  # in an even problem there is nothing to dress
            b = problems.dressing(eps_0[uneven], n[uneven])
            density[uneven] = self._dressed(density[uneven], b)
        density = density * (U**2)[:, None]
        return torch.complex(density @ self.hilbert + (U * n)[:, None], -math.pi * density)

    def _problems(self, h, U, eps_d, real, imag) -> _Problems:
        delta = self._continue(h * self.weights)
        levels = self.offsets - delta[:, :1].real
        table = self._occupation(1j * self.y - delta[:, None, :], levels)
        return _Problems(U, eps_d, real, imag, delta, levels, table)

    def _diagram(self, real, imag, n: torch.Tensor, eps_0: torch.Tensor) -> torch.Tensor:
        """(B, n_w) weights of the diagram, its reference at level eps_0 scaled to occupation n."""
        below, above = self.inverse(real - eps_0[:, None], imag).split(self.half, dim=-1)
        poles = torch.cat([_scaled_to(below, n), _scaled_to(above, 1.0 - n)], dim=-1)
        return self.diagram(poles)

    def _consistent_occupation(self, problems: _Problems) -> torch.Tensor:
        """(B,) occupation of one spin that reference and answer share."""
        U, eps_d, green = problems.U, problems.eps_d, 1j * self.y - problems.delta
        lower, upper = self._occupation(green, eps_d), self._occupation(green, eps_d + U)
        n = (lower / (1.0 + lower - upper)).clamp(self.N_MIN, 1.0 - self.N_MIN)  # of Hubbard bands
        slope, last, last_surplus = torch.full_like(n, -2.0), n, None
        for _ in range(self.N_EVALUATIONS - 1):
            eps_0 = problems.reference_level(n)
            S2 = self._continue(self._diagram(problems.real, problems.imag, n, eps_0))
            dressed = S2 / (1.0 - problems.dressing(eps_0, n) * S2)
            self_energy = (U * n)[:, None] + (U**2)[:, None] * dressed
            surplus = self._occupation(green - self_energy, eps_d) - n
            if last_surplus is not None:
                moved = (n - last).abs() > 1e-6
                change = torch.where(moved, n - last, 1.0)
                slope = torch.where(moved, (surplus - last_surplus) / change, slope)
            last, last_surplus = n, surplus
            n = (n - surplus / slope.clamp(-6.0, -1.0)).clamp(self.N_MIN, 1.0 - self.N_MIN)
        return n

    def _dressed(self, density: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """(B, n_w) spectra of ``S / (1 - b S)``, as in the numpy solver."""
        shift = density @ self.hilbert
        real, imag = 1.0 - b * shift, math.pi * b * density
        square = real**2 + imag**2
        at_points = density / square  # Im [S (1 - b S)*] = Im S
        safe = torch.where(b.abs() < B_MIN, B_MIN, b)  # any value where nothing is sharp
        in_cells = self.inverse(1.0 - safe * shift, math.pi * density * safe.abs())
        in_cells = in_cells / (self.weights * safe.abs())
        change = real.diff(dim=-1) ** 2 + imag.diff(dim=-1) ** 2
        pad = nn.functional.pad
        change = torch.maximum(pad(change, (0, 1)), pad(change, (1, 0))) / square
        share = torch.where(b.abs() < B_MIN, 0.0, 1.0 - 1.0 / (1.0 + change ** (SHARPNESS // 2)))
        sharp = share * in_cells
        dressed = (1.0 - share) * at_points + sharp
        missing = ((density - dressed) @ self.weights)[:, None]
        place = sharp + SPREAD * dressed
        place = place / (place @ self.weights).clamp_min(1e-30)[:, None]
        return (dressed + missing * place).clamp_min(0.0)

    def _continue(self, weights: torch.Tensor) -> torch.Tensor:
        """(B, n_w) weights of poles on the points -> (B, n_y) their function at ``i y``."""
        return torch.complex(weights @ self.continuation_real, weights @ self.continuation_imag)

    def _occupation(self, z: torch.Tensor, level: torch.Tensor) -> torch.Tensor:
        """``n = 1/2 + (1/pi) integral_0^inf Re G(iy) dy``, ``G = 1/(z - level)``."""
        real = z.real - level.unsqueeze(-1)
        return 0.5 + (real / (real**2 + z.imag**2)) @ self.quadrature


def _scaled_to(weights: torch.Tensor, total: torch.Tensor) -> torch.Tensor:
    """(B, k) weights with the given (B,) sums."""
    return weights * (total / weights.sum(dim=-1).clamp_min(1e-30)).unsqueeze(-1)
