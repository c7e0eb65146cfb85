"""What a thermal file keeps of a solver's answer: of one orbital, since all are equivalent."""

from __future__ import annotations

import time

import numpy as np

from dmftnet import checks
from dmftnet.data.keys import ThermalSamples as Samples
from dmftnet.errors import DmftnetError, SettingError, SpaceTooLargeError
from dmftnet.physics.analysis.self_energy import bath_misfit, dynamic_strength
from dmftnet.physics.grids.matsubara import ImaginaryAxis
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.impurity.protocol import ImpuritySolution, ImpuritySolver

OF_APPROXIMATIONS = (
    Samples.DEVIATION,
    Samples.DENSITIES,
    Samples.DOUBLES,
    Samples.STRENGTHS,
    Samples.MISFIT,
    Samples.TIMES,
)
"""Arrays of each approximation, as `answer_of` gives them."""


def answer_of(
    solver: ImpuritySolver, problem: ImpurityProblem, axis: ImaginaryAxis, exact: np.ndarray
) -> tuple[tuple[np.ndarray, float, float, float, np.ndarray, float], str]:
    """What `OF_APPROXIMATIONS` of an approximation, or NaN.

    Returns
    -------
    answer : ((n_iw, 2) float16, float, float, float, (n_iw, 2) float16, float)
    remark : str
        Why it failed; empty if it did not.
    """
    started = time.perf_counter()
    nothing = np.full((exact.size, 2), np.nan, dtype=np.float16)
    missing = nothing, np.nan, np.nan, np.nan, nothing
    try:
        solution = solver.solve(problem)
        deviation = solution.matsubara_self_energy(axis).mean(axis=0) - exact
        scalars = density_of(solution), solution.double_occupancy, dynamic_strength(solution)
        misfit = bath_misfit(solution, axis)
    except (SettingError, SpaceTooLargeError):
        raise
    except (DmftnetError, np.linalg.LinAlgError) as error:
        return (*missing, time.perf_counter() - started), checks.reason(error)
    seconds = time.perf_counter() - started
    parts, misfits = (np.stack([v.real, v.imag], axis=-1) for v in (deviation, misfit))
    fits = (np.abs([parts, misfits]) < np.finfo(np.float16).max).all()
    if not (fits and np.isfinite(scalars).all()):
        return (*missing, seconds), "its self-energy or densities are not finite, or beyond 65504 D"
    return (parts.astype(np.float16), *scalars, misfits.astype(np.float16), seconds), ""


def density_of(solution: ImpuritySolution) -> float:
    """Of one spin and one orbital."""
    return solution.filling / (2 * solution.problem.n_orb)


def weight_beyond(solution: ImpuritySolution, w_max: float) -> float:
    """Weight of G at energies above `w_max`; NaN of a solver that knows no poles."""
    if solution.greens is None:
        return float("nan")
    parts = [poles.G for poles in solution.greens]
    return float(max(G.weights[np.abs(G.energies) > w_max].sum() for G in parts))
