"""From signals in time to spectra: exponential fit (ESPRIT), linear prediction, plain transform.

A T = 0 solver in time knows the addition and the removal part of a matrix of correlators,
``phi_ab(z) = sum_n a_na a_nb exp(-i e_n z)`` with excitation energies ``e_n >= 0`` (the removal
part on the mirrored contour), sampled at ``t = 0, dt, 2 dt, ...`` up to t_max. All three ways end
in the same form, poles with positive rank-one residues (`ResponsePoles`):

* ``esprit``: on a straight contour ``z = t exp(-i alpha)`` the signal is a sum of exponentials,
  ``phi(j dt) = sum_k c_k lambda_k^j``; the shift invariance of the signal space of its block Hankel
  matrix gives the common ``lambda_k`` of all components, least squares the matrices ``c_k``. Then
  ``e_k = (i/dt) ln(lambda_k) exp(+i alpha)``, the angle removed exactly. A continuum beyond the
  resolution ``pi/t_max`` comes out as damped exponentials, ``Im e_k < 0``: a smooth continuation of
  the signal. The best of the three, at any angle.
* ``linear_prediction``: the real-time signal is continued by an autoregressive filter, its roots
  pulled into the unit circle, and transformed.
* ``fourier``: the real-time signal is multiplied by a window that ends at t_max and transformed:
  no assumption, resolution ``about 4/t_max`` (Hann).

The last two need real time: a contour of angle 0, or a signal led back to it
(`dmftnet.physics.grids.time_contour.reconstruct`).

Every way gives a matrix of weights for each cell of a fine frequency axis; its negative part is
clipped, and how much that was is reported. Poles sharper than a cell stay exact poles.
Cost ``O(n_t^3)``: 0.1 s for 100 times.

References: Roy, Kailath, IEEE Trans. ASSP 37, 984 (1989) (ESPRIT); White, Affleck, PRB 77, 134437
(2008) and Barthel, Schollwoeck, White, PRB 79, 245101 (2009) (linear prediction).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from dmftnet.errors import InvalidProblemError
from dmftnet.physics.analysis.positive_weights import frame_of, positive_poles, refitted
from dmftnet.physics.impurity.poles import ResponsePoles

METHODS = ("esprit", "linear_prediction", "fourier")
COARSER = (1.0, 3.0, 10.0, 30.0)  # tolerances of the exponential fit, in those asked for
REFIT_TOLERANCE = 10.0  # in those of the exponential fit: closer, noise becomes structure


@dataclass(frozen=True, eq=False)
class ExponentialSum:
    """``phi_ab(t) = sum_k c_kab exp(-i e_k t)`` for real t, continued from wherever it was fitted.

    Parameters
    ----------
    energies : (n_k,) complex128, in D, ``Im <= 0``
    residues : (n_k, m, m) complex128
    residual : float
        Largest deviation from the fitted signal, relative to its value at t = 0.
    """

    energies: np.ndarray
    residues: np.ndarray
    residual: float = 0.0

    def signal(self, z: np.ndarray) -> np.ndarray:
        """(n_t, m, m) values at (complex) times."""
        return np.tensordot(np.exp(-1j * np.multiply.outer(z, self.energies)), self.residues, 1)

    def mirrored(self) -> ExponentialSum:
        """The removal part at negative frequencies: ``e -> -e*``, ``c -> c*``."""
        return ExponentialSum(-self.energies.conj(), self.residues.conj(), self.residual)


def fit_exponentials(
    signal: np.ndarray, dt: float, angle: float = 0.0, tolerance: float = 1e-4
) -> ExponentialSum:
    """Matrix ESPRIT of a signal sampled on a straight contour.

    Parameters
    ----------
    signal : (n_t, m, m) complex128
        Values at ``t_j exp(-i angle)``, ``t_j = j dt``; at least 4 times.
    dt : float, in 1/D
        Energies up to ``pi/dt`` are told apart.
    angle : float, in radians
    tolerance : float
        Singular values of the Hankel matrix below this fraction of the largest are noise; about
        ten times the signal's relative error.
    """
    signal = np.asarray(signal, dtype=np.complex128)
    n_t, m, _ = signal.shape
    if n_t < 4:
        raise InvalidProblemError(f"an exponential fit needs at least 4 times, got {n_t}")
    scale = np.sqrt(np.maximum(np.einsum("aa->a", signal[0]).real, 0.0))
    scale = np.where(scale > 0, scale, 1.0)
    scaled = signal / np.outer(scale, scale)
    n_rows = n_t // 2
    index = np.arange(n_rows + 1)[:, None] + np.arange(n_t - n_rows)
    hankel = scaled[index].transpose(0, 2, 1, 3).reshape(m * (n_rows + 1), -1)
    u, s, _ = np.linalg.svd(hankel, full_matrices=False)
    if s[0] == 0:
        return ExponentialSum(np.zeros(0, complex), np.zeros((0, m, m), complex))
    u = u[:, : min(int((s > tolerance * s[0]).sum()), m * n_rows)]
    ratios = np.linalg.eigvals(np.linalg.lstsq(u[:-m], u[m:], rcond=None)[0])
    # modes of noise: gone after one step, or so fast that they alias
    ratios = ratios[(np.abs(ratios) > 1e-3) & (np.abs(np.angle(ratios)) < 0.95 * np.pi)]
    energies = 1j / dt * np.log(ratios) * np.exp(1j * angle)
    energies = energies[energies.real > -np.pi / (dt * n_t)]  # no excitation below zero
    energies = energies.real + 1j * np.minimum(energies.imag, 0.0)
    z = dt * np.arange(n_t) * np.exp(-1j * angle)
    table = np.exp(-1j * np.multiply.outer(z, energies))
    residues = np.linalg.lstsq(table, scaled.reshape(n_t, -1), rcond=None)[0].reshape(-1, m, m)
    residues = 0.5 * (residues + residues.transpose(0, 2, 1))  # H is real: phi_ab = phi_ba
    deviation = np.abs(np.tensordot(table, residues, 1) - scaled).max()
    return ExponentialSum(energies, residues * np.outer(scale, scale), float(deviation))


def predict_linearly(
    signal: np.ndarray, n_more: int, order: int | None = None, ridge: float = 1e-8
) -> np.ndarray:
    """Continue a real-time signal by linear prediction.

    Parameters
    ----------
    signal : (n_t, m, m) complex128
        Equidistant times; the second half is what the filter is fitted to.
    n_more : int
        Number of times to add.
    order : int, optional
        Length of the filter, a third of the times by default.
    ridge : float
        Tikhonov regularisation relative to the largest eigenvalue.

    Returns
    -------
    (n_t + n_more, m, m) complex128
    """
    n_t = len(signal)
    order = order or n_t // 3
    if not 1 <= order < n_t // 2:
        raise InvalidProblemError(f"linear prediction of {n_t} times needs 1 <= order < {n_t // 2}")
    flat = np.asarray(signal, dtype=np.complex128).reshape(n_t, -1)
    targets = np.arange(max(order, n_t // 4), n_t)
    past = flat[targets[:, None] - np.arange(1, order + 1)]  # (target, order, component)
    rows = past.transpose(0, 2, 1).reshape(-1, order)
    gram = rows.conj().T @ rows
    gram += ridge * np.trace(gram).real / order * np.eye(order)
    filt = cho_solve(cho_factor(gram), rows.conj().T @ flat[targets].reshape(-1))
    roots = np.roots(np.concatenate([[1.0], -filt]))
    roots = np.where(np.abs(roots) > 1, 1 / roots.conj(), roots)  # no growing solution
    filt = -np.poly(roots)[1:]
    out = np.concatenate([flat, np.zeros((n_more, flat.shape[1]), complex)])
    for t in range(n_t, n_t + n_more):
        out[t] = filt @ out[t - 1 : t - order - 1 : -1]
    return out.reshape(-1, *signal.shape[1:])


def frequency_cells(w_max: float, smallest: float = 1e-3, ratio: float = 0.02) -> np.ndarray:
    """Edges of cells of width ``smallest + ratio |w|`` from -w_max to w_max, symmetric, with 0."""
    n = int(np.ceil(np.log1p(w_max * ratio / smallest) / ratio))
    positive = smallest / ratio * np.expm1(ratio * np.arange(n + 1))
    return np.concatenate([-positive[:0:-1], positive])


def cell_weights(terms: ExponentialSum, edges: np.ndarray) -> np.ndarray:
    """(n_cells, m, m) ``integral_cell -Im sum_k c_k/(w - e_k) dw / pi``, exactly."""
    e = terms.energies.real + 1j * np.minimum(terms.energies.imag, -1e-12)
    log = np.log(edges[:, None] - e)
    return -np.tensordot(np.diff(log, axis=0), terms.residues, 1).imag / np.pi


def transformed_weights(t: np.ndarray, signal: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Cell weights ``integral_cell (1/pi) Re integral_0 C(t) exp(iwt) dt`` of a decayed signal.

    Parameters
    ----------
    t : (n_t,) float64, equidistant from 0
    signal : (n_t, m, m) complex128
        Already multiplied by a window, so that it ends at zero; trapezoidal rule.
    """
    centres = 0.5 * (edges[1:] + edges[:-1])
    weights = np.full(t.size, t[1] - t[0])
    weights[0] *= 0.5
    phases = np.exp(1j * np.multiply.outer(centres, t)) * weights
    phases *= np.sinc(np.multiply.outer(np.diff(edges), t) / (2 * np.pi))  # mean over the cell
    curve = np.tensordot(phases, signal, 1).real / np.pi
    curve[np.abs(centres) > np.pi / (t[1] - t[0])] = 0.0  # periodic images
    return curve * np.diff(edges)[:, None, None]


@dataclass(frozen=True, eq=False)
class SpectralAnalysis:
    """How a solver in time turns signals into poles.

    Parameters
    ----------
    method : {"esprit", "linear_prediction", "fourier"}
    tolerance : float
        Of the exponential fit, see `fit_exponentials`.
    w_max : float, in D
        Spectra live within +- w_max; weight outside goes to the outermost cells.
    """

    method: str = "esprit"
    tolerance: float = 1e-4
    w_max: float = 30.0

    def __post_init__(self):
        if self.method not in METHODS:
            raise InvalidProblemError(
                f"spectral method '{self.method}' is unknown; use {', '.join(METHODS)}"
            )

    def poles(
        self, addition: np.ndarray, removal: np.ndarray, dt: float, angle: float = 0.0,
        sum_rule: np.ndarray | None = None,
    ) -> tuple[ResponsePoles, dict]:  # fmt: skip
        """Poles of the signals and what to know about them.

        Parameters
        ----------
        addition, removal : (n_t, m, m) complex128
            ``<gs| O_a exp(-i(H - E0) z) O_b^+ |gs>`` and ``<gs| O_b^+ exp(..) O_a |gs>``; m = 1
            (d alone) or 2 (d, q).
        angle : float
            Of the straight contour; must be 0 for the methods that need real time.
        sum_rule : (m, m) float64, optional
            Exact ``<{O_a, O_b^+}>``: the weights are rescaled to it.

        Returns
        -------
        poles : ResponsePoles
        diagnostics : dict
            ``clipped``: negative weight removed, relative; ``sum_rule_error``: relative correction;
            ``fit_residual``, ``n_exponentials``: of the exponential fit.
        """
        if angle and self.method != "esprit":
            raise InvalidProblemError(
                f"spectral method '{self.method}' needs real time, the contour has the angle "
                f"{angle}; use esprit, or reconstruct the signal first"
            )
        edges = frequency_cells(self.w_max)
        centres = 0.5 * (edges[1:] + edges[:-1])
        info: dict = {}
        if self.method == "esprit":
            at, weights, info = self._exponentials(addition, removal, dt, angle, edges)
        else:
            total = np.asarray(addition) + np.asarray(removal).conj()
            n_t = len(total)
            if self.method == "linear_prediction":
                total = predict_linearly(total, 9 * n_t)
            t = dt * np.arange(len(total))
            window = np.cos(0.5 * np.pi * t / (t[-1] + dt)) ** 2
            weights = transformed_weights(t, total * window[:, None, None], edges)
            at = centres
        poles, info["clipped"], info["sum_rule_error"] = positive_poles(at, weights, sum_rule)
        return poles, info

    def _exponentials(self, addition, removal, dt: float, angle: float, edges: np.ndarray):
        """Energies, weights and diagnostics by exponential fit and positive refit.

        Too many exponentials turn noise into large residues that cancel, which shows in a refit
        that does not come back to the signals: then the fit is made with fewer.
        """
        frame = frame_of((addition[0] + removal[0]).real)
        inverse = np.linalg.inv(frame)
        signals = [inverse @ part @ inverse.T for part in (addition, removal)]
        z = dt * np.arange(len(addition)) * np.exp(-1j * angle)
        best: tuple = ()
        for factor in COARSER:
            parts = [fit_exponentials(s, dt, angle, factor * self.tolerance) for s in signals]
            info = {"fit_residual": max(part.residual for part in parts)}
            info["n_exponentials"] = sum(part.energies.size for part in parts)
            parts[1] = parts[1].mirrored()
            energies = np.concatenate([part.energies for part in parts])
            residues = np.concatenate([part.residues for part in parts])
            positive = edges[edges >= 0]
            width = np.interp(np.abs(energies.real), positive[:-1], np.diff(positive))
            sharp = (-energies.imag < 0.5 * width) & (np.abs(energies.real) < self.w_max)
            smooth = cell_weights(ExponentialSum(energies[~sharp], residues[~sharp]), edges)
            at = np.concatenate([0.5 * (edges[1:] + edges[:-1]), energies[sharp].real])
            weights, info["refit_residual"] = refitted(
                at,
                np.concatenate([smooth, residues[sharp].real]),
                signals,
                z,
                REFIT_TOLERANCE * factor * self.tolerance,
            )
            if not best or info["refit_residual"] < best[2]["refit_residual"]:
                best = at, frame @ weights @ frame.T, info
            if info["refit_residual"] < REFIT_TOLERANCE * self.tolerance:
                break
        return best
