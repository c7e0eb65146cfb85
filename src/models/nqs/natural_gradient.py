"""Stochastic reconfiguration in the space of samples, with momentum.

A step solves ``min_phi |O phi - e|^2 + lambda |phi - mu phi_last|^2``, O the centred derivatives of
log psi and e the deviations of the local energies, both times the roots of the weights:

``phi = O^T (O O^T + lambda)^-1 (e - mu O phi_last) + mu phi_last``

The Gram matrix ``O O^T`` comes from the law's small factors, position by position.

References: A. Chen, M. Heyl, Nat. Phys. 20, 1476 (2024); G. Goldshlager, N. Abrahamsen, L. Lin,
J. Comput. Phys. 516, 113351 (2024).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from dmftnet.models.nqs.ansatz import PARAMETERS, Factors, PositionNets

Direction = tuple[torch.Tensor, ...]
"""A change of the law's parameters, in the order of `PARAMETERS`."""


@dataclass(frozen=True, eq=False)
class Derivatives:
    """Weighted, centred derivatives of log psi; use `Derivatives.of`.

    Parameters
    ----------
    factors : sequence of Factors
        One a position.
    roots : (n,) float64
        Of the weights, whose sum is one.
    """

    factors: Sequence[Factors]
    roots: torch.Tensor

    @classmethod
    def of(cls, law: PositionNets, states: np.ndarray, weights: np.ndarray) -> Derivatives:
        """Of (n, n_sites) canonical states with (n,) weights that add up to one."""
        factors = list(law.factors(torch.from_numpy(states)))
        return cls(factors, torch.from_numpy(np.sqrt(weights)).to(law.V.dtype))

    def gram(self) -> torch.Tensor:
        """(n, n) ``O O^T``."""
        total = torch.zeros(len(self.roots), len(self.roots), dtype=self.roots.dtype)
        for f in self.factors:
            for left, right in ((f.delta, f.h), (f.gate, f.x)):
                right = torch.cat([right, torch.ones_like(right[:, :1])], dim=1)
                total.addcmul_(left @ left.T, right @ right.T)
        weights = self.roots**2
        rows = total @ weights
        centred = total - rows[:, None] - rows[None, :] + rows @ weights
        return 0.25 * self.roots[:, None] * centred * self.roots[None, :]

    def times(self, direction: Direction) -> torch.Tensor:
        """(n,) ``O phi``."""
        total = torch.zeros_like(self.roots)
        for f, V, a, W, b in zip(self.factors, *direction, strict=True):
            total += (f.delta * (f.h @ W.T + b)).sum(dim=1)
            total += (f.gate * (f.x @ V.T + a)).sum(dim=1)
        return 0.5 * self.roots * (total - self.roots**2 @ total)

    def transposed(self, values: torch.Tensor) -> Direction:
        """``O^T v`` of (n,) values."""
        v = 0.5 * self.roots * values
        v = v - self.roots**2 * v.sum()
        parts = [
            (f.gate.T @ (v[:, None] * f.x), v @ f.gate, f.delta.T @ (v[:, None] * f.h), v @ f.delta)
            for f in self.factors
        ]
        return tuple(torch.stack(part) for part in zip(*parts, strict=True))


def spring(
    derivatives: Derivatives,
    deviations: np.ndarray,
    last: Direction,
    momentum: float,
    regularisation: float,
) -> Direction | None:
    """The direction of steepest rise, to go against; None where the equations have no solution.

    Parameters
    ----------
    deviations : (n,) float64, in D
        Local energies less their mean.
    last : Direction
        That of the step before.
    """
    e = derivatives.roots * torch.from_numpy(deviations).to(derivatives.roots.dtype)
    gram = derivatives.gram()
    gram.diagonal().add_(regularisation)
    factor, failed = torch.linalg.cholesky_ex(gram)
    if failed or not torch.isfinite(factor).all():
        return None
    rest = (e - momentum * derivatives.times(last))[:, None]
    change = derivatives.transposed(torch.cholesky_solve(rest, factor)[:, 0])
    found = tuple(part + momentum * old for part, old in zip(change, last, strict=True))
    return found if all(torch.isfinite(part).all() for part in found) else None


def norm(direction: Direction) -> float:
    """Euclidean length."""
    return float(sum((part**2).sum() for part in direction)) ** 0.5


def no_direction(law: PositionNets) -> Direction:
    """Zero."""
    return tuple(torch.zeros_like(getattr(law, name)) for name in PARAMETERS)


def move(law: PositionNets, direction: Direction, factor: float) -> None:
    """Add a direction to the law's parameters."""
    with torch.no_grad():
        for name, part in zip(PARAMETERS, direction, strict=True):
            getattr(law, name).add_(part, alpha=factor)
