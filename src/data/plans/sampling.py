"""What to solve: DMFT trajectories spread over U, filling and starting hybridizations.

A trajectory is one run of the DMFT iteration; each of its iterations becomes a sample. Its
parameters are a function of (seed, trajectory id) alone, so neither the number of workers nor an
interruption can change the data, and a dataset grows by raising the number of trajectories.

* U and the doping follow a scrambled Halton sequence, of which any first part covers the ranges
  evenly. U is drawn more densely where the Mott transition is.
* About half the trajectories are exactly half filled. In the others eps_d lies between ``-U/2`` and
  the level where the band is nearly empty (or full, mirrored): fillings of about 0.4 to 1.6, or
  further by option, gapped or not.
* Starts are the non-interacting metal, the atomic insulator, or drawn at random
  (`dmftnet.data.plans.random_spectra`): bands, a pinned quasiparticle resonance of any width
  between Hubbard bands, or spectra of no particular lattice.
* Training, validation and test sets are whole trajectories: of each `block` consecutive ids one is
  for validation and one for the test, at places given by the seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import qmc

from dmftnet import checks
from dmftnet.data.keys import SPLITS, STARTS
from dmftnet.data.plans.random_spectra import (
    agnostic_spectrum,
    quasiparticle_spectrum,
    random_bands,
)
from dmftnet.errors import InvalidProblemError, SettingError
from dmftnet.physics.dmft.starts import starting_hybridization
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.lattices.protocol import Lattice

MAX_BLOCK = 10_000
"""Largest block of trajectories with one for validation and one for the test."""


@dataclass(frozen=True)
class Trajectory:
    """Everything that defines one trajectory.

    Parameters
    ----------
    id : int
    U, eps_d : float, in D
    start : str
        One of `STARTS`.
    mixing : float
        Fraction of the new hybridization in linear mixing.
    split : str
        One of `SPLITS`.
    seed : int
        Of the whole sampling; the random starts depend on (seed, id).
    """

    id: int
    U: float
    eps_d: float
    start: str
    mixing: float
    split: str
    seed: int

    @property
    def half_filled(self) -> bool:
        return self.eps_d == -self.U / 2

    def starting_hybridization(self, lattice: Lattice, grid: FrequencyGrid) -> np.ndarray:
        """(n_w,) first hybridization spectrum, in D.

        Raises
        ------
        SettingError
            If the trajectory's spectral weight reaches beyond the grid.
        """
        reach = max(abs(self.eps_d), abs(self.eps_d + self.U)) + 1.0
        end = np.abs(grid.omega[[0, -1]]).min()
        if reach > end:
            raise SettingError(
                f"sampling draws U = {self.U:.4g}, eps_d = {self.eps_d:.4g}: spectral weight "
                f"reaches |w| = {reach:.3g}, the grid ends at {end:.3g}; raise grid.w_max, or "
                "lower sampling.U_max and highest_level"
            )
        if self.start in ("metal", "insulator"):
            return starting_hybridization(lattice, grid, self.U, self.eps_d, self.start)
        rng = np.random.default_rng([self.seed, self.id])
        if self.start == "agnostic":
            return agnostic_spectrum(rng, grid, self.half_filled)
        if self.start == "quasiparticle":
            bands = starting_hybridization(lattice, grid, self.U, self.eps_d, "insulator")
            return quasiparticle_spectrum(rng, grid, bands, self.half_filled)
        weight = float(grid.integrate(lattice.bare_hybridization(grid)))
        return random_bands(rng, grid, weight, self.half_filled)


class TrajectorySampler:
    """Draws the parameters of trajectories.

    Parameters
    ----------
    seed : int
    U_max : float, in D
        U lies in [U_min, U_max].
    U_dense : (low, high), in D
        Range that gets the share `dense_fraction` of all trajectories in addition to its even
        share.
    dense_fraction, half_filled_fraction : float
    start_fractions : sequence of float
        Shares of `STARTS` in their order, summing to 1; starts left out at the end are not drawn.
    mixing : (low, high)
        Range of the mixing fraction, in (0, 1].
    block : int
        One validation and one test trajectory in each `block` (at least 3) consecutive ids.
    highest_level : float, in D
        Doped levels go up to this (or down to its mirror image): 0.5 leaves 0.4 electrons, 0.65
        leaves 0.3.
    U_min : float, in D
        Where U starts.
    lowest_level : float, in D, optional
        Doped levels start from this (or its mirror image) in place of half filling. The lower
        Hubbard band lies around eps_d, so that -1.1 is the edge of the Mott gap whatever U.
    largest_shift : float, in D, optional
        Doped levels lie evenly within this distance of half filling, whatever `lowest_level` and
        `highest_level` say.

    Raises
    ------
    InvalidProblemError
        If a range or a share is out of its limits.
    """

    def __init__(
        self,
        seed: int = 0,
        U_max: float = 4.0,
        U_dense: tuple[float, float] = (2.2, 3.2),
        dense_fraction: float = 0.3,
        half_filled_fraction: float = 0.5,
        start_fractions: Sequence[float] = (0.4, 0.3, 0.3),
        mixing: tuple[float, float] = (0.4, 1.0),
        block: int = 8,
        highest_level: float = 0.5,
        lowest_level: float | None = None,
        U_min: float = 0.0,
        largest_shift: float | None = None,
    ):
        number = checks.number
        self.seed = checks.seed("sampling.seed", seed)
        self.U_max = number("sampling.U_max", U_max, above=0)
        self.U_min = number("sampling.U_min", U_min, at_least=0)
        self.U_dense = checks.numbers("sampling.U_dense", U_dense, size=2)
        self.dense_fraction = number("sampling.dense_fraction", dense_fraction)
        self.half_filled_fraction = number("sampling.half_filled_fraction", half_filled_fraction)
        self.start_fractions = np.array(
            checks.numbers("sampling.start_fractions", start_fractions, at_least_size=1)
        )
        self.mixing = checks.numbers("sampling.mixing", mixing, size=2)
        self.largest_shift = (
            None
            if largest_shift is None
            else number("sampling.largest_shift", largest_shift, above=0)
        )
        self.block = checks.integer("sampling.block", block, at_most=MAX_BLOCK)
        self.highest_level = number("sampling.highest_level", highest_level)
        self.lowest_level = (
            -np.inf if lowest_level is None else number("sampling.lowest_level", lowest_level)
        )
        self._check()

    def _check(self) -> None:
        low, high = self.U_dense
        if not self.U_min <= low < high <= self.U_max:
            least = f"U_min = {self.U_min}" if self.U_min else "0"
            raise InvalidProblemError(
                f"sampling: U_dense = [{low}, {high}] must lie inside [{least}, "
                f"U_max = {self.U_max}]"
            )
        shares = (self.dense_fraction, self.half_filled_fraction, *self.start_fractions)
        if min(shares) < 0 or max(shares) > 1 or abs(self.start_fractions.sum() - 1) > 1e-9:
            raise InvalidProblemError(
                f"sampling: fractions {[float(s) for s in shares]} must lie in [0, 1], and the "
                "start_fractions must sum to 1"
            )
        if len(self.start_fractions) >= len(STARTS):
            raise InvalidProblemError(
                f"sampling: {len(self.start_fractions)} start_fractions, but there are "
                f"{len(STARTS) - 1} starts: {', '.join(STARTS[:-1])}"
            )
        if not 0 < self.mixing[0] <= self.mixing[1] <= 1:
            raise InvalidProblemError(f"sampling: mixing = {self.mixing} must lie in (0, 1]")
        if self.lowest_level >= self.highest_level:
            raise InvalidProblemError(
                f"sampling: lowest_level = {self.lowest_level} must lie below highest_level = "
                f"{self.highest_level}"
            )
        if self.block < 3:
            raise InvalidProblemError(
                f"sampling: block = {self.block}; a block needs at least 3 trajectories, one for "
                "each of training, validation and test"
            )

    def trajectory(self, id: int) -> Trajectory:
        """The trajectory with this id, always the same one."""
        halton = qmc.Halton(4, scramble=True, rng=np.random.default_rng(self.seed))
        u_U, u_doping, u_start, u_mixing = halton.fast_forward(id).random(1)[0]
        U = float(self._draw_U(u_U))
        low, high = self.mixing
        return Trajectory(
            id=int(id),
            U=U,
            eps_d=float(-U / 2 + self._draw_shift(u_doping, U)),
            start=STARTS[int(np.searchsorted(np.cumsum(self.start_fractions)[:-1], u_start))],
            mixing=float(low + (high - low) * u_mixing),
            split=split_of(id, self.seed, self.block),
            seed=self.seed,
        )

    def _draw_U(self, u: float) -> float:
        """Inverse of the piecewise-linear cumulative distribution of U."""
        low, high = self.U_dense
        nodes = np.array([self.U_min, low, high, self.U_max])
        even = (nodes - self.U_min) / (self.U_max - self.U_min)
        extra = np.array([0.0, 0.0, 1.0, 1.0])
        cumulative = (1 - self.dense_fraction) * even + self.dense_fraction * extra
        return np.interp(u, cumulative, nodes)

    def _draw_shift(self, u: float, U: float) -> float:
        """``eps_d + U/2``: zero, or between the shifts of the lowest and the highest level.

        The band is nearly empty at an eps_d of about 0.5 D whatever U: the lower Hubbard band stays
        around the level. The square root favours large shifts, because for U in the insulator small
        ones end inside the gap. With `largest_shift` it is even.
        """
        doped = (u - self.half_filled_fraction) / max(1 - self.half_filled_fraction, 1e-12)
        if doped < 0:
            return 0.0
        signed = 2 * doped - 1
        if self.largest_shift is not None:
            return self.largest_shift * signed
        highest = self.highest_level + U / 2
        share = (max(self.lowest_level + U / 2, 0.0) / highest) ** 2
        return np.sign(signed) * highest * np.sqrt(share + (1 - share) * abs(signed))


def split_of(id: int, seed: int, block: int) -> str:
    """The split of a trajectory: of each `block` ids one is "val", one "test", the seed decides."""
    number, place = divmod(id, block)
    roles = np.zeros(block, dtype=int)
    roles[:2] = SPLITS.index("val"), SPLITS.index("test")
    rng = np.random.default_rng([seed, number, 1])  # the third number: another stream
    return SPLITS[rng.permutation(roles)[place]]
