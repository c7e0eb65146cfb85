"""Complex-time calculus of a spectrum on a grid: rotation, angle derivative, reconstruction.

Evolution along ``z = t exp(-i alpha)`` (greater part; the lesser part along the mirrored contour)
damps the signal and rotates every pole, ``E -> E exp(-i alpha sign E)``. On the spectrum this is
the linear map ``A(., alpha) = K_alpha A(., 0)`` with

``K_alpha(w, E) = (1/pi) |E| sin(alpha) / [(w - E cos(alpha))^2 + (E sin(alpha))^2]``,

a broadening by about ``alpha |w|``. Here ``K_alpha`` acts on the piecewise-linear curve of a
`FrequencyGrid` and is integrated over each cell with its primitive, because near zero frequency it
is sharper than any grid. Cost O(n_w^2) a matrix.

References: Cao, Lu, Stoudenmire, Parcollet, arXiv:2311.10909 (complex time);
Deng, Lu, Cao, Zhong, arXiv:2511.14505 (the derivative in the angle as a training signal).
"""

from __future__ import annotations

import numpy as np

from dmftnet.errors import ConvergenceError, InvalidProblemError
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.solvers.compiled import compiled

MAX_SCALINGS = 100
BALANCE_TOLERANCE = 1e-8  # of the norm that smoothing keeps
NEGLIGIBLE = 1e-18  # of a kernel's largest element


def rotation_kernel(
    source: FrequencyGrid, angle: float, target: FrequencyGrid | None = None
) -> np.ndarray:
    """Matrix of the rotation from the real axis to the contour at `angle`.

    Parameters
    ----------
    source : FrequencyGrid
        Grid of the real-axis spectrum.
    angle : float, in radians
        ``0 <= angle < pi/2``; at 0 the matrix interpolates from source to target.
    target : FrequencyGrid, optional
        Grid of the rotated spectrum; the source by default.

    Returns
    -------
    (n_target, n_source) float64
    """
    return _hat_integrals(source, angle, target or source)[0]


def rotation_kernel_derivative(
    source: FrequencyGrid, angle: float, target: FrequencyGrid | None = None
) -> np.ndarray:
    """``dK_alpha/dalpha`` at ``angle > 0``; (n_target, n_source) float64."""
    if angle == 0:
        raise InvalidProblemError(
            "the rotation kernel has no angle derivative on a grid at angle 0; use an angle > 0"
        )
    return _hat_integrals(source, angle, target or source)[1]


def _hat_integrals(source: FrequencyGrid, angle: float, target: FrequencyGrid):
    """K and dK/dalpha acting on the values of the piecewise-linear source curve."""
    if not 0 <= angle < np.pi / 2:
        raise InvalidProblemError(f"angle = {angle}: a contour angle needs 0 <= angle < pi/2")
    if angle == 0:
        return source.interpolate(np.eye(source.n_w), target.omega).T, None
    nodes, to_nodes = _split_at_zero(source)
    h = np.diff(nodes)
    sign = np.sign(nodes[:-1] + nodes[1:])
    lam = np.exp(-1j * angle * sign)
    dlam = -1j * sign * lam
    w = target.omega[:, None]
    v_left, v_right = w - lam * nodes[:-1], w - lam * nodes[1:]
    # a rotated pole lies below the real axis for either sign, so w - lam E stays above it; only
    # the node at zero touches w = 0, which is no point of a grid without a zero
    with np.errstate(divide="ignore", invalid="ignore"):
        log = (np.log(v_left) - np.log(v_right)) / lam  # integral dE / (w - lam E)
        first = (w * log - h) / lam  # integral E dE / (w - lam E)
        dlog = (nodes[1:] / v_right - nodes[:-1] / v_left - log) * dlam / lam
        dfirst = (w * dlog - first * dlam) / lam
    rising = (first - nodes[:-1] * log) / h
    falling = (nodes[1:] * log - first) / h
    drising = (dfirst - nodes[:-1] * dlog) / h
    dfalling = (nodes[1:] * dlog - dfirst) / h
    return tuple(
        -_assemble(fall, rise).imag / np.pi @ to_nodes
        for fall, rise in ((falling, rising), (dfalling, drising))
    )


def _assemble(falling: np.ndarray, rising: np.ndarray) -> np.ndarray:
    matrix = np.zeros((falling.shape[0], falling.shape[1] + 1), dtype=np.complex128)
    matrix[:, :-1] += falling
    matrix[:, 1:] += rising
    return matrix


def _split_at_zero(grid: FrequencyGrid):
    """Nodes with zero among them, and the matrix from grid values to node values."""
    if np.any(grid.omega == 0):
        raise InvalidProblemError(
            "the rotation needs a grid without a point at zero frequency, where the kernel is "
            "singular; use FrequencyGrid.geometric or shift the grid by half a cell"
        )
    nodes = (
        np.sort(np.append(grid.omega, 0.0)) if grid.omega[0] < 0 < grid.omega[-1] else grid.omega
    )
    return nodes, grid.interpolate(np.eye(grid.n_w), nodes).T


def smoothing_kernel(
    source: FrequencyGrid, eta: float, slope: float, target: FrequencyGrid | None = None
) -> np.ndarray:
    """Gaussian resolution of width ``eta + slope |E|`` as a matrix (n_target, n_source).

    On the source grid the kernel is a symmetric Gaussian, of width ``eta + slope (|w| + |E|)/2``,
    balanced so that it keeps the norm of every spectrum and a constant one too: a flat metal keeps
    its A(0). (A width that depends on E alone would raise it by a factor of about
    ``1 + 0.8 slope``.) Another target then reads the smoothed curve off at its points, which keeps
    norms to 1 % where the points are closer than 1.5 widths.

    Raises
    ------
    ConvergenceError
        If the balancing does not end: widths of the order of the frequency itself.
    """
    target = target or source
    w = source.omega
    width = eta + 0.5 * slope * (np.abs(w)[:, None] + np.abs(w)[None, :])
    shape = np.exp(-0.5 * ((w[:, None] - w[None, :]) / width) ** 2)
    balance = np.ones(source.n_w)
    for _ in range(MAX_SCALINGS):  # symmetric Sinkhorn scaling: rows and columns integrate to one
        before = balance
        balance = np.sqrt(balance / (shape @ (source.weights * balance)))
        if np.allclose(balance, before, rtol=1e-13, atol=0):
            break
    error = float(np.abs(balance * (shape @ (source.weights * balance)) - 1).max())
    if not error <= BALANCE_TOLERANCE:
        raise ConvergenceError(
            f"Gaussian resolution eta = {eta:g}, slope = {slope:g} on {source.n_w} frequencies: "
            f"the kernel's norm is off by {error:.1e} after {MAX_SCALINGS} scalings, the limit is "
            f"{BALANCE_TOLERANCE:g}; use a smaller slope (below 0.5) or a finer grid"
        )
    smooth = balance[:, None] * shape * (balance * source.weights)[None, :]
    return smooth if target == source else source.interpolate(smooth.T, target.omega).T


class Banded:
    """A kernel as a product with curves, without what is `NEGLIGIBLE`.

    Gaussians are far narrower than the window: of each source a few neighbouring targets are kept.

    Parameters
    ----------
    kernel : (n_target, n_source) float64
    """

    def __init__(self, kernel: np.ndarray):
        kept = np.abs(kernel) > NEGLIGIBLE * np.abs(kernel).max()
        self.n_target = len(kernel)
        self.first = kept.argmax(axis=0)
        ends = np.where(kept.any(axis=0), self.n_target - kept[::-1].argmax(axis=0), 0)
        spans = [slice(*span) for span in zip(self.first, ends, strict=True)]
        values = [column[span] for column, span in zip(kernel.T, spans, strict=True)]
        self.start = np.cumsum([0] + [part.size for part in values])
        self.values = np.concatenate(values)

    def __call__(self, curves: np.ndarray) -> np.ndarray:
        """(R, n_source) float64 -> (R, n_target)."""
        out = np.zeros((len(curves), self.n_target))
        _spread(curves, self.first, self.start, self.values, out)
        return out


@compiled
def _spread(curves, first, start, values, out):
    for r in range(curves.shape[0]):
        row = out[r]
        for k in range(first.size):
            value, target = curves[r, k], row[first[k] :]
            column = values[start[k] : start[k + 1]]
            for i in range(column.size):
                target[i] += value * column[i]
