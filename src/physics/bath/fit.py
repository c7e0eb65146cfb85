"""Bath levels fitted to a hybridization at Matsubara frequencies.

Method
    Least squares of ``sum_k V_k V_k^+ / (i w_n - e_k)`` to Delta. With g_n = (w_0/w_n)^weight_power

    ``chi^2 = sum_n g_n |fit - Delta|^2 / (max |Delta|^2 sum_n g_n)``

    over all Matsubara frequencies below w_cut, not the sampling points of the axis, which crowd at
    low energy. (Of more than 400 some stand for their neighbours, and count as many.) Energies
    and couplings are found together by Levenberg and Marquardt's method with an analytic Jacobian,
    from several starts: intervals as wide as the weight, and random levels; the couplings of a
    start are a linear least-squares fit. The best is kept.
Range
    Finite temperature, orbitals that mix or do not. Each level adds minima to chi^2: beyond some
    ten an orbital, or three of orbitals that mix, more starts (``n_starts``) are needed.
Cost
    Tens of milliseconds an orbital; orbitals that mix, about the third power of their number.
Otherwise
    Spectra on the real axis: `dmftnet.physics.bath.intervals`, which needs many levels.

Reference: M. Caffarel, W. Krauth, PRL 72, 1545 (1994).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import OptimizeResult, least_squares, nnls

from dmftnet import checks
from dmftnet.errors import InvalidProblemError
from dmftnet.physics.bath.levels import LevelFit
from dmftnet.physics.bath.protocol import DiscreteBath, phased, required
from dmftnet.physics.bath.star import StarBath
from dmftnet.physics.grids.matsubara import ImaginaryAxis
from dmftnet.physics.impurity.hybridization import Hybridization
from dmftnet.physics.impurity.matsubara_hybridization import MatsubaraHybridization
from dmftnet.physics.impurity.pole_hybridization import PoleHybridization

WARNED = 0.05
"""Residual above which a warning is issued."""

AGREEING = 1e-3
"""Starts that end within this share of the best residual have found the same."""

EQUAL = 1e-10
"""Orbitals whose Delta differs by less, over the largest value, get one fit."""

SYMMETRIC, HERMITIAN = 1e-9, 1e-8
"""Share of the largest value up to which Re Delta, or ``Delta_ab - Delta_ba``, is none."""

NOTHING = 1e-12
"""Largest value of Delta, in D, that is rounding: the impurity is an atom."""

MAX_POINTS = 400
"""Frequencies; more stand for one another."""

MAX_LEVELS = 40
"""An orbital: far more than Delta(iw) can tell apart."""

POLISHED = 4
"""Times max_evaluations for which the best start may go on."""

TOLERANCE = 1e-13
"""Relative change of chi^2 and of the levels that ends a search."""

FAR = 1e6
"""Largest error of a fit, over the largest value of Delta; the starts have errors below one."""

STRETCH = 3.0
"""Of the first start's levels, as in `dmftnet.physics.bath.edges`."""


@dataclass(frozen=True)
class MatsubaraFit:
    """Few bath levels that reproduce Delta(i w_n).

    Parameters
    ----------
    n_bath : int or None
        Levels an orbital. None: the solver decides.
    weight_power : float
        Squared errors count as ``w_n^-weight_power``.
    w_cut : float, in D
        Frequencies below it are fitted, at least four a level.
    n_starts : int
    symmetric : bool
        Particle-hole symmetric levels where the hybridization is: pairs at ``+-e``, and one at zero
        if n_bath is odd.
    seed : int
        Of the random starts; the fit is a function of the values and of it.
    max_evaluations : int
        Of chi^2, in each start; the best goes on for four times as many if it needs to.

    Raises
    ------
    SettingError
        If an argument is of the wrong type or out of its limits.
    """

    n_bath: int | None = 6
    weight_power: float = 1.0
    w_cut: float = 8.0
    n_starts: int = 6
    symmetric: bool = True
    seed: int = 0
    max_evaluations: int = 400

    def __post_init__(self):
        key = "solver.fit"
        values = {
            "weight_power": checks.number(
                f"{key}.weight_power", self.weight_power, at_least=0, at_most=10
            ),
            "w_cut": checks.number(f"{key}.w_cut", self.w_cut, above=0, at_most=1e4),
            "n_starts": checks.integer(f"{key}.n_starts", self.n_starts, at_least=1, at_most=1000),
            "symmetric": checks.flag(f"{key}.symmetric", self.symmetric),
            "seed": checks.seed(f"{key}.seed", self.seed),
            "max_evaluations": checks.integer(
                f"{key}.max_evaluations", self.max_evaluations, at_least=1, at_most=10**6
            ),
        }
        if self.n_bath is not None:
            values["n_bath"] = checks.integer(
                f"{key}.n_bath", self.n_bath, at_least=1, at_most=MAX_LEVELS
            )
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property
    def sites(self) -> int:
        """`n_bath`, a SettingError if it is left open."""
        return required("solver.fit.n_bath", self.n_bath, at_least=1)

    def discretise(self, hybridization: Hybridization) -> DiscreteBath:
        """See `Discretisation`; values at Matsubara frequencies alone.

        Returns
        -------
        DiscreteBath
            `diagnostics`: ``fit_residual``, chi, the root mean square of the weighted errors over
            the largest value of Delta; ``fit_starts``, how many starts found the best fit;
            ``warning``, where the residual is above 5 %. Of orbitals fitted apart the worst.
        """
        if not isinstance(hybridization, MatsubaraHybridization):
            raise InvalidProblemError(
                f"bath levels are fitted to values at Matsubara frequencies, not to a "
                f"{type(hybridization).__name__}; take hybridization.at_axis(...) of a spectrum, "
                "or discretise it (Intervals)"
            )
        omega_n, counts = self._frequencies(hybridization.axis.beta)
        values = hybridization.at(1j * omega_n)
        weights = counts * (omega_n[0] / omega_n) ** self.weight_power
        if not hybridization.is_diagonal:
            fitted = self._fit(hybridization.axis, omega_n, values, weights)
            levels = PoleHybridization(fitted.energies, phased(fitted.couplings))
            return DiscreteBath(levels, diagnostics=self._diagnostics([fitted]))
        fits: list[_Fitted] = []
        largest = np.abs(values).max()
        for orbital, row in enumerate(values):
            equal = (
                fits[other]
                for other in range(orbital)
                if np.abs(values[other] - row).max() <= EQUAL * largest
            )
            fits.append(
                next(equal, None)
                or self._fit(hybridization.axis, omega_n, row[None, None, :], weights)
            )
        stars = [StarBath(fit.energies, np.abs(fit.couplings[:, 0])) for fit in fits]
        return DiscreteBath.of_stars(stars, self._diagnostics(fits))

    def _frequencies(self, beta: float) -> tuple[np.ndarray, np.ndarray]:
        """(n,) Matsubara frequencies below w_cut, in D, and how many each stands for."""
        number = max(int((self.w_cut * beta / np.pi + 1) / 2), 4 * self.sites)
        if number <= MAX_POINTS:
            n = np.arange(number)
        else:
            n = np.unique(np.rint(np.geomspace(1, number, MAX_POINTS)).astype(int)) - 1
        ends = np.concatenate([[-0.5], 0.5 * (n[1:] + n[:-1]), [number - 0.5]])
        return (2 * n + 1) * np.pi / beta, np.diff(ends)

    def _diagnostics(self, fits: list[_Fitted]) -> dict:
        residual = max(fit.residual for fit in fits)
        starts = min(fit.agreeing for fit in fits)
        found: dict[str, Any] = {"fit_residual": residual, "fit_starts": starts}
        if residual > WARNED:
            found["warning"] = (
                f"the fit of {self.n_bath} bath levels misses the hybridization by "
                f"{100 * residual:.1f} %, more than {100 * WARNED:g} %; raise solver.fit.n_bath"
            )
        return found

    def _fit(
        self, axis: ImaginaryAxis, omega_n: np.ndarray, values: np.ndarray, weights: np.ndarray
    ) -> _Fitted:
        """The best levels of one (n_orb, n_orb, n) hybridization."""
        size, n_orb = np.abs(values).max(), len(values)
        paired = self.symmetric and bool(np.abs(values.real).max() <= SYMMETRIC * size)
        skew = np.abs(values - values.swapaxes(0, 1)).max()
        moving, zero = divmod(self.sites, 2) if paired else (self.sites, 0)
        problem = LevelFit(
            omega_n, values, weights, axis.w_max, moving * n_orb, zero * n_orb, paired,
            bool(skew > HERMITIAN * size),
        )  # fmt: skip
        if size <= NOTHING:  # no bath at all: levels apart, so that nothing is degenerate
            energies = np.repeat(_spread(self.sites, 0.0, 1.0), n_orb)
            return _Fitted(energies, np.zeros((energies.size, n_orb)), 0.0, self.n_starts)
        fits = [
            _search(problem, start, self.max_evaluations)
            for start in self._starts(problem, np.pi / axis.beta)
        ]
        first = min(range(self.n_starts), key=lambda i: fits[i].cost)
        best = fits[first]
        if best.status == 0:  # on its way still, along a flat valley
            best = fits[first] = _search(problem, best.x, POLISHED * self.max_evaluations)
        residuals = np.sqrt(2 * np.array([fit.cost for fit in fits]))
        agreeing = residuals <= (1 + AGREEING) * residuals.min() + EQUAL
        energies, couplings = problem.levels(best.x)
        order = np.argsort(energies, kind="stable")
        return _Fitted(
            energies[order], couplings[order], float(residuals.min()), int(agreeing.sum())
        )

    def _starts(self, problem: LevelFit, lowest: float) -> Iterator[np.ndarray]:
        """Parameters from which to search: levels evenly spread, and random ones."""
        n_orb, highest = problem.n_orb, problem.omega_n[-1]
        skewed = problem.values.conj().swapaxes(0, 1) - problem.values
        damping = np.einsum("aan,n->n", skewed, problem.omega_n).imag / (2 * n_orb)
        half = float(np.interp(0.5 * damping[-1], damping, problem.omega_n))  # rises with w_n
        tail = np.einsum("aa->", problem.values[:, :, -1]).real / n_orb
        centre = 0.0 if problem.paired else float(-(highest**2) * tail / damping[-1])
        root = _root(highest * skewed[:, :, -1] / (2j * damping[-1]))
        root = root if problem.is_complex else root.real
        widest = 0.9 * problem.w_max
        for start in range(self.n_starts):
            rng = np.random.default_rng([self.seed, start])
            if start == 0:
                spread = _spread(self.sites, centre, 2 * half)
                spread = spread[spread > 1e-12 * half] if problem.paired else spread
                moving = np.repeat(spread, n_orb)
                frames = np.tile(np.eye(n_orb), (problem.n_unknown // n_orb, 1))
            else:
                low, high = np.log([min(lowest, 0.1 * half), 3 * half])
                signs = 1.0 if problem.paired else rng.choice([-1.0, 1.0], problem.n_moving)
                moving = centre + signs * np.exp(rng.uniform(low, high, problem.n_moving))
                frames = rng.normal(size=(problem.n_unknown, n_orb))
                if problem.is_complex:
                    frames = frames + 1j * rng.normal(size=frames.shape)
                frames *= np.sqrt(n_orb) / np.linalg.norm(frames, axis=1)[:, None]
            energies = np.zeros(problem.n_unknown)
            energies[: problem.n_moving] = np.clip(moving, -widest, widest)
            directions = frames @ root.T
            yield problem.pack(energies, _scaled(problem, energies, directions))


def _search(problem: LevelFit, start: np.ndarray, max_evaluations: int) -> OptimizeResult:
    """Down to the nearest minimum.

    Where Delta does not fix all levels, at high temperature, a step may lead anywhere, beyond what
    a float holds too: it is then too far, and a shorter one is tried.
    """

    def residuals(parameters: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore", invalid="ignore"):
            errors = problem.residuals(parameters)
        return np.where(np.abs(errors) < FAR, errors, FAR)

    return least_squares(
        residuals, start, problem.jacobian, method="lm", ftol=TOLERANCE, xtol=TOLERANCE,
        gtol=TOLERANCE, max_nfev=max_evaluations,
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Fitted:
    """Levels of one fit, its chi, and how many starts found it."""

    energies: np.ndarray
    couplings: np.ndarray
    residual: float
    agreeing: int


def _spread(n: int, centre: float, width: float) -> np.ndarray:
    """(n,) energies within `width` of a centre, denser in the middle, symmetric to the last bit."""
    x = np.arange(1 - n, n, 2) / n
    return centre + width * np.sinh(STRETCH * x) / np.sinh(STRETCH)


def _root(matrix: np.ndarray) -> np.ndarray:
    """Square root of a Hermitian positive matrix."""
    eigenvalues, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(np.maximum(eigenvalues, 0.0))) @ vectors.conj().T


def _scaled(problem: LevelFit, energies: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Couplings along given directions, by non-negative least squares of the trace of Delta.

    None vanishes: chi^2 is stationary there.
    """
    sizes = (np.abs(directions) ** 2).sum(axis=1)
    columns = sizes / (1j * problem.omega_n[:, None] - energies)
    if problem.paired:
        mirrored = sizes / (1j * problem.omega_n[:, None] + energies)
        columns = columns + np.where(np.arange(energies.size) < problem.n_moving, mirrored, 0.0)
    columns = columns * problem.scale[:, None]
    trace = np.einsum("aan->n", problem.values) * problem.scale
    weights, _ = nnls(
        np.concatenate([columns.real, columns.imag]), np.concatenate([trace.real, trace.imag])
    )
    weights = np.maximum(weights, 1e-3 * max(weights.max(), 1e-300))
    return np.sqrt(weights)[:, None] * directions
