"""Spectra as poles and weights, the exact form in which a T = 0 solver answers.

``G(w) = sum_n w_n / (w + i0 - E_n)``: energies above zero are the greater (addition) part, below
zero the lesser (removal) part. Poles carry exact moments, and exact values at every complex-time
angle: each pole simply rotates, ``E -> E exp(-i alpha sign E)`` (docs/physics, complex time). A
curve on a grid is drawn from them at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import wofz

from dmftnet.errors import InvalidProblemError

BLOCK = 4096
"""Poles that are summed at once."""


def _frozen(values, name: str) -> np.ndarray:
    values = np.array(values, dtype=np.float64)
    if not np.all(np.isfinite(values)):
        bad = np.argwhere(~np.isfinite(values))[0]
        raise InvalidProblemError(f"{name}{bad.tolist()} is not finite; poles must be real numbers")
    values.setflags(write=False)
    return values


@dataclass(frozen=True, eq=False)
class PoleSpectrum:
    """Poles on the real axis with real weights (non-negative for a diagonal Green's function).

    Parameters
    ----------
    energies : (n_p,) float64, in D
    weights : (n_p,) float64
    """

    energies: np.ndarray
    weights: np.ndarray

    def __post_init__(self):
        object.__setattr__(self, "energies", _frozen(self.energies, "energies"))
        object.__setattr__(self, "weights", _frozen(self.weights, "weights"))
        if self.energies.ndim != 1 or self.energies.shape != self.weights.shape:
            raise InvalidProblemError(
                f"energies {self.energies.shape} and weights {self.weights.shape} of a pole "
                "spectrum must be one-dimensional and of equal length"
            )

    def moments(self, n_moments: int) -> np.ndarray:
        """(n_moments,) exact moments ``sum_n w_n E_n^k``, k = 0 .. n_moments - 1, in D^k."""
        return self.weights @ np.vander(self.energies, n_moments, increasing=True)

    @property
    def occupied_weight(self) -> float:
        """Weight below zero energy: the occupation of one spin-orbital for G."""
        return float(self.weights[self.energies < 0].sum())

    def greens(self, z: np.ndarray, angle: float = 0.0) -> np.ndarray:
        """``G(z, alpha)`` at complex (or, for ``angle > 0``, real) frequencies; same shape as z."""
        return self._sum(z, self.rotated_energies(angle), self.weights, power=1)

    def greens_angle_derivative(self, z: np.ndarray, angle: float) -> np.ndarray:
        """``dG/dalpha`` at the angle, by the exact rotation of each pole."""
        rotated = self.rotated_energies(angle)
        return self._sum(z, rotated, self.weights * (-1j * np.sign(self.energies)) * rotated, 2)

    def spectrum(self, omega: np.ndarray, angle: float) -> np.ndarray:
        """``A(w, alpha) = -Im G(w, alpha) / pi`` for an angle in (0, pi/2); shape of omega."""
        if not 0 < angle < np.pi / 2:
            raise InvalidProblemError(
                f"angle = {angle}: pointwise spectra of poles need 0 < angle < pi/2; "
                "at angle 0 use gaussian_greens"
            )
        return -self.greens(omega, angle).imag / np.pi

    def rotated_energies(self, angle: float) -> np.ndarray:
        """(n_p,) complex ``E exp(-i alpha sign E)``."""
        return self.energies * np.exp(-1j * angle * np.sign(self.energies))

    def gaussian_greens(self, omega: np.ndarray, eta: float, slope: float) -> np.ndarray:
        """Retarded G with each pole a Gaussian of standard deviation ``eta + slope |E|``.

        Returns
        -------
        (n_w,) complex128
            The convolution in closed form (Faddeeva function), so real and imaginary part belong
            to one another exactly. A Gaussian, never a Lorentzian: its tails do not fill a gap.
        """
        return self.weights @ gaussian_kernel(self.energies, omega, eta, slope)

    def log_gaussian_spectrum(
        self, omega: np.ndarray, width: float, core: float = 0.0
    ) -> np.ndarray:
        """(n_w,) spectrum of poles that are Gaussians on a logarithmic axis, in 1/D.

        Of a pole nothing lies on the other side of zero: the broadening of the numerical
        renormalisation group.

        Parameters
        ----------
        omega : (n_w,) float64, in D
        width : float
            alpha: a pole has the width ``alpha |E|``.
        core : float, in D
            Poles below it pass over into Gaussians ``exp(-((w - E)/core)^2)``; 0: none does, and
            a pole at zero energy is an error.

        Notes
        -----
        A. Weichselbaum, J. von Delft, PRL 99, 076402 (2007), with gamma = alpha/4.
        """
        if not (width > 0 and core >= 0):
            raise InvalidProblemError(
                f"log-Gaussian broadening width = {width}, core = {core}: width must be > 0 and "
                "core >= 0"
            )
        if core == 0 and np.any(self.energies == 0):
            raise InvalidProblemError(
                "a pole at zero energy has no log-Gaussian; give core > 0, in D"
            )
        total = np.zeros(omega.size)
        moving = omega != 0
        w = omega[moving]
        for E, weight in zip(self.energies, self.weights, strict=True):
            share = 1.0 if abs(E) >= core else 0.0
            if 0 < abs(E) < core:
                share = np.exp(-((np.log(abs(E) / core) / width) ** 2))
            if share > 0:
                x = np.log(np.where(w * E > 0, w / E, 1.0)) / width - width / 4
                pole = np.exp(-(x**2)) / (np.sqrt(np.pi) * width * np.abs(w))
                total[moving] += np.where(w * E > 0, share * weight * pole, 0.0)
            if share < 1:
                pole = np.exp(-(((omega - E) / core) ** 2)) / (np.sqrt(np.pi) * core)
                total += (1 - share) * weight * pole
        return total

    @staticmethod
    def _sum(z, poles, weights, power: int) -> np.ndarray:
        z = np.asarray(z)
        flat = z.reshape(-1).astype(np.complex128)
        out = np.empty_like(flat)
        for start in range(0, flat.size, 4096):  # bounds the memory of the (z, pole) table
            block = flat[start : start + 4096]
            out[start : start + 4096] = (block[:, None] - poles[None, :]) ** -power @ weights
        return out.reshape(z.shape)


def gaussian_kernel(energies, omega, eta: float, slope: float) -> np.ndarray:
    """(n_p, n_w) retarded propagator of a Gaussian of width ``eta + slope |E|`` at each energy."""
    if eta <= 0 or slope < 0:
        raise InvalidProblemError(
            f"Gaussian broadening eta = {eta}, slope = {slope}: eta must be > 0 and slope >= 0"
        )
    scale = np.sqrt(2.0) * (eta + slope * np.abs(energies))[:, None]
    return -1j * np.sqrt(np.pi) / scale * wofz((omega[None, :] - energies[:, None]) / scale)


@dataclass(frozen=True, eq=False)
class ResponsePoles:
    """Poles shared by G, F and I, from one block-Krylov run (docs/physics, self-energy).

    With ``q = [d, H_int] = U n_-s d`` every excited state n contributes the rank-one residue
    ``(a_d, a_q)^T (a_d, a_q)``, so that

    * ``G = <<d; d+>>`` has the weight ``a_d^2``,
    * ``F = <<q; d+>>`` has the weight ``a_d a_q``,
    * ``I = <<q; q+>>`` has the weight ``a_q^2``.

    Keeping amplitudes instead of three weights makes the residues positive by construction.

    Parameters
    ----------
    energies : (n_p,) float64, in D
    amplitudes : (n_p, 2) float64
        ``a_d`` (dimensionless) and ``a_q`` (in D).
    """

    energies: np.ndarray
    amplitudes: np.ndarray

    def __post_init__(self):
        object.__setattr__(self, "energies", _frozen(self.energies, "energies"))
        object.__setattr__(self, "amplitudes", _frozen(self.amplitudes, "amplitudes"))
        if self.amplitudes.shape != (self.energies.size, 2):
            raise InvalidProblemError(
                f"amplitudes have shape {self.amplitudes.shape}; "
                f"{self.energies.size} poles need ({self.energies.size}, 2)"
            )

    @property
    def G(self) -> PoleSpectrum:
        """The Green's function ``<<d; d+>>``."""
        return PoleSpectrum(self.energies, self.amplitudes[:, 0] ** 2)

    @property
    def F(self) -> PoleSpectrum:
        """``<<q; d+>>``, signed weights."""
        return PoleSpectrum(self.energies, self.amplitudes[:, 0] * self.amplitudes[:, 1])

    @property
    def I(self) -> PoleSpectrum:  # noqa: E743 - the symbol of the literature
        """``<<q; q+>>``."""
        return PoleSpectrum(self.energies, self.amplitudes[:, 1] ** 2)

    def responses(self, z: np.ndarray) -> np.ndarray:
        """(3, n_z) complex128 G, F and I at (n_z,) complex z, each propagator taken once."""
        total = np.zeros((z.size, 3), dtype=np.complex128)
        for start in range(0, self.energies.size, BLOCK):  # bounds the memory
            d, q = self.amplitudes[start : start + BLOCK].T
            weights = np.stack([d * d, d * q, q * q], axis=1)
            propagators = 1 / (z[:, None] - self.energies[start : start + BLOCK])
            total.real += propagators.real @ weights
            total.imag += propagators.imag @ weights
        return total.T

    @staticmethod
    def mean(each: Sequence[ResponsePoles]) -> ResponsePoles:
        """Mean of several answers to one problem: all their poles, the residues divided."""
        if len(each) == 1:
            return each[0]
        return ResponsePoles(
            np.concatenate([poles.energies for poles in each]),
            np.concatenate([poles.amplitudes for poles in each]) / np.sqrt(len(each)),
        )

    def compressed(self, tolerance: float = 1e-15) -> ResponsePoles:
        """Without poles that carry less than `tolerance` of the total weight of G and of I."""
        square = self.amplitudes**2
        keep = np.any(square > tolerance * square.sum(axis=0), axis=1)
        return ResponsePoles(self.energies[keep], self.amplitudes[keep])


@dataclass(frozen=True, eq=False)
class MatrixPoles:
    """Poles shared by the matrices G, F and I of orbitals that mix, or of one that does not.

    ``G_ab = sum_p d_pa conj(d_pb) / (z - E_p)``, and F and I with q in place of the first or of
    both, see `ResponsePoles`.

    Parameters
    ----------
    energies : (n_p,) float64, in D
    amplitudes : (n_p, 2, n_orb) float64 or complex128
        d (dimensionless) and q (in D).
    """

    energies: np.ndarray
    amplitudes: np.ndarray

    @property
    def n_orb(self) -> int:
        """Number of orbitals."""
        return self.amplitudes.shape[2]

    def orbital(self, index: int) -> ResponsePoles:
        """Of one orbital that mixes with no other; its amplitudes are real."""
        return ResponsePoles(self.energies, self.amplitudes[:, :, index].real).compressed()

    @property
    def hartree(self) -> np.ndarray:
        """(n_orb, n_orb) ``<{[d_a, H_int], d+_b}>``, in D: the self-energy at high frequency."""
        d, q = np.moveaxis(self.amplitudes, 1, 0)
        return q.T @ d.conj()

    def greens(self, z: np.ndarray) -> np.ndarray:
        """(n_orb, n_orb, n_z) G at complex z."""
        return self.responses(lambda energies: 1 / (z - energies[:, None]), z.size)[0]

    def responses(
        self, propagator: Callable[[np.ndarray], np.ndarray], n: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """G, F, its partner ``<<d; q+>>`` and I.

        Parameters
        ----------
        propagator : callable
            Energies (n_block,) to the (n_block, n) value of ``1 / (z - E)``, however broadened.
        n : int
            Number of frequencies.

        Returns
        -------
        four (n_orb, n_orb, n) complex128
        """
        total = np.zeros((2, self.n_orb, 2, self.n_orb, n), dtype=np.complex128)
        for start in range(0, self.energies.size, BLOCK):  # bounds the memory
            a = self.amplitudes[start : start + BLOCK]
            residues = np.einsum("pia,pjb->iajbp", a, a.conj())
            total += residues @ propagator(self.energies[start : start + BLOCK])
        return total[0, :, 0], total[1, :, 0], total[0, :, 1], total[1, :, 1]
