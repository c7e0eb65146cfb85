"""Hysteresis of the Mott transition: both half-filled solutions followed through U.

The metal is followed upwards and the insulator downwards, each loop from the previous solution. A
branch ends between the last U at which the solution is still a metal (an insulator) and the next;
`critical` is the midpoint, its error half the step. `dmftnet.physics.analysis.phases` distinguishes
the branches, for the exact solver and the networks alike.

Cost: one loop after another, 10 to 100 iterations each; some 10 s per network on one core.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dmftnet import checks
from dmftnet.data.exact_loops import ReferenceStore, lattice_named
from dmftnet.data.plans.sampling import STARTS
from dmftnet.errors import DmftnetError
from dmftnet.evaluation.closure import LoopSettings
from dmftnet.physics.analysis.phases import phase_of, phase_of_solution, pinned_share
from dmftnet.physics.analysis.quasiparticle import quasiparticle_weights
from dmftnet.physics.dmft.iterations import DMFTResult
from dmftnet.physics.dmft.loop import continue_in_U
from dmftnet.physics.dmft.starts import starting_hybridization
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.impurity.protocol import ImpuritySolver
from dmftnet.report.figures import Branch

BRANCHES = ("metal", "insulator")


@dataclass(frozen=True)
class HysteresisSettings:
    """Which paths a network follows, and how its loops are run there.

    Parameters
    ----------
    metal, insulator : sequence of float, in D
        U in the order of the path: rising for the metal, falling for the insulator.
    loop : LoopSettings
        With more iterations than elsewhere: loops are slow near the end of a branch.
    """

    metal: Sequence[float]
    insulator: Sequence[float]
    loop: LoopSettings

    def __post_init__(self):
        for name, sign in (("metal", 1), ("insulator", -1)):
            U = np.array(checks.numbers(f"hysteresis.{name}", getattr(self, name), at_least=0))
            if U.size < 2 or np.any(sign * np.diff(U) <= 0):
                word = "rise" if sign > 0 else "fall"
                raise DmftnetError(
                    f"hysteresis.{name} = {U.tolist()}: at least two U that {word} are needed"
                )
        if not isinstance(self.loop, LoopSettings):
            raise DmftnetError(
                f"hysteresis.loop = {checks.shown(self.loop)}: give LoopSettings, see conf"
            )


@dataclass(frozen=True, eq=False)
class BranchPath:
    """One branch followed through U; n steps, the last perhaps beyond its end.

    Parameters
    ----------
    branch : {"metal", "insulator"}
    U, Z : (n,) float64
    pinned : (n,) float64
        ``A(0) pi D / 2``.
    on, converged : (n,) bool
        Whether the solution is still on the branch, and whether its loop converged.
    bracket : (float, float) or None, in D
        Last U on the branch, first U off it; None where the path does not reach the end.
    """

    branch: str
    U: np.ndarray
    Z: np.ndarray
    pinned: np.ndarray
    on: np.ndarray
    converged: np.ndarray
    bracket: tuple[float, float] | None

    @property
    def critical(self) -> float | None:
        """U at which the branch ends, in D."""
        return None if self.bracket is None else 0.5 * (self.bracket[0] + self.bracket[1])

    def numbers(self) -> dict[str, Any]:
        """Plain values for JSON."""
        columns = ("U", "Z", "pinned", "on", "converged")
        width = None if self.bracket is None else 0.5 * abs(self.bracket[1] - self.bracket[0])
        return {
            "critical_U": self.critical,
            "critical_U_error": width,
            **{name: getattr(self, name).tolist() for name in columns},
        }

    def drawn(self) -> Branch:
        """For `dmftnet.report.figures.hysteresis`."""
        return Branch(self.U, self.Z, self.pinned, self.on, self.critical)


def follow(
    solver: ImpuritySolver, grid: FrequencyGrid, branch: str, settings: HysteresisSettings
) -> BranchPath:
    """Follow one branch of the half-filled Bethe lattice with a solver until it is lost."""
    lattice = lattice_named("bethe")
    U = list(getattr(settings, branch))
    start = starting_hybridization(lattice, grid, U[0], -U[0] / 2, branch)
    problem = ImpurityProblem.on_grid(U[0], -U[0] / 2, grid, start)

    def lost(result: DMFTResult) -> bool:
        return phase_of_solution(result.solution, lattice) != branch

    results = continue_in_U(settings.loop.loop(solver, lattice), problem, U, lost)
    spectra = [result.solution.spectrum()[0] for result in results]
    on = np.array([phase_of_solution(result.solution, lattice) == branch for result in results])
    Z = [
        quasiparticle_weights(result.solution)[0].value if kept and branch == "metal" else 0.0
        for result, kept in zip(results, on, strict=True)
    ]
    walked = np.array(U[: len(results)])
    return BranchPath(
        branch=branch,
        U=walked,
        Z=np.array(Z),
        pinned=np.array([pinned_share(grid, A, lattice, 1.0) for A in spectra]),
        on=on,
        converged=np.array([result.converged for result in results]),
        bracket=_bracket(walked, on),
    )


def exact_paths(store: ReferenceStore) -> dict[str, BranchPath]:
    """The branches of a reference file: from its half-filled Bethe loops, the ends from its paths.

    Branches without a single solution are left out.
    """
    lattice = lattice_named("bethe")
    half = np.abs(store["eps_d"] + store["U"] / 2) < 1e-9
    bethe = half & (store["lattice"] == "bethe") & np.isnan(store["target"])
    spectra = store["spectrum"].astype(np.float64)
    branches = np.array([phase_of(store.grid, A, lattice, 1.0) for A in spectra])
    paths = {}
    for name in BRANCHES:
        path = bethe & (store["kind"] == 1) & (store["start"] == STARTS.index(name))
        rows = np.flatnonzero(path)
        bracket = _bracket(store["U"][rows], branches[rows] == name)
        kept = bethe & (branches == name) & (store["converged"] == 1)
        rows = np.flatnonzero(kept | path)
        if not kept.any():
            continue
        rows = rows[np.argsort(store["U"][rows], kind="stable")]
        # one row per U: that of a path if there is one, which comes last among equals
        order = np.lexsort((store["kind"][rows] == 1, store["U"][rows]))
        rows = rows[order]
        last = np.append(np.diff(store["U"][rows]) > 1e-9, True)
        rows = rows[last]
        metal = name == "metal"
        Z = [store.quasiparticle_weight(i).value if metal else 0.0 for i in rows]
        paths[name] = BranchPath(
            branch=name,
            U=store["U"][rows],
            Z=np.array(Z),
            pinned=np.array([pinned_share(store.grid, spectra[i], lattice, 1.0) for i in rows]),
            on=branches[rows] == name,
            converged=store["converged"][rows].astype(bool),
            bracket=bracket,
        )
    return paths


def _bracket(U: np.ndarray, on: np.ndarray) -> tuple[float, float] | None:
    """Last step on the branch and the first off it, in the order of the path."""
    off = np.flatnonzero(~np.asarray(on, dtype=bool))
    if off.size == 0 or off[0] == 0:
        return None
    return float(U[off[0] - 1]), float(U[off[0]])
