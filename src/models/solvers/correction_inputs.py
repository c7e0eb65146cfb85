"""From impurity problems to what a correction reads: units of their D, the universal axis, arrays.

A hybridization at Matsubara frequencies is carried to the model's axis, and its weight read off, by
matrices that depend on the two axes' sizes alone, not on temperature: found once, then a product.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
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
        values = hybridization.values.mean(axis=0)
        weight = float(_parts(values) @ AxisMaps.of(axis, measure).weight) / axis.beta
    return 2 * float(np.sqrt(max(weight, 0.0)))


@dataclass(frozen=True, eq=False)
class ScaledProblem:
    """A problem in units of its D, on the universal axis, as in the training data.

    Parameters
    ----------
    problem : ImpurityProblem
    is_even : bool
        Half-filled by symmetry: what is known of it is made so to the last digit.
    """

    problem: ImpurityProblem
    is_even: bool

    @classmethod
    def of(cls, given: ImpurityProblem, unit: float, measure: SelfEnergyMeasure) -> ScaledProblem:
        """`unit` is the D of the problem, as `unit_of` says."""
        beta = given.beta * unit
        axis = ImaginaryAxis.universal(beta, measure.size, measure.accuracy)
        known = given.hybridization
        if isinstance(known, MatsubaraHybridization) and known.is_diagonal:
            maps = AxisMaps.of(known.axis, measure)
            parts, n_iw = _parts(known.values) @ maps.resampling, measure.axis.indices.size
            real, imag = parts[:, :n_iw], parts[:, n_iw:]
        else:
            values = known.at(1j * axis.omega_n * unit)
            real, imag = values.real, values.imag
        interaction = Interaction(given.U / unit, given.J / unit)
        even, level = given.is_particle_hole_symmetric(), given.eps_d / unit
        if even:
            real = np.zeros_like(real)
            level = np.full(given.n_orb, interaction.half_filling(given.n_orb))
        bath = MatsubaraHybridization(axis, (real + 1j * imag) / unit)
        return cls(ImpurityProblem(level, interaction, bath, float(beta)), even)


def inputs_of(
    scaled: Sequence[ScaledProblem], approximations: Mapping[str, ImpuritySolver]
) -> dict[str, np.ndarray]:
    """The inputs of `ThermalBatch`: the problems, and what the approximations make of them."""
    problems = [own.problem for own in scaled]
    axes = [p.axis for p in problems]
    n, n_orb, n_iw = len(problems), problems[0].n_orb, axes[0].omega_n.size
    even = np.array([own.is_even for own in scaled])
    interactions = [p.interaction for p in problems]
    mean_field = np.array([i.mean_field(n_orb) for i in interactions])
    shape = (n, len(approximations))
    sigmas = np.empty((*shape, n_iw), dtype=np.complex128)
    densities = np.empty(shape)
    answers: list[Sequence[ImpuritySolution]] = []
    for k, solver in enumerate(approximations.values()):
        answers.append(solver.solve_batch(problems))
        for i, (answer, axis) in enumerate(zip(answers[-1], axes, strict=True)):
            sigma = answer.matsubara_self_energy(axis)
            sigmas[i, k] = sigma[0] if n_orb == 1 else sigma.mean(axis=0)
            densities[i, k] = 0.5 if even[i] else answer.filling / (2 * n_orb)
    if even.any():
        sigmas[even] = mean_field[even, None, None] / 2 + 1j * sigmas[even].imag
    arrays = {
        Batch.U: np.array([p.U for p in problems]),
        Batch.EPS_D: np.array([p.eps_d[0] for p in problems]),
        Batch.BETA: np.array([p.beta for p in problems]),
        Batch.HYBRIDIZATION: np.array([p.hybridization.values[0] for p in problems]),
        Batch.SELF_ENERGIES: sigmas,
        Batch.DENSITIES: densities,
    }
    return arrays if n_orb == 1 else arrays | _of_several(problems, even, mean_field, answers)


def _of_several(
    problems: Sequence[ImpurityProblem],
    even: np.ndarray,
    mean_field: np.ndarray,
    answers: Sequence[Sequence[ImpuritySolution]],
) -> dict[str, np.ndarray]:
    """What a correction of several orbitals reads beside."""
    n_orb, n_iw = problems[0].n_orb, problems[0].axis.omega_n.size

    def each(what: Any, *rest: int) -> np.ndarray:
        found = [[what(a, p.axis) for a, p in zip(own, problems, strict=True)] for own in answers]
        return np.array(found).reshape(len(answers), len(problems), *rest).swapaxes(0, 1)

    misfits = each(bath_misfit, n_iw).astype(np.complex128)
    misfits[even] = 1j * misfits[even].imag
    return {
        Batch.J: np.array([p.J for p in problems]),
        Batch.MEAN_FIELD: mean_field,
        Batch.SECOND_ORDER: np.array([p.interaction.second_order(n_orb) for p in problems]),
        Batch.STRENGTHS: each(lambda answer, axis: dynamic_strength(answer)).astype(float),
        Batch.MISFITS: misfits,
        Batch.DOUBLES: each(lambda answer, axis: answer.double_occupancy).astype(float),
    }


def _parts(values: np.ndarray) -> np.ndarray:
    return np.concatenate([values.real, values.imag], axis=-1)
