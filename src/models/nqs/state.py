"""A neural state of one sector of an impurity's chains: the law, its signs, the Hamiltonian."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from dmftnet.errors import InvalidProblemError
from dmftnet.models.nqs.ansatz import Law
from dmftnet.models.nqs.line import Line, Symmetry
from dmftnet.models.nqs.phases import PhaseMap
from dmftnet.models.nqs.position_nets import PositionNets
from dmftnet.models.nqs.prior import Prior
from dmftnet.models.nqs.sampler import sample
from dmftnet.physics.fermions.connections import Connections
from dmftnet.physics.fermions.hamiltonian import kanamori, quadratic
from dmftnet.physics.fermions.kanamori import KanamoriCluster, Sector
from dmftnet.physics.solvers.scol.impurity import ImpurityChains

MAX_SITES = 22
"""Of the table of a determinant's conditionals, 2^n_sites numbers a spin."""

REAL = 1e-9
"""Sine of a phase that counts as 0 or pi."""

CHUNK = 1024
"""Determinants whose amplitudes are computed at a time: what they take stays in the cache."""


@dataclass(frozen=True, eq=False)
class NeuralState:
    """``psi(s) = sign(s) sqrt(p(canonical s) / images)``; use `NeuralState.of`.

    Parameters
    ----------
    cluster : KanamoriCluster
    sector : (n_up, n_dn)
    line : Line
    law : Law
        With a table ``phases`` where these are learned.
    H : Connections
    phases : PhaseMap, optional
        What they depend on; without it they are the signs of the line.
    """

    cluster: KanamoriCluster
    sector: Sector
    line: Line
    law: Law
    H: Connections
    phases: PhaseMap | None = None

    @classmethod
    def of(
        cls,
        chains: ImpurityChains,
        sector: Sector,
        ansatz: Callable[..., Law] = PositionNets,
        seed: int = 0,
        phases: PhaseMap | None = None,
    ) -> NeuralState:
        """The correlated determinant, but for small random weights.

        Parameters
        ----------
        ansatz
            ``ansatz(sector, symmetry, prior, seed=seed)`` is the law.

        Raises
        ------
        InvalidProblemError
            If there is no such sector, its signs are not known, or there are too many sites.
        """
        cluster = chains.cluster
        n = cluster.n_sites
        if n > MAX_SITES:
            raise InvalidProblemError(
                f"{n} sites are more than the {MAX_SITES} that a neural state takes; take fewer "
                "bath sites"
            )
        if not all(0 <= electrons <= n for electrons in sector):
            raise InvalidProblemError(f"sector {sector}: give 0 to {n} electrons of each spin")
        line = Line.of(cluster, chains.sites, sector)
        prior = Prior.of(cluster, sector, line.order)
        law = ansatz(sector, Symmetry.of(cluster, sector), prior, seed=seed)
        H = quadratic(cluster.one_body) + kanamori(cluster.interaction, cluster.n_orb, n)
        if phases is not None:
            line = line.without_pairs()
            law.register_buffer("phases", torch.from_numpy(phases.table(line)))
        return cls(cluster, sector, line, law, Connections.of(H), phases)

    def log_amplitudes(self, states: np.ndarray) -> np.ndarray:
        """(n,) float64 ``log |psi|`` of (n, n_sites) canonical local states of the sector."""
        log_p = np.empty(len(states))
        for part, found in self._log_conditionals(states, 0):
            log_p[part] = found.sum(axis=1)
        return 0.5 * (log_p - np.log(self.law.symmetry.orbit(states)))

    def log_ratios(self, states: np.ndarray, rows: np.ndarray, images: np.ndarray) -> np.ndarray:
        """(m,) float64 ``log |psi(image) / psi(state)|`` of images, beside the states they are of.

        The two share the conditionals of all positions before the first where they differ; equal
        images are computed once, from the state with which they share the most.

        Parameters
        ----------
        states, images : (n, n_sites), (m, n_sites) int64
            Canonical local states of the sector.
        rows : (m,) int64
            State of each image.
        """
        law = self.law
        shared = np.zeros((len(states), self.line.n_sites + 1))
        for part, found in self._log_conditionals(states, 0):
            np.cumsum(found, axis=1, out=shared[part, 1:])
        differ = images != states[rows]
        first = np.where(differ.any(axis=1), differ.argmax(axis=1), self.line.n_sites)
        most = np.argsort(-first, kind="stable")
        _, chosen, place = np.unique(
            self.line.codes(images)[most], return_index=True, return_inverse=True
        )
        chosen = most[chosen]
        log_p = shared[rows[chosen], first[chosen]]
        for position in range(self.line.n_sites):
            own = np.flatnonzero(first[chosen] == position)
            for part, found in self._log_conditionals(images[chosen[own]], position):
                log_p[own[part]] += found.sum(axis=1)
        log_p -= np.log(law.symmetry.orbit(images[chosen]))
        here = shared[:, -1] - np.log(law.symmetry.orbit(states))
        out = np.empty(len(rows))
        out[most] = log_p[place.ravel()]
        return 0.5 * (out - here[rows])

    def _log_conditionals(
        self, states: np.ndarray, first: int
    ) -> Iterator[tuple[slice, np.ndarray]]:
        """Rows, and `Law.log_conditionals` of them, in chunks."""
        for start in range(0, len(states), CHUNK):
            part = slice(start, start + CHUNK)
            with torch.no_grad():
                found = self.law.log_conditionals(torch.from_numpy(states[part]), first)
            yield part, found.double().numpy()

    def phase(self, states: np.ndarray) -> np.ndarray:
        """(n,) float64 learned phases of canonical local states, in radians."""
        assert self.phases is not None
        return self.law.get_buffer("phases").numpy()[self.phases.entries(self.line, states)]

    def vector(self) -> np.ndarray:
        """(n_determinants,) amplitudes of the whole sector, as `KanamoriCluster` has them.

        Normalised but for rounding.
        """
        up, down = self.cluster.strings(self.sector)
        codes = (up.codes[:, None] | down.codes[None, :] << self.cluster.n_sites).ravel()
        return self.amplitudes(codes)

    def amplitudes(self, codes: np.ndarray) -> np.ndarray:
        """(n,) ``<s|psi>`` of (n,) int64 determinants of the sector.

        float64; complex128 with learned phases that have not settled to 0 and pi.
        """
        states, symmetry = self.line.states(codes), self.law.symmetry
        psi, there = np.zeros(len(states)), symmetry.passes(states)
        states = states[there]
        canonical, place = np.unique(symmetry.canonical(states), axis=0, return_inverse=True)
        size = np.exp(self.log_amplitudes(canonical))
        if self.phases is not None:
            turned = np.exp(1j * self.phase(canonical))
            is_real = np.abs(turned.imag).max(initial=0.0) < REAL
            size, psi = size * (turned.real if is_real else turned), psi.astype(turned.dtype)
            psi = psi.real if is_real else psi
        psi[there] = self.line.signs(states) * size[place.ravel()]
        return psi

    def turn(self, samples: np.ndarray, change: Callable[..., np.ndarray], *values) -> None:
        """Change the learned phases, if any.

        Parameters
        ----------
        samples : (n, n_sites) int64
            Canonical local states.
        change : callable
            `turned` or `settled` of `dmftnet.models.nqs.phases`; `values` are its other arguments.
        """
        if self.phases is not None:
            entries = self.phases.entries(self.line, samples)
            found = change(self.law.get_buffer("phases").numpy(), entries, *values)
            self.law.get_buffer("phases").copy_(torch.from_numpy(found))

    def draw(self, n_samples: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Draws from ``|<s|psi>|^2``: distinct determinants, and how often each was drawn."""
        found = sample(self.law, n_samples, rng)
        images = self.law.symmetry.images(found.states)  # (k, n, n_sites)
        shared = rng.multinomial(found.counts, np.full(len(images), 1 / len(images)))
        codes, place = np.unique(
            np.concatenate([self.line.codes(each) for each in images]), return_inverse=True
        )
        counts = np.bincount(place.ravel(), shared.T.ravel()).astype(np.int64)
        return codes[counts > 0], counts[counts > 0]
