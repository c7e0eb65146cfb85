"""The real axis of a solution on the imaginary one: a fit, kept apart from what was solved.

Minimal poles of each orbital's G(i w_n) (`dmftnet.physics.analysis.minimal_poles`) and A(w) of
them. Where orbitals mix, the diagonal of G: its spectrum is positive, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dmftnet.physics.analysis.minimal_poles import NEGLIGIBLE, MinimalPoleFit, MinimalPoles
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.hybridization import diagonal
from dmftnet.physics.impurity.protocol import ImpuritySolution

RESIDUAL = 1e-3
"""Above which a fit is warned of."""


@dataclass(frozen=True, eq=False)
class FittedSpectrum:
    """Of one site.

    Parameters
    ----------
    grid : FrequencyGrid
    poles : tuple of MinimalPoles
        One an orbital.
    broadening : float, in D
    """

    grid: FrequencyGrid
    poles: tuple[MinimalPoles, ...]
    broadening: float

    @property
    def spectrum(self) -> np.ndarray:
        """(n_orb, n_w) float64 A(w), in 1/D, of one spin; may be negative."""
        z = self.grid.omega + 1j * self.broadening
        return np.array([-own.at(z).imag / np.pi for own in self.poles])

    @property
    def residual(self) -> float:
        """Largest of the orbitals, see `MinimalPoles`."""
        return max(own.residual for own in self.poles)

    @property
    def off_axis(self) -> float:
        """Largest distance of a pole from the real axis, in D."""
        return max(float(np.abs(own.energies.imag).max()) for own in self.poles)

    @property
    def not_positive(self) -> float:
        """Largest share of an orbital's weights, by modulus, that is no positive number."""
        sizes = [np.abs(own.weights) for own in self.poles]
        positive = [np.maximum(own.weights.real, 0) for own in self.poles]
        return max(float(1 - p.sum() / s.sum()) for p, s in zip(positive, sizes, strict=True))

    @property
    def negative(self) -> float:
        """Integral of the negative part of A(w), the largest of the orbitals."""
        return float(self.grid.integrate(np.maximum(-self.spectrum, 0.0)).max())

    def numbers(self) -> dict[str, Any]:
        """For the summary."""
        return {
            "method": "minimal poles of G(iw)",
            "n_poles": [own.energies.size for own in self.poles],
            "residual": self.residual,
            "off_axis": self.off_axis,
            "not_positive": self.not_positive,
            "negative": self.negative,
        }

    def warning(self) -> str | None:
        """What speaks against the fit, in one line; None if nothing does."""
        said = []
        if self.residual > RESIDUAL:
            said.append(f"it misses G(iw) by {100 * self.residual:.2g} % of its largest value")
        if self.off_axis > NEGLIGIBLE:
            said.append(f"poles lie off the real axis, by up to {self.off_axis:.2g} D")
        if self.not_positive > NEGLIGIBLE:
            said.append("weights are not positive")
        if self.negative > NEGLIGIBLE:
            said.append(f"A(w) has a negative part of {self.negative:.2g}")
        return f"the fit on the real axis: {', '.join(said)}" if said else None


def fitted_spectrum(
    fit: MinimalPoleFit, solution: ImpuritySolution, grid: FrequencyGrid
) -> FittedSpectrum:
    """Poles of G of a solution at the Matsubara frequencies of its problem.

    Raises
    ------
    ConvergenceError
        If no poles are found.
    """
    axis = solution.problem.axis
    greens = diagonal(solution.matsubara_greens(axis))
    return FittedSpectrum(grid, tuple(fit.fit(axis, own) for own in greens), fit.broadening)


def with_fits(
    summary: Mapping[str, Any], fits: Sequence[FittedSpectrum], missing: str = ""
) -> dict[str, Any]:
    """A summary with ``fit``, the numbers of the first site or None, and the warnings of all.

    Parameters
    ----------
    missing : str
        Why there are no fits.
    """
    said = (summary["warning"], missing, *(fit.warning() for fit in fits))
    texts = dict.fromkeys(text for text in said if text)
    numbers = fits[0].numbers() if fits else None
    return {**summary, "warning": "; ".join(texts) or None, "fit": numbers}
