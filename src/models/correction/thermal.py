"""Green functions at Matsubara frequencies in torch: Dyson's equation with its own density.

Problems are in units of their ``D = 2 sqrt(m0)``, m0 the weight of the hybridization, and on the
universal axis (`dmftnet.physics.grids.matsubara.ImaginaryAxis.universal`), so that a batch may hold
any temperatures. A self-energy enters as ``q = z t``,

``Sigma(z) = U n + U^2 n (1 - n) q(z) / z``, ``z = i w_n``,

whose real part is between 0 and 1 and whose imaginary part within 1/2 where Sigma is causal. The
density n of one spin is that of G itself (`dmftnet.physics.analysis.consistent_density`), and
differentiated there.

Degenerate orbitals with a Kanamori interaction have ``Sigma(z) = h n + S n (1 - n) q(z) / z``, n
the density of one spin and orbital, ``h = U + (N - 1)(2U' - J)`` (`mean_field`), and a strength S
that is not known from U and n: what the two-body density matrix says, an input or an output. The
rest is as above: S > 0 is enough for a causal answer.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from dmftnet.data.keys import ThermalBatch as Batch
from dmftnet.models.networks.constants import Constants
from dmftnet.physics.analysis.consistent_density import consistent_densities
from dmftnet.physics.grids.matsubara import ImaginaryAxis

N_MIN = 1e-6
"""Densities of one spin lie between this and one minus this."""

SMALLEST = 1e-9
"""Of ``U^2 n (1 - n)``, in D^2: without it there is nothing to learn."""

N_TIMES = 60
"""Points of the quadrature in tau on each half, as dense at the ends as G changes."""

Problems = dict[str, torch.Tensor]


class Answer(NamedTuple):
    """``density`` (B,), ``sigma`` and ``greens`` (B, n_iw), in D and 1/D."""

    density: torch.Tensor
    sigma: torch.Tensor
    greens: torch.Tensor


class ThermalDyson(Constants):
    """From q to n, Sigma and G.

    Parameters
    ----------
    size, accuracy : float
        Of the axis.
    """

    def __init__(self, size: float, accuracy: float):
        super().__init__()
        axis = ImaginaryAxis.universal(1.0, size, accuracy)
        n_iw = axis.omega_n.size
        units = np.concatenate([np.eye(n_iw), 1j * np.eye(n_iw)])
        coefficients = axis.to_coefficients(units)
        half = np.geomspace(1e-4, 0.5, N_TIMES)
        tau = np.concatenate([[0.0], half, 1.0 - half[-2::-1], [1.0]])
        cells = np.diff(tau)
        quadrature = 0.5 * (np.append(cells, 0.0) + np.append(0.0, cells))
        self.constant("odd", axis.indices.astype(np.float64))
        self.constant("unit_frequencies", 1j * np.pi * axis.indices)
        self.constant("tau", tau)
        self.constant("quadrature", quadrature)
        self.constant("to_tau", axis.at_tau(coefficients, tau))  # (2 n_iw, n_tau)
        self.constant("to_density", -axis.at_tau(coefficients[:n_iw], np.array([1.0]))[:, 0])

    def frequencies(self, beta: torch.Tensor) -> torch.Tensor:
        """(B,) -> (B, n_iw) complex128 ``i w_n``."""
        return self.unit_frequencies / beta[:, None]

    def greens_tau(self, greens: torch.Tensor, beta: torch.Tensor) -> torch.Tensor:
        """(B, n_iw) G(i w_n) in 1/D -> (B, n_tau) G(tau)."""
        return _parts(greens / beta[:, None]) @ self.to_tau

    def distance(self, a: torch.Tensor, b: torch.Tensor, beta: torch.Tensor) -> torch.Tensor:
        """(B,) ``(1/beta) integral |G_a - G_b| dtau``."""
        return self.greens_tau(a - b, beta).abs() @ self.quadrature

    def density(self, greens: torch.Tensor, beta: torch.Tensor) -> torch.Tensor:
        """(B,) density of one spin, ``-G(beta)`` for a G of norm one.

        ``1/2 + (G(0) - G(beta)) / 2``, which follows from the real part alone, and is mirrored
        exactly.
        """
        return 0.5 + self._half_difference(greens, beta)

    def _half_difference(self, greens: torch.Tensor, beta: torch.Tensor) -> torch.Tensor:
        return (greens.real / beta[:, None]) @ self.to_density

    def self_energy(
        self,
        problems: Problems,
        q: torch.Tensor,
        n: torch.Tensor,
        strength: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """(B, n_iw) complex128 Sigma of a density; S by default that without correlations."""
        h, z = mean_field(problems), self.frequencies(problems[Batch.BETA])
        S = second_order(problems) if strength is None else strength
        return (h * n)[:, None] + (S * n * (1 - n))[:, None] * q / z

    def greens(self, problems: Problems, sigma: torch.Tensor) -> torch.Tensor:
        """(B, n_iw) complex128, by Dyson's equation with the hybridization as given."""
        z = self.frequencies(problems[Batch.BETA])
        return 1 / (z - problems[Batch.EPS_D][:, None] - problems[Batch.HYBRIDIZATION] - sigma)

    def reduced(
        self,
        problems: Problems,
        sigma: torch.Tensor,
        n: torch.Tensor,
        strength: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """q of a self-energy of density n: (B, n_iw), (B,) -> (B, n_iw)."""
        h, z = mean_field(problems), self.frequencies(problems[Batch.BETA])
        S = second_order(problems) if strength is None else strength
        n = n.clamp(N_MIN, 1 - N_MIN)
        scale = (S * n * (1 - n)).clamp_min(SMALLEST)
        return z * (sigma - (h * n)[:, None]) / scale[:, None]

    def forward(
        self, problems: Problems, q: torch.Tensor, strength: torch.Tensor | None = None
    ) -> Answer:
        """(B, n_iw) complex128 q, (B,) S -> the answer at its own density."""
        n = self.consistent_density(problems, q, strength)
        sigma = self.self_energy(problems, q, n, strength)
        return Answer(n, sigma, self.greens(problems, sigma))

    def consistent_density(
        self, problems: Problems, q: torch.Tensor, strength: torch.Tensor | None = None
    ) -> torch.Tensor:
        """(B,) root n, each independent of its batch; its gradient by q and S is exact."""
        S = second_order(problems) if strength is None else strength
        n, slope = self._root(problems, q.detach(), S.detach())
        if not ((q.requires_grad or S.requires_grad) and torch.is_grad_enabled()):
            return n
        greens = self.greens(problems, self.self_energy(problems, q, n, S))
        density = self.density(greens, problems[Batch.BETA])
        return n - (density - density.detach()) / slope

    @torch.no_grad()
    def _root(
        self, problems: Problems, q: torch.Tensor, strength: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(B,) roots of ``n(G[n]) - n``, and slopes there."""
        beta, h = problems[Batch.BETA], mean_field(problems)
        z = self.frequencies(beta)
        bare = z - problems[Batch.EPS_D][:, None] - problems[Batch.HYBRIDIZATION]
        given = bare, strength[:, None] * q / z, h, self.to_density / beta[:, None]
        found = consistent_densities(*(part.cpu().numpy() for part in given))
        return tuple(torch.from_numpy(part).to(beta.device) for part in found)


def mean_field(problems: Problems) -> torch.Tensor:
    """(B,) Hartree-Fock self-energy over the density of one spin: U of one orbital."""
    return problems.get(Batch.MEAN_FIELD, problems[Batch.U])


def second_order(problems: Problems) -> torch.Tensor:
    """(B,) strength of Sigma without correlations: U^2 of one orbital, where it is exact."""
    if Batch.SECOND_ORDER in problems:
        return problems[Batch.SECOND_ORDER]
    return problems[Batch.U] ** 2


def mirrored(problems: Problems) -> Problems:
    """The particle-hole mirrored problems, ``eps_d -> -U - eps_d``, with all that is known."""
    U = mean_field(problems)
    images = dict(problems)
    images[Batch.EPS_D] = -U - problems[Batch.EPS_D]
    images[Batch.HYBRIDIZATION] = -problems[Batch.HYBRIDIZATION].conj()
    for sigma, density in (
        (Batch.SELF_ENERGY, Batch.DENSITY),
        (Batch.SELF_ENERGIES, Batch.DENSITIES),
    ):
        if sigma in problems:
            shift = U.reshape(-1, *(1,) * (problems[sigma].ndim - 1))
            images[sigma] = shift - problems[sigma].conj()
            images[density] = 1 - problems[density]
    if Batch.MISFITS in problems:
        images[Batch.MISFITS] = -problems[Batch.MISFITS].conj()
    for double, density in (
        (Batch.DOUBLE_OCCUPANCY, Batch.DENSITY),
        (Batch.DOUBLES, Batch.DENSITIES),
    ):
        if double in problems:
            images[double] = problems[double] + 1 - 2 * problems[density]
    return images


def repeated(problems: Problems, times: int) -> Problems:
    """What Dyson's equation needs of the problems, all of them so many times in a row."""
    several = Batch.MEAN_FIELD, Batch.SECOND_ORDER
    names = Batch.U, Batch.EPS_D, Batch.BETA, Batch.HYBRIDIZATION, *several
    return {
        name: problems[name].repeat(times, *(1,) * (problems[name].ndim - 1))
        for name in names
        if name in problems
    }


def _parts(values: torch.Tensor) -> torch.Tensor:
    return torch.cat([values.real, values.imag], dim=-1)
