"""Bath levels as the unknowns of a least-squares fit: parameters, residuals, Jacobian.

A level's energy is ``e = w_max tanh x``, so that none leaves the window in which spectral weight
can lie; its coupling to each orbital is free, and the weight ``V V^+`` positive by construction.
Particle-hole symmetric levels are pairs ``(e, V), (-e, V*)``, exactly, and some at zero with real
couplings; a pair is one level of the fit.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True, eq=False)
class LevelFit:
    """Least squares of bath levels to Delta at some frequencies.

    Parameters
    ----------
    omega_n : (n,) float64, in D
        Positive.
    values : (n_orb, n_orb, n) complex128, in D
        Delta at ``i omega_n``, not zero everywhere.
    weights : (n,) float64
        Of the squared errors.
    w_max : float, in D
    n_moving, n_zero : int
        Free levels, or pairs where `paired`, and levels held at zero energy.
    paired, is_complex : bool
        Particle-hole symmetric levels; complex couplings.
    """

    omega_n: np.ndarray
    values: np.ndarray
    weights: np.ndarray
    w_max: float
    n_moving: int
    n_zero: int
    paired: bool
    is_complex: bool

    @property
    def n_orb(self) -> int:
        """Number of orbitals."""
        return len(self.values)

    @property
    def n_unknown(self) -> int:
        """Levels with parameters of their own: of a pair one."""
        return self.n_moving + self.n_zero

    @cached_property
    def scale(self) -> np.ndarray:
        """(n,) factor of the errors, after which their squares add up to chi^2."""
        return np.sqrt(self.weights / self.weights.sum()) / np.abs(self.values).max()

    @cached_property
    def _signs(self) -> np.ndarray:
        """(n_levels, n_unknown) of an unknown's energy in a level: 1, in a mirrored one -1."""
        own = np.eye(self.n_unknown)
        return np.concatenate([own, -own[: self.n_moving]]) if self.paired else own

    def pack(self, energies: np.ndarray, couplings: np.ndarray) -> np.ndarray:
        """Parameters of (n_unknown,) energies and (n_unknown, n_orb) couplings."""
        moving = np.clip(energies[: self.n_moving] / self.w_max, -0.99, 0.99)
        parts = [np.arctanh(moving), couplings.real.ravel()]
        if self.is_complex:
            parts.append(couplings[: self._n_phases].imag.ravel())
        return np.concatenate(parts)

    @property
    def _n_phases(self) -> int:
        return self.n_moving if self.paired else self.n_unknown

    def unpack(self, parameters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The inverse of `pack`."""
        energies = np.zeros(self.n_unknown)
        energies[: self.n_moving] = self.w_max * np.tanh(parameters[: self.n_moving])
        rest = parameters[self.n_moving :]
        couplings = rest[: energies.size * self.n_orb].reshape(-1, self.n_orb)
        if self.is_complex:
            couplings = couplings.astype(complex)
            couplings[: self._n_phases] += 1j * rest[couplings.size :].reshape(-1, self.n_orb)
        return energies, couplings

    def levels(self, parameters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(n_levels,) energies and (n_levels, n_orb) couplings, mirrored ones included."""
        energies, couplings = self.unpack(parameters)
        if self.paired:
            mirrored = couplings[: self.n_moving].conj()
            couplings = np.concatenate([couplings, mirrored])
        return self._signs @ energies, couplings

    def _propagators(self, energies: np.ndarray) -> np.ndarray:
        """(n, n_levels) ``1 / (i w_n - e_k)``."""
        return 1 / (1j * self.omega_n[:, None] - energies)

    def residuals(self, parameters: np.ndarray) -> np.ndarray:
        """(n_rows,) float64; the sum of their squares is chi^2."""
        energies, couplings = self.levels(parameters)
        weights = couplings[:, :, None] * couplings[:, None, :].conj()
        found = np.tensordot(self._propagators(energies), weights, 1)  # (n, n_orb, n_orb)
        return self._rows(found - np.moveaxis(self.values, -1, 0))

    def jacobian(self, parameters: np.ndarray) -> np.ndarray:
        """(n_rows, n_parameters) derivatives of `residuals`."""
        energies, couplings = self.levels(parameters)
        p, V = self._propagators(energies), couplings.T
        by_energy = (V[:, None] * V.conj()) * (p**2)[:, None, None]  # (n, a, b, level)
        left = np.zeros((p.shape[0], self.n_orb, self.n_orb, energies.size, self.n_orb), complex)
        right = np.zeros_like(left)
        for orbital in range(self.n_orb):
            left[:, orbital, :, :, orbital] = V.conj() * p[:, None]
            right[:, :, orbital, :, orbital] = V * p[:, None]
        signs, same = self._signs, np.abs(self._signs)
        slope = self.w_max * (1 - np.tanh(parameters[: self.n_moving]) ** 2)
        columns = [
            (by_energy @ signs)[..., : self.n_moving] * slope,
            _combined(left + right, same),
        ]
        if self.is_complex:
            columns.append(1j * _combined(left - right, signs[:, : self._n_phases]))
        return self._rows(np.concatenate(columns, axis=-1))

    def _rows(self, errors: np.ndarray) -> np.ndarray:
        """Errors, (n, n_orb, n_orb, ...), as real rows; symmetric levels have imaginary ones."""
        scaled = errors * self.scale.reshape(-1, *[1] * (errors.ndim - 1))
        flat = scaled.reshape(-1, *errors.shape[3:])
        return flat.imag if self.paired else np.concatenate([flat.real, flat.imag])


def _combined(derivatives: np.ndarray, signs: np.ndarray) -> np.ndarray:
    """By (n_level, n_orb) couplings to by those of the unknowns, in one last axis."""
    combined = np.moveaxis(derivatives, -1, -2) @ signs  # (n, a, b, c, unknown)
    return np.moveaxis(combined, -1, -2).reshape(*derivatives.shape[:3], -1)
