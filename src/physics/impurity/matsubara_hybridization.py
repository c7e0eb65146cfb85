"""A hybridization known at Matsubara frequencies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dmftnet.errors import InvalidProblemError
from dmftnet.physics.grids.matsubara import ImaginaryAxis
from dmftnet.physics.impurity.hybridization import (
    NEGATIVE,
    Hybridization,
    damping,
    from_real,
    relative_change,
    require_finite,
    to_real,
)


@dataclass(frozen=True, eq=False)
class MatsubaraHybridization(Hybridization):
    """Values on the imaginary axis.

    Parameters
    ----------
    axis : ImaginaryAxis
    values : (n_iw,), (n_orb, n_iw) or (n_orb, n_orb, n_iw) complex128, in D
        Delta at ``i axis.omega_n``; ``-Im Delta >= 0``, a matrix ``i (Delta - Delta^+) >= 0``.
    residual : float, optional
        Of one fitted to a user's values: their largest deviation from it over the largest.
    """

    axis: ImaginaryAxis
    values: np.ndarray
    residual: float | None = None

    def __post_init__(self):
        values = np.atleast_2d(np.array(self.values, dtype=np.complex128))
        n_iw = self.axis.omega_n.size
        if values.ndim > 3 or values.shape[-1] != n_iw:
            raise InvalidProblemError(
                f"hybridization has shape {values.shape}, the axis has {n_iw} frequencies: give "
                "(n_iw,), (n_orb, n_iw) or (n_orb, n_orb, n_iw)"
            )
        require_finite(values, "hybridization", self.axis.omega_n, "omega_n")
        lowest = damping(values)
        worst = np.unravel_index(np.argmin(lowest), lowest.shape)
        if lowest[worst] < _least(values):
            raise InvalidProblemError(
                f"-Im Delta is {lowest[worst]:.6g} at omega_n = {self.axis.omega_n[worst[1]]:.6g}; "
                "it must be >= 0 at positive frequencies"
            )
        values.setflags(write=False)
        object.__setattr__(self, "values", values)

    @property
    def n_orb(self) -> int:
        return self.values.shape[0]

    @property
    def is_diagonal(self) -> bool:
        return self.values.ndim == 2

    def at(self, z: np.ndarray) -> np.ndarray:
        """At Matsubara frequencies alone; elsewhere it would be an analytic continuation."""
        odd = np.asarray(z).imag * self.axis.beta / np.pi
        indices = np.rint(odd).astype(int)
        if np.any(np.asarray(z).real != 0) or np.any(np.abs(odd - indices) > 1e-6 * np.abs(odd)):
            raise InvalidProblemError(
                "a hybridization on the imaginary axis is known at Matsubara frequencies alone; "
                "fit bath levels for others"
            )
        if np.array_equal(indices, self.axis.indices):
            return self.values
        return self.axis.at_frequencies(self.axis.to_coefficients(self.values), indices)

    def moments(self, n_moments: int) -> np.ndarray:
        raise InvalidProblemError(
            "moments of a hybridization on the imaginary axis are not known beyond rounding; fit "
            "bath levels"
        )

    def vector(self) -> np.ndarray:
        return to_real(self.values)

    def with_vector(self, vector: np.ndarray) -> MatsubaraHybridization:
        return MatsubaraHybridization(self.axis, from_real(vector, self.values))

    def accepts(self, vector: np.ndarray) -> bool:
        """Whether ``-Im Delta >= 0``: what is negative at one frequency is wrong at all of them."""
        values = from_real(vector, self.values)
        return bool(damping(values).min() >= _least(values))

    def change(self, new: MatsubaraHybridization) -> float:
        """Largest change at any frequency over the largest value."""
        return relative_change(new.values - self.values, self.values)

    def drift(self, new: MatsubaraHybridization) -> float:
        """The same at the lowest frequency."""
        return relative_change((new.values - self.values)[..., 0], self.values)

    def particle_hole(self) -> MatsubaraHybridization:
        return MatsubaraHybridization(self.axis, -self.values.conj())

    def is_particle_hole_symmetric(self, tolerance: float = 1e-9) -> bool:
        return relative_change(self.values.real, self.values) <= tolerance

    def with_matrix(self) -> MatsubaraHybridization:
        """The same with two orbital axes."""
        if not self.is_diagonal:
            return self
        return MatsubaraHybridization(
            self.axis, np.eye(self.n_orb)[:, :, None] * self.values.astype(complex)
        )

    def averaged(self, other: MatsubaraHybridization) -> MatsubaraHybridization:
        return MatsubaraHybridization(self.axis, 0.5 * (self.values + other.values))


def _least(values: np.ndarray) -> float:
    """What rounding makes of a damping of zero."""
    return -NEGATIVE * max(float(np.abs(values).max()), 1e-300)
