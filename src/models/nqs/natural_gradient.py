"""Stochastic reconfiguration in the space of samples, with momentum.

A step solves ``min_phi |O phi - e|^2 + lambda |phi - mu phi_last|^2``, O the centred derivatives of
log psi and e the deviations of the local energies, both times the roots of the weights:

``phi = O^T (O O^T + lambda)^-1 (e - mu O phi_last) + mu phi_last``

The Gram matrix ``O O^T`` is all that the step needs of the derivatives, beside two products.

References: A. Chen, M. Heyl, Nat. Phys. 20, 1476 (2024); G. Goldshlager, N. Abrahamsen, L. Lin,
J. Comput. Phys. 516, 113351 (2024).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from dmftnet.models.nqs.ansatz import Law
from dmftnet.models.nqs.jacobian import Direction, Jacobian


@dataclass(frozen=True, eq=False)
class Derivatives:
    """Weighted, centred derivatives of log psi; use `Derivatives.of`.

    Parameters
    ----------
    jacobian : Jacobian
        Of log p.
    roots : (n,) float64
        Of the weights, whose sum is one.
    """

    jacobian: Jacobian
    roots: torch.Tensor

    @classmethod
    def of(cls, law: Law, states: np.ndarray, weights: np.ndarray) -> Derivatives:
        """Of (n, n_sites) canonical states with (n,) weights that add up to one."""
        jacobian = law.jacobian(torch.from_numpy(states))
        return cls(jacobian, torch.from_numpy(np.sqrt(weights)).to(law.dtype))

    def gram(self) -> torch.Tensor:
        """(n, n) ``O O^T``."""
        total, weights = self.jacobian.gram(), self.roots**2
        rows = total @ weights
        centred = total - rows[:, None] - rows[None, :] + rows @ weights
        return 0.25 * self.roots[:, None] * centred * self.roots[None, :]

    def times(self, direction: Direction) -> torch.Tensor:
        """(n,) ``O phi``."""
        total = self.jacobian.times(direction)
        return 0.5 * self.roots * (total - self.roots**2 @ total)

    def transposed(self, values: torch.Tensor) -> Direction:
        """``O^T v`` of (n,) values."""
        v = 0.5 * self.roots * values
        return self.jacobian.transposed(v - self.roots**2 * v.sum())


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


def no_direction(law: Law) -> Direction:
    """Zero."""
    return tuple(torch.zeros_like(parameter.detach()) for parameter in law.parameters())


def move(law: Law, direction: Direction, factor: float) -> None:
    """Add a direction to the law's parameters."""
    with torch.no_grad():
        for parameter, part in zip(law.parameters(), direction, strict=True):
            parameter.add_(part, alpha=factor)
