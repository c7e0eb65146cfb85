"""Bath levels from a hybridization spectrum: one an interval of the real axis.

Interval k becomes one bath site with ``V_k^2 = integral_k Gamma`` and ``eps_k`` its centroid,
``Gamma = -Im Delta/pi``. Of orbitals that mix, the integrated matrix of an interval,
``M_k = integral_k Gamma``, gives one level for each positive eigenvalue,
``V = sqrt(lambda) u`` and ``eps = u^+ (integral_k E Gamma) u / lambda``. What bath levels can keep
of the weight is kept (`dmftnet.physics.bath.edges`).

Range: spectra on the real axis. Of values at Matsubara frequencies few levels reach far more when
they are fitted: `dmftnet.physics.bath.fit`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from dmftnet import checks
from dmftnet.errors import InvalidProblemError, SettingError
from dmftnet.physics.bath.edges import SPACINGS, interval_edges, interval_integrals, weight_window
from dmftnet.physics.bath.protocol import DiscreteBath, phased, required
from dmftnet.physics.bath.star import SPECTATOR_COUPLING, StarBath
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.hybridization import Hybridization
from dmftnet.physics.impurity.pole_hybridization import PoleHybridization
from dmftnet.physics.impurity.spectral_hybridization import SpectralHybridization

MAX_SITES = 10**6
"""No solver's one-body matrix fits into a machine long before."""

# An interval with less than this fraction of an orbital's weight gives no site.
NEGLIGIBLE = 1e-6

# A central interval with less counts as a gap: a resonance pinned at its metallic height would be
# over ten times narrower than the interval, far below what the bath resolves. Without this, traces
# of weight at zero would grow in a DMFT loop and turn every Mott insulator into a metal.
GAPPED = 1e-4

# Eigenvalues closer than this, over the largest, are one: the first moments choose the vectors.
DEGENERATE = 1e-9


@dataclass(frozen=True)
class Intervals:
    """One bath site an interval of the real axis.

    Parameters
    ----------
    n_bath : int or None
        Number of intervals; empty ones give no site, except the one around zero. Odd for a
        half-filled insulator, so that one of them sits in the gap. None: the solver decides.
    spacing : {"equal", "sinh", "geometric"}
    stretch : float
    window_quantile : float
    shift : float in [0, 1)
        See `dmftnet.physics.bath.edges`.

    Raises
    ------
    SettingError
        If an argument is of the wrong type or out of its limits.
    """

    n_bath: int | None = 59
    spacing: str = "sinh"
    stretch: float = 4.5
    window_quantile: float = 0.999
    shift: float = 0.0

    def __post_init__(self):
        key = "solver.bath"
        if self.spacing not in SPACINGS:
            raise SettingError(
                f"{key}.spacing = {checks.shown(self.spacing)} is unknown; use equal, sinh or "
                "geometric"
            )
        if self.n_bath is not None:
            n_bath = checks.integer(f"{key}.n_bath", self.n_bath, at_least=2, at_most=MAX_SITES)
            object.__setattr__(self, "n_bath", n_bath)
        limits = {
            "stretch": {"above": 0, "at_most": 50},
            "window_quantile": {"above": 0, "at_most": 1},
            "shift": {"at_least": 0, "below": 1},
        }
        for name, limit in limits.items():
            value = checks.number(f"{key}.{name}", getattr(self, name), **limit)
            object.__setattr__(self, name, value)

    def shifted(self, shift: float) -> Intervals:
        """The same intervals, their edges moved outward by a further fraction of one, modulo 1."""
        return replace(self, shift=(self.shift + shift) % 1.0)

    @property
    def sites(self) -> int:
        """`n_bath`, a SettingError if it is left open."""
        return required("solver.bath.n_bath", self.n_bath, at_least=2)

    def edges(self, grid: FrequencyGrid, spectrum: np.ndarray) -> np.ndarray:
        """(n_bath + 1,) edges for a spectrum, in D.

        Raises
        ------
        InvalidProblemError
            If the spectrum vanishes.
        SettingError
            If the number of intervals is left open.
        """
        n_bath = self.sites
        if grid.integrate(spectrum) <= 0:
            raise InvalidProblemError(
                "the hybridization spectrum vanishes everywhere; an isolated atom has no bath to "
                "discretise (use solver=hubbard1 or a small finite hybridization)"
            )
        window = weight_window(grid, spectrum, self.window_quantile)
        return interval_edges(n_bath, window, self.spacing, self.stretch, self.shift)

    def star(self, grid: FrequencyGrid, spectrum: np.ndarray) -> StarBath:
        """The bath of one orbital.

        Parameters
        ----------
        grid : FrequencyGrid
        spectrum : (n_w,) float64, in D
            ``-Im Delta / pi >= 0``.

        Returns
        -------
        StarBath
            ``sum V_k^2`` equals the spectrum's integral (up to the spectator in a gap, and to what
            is dropped as `NEGLIGIBLE`).
        """
        edges = self.edges(grid, spectrum)
        total, centre = grid.integrate(spectrum), _around_zero(edges)
        weight, first = interval_integrals(grid, spectrum, edges)
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

    def discretise(self, hybridization: Hybridization) -> DiscreteBath:
        """See `Discretisation`; a spectrum on the real axis alone."""
        if not isinstance(hybridization, SpectralHybridization):
            raise InvalidProblemError(
                f"intervals of the real axis discretise a spectrum, not a "
                f"{type(hybridization).__name__}; give the hybridization as a spectrum, or fit "
                "values at Matsubara frequencies (MatsubaraFit)"
            )
        grid, spectrum = hybridization.grid, hybridization.spectrum
        if hybridization.is_diagonal:
            return DiscreteBath.of_stars([self.star(grid, orbital) for orbital in spectrum])
        return self._of_matrix(grid, spectrum)

    def _of_matrix(self, grid: FrequencyGrid, spectrum: np.ndarray) -> DiscreteBath:
        """Levels of a (n_orb, n_orb, n_w) spectrum; the edges are those of its trace."""
        trace = np.einsum("aaw->w", spectrum).real
        edges = self.edges(grid, trace)
        each, centre = grid.integrate(trace) / len(spectrum), _around_zero(edges)
        energies, couplings, spectators = [], [], []
        for k, (weight, first) in enumerate(
            zip(*_matrix_integrals(grid, spectrum, edges), strict=True)
        ):
            values, vectors, moments = _levels(weight, first)
            keep = values >= (GAPPED if k == centre else NEGLIGIBLE) * each
            energies += (moments[keep] / values[keep]).tolist()
            couplings += list((np.sqrt(values[keep]) * vectors[:, keep]).T)
            if k == centre and not keep.all():
                gapped = vectors[:, ~keep] if keep.any() else np.eye(len(spectrum))
                spectators = list(range(len(energies), len(energies) + gapped.shape[1]))
                energies += [0.0] * gapped.shape[1]
                couplings += list(SPECTATOR_COUPLING * gapped.T)
        levels = PoleHybridization(np.array(energies), phased(np.array(couplings)))
        return DiscreteBath(levels, spectators=tuple(spectators))


def _around_zero(edges: np.ndarray) -> int:
    """Index of the interval that holds zero energy."""
    return int(np.searchsorted(edges, 0.0, side="right")) - 1


def _matrix_integrals(
    grid: FrequencyGrid, spectrum: np.ndarray, edges: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(n, n_orb, n_orb) weights and first moments, Hermitian, real where the spectrum is."""
    n_orb, is_complex = len(spectrum), bool(np.any(np.imag(spectrum) != 0))
    both = np.zeros((2, edges.size - 1, n_orb, n_orb), dtype=complex if is_complex else float)
    for a in range(n_orb):
        for b in range(a + 1):
            lower = np.stack(interval_integrals(grid, spectrum[a, b].real, edges))
            if is_complex and a != b:
                lower = lower + 1j * np.stack(interval_integrals(grid, spectrum[a, b].imag, edges))
            both[..., a, b] = lower
            both[..., b, a] = lower.conj()
    return both[0], both[1]


def _levels(weight: np.ndarray, first: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Eigenvalues and vectors (columns) of an interval's weight, first moments along them.

    Where eigenvalues coincide the vectors are those that make the first moment diagonal: any others
    would depend on the basis of the orbitals.
    """
    values, vectors = np.linalg.eigh(weight)
    groups = np.cumsum(np.diff(values, prepend=values[:1]) > DEGENERATE * np.abs(values).max())
    for group in np.unique(groups):
        own = groups == group
        if own.sum() > 1:
            inside = vectors[:, own].conj().T @ first @ vectors[:, own]
            vectors[:, own] = vectors[:, own] @ np.linalg.eigh(inside)[1]
    moments = np.einsum("ai,ab,bi->i", vectors.conj(), first, vectors).real
    return values, vectors, moments
