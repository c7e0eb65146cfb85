"""`ctseg`: continuous-time quantum Monte Carlo in the segment picture, for one orbital.

Method
    Expansion in the hybridization. A spin is a row of segments on the circle of imaginary time, its
    bath a determinant (`configuration`); chains insert, remove and shift segments and the holes
    between them (`moves`, `determinants`). Where the bath has a gap they sample one with a floor
    under Delta(tau), and every measurement has a weight that takes the floor out again (`floor`).
    G, F and I are measured at Matsubara frequencies
    (`measurement`); Sigma and G follow by the symmetric improved estimator, with errors by a
    jackknife over blocks (`estimates`).
Range
    One orbital at finite temperature; a continuous bath or levels, without discretisation. No sign:
    the weight is positive for every bath with a positive spectrum (``sign`` is its average). The
    order grows as beta, the cost of a sweep as its square. Without a bath the four states of the
    atom are summed. Errors are statistical and fall as the root of the number of sweeps.
Cost
    Bethe lattice, U = 2, beta = 50: errors of G(tau) below 2e-4 in seconds; benchmarks/ctseg.py
    prints the table.
    A floor adds three products of matrices a spin to every measurement.
Otherwise
    Errors below 1e-5, several orbitals, or T = 0: ``ed``.

In a DMFT loop noise feeds back: `dmftnet.physics.dmft.loop` stops where the change is within the
error of a solve, which stands in the diagnostics (``noise``), and says so. To go further, take more
sweeps; ``loop.tolerance`` below the noise has no effect.

References: P. Werner et al., PRL 97, 076405 (2006); E. Gull et al., RMP 83, 349 (2011).
"""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, ClassVar

import numba
import numpy as np

from dmftnet import checks
from dmftnet.errors import SettingError
from dmftnet.physics.grids.matsubara import ImaginaryAxis
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.impurity.protocol import IMAGINARY, REAL, Capabilities, Solver
from dmftnet.physics.impurity.solutions import MatsubaraSolution
from dmftnet.physics.solvers.arguments import settle
from dmftnet.physics.solvers.ctseg.configuration import bath_table
from dmftnet.physics.solvers.ctseg.estimates import Estimates, errors, estimates
from dmftnet.physics.solvers.ctseg.floor import atomic_greens, atomic_occupation, floor_of, times
from dmftnet.physics.solvers.ctseg.measurement import ORDER, SIZE, WEIGHT, Chain, Samples

DENSE = 4.0
"""D, below which all Matsubara frequencies are measured; above, the sampling points of the axis."""

MAX_DENSE = 64
"""Of them at most."""

NOTHING = 1e-12
"""Largest value of Delta, in D, that is rounding: the impurity is an atom."""

MOVES = (20, 1.5)
"""Moves in a sweep, and how many more for each 1/D of beta."""

MIN_BLOCKS = 32
"""In all; the regression on control variates takes up to nine degrees of freedom."""

LONG_BLOCK = 50.0
"""Autocorrelation times that a block should hold: with few, errors come out too small."""

DRIFT = 1e-6
"""Relative error of an inverse between two recomputations that is warned of."""

PER_ERROR = 1.1
"""Margin on the sweeps that an error is expected to need."""

LEAST_WEIGHT = 0.1
"""Mean of the weights that undo the floor, below which a few configurations may hold all of it."""

NEGATIVE = 1e-3
"""Loss of average sign that is told: noise of Delta in a gap, from a loop, makes some of 1e-6."""

ANNOUNCED = 500_000
"""Sweeps in all that are announced: more than half a minute at beta = 50."""


@dataclass(frozen=True)
class CtsegSolver(Solver):
    """Quantum Monte Carlo.

    Parameters
    ----------
    n_chains : int
        Independent Markov chains.
    n_sweeps : int
        Measured sweeps of each chain.
    n_warmup : int
        Sweeps of each chain before.
    moves : int or None
        Attempted in a sweep, which ends in a measurement. None: `MOVES`, near the best for metals.
    n_blocks : int
        Blocks of each chain, by which errors are found.
    seed : int
        Of the random numbers. An answer is a function of problem, seed, and the other settings,
        whatever the number of threads.
    until_error : float or None
        Go on, in steps of n_sweeps, until the largest error of G(tau) is below it.
    max_sweeps : int
        Of each chain, where until_error is given; the diagnostics say whether it was not enough.
    n_threads : int or None
        Chains that run at a time. None: as many as Numba may use, on this machine all cores unless
        NUMBA_NUM_THREADS says otherwise.

    Raises
    ------
    SettingError
        If an argument is of the wrong type or out of its limits.
    """

    n_chains: int = 4
    n_sweeps: int = 25_600
    n_warmup: int = 2_000
    moves: int | None = None
    n_blocks: int = 32
    seed: int = 0
    until_error: float | None = None
    max_sweeps: int = 1_000_000
    n_threads: int | None = None
    name: ClassVar[str] = "ctseg"
    capabilities: ClassVar[Capabilities] = Capabilities(
        orbitals=1,
        zero_temperature=False,
        finite_temperature=True,
        axes=(REAL, IMAGINARY),
        poles=True,
    )

    def __post_init__(self):
        for name, limit in (("n_chains", 1000), ("n_blocks", 10_000)):
            value = checks.integer(f"solver.{name}", getattr(self, name), at_least=1, at_most=limit)
            settle(self, **{name: value})
        for name in ("n_sweeps", "max_sweeps"):
            value = checks.integer(f"solver.{name}", getattr(self, name), at_least=1)
            settle(self, **{name: value})
        settle(
            self,
            n_warmup=checks.integer("solver.n_warmup", self.n_warmup, at_least=0),
            seed=checks.seed("solver.seed", self.seed),
            n_threads=checks.threads("solver.n_threads", self.n_threads),
        )
        if self.moves is not None:
            value = checks.integer("solver.moves", self.moves, at_least=1, at_most=10**6)
            settle(self, moves=value)
        if self.until_error is not None:
            error = checks.number("solver.until_error", self.until_error, at_least=1e-7, below=1)
            settle(self, until_error=error)
        if self.n_chains * self.n_blocks < MIN_BLOCKS:
            raise SettingError(
                f"solver.n_chains = {self.n_chains}, solver.n_blocks = {self.n_blocks}: give at "
                f"least {MIN_BLOCKS} blocks in all, errors are found from them"
            )
        if self.n_sweeps % self.n_blocks:
            raise SettingError(
                f"solver.n_sweeps = {self.n_sweeps}: give a multiple of solver.n_blocks = "
                f"{self.n_blocks}"
            )
        if self.until_error is not None and self.max_sweeps < self.n_sweeps:
            raise SettingError(
                f"solver.max_sweeps = {self.max_sweeps}: give at least solver.n_sweeps = "
                f"{self.n_sweeps}"
            )

    def notice(self) -> str:
        total = self.n_chains * (self.max_sweeps if self.until_error else self.n_sweeps)
        if total <= ANNOUNCED:
            return ""
        most = "up to " if self.until_error else ""
        return f"ctseg: {most}{total:,} sweeps a solve, minutes at low temperature"

    def solve(self, problem: ImpurityProblem) -> MatsubaraSolution:
        """Solve one problem; see `ImpuritySolver`.

        The diagnostics hold standard errors: ``filling_error, double_occupancy_error`` and arrays
        ``greens_tau_error`` at ``tau`` (0 and beta included), ``greens_error, self_energy_error``
        at the axis' frequencies, complex, by part. ``floor`` in D^2 and ``mean_weight`` are 0 and 1
        where the bath has no gap.
        """
        self.require(problem)
        axis = problem.axis
        if np.abs(problem.hybridization.at(1j * axis.omega_n)).max() <= NOTHING:
            return _atom(problem, axis)
        samples, found = self.sample(problem)
        return MatsubaraSolution(
            problem=problem,
            axis=axis,
            values=found.greens[:1],
            double_occupancy=float(found.double_occupancy[0]),
            diagnostics=self._diagnostics(samples, found),
        )

    def sample(self, problem: ImpurityProblem) -> tuple[Samples, Estimates]:
        """What the chains measured, and what follows with all replicas, for further statistics."""
        axis = problem.axis
        chains = self._chains(problem, axis)
        threads = min(self.n_threads or numba.get_num_threads(), self.n_chains)
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(lambda chain: chain.warm_up(self.n_warmup), chains))
            parts: list[list[Samples]] = [[] for _ in chains]
            rounds = 1
            while True:
                wanted = rounds - len(parts[0])
                for part, more in zip(parts, pool.map(self._go_on(wanted), chains), strict=True):
                    part += more
                samples = Samples.joined([each for part in parts for each in part])
                found = estimates(problem, axis, samples)
                rounds = self._rounds(rounds, found)
                if rounds == len(parts[0]):
                    return samples, found

    def _chains(self, problem: ImpurityProblem, axis: ImaginaryAxis) -> list[Chain]:
        floor = floor_of(problem)
        table = bath_table(problem.hybridization, axis, floor)
        n_dense = min(MAX_DENSE, max(1, int(DENSE * axis.beta / (2 * np.pi))))
        indices = np.union1d(2 * np.arange(n_dense) + 1, axis.indices)
        eps = float(problem.eps_d[0])
        moves = self.moves or int(MOVES[0] + MOVES[1] * axis.beta)
        # problems have random numbers of their own: their errors are independent
        content = np.concatenate([[problem.U, eps, axis.beta], problem.hybridization.vector()])
        digest = hashlib.blake2b(content.tobytes(), digest_size=16).digest()
        seeds = np.random.SeedSequence([self.seed, *np.frombuffer(digest, dtype=np.uint32)])
        return [
            Chain(seed, axis.beta, eps, problem.U, table, indices, moves, floor)
            for seed in seeds.spawn(self.n_chains)
        ]

    def _go_on(self, rounds: int):
        per_block = self.n_sweeps // self.n_blocks
        return lambda chain: [chain.run(self.n_blocks, per_block) for _ in range(rounds)]

    def _rounds(self, rounds: int, found: Estimates) -> int:
        """Rounds of n_sweeps that the wanted error takes, as far as allowed."""
        if self.until_error is None:
            return rounds
        error = _largest_error(found)
        if error <= self.until_error:
            return rounds
        wanted = int(np.ceil(PER_ERROR * rounds * (error / self.until_error) ** 2))
        return max(rounds, min(wanted, self.max_sweeps // self.n_sweeps))

    def _diagnostics(self, samples: Samples, found: Estimates) -> dict[str, Any]:
        tau = times(found.axis)
        largest, per_block = _largest_error(found), samples.per_block
        numbers, slow = samples.numbers.mean(axis=0), samples.autocorrelation
        sign, weight = float(numbers[WEIGHT] / numbers[SIZE]), float(numbers[SIZE])
        said = []
        if per_block < LONG_BLOCK * slow:
            said.append(
                f"blocks of {per_block} sweeps at an autocorrelation time of {slow:.3g}: errors "
                "may be too small; raise solver.n_sweeps, or lower solver.n_blocks"
            )
        if weight < LEAST_WEIGHT:
            said.append(
                f"mean weight {weight:.2g} below {LEAST_WEIGHT:g}: the floor under Delta(tau) is "
                "too high for this impurity, errors may be too small; raise solver.n_sweeps and "
                "compare with solver=ed"
            )
        if self.until_error is not None and largest > self.until_error:
            said.append(
                f"error {largest:.2g} of G(tau) above solver.until_error = {self.until_error:g}; "
                "raise solver.max_sweeps"
            )
        if sign < 1 - NEGATIVE:
            said.append(
                f"average sign {sign:.4f}: Delta is not that of a positive spectrum; errors are "
                "those of the quotient"
            )
        if samples.drift > DRIFT:
            said.append(f"inverses drifted by {samples.drift:.1e} between recomputations")
        return {
            "sweeps": per_block * len(samples.numbers),
            "blocks": len(samples.numbers),
            "order": float(numbers[ORDER] / numbers[WEIGHT]),
            "sign": sign,
            "floor": samples.floor,
            "mean_weight": weight,
            "autocorrelation": slow,
            "drift": samples.drift,
            **{f"accepted, {kind}": share for kind, share in samples.acceptance.items()},
            "filling_error": float(errors(found.filling)),
            "double_occupancy_error": float(errors(found.double_occupancy)),
            "largest_error": largest,
            "noise": float(np.abs(errors(found.greens)).max() / np.abs(found.greens[0]).max()),
            "tau": tau,
            "greens_tau_error": errors(found.greens_tau(tau)),
            "greens_error": errors(found.greens),
            "self_energy_error": errors(found.sigma),
            "warning": "; ".join(said),
        }


def _largest_error(found: Estimates) -> float:
    return float(errors(found.greens_tau(times(found.axis))).max())


def _atom(problem: ImpurityProblem, axis: ImaginaryAxis) -> MatsubaraSolution:
    """``G = (1 - n) / (iw - eps) + n / (iw - eps - U)`` with n of the other spin, exactly."""
    tau = times(axis)
    nothing = np.zeros(axis.omega_n.size, dtype=np.complex128)
    return MatsubaraSolution(
        problem=problem,
        axis=axis,
        values=atomic_greens(problem)[None, :],
        double_occupancy=atomic_occupation(problem)[1],
        diagnostics={
            "sweeps": 0,
            "filling_error": 0.0,
            "double_occupancy_error": 0.0,
            "largest_error": 0.0,
            "noise": 0.0,
            "tau": tau,
            "greens_tau_error": np.zeros(tau.size),
            "greens_error": nothing,
            "self_energy_error": nothing,
            "warning": "",
        },
    )
