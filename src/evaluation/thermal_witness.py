"""The reference loops as another solver answers them, with error bars: is the reference right?

One solve on each converged hybridization by a solver that tells standard errors, quantum Monte
Carlo with a continuous bath. At self-consistency Z and the double occupancy of the loop are those
of this one solve; what differs is the reference's own bath of a few levels.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dmftnet.data.thermal_loops import ThermalLoopStore, ThermalReference
from dmftnet.errors import DmftnetWarning
from dmftnet.physics.impurity.interaction import Interaction
from dmftnet.physics.impurity.matsubara_hybridization import MatsubaraHybridization
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.impurity.protocol import ImpuritySolver


@dataclass(frozen=True)
class Witness:
    """One reference beside a solver with error bars.

    Parameters
    ----------
    reference : ThermalReference
    Z, Z_error : float
        At the lowest Matsubara frequency, and its standard error.
    double_occupancy, double_occupancy_error : float
    greens_error : float, in 1/D
        Largest standard error of G(tau).
    warning : str
        What the solver warned of.
    """

    reference: ThermalReference
    Z: float
    Z_error: float
    double_occupancy: float
    double_occupancy_error: float
    greens_error: float
    warning: str = ""

    def plain(self) -> dict[str, Any]:
        """Every number, ready for JSON."""
        r = self.reference
        own = {k: v for k, v in vars(self).items() if k != "reference"}
        exact = {"Z_exact": r.Z_matsubara, "double_occupancy_exact": r.double_occupancy}
        return {"U": r.U, "eps_d": r.eps_d, "beta": r.beta, "start": r.start, **own, **exact}


def witnesses(
    store: ThermalLoopStore,
    solver: ImpuritySolver,
    U: Sequence[float] | None,
    beta: Sequence[float],
    start: str = "metal",
    update: Callable[[int, str], None] = lambda count, text: None,
) -> list[Witness]:
    """Those of half-filled references from one start, at these U (None: all) and beta."""
    found = []
    for row in store.rows(U, beta):
        reference = store.reference(row)
        if reference.start == start and reference.half_filled:
            found.append(_witness(store, row, reference, solver))
            update(len(found), f"U = {reference.U:g}")
    return found


def _witness(
    store: ThermalLoopStore, row: int, reference: ThermalReference, solver: ImpuritySolver
) -> Witness:
    axis = store.axis(row)
    bath = MatsubaraHybridization(axis, store["hybridization"][row])
    problem = ImpurityProblem(
        np.array([reference.eps_d]), Interaction(reference.U), bath, reference.beta
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DmftnetWarning)
        solution = solver.solve(problem)
    told, w0 = solution.diagnostics, np.pi / reference.beta
    first = int(np.argmin(np.abs(axis.omega_n - w0)))
    Z = 1 / (1 - solution.matsubara_self_energy(axis)[0, first].imag / w0)
    sigma_error = np.ravel(told["self_energy_error"])[first]
    return Witness(
        reference=reference,
        Z=float(Z),
        Z_error=float(Z**2 * np.abs(sigma_error) / w0),
        double_occupancy=float(solution.double_occupancy),
        double_occupancy_error=float(np.max(told["double_occupancy_error"])),
        greens_error=float(np.max(told["greens_tau_error"])),
        warning=str(told.get("warning", "")),
    )
