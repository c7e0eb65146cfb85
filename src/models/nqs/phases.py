"""Phases of a neural state that are learned: a table over local occupations.

``psi(s) = sign(s) sqrt(p(s)) exp(i phi_k)``, s canonical. k numbers the local states of chosen
sites together with the parities of the electrons of either spin in each chain; the signs are those
of hops and of spin flip (`dmftnet.models.nqs.line`), not of pairs that have moved. The Hamiltonian
is real: once trained, a table is rounded to signs (`settled`), and the state is real.

p changes the modulus alone and the table the phase alone, so that the real part of the quantum
metric has two blocks. That of the table, W the weights of its entries, is ``diag(W) - W W^T``:

``(diag(W) - W W^T + lambda) delta = F``, ``F_k = sum_(s in k) w_s (Im E(s) - <Im E>)``,

one rank from a diagonal. ``2 F`` is the energy's gradient.

Range: a check on clusters of a few sites. At three orbitals of four sites (U / Gamma = 10) known
signs leave 4e-15 of the energy, the best table of this kind 7e-5; from random phases the
ground state is found at two sites an orbital and missed at three (docs/physics.md).

Reference: L. Rigo, M. Schmitt, arXiv 2512.08624.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dmftnet import checks
from dmftnet.errors import SettingError
from dmftnet.models.nqs.line import Line
from dmftnet.physics.fermions.kanamori import DOWN, UP

MAX_ENTRIES = 2**20
"""Of a table."""

LARGEST_TURN = 0.5
"""Of one entry in one step, in radians."""


@dataclass(frozen=True)
class PhaseMap:
    """What the phases depend on, and where they begin.

    Parameters
    ----------
    sites : tuple of int, optional
        Of the cluster, impurity orbitals first; None: these alone.
    spread : float, in radians
        Initial phases are uniform over so wide an interval.
    steps : int
        In which phases align before a training (`dmftnet.models.nqs.alignment`).
    seed : int

    Raises
    ------
    SettingError
        If an argument is of the wrong type or out of its limits.
    """

    sites: tuple[int, ...] | None = None
    spread: float = 2 * np.pi
    steps: int = 60
    seed: int = 0

    def __post_init__(self):
        key = "phases"
        if self.sites is not None:
            found = checks.numbers(f"{key}.sites", self.sites, at_least=0)
            sites = tuple(checks.integer(f"{key}.sites", site) for site in found)
            object.__setattr__(self, "sites", sites)
        object.__setattr__(self, "spread", checks.number(f"{key}.spread", self.spread, at_least=0))
        object.__setattr__(self, "steps", checks.integer(f"{key}.steps", self.steps, at_least=0))
        object.__setattr__(self, "seed", checks.seed(f"{key}.seed", self.seed))

    def table(self, line: Line) -> np.ndarray:
        """(n_entries,) float64 initial phases, in radians.

        Raises
        ------
        SettingError
            If there is no such site, or there are too many.
        """
        sites = self._sites(line)
        wrong = [site for site in sites if site >= line.n_sites]
        if wrong or len(set(sites)) < len(sites):
            raise SettingError(
                f"phases.sites = {list(sites)}: give different sites below {line.n_sites}"
            )
        size = 4 ** len(sites) * 4**line.n_chains
        if size > MAX_ENTRIES:
            raise SettingError(
                f"phases.sites = {list(sites)}: a table of {size:,} phases is larger than "
                f"{MAX_ENTRIES:,}; give fewer sites"
            )
        return self.spread * (np.random.default_rng(self.seed).random(size) - 0.5)

    def entries(self, line: Line, states: np.ndarray) -> np.ndarray:
        """(n,) int64 entry of the table of (n, n_sites) canonical local states."""
        place = np.argsort(line.order)[list(self._sites(line))]
        digits = [states[:, place]]
        electrons = line.electrons_in_chains(states)
        digits.append(electrons[UP] % 2 + 2 * (electrons[DOWN] % 2))
        every = np.concatenate(digits, axis=1)
        return every @ 4 ** np.arange(every.shape[1])

    def _sites(self, line: Line) -> tuple[int, ...]:
        return tuple(range(line.n_chains)) if self.sites is None else self.sites


def turned(
    table: np.ndarray,
    entries: np.ndarray,
    weights: np.ndarray,
    local: np.ndarray,
    rate: float,
    regularisation: float,
) -> np.ndarray:
    """A table after one step of natural gradient.

    Parameters
    ----------
    table : (n_entries,) float64, in radians
    entries : (n,) int64
        Of the samples.
    weights : (n,) float64
        Their sum is one.
    local : (n,) float64, in D
        Imaginary parts of their local energies.
    rate : float, in 1/D
    regularisation : float
        Added to the metric.
    """
    W = np.bincount(entries, weights, table.size)
    F = np.bincount(entries, weights * (local - weights @ local), table.size)
    x, y = F / (W + regularisation), W / (W + regularisation)
    step = rate * (x + y * (W @ x) / (1 - W @ y))  # Sherman and Morrison
    return table - step.clip(-LARGEST_TURN, LARGEST_TURN)


def settled(table: np.ndarray, entries: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The table rounded to 0 and pi, but for one phase of all, which makes ``psi^2`` real."""
    common = 0.5 * np.angle(weights @ np.exp(2j * table[entries]))
    return np.where(np.cos(table - common) < 0, np.pi, 0.0)
