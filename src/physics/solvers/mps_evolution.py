"""Evolution of an excited state along a complex contour, and the correlators read off on the way.

Time-dependent variational principle with TeNPy: two-site steps, in which the bonds grow as the
truncation weight asks for, until a bond reaches the largest dimension; one-site steps, at constant
bond dimension, from there on. The step from ``t_j`` to ``t_(j+1)`` is ``exp(-i (H - E0) dz)`` with
``dz = z(t_(j+1)) - z(t_j)``. The norm is kept, not restored: what truncation costs shows.

Correlators, for bra operators a and the evolved ket b:

* plain: ``phi_n,ab(t) = <chi_n^a | psi^b(t)>`` with ``chi_n^a = (H - E0)^n O_a^+ |gs>``, n = 0 ..
  order, made once;
* squared (straight contours): ``phi_0,ab(t_i + t_j) = psi^a(t_i)^T psi^b(t_j)``, H being real,
  which needs evolution to t_max/2 alone.

The bonds get room for H|psi> and H^2|psi> before the first step (Yang, White, PRB 102, 094315
(2020)). The error of a step is of third order in dz times the part of H outside the manifold; a
full bond dimension has none.
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
from tenpy.networks.mps import MPS
from tenpy.tools.optimization import temporary_level

from dmftnet.errors import StoreError
from dmftnet.physics.solvers.mps_model import ImpurityModel
from dmftnet.physics.solvers.mps_state import (
    Truncation,
    applied,
    as_complex,
    conjugated,
    load_state,
    save_state,
)
from dmftnet.physics.solvers.mps_tdvp import OneSiteEngine, TwoSiteEngine
from dmftnet.physics.time_contour import TimeContour

KRYLOV_MAX = 24
EXPANSION = 2  # powers of H that the bonds have room for at the start


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
        """Identifies an evolution, so that a checkpoint resumes nothing else."""
        digest = hashlib.sha256(label.encode())
        for orbital in model.orbitals:
            digest.update(np.ascontiguousarray(orbital.one_body).tobytes())
        digest.update(json.dumps([model.U, model.J, str(self)]).encode())
        return digest.hexdigest()[:16]


@dataclass
class Evolution:
    """Several kets (d+|gs>, q+|gs>) evolved in step, with their correlators.

    Parameters
    ----------
    model : ImpurityModel
        With H counted from the ground-state energy.
    kets : list of MPS
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
    kets: list[MPS]
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
        plan, m = self.plan, len(self.kets)
        self._bras = self._bra_states()
        signal = np.zeros((plan.order + 1, plan.times.size, m, m), dtype=np.complex128)
        resumed = self._resume(signal)
        if resumed is not None:
            states = resumed
        else:
            states = [as_complex(self._expanded(ket)) for ket in self.kets]
            self._measure(signal, None, self.kets)
        engines: list = [None] * m
        dz = np.diff(plan.contour.z(plan.dt * np.arange(plan.n_steps + 1)))
        saved = time.monotonic()
        while self.step < plan.n_steps:
            before = None
            if plan.squared:  # an expanded bond has empty Schmidt values, which overlaps divide by
                before = [state.copy() for state in states] if self.step else self.kets
            with temporary_level("skip_arg_checks"):
                for b, state in enumerate(states):
                    engines[b] = self._engine(engines[b], state)
                    engines[b].run_evolution(1, complex(dz[self.step]))
                self.step += 1
                self._measure(signal, before, states)
            largest = max(max(state.chi) for state in states)
            self.bond_dimensions.append(int(largest))
            if self.progress:
                self.progress(self.step, plan.n_steps, largest)
            if self.checkpoint and time.monotonic() - saved > self.checkpoint_every:
                self._save(states, signal)
                saved = time.monotonic()
        if self.checkpoint:
            self._save(states, signal)
        return signal

    def _bra_states(self) -> list[list[MPS]]:
        """``(H - E0)^n O_a^+ |gs>`` for every n and a."""
        bras = [list(self.kets)]
        limit = self.plan.truncation
        generous = Truncation(4 * limit.bond_dimension, 1e-2 * limit.weight)
        for _ in range(self.plan.order):
            bras.append([applied(self.model.H_MPO, state, generous) for state in bras[-1]])
        return bras

    def _expanded(self, ket: MPS) -> MPS:
        """The same state with room for ``H ket`` and ``H^2 ket`` on its bonds.

        Two-site steps alone open a bond only between neighbours: hops over several sites would be
        projected away in the first steps.
        """
        truncation = self.plan.truncation
        powers = [ket]
        for _ in range(EXPANSION):
            powers.append(applied(self.model.H_MPO, powers[-1], truncation))
        out = ket.copy()
        room = {"chi_max": truncation.bond_dimension, "svd_min": max(1e-7, truncation.weight**0.5)}
        out.subspace_expansion(powers[1:], room)
        return out

    def _measure(self, signal: np.ndarray, before: list[MPS] | None, states: list[MPS]) -> None:
        """Correlators at this step; with the squared trick at twice the time, and one dt before."""
        m = len(states)
        if not self.plan.squared:
            for n, bras in enumerate(self._bras):
                for a, b in np.ndindex(m, m):
                    signal[n, self.step, a, b] = bras[a].overlap(states[b])
            return
        pairs = [(2 * self.step, states)] if before is None else [
            (2 * self.step - 1, before), (2 * self.step, states),
        ]  # fmt: skip
        for index, other in pairs:
            for a in range(m):
                bra = conjugated(other[a])
                for b in range(a, m):
                    value = complex(bra.overlap(states[b]))
                    signal[0, index, a, b] = signal[0, index, b, a] = value

    def _engine(self, engine, state: MPS):
        """Two-site until the largest bond dimension is reached, one-site from then on."""
        full = max(state.chi) >= self.plan.truncation.bond_dimension
        if engine is not None and (isinstance(engine, OneSiteEngine) or not full):
            return engine
        options = {
            "trunc_params": self.plan.truncation.params(),
            "lanczos_params": {
                "P_tol": self.plan.krylov_tolerance,
                "N_max": KRYLOV_MAX,
                "normalize": False,
            },
            "max_dt": 1e9,
            "max_trunc_err": 1e9,
            "max_N_sites_per_ring": 10**9,
            "preserve_norm": False,
        }
        kind = OneSiteEngine if full else TwoSiteEngine
        engine = kind(state, self.model, options)
        for config in (engine.options, engine.lanczos_params, engine.trunc_params):
            config.touch(*config)  # not every kind of step reads every option
        return engine

    def _save(self, states: list[MPS], signal: np.ndarray) -> None:
        """Write under another name and rename: a kill leaves the old file or the new one."""
        self.checkpoint.parent.mkdir(parents=True, exist_ok=True)
        partial = self.checkpoint.with_suffix(".partial")
        with h5py.File(partial, "w") as file:
            file.attrs["fingerprint"] = self.plan.fingerprint(self.model, self.label)
            file.attrs["step"] = self.step
            file["signal"] = signal
            file["bond_dimensions"] = np.array(self.bond_dimensions, dtype=np.int64)
            for b, state in enumerate(states):
                save_state(file.create_group(f"state{b}"), state)
        os.replace(partial, self.checkpoint)

    def _resume(self, signal: np.ndarray) -> list[MPS] | None:
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
                return [load_state(file[f"state{b}"], self.model) for b in range(len(self.kets))]
        except (OSError, KeyError) as error:
            raise StoreError(
                f"checkpoint {self.checkpoint} cannot be read ({error}); remove it to start anew"
            ) from error
