"""Modified second-order perturbation theory: a cheap, causal approximation.

Method: the second-order diagram ``S2`` of the non-interacting reference level
``G0 = 1/(w - eps_0 - Delta)``, interpolated between the exact limits (Kajueter, Kotliar,
PRL 77, 131 (1996)),

``Sigma = U n + a S2 / (1 - b S2)``,
``a = n (1 - n) / (n_0 (1 - n_0))``, ``b = ((1 - n) U + eps_d - eps_0) / (U^2 n_0 (1 - n_0))``,

with n the occupation of one spin and n_0 that of the reference. The level eps_0 is chosen such
that ``n_0 = n`` (Martin-Rodero, Flores, Baldo, Pucci, Solid State Commun. 44, 911 (1982)), where n
is the occupation that Sigma leads to. At half filling this is ``eps_0 = 0``, plain second order.

At T = 0 on the real axis the reference enters the diagram as poles on the points of the problem's
grid (weight and centre of gravity of each cell kept), and so does the result
(`dmftnet.physics.solvers.perturbative.diagram`). At finite temperature everything is on the
imaginary axis (`dmftnet.physics.solvers.perturbative.thermal_second_order`), for many problems at
once.

Range: exact at U = 0, in order U^2, in the atomic limit and for the first three moments; the Mott
transition of the Bethe lattice comes too late (U_c2 about 3.3 D) and Z away from half filling is a
guess. Never a reference: for that use ``ras``, or ``ed`` at finite temperature. Cost: 10 to 20 FFTs
of a few thousand points; on the imaginary axis a millisecond, of many problems less for each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import ClassVar

import numpy as np

from dmftnet import checks
from dmftnet.errors import InvalidProblemError
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.impurity.protocol import Capabilities
from dmftnet.physics.impurity.solutions import MatsubaraSolution, SelfEnergySolution
from dmftnet.physics.solvers.perturbative.diagram import SecondOrderDiagram
from dmftnet.physics.solvers.perturbative.second_order import RealAxis
from dmftnet.physics.solvers.perturbative.thermal import (
    THERMAL,
    Batch,
    ThermalSolver,
    answered,
    self_energy,
)
from dmftnet.physics.solvers.perturbative.thermal_second_order import thermal_second_order

OCCUPATION_ERROR = 1e-3  # of one spin; what is missed by more is warned of


class IptSolver(ThermalSolver):
    """Impurity solver by modified second-order perturbation theory.

    Parameters
    ----------
    step : float, in D
        Of the uniform grid of the convolution; features of the reference should be wider. At T = 0.
    tolerance : float
        On the occupation of one spin.
    max_memory : float, in GiB
        At T = 0.

    Raises
    ------
    InvalidProblemError
        If one of them is out of its limits.
    """

    name = "ipt"
    capabilities: ClassVar[Capabilities] = Capabilities(finite_temperature=True, thermal=THERMAL)

    def __init__(
        self, step: float = 2e-3, tolerance: float = 1e-8, max_memory: float = checks.MAX_MEMORY
    ):
        step = checks.number("solver.step", step)
        tolerance = checks.number("solver.tolerance", tolerance)
        self.max_memory = checks.number("solver.max_memory", max_memory, above=0)
        if not 0 < step <= 0.1:
            raise InvalidProblemError(
                f"solver.step = {step}: the convolution needs a step in (0, 0.1] D, e.g. 2e-3"
            )
        if not 0 < tolerance < 0.1:
            raise InvalidProblemError(
                f"solver.tolerance = {tolerance}: the occupation needs a tolerance in (0, 0.1)"
            )
        self.step, self.tolerance = float(step), float(tolerance)

    def solve(self, problem: ImpurityProblem) -> SelfEnergySolution | MatsubaraSolution:
        """Solve one problem."""
        return self.solve_batch([problem])[0]

    def solve_batch(
        self, problems: Sequence[ImpurityProblem]
    ) -> list[SelfEnergySolution | MatsubaraSolution]:
        """Solve several problems, in order; at finite temperature together."""
        for problem in problems:
            self.require(problem)
        thermal = iter(self.in_batches([p for p in problems if np.isfinite(p.beta)]))
        return [next(thermal) if np.isfinite(p.beta) else self._ground_state(p) for p in problems]

    def self_energies_of(self, batch: Batch) -> tuple[np.ndarray, np.ndarray]:
        answer = thermal_second_order(batch, self.tolerance)
        return self_energy(batch, answer.n, answer.s), answer.occupation

    def solutions_of(
        self, batch: Batch, problems: Sequence[ImpurityProblem]
    ) -> list[MatsubaraSolution]:
        answer = thermal_second_order(batch, self.tolerance)
        said = [
            {"reference_level": float(level), "warning": _inconsistent(n, {"occupation": off})}
            for level, n, off in zip(
                answer.eps_0 / batch.beta, answer.n, answer.occupation - answer.n, strict=True
            )
        ]
        return answered(batch, problems, answer.n, answer.s, said, self.name)

    def _ground_state(self, problem: ImpurityProblem) -> SelfEnergySolution:
        self._check(problem)
        theory = _theory(problem.grid, self.step, self.tolerance)
        U, eps_d = np.array([problem.U]), problem.eps_d
        batch = theory.problems(U, eps_d, problem.spectrum)
        answer = theory.solve(batch, np.array([problem.is_particle_hole_symmetric()]))
        if problem.U == 0:  # nothing was sought, the reference is the problem itself
            level, missed = float(eps_d[0]), {}
        else:
            level, n = float(answer.eps_0[0]), answer.n[0]
            occupation = theory.occupation(batch, answer.sigma)
            missed = {"occupation": float(occupation[0] - n), "reference": float(answer.n_0[0] - n)}
        warning = _inconsistent(float(answer.n[0]), missed)
        if warning:
            warning = f"ipt at U = {problem.U:g}, eps_d = {problem.eps_d[0]:g}: {warning}"
        return SelfEnergySolution(
            problem, answer.sigma, {"reference_level": level, "warning": warning}
        )

    def _check(self, problem: ImpurityProblem) -> None:
        omega = problem.grid.omega
        if np.any(omega == 0) or not omega[0] < 0 < omega[-1]:
            raise InvalidProblemError(
                "solver 'ipt' tells particles from holes by the sign of the frequency; use a grid "
                "with points on both sides of zero and none at it, e.g. FrequencyGrid.geometric"
            )
        reach = float(np.abs(omega).max())
        checks.memory(  # bytes a point of the uniform grid, most of them for the transforms
            f"solver.step = {self.step:g} on a grid that reaches {reach:g} D",
            460.0 * reach / self.step,
            self.max_memory,
            "solver.max_memory",
            "take a larger step",
        )


@lru_cache(maxsize=2)
def _theory(grid: FrequencyGrid, step: float, tolerance: float) -> RealAxis:
    return RealAxis(grid, SecondOrderDiagram(grid, step), tolerance)


def _inconsistent(n: float, missed: Mapping[str, float]) -> str:
    """What is inconsistent, and by how much; empty if nothing is."""
    wrong = {name: off for name, off in missed.items() if abs(off) > OCCUPATION_ERROR}
    if not wrong:
        return ""
    off = ", ".join(f"its {name} by {value:+.1e}" for name, value in wrong.items())
    return f"no occupation of its own is consistent, the nearest n = {n:.4g} a spin misses {off}"
