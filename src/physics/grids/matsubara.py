"""The imaginary axis: few points that hold everything, and the maps between them.

A fermionic function with all its spectral weight below `w_max` has a few dozen coefficients in the
intermediate representation (IR), and sampling points in tau and in Matsubara frequency from which
they follow. So G(tau), G(iw) and their tails are one object, without truncation in frequency.

``G(tau) = -<T d(tau) d+(0)>``, ``0 <= tau <= beta``, and ``G(iw_n)`` is the integral of
``e^(i w_n tau) G(tau)`` from 0 to beta, ``w_n = (2n + 1) pi / beta``. Negative frequencies are not
kept: ``G(-iw) = G(iw)^+``.

Reference: H. Shinaoka et al., SciPost Phys. Lect. Notes 63 (2022); library sparse-ir.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import sparse_ir

from dmftnet import checks

ACCURACY = 1e-10
"""Relative size of the coefficients that are left out."""


@dataclass(frozen=True)
class ImaginaryAxis:
    """Sampling points at one temperature.

    Parameters
    ----------
    beta : float, in 1/D
    w_max : float, in D
        All spectral weight lies below; a good deal too large costs a few points only.
    accuracy : float
        See `ACCURACY`.
    """

    beta: float
    w_max: float = 8.0
    accuracy: float = ACCURACY

    def __post_init__(self):
        for name, value in (
            ("beta", checks.number("beta", self.beta, above=0, at_most=1e5)),
            ("w_max", checks.number("w_max", self.w_max, above=0, at_most=1e4)),
            ("accuracy", checks.number("accuracy", self.accuracy, at_least=1e-13, at_most=1e-2)),
        ):
            object.__setattr__(self, name, value)

    @property
    def _basis(self) -> sparse_ir.FiniteTempBasis:
        return _basis_of(self.beta, self.w_max, self.accuracy)

    @cached_property
    def tau(self) -> np.ndarray:
        """(n_tau,) sampling points inside (0, beta), rising."""
        return np.asarray(sparse_ir.TauSampling(self._basis).sampling_points)

    @property
    def _frequencies(self) -> sparse_ir.MatsubaraSampling:
        return _frequencies_of(self.beta, self.w_max, self.accuracy)

    @cached_property
    def indices(self) -> np.ndarray:
        """(n_iw,) odd integers ``2n + 1 > 0``, rising; the first is 1."""
        points = np.asarray(self._frequencies.sampling_points)
        return points[points > 0]

    @cached_property
    def omega_n(self) -> np.ndarray:
        """(n_iw,) Matsubara frequencies, in D, positive and rising; the first is pi / beta."""
        return self.indices * np.pi / self.beta

    def to_coefficients(self, greens: np.ndarray) -> np.ndarray:
        """IR coefficients of values at `omega_n`.

        Parameters
        ----------
        greens : (n_iw,) or (n_orb, n_iw) or (n_orb, n_orb, n_iw) complex128
            A matrix is one in its first two axes.

        Returns
        -------
        (..., n_l) float64, complex128 of a matrix
        """
        if greens.ndim == 3:
            mirrored = greens.conj().swapaxes(0, 1)
            both = np.concatenate([mirrored[..., ::-1], greens], axis=-1)
            return self._frequencies.fit(both, axis=-1)
        both = np.concatenate([greens.conj()[..., ::-1], greens], axis=-1)
        return self._frequencies.fit(both, axis=-1).real

    def at_tau(self, coefficients: np.ndarray, tau: np.ndarray) -> np.ndarray:
        """(..., n) G(tau) for 0 <= tau <= beta, the end points included."""
        return coefficients @ self._basis.u(np.asarray(tau, dtype=float))

    def at_frequencies(self, coefficients: np.ndarray, indices: np.ndarray) -> np.ndarray:
        """(..., n) G(iw) at odd integers 2n + 1 of either sign.

        Through poles: as accurate as the basis functions themselves (1e-10), and far faster.
        """
        lehmann = _lehmann_of(self.beta, self.w_max, self.accuracy)
        iw = 1j * np.asarray(indices) * np.pi / self.beta
        residues = lehmann.from_IR(coefficients, axis=-1)
        return residues @ (1 / (iw - np.asarray(lehmann.sampling_points)[:, None]))


@lru_cache(maxsize=32)
def _basis_of(beta: float, w_max: float, accuracy: float) -> sparse_ir.FiniteTempBasis:
    return sparse_ir.FiniteTempBasis("F", beta, w_max, eps=accuracy)


@lru_cache(maxsize=32)
def _frequencies_of(beta: float, w_max: float, accuracy: float) -> sparse_ir.MatsubaraSampling:
    return sparse_ir.MatsubaraSampling(_basis_of(beta, w_max, accuracy))


@lru_cache(maxsize=32)
def _lehmann_of(
    beta: float, w_max: float, accuracy: float
) -> sparse_ir.DiscreteLehmannRepresentation:
    return sparse_ir.DiscreteLehmannRepresentation(_basis_of(beta, w_max, accuracy))


def thermal_tau(energies: np.ndarray, weights: np.ndarray, tau: np.ndarray, beta: float):
    """(..., n_tau) ``-sum_p w_p e^(-E_p tau) / (1 + e^(-beta E_p))``, without overflow.

    Parameters
    ----------
    energies : (n_p,) float64, in D
    weights : (..., n_p)
    tau : (n_tau,) float64, in 1/D
        In [0, beta].
    """
    E, t = np.asarray(energies)[:, None], np.asarray(tau)
    exponent = np.where(E >= 0, -E * t, E * (beta - t))
    return -np.asarray(weights) @ (np.exp(exponent) / (1 + np.exp(-beta * np.abs(E))))
