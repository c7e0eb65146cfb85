"""Evolution of an excited state along a complex contour, and the correlators read off on the way.

Time-dependent variational principle (`sweeps`): two-site steps, in which the bonds grow as the
truncation weight asks for, until a bond reaches the largest dimension; one-site steps, at constant
bond dimension, from there on. The step from ``t_j`` to ``t_(j+1)`` is ``exp(-i (H - E0) dz)`` with
``dz = z(t_(j+1)) - z(t_j)``. The norm is kept, not restored: what truncation costs shows.

Correlators, for bra operators a and the evolved ket b:

* plain: ``phi_n,ab(t) = <chi_n^a | psi^b(t)>`` with ``chi_n^a = (H - E0)^n O_a^+ |gs>``, n = 0 ..
  order, made once;
* squared (straight contours): ``phi_0,ab(t_i + t_j) = psi^a(t_i)^T psi^b(t_j)``, H being real,
  which needs evolution to t_max/2 alone.

All kets are evolved as one state with a label (`mps_algebra.bundled`), each normalised, so that the
truncation weighs them equally and a sweep serves them all.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np

from dmftnet.errors import StoreError
from dmftnet.physics.grids.time_contour import TimeContour
from dmftnet.physics.solvers.tensor.algebra import bundled, overlap, overlaps
from dmftnet.physics.solvers.tensor.blocks import BlockState, Truncation
from dmftnet.physics.solvers.tensor.model import ImpurityModel
from dmftnet.physics.solvers.tensor.sweeps import Expansion, Sweeper, evolve

UNCUT = Truncation(10_000, 0.0)
ROOM = 2  # directions that a bond may gain in a sweep, of each charge


@dataclass(frozen=True)
class EvolutionPlan:
    """Times, contour and accuracy of an evolution.

    Parameters
    ----------
    contour : TimeContour
    dt : float, in 1/D
        Step of the time parameter.
    truncation : Truncation
    order : int
        H insertions 0 .. order.
    squared : bool
        Use the squared-state trick.
    krylov_tolerance : float
        Last coefficient of the local Krylov vectors.
    """

    contour: TimeContour
    dt: float
    truncation: Truncation
    order: int = 0
    squared: bool = False
    krylov_tolerance: float = 1e-8

    @property
    def n_steps(self) -> int:
        """Steps of dt to be evolved."""
        total = round(self.contour.t_max / self.dt)
        return (total + 1) // 2 if self.squared else total

    @property
    def times(self) -> np.ndarray:
        """(n_t,) times of the signal, 0 .. t_max."""
        return self.dt * np.arange((2 * self.n_steps if self.squared else self.n_steps) + 1)

    def fingerprint(self, model: ImpurityModel, label: str) -> str:
        """Identifies an evolution, so that a checkpoint resumes nothing else.

        The bath to 1e-9 D: its last digits (1e-15) differ between processors, and a run that goes
        on elsewhere is the same run.
        """
        digest = hashlib.sha256(label.encode())
        for orbital in model.orbitals:
            digest.update((np.round(orbital.one_body, 9) + 0.0).tobytes())  # no -0.0
        digest.update(json.dumps([model.U, model.J, str(self)]).encode())
        return digest.hexdigest()[:16]


@dataclass
class Evolution:
    """Several kets (d+|gs>, q+|gs>) evolved in step, with their correlators.

    Parameters
    ----------
    model : ImpurityModel
        With H counted from the ground-state energy.
    kets : list of BlockState
        ``O_b^+ |gs>``; they are the bras as well.
    plan : EvolutionPlan
    checkpoint : Path, optional
        File to save to and to resume from.
    checkpoint_every : float
        Seconds between saves.
    progress : callable, optional
        Called with (steps done, steps in all, largest bond dimension).
    """

    model: ImpurityModel
    kets: list[BlockState]
    plan: EvolutionPlan
    label: str = ""
    checkpoint: Path | None = None
    checkpoint_every: float = 60.0
    progress: Callable[[int, int, int], None] | None = None
    step: int = 0
    bond_dimensions: list[int] = field(default_factory=list)

    def run(self) -> np.ndarray:
        """Evolve to the end.

        Returns
        -------
        (order + 1, n_t, m, m) complex128
            ``phi_n,ab(t)`` at ``plan.times``.
        """
        plan, m, site = self.plan, len(self.kets), self.label_site
        signal = np.zeros((plan.order + 1, plan.times.size, m, m), dtype=np.complex128)
        state = self._resume(signal)
        norms = np.array([ket.norm() for ket in self.kets])
        norms = np.where(norms > 0, norms, 1.0)
        if plan.squared:
            bras, scale = None, np.outer(norms, norms)
        else:
            bras = [bundled(row, site, UNCUT) for row in self._bra_states()]
            scale = np.outer(np.ones(m), norms)
        if state is None:
            unit = [ket.scaled(1 / norm) for ket, norm in zip(self.kets, norms, strict=True)]
            state = bundled(unit, site, plan.truncation).as_complex()
            self._measure(signal, scale, bras, None, state)
            signal[0, 0] = [[overlap(a, b) for b in self.kets] for a in self.kets]  # uncut
        operator = self.model.operator.with_label_site(site, m)
        sweeper = Sweeper(state, operator)
        dz = np.diff(plan.contour.z(plan.dt * np.arange(plan.n_steps + 1)))
        saved = time.monotonic()
        while self.step < plan.n_steps:
            before = state.copy()
            self._evolve(sweeper, complex(dz[self.step]))
            self.step += 1
            self._measure(signal, scale, bras, before, state)
            self.bond_dimensions.append(max(state.bond_dimensions))
            if self.progress:
                self.progress(self.step, plan.n_steps, self.bond_dimensions[-1])
            if self.checkpoint and time.monotonic() - saved > self.checkpoint_every:
                self._save(self.checkpoint, state, signal)
                saved = time.monotonic()
        if self.checkpoint:
            self._save(self.checkpoint, state, signal)
        return signal

    @property
    def label_site(self) -> int:
        """Where the label of the kets stands: between the two halves."""
        return len(self.model.layout.modes) // 2

    def _bra_states(self) -> list[list[BlockState]]:
        """``(H - E0)^n O_a^+ |gs>`` for every n and a."""
        bras = [list(self.kets)]
        limit = self.plan.truncation
        generous = Truncation(4 * limit.bond_dimension, 1e-2 * limit.weight)
        for _ in range(self.plan.order):
            bras.append([self.model.operator.applied(state) for state in bras[-1]])
            for state in bras[-1]:
                state.canonicalise(generous)
        return bras

    def _evolve(self, sweeper: Sweeper, dz: complex) -> None:
        """Two-site until the largest bond dimension is reached, one-site from then on."""
        plan = self.plan
        full = max(sweeper.state.bond_dimensions) >= plan.truncation.bond_dimension
        room = Expansion(abs(dz), plan.truncation.weight, ROOM)
        cut = None if full else plan.truncation
        evolve(sweeper, dz, plan.krylov_tolerance, cut, room)

    def _measure(self, signal, scale, bras, before: BlockState | None, state: BlockState) -> None:
        """Correlators at this step; with the squared trick at twice the time, and one dt before."""
        site = self.label_site
        if not self.plan.squared:
            for n, bra in enumerate(bras):
                signal[n, self.step] = overlaps(bra, state, site) * scale
            return
        signal[0, 2 * self.step] = overlaps(state, state, site, conjugate=False) * scale
        if before is not None:
            between = overlaps(before, state, site, conjugate=False) * scale
            signal[0, 2 * self.step - 1] = 0.5 * (between + between.T)

    def _save(self, path: Path, state: BlockState, signal: np.ndarray) -> None:
        """Write under another name and rename: a kill leaves the old file or the new one."""
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        with h5py.File(partial, "w") as file:
            file.attrs["fingerprint"] = self.plan.fingerprint(self.model, self.label)
            file.attrs["step"] = self.step
            file["signal"] = signal
            file["bond_dimensions"] = np.array(self.bond_dimensions, dtype=np.int64)
            state.save(file.create_group("state"))
            for i, ket in enumerate(self.kets):
                ket.save(file.create_group(f"kets/{i}"))
        os.replace(partial, path)

    def _resume(self, signal: np.ndarray) -> BlockState | None:
        """The saved state, with its own kets: a ground state found anew may have the other sign."""
        if self.checkpoint is None or not self.checkpoint.exists():
            return None
        try:
            with h5py.File(self.checkpoint, "r") as file:
                if file.attrs["fingerprint"] != self.plan.fingerprint(self.model, self.label):
                    raise StoreError(
                        f"checkpoint {self.checkpoint} belongs to another problem or other "
                        "settings; remove it or choose another folder"
                    )
                self.step = int(file.attrs["step"])
                signal[:] = file["signal"][()]
                self.bond_dimensions = file["bond_dimensions"][()].tolist()
                self.kets = [BlockState.load(file[f"kets/{i}"]) for i in range(len(file["kets"]))]
                return BlockState.load(file["state"])
        except (OSError, KeyError) as error:
            raise StoreError(
                f"checkpoint {self.checkpoint} cannot be read ({error}); remove it to start anew"
            ) from error
