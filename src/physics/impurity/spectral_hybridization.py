"""A hybridization known as a spectrum on the real axis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dmftnet.errors import InvalidProblemError
from dmftnet.physics.analysis.distances import kl_divergence
from dmftnet.physics.grids.matsubara import ImaginaryAxis
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.hybridization import (
    NEGATIVE,
    Hybridization,
    diagonal,
    from_real,
    positive_part,
    require_finite,
    require_hermitian,
    to_real,
)
from dmftnet.physics.impurity.matsubara_hybridization import MatsubaraHybridization


@dataclass(frozen=True, eq=False)
class SpectralHybridization(Hybridization):
    """A spectrum on the real axis.

    Parameters
    ----------
    grid : FrequencyGrid
    spectrum : (n_w,) or (n_orb, n_w) float64, or (n_orb, n_orb, n_w) complex128, in D
        ``-Im Delta / pi >= 0``; of a matrix ``(Delta^+ - Delta) / (2 pi i)``, Hermitian and
        positive semidefinite at every frequency.

    Raises
    ------
    InvalidProblemError
        Names the value that is wrong and what would be right.
    """

    grid: FrequencyGrid
    spectrum: np.ndarray
    measure: ClassVar[str] = "KL"

    def __post_init__(self):
        spectrum = np.atleast_2d(np.array(self.spectrum))
        if spectrum.dtype.kind != "c":
            spectrum = spectrum.astype(np.float64, copy=False)
        if spectrum.ndim > 3 or spectrum.shape[-1] != self.grid.n_w:
            raise InvalidProblemError(
                f"hybridization spectrum has shape {np.shape(self.spectrum)}, the grid has "
                f"n_w = {self.grid.n_w} points: give (n_w,), (n_orb, n_w) or (n_orb, n_orb, n_w)"
            )
        require_finite(spectrum, "hybridization spectrum", self.grid.omega, "omega")
        if spectrum.ndim == 2:
            self._require_positive(spectrum)
        else:
            require_hermitian(spectrum, "hybridization spectrum", self.grid.omega)
            self._require_positive(np.linalg.eigvalsh(np.moveaxis(spectrum, -1, 0)).T)
        spectrum.setflags(write=False)
        object.__setattr__(self, "spectrum", spectrum)

    def _derived(self, spectrum: np.ndarray) -> SpectralHybridization:
        """With another spectrum that needs no check: made of checked ones."""
        made = object.__new__(SpectralHybridization)
        spectrum.setflags(write=False)
        object.__setattr__(made, "grid", self.grid)
        object.__setattr__(made, "spectrum", spectrum)
        return made

    def _require_positive(self, values: np.ndarray) -> None:
        if values.min() >= 0:
            return
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
        return self.grid.cauchy(self.spectrum, z)

    def moments(self, n_moments: int) -> np.ndarray:
        return self.grid.moments(self.spectrum, n_moments)

    def retarded(self) -> np.ndarray:
        """(..., n_w) complex128 Delta(w + i0) on the grid, Kramers-Kronig of the spectrum."""
        return self.grid.greens_function(self.spectrum)

    def vector(self) -> np.ndarray:
        return to_real(self.spectrum * np.sqrt(self.grid.weights))

    def with_vector(self, vector: np.ndarray) -> SpectralHybridization:
        values = from_real(vector, self.spectrum) / np.sqrt(self.grid.weights)
        require_finite(values, "hybridization spectrum", self.grid.omega, "omega")
        return self._derived(positive_part(values))

    def change(self, new: SpectralHybridization) -> float:
        """Largest ``KL(new || self)`` over orbitals, of the diagonals normalised to one."""
        before, after = (diagonal(h.spectrum).real for h in (self, new))
        norms = self.grid.integrate(after)[:, None], self.grid.integrate(before)[:, None]
        if np.any(norms[0] <= 0) or np.any(norms[1] <= 0):
            equal = np.array_equal(after, before)
            return 0.0 if equal else np.inf  # no bath at all: the atomic limit
        return float(np.max(kl_divergence(self.grid, after / norms[0], before / norms[1])))

    def drift(self, new: SpectralHybridization) -> float:
        """Largest ``|new(0) - old(0)| / max(old)`` over orbitals, of the diagonals."""
        before, after = (diagonal(h.spectrum).real for h in (self, new))
        change = np.abs(self.grid.at_zero(after) - self.grid.at_zero(before))
        peak = before.max(axis=-1)
        return float(np.max(np.where(change > 0, change / np.where(peak > 0, peak, 1e-300), 0.0)))

    def particle_hole(self) -> SpectralHybridization:
        if not self.grid.is_symmetric:
            raise InvalidProblemError(
                "particle-hole mirroring needs a grid symmetric about zero frequency"
            )
        mirrored = self.spectrum[..., ::-1]
        return self._derived(mirrored if self.is_diagonal else mirrored.swapaxes(0, 1))

    def is_particle_hole_symmetric(self, tolerance: float = 1e-9) -> bool:
        if not self.grid.is_symmetric:
            return False
        change = np.abs(self.spectrum - self.particle_hole().spectrum).max()
        return bool(change <= tolerance * max(1.0, np.abs(self.spectrum).max()))

    def with_matrix(self) -> SpectralHybridization:
        """The same with two orbital axes."""
        if not self.is_diagonal:
            return self
        return SpectralHybridization(
            self.grid, np.eye(self.n_orb)[:, :, None] * self.spectrum.astype(complex)
        )

    def averaged(self, other: SpectralHybridization) -> SpectralHybridization:
        return self._derived(0.5 * (self.spectrum + other.spectrum))

    def at_axis(self, axis: ImaginaryAxis) -> MatsubaraHybridization:
        """Its values at Matsubara frequencies."""
        return MatsubaraHybridization(axis, self.at(1j * axis.omega_n))


CurveHybridization = SpectralHybridization | MatsubaraHybridization
"""What a DMFT loop iterates: values on an axis, which may be written with two orbital axes."""
