"""Wilson chain: logarithmic discretisation of any hybridization spectrum.

Method
    On either side of zero the edges are ``W, W Lambda^-z, W Lambda^-(1+z), ...``, with W the end of
    the window there (`dmftnet.physics.bath.edges`); z = 1 is Wilson's choice, others interleave.
    An interval becomes one level with its weight at its centroid, down to energies far below the
    last site's. Lanczos from the impurity makes a chain of them, whose hoppings fall as
    ``Lambda^(-n/2)``; it is cut after `n_bath` sites. Its energies span more digits than a float
    holds: the recursion runs in decimal arithmetic.
Range
    Orbitals that do not mix, Lambda from 1.1 to 100, z in (0, 1]. A gap ends the chain where its
    levels do, and no spectator site stands in it: for insulators use `Intervals`.
Cost
    Half a second for 40 sites at Lambda = 2, ten for 120.
Otherwise
    Levels at all energies alike: `dmftnet.physics.bath.intervals`.

References
    K. G. Wilson, RMP 47, 773 (1975); M. Yoshida, M. A. Whitaker, L. N. Oliveira, PRB 41, 9403
    (1990); R. Bulla, T. A. Costi, T. Pruschke, RMP 80, 395 (2008).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Context, Decimal, localcontext
from math import ceil, log, log10

import numpy as np
from scipy.linalg import eigh_tridiagonal

from dmftnet import checks
from dmftnet.errors import InvalidProblemError
from dmftnet.physics.bath.chains import ChainBath
from dmftnet.physics.bath.edges import weight_window
from dmftnet.physics.bath.protocol import DiscreteBath, required
from dmftnet.physics.bath.star import StarBath
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.hybridization import Hybridization
from dmftnet.physics.impurity.spectral_hybridization import SpectralHybridization

MAX_SITES = 120
"""Of a chain; its last hopping is below what a float tells from zero, unless Lambda is near 1."""

BELOW = 1e-20
"""Energy of the last interval, over that of the last site."""

SPARE_DIGITS = 40


@dataclass(frozen=True)
class Wilson:
    """A Wilson chain.

    Parameters
    ----------
    n_bath : int or None
        Sites; None: the solver decides.
    Lambda : float
        Ratio of an interval's edges.
    z : float in (0, 1]
        Where they lie; 1 is Wilson's choice.
    window_quantile : float
        See `dmftnet.physics.bath.edges`.

    Raises
    ------
    SettingError
        If an argument is of the wrong type or out of its limits.
    """

    n_bath: int | None = None
    Lambda: float = 2.0
    z: float = 1.0
    window_quantile: float = 0.999

    def __post_init__(self):
        key = "solver.bath"
        if self.n_bath is not None:
            n_bath = checks.integer(f"{key}.n_bath", self.n_bath, at_least=2, at_most=MAX_SITES)
            object.__setattr__(self, "n_bath", n_bath)
        limits: dict[str, dict[str, float]] = {
            "Lambda": {"at_least": 1.1, "at_most": 100},
            "z": {"above": 0, "at_most": 1},
            "window_quantile": {"above": 0, "at_most": 1},
        }
        for name, limit in limits.items():
            value = checks.number(f"{key}.{name}", getattr(self, name), **limit)
            object.__setattr__(self, name, value)

    def shifted(self, shift: float) -> Wilson:
        """The same chain with z lower by a fraction of one, modulo 1: edges moved outward."""
        z = (self.z - shift) % 1.0
        return replace(self, z=z if z > 0 else 1.0)

    @property
    def sites(self) -> int:
        """`n_bath`, a SettingError if it is left open."""
        return required("solver.bath.n_bath", self.n_bath, at_least=2)

    def levels(self, grid: FrequencyGrid, spectrum: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The levels that the chain is made of, all intervals.

        Parameters
        ----------
        grid : FrequencyGrid
        spectrum : (n_w,) float64, in D
            ``-Im Delta / pi >= 0``.

        Returns
        -------
        energies : (n,) float64, in D, rising
        weights : (n,) float64, in D^2
            ``V^2 > 0``; their sum is the spectrum's integral.
        """
        if grid.integrate(spectrum) <= 0:
            raise InvalidProblemError(
                "the hybridization spectrum vanishes everywhere; an isolated atom has no bath to "
                "discretise (use solver=hubbard1 or a small finite hybridization)"
            )
        n_side = ceil(self.sites / 2 - log(BELOW) / log(self.Lambda))
        powers = np.concatenate([[0.0], self.z + np.arange(n_side)])
        low, high = weight_window(grid, spectrum, self.window_quantile)
        mirror = FrequencyGrid(-grid.omega[::-1])
        up = _side(grid, spectrum, high * self.Lambda**-powers)
        down = _side(mirror, spectrum[::-1], -low * self.Lambda**-powers)
        return np.concatenate([-down[0][::-1], up[0]]), np.concatenate([down[1][::-1], up[1]])

    def chain(self, grid: FrequencyGrid, spectrum: np.ndarray) -> ChainBath:
        """The Wilson chain of one orbital; see `levels`."""
        energies, weights = self.levels(grid, spectrum)
        digits = SPARE_DIGITS + ceil(self.sites * log10(self.Lambda))
        return tridiagonal(energies, weights, self.sites, digits)

    def star(self, grid: FrequencyGrid, spectrum: np.ndarray) -> StarBath:
        """The chain's eigenstates as levels, to the absolute accuracy of floats; see `levels`."""
        chain = self.chain(grid, spectrum)
        energies, states = eigh_tridiagonal(chain.onsite, chain.hoppings[1:])
        return StarBath(energies, chain.hoppings[0] * np.abs(states[0]))

    def discretise(self, hybridization: Hybridization) -> DiscreteBath:
        """See `Discretisation`; a spectrum on the real axis, of orbitals that do not mix."""
        if not isinstance(hybridization, SpectralHybridization):
            raise InvalidProblemError(
                f"a Wilson chain discretises a spectrum, not a {type(hybridization).__name__}; "
                "give the hybridization as a spectrum, or fit values at Matsubara frequencies "
                "(MatsubaraFit)"
            )
        if not hybridization.is_diagonal:
            raise InvalidProblemError(
                "a Wilson chain takes orbitals that do not mix; use intervals of the real axis "
                "(conf/bath/intervals.yaml)"
            )
        grid = hybridization.grid
        return DiscreteBath.of_stars(
            [self.star(grid, orbital) for orbital in hybridization.spectrum]
        )


def tridiagonal(energies: np.ndarray, weights: np.ndarray, n_sites: int, digits: int) -> ChainBath:
    """Chain of levels by Lanczos in decimal arithmetic.

    Parameters
    ----------
    energies, weights : (n,) float64, in D and D^2
        Distinct levels of positive weight.
    n_sites : int
        Of the chain; all levels where there are fewer.
    digits : int
        Of the arithmetic, beyond those between the first and the last hopping. Every vector is
        orthogonalised against all others: the plain recursion would lose ``n^2 log(Lambda) / 4``
        digits.
    """
    with localcontext(Context(prec=digits)):
        e = np.array([Decimal(x) for x in energies.tolist()])
        w = np.array([Decimal(x) for x in weights.tolist()])
        total = w.sum()
        v = np.array([(x / total).sqrt() for x in w])
        onsite: list[Decimal] = []
        hoppings, basis = [total.sqrt()], [v]
        for _ in range(min(n_sites, len(e))):
            image = e * basis[-1]
            onsite.append(image @ basis[-1])
            for other in reversed(basis):
                image = image - (image @ other) * other
            hoppings.append((image @ image).sqrt())
            if len(basis) < len(e):
                basis.append(image / hoppings[-1])
        as_floats = (np.array([float(x) for x in part]) for part in (onsite, hoppings[:-1]))
        return ChainBath(*as_floats)


def _side(
    grid: FrequencyGrid, spectrum: np.ndarray, edges: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Centroids, rising, and weights between falling positive edges, to relative accuracy.

    The outermost interval reaches to the grid's end, the innermost to zero. Every term of the sums
    is positive, so that small weights near zero are no differences of large ones.
    """
    cuts = np.concatenate([[0.0], edges[-2:0:-1], [grid.omega[-1]]])
    nodes = np.unique(np.concatenate([grid.omega[grid.omega > 0], cuts]))
    nodes = nodes[nodes <= cuts[-1]]
    f = grid.interpolate(spectrum, nodes)
    x0, x1, f0, f1 = nodes[:-1], nodes[1:], f[:-1], f[1:]
    first = np.searchsorted(nodes, cuts[:-1])
    weight = np.add.reduceat((x1 - x0) * (f0 + f1) / 2, first)
    moment = np.add.reduceat((x1 - x0) * (f0 * (2 * x0 + x1) + f1 * (x0 + 2 * x1)) / 6, first)
    there = weight > 0
    return moment[there] / weight[there], weight[there]
