"""Ground states known by their amplitudes at sampled determinants.

Determinants x are drawn from ``|psi|^2``; each string takes them to determinants s of the sector
with one electron more or fewer, where all excited states ``phi_j(s) = <s|O_j|psi>`` and
``<s|(H - E) O_j|psi>`` are evaluated, with no use of psi as an eigenstate. Two estimators of
``S_ij = sum_s phi_i(s) phi_j(s)`` and of H:

* mixture: every s that any string led to, over the probability that one did,
  ``1 - (1 - p)^N`` of N draws, ``p(s)`` the sum of ``|psi|^2`` over all origins of s. One set of
  weights serves all pairs, so S stays positive, its small directions keep their relative accuracy,
  and both tend to the exact sums as all determinants are found;
* pairwise: row i from the determinants that O_i leads to, each draw alike,
  ``S_ij = <phi_j(s)/phi_i(s)>``, symmetrised. Noise is that of averages, and S may turn negative.

Error bars: everything again without one block of draws, for each block (jackknife).

Cost: ``N * strings`` determinants at most, the H of each, and one amplitude for each of these and
string; equal ones are evaluated once in a `CHUNK`.

References: J. Rigo, M. Schmitt, arXiv 2512.08624; D. Horvitz, D. Thompson, J. Am. Stat. Assoc. 47,
663 (1952); M. P. Nightingale, V. Melik-Alaverdian, PRL 87, 043401 (2001).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import ClassVar

import numpy as np
import scipy.sparse as sp

from dmftnet import checks
from dmftnet.physics.fermions.action import target_sector
from dmftnet.physics.fermions.connections import Connections
from dmftnet.physics.fermions.hamiltonian import kanamori, quadratic
from dmftnet.physics.fermions.kanamori import KanamoriCluster, Sector
from dmftnet.physics.fermions.operators import Operator, Term
from dmftnet.physics.solvers.krylov.ed import MAX_ORBITALS
from dmftnet.physics.solvers.scol.ground_states import Amplitudes, ExactGroundStates
from dmftnet.physics.solvers.scol.impurity import DiscreteImpurity, ImpurityChains
from dmftnet.physics.solvers.scol.projection import Projection

ESTIMATORS = ("mixture", "pairwise")

CHUNK = 4000
"""Determinants whose connections are listed at once."""

RESOLVED = 1e-7
"""Relative singular value that matrices of mean values still show."""


@dataclass(frozen=True, eq=False)
class Draws:
    """Distinct determinants of the ground state.

    Parameters
    ----------
    codes : (n,) int64
        Rising.
    counts : (n_blocks, n) int64
    psi, moved : (n,) float64
        ``<s|psi>`` and ``<s|H|psi>``, the latter in D.
    """

    codes: np.ndarray
    counts: np.ndarray
    psi: np.ndarray
    moved: np.ndarray


@dataclass(frozen=True, eq=False)
class Images:
    """Excited states at the determinants that draws lead to.

    Parameters
    ----------
    values, moved : (n, n_strings) float64
        ``<s|O_j|psi>`` and ``<s|H O_j|psi>``.
    origins : (n, n_strings) int64
        Place in the draws of the determinant that string j leads to s; -1 for one that was not
        drawn, or none.
    probability : (n,) float64
        That one draw leads to s by any string.
    """

    values: np.ndarray
    moved: np.ndarray
    origins: np.ndarray
    probability: np.ndarray


@dataclass(frozen=True, eq=False)
class SampledState:
    """A ground state of one sector from samples; an `OperatorState` and a `ResampledState`.

    Parameters
    ----------
    source : Amplitudes
    n_samples : int
        Draws, shared out evenly among the blocks.
    n_blocks : int
        At least two.
    seed : int
    estimator : {"mixture", "pairwise"}
    max_memory : float, in GiB
        Of the excited states.
    left_out : int, optional
        Block that does not count.
    """

    source: Amplitudes
    n_samples: int = 100_000
    n_blocks: int = 10
    seed: int = 0
    weight: float = 1.0
    estimator: str = "mixture"
    max_memory: float = checks.MAX_MEMORY
    left_out: int | None = None
    _kept: dict[str, Draws] = field(default_factory=dict, repr=False)
    _images: dict[tuple[Term, ...], Images] = field(default_factory=dict, repr=False)

    def __post_init__(self):
        key = "solver.ground_state"
        checks.integer(f"{key}.n_blocks", self.n_blocks, at_least=2)
        checks.integer(f"{key}.n_samples", self.n_samples, at_least=self.n_blocks)
        checks.choice(f"{key}.estimator", self.estimator, ESTIMATORS)

    @property
    def sector(self) -> Sector:
        return self.source.sector

    def without(self, block: int) -> SampledState:
        """See `ResampledState`; draws and images are shared."""
        return replace(self, left_out=block)

    @cached_property
    def energy(self) -> float:
        weights = self._share * self._draws.psi
        return float(weights @ self._draws.moved / (weights @ self._draws.psi))

    @cached_property
    def variance(self) -> float:
        """``<H^2> - <H>^2``, but for what H puts on determinants where psi vanishes."""
        psi = self._draws.psi
        squares = self._share * (self._draws.moved - self.energy * psi) ** 2
        return float(squares.sum() / (self._share @ psi**2))

    @cached_property
    def energy_error(self) -> float:
        each = [self.without(block).energy for block in range(self.n_blocks)]
        return float(jackknife_error(np.array(each)))

    def mean(self, operator: Operator) -> complex:
        n = self.source.cluster.n_sites
        inside = {
            term: x
            for term, x in operator.terms.items()
            if target_sector(term, self.sector, n) == self.sector
        }
        draws = self._draws
        found = self._applied(Connections.of(Operator(inside)), draws.codes, draws.psi)
        weights = self._share * draws.psi
        return complex(weights @ found / (weights @ draws.psi))

    def projection(self, strings: Sequence[Term], threshold: float) -> Projection | None:
        n = self.source.cluster.n_sites
        target = target_sector(strings[0], self.sector, n)
        if not all(0 <= electrons <= n for electrons in target):
            return None
        images = self._images_of(tuple(strings))
        counts = self._counts
        there = images.origins >= 0
        if self.estimator == "mixture":
            found = (there & (counts > 0)[images.origins]).any(axis=1)
            share = found_weights(images.probability, found, int(counts.sum()))
            here = share > 0
            root = np.sqrt(share[here])[:, None]
            values = root * images.values[here]
            moved = root * images.moved[here] - self.energy * values
            return Projection.of_samples(values, moved, threshold)
        moved = images.moved - self.energy * images.values
        rows = np.zeros(images.values.shape)
        drawn = np.where(there, counts[images.origins], 0)
        np.divide(drawn / counts.sum(), images.values, out=rows, where=drawn > 0)
        S, H = rows.T @ images.values, rows.T @ moved
        return Projection.of_matrices(0.5 * (S + S.T), 0.5 * (H + H.T), max(threshold, RESOLVED))

    # --- draws ------------------------------------------------------------------------------------

    @property
    def _draws(self) -> Draws:
        if "draws" not in self._kept:
            rng = np.random.default_rng(self.seed)
            sizes = np.diff(np.linspace(0, self.n_samples, self.n_blocks + 1).astype(int))
            blocks = [self.source.draw(int(size), rng) for size in sizes]
            codes = np.unique(np.concatenate([found for found, _ in blocks]))
            counts = np.zeros((self.n_blocks, codes.size), dtype=np.int64)
            for row, (found, drawn) in zip(counts, blocks, strict=True):
                np.add.at(row, np.searchsorted(codes, found), drawn)
            psi = self.source.amplitudes(codes)
            moved = np.concatenate(
                [
                    self._applied(self._hamiltonian, part, own)
                    for part, own in zip(_chunks(codes), _chunks(psi), strict=True)
                ]
            )
            self._kept["draws"] = Draws(codes, counts, psi, moved)
        return self._kept["draws"]

    @property
    def _counts(self) -> np.ndarray:
        """(n,) of the blocks that count."""
        kept = np.arange(self.n_blocks) != self.left_out
        return self._draws.counts[kept].sum(axis=0)

    @cached_property
    def _share(self) -> np.ndarray:
        """(n,) weights of the determinants drawn, ``sum_s w psi^2`` about one."""
        counts = self._counts
        return found_weights(self._draws.psi**2, counts > 0, int(counts.sum()))

    @cached_property
    def _hamiltonian(self) -> Connections:
        cluster = self.source.cluster
        H_int = kanamori(cluster.interaction, cluster.n_orb, cluster.n_sites)
        return Connections.of(quadratic(cluster.one_body) + H_int)

    def _applied(self, operator: Connections, codes: np.ndarray, psi: np.ndarray) -> np.ndarray:
        """(n,) ``<s|O|psi>`` of a symmetric operator."""
        rows, found, elements = operator.connected(codes)
        distinct, place = np.unique(found, return_inverse=True)
        there = self.source.amplitudes(distinct)[place] if found.size else np.zeros(0)
        moved = np.bincount(rows, elements * there, minlength=codes.size)
        return operator.diagonal(codes) * psi + moved

    # --- images -----------------------------------------------------------------------------------

    def _images_of(self, strings: tuple[Term, ...]) -> Images:
        """Kept for the last set of strings, which serves every block that is left out."""
        if strings not in self._images:
            self._images.clear()
            self._images[strings] = self._made(strings)
        return self._images[strings]

    def _made(self, strings: tuple[Term, ...]) -> Images:
        forward = Connections.of(Operator(dict.fromkeys(strings, 1.0)))
        back = Connections.of(Operator({(A, C): 1.0 for C, A in strings}))
        codes = np.unique(
            np.concatenate([np.unique(forward.moves(x)[2]) for x in _chunks(self._draws.codes)])
        )
        checks.memory(  # values, moved, origins and what the projection makes of them
            f"solver.depth: {len(strings)} strings on {codes.size:,} sampled determinants",
            48.0 * codes.size * len(strings),
            self.max_memory,
            "solver.max_memory",
            "take a smaller depth or max_length, or fewer samples",
        )
        shifts = np.array([C ^ A for C, A in strings], dtype=np.int64)
        first = np.unique(shifts, return_index=True)[1]
        same = shifts == shifts[first, None]  # strings that come from the same determinant
        parts = [self._part(chunk, back, same) for chunk in _chunks(codes)]
        return Images(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))

    def _part(
        self, codes: np.ndarray, back: Connections, same: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """The four arrays of `Images` at some determinants."""
        rows, connected, elements = self._hamiltonian.connected(codes)
        distinct, place = np.unique(np.concatenate([codes, connected]), return_inverse=True)
        own, other = place[: codes.size], place[codes.size :]
        row, string, origin, sign = back.moves(distinct)
        before, at = np.unique(origin, return_inverse=True)
        phi = np.zeros((distinct.size, same.shape[1]))
        phi[row, string] = sign * self.source.amplitudes(before)[at]
        H = sp.csr_matrix((elements, (rows, other)), shape=(codes.size, distinct.size))
        values = phi[own]
        moved = H @ phi + self._hamiltonian.diagonal(codes)[:, None] * values
        drawn = self._draws.codes
        position = np.minimum(np.searchsorted(drawn, before), drawn.size - 1)
        position[drawn[position] != before] = -1
        origins = np.full(phi.shape, -1)
        origins[row, string] = position[at]
        probability = np.zeros(codes.size)
        for members in same:
            probability += (values[:, members] ** 2).max(axis=1)
        return values, moved, origins[own], probability


def found_weights(probability: np.ndarray, found: np.ndarray, n_draws: int) -> np.ndarray:
    """One over the probability that any of `n_draws` finds a determinant; zero of one not found."""
    weights = np.zeros(probability.size)
    p = np.minimum(probability[found], 1.0)
    with np.errstate(divide="ignore"):  # p = 1
        weights[found] = -1 / np.expm1(n_draws * np.log1p(-p))
    return weights


def jackknife_error(values: np.ndarray) -> np.ndarray:
    """Standard error from (n_blocks, ...) values that each leave one block out."""
    n_blocks = len(values)
    return np.sqrt((n_blocks - 1) * np.var(values, axis=0))


def _chunks(array: np.ndarray) -> list[np.ndarray]:
    return [array[i : i + CHUNK] for i in range(0, len(array), CHUNK)]


@dataclass(frozen=True, eq=False)
class VectorAmplitudes:
    """`Amplitudes` of a vector of the whole sector.

    Parameters
    ----------
    cluster : KanamoriCluster
    sector : (n_up, n_dn)
    vector : (n_determinants,) float64
        As in `KanamoriCluster`, of norm one.
    """

    cluster: KanamoriCluster
    sector: Sector
    vector: np.ndarray

    @cached_property
    def _table(self) -> tuple[np.ndarray, np.ndarray]:
        """Codes, rising, and their amplitudes."""
        up, down = self.cluster.strings(self.sector)
        codes = (up.codes[:, None] | down.codes[None, :] << self.cluster.n_sites).ravel()
        order = np.argsort(codes)
        return codes[order], self.vector[order]

    def amplitudes(self, codes: np.ndarray) -> np.ndarray:
        """See `Amplitudes`."""
        known, values = self._table
        return values[np.searchsorted(known, codes)]

    def draw(self, n_samples: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """See `Amplitudes`."""
        codes, values = self._table
        p = values**2
        counts = rng.multinomial(n_samples, p / p.sum())
        return codes[counts > 0], counts[counts > 0]


@dataclass(frozen=True)
class SampledGroundStates:
    """Exact ground states, of which samples alone are used; see `SampledState`.

    Parameters
    ----------
    n_samples, n_blocks, seed, estimator
    exact : ExactGroundStates
    """

    n_samples: int = 100_000
    n_blocks: int = 10
    seed: int = 0
    estimator: str = "mixture"
    exact: ExactGroundStates = field(default_factory=ExactGroundStates)
    orbitals: ClassVar[int] = MAX_ORBITALS

    def check(self, n_sites: int) -> None:
        """See `GroundStates`."""
        self.exact.check(n_sites)

    def find(self, impurity: DiscreteImpurity) -> tuple[ImpurityChains, list[SampledState]]:
        """In the basis of chains; see `GroundStates`."""
        chains, states = self.exact.find(impurity)
        found = [
            SampledState(
                VectorAmplitudes(state.cluster, state.sector, psi),
                self.n_samples, self.n_blocks, self.seed, float(weight), self.estimator,
                self.exact.max_memory,
            )
            for state in states
            for psi, weight in zip(state.vectors.T, state.weights, strict=True)
        ]  # fmt: skip
        return chains, found
