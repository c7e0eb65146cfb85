"""The bath as the impurity sees it: ``Delta(z) = sum_k V_k V_k^+ / (z - e_k)``, however it is known.

=========================  =====================================================================
`SpectralHybridization`    ``-Im Delta / pi`` on a real-frequency grid, linear between its points
`PoleHybridization`        bath levels and their couplings
`MatsubaraHybridization`   values on the imaginary axis
=========================  =====================================================================

Orbitals may have a bath each, the common case: then arrays have one orbital axis. Else the
hybridization is a Hermitian positive matrix with two, and every kind takes both shapes. A kind
brings what a DMFT loop needs of it: a vector to be mixed, and a measure of its change.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from dmftnet.errors import InvalidProblemError
from dmftnet.physics.analysis.distances import kl_divergence
from dmftnet.physics.grids.matsubara import ImaginaryAxis
from dmftnet.physics.grids.real_axis import FrequencyGrid

NEGATIVE = 1e-10
"""Share of the largest value by which an eigenvalue of a spectrum may be negative: rounding."""


class Hybridization(ABC):
    """What all kinds offer.

    Attributes
    ----------
    n_orb : int
    is_diagonal : bool
        Whether arrays have one orbital axis instead of two.
    """

    n_orb: int
    is_diagonal: bool

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
    def with_vector(self, vector: np.ndarray) -> Hybridization:
        """The same kind with the values that a vector holds, made positive where they are not."""

    @abstractmethod
    def change(self, new: Hybridization) -> float:
        """Distance of a new hybridization of the same kind, by which convergence is judged."""

    def matrix_at(self, z: np.ndarray) -> np.ndarray:
        """(n_orb, n_orb, n_z) complex128 Delta, also of a diagonal one."""
        values = self.at(z)
        if not self.is_diagonal:
            return values
        return np.eye(self.n_orb)[:, :, None] * values[None, :, :]


@dataclass(frozen=True, eq=False)
class SpectralHybridization(Hybridization):
    """A spectrum on the real axis.

    Parameters
    ----------
    grid : FrequencyGrid
    spectrum : (n_w,) or (n_orb, n_w) float64, or (n_orb, n_orb, n_w) complex128, in D
        ``-Im Delta / pi >= 0``; of a matrix ``(Delta^+ - Delta) / (2 pi i)``, Hermitian and positive
        semidefinite at every frequency.

    Raises
    ------
    InvalidProblemError
        Names the value that is wrong and what would be right.
    """

    grid: FrequencyGrid
    spectrum: np.ndarray

    def __post_init__(self):
        spectrum = np.atleast_2d(np.array(self.spectrum))
        if spectrum.dtype.kind != "c":
            spectrum = spectrum.astype(np.float64)
        if spectrum.ndim > 3 or spectrum.shape[-1] != self.grid.n_w:
            raise InvalidProblemError(
                f"hybridization has shape {spectrum.shape}, but the grid has n_w = {self.grid.n_w} "
                "points: give (n_orb, n_w) or (n_orb, n_orb, n_w)"
            )
        _require_finite(spectrum, "hybridization spectrum", self.grid.omega, "omega")
        if spectrum.ndim == 2:
            self._require_positive(spectrum)
        else:
            _require_hermitian(spectrum, "hybridization spectrum", self.grid.omega)
            self._require_positive(np.linalg.eigvalsh(np.moveaxis(spectrum, -1, 0)).T)
        spectrum.setflags(write=False)
        object.__setattr__(self, "spectrum", spectrum)

    def _require_positive(self, values: np.ndarray) -> None:
        worst = np.unravel_index(np.argmin(values), values.shape)
        # a diagonal spectrum that comes out of a clip is positive to the last bit
        allowed = -NEGATIVE * values.max() if self.spectrum_is_matrix else 0.0
        if values[worst] < allowed:
            what = "eigenvalue" if self.spectrum_is_matrix else "orbital"
            raise InvalidProblemError(
                f"hybridization spectrum of {what} {worst[0]} is {values[worst]:.6g} at omega = "
                f"{self.grid.omega[worst[1]]:.6g}; -Im Delta/pi must be >= 0 (check the sign "
                "convention)"
            )

    @property
    def spectrum_is_matrix(self) -> bool:
        """Whether the spectrum has two orbital axes."""
        return np.ndim(self.spectrum) == 3

    @property
    def is_diagonal(self) -> bool:
        return not self.spectrum_is_matrix

    @property
    def n_orb(self) -> int:
        return self.spectrum.shape[0]

    def at(self, z: np.ndarray) -> np.ndarray:
        return self.spectrum @ self.grid.cauchy(np.asarray(z)).T

    def moments(self, n_moments: int) -> np.ndarray:
        return np.stack([self.grid.moment(self.spectrum, m) for m in range(n_moments)])

    def retarded(self) -> np.ndarray:
        """(..., n_w) complex128 Delta(w + i0) on the grid, Kramers-Kronig of the spectrum."""
        return self.grid.greens_function(self.spectrum)

    def vector(self) -> np.ndarray:
        return _to_real(self.spectrum * np.sqrt(self.grid.weights))

    def with_vector(self, vector: np.ndarray) -> SpectralHybridization:
        values = _from_real(vector, self.spectrum) / np.sqrt(self.grid.weights)
        return SpectralHybridization(self.grid, positive_part(values))

    def change(self, new: SpectralHybridization) -> float:
        """Largest ``KL(new || self)`` over orbitals, of the diagonals normalised to one."""
        old, new = (_diagonal(h.spectrum).real for h in (self, new))
        norms = self.grid.integrate(new)[:, None], self.grid.integrate(old)[:, None]
        if np.any(norms[0] <= 0) or np.any(norms[1] <= 0):
            return 0.0 if np.array_equal(new, old) else np.inf  # no bath at all
        return float(np.max(kl_divergence(self.grid, new / norms[0], old / norms[1])))


@dataclass(frozen=True, eq=False)
class PoleHybridization(Hybridization):
    """Bath levels.

    Parameters
    ----------
    energies : (n_levels,) float64, in D
    couplings : (n_levels, n_orb) float64 or complex128, in D
        ``V_ka`` of ``V_ka d+_a c_k + h.c.``: ``Delta_ab = sum_k V_ka conj(V_kb) / (z - e_k)``.
    is_diagonal : bool
        Whether each level couples to one orbital alone.
    """

    energies: np.ndarray
    couplings: np.ndarray

    def __post_init__(self):
        energies, couplings = np.array(self.energies, dtype=np.float64), np.array(self.couplings)
        if couplings.ndim != 2 or energies.shape != couplings.shape[:1]:
            raise InvalidProblemError(
                f"bath energies {energies.shape} and couplings {couplings.shape}: give (n_levels,) "
                "and (n_levels, n_orb)"
            )
        for name, values in (("energy", energies), ("coupling", couplings)):
            if not np.all(np.isfinite(values)):
                raise InvalidProblemError(f"a bath {name} is not finite")
            values.setflags(write=False)
        object.__setattr__(self, "energies", energies)
        object.__setattr__(self, "couplings", couplings)

    @property
    def n_orb(self) -> int:
        return self.couplings.shape[1]

    @property
    def is_diagonal(self) -> bool:
        return bool(np.all((self.couplings != 0).sum(axis=1) <= 1))

    def _weights(self) -> np.ndarray:
        if self.is_diagonal:
            return (np.abs(self.couplings) ** 2).T
        return np.einsum("ka,kb->abk", self.couplings, self.couplings.conj())

    def at(self, z: np.ndarray) -> np.ndarray:
        return self._weights() @ (1 / (np.asarray(z) - self.energies[:, None]))

    def moments(self, n_moments: int) -> np.ndarray:
        weights = self._weights()
        return np.stack([weights @ self.energies**m for m in range(n_moments)])

    def vector(self) -> np.ndarray:
        return np.concatenate([self.energies, _to_real(self.couplings)])

    def with_vector(self, vector: np.ndarray) -> PoleHybridization:
        n = self.energies.size
        return PoleHybridization(vector[:n], _from_real(vector[n:], self.couplings))

    def change(self, new: PoleHybridization) -> float:
        """Largest change of a level or a coupling, in D."""
        return float(np.abs(new.vector() - self.vector()).max(initial=0.0))

    def one_body(self, levels: np.ndarray) -> np.ndarray:
        """(n, n) one-body matrix of the impurity's (n_orb, n_orb) `levels` and the bath."""
        n_orb, n = self.n_orb, self.n_orb + self.energies.size
        h = np.zeros((n, n), dtype=np.result_type(levels, self.couplings))
        h[:n_orb, :n_orb] = levels
        h[np.arange(n_orb, n), np.arange(n_orb, n)] = self.energies
        h[:n_orb, n_orb:] = self.couplings.T
        h[n_orb:, :n_orb] = self.couplings.conj()
        return h


@dataclass(frozen=True, eq=False)
class MatsubaraHybridization(Hybridization):
    """Values on the imaginary axis.

    Parameters
    ----------
    axis : ImaginaryAxis
    values : (n_iw,), (n_orb, n_iw) or (n_orb, n_orb, n_iw) complex128, in D
        Delta at ``i axis.omega_n``; ``-Im Delta >= 0``, a matrix ``i (Delta - Delta^+) >= 0``.
    """

    axis: ImaginaryAxis
    values: np.ndarray

    def __post_init__(self):
        values = np.atleast_2d(np.array(self.values, dtype=np.complex128))
        n_iw = self.axis.omega_n.size
        if values.ndim > 3 or values.shape[-1] != n_iw:
            raise InvalidProblemError(
                f"hybridization has shape {values.shape}, but the axis has {n_iw} frequencies: give "
                "(n_orb, n_iw) or (n_orb, n_orb, n_iw)"
            )
        _require_finite(values, "hybridization", self.axis.omega_n, "omega_n")
        lowest = _damping(values)
        worst = np.unravel_index(np.argmin(lowest), lowest.shape)
        if lowest[worst] < -NEGATIVE * max(np.abs(values).max(), 1e-300):
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
        return self.axis.at_frequencies(self.axis.to_coefficients(self.values), indices)

    def moments(self, n_moments: int) -> np.ndarray:
        raise InvalidProblemError(
            "moments of a hybridization on the imaginary axis are not known beyond rounding; fit "
            "bath levels"
        )

    def vector(self) -> np.ndarray:
        return _to_real(self.values)

    def with_vector(self, vector: np.ndarray) -> MatsubaraHybridization:
        return MatsubaraHybridization(self.axis, _from_real(vector, self.values))

    def change(self, new: MatsubaraHybridization) -> float:
        """Largest change at any frequency over the largest value."""
        scale = np.abs(self.values).max()
        return float(np.abs(new.values - self.values).max() / max(scale, 1e-300))


def positive_part(values: np.ndarray) -> np.ndarray:
    """Spectra without what is negative: clipped, or of a matrix its negative eigenvalues."""
    if values.ndim < 3:
        return np.maximum(values, 0.0)
    stacked = np.moveaxis(values, -1, 0)
    eigenvalues, vectors = np.linalg.eigh(0.5 * (stacked + stacked.conj().swapaxes(1, 2)))
    clipped = (vectors * np.maximum(eigenvalues, 0.0)[:, None, :]) @ vectors.conj().swapaxes(1, 2)
    return np.moveaxis(clipped, 0, -1)


def _diagonal(values: np.ndarray) -> np.ndarray:
    return values if values.ndim == 2 else np.einsum("aaw->aw", values)


def _damping(values: np.ndarray) -> np.ndarray:
    """(n_orb, n) eigenvalues of ``(Delta^+ - Delta) / 2i``."""
    if values.ndim == 2:
        return -values.imag
    stacked = np.moveaxis(values, -1, 0)
    return np.linalg.eigvalsh((stacked.conj().swapaxes(1, 2) - stacked) / 2j).T


def _to_real(values: np.ndarray) -> np.ndarray:
    flat = values.reshape(-1)
    return np.concatenate([flat.real, flat.imag]) if np.iscomplexobj(flat) else flat


def _from_real(vector: np.ndarray, like: np.ndarray) -> np.ndarray:
    if np.iscomplexobj(like):
        vector = vector[: like.size] + 1j * vector[like.size :]
    return vector.reshape(like.shape)


def _require_finite(values: np.ndarray, what: str, points: np.ndarray, name: str) -> None:
    if not np.all(np.isfinite(values)):
        at = tuple(np.argwhere(~np.isfinite(values))[0])
        raise InvalidProblemError(
            f"{what} of orbital {at[0]} is {values[at]} at {name} = {points[at[-1]]:.6g}; every "
            "value must be finite"
        )


def _require_hermitian(values: np.ndarray, what: str, points: np.ndarray) -> None:
    skew = np.abs(values - values.conj().swapaxes(0, 1)).max(axis=(0, 1))
    worst = int(np.argmax(skew))
    if skew[worst] > NEGATIVE * max(np.abs(values).max(), 1e-300):
        raise InvalidProblemError(
            f"{what} is not Hermitian at omega = {points[worst]:.6g} (by {skew[worst]:.2g})"
        )
