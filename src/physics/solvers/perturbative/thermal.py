"""One-orbital problems at finite temperature, many at once: what the cheap solvers share.

The problem is scale invariant: in units of T = 1/beta all temperatures are one, and problems whose
axes have the same ``beta w_max`` form a batch, whose functions are rows of arrays. A
`ThermalSolver` gives solutions of problems, or the self-energies of a batch alone. `TimeMaps` holds
the linear maps between values at Matsubara frequencies and in imaginary time as matrices, found
once: seconds, by the intermediate representation of `dmftnet.physics.grids.matsubara`; after that a
transform is a product of matrices.

Where ``Sigma = U n + U^2 n (1 - n) s``, with s of unit weight, `answered` makes the solutions. Then
``F = Sigma G`` and the double occupancy is the sum of Galitskii and Migdal,
``U <n_up n_dn> = T sum_n F(iw_n) e^(i w_n 0+) = -F(tau = beta)``, without a division by U.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, ClassVar

import numpy as np

from dmftnet.physics.grids.matsubara import ImaginaryAxis
from dmftnet.physics.impurity.pole_hybridization import PoleHybridization
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.impurity.protocol import IMAGINARY, Capabilities, Solver
from dmftnet.physics.impurity.solutions import MatsubaraSolution

THERMAL = Capabilities(
    zero_temperature=False, finite_temperature=True, axes=(IMAGINARY,), poles=True
)
"""What all of them take."""

WIDER = 3.0
"""A product of three functions reaches three times as far in energy as each of them."""

NORM_ERROR = 1e-7
"""Of ``-G(0) - G(beta) = 1``: more is warned of. G(tau) is then off by up to ten times as much."""

EVEN = 1e-9
"""Of a level in D, and of Re Delta over the largest value: less is rounding."""

ROUNDING = 1e-7
"""Of Im Sigma over the largest value, and of a double occupancy: beyond, a sign counts as wrong."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Problems of one orbital in units of their T.

    Parameters
    ----------
    axis : ImaginaryAxis
        At ``beta = 1``.
    beta : (B,) float64, in 1/D
    U, eps_d : (B,) float64, in T
    delta : (B, n_iw) complex128, in T
        ``Delta(i w_n)``.
    """

    axis: ImaginaryAxis
    beta: np.ndarray
    U: np.ndarray
    eps_d: np.ndarray
    delta: np.ndarray

    @classmethod
    def of(cls, axis: ImaginaryAxis, problems: Sequence[ImpurityProblem]) -> Batch:
        """From problems whose axes have the size and accuracy of this one."""
        beta = np.array([problem.beta for problem in problems])
        known = (getattr(p.hybridization, "values", None) for p in problems)
        delta = [
            p.hybridization.at(1j * p.axis.omega_n)[0] if values is None else values[0]
            for p, values in zip(problems, known, strict=True)
        ]
        U, eps_d = (np.array(v) for v in zip(*((p.U, p.eps_d[0]) for p in problems), strict=True))
        return cls(axis, beta, beta * U, beta * eps_d, beta[:, None] * np.array(delta))

    @classmethod
    def of_one(cls, problem: ImpurityProblem) -> Batch:
        """One problem, on its own axis."""
        [(axis, _)] = _groups([problem])
        return cls.of(axis, [problem])

    @cached_property
    def even(self) -> np.ndarray:
        """(B,) bool: half-filled by symmetry, as `ImpurityProblem.is_particle_hole_symmetric`."""
        uneven = np.abs(self.delta.real).max(axis=1) > EVEN * np.abs(self.delta).max(axis=1)
        return ~uneven & (np.abs(self.eps_d + self.U / 2) <= EVEN * self.beta)

    def greens(self, sigma: np.ndarray | float, eps: np.ndarray | None = None) -> np.ndarray:
        """(B, n_iw) ``1 / (i w_n - eps - Delta - Sigma)``, in 1/T; eps is `eps_d` by default."""
        level = (self.eps_d if eps is None else eps)[:, None]
        return 1 / (1j * self.axis.omega_n - level - self.delta - sigma)

    def select(self, chosen: np.ndarray | slice) -> Batch:
        """Those of an array of indices, or of a slice."""
        arrays = (a[chosen] for a in (self.beta, self.U, self.eps_d, self.delta))
        return Batch(self.axis, *arrays)


class ThermalSolver(Solver):
    """Base of solvers that take a `Batch`.

    A correction calls `self_energies` and never ``solve_batch``: a subclass that answers otherwise
    overrides both `self_energies_of` and `solutions_of`.
    """

    together: ClassVar[int] = 256
    """Most problems in one."""

    @abstractmethod
    def solutions_of(
        self, batch: Batch, problems: Sequence[ImpurityProblem]
    ) -> list[MatsubaraSolution]:
        """Solutions of a batch, which was made of the problems."""

    @abstractmethod
    def self_energies_of(self, batch: Batch) -> tuple[np.ndarray, np.ndarray]:
        """As `self_energies`, of at most `together` problems."""

    def self_energies(self, batch: Batch) -> tuple[np.ndarray, np.ndarray]:
        """What a correction reads, and no more: nothing is warned of.

        Returns
        -------
        sigma : (B, n_iw) complex128, in T
            ``Sigma(i w_n)``.
        density : (B,) float64
            Of one spin, that of G.
        """
        n = batch.U.size
        if n <= self.together:
            return self.self_energies_of(batch)
        parts = (slice(start, start + self.together) for start in range(0, n, self.together))
        found = [self.self_energies_of(batch.select(part)) for part in parts]
        sigma, density = (np.concatenate(each) for each in zip(*found, strict=True))
        return sigma, density

    def in_batches(self, problems: Sequence[ImpurityProblem]) -> list[MatsubaraSolution]:
        """Solve problems of any axes, those of one size together, and give the answers in order."""
        answers: dict[int, MatsubaraSolution] = {}
        for axis, members in _groups(problems):
            for start in range(0, len(members), self.together):
                places = members[start : start + self.together]
                some = [problems[i] for i in places]
                found = self.solutions_of(Batch.of(axis, some), some)
                answers.update(zip(places, found, strict=True))
        return [answers[i] for i in range(len(problems))]


def _groups(problems: Sequence[ImpurityProblem]) -> Iterator[tuple[ImaginaryAxis, list[int]]]:
    """Axes at ``beta = 1``, and the places of the problems that are on them."""
    groups: dict[ImaginaryAxis, list[int]] = {}
    for i, problem in enumerate(problems):
        axis = problem.axis
        size = float(f"{axis.beta * axis.w_max:.12g}")  # one that differs by rounding is the same
        groups.setdefault(ImaginaryAxis.universal(1.0, size, axis.accuracy), []).append(i)
    yield from groups.items()


class TimeMaps:
    """Maps between an axis' Matsubara frequencies and times that hold products of its functions.

    Parameters
    ----------
    axis : ImaginaryAxis

    Notes
    -----
    The times' basis is made when it is first asked for: `at_ends` needs none.
    """

    def __init__(self, axis: ImaginaryAxis):
        self.axis = axis
        unit = np.eye(axis.omega_n.size)
        parts = np.concatenate([unit.astype(complex), 1j * unit])  # real and imaginary parts
        self._coefficients = axis.to_coefficients(parts)
        self._ends = self._to(np.array([0.0, axis.beta]))

    @cached_property
    def wide(self) -> ImaginaryAxis:
        """The axis that reaches `WIDER` times as far in energy."""
        return ImaginaryAxis(self.axis.beta, WIDER * self.axis.w_max, self.axis.accuracy)

    @property
    def tau(self) -> np.ndarray:
        """(n_tau,) float64 sampling points of `wide`, in 1/D."""
        return self.wide.tau

    @cached_property
    def _times(self) -> tuple[np.ndarray, np.ndarray]:
        return self._to(self.tau), self._to(self.axis.beta - self.tau)

    @cached_property
    def _basis(self) -> np.ndarray:
        frequencies = np.zeros(self.wide.omega_n.size, dtype=complex)
        return np.eye(self.wide.to_coefficients(frequencies).size)

    @cached_property
    def _fit(self) -> np.ndarray:
        return np.linalg.pinv(self.wide.at_tau(self._basis, self.tau))  # well conditioned

    @cached_property
    def _frequencies(self) -> np.ndarray:
        return self._fit @ self.wide.at_frequencies(self._basis, self.axis.indices)

    def _to(self, tau: np.ndarray) -> np.ndarray:
        n_l = self._coefficients.shape[-1]
        return self._coefficients @ self.axis.at_tau(np.eye(n_l), tau)

    def at_ends(self, values: np.ndarray) -> np.ndarray:
        """(B, 2) values at tau = 0 and beta of functions known at the axis' frequencies."""
        return _parts(values) @ self._ends

    def occupation(self, greens: np.ndarray) -> np.ndarray:
        """(B,) ``-G(beta)``."""
        return -self.at_ends(greens)[:, 1]

    @property
    def density_weights(self) -> np.ndarray:
        """(n_iw,) w in the density ``1/2 + sum_n w_n Re G(i w_n)`` of a G of norm one."""
        return -self._ends[: self.axis.omega_n.size, 1]

    def to_times(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(B, n_iw) values at the axis' frequencies -> (B, n_tau) each, at tau and beta - tau."""
        parts = _parts(values)
        forward, backward = self._times
        return parts @ forward, parts @ backward

    def to_frequencies(self, values: np.ndarray) -> np.ndarray:
        """(B, n_tau) values at `tau` -> (B, n_iw) complex128 at the axis' frequencies."""
        return values @ self._frequencies

    def interpolation(self, tau: np.ndarray) -> np.ndarray:
        """(n_tau, n) matrix that takes values at `tau` of this object to any other times."""
        return self._fit @ self.wide.at_tau(self._basis, tau)


@lru_cache(maxsize=32)
def time_maps(axis: ImaginaryAxis) -> TimeMaps:
    """The maps of an axis, made once."""
    return TimeMaps(axis)


def _parts(values: np.ndarray) -> np.ndarray:
    return np.concatenate([values.real, values.imag], axis=-1)


def answered(
    batch: Batch,
    problems: Sequence[ImpurityProblem],
    n: np.ndarray,
    s: np.ndarray,
    diagnostics: Sequence[Mapping[str, Any]],
    name: str,
) -> list[MatsubaraSolution]:
    """Solutions of ``Sigma = U n + U^2 n (1 - n) s``.

    Parameters
    ----------
    n : (B,) float64
        Occupation of one spin that Sigma is made with.
    s : (B, n_iw) complex128, in 1/T
        Tends to ``1 / iw``.
    diagnostics : sequence of B mappings
        What the solver has to say; their ``warning`` comes first.
    """
    weight = (batch.U * n * (1 - n))[:, None] * s
    sigma = batch.U[:, None] * (n[:, None] + weight)
    greens = batch.greens(sigma)
    maps = time_maps(batch.axis)
    doubles = n * maps.occupation(greens) - maps.at_ends(weight * greens)[:, 1]
    return solutions(batch, problems, greens, sigma, doubles, diagnostics, name)


def self_energy(batch: Batch, n: np.ndarray, s: np.ndarray) -> np.ndarray:
    """(B, n_iw) ``U n + U^2 n (1 - n) s``, in T; arguments as of `answered`."""
    return batch.U[:, None] * (n[:, None] + (batch.U * n * (1 - n))[:, None] * s)


def solutions(
    batch: Batch,
    problems: Sequence[ImpurityProblem],
    greens: np.ndarray,
    sigma: np.ndarray,
    doubles: np.ndarray,
    diagnostics: Sequence[Mapping[str, Any]],
    name: str,
) -> list[MatsubaraSolution]:
    """Solutions that warn of what is wrong with them.

    Parameters
    ----------
    greens, sigma : (B, n_iw) complex128, in 1/T and T
    doubles : (B,) float64
    """
    ends = time_maps(batch.axis).at_ends(greens)
    answers = []
    for i, (problem, beta) in enumerate(zip(problems, batch.beta, strict=True)):
        axis, in_D = problem.axis, sigma[[i]] / beta
        said = dict(diagnostics[i])
        double = float(doubles[i])
        found = [
            said.get("warning", ""),
            _beyond_the_axis(problem, axis, ends[i]),
            _wrong_sign(in_D[0], axis),
            _impossible(double, -ends[i, 1]),
        ]
        found = [text for text in found if text]
        where = f"{name} at U = {problem.U:g}, eps_d = {problem.eps_d[0]:g}: "
        said["warning"] = where + "; ".join(found) if found else ""
        answers.append(
            MatsubaraSolution(
                problem, axis, greens[[i]] * beta, double, sigma=in_D, diagnostics=said
            )
        )
    return answers


def _beyond_the_axis(problem: ImpurityProblem, axis: ImaginaryAxis, ends: np.ndarray) -> str:
    norm, bath = -float(ends.sum()), problem.hybridization
    wider = f"w_max = {axis.w_max:g} of the axis (matsubara.w_max), raise it"
    if isinstance(bath, PoleHybridization) and np.abs(bath.energies).max(initial=0) > axis.w_max:
        return f"bath levels reach {np.abs(bath.energies).max():.3g} D, beyond {wider}"
    if abs(norm - 1) > NORM_ERROR:
        return f"-G(0) - G(beta) is off 1 by {norm - 1:+.1e}: spectral weight lies beyond {wider}"
    return ""


def _wrong_sign(sigma: np.ndarray, axis: ImaginaryAxis) -> str:
    worst = int(np.argmax(sigma.imag))
    if sigma.imag[worst] <= ROUNDING * max(np.abs(sigma).max(), 1.0):
        return ""
    return f"Im Sigma = {sigma.imag[worst]:+.1e} > 0 at omega_n = {axis.omega_n[worst]:.3g}"


def _impossible(double: float, n: float) -> str:
    low, high = max(0.0, 2 * n - 1), n
    if low - ROUNDING <= double <= high + ROUNDING:
        return ""
    return f"a double occupancy of {double:.3g} lies outside [{low:.3g}, {high:.3g}]"
