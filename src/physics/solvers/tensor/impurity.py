"""An impurity made ready for the tensor-network solver: ground state over sectors, signals in time.

The particle numbers of the mean field are compared with their neighbours by DMRG, one electron at a
time, until none is lower. Signals are averaged over the spins where the two differ.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from dmftnet.errors import InvalidProblemError, SpaceTooLargeError
from dmftnet.physics.bath.star import StarBath
from dmftnet.physics.grids.time_contour import TimeContour, reconstruct
from dmftnet.physics.solvers.tensor.blocks import Truncation
from dmftnet.physics.solvers.tensor.evolution import Evolution, EvolutionPlan
from dmftnet.physics.solvers.tensor.layout import DOWN, UP, Orbital, orbital_of
from dmftnet.physics.solvers.tensor.model import ImpurityModel
from dmftnet.physics.solvers.tensor.state import (
    GroundState,
    ground_state,
    memory_estimate,
    starting_modes,
    with_operator,
)
from dmftnet.progress import progress

# A sector must lie lower by this (in D) to be preferred: nearer ones are degenerate (a spectator
# site, a local moment) for a truncated state.
SECTOR_TOLERANCE = 1e-6
SMALLEST_MPO = 4  # bond dimension of the Hamiltonian's operator in any geometry
# Spins whose occupations differ by less are evolved once.
SPIN_TOLERANCE = 1e-5


class Settings(Protocol):
    """What is asked of the solver whose impurity this is; see `MpsSolver`."""

    geometry: str
    bond_dimension: int
    truncation: float
    ground_truncation: float
    energy_tolerance: float
    max_sweeps: int
    dt: float
    order: int
    squared: bool
    krylov_tolerance: float
    with_self_energy: bool
    sector: str
    checkpoint: str | None
    checkpoint_every: float
    progress: bool
    max_memory: float

    @property
    def time_contour(self) -> TimeContour:
        """Where states are evolved."""


@dataclass(frozen=True, eq=False)
class TimeSignals:
    """Correlators on a contour, from one ground state.

    Parameters
    ----------
    contour : TimeContour
    t : (n_t,) float64, in 1/D
    addition, removal : (order + 1, n_t, m, m) complex128
        ``<gs| O_a (H - E0)^n exp(-i (H - E0) z) O_b^+ |gs>`` and the same with ``O_a^+``, ``O_b``;
        both decay along the contour. ``O = (d, q)``, or d alone.
    bond_dimension : int
        Largest that occurred.
    """

    contour: TimeContour
    t: np.ndarray
    addition: np.ndarray
    removal: np.ndarray
    bond_dimension: int

    def real_time(self, order: int) -> tuple[np.ndarray, np.ndarray]:
        """Both parts at real time by reconstruction of an order; (n_t, m, m) each."""
        addition, removal = (
            reconstruct(self.contour, self.t, part, order) for part in (self.addition, self.removal)
        )
        return addition, removal

    def angle_derivatives(self) -> tuple[np.ndarray, np.ndarray]:
        """``d phi_0 / d alpha`` of both parts, ``J_1 phi_1``; needs one H insertion."""
        if len(self.addition) < 2:
            raise InvalidProblemError(
                "the angle derivative needs one H insertion: solver.order >= 1 and "
                "solver.squared=false"
            )
        J = self.contour.angle_derivatives(self.t, 1)[0][:, None, None]
        return J * self.addition[1], J * self.removal[1]


@dataclass(frozen=True, eq=False)
class PreparedImpurity:
    """An impurity with its ground state, ready to be evolved.

    Parameters
    ----------
    solver : Settings
    orbitals : tuple of Orbital
    model : ImpurityModel
        H counted from the ground-state energy.
    ground : GroundState
    electrons : (n_up, n_down)
    symmetric : bool
    """

    solver: Settings
    orbitals: tuple[Orbital, ...]
    model: ImpurityModel
    ground: GroundState
    electrons: tuple[int, int]
    symmetric: bool

    @classmethod
    def of(
        cls, solver: Settings, baths: list[StarBath], eps_d, U: float, J: float, symmetric: bool
    ) -> PreparedImpurity:
        """Orbitals in the solver's geometry, memory checked, ground state over the sectors."""
        n_sites = 2 * sum(bath.n_bath + 1 for bath in baths)
        _check_memory(solver, n_sites, SMALLEST_MPO)  # before anything of this length is made
        orbitals = tuple(
            orbital_of(bath, float(level), float(U), solver.geometry)
            for bath, level in zip(baths, np.atleast_1d(eps_d), strict=True)
        )
        model = ImpurityModel(orbitals, float(U), float(J))
        _check_memory(solver, n_sites, max(model.mpo.chi))
        n_pairs = sum(orbital.n_pairs for orbital in orbitals)
        half_filled = 2 * n_pairs == n_sites // 2
        symmetric = symmetric and half_filled and all(bath.is_symmetric for bath in baths)
        start = (n_pairs, n_pairs)
        electrons, ground = cls._lowest_sector(solver, model, start, symmetric)
        shifted = model.shifted(ground.energy)
        return cls(solver, orbitals, shifted, ground, electrons, symmetric)

    @staticmethod
    def _lowest_sector(solver: Settings, model: ImpurityModel, start, symmetric: bool):
        def lowest(n_up: int, n_down: int) -> GroundState:
            return ground_state(
                model, n_up, n_down,
                Truncation(solver.bond_dimension, solver.ground_truncation),
                solver.energy_tolerance, solver.max_sweeps,
                filled=starting_modes(model, n_up, n_down),
            )  # fmt: skip

        found = {start: lowest(*start)}
        best = start
        n_modes = len(model.layout.modes) // 2
        while solver.sector == "search" and not symmetric:
            n_up, n_down = best
            further = (n_up + 1, n_down) if n_up == n_down else (n_up, n_down + 1)
            fewer = (n_up, n_down - 1) if n_up == n_down else (n_up - 1, n_down)
            for near in (further, fewer):
                if near not in found and 0 <= min(near) and max(near) <= n_modes:
                    found[near] = lowest(*near)
            lowest_near = min(found, key=lambda key: found[key].energy)
            if found[lowest_near].energy > found[best].energy - SECTOR_TOLERANCE:
                break
            best = lowest_near
        return best, found[best]

    def equal_orbital(self, orbital: int) -> int | None:
        """An earlier orbital with the same one-body matrix."""
        mine = self.orbitals[orbital].one_body
        for other in range(orbital):
            theirs = self.orbitals[other].one_body
            if mine.shape == theirs.shape and np.allclose(mine, theirs, rtol=0, atol=1e-12):
                return other
        return None

    def occupations(self) -> tuple[float, float]:
        """(filling of all orbitals and both spins, ``<n_up n_dn>`` averaged over orbitals)."""
        position, occupation = self.model.layout.position, self.ground.occupation
        sites = [(position(o, UP), position(o, DOWN)) for o in range(len(self.orbitals))]
        filling = sum(occupation(up) + occupation(down) for up, down in sites)
        return filling, float(np.mean([occupation(up, down) for up, down in sites]))

    def diagnostics(self) -> dict:
        """Numbers on the ground state."""
        return {
            "ground_energy": self.ground.energy,
            "energy_variance": self.ground.variance(self.model),
            "dmrg_sweeps": int(self.ground.sweeps),
            "dmrg_converged": self.ground.converged,
            "ground_bond_dimension": max(self.ground.psi.bond_dimensions),
            "n_up": int(self.electrons[0]),
            "n_down": int(self.electrons[1]),
        }

    def signals(self, orbital: int = 0) -> TimeSignals:
        """Evolve one orbital's excitations; averaged over the spins where they differ."""
        spins = (UP,) if self._is_spin_symmetric(orbital) else (UP, DOWN)
        sides = ("addition",) if self.symmetric else ("addition", "removal")
        parts, largest = {}, 0
        for side in sides:
            signal = []
            for spin in spins:
                values, bond = self._evolve(orbital, spin, side)
                signal.append(values)
                largest = max(largest, bond)
            parts[side] = np.mean(signal, axis=0)
        if self.symmetric:  # d -> d+, q -> U d+ - q+
            T = np.array([[1.0, 0.0], [self.model.U, -1.0]])[: parts["addition"].shape[-1]]
            T = T[:, : parts["addition"].shape[-1]]
            parts["removal"] = T @ parts["addition"] @ T.T
        plan = self._plan()
        return TimeSignals(plan.contour, plan.times, parts["addition"], parts["removal"], largest)

    def _is_spin_symmetric(self, orbital: int) -> bool:
        """Whether both spins are equally filled; a local moment's state may point either way."""
        up, down = (
            self.ground.occupation(self.model.layout.position(orbital, s)) for s in (UP, DOWN)
        )
        return self.electrons[0] == self.electrons[1] and abs(up - down) < SPIN_TOLERANCE

    def _plan(self) -> EvolutionPlan:
        solver = self.solver
        return EvolutionPlan(
            solver.time_contour, solver.dt, Truncation(solver.bond_dimension, solver.truncation),
            solver.order, solver.squared, solver.krylov_tolerance,
        )  # fmt: skip

    def _evolve(self, orbital: int, spin: int, side: str) -> tuple[np.ndarray, int]:
        plan, dagger = self._plan(), "+" if side == "addition" else ""
        interacting = self.solver.with_self_energy and self.model.U > 0
        names = [operator + dagger for operator in (("d", "q") if interacting else ("d",))]
        kets = [with_operator(self.ground.psi, self.model, orbital, spin, n) for n in names]
        label = f"orbital {orbital}, spin {'down' if spin else 'up'}, {side}"
        path = None
        if self.solver.checkpoint is not None:
            digest = plan.fingerprint(self.model, label)
            path = Path(self.solver.checkpoint) / f"mps-{digest}.h5"
        with _progress(self.solver.progress, label, plan.n_steps) as report:
            evolution = Evolution(
                self.model, kets, plan, label, path, self.solver.checkpoint_every, report
            )
            signal = evolution.run()
        return signal, max(evolution.bond_dimensions, default=0)


def _check_memory(solver: Settings, n_sites: int, mpo_dimension: int) -> None:
    """Raise if states of the solver's bond dimension may not fit into its memory.

    Raises
    ------
    SpaceTooLargeError
    """
    n_states = (2 if solver.with_self_energy else 1) * (solver.order + 3)
    needed = memory_estimate(n_sites, solver.bond_dimension, mpo_dimension, n_states)
    if needed > solver.max_memory:
        raise SpaceTooLargeError(
            f"bond dimension {solver.bond_dimension} on {n_sites} sites may need {needed:.1f} GiB, "
            f"more than solver.max_memory = {solver.max_memory} GiB; lower bond_dimension or "
            "n_bath, or raise solver.max_memory"
        )


@contextmanager
def _progress(
    wanted: bool, label: str, n_steps: int
) -> Iterator[Callable[[int, int, int], None] | None]:
    """Callback of a progress bar, or of a log's lines; or None."""
    if not wanted:
        yield None
        return
    with progress(f"{label}: step", n_steps) as update:
        yield lambda done, total, bond: update(done, f"bond {bond}")
