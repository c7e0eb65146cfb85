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

UNIVERSAL_SIZE = 1600.0
"""``beta w_max`` of `ImaginaryAxis.universal`: weight up to 16 D at beta = 100."""


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

    @classmethod
    def universal(
        cls, beta: float, size: float = UNIVERSAL_SIZE, accuracy: float = ACCURACY
    ) -> ImaginaryAxis:
        """The axis of a fixed ``beta w_max``, so of arrays of one shape at every temperature.

        `indices` are the same integers at any beta, and so are ``tau / beta`` to rounding: what a
        network reads.

        Parameters
        ----------
        beta : float, in 1/D
        size : float
            ``beta w_max``; the spectral weight must lie below ``size / beta``.
        accuracy : float
            See `ACCURACY`.

        Notes
        -----
        At the default size and accuracy, 28 frequencies and 56 times: any spectrum of norm one
        within `w_max` is held to 1e-9 in G(tau) and G(iw), at beta from 1 to 100
        (`tests/physics/test_matsubara.py`).
        """
        beta = checks.number("beta", beta, above=0, at_most=1e5)
        size = checks.number("size", size, above=0, at_most=1e5)
        return cls(beta, size / beta, accuracy)

    @cached_property
    def _unit(self) -> tuple[float, float]:
        """The same axis at beta = 1, as the functions below know it: ``beta w_max`` to twelve
        digits, one that differs by rounding is the same, and the accuracy. It has the same
        integers, and coefficients that are larger by sqrt(beta)."""
        return float(f"{self.beta * self.w_max:.12g}"), self.accuracy

    @cached_property
    def tau(self) -> np.ndarray:
        """(n_tau,) sampling points inside (0, beta), rising."""
        return np.asarray(_times_of(*self._unit).sampling_points) * self.beta

    @cached_property
    def indices(self) -> np.ndarray:
        """(n_iw,) odd integers ``2n + 1 > 0``, rising; the first is 1."""
        points = np.asarray(_frequencies_of(*self._unit).sampling_points)
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
        coefficients = _both_signs(greens) @ _fit_of(*self._unit) / np.sqrt(self.beta)
        return coefficients if greens.ndim == 3 else coefficients.real

    def interpolated(self, values: np.ndarray, indices: np.ndarray) -> np.ndarray:
        """Values at other frequencies of a function that may tend to a constant, as Sigma does.

        Least squares of poles and a constant; 1e-10 of the largest value.

        Parameters
        ----------
        values : (n_iw,) or (n_orb, n_iw) or (n_orb, n_orb, n_iw) complex128
            At `omega_n`; a matrix is one in its first two axes.
        indices : (n,) int
            Odd integers 2n + 1.

        Returns
        -------
        (..., n) complex128
        """
        poles = np.asarray(_lehmann_of(*self._unit).sampling_points) / self.beta
        both = _both_signs(values)

        def columns(odd: np.ndarray) -> np.ndarray:
            iw = 1j * odd[:, None] * np.pi / self.beta
            return np.concatenate([np.ones_like(iw), 1 / (iw - poles)], axis=1)

        known = columns(np.concatenate([-self.indices[::-1], self.indices]))
        scale = np.abs(known).max(axis=0)
        flat = both.reshape(-1, both.shape[-1]).T
        found = np.linalg.lstsq(known / scale, flat, rcond=1e-12)[0]
        wanted = columns(np.asarray(indices)) / scale
        return (wanted @ found).T.reshape(*values.shape[:-1], -1)

    def from_tau(self, values: np.ndarray) -> np.ndarray:
        """(..., n_l) IR coefficients of values (..., n_tau) at `tau`."""
        return np.sqrt(self.beta) * _times_of(*self._unit).fit(np.asarray(values), axis=-1)

    def mirrored(self, coefficients: np.ndarray) -> np.ndarray:
        """(..., n_l) coefficients of ``G(beta - tau)``: odd ones change their sign."""
        return coefficients * (1 - 2 * (np.arange(np.shape(coefficients)[-1]) % 2))

    def at_tau(self, coefficients: np.ndarray, tau: np.ndarray) -> np.ndarray:
        """(..., n) G(tau) for 0 <= tau <= beta, the end points included."""
        x = np.asarray(tau, dtype=float) / self.beta
        functions = _functions_at(*self._unit, x.tobytes()).reshape(-1, *x.shape)
        return coefficients @ functions / np.sqrt(self.beta)

    def at_frequencies(self, coefficients: np.ndarray, indices: np.ndarray) -> np.ndarray:
        """(..., n) G(iw) at odd integers 2n + 1 of either sign.

        Through poles: as accurate as the basis functions themselves (1e-10), and far faster.
        """
        lehmann = _lehmann_of(*self._unit)
        iw = 1j * np.asarray(indices) * np.pi
        residues = np.sqrt(self.beta) * lehmann.from_IR(coefficients, axis=-1)
        return residues @ (1 / (iw - np.asarray(lehmann.sampling_points)[:, None]))


def _both_signs(values: np.ndarray) -> np.ndarray:
    """(..., 2 n_iw) values at negative frequencies too: ``G(-iw) = G(iw)^+``."""
    conjugate = values.conj().swapaxes(0, 1) if values.ndim == 3 else values.conj()
    return np.concatenate([conjugate[..., ::-1], values], axis=-1)


@lru_cache(maxsize=32)
def _unit_basis(size: float, accuracy: float) -> sparse_ir.FiniteTempBasis:
    """At beta = 1, as all below: the singular value expansion takes seconds, the rest of a basis
    tens of milliseconds, and all depends on beta w_max alone."""
    return sparse_ir.FiniteTempBasis("F", 1.0, size, eps=accuracy)


@lru_cache(maxsize=32)
def _frequencies_of(size: float, accuracy: float) -> sparse_ir.MatsubaraSampling:
    return sparse_ir.MatsubaraSampling(_unit_basis(size, accuracy))


@lru_cache(maxsize=32)
def _functions_at(size: float, accuracy: float, x: bytes) -> np.ndarray:
    """(n_l, n_x) basis functions at the times of a buffer of float64."""
    return np.asarray(_unit_basis(size, accuracy).u(np.frombuffer(x)))


@lru_cache(maxsize=32)
def _fit_of(size: float, accuracy: float) -> np.ndarray:
    """(2 n_iw, n_l) from values at frequencies of both signs to coefficients."""
    sampling = _frequencies_of(size, accuracy)
    return sampling.fit(np.eye(len(sampling.sampling_points), dtype=complex), axis=-1)


@lru_cache(maxsize=32)
def _times_of(size: float, accuracy: float) -> sparse_ir.TauSampling:
    return sparse_ir.TauSampling(_unit_basis(size, accuracy))


@lru_cache(maxsize=32)
def _lehmann_of(size: float, accuracy: float) -> sparse_ir.DiscreteLehmannRepresentation:
    return sparse_ir.DiscreteLehmannRepresentation(_unit_basis(size, accuracy))


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
