"""`ed`: exact diagonalisation of a few orbitals with a few bath levels, at any temperature.

Method
    1. Bath levels: as the problem gives them, from its spectrum by intervals (`bath`), or fitted to
       its values on the imaginary axis (`fit`).
    2. All sectors of (n_up, n_dn) that count, in full or by Lanczos (`ensemble`): the degenerate
       ground states at T = 0, all states of a Boltzmann factor that counts at T > 0.
    3. Poles of G, F, I by Lehmann sums where a sector is known in full, else by block Lanczos
       (`response`); density matrix and double occupancies from expectation values.
Range
    Hubbard-Kanamori interactions, levels and baths that mix, complex ones too; up to 12 spatial
    orbitals in all, the impurity's and the bath's. The full spectrum up to 7; beyond it thermal
    Lanczos, which tells the weight of the states that it leaves out (``dropped_weight``).
Cost
    A fifth of a second for one orbital with seven levels at T = 0, seconds at finite temperature,
    half a minute for 12 spatial orbitals at T = 0; benchmarks/ed.py prints the table.
Otherwise
    One orbital at T = 0 on the real axis: ``ras``, which resolves the Kondo scale.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import comb
from typing import ClassVar

import numpy as np

from dmftnet import checks
from dmftnet.errors import SettingError, SpaceTooLargeError
from dmftnet.physics.bath.fit import MatsubaraFit
from dmftnet.physics.bath.intervals import Intervals
from dmftnet.physics.bath.protocol import DiscreteBath
from dmftnet.physics.bath.wilson import Wilson
from dmftnet.physics.fermions.kanamori import KanamoriCluster
from dmftnet.physics.impurity.matsubara_hybridization import MatsubaraHybridization
from dmftnet.physics.impurity.pole_hybridization import PoleHybridization
from dmftnet.physics.impurity.pole_solutions import MatrixPoleSolution, PoleSolution
from dmftnet.physics.impurity.poles import MatrixPoles
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.impurity.protocol import IMAGINARY, REAL, Capabilities, Solver
from dmftnet.physics.solvers.arguments import check_bath, check_lanczos, settle
from dmftnet.physics.solvers.krylov.ensemble import Ensemble, ensemble
from dmftnet.physics.solvers.krylov.response import matrix_poles

MAX_ORBITALS = 4
LEVELS = {1: 7, 2: 3, 3: 3, 4: 2}
"""Bath levels an orbital where none are asked for, by the number of orbitals."""

FITTED_LEVELS = {1: 6, 2: 3, 3: 3, 4: 2}
"""The same on the imaginary axis."""

DROPPED = 1e-6
"""Weight of states left out of the thermal average that is warned of."""


@dataclass(frozen=True)
class EdSolver(Solver):
    """Exact diagonalisation.

    Parameters
    ----------
    bath : Intervals or Wilson
        For hybridizations on the real axis. ``n_bath`` is that of each orbital; None: see `LEVELS`.
    fit : MatsubaraFit
        For hybridizations on the imaginary axis; likewise.
    n_lanczos : int
        Block steps in sectors that are not diagonalised in full.
    broadening : (eta, slope)
        Gaussian width ``eta + slope |E|`` of the poles in the real-axis self-energy, in D.
    estimator : {"improved", "ratio", "dyson"}
        Of it, for orbitals that do not mix.
    dense : int
        Largest sector that is diagonalised in full.
    smallest_weight : float
        Boltzmann factors below do not count.
    max_states : int
        Of a sector that is not diagonalised in full.
    max_determinants : int
        In one sector; more is refused.

    Parameters
    ----------
    bath : Intervals or Wilson
        Bath sites of a spectrum on the real axis.
    fit : MatsubaraFit
        Those of values at Matsubara frequencies.

    Raises
    ------
    SettingError
        If an argument is of the wrong type or out of its limits.
    SpaceTooLargeError
        If the largest sector has more than `max_determinants`; by `solve` where the number of
        levels or of orbitals is not known before.
    """

    bath: Intervals | Wilson = Intervals(n_bath=None, stretch=2.0, window_quantile=0.99)
    fit: MatsubaraFit = MatsubaraFit(n_bath=None)
    n_lanczos: int = 120
    broadening: tuple = (2e-2, 0.1)
    estimator: str = "improved"
    dense: int = 1500
    smallest_weight: float = 1e-12
    max_states: int = 120
    max_determinants: int = 2_000_000
    name: ClassVar[str] = "ed"
    capabilities: ClassVar[Capabilities] = Capabilities(
        orbitals=MAX_ORBITALS,
        finite_temperature=True,
        axes=(REAL, IMAGINARY),
        poles=True,
        off_diagonal=True,
        any_interaction=True,
    )

    def __post_init__(self):
        check_bath(self, checks.MAX_MEMORY, LEVELS[1])
        if not isinstance(self.fit, MatsubaraFit):
            raise SettingError(
                f"solver.fit = {checks.shown(self.fit)}: give a fit of bath levels, see "
                "conf/bath/fit.yaml"
            )
        for name in ("n_lanczos", "dense", "max_states", "max_determinants"):
            value = checks.integer(f"solver.{name}", getattr(self, name), at_least=1)
            settle(self, **{name: value})
        settle(
            self,
            smallest_weight=checks.number(
                "solver.smallest_weight", self.smallest_weight, above=0, below=1
            ),
        )
        check_lanczos(self.n_lanczos, checks.MAX_MEMORY)
        checks.memory(
            f"solver.dense = {self.dense}: a sector's eigenvectors",
            32.0 * self.dense * self.dense,
            checks.MAX_MEMORY,
            "solver.max_memory",
            "take a smaller one",
        )
        for recipe in (self.bath, self.fit):
            if recipe.n_bath is not None:
                check_sectors(recipe.n_bath + 1, self.max_determinants)

    def solve(self, problem: ImpurityProblem) -> PoleSolution | MatrixPoleSolution:
        """Solve one problem; see `ImpuritySolver`."""
        self.require(problem)
        bath = self._bath(problem)
        levels = bath.levels
        check_sectors(problem.n_orb + levels.energies.size, self.max_determinants)
        cluster = KanamoriCluster(
            levels.one_body(problem.one_body), problem.interaction, problem.n_orb
        )
        states = ensemble(cluster, problem.beta, self.dense, self.smallest_weight, self.max_states)
        poles = MatrixPoles(*matrix_poles(cluster, states, self.n_lanczos, self.dense))
        density, doubles = states.mean("density", cluster), states.mean("double", cluster)
        filling = float(2 * np.trace(density).real)
        double_occupancy = float(np.mean(np.diag(doubles)))
        diagnostics = self._diagnostics(states, bath)
        if problem.has_off_diagonal:
            return MatrixPoleSolution(
                problem=problem,
                poles=poles,
                filling=filling,
                double_occupancy=double_occupancy,
                broadening=self.broadening,
                density=density,
                doubles=doubles,
                diagnostics=diagnostics,
            )
        orbitals = range(problem.n_orb)
        return PoleSolution(
            problem=problem,
            greens=tuple(poles.orbital(a) for a in orbitals),
            filling=filling,
            double_occupancy=double_occupancy,
            broadening=self.broadening,
            estimator=self.estimator,
            baths=tuple((bath.star(a),) for a in orbitals) if self.estimator == "dyson" else (),
            diagnostics=diagnostics,
            density=density,
            doubles=doubles,
        )

    def _bath(self, problem: ImpurityProblem) -> DiscreteBath:
        hybridization = problem.hybridization
        if isinstance(hybridization, PoleHybridization):
            return DiscreteBath.of_levels(hybridization)
        on_axis = isinstance(hybridization, MatsubaraHybridization)
        recipe = self.fit if on_axis else self.bath
        if recipe.n_bath is None:
            usual = FITTED_LEVELS if on_axis else LEVELS
            recipe = replace(recipe, n_bath=usual[problem.n_orb])
        check_sectors(problem.n_orb * (1 + recipe.sites), self.max_determinants)
        return recipe.discretise(hybridization)

    def _diagnostics(self, states: Ensemble, bath: DiscreteBath) -> dict:
        said = [bath.diagnostics.get("warning", "")]
        if states.dropped > DROPPED:
            said.append(
                f"the thermal average leaves out states of weight {states.dropped:.1e}; raise "
                "solver.max_states or solver.dense"
            )
        return {
            "ground_energy": states.energy,
            "n_levels": bath.levels.energies.size,
            "states": sum(weights.size for _, weights in states),
            "dropped_weight": states.dropped,
            **bath.diagnostics,
            "warning": "; ".join(filter(None, said)),
        }


def check_sectors(n_sites: int, max_determinants: int) -> None:
    """Raise if the largest sector of so many spatial orbitals has more than `max_determinants`.

    Raises
    ------
    SpaceTooLargeError
    """
    n_sites_counted = min(n_sites, 400)  # far beyond any limit, and still a float
    largest = comb(n_sites_counted, n_sites_counted // 2) ** 2
    if largest > max_determinants:
        raise SpaceTooLargeError(
            f"exact diagonalisation of {n_sites} spatial orbitals, the impurity's and the bath's, "
            f"needs {largest:.3g} determinants in one sector, more than solver.max_determinants = "
            f"{max_determinants:,}; use 12 in all at most (solver.bath.n_bath is that of each "
            "orbital), solver=ras for one orbital, or raise solver.max_determinants"
        )
