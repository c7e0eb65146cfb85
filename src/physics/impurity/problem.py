"""The impurity problem, checked once, here, where it enters."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dmftnet import checks
from dmftnet.errors import InvalidProblemError
from dmftnet.physics.grids.real_axis import FrequencyGrid


@dataclass(frozen=True, eq=False)
class ImpurityProblem:
    """A quantum impurity coupled to a continuous bath, spin-symmetric, T = 0.

    Parameters
    ----------
    U : float, in D
        Local repulsion, >= 0.
    eps_d : (n_orb,) float64 or float, in D
        Impurity level, chemical potential absorbed; half filling is ``-U/2`` for one orbital.
    grid : FrequencyGrid
    hybridization : (n_orb, n_w) or (n_w,) float64, in D
        Hybridization spectrum ``-Im Delta / pi >= 0`` on the grid.
    J : float, in D
        Hund's coupling (several orbitals), ``0 <= J <= U/3``.
    filling : float, optional
        Target occupation, both spins and all orbitals, for a DMFT loop that searches eps_d.

    Raises
    ------
    InvalidProblemError
        Names the value that is wrong and what would be right.
    """

    U: float
    eps_d: np.ndarray
    grid: FrequencyGrid
    hybridization: np.ndarray
    J: float = 0.0
    filling: float | None = None

    def __post_init__(self):
        U, J = _number("U", self.U), _number("J", self.J)
        hybridization = np.atleast_2d(np.array(self.hybridization, dtype=np.float64))
        eps_d = np.atleast_1d(np.array(self.eps_d, dtype=np.float64))
        if not (np.isfinite(U) and U >= 0):
            raise InvalidProblemError(f"U = {U}: the repulsion must be finite and >= 0 (in D)")
        if not (np.isfinite(J) and 0 <= J <= U / 3 + 1e-12):
            raise InvalidProblemError(f"J = {J}: Hund's coupling needs 0 <= J <= U/3 = {U / 3:.4g}")
        if not np.all(np.isfinite(eps_d)):
            raise InvalidProblemError(f"eps_d = {eps_d.tolist()}: the level must be finite (in D)")
        expected = (eps_d.size, self.grid.n_w)
        if hybridization.shape != expected:
            raise InvalidProblemError(
                f"hybridization has shape {hybridization.shape}, but eps_d and the grid ask for "
                f"(n_orb, n_w) = {expected}"
            )
        if not np.all(np.isfinite(hybridization)):
            orb, i = np.argwhere(~np.isfinite(hybridization))[0]
            raise InvalidProblemError(
                f"hybridization spectrum of orbital {orb} is {hybridization[orb, i]} at omega = "
                f"{self.grid.omega[i]:.6g}; every value must be finite"
            )
        if np.any(hybridization < 0):
            orb, i = np.unravel_index(np.argmin(hybridization), hybridization.shape)
            raise InvalidProblemError(
                f"hybridization spectrum of orbital {orb} is {hybridization[orb, i]:.6g} at omega "
                f"= {self.grid.omega[i]:.6g}; -Im Delta/pi must be >= 0 (check the sign convention)"
            )
        if self.filling is not None and not 0 < _number("filling", self.filling) < 2 * eps_d.size:
            raise InvalidProblemError(
                f"filling = {self.filling}: both spins together need 0 < filling < {2 * eps_d.size}"
            )
        for array in (hybridization, eps_d):
            array.setflags(write=False)
        object.__setattr__(self, "U", U)
        object.__setattr__(self, "J", J)
        object.__setattr__(self, "eps_d", eps_d)
        object.__setattr__(self, "hybridization", hybridization)

    @property
    def n_orb(self) -> int:
        """Number of orbitals."""
        return self.eps_d.size

    def hybridization_function(self, grid: FrequencyGrid | None = None) -> np.ndarray:
        """(n_orb, n_w) complex retarded ``Delta(w)``, Kramers-Kronig of the spectrum."""
        delta = self.grid.greens_function(self.hybridization)
        if grid is None or grid == self.grid:
            return delta
        return self.grid.interpolate(delta, grid.omega)

    def replace(self, **changes) -> ImpurityProblem:
        """A copy with some fields changed, checked anew."""
        return replace(self, **changes)

    def is_particle_hole_symmetric(self, tolerance: float = 1e-9) -> bool:
        """Half-filled by symmetry: ``eps_d = -U/2`` and an even hybridization on an even grid."""
        return bool(
            self.n_orb == 1
            and self.grid.is_symmetric
            and abs(self.eps_d[0] + self.U / 2) <= tolerance
            and np.allclose(
                self.hybridization,
                self.hybridization[:, ::-1],
                rtol=0,
                atol=tolerance * max(1.0, self.hybridization.max()),
            )
        )

    def particle_hole(self) -> ImpurityProblem:
        """The particle-hole mirrored one-orbital problem: ``A(w) -> A(-w)``, ``n -> 2 - n``."""
        if self.n_orb != 1 or not self.grid.is_symmetric:
            raise InvalidProblemError(
                "particle-hole mirroring needs one orbital and a grid symmetric about zero"
            )
        return self.replace(
            eps_d=-self.U - self.eps_d,
            hybridization=self.hybridization[:, ::-1],
            filling=None if self.filling is None else 2 - self.filling,
        )


def _number(key: str, value: Any) -> float:
    """A number, whatever its size: what is wrong with that is said in the field's own words."""
    if isinstance(value, float | np.floating):
        return float(value)
    return checks.number(key, value)
