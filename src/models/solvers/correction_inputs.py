"""From impurity problems to what a correction reads: units of their D, the universal axis, arrays.

A hybridization at Matsubara frequencies is carried to the model's axis, and its weight read off, by
matrices that depend on the two axes' sizes alone, not on temperature: found once, then a product.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from dmftnet.data.keys import ThermalBatch as Batch
from dmftnet.physics.analysis.self_energy import bath_misfit, dynamic_strength
from dmftnet.physics.analysis.self_energy_measure import SelfEnergyMeasure
from dmftnet.physics.grids.matsubara import ImaginaryAxis
from dmftnet.physics.impurity.hybridization import Hybridization
from dmftnet.physics.impurity.interaction import Interaction
from dmftnet.physics.impurity.matsubara_hybridization import MatsubaraHybridization
from dmftnet.physics.impurity.pole_hybridization import PoleHybridization
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.impurity.protocol import ImpuritySolution, ImpuritySolver
from dmftnet.physics.solvers.embedded import EmbeddedSolver
from dmftnet.physics.solvers.perturbative.thermal import Batch as ThermalRows
from dmftnet.physics.solvers.perturbative.thermal import ThermalSolver


@dataclass(frozen=True, eq=False)
class AxisMaps:
    """From one axis to that of a model, and back.

    Parameters
    ----------
    resampling : (2 n_iw, 2 m_iw) float64
        From real and imaginary parts on the one to those on the model's.
    weight : (2 n_iw,) float64, in T
        From those on the one to the weight of the spectrum.
    kernel : (n_iw, J) complex128, in 1/T
        Of the model's `SelfEnergyMeasure` at the one's frequencies.
    """

    resampling: np.ndarray
    weight: np.ndarray
    kernel: np.ndarray

    @classmethod
    def of(cls, axis: ImaginaryAxis, measure: SelfEnergyMeasure) -> AxisMaps:
        """Found once for all temperatures."""
        return _maps(float(f"{axis.beta * axis.w_max:.12g}"), axis.accuracy, measure)


@lru_cache(maxsize=32)
def _maps(size: float, accuracy: float, measure: SelfEnergyMeasure) -> AxisMaps:
    axis = ImaginaryAxis.universal(1.0, size, accuracy)
    own = measure.axis
    unit = np.eye(axis.omega_n.size)
    parts = np.concatenate([unit.astype(complex), 1j * unit])
    coefficients = axis.to_coefficients(parts)
    values = parts if axis == own else axis.at_frequencies(coefficients, own.indices)
    weight = -axis.at_tau(coefficients, np.array([0.0, 1.0])).sum(axis=-1)
    kernel = 1 / (1j * np.pi * axis.indices[:, None] - measure.nodes)
    return AxisMaps(np.concatenate([values.real, values.imag], axis=-1), weight, kernel)


def unit_of(hybridization: Hybridization, measure: SelfEnergyMeasure) -> float:
    """``D = 2 sqrt(m0)``, m0 the weight of the bath of one of equivalent orbitals."""
    if isinstance(hybridization, PoleHybridization):
        weight = float(np.sum(np.abs(hybridization.couplings) ** 2)) / hybridization.n_orb
    else:
        axis = hybridization.axis
        rows = hybridization.values
        values = rows[0] if len(rows) == 1 else rows.mean(axis=0)
        weight = float(_parts(values) @ AxisMaps.of(axis, measure).weight) / axis.beta
    return 2 * float(np.sqrt(max(weight, 0.0)))


@dataclass(frozen=True, eq=False)
class ScaledProblems:
    """Problems in units of their D, on the universal axis, as in the training data.

    Half-filled by symmetry, what is known of them is made so to the last digit.

    Parameters
    ----------
    measure : SelfEnergyMeasure
        Of the model.
    even : (B,) bool
        Half-filled by symmetry.
    beta : (B,) float64, in 1/D
    U, J, mean_field : (B,) float64, in D
        The last as `Interaction.mean_field`.
    eps_d : (B, n_orb) float64, in D
    delta : (B, n_orb, n_iw) complex128, in D
    """

    measure: SelfEnergyMeasure
    even: np.ndarray
    beta: np.ndarray
    U: np.ndarray
    J: np.ndarray
    mean_field: np.ndarray
    eps_d: np.ndarray
    delta: np.ndarray

    @classmethod
    def of(
        cls,
        given: Sequence[ImpurityProblem],
        units: Sequence[float],
        measure: SelfEnergyMeasure,
    ) -> ScaledProblems:
        """`units` are the D of the problems, as `unit_of` says."""
        n, n_orb, n_iw = len(given), given[0].n_orb, measure.axis.indices.size
        even, (beta, U, J, mean_field) = np.empty(n, dtype=bool), np.empty((4, n))
        eps_d, delta = np.empty((n, n_orb)), np.empty((n, n_orb, n_iw), dtype=np.complex128)
        for i, (problem, unit) in enumerate(zip(given, units, strict=True)):
            known = problem.interaction
            even[i] = problem.is_particle_hole_symmetric()
            beta[i], U[i], J[i] = problem.beta * unit, known.U / unit, known.J / unit
            mean_field[i] = known.mean_field(n_orb) / unit
            eps_d[i] = -0.5 * mean_field[i] if even[i] else problem.eps_d / unit
            delta[i] = _resampled(problem, measure) / unit
        delta.real[even] = 0.0
        return cls(measure, even, beta, U, J, mean_field, eps_d, delta)

    @property
    def n_orb(self) -> int:
        """Number of orbitals, the same for all."""
        return self.eps_d.shape[1]

    @cached_property
    def problems(self) -> list[ImpurityProblem]:
        """For solvers that take nothing else."""
        made = []
        for i, (U, J) in enumerate(zip(self.U.tolist(), self.J.tolist(), strict=True)):
            beta = float(self.beta[i])
            axis = ImaginaryAxis.universal(beta, self.measure.size, self.measure.accuracy)
            bath = MatsubaraHybridization(axis, self.delta[i])
            made.append(ImpurityProblem(self.eps_d[i], Interaction(U, J), bath, beta))
        return made

    @cached_property
    def batch(self) -> ThermalRows:
        """Of one orbital: for solvers that take rows of arrays."""
        beta = self.beta
        U, eps_d, delta = beta * self.U, beta * self.eps_d[:, 0], beta[:, None] * self.delta[:, 0]
        return ThermalRows(self.measure.axis, beta, U, eps_d, delta)


def _resampled(problem: ImpurityProblem, measure: SelfEnergyMeasure) -> np.ndarray:
    """(n_orb, n_iw) Delta at the frequencies of the model's axis, in the problem's own units."""
    known, n_iw = problem.hybridization, measure.axis.indices.size
    if isinstance(known, MatsubaraHybridization) and known.is_diagonal:
        parts = _parts(known.values) @ AxisMaps.of(known.axis, measure).resampling
        return parts[:, :n_iw] + 1j * parts[:, n_iw:]
    return known.at(1j * measure.axis.omega_n / problem.beta)


def inputs_of(
    scaled: ScaledProblems, approximations: Mapping[str, ImpuritySolver]
) -> dict[str, np.ndarray]:
    """The inputs of `ThermalBatch`: the problems, and what the approximations make of them."""
    n, n_orb, n_iw = scaled.delta.shape
    even, beta = scaled.even, scaled.beta
    sigmas = np.empty((n, len(approximations), n_iw), dtype=np.complex128)
    densities = np.empty((n, len(approximations)))
    answers: list[Sequence[ImpuritySolution]] = []
    known = _shared(scaled, approximations)
    for k, (name, solver) in enumerate(approximations.items()):
        if n_orb == 1 and isinstance(solver, ThermalSolver):
            in_T, densities[:, k] = solver.self_energies(scaled.batch)
            sigmas[:, k] = in_T / beta[:, None]
            continue
        answers.append(known[name] if name in known else solver.solve_batch(scaled.problems))
        for i, (answer, problem) in enumerate(zip(answers[-1], scaled.problems, strict=True)):
            sigmas[i, k] = answer.matsubara_self_energy(problem.axis).mean(axis=0)
            densities[i, k] = answer.filling / (2 * n_orb)
    sigmas.real[even] = scaled.mean_field[even, None, None] / 2
    densities[even] = 0.5
    arrays = {
        Batch.U: scaled.U,
        Batch.EPS_D: np.ascontiguousarray(scaled.eps_d[:, 0]),
        Batch.BETA: beta,
        Batch.HYBRIDIZATION: np.ascontiguousarray(scaled.delta[:, 0]),
        Batch.SELF_ENERGIES: sigmas,
        Batch.DENSITIES: densities,
    }
    return arrays if n_orb == 1 else arrays | _of_several(scaled, answers)


def solved_within(approximations: Mapping[str, ImpuritySolver]) -> dict[str, str]:
    """Approximations that another one solves on its way: the strong part of an embedded solver."""
    return {
        name: whole
        for whole, solver in approximations.items()
        if isinstance(solver, EmbeddedSolver)
        for name, alone in approximations.items()
        if alone == solver.strong
    }


def _shared(
    scaled: ScaledProblems, approximations: Mapping[str, ImpuritySolver]
) -> dict[str, Sequence[ImpuritySolution]]:
    """Answers by name of what is `solved_within` another, and of that other."""
    found: dict[str, Sequence[ImpuritySolution]] = {}
    for name, whole in solved_within(approximations).items():
        both = [approximations[whole].solve_both(problem) for problem in scaled.problems]
        found[name], found[whole] = zip(*both, strict=True)
    return found


def _of_several(
    scaled: ScaledProblems,
    answers: Sequence[Sequence[ImpuritySolution]],
) -> dict[str, np.ndarray]:
    """What a correction of several orbitals reads beside."""
    problems, (_, n_orb, n_iw) = scaled.problems, scaled.delta.shape

    def each(what: Any, *rest: int) -> np.ndarray:
        found = [[what(a, p.axis) for a, p in zip(own, problems, strict=True)] for own in answers]
        return np.array(found).reshape(len(answers), len(problems), *rest).swapaxes(0, 1)

    misfits = each(bath_misfit, n_iw).astype(np.complex128)
    misfits[scaled.even] = 1j * misfits[scaled.even].imag
    return {
        Batch.J: scaled.J,
        Batch.MEAN_FIELD: scaled.mean_field,
        Batch.SECOND_ORDER: np.array([p.interaction.second_order(n_orb) for p in problems]),
        Batch.STRENGTHS: each(lambda answer, axis: dynamic_strength(answer)).astype(float),
        Batch.MISFITS: misfits,
        Batch.DOUBLES: each(lambda answer, axis: answer.double_occupancy).astype(float),
    }


def _parts(values: np.ndarray) -> np.ndarray:
    return np.concatenate([values.real, values.imag], axis=-1)
