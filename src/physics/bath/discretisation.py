"""From a hybridization spectrum to a discrete bath in star form.

Discretisation cuts the frequency axis into intervals; interval k becomes one bath site with
``V_k^2 = integral_k Gamma`` and ``eps_k`` its centroid, ``Gamma = -Im Delta/pi``. The edges are
equal, or finer near zero (sinh, geometric), where a Kondo resonance needs them. The window
follows the bulk of the hybridization's weight on either side of zero; what lies beyond it goes to
the outermost interval, so the total weight is kept exactly.

Other forms of the same bath: `dmftnet.physics.bath.chains`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dmftnet.errors import InvalidProblemError
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.poles import PoleSpectrum

SPACINGS = ("equal", "sinh", "geometric")

# A site in a gap carries no weight, yet fixes the particle number of a local moment: this
# "spectator" sits at zero energy with this coupling (in D), far below any weight that matters.
SPECTATOR_COUPLING = 1e-4

# An interval with less than this fraction of the weight gives no site.
NEGLIGIBLE = 1e-6

# A central interval with less counts as a gap: a resonance pinned at its metallic height would be
# over ten times narrower than the interval, far below what the bath resolves. Without this, traces
# of weight at zero would grow in a DMFT loop and turn every Mott insulator into a metal.
GAPPED = 1e-4


@dataclass(frozen=True, eq=False)
class StarBath:
    """Bath sites coupled to the impurity alone.

    Parameters
    ----------
    energies : (n_bath,) float64, in D
    couplings : (n_bath,) float64, in D
        ``V_k >= 0``.
    spectator : bool
        Whether one site stands in a gap at zero energy, there only to fix the particle number.
    """

    energies: np.ndarray
    couplings: np.ndarray
    spectator: bool = False

    @property
    def n_bath(self) -> int:
        """Number of bath sites."""
        return self.energies.size

    @property
    def is_symmetric(self) -> bool:
        """Whether particle-hole exchange maps the bath onto itself; a shifted one it does not."""
        order = np.argsort(self.energies)
        e, v = self.energies[order], self.couplings[order]
        return bool(np.allclose(e, -e[::-1], atol=1e-9) and np.allclose(v, v[::-1], atol=1e-9))

    def one_body(self, eps_d: float) -> np.ndarray:
        """(n_bath + 1, n_bath + 1) one-body matrix, the impurity first."""
        h = np.diag(np.concatenate([[eps_d], self.energies]))
        h[0, 1:] = h[1:, 0] = self.couplings
        return h

    def hybridization_function(self, z: np.ndarray) -> np.ndarray:
        """``Delta(z) = sum_k V_k^2 / (z - eps_k)`` at complex z; same shape."""
        z = np.asarray(z)
        return (self.couplings**2 / (z[..., None] - self.energies)).sum(axis=-1)

    def gaussian_hybridization(self, omega: np.ndarray, eta: float, slope: float) -> np.ndarray:
        """(n_w,) retarded Delta, each site a Gaussian of width ``eta + slope |E|``, in D."""
        return PoleSpectrum(self.energies, self.couplings**2).gaussian_greens(omega, eta, slope)


def interval_edges(
    n_bath: int,
    window: tuple[float, float],
    spacing: str = "sinh",
    stretch: float = 4.5,
    shift: float = 0.0,
) -> np.ndarray:
    """Edges of the bath intervals.

    Parameters
    ----------
    n_bath : int
    window : (low, high) float, in D
        ``low < 0 < high``.
    spacing : {"equal", "sinh", "geometric"}
    stretch : float
        For "sinh" the argument at the window's end, ``w = W sinh(stretch x) / sinh(stretch)``; for
        "geometric" the natural logarithm of the ratio of the largest to the smallest edge.
    shift : float in [0, 1)
        Moves the edges outward on either side of zero, at the window's ends by this fraction of an
        interval, so that baths of several shifts interleave and a symmetric one stays symmetric.

    Returns
    -------
    (n_bath + 1,) float64, in D, increasing
    """
    low, high = window
    if not low < 0 < high:
        raise InvalidProblemError(f"bath window {window} must contain zero in its inside")
    if n_bath < 2:
        raise InvalidProblemError(f"n_bath = {n_bath}: a bath needs at least 2 sites")
    if not 0 <= shift < 1:
        raise InvalidProblemError(f"bath shift = {shift}: it must lie in [0, 1)")
    x, step = 2 * np.arange(n_bath + 1) / n_bath - 1, 2 / n_bath
    if spacing == "equal":
        edges = low + (high - low) * (x + 1) / 2
        factor = 1 + shift * step
    elif spacing in ("sinh", "geometric"):
        side = np.where(x < 0, -low, high)
        if spacing == "sinh":
            shape = np.sinh(stretch * x) / np.sinh(stretch)
            factor = np.sinh(stretch * (1 + shift * step)) / np.sinh(stretch)
        else:
            inner = 1.0 / n_bath  # half an interval: an odd bath has one interval around zero
            shape = np.sign(x) * np.exp(stretch * (np.abs(x) - 1) / (1 - inner))
            shape[np.abs(x) < 1e-12] = 0.0
            factor = np.exp(stretch * shift * step / (1 - inner))
        edges = side * shape
    else:
        raise InvalidProblemError(
            f"bath spacing '{spacing}' is unknown; use equal, sinh or geometric"
        )
    edges[0], edges[-1] = low, high
    return factor * edges


def weight_window(
    grid: FrequencyGrid, hybridization: np.ndarray, quantile: float = 0.999
) -> tuple[float, float]:
    """Window that leaves ``(1 - quantile)/2`` of the weight outside on either side of zero.

    Between the points of the grid too: edges that snap to them make a step of every small change,
    and a DMFT loop may cycle over it.
    """
    tail = float(0.5 * (1 - quantile) * grid.integrate(hybridization))
    low = _quantile(grid, hybridization, tail)
    mirror = FrequencyGrid(-grid.omega[::-1])
    high = -_quantile(mirror, hybridization[::-1], tail)  # the same from the right: keeps symmetry
    floor = 0.05 * max(abs(low), abs(high), 1e-3)  # a bath on one side of zero only
    return min(float(low), -floor), max(float(high), floor)


def _quantile(grid: FrequencyGrid, values: np.ndarray, tail: float) -> float:
    """Where the weight below is `tail`; its growth taken linear in the cell."""
    below = grid.cumulative(values, grid.omega)
    k = max(int(np.argmax(below >= tail)), 1)
    share = (tail - below[k - 1]) / max(below[k] - below[k - 1], 1e-300)
    return float(grid.omega[k - 1] + np.clip(share, 0, 1) * (grid.omega[k] - grid.omega[k - 1]))


def discretise(
    grid: FrequencyGrid,
    hybridization: np.ndarray,
    n_bath: int,
    spacing: str = "sinh",
    stretch: float = 4.5,
    shift: float = 0.0,
    quantile: float = 0.999,
) -> StarBath:
    """Discrete bath of a hybridization spectrum.

    Parameters
    ----------
    grid : FrequencyGrid
    hybridization : (n_w,) float64, in D
        ``-Im Delta / pi >= 0``.
    n_bath : int
        Number of intervals; empty ones give no site, except the one around zero.
    spacing, stretch, shift
        See `interval_edges`.
    quantile : float
        See `weight_window`.

    Returns
    -------
    StarBath
        ``sum V_k^2`` equals the spectrum's integral exactly (up to the spectator in a gap).
    """
    total = grid.integrate(hybridization)
    if total <= 0:
        raise InvalidProblemError(
            "the hybridization spectrum vanishes everywhere; an isolated atom has no bath to "
            "discretise (use solver=hubbard1 or a small finite hybridization)"
        )
    edges = interval_edges(
        n_bath, weight_window(grid, hybridization, quantile), spacing, stretch, shift
    )
    centre = int(np.searchsorted(edges, 0.0, side="right")) - 1
    cuts = np.concatenate([[grid.omega[0]], edges[1:-1], [grid.omega[-1]]])
    weight = np.diff(grid.cumulative(hybridization, cuts))
    first = np.diff(_cumulative_first_moment(grid, hybridization, cuts))
    negligible = weight < NEGLIGIBLE * total
    negligible[centre] = weight[centre] < GAPPED * total
    energies = np.where(
        negligible, 0.5 * (edges[1:] + edges[:-1]), first / np.where(negligible, 1.0, weight)
    )
    couplings = np.sqrt(np.maximum(weight, 0.0))
    keep = ~negligible
    if negligible[centre]:
        energies[centre], couplings[centre], keep[centre] = 0.0, SPECTATOR_COUPLING, True
    return StarBath(energies[keep], couplings[keep], bool(negligible[centre]))


def _cumulative_first_moment(grid: FrequencyGrid, values: np.ndarray, at: np.ndarray) -> np.ndarray:
    """``integral_{-inf}^{at} E f(E) dE`` of the piecewise-linear curve, exactly."""
    nodes = np.unique(np.concatenate([grid.omega, at]))
    f = grid.interpolate(values, nodes)
    h, f0, f1, x0 = np.diff(nodes), f[:-1], f[1:], nodes[:-1]
    cell = x0 * h * (f0 + f1) / 2 + h**2 * (f0 / 6 + f1 / 3)
    running = np.concatenate([[0.0], np.cumsum(cell)])
    return running[np.searchsorted(nodes, at)]
