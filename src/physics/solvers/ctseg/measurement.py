"""What a chain measures, and the loop of moves and measurements.

With ``q = U (n_-s - 1/2) d``, sums over creators s_j and annihilators e_i of each spin,

``G(iw) = -(1/beta) <sum_ij M_ji e^{iw (e_i - s_j)}>``,  ``M = A^-1``,

``F(iw) = <<q; d+>>`` and ``I(iw) = <<q; q+>>`` with further factors ``U (n_-s(e_i) - 1/2)`` and
``U (n_-s(s_j) - 1/2)``. All are taken at the frequencies themselves; no bin in tau exists, so
nothing is lost near 0 and beta. n and ``<n_up n_dn>`` are lengths of segments and of overlaps.

Each measurement has a weight: the configuration's sign, 1 for a bath with a positive spectrum; with
a floor under Delta(tau) times what takes it out again (`floor`).

References: H. Hafermann, K. R. Patton, P. Werner, PRB 85, 205106 (2012) (F in the segment picture);
J. Kaufmann et al., PRB 100, 075119 (2019) (I).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dmftnet.physics.solvers.compiled import compiled
from dmftnet.physics.solvers.ctseg.configuration import (
    Configuration,
    occupied,
    occupied_until,
    overlap,
)
from dmftnet.physics.solvers.ctseg.floor import reweighted
from dmftnet.physics.solvers.ctseg.moves import KINDS, REFRESH, move, refresh

WEIGHT, FILLING, DOUBLE, ORDER, SIZE = range(5)
"""Of the numbers: weight, occupation of one spin, double occupancy, segments a spin, and the
weight's absolute value."""


@dataclass(frozen=True, eq=False)
class Samples:
    """What chains have measured, in blocks: means of each thing times the weight.

    Parameters
    ----------
    indices : (n_w,) int64
        Odd integers ``2n + 1`` of the frequencies.
    curves : (n_blocks, 3, n_w) complex128
        G, F / U, I / U^2, in 1/D.
    numbers : (n_blocks, 5) float64
        See `WEIGHT`.
    spread : (5,) float64
        Variance of the numbers between single measurements.
    per_block : int
        Measurements.
    floor : float, in D^2
        See `dmftnet.physics.solvers.ctseg.floor`.
    counts : (7, 2) int64
        Attempts and acceptances of the moves, see `dmftnet.physics.solvers.ctseg.moves.KINDS`.
    drift : float
        Largest relative change of an inverse on being computed anew.
    """

    indices: np.ndarray
    curves: np.ndarray
    numbers: np.ndarray
    spread: np.ndarray
    per_block: int
    floor: float
    counts: np.ndarray
    drift: float

    @property
    def acceptance(self) -> dict[str, float]:
        """Share of each kind of move that was accepted."""
        tried = np.maximum(self.counts[:, 0], 1)
        return dict(zip(KINDS, (self.counts[:, 1] / tried).tolist(), strict=True))

    @property
    def autocorrelation(self) -> float:
        """Integrated autocorrelation time in measurements: the longest of the numbers.

        ``L Var(mean of a block of L) / (2 Var(single))``; 1/2 where nothing is correlated.
        """
        between = self.numbers.var(axis=0, ddof=1)
        varies = self.spread > 1e-12
        times = 0.5 * self.per_block * between[varies] / self.spread[varies]
        return float(times.max(initial=0.5))

    @classmethod
    def joined(cls, parts: list[Samples]) -> Samples:
        """Those of several chains, or of several runs of equal blocks."""
        return cls(
            parts[0].indices,
            np.concatenate([part.curves for part in parts]),
            np.concatenate([part.numbers for part in parts]),
            np.mean([part.spread for part in parts], axis=0),
            parts[0].per_block,
            parts[0].floor,
            np.sum([part.counts for part in parts], axis=0),
            max(part.drift for part in parts),
        )


class Chain:
    """One Markov chain: its configuration and its random numbers.

    Parameters
    ----------
    seed : numpy.random.SeedSequence
    beta, eps, U : float
        In 1/D and D.
    table : (n, 4) float64
        See `dmftnet.physics.solvers.ctseg.configuration.bath_table`; the floor included.
    indices : (n_w,) int64
        Of the frequencies to measure at.
    moves : int
        Between two measurements: a sweep.
    floor : float, in D^2
        See `dmftnet.physics.solvers.ctseg.floor`.
    """

    def __init__(self, seed, beta, eps, U, table, indices, moves, floor=0.0):
        self.rng = np.random.Generator(np.random.PCG64(seed))
        self.configuration = Configuration.empty()
        self.beta, self.eps, self.U = float(beta), float(eps), float(U)
        self.table, self.moves, self.floor = table, moves, float(floor)
        self.indices = np.ascontiguousarray(indices, dtype=np.int64)

    def warm_up(self, n_sweeps: int) -> None:
        """Move without measuring."""
        self._advance(n_sweeps, measuring=False)

    def run(self, n_blocks: int, per_block: int) -> Samples:
        """Measure in blocks."""
        done = [self._advance(per_block) for _ in range(n_blocks)]
        curves, numbers, squares, counts, drift = zip(*done, strict=True)
        mean = np.mean(numbers, axis=0) / per_block
        return Samples(
            self.indices,
            np.array(curves) / per_block,
            np.array(numbers) / per_block,
            np.mean(squares, axis=0) / per_block - mean**2,
            per_block,
            self.floor,
            sum(counts),
            max(drift),
        )

    def _advance(self, n_sweeps: int, measuring: bool = True):
        curves = np.zeros((3, self.indices.size), dtype=np.complex128)
        numbers, squares, drift = np.zeros(5), np.zeros(5), np.zeros(1)
        counts, done = np.zeros((len(KINDS), 2), dtype=np.int64), np.zeros(3, dtype=np.int64)
        while done[0] < n_sweeps:
            scratch = np.empty((4, self.configuration.room))
            advance(
                self.rng, self.configuration.arrays, self.beta, self.eps, self.U, self.table,
                self.floor, scratch, n_sweeps, self.moves, measuring, self.indices, done, curves,
                numbers, squares, counts, drift,
            )  # fmt: skip
            if done[0] < n_sweeps:
                self.configuration.enlarge()
        return curves, numbers, squares, counts, float(drift[0])


@compiled
def advance(
    rng, state, beta, eps, U, table, floor, scratch, n_sweeps, moves, measuring, indices, done,
    curves, numbers, squares, counts, drift,
):  # fmt: skip
    """Sweeps from where ``done`` stands, until they are done or there is no room.

    ``done = (sweeps, moves in the next one, moves since the inverses were computed anew)``.

    What is measured is added to ``curves, numbers, squares, counts``; see `Samples`.
    """
    room = scratch.shape[1]
    while done[0] < n_sweeps:
        while done[1] < moves:
            if max(state[3][0], state[3][1]) == room:
                return
            move(rng, state, beta, eps, U, table, scratch, counts)
            done[1] += 1
            done[2] += 1
            if done[2] == REFRESH:
                done[2] = 0
                drift[0] = max(drift[0], refresh(state, beta, table))
        if measuring:
            measure(state, beta, floor, indices, curves, numbers, squares)
        done[0] += 1
        done[1] = 0


@compiled
def measure(state, beta, floor, indices, curves, numbers, squares):
    """Add one measurement, averaged over both spins."""
    creators, annihilators, inverses, order, full, signs = state
    matrices, ratios = inverses, (1.0, 1.0)
    if floor > 0:
        matrices = np.empty((2, max(order[0], order[1]), max(order[0], order[1])))
        ratios = (
            reweighted(creators[0, : order[0]], annihilators[0, : order[0]], inverses[0], floor,
                       matrices[0]),
            reweighted(creators[1, : order[1]], annihilators[1, : order[1]], inverses[1], floor,
                       matrices[1]),
        )  # fmt: skip
    weight, filled = signs[0] * ratios[0] * ratios[1], 0.0
    for spin in range(2):
        other = 1 - spin
        filled += occupied_until(creators[spin], annihilators[spin], order[spin], full[spin], beta)
        if order[spin] > 0:
            there = creators[other], annihilators[other], order[other], full[other]
            measure_curves(
                creators[spin, : order[spin]], annihilators[spin, : order[spin]], matrices[spin],
                there, signs[0] * ratios[other], beta, indices, curves,
            )  # fmt: skip
    both = overlap(creators, annihilators, order, full, beta) / beta
    values = (1.0, 0.5 * filled / beta, both, 0.5 * (order[0] + order[1]), np.sign(weight))
    for a in range(5):
        numbers[a] += weight * values[a]
        squares[a] += (weight * values[a]) ** 2


@compiled
def phases(times, beta, indices, out):
    """``out[i, w] = e^{i pi indices_w times_i / beta}`` as (cos, sin)."""
    for i in range(times.size):
        unit = np.pi * times[i] / beta
        step = complex(np.cos(2 * unit), np.sin(2 * unit))
        value = 0j
        for w in range(indices.size):
            if w > 0 and indices[w] == indices[w - 1] + 2:
                value *= step
            else:
                value = complex(np.cos(indices[w] * unit), np.sin(indices[w] * unit))
            out[0, i, w], out[1, i, w] = value.real, value.imag


@compiled
def measure_curves(creators, annihilators, inverse, there, weight, beta, indices, curves):
    """Add G, F / U and I / U^2 of one spin; ``there`` is the other one.

    ``inverse`` times ``weight`` is ``A^-1`` times the weight of the configuration.
    """
    k, n_w = creators.size, indices.size
    late, early = np.empty((2, k, n_w)), np.empty((2, k, n_w))
    phases(annihilators, beta, indices, late)
    phases(creators, beta, indices, early)
    others, times, m, is_full = there
    meets = np.empty(k, dtype=np.bool_)
    for i in range(k):
        meets[i] = occupied(others, times, m, is_full, annihilators[i]) == 1
    with_other, alone = np.empty((2, n_w)), np.empty((2, n_w))
    for j in range(k):
        with_other[:], alone[:] = 0.0, 0.0
        for i in range(k):
            into, element = with_other if meets[i] else alone, inverse[j, i]
            for w in range(n_w):
                into[0, w] += element * late[0, i, w]
                into[1, w] += element * late[1, i, w]
        at_creator = occupied(others, times, m, is_full, creators[j]) - 0.5
        factor = -0.5 * weight / beta  # half of it from each spin
        for w in range(n_w):
            back = complex(early[0, j, w], -early[1, j, w]) * factor
            a = back * complex(with_other[0, w], with_other[1, w])
            b = back * complex(alone[0, w], alone[1, w])
            curves[0, w] += a + b
            curves[1, w] += 0.5 * (a - b)
            curves[2, w] += 0.5 * (a - b) * at_creator
