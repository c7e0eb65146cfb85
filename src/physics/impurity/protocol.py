"""What stands between the DMFT loop and every solver, exact or learned.

A problem goes in, a solution comes out; the loop is the same for every solver. A solver keeps to
`ImpuritySolver`, most easily as a subclass of `Solver`; what it returns is a `Solution`
(`dmftnet.physics.impurity.solutions`). What a solver takes, it says in its `Capabilities`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

import numpy as np

from dmftnet.errors import InvalidProblemError
from dmftnet.physics.grids.matsubara import ImaginaryAxis
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.matsubara_hybridization import MatsubaraHybridization
from dmftnet.physics.impurity.poles import ResponsePoles
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.impurity.spectral_hybridization import SpectralHybridization

REAL, IMAGINARY = "real", "imaginary"


@runtime_checkable
class ImpuritySolution(Protocol):
    """What every solver returns; what one does not know is a clear error.

    A quantity of a problem with off-diagonal elements has a second orbital axis beside the first.

    Attributes
    ----------
    problem : ImpurityProblem
    greens : tuple of ResponsePoles (one an orbital), or None where the solver has no poles
    filling : float
        Occupation, both spins, all orbitals.
    double_occupancy : float
        ``<n_up n_dn>``, averaged over orbitals.
    resolution : (eta, slope) or None
        Gaussian width ``eta + slope |w|`` of the spectrum, in D, where it has one.
    knows_densities : bool
        Whether `density_matrix` and `double_occupancies` are known.
    diagnostics : dict of str to int, float, bool, str, None or array
        What a user should know: sizes, residuals, clipped weight, spread, warnings; arrays of
        standard errors where a solver has them. ``noise``: of a statistical solver, the largest
        standard error of G over its largest value, by which loops judge.
    """

    @property
    def problem(self) -> ImpurityProblem: ...

    @property
    def greens(self) -> tuple[ResponsePoles, ...] | None: ...

    @property
    def filling(self) -> float: ...

    @property
    def double_occupancy(self) -> float: ...

    @property
    def resolution(self) -> tuple[float, float] | None: ...

    @property
    def clipped_self_energy(self) -> float:
        """Share of ``|Im Sigma|`` on the real axis that had the wrong sign and was set to zero."""

    @property
    def knows_densities(self) -> bool: ...

    @property
    def diagnostics(self) -> dict[str, Any]: ...

    def self_energy(self, grid: FrequencyGrid | None = None) -> np.ndarray:
        """(n_orb, n_w) complex128 retarded self-energy, in D, on the problem's grid by default."""

    def spectrum(self, grid: FrequencyGrid | None = None, angle: float = 0.0) -> np.ndarray:
        """(n_orb, n_w) float64 spectral function ``A(w, alpha)`` of one spin, in 1/D."""

    def matsubara_greens(self, axis: ImaginaryAxis | None = None) -> np.ndarray:
        """(n_orb, n_iw) complex128 ``G(i w_n)``, in 1/D, on the problem's axis by default."""

    def matsubara_self_energy(self, axis: ImaginaryAxis | None = None) -> np.ndarray:
        """(n_orb, n_iw) complex128 ``Sigma(i w_n)``, in D."""

    def greens_tau(self, tau: np.ndarray) -> np.ndarray:
        """(n_orb, n_tau) ``G(tau)`` for tau in [0, beta], 1/D."""

    def density_matrix(self) -> np.ndarray:
        """(n_orb, n_orb) ``<d+_b d_a>`` of one spin."""

    def double_occupancies(self) -> np.ndarray:
        """(n_orb, n_orb) ``<n_a,up n_b,dn>``."""


@dataclass(frozen=True)
class Capabilities:
    """Which problems a solver takes.

    Parameters
    ----------
    orbitals : int
        Largest number.
    zero_temperature, finite_temperature : bool
    axes : tuple of "real", "imaginary"
        Hybridizations: spectra on the real axis, values at Matsubara frequencies. Bath levels
        (`PoleHybridization`) need no axis.
    poles : bool
        Whether bath levels can be given as they are.
    off_diagonal : bool
        Orbitals that mix, by their levels or by their bath.
    any_interaction : bool
        Several orbitals whose interaction is not the rotationally invariant one: U' other than
        ``U - 2J``, or without spin flip or pair hopping.
    fewest : int
        Smallest number of orbitals.
    degenerate : bool
        Whether several orbitals must have one level and one bath.
    thermal : Capabilities, optional
        What it takes at finite temperature, where that is something else.
    """

    orbitals: int = 1
    zero_temperature: bool = True
    finite_temperature: bool = False
    axes: tuple[str, ...] = (REAL,)
    poles: bool = False
    off_diagonal: bool = False
    any_interaction: bool = False
    fewest: int = 1
    degenerate: bool = False
    thermal: Capabilities | None = None

    def at(self, beta: float) -> Capabilities:
        """Those at an inverse temperature, infinite for T = 0."""
        return self.thermal if self.thermal is not None and np.isfinite(beta) else self

    def common(self, other: Capabilities) -> Capabilities:
        """What both take, at T = 0 and at finite temperature."""
        if self.thermal is None and other.thermal is None:
            return Capabilities(
                orbitals=min(self.orbitals, other.orbitals),
                zero_temperature=self.zero_temperature and other.zero_temperature,
                finite_temperature=self.finite_temperature and other.finite_temperature,
                axes=tuple(axis for axis in self.axes if axis in other.axes),
                poles=self.poles and other.poles,
                off_diagonal=self.off_diagonal and other.off_diagonal,
                any_interaction=self.any_interaction and other.any_interaction,
                fewest=max(self.fewest, other.fewest),
                degenerate=self.degenerate or other.degenerate,
            )
        cold = replace(self, thermal=None).common(replace(other, thermal=None))
        hot = self.at(1.0).common(other.at(1.0))
        return replace(cold, thermal=hot)

    def objection(self, problem: ImpurityProblem) -> str:
        """What of a problem is beyond the solver, and the remedy; empty if nothing is."""
        at_temperature = self.at(problem.beta)
        if at_temperature is not self:
            return at_temperature.objection(problem)
        if problem.n_orb > self.orbitals:
            return (
                f"treats {_count(self.orbitals)}, the problem has {problem.n_orb}; solver=ed and "
                "solver=mps treat several"
            )
        if problem.n_orb < self.fewest:
            return (
                f"takes {self.fewest} orbitals or more, the problem has {problem.n_orb}; set "
                "problem=kanamori problem.n_orb, or use solver=ed"
            )
        if np.isinf(problem.beta) and not self.zero_temperature:
            return "works at finite temperature; give problem.beta, 1/T in 1/D"
        if np.isfinite(problem.beta) and not self.finite_temperature:
            return f"works at T = 0, the problem has beta = {problem.beta:g}; use solver=ed"
        if problem.has_off_diagonal and not self.off_diagonal:
            return "takes orbitals that do not mix; use solver=ed, or diagonalise the levels"
        if problem.n_orb > 1 and not self.any_interaction:
            if not problem.interaction.is_rotationally_invariant:
                return (
                    "takes the rotationally invariant interaction, U' = U - 2J with spin flip and "
                    "pair hopping; use solver=ed"
                )
        if self.degenerate and not problem.is_degenerate():
            return (
                "takes degenerate orbitals, of one level and one bath, and those of the problem "
                "differ; use solver=ed"
            )
        kind = type(problem.hybridization)
        if kind is SpectralHybridization and REAL not in self.axes:
            return (
                "works at Matsubara frequencies, and the hybridization is a spectrum; set "
                "axis=imaginary"
            )
        if kind is MatsubaraHybridization and IMAGINARY not in self.axes:
            return (
                "works on the real axis, and the hybridization is given at Matsubara frequencies; "
                "set axis=real, or use solver=ed"
            )
        if kind not in (SpectralHybridization, MatsubaraHybridization) and not self.poles:
            return "takes a hybridization as a curve, not as bath levels; use solver=ed"
        return ""


@runtime_checkable
class ImpuritySolver(Protocol):
    """A method that solves impurity problems.

    Attributes
    ----------
    name : str
    grid : FrequencyGrid or None
        The grid that its problems should have, where the solver has one of its own.
    capabilities : Capabilities
    """

    @property
    def name(self) -> str: ...

    @property
    def grid(self) -> FrequencyGrid | None: ...

    @property
    def capabilities(self) -> Capabilities: ...

    def solve(self, problem: ImpurityProblem) -> ImpuritySolution:
        """Solve one problem."""

    def solve_batch(self, problems: Sequence[ImpurityProblem]) -> Sequence[ImpuritySolution]:
        """Solve several problems, in order."""

    def notice(self) -> str:
        """One line to be shown before the first solve, if it will take long; else empty."""

    def close(self, failed: bool = False) -> None:
        """Complete what the solver keeps (files, processes); `failed` after an error."""


if TYPE_CHECKING:  # at run time a dataclass would take the protocol's properties for defaults
    _Contract = ImpuritySolver
else:
    _Contract = ABC


class Solver(_Contract):
    """Base of solvers: all of `ImpuritySolver` but `name` and `solve`, for one that keeps nothing.

    As a context manager it closes itself.
    """

    grid: FrequencyGrid | None = None
    capabilities: ClassVar[Capabilities] = Capabilities()

    @abstractmethod
    def solve(self, problem: ImpurityProblem) -> ImpuritySolution:
        """Solve one problem."""

    def solve_batch(self, problems: Sequence[ImpurityProblem]) -> Sequence[ImpuritySolution]:
        """Solve several problems, in order; a solver that gains from it overrides this."""
        return [self.solve(problem) for problem in problems]

    def notice(self) -> str:
        return ""

    def close(self, failed: bool = False) -> None:
        return None

    def require(self, problem: ImpurityProblem) -> None:
        """Raise InvalidProblemError, one line, if the problem is beyond the solver."""
        objection = self.capabilities.objection(problem)
        if objection:
            raise InvalidProblemError(f"solver '{self.name}' {objection}")

    def __enter__(self):
        return self

    def __exit__(self, kind, *exception) -> None:
        self.close(failed=kind is not None)


def _count(orbitals: int) -> str:
    return "one orbital" if orbitals == 1 else f"up to {orbitals} orbitals"
