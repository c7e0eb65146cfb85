"""The bath as the impurity sees it, ``Delta(z) = sum_k V_k V_k^+ / (z - e_k)``, however known.

==========================  ====================================================================
`spectral_hybridization`    ``-Im Delta / pi`` on a real-frequency grid, linear between its points
`pole_hybridization`        bath levels and their couplings
`matsubara_hybridization`   values on the imaginary axis
==========================  ====================================================================

Orbitals may have a bath each, the common case: then arrays have one orbital axis. Else the
hybridization is a Hermitian positive matrix with two, and every kind takes both shapes. A kind
brings what a DMFT loop needs of it: a vector to be mixed, and a measure of its change.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Self

import numpy as np

from dmftnet.errors import InvalidProblemError, NotFiniteError

NEGATIVE = 1e-10
"""Share of the largest value by which an eigenvalue of a spectrum may be negative: rounding."""


class Hybridization(ABC):
    """What all kinds offer.

    Attributes
    ----------
    measure : str
        What `change` is called in messages.
    """

    measure: ClassVar[str] = "change"

    @property
    @abstractmethod
    def n_orb(self) -> int:
        """Number of orbitals."""

    @property
    @abstractmethod
    def is_diagonal(self) -> bool:
        """Whether arrays have one orbital axis instead of two."""

    @abstractmethod
    def at(self, z: np.ndarray) -> np.ndarray:
        """(n_orb, n_z) or (n_orb, n_orb, n_z) complex128 Delta at complex z off the real axis."""

    @abstractmethod
    def moments(self, n_moments: int) -> np.ndarray:
        """(n_moments, n_orb) or (n_moments, n_orb, n_orb) ``sum_k V_k V_k^+ e_k^m``, in D^(m+2)."""

    @abstractmethod
    def vector(self) -> np.ndarray:
        """(n,) float64; its Euclidean length is that of Delta as an integral or a sum."""

    @abstractmethod
    def with_vector(self, vector: np.ndarray) -> Self:
        """The same kind with the values that a vector holds.

        Made positive where they are not, or refused, see `accepts`.
        """

    def accepts(self, vector: np.ndarray) -> bool:
        """Whether `with_vector` takes a vector of finite values: always, where it mends them."""
        return True

    @abstractmethod
    def change(self, new: Self) -> float:
        """Distance of a new hybridization of the same kind, by which convergence is judged."""

    @abstractmethod
    def drift(self, new: Self) -> float:
        """Change at low energy alone, over the largest value: too small to show in `change`."""

    @abstractmethod
    def particle_hole(self) -> Self:
        """``Delta_ab(z) -> -Delta_ba(-z)``, that of the mirrored problem."""

    @abstractmethod
    def is_particle_hole_symmetric(self, tolerance: float = 1e-9) -> bool:
        """Whether `particle_hole` changes nothing, to a tolerance in D or of the largest value."""

    @abstractmethod
    def averaged(self, other: Self) -> Self:
        """Mean with another one of the same kind."""

    def matrix_at(self, z: np.ndarray) -> np.ndarray:
        """(n_orb, n_orb, n_z) complex128 Delta, also of a diagonal one."""
        values = self.at(z)
        if not self.is_diagonal:
            return values
        return np.eye(self.n_orb)[:, :, None] * values[None, :, :]


def positive_part(values: np.ndarray) -> np.ndarray:
    """Spectra without what is negative: clipped, or of a matrix its negative eigenvalues."""
    if values.ndim < 3:
        return np.maximum(values, 0.0)
    stacked = np.moveaxis(values, -1, 0)
    eigenvalues, vectors = np.linalg.eigh(0.5 * (stacked + stacked.conj().swapaxes(1, 2)))
    clipped = (vectors * np.maximum(eigenvalues, 0.0)[:, None, :]) @ vectors.conj().swapaxes(1, 2)
    return np.moveaxis(clipped, 0, -1)


def relative_change(change: np.ndarray, values: np.ndarray) -> float:
    """Largest change over the largest value."""
    return float(np.abs(change).max() / max(np.abs(values).max(), 1e-300))


def diagonal(values: np.ndarray) -> np.ndarray:
    """(n_orb, n) diagonal elements of either shape."""
    return values if values.ndim == 2 else np.einsum("aaw->aw", values)


def damping(values: np.ndarray) -> np.ndarray:
    """(n_orb, n) eigenvalues of ``(Delta^+ - Delta) / 2i``."""
    if values.ndim == 2:
        return -values.imag
    stacked = np.moveaxis(values, -1, 0)
    return np.linalg.eigvalsh((stacked.conj().swapaxes(1, 2) - stacked) / 2j).T


def to_real(values: np.ndarray) -> np.ndarray:
    """Flat float64 vector of real or complex values; `from_real` undoes it."""
    flat = values.reshape(-1)
    return np.concatenate([flat.real, flat.imag]) if np.iscomplexobj(flat) else flat


def from_real(vector: np.ndarray, like: np.ndarray) -> np.ndarray:
    """Values of the shape and type of `like` from `to_real`'s vector."""
    if np.iscomplexobj(like):
        vector = vector[: like.size] + 1j * vector[like.size :]
    return vector.reshape(like.shape)


def require_finite(values: np.ndarray, what: str, points: np.ndarray, name: str) -> None:
    """Raise InvalidProblemError, with the place, if a value is not finite."""
    if not np.all(np.isfinite(values)):
        at = tuple(np.argwhere(~np.isfinite(values))[0])
        raise NotFiniteError(
            f"{what} of orbital {at[0]} is {values[at]} at {name} = {points[at[-1]]:.6g}; every "
            "value must be finite"
        )


def require_hermitian(values: np.ndarray, what: str, points: np.ndarray) -> None:
    """Raise InvalidProblemError if a (n_orb, n_orb, n) matrix is not Hermitian."""
    skew = np.abs(values - values.conj().swapaxes(0, 1)).max(axis=(0, 1))
    worst = int(np.argmax(skew))
    if skew[worst] > NEGATIVE * max(np.abs(values).max(), 1e-300):
        raise InvalidProblemError(
            f"{what} is not Hermitian at omega = {points[worst]:.6g} (by {skew[worst]:.2g})"
        )
