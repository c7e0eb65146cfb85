"""Ground states or thermal states of a small cluster, over all its particle sectors.

One path for T = 0 and T > 0: an ensemble is a list of eigenstates with weights that add up to one.
At T = 0 they are the degenerate ground states, equally weighted; at T > 0 all whose Boltzmann
factor counts. Sectors with ``n_up < n_dn`` are mirror images in spin and only double a weight.

Sectors of up to `dense` determinants are diagonalised in full. Beyond, the lowest states come from
ARPACK, as many as count; what it may miss, a second copy of a degenerate level, is looked for in
the complement of what was found. The weight of states that are not kept is estimated with a random
vector of the complement (finite-temperature Lanczos) and reported.

A small cluster is searched through all its sectors. A large one is walked: from the mean field's
sector to every neighbour (one electron more or less, one spin flipped) of a sector that counts,
until all neighbours lie higher.

Reference: J. Jaklic, P. Prelovsek, Phys. Rev. B 49, 5065 (1994).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh_tridiagonal
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh

from dmftnet.errors import ConvergenceError
from dmftnet.physics.fermions.kanamori import KanamoriCluster, Sector

DEGENERACY = 1e-9
"""States this close in energy, in D, share the ground state."""

SCANNED = 5_000
"""Determinants in all up to which every sector is looked at: seven spatial orbitals."""

MARGIN = 0.05
"""Neighbours of a sector that lies this close to those that count, in D, are looked at too."""

FIRST = 3
"""States of a sector that are asked for at first; then as many again, as long as all count."""

RESTARTS = 100
"""Of ARPACK for several states at once; a dozen are the rule."""

N_RANDOM = 60
"""Lanczos steps from a random vector; the lowest energies of the complement then converge."""


@dataclass(frozen=True, eq=False)
class States:
    """Eigenstates of one sector.

    Parameters
    ----------
    sector : (int, int)
    energies : (k,) float64, in D, rising
    vectors : (n, k)
    complete : bool
        Whether they are all states of the sector.
    """

    sector: Sector
    energies: np.ndarray
    vectors: np.ndarray
    complete: bool

    @property
    def copies(self) -> int:
        """Sectors that look alike: itself, and its mirror image in spin."""
        return 1 if self.sector[0] == self.sector[1] else 2


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Eigenstates and their weights.

    Parameters
    ----------
    energy : float, in D
        Of the ground state.
    states : list of States
        With at least one state of weight each.
    weights : list of (k,) float64
        Of every state, its mirror image included; all add up to one.
    dropped : float
        Estimated share of the partition function that is not in `states`.
    spectra : dict of Sector to (energies, vectors)
        Sectors with ``n_up >= n_dn`` that are known in full, whether they count or not.
    """

    energy: float
    states: list[States]
    weights: list[np.ndarray]
    dropped: float
    spectra: dict[Sector, tuple[np.ndarray, np.ndarray]]

    def __iter__(self) -> Iterator[tuple[States, np.ndarray]]:
        return zip(self.states, self.weights, strict=True)

    def mean(self, name: str, cluster: KanamoriCluster) -> np.ndarray:
        """Mean of an observable of the impurity's orbitals: ``density`` or ``double``.

        Returns
        -------
        (n_orb, n_orb)
            ``<d+_bs d_as>`` of one spin, mean of both (so ``rho_ab``); or ``<n_a,up n_b,dn>``,
            symmetrised.
        """
        total = np.zeros((cluster.n_orb,) * 2)
        for states, weights in self:
            total = total + _MEANS[name](cluster, states, weights)
        return total


def ensemble(
    cluster: KanamoriCluster,
    beta: float,
    dense: int = 1500,
    smallest_weight: float = 1e-12,
    max_states: int = 120,
) -> Ensemble:
    """The states that count at inverse temperature `beta`.

    Parameters
    ----------
    cluster : KanamoriCluster
    beta : float, in 1/D
        Infinite for the ground state.
    dense : int
        Largest sector that is diagonalised in full.
    smallest_weight : float
        Boltzmann factors below this do not count.
    max_states : int
        Of a sector that is not diagonalised in full; more are dropped, see `Ensemble.dropped`.

    Raises
    ------
    ConvergenceError
        If ARPACK does not converge.
    """
    window = DEGENERACY if np.isinf(beta) else -np.log(smallest_weight) / beta
    found: dict[Sector, States] = {}
    lowest = np.inf
    waiting = _first_sectors(cluster)
    while waiting:
        sector = waiting.pop(0)
        states = _lowest_states(cluster, sector, dense, lowest, window, max_states)
        found[sector], lowest = states, min(lowest, float(states.energies[0]))
        near = [s for s in found if found[s].energies[0] <= lowest + window + MARGIN]
        beside = {other for s in near for other in _neighbours(cluster, s)}
        waiting = [s for s in waiting if s not in beside] + sorted(beside - found.keys())
    every = list(found.values())
    factors = [
        (s.energies < lowest + DEGENERACY).astype(float)
        if np.isinf(beta)
        else np.exp(-beta * (s.energies - lowest))
        for s in every
    ]
    factors = [np.where(f >= smallest_weight, f, 0.0) for f in factors]
    partition = sum(s.copies * f.sum() for s, f in zip(every, factors, strict=True))
    missing = 0.0
    if not np.isinf(beta):
        missing = sum(s.copies * _missing(cluster, s, beta, lowest) for s in every)
    kept = [
        (_first(s, int((f > 0).sum())), s.copies * f[f > 0] / partition)
        for s, f in zip(every, factors, strict=True)
        if (f > 0).any()
    ]
    spectra = {s.sector: (s.energies, s.vectors) for s in every if s.complete}
    return Ensemble(
        lowest,
        [s for s, _ in kept],
        [w for _, w in kept],
        float(missing / (partition + missing)),
        spectra,
    )


def _first_sectors(cluster: KanamoriCluster) -> list[Sector]:
    """All of a small cluster, near half filling first: they tell early what does not count."""
    sectors = cluster.sectors()
    if sum(cluster.dimension(sector) for sector in sectors) <= SCANNED:
        n = cluster.n_sites
        return sorted(sectors, key=lambda s: (abs(sum(s) - n) + s[0] - s[1], sum(s)))
    n = cluster.mean_field_pairs()
    return [(n, n)]


def _neighbours(cluster: KanamoriCluster, sector: Sector) -> list[Sector]:
    """Sectors with one electron more or less, or one spin flipped; ``n_up >= n_dn``."""
    up, down = sector
    steps = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, -1), (-1, 1))
    around = {(max(up + a, down + b), min(up + a, down + b)) for a, b in steps}
    return [s for s in around if 0 <= s[1] and s[0] <= cluster.n_sites]


def _first(states: States, count: int) -> States:
    complete = states.complete and count == states.energies.size
    return States(states.sector, states.energies[:count], states.vectors[:, :count], complete)


def _lowest_states(
    cluster: KanamoriCluster,
    sector: Sector,
    dense: int,
    lowest: float,
    window: float,
    max_states: int,
) -> States:
    """All states of a small sector; of a large one those within `window` of the lowest energy."""
    H = cluster.hamiltonian(sector)
    n = H.shape[0]
    energies, vectors = np.empty(0), np.empty((n, 0), dtype=H.dtype)
    count = FIRST
    while n > dense and energies.size + count < n // 2:
        shift = 2 * abs(H).sum(axis=1).max()  # lifts what is known out of the way
        new_energies, new = _arpack(H, vectors, float(shift), count)
        energies = np.concatenate([energies, new_energies])
        vectors = np.concatenate([vectors, new], axis=1)
        order = np.argsort(energies)
        energies, vectors = energies[order], vectors[:, order]
        highest = min(lowest, energies[0]) + window
        # the complement's lowest state lies above all that count: nothing was missed
        if new_energies.min() > highest or energies.size >= max_states:
            return States(sector, energies, vectors, False)
        count = 1 if energies[-1] > highest else energies.size
    energies, vectors = np.linalg.eigh(H.toarray())
    return States(sector, energies, vectors, True)


def _arpack(H, known: np.ndarray, shift: float, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Lowest `count` states orthogonal to `known` (n, k); the lowest alone where that fails.

    Of a multiplet that `count` cuts ARPACK may never find the copies; a single state it finds.
    """

    def apply(x):
        x = x.reshape(-1)
        y = H @ x
        return y + shift * (known @ (known.conj().T @ x)) if known.shape[1] else y

    start = np.random.default_rng(known.shape[1]).normal(size=H.shape[0])
    operator = LinearOperator(H.shape, matvec=apply, dtype=H.dtype)
    options = {"which": "SA", "v0": start, "tol": 1e-12}
    try:
        return eigsh(operator, k=count, maxiter=RESTARTS if count > 1 else None, **options)
    except ArpackNoConvergence as error:
        if count > 1:
            return _arpack(H, known, shift, 1)
        reason: Exception = error
    except Exception as error:  # what else ARPACK may say
        reason = error
    raise ConvergenceError(
        f"the lowest of {H.shape[0]:,} states did not converge ({reason}); raise solver.dense "
        "above that number"
    ) from reason


def _missing(cluster: KanamoriCluster, states: States, beta: float, lowest: float) -> float:
    """Boltzmann weight of a sector's other states, over ``exp(-beta E_0)``; estimated."""
    if states.complete:
        return 0.0
    H = cluster.hamiltonian(states.sector)
    n = H.shape[0]
    v = np.random.default_rng(1).normal(size=n).astype(H.dtype)
    v -= states.vectors @ (states.vectors.conj().T @ v)
    square = float(np.vdot(v, v).real)
    diagonal: list[float] = []
    off: list[float] = []
    previous, v = np.zeros_like(v), v / np.sqrt(square)
    for _ in range(min(N_RANDOM, n - states.energies.size)):
        image = H @ v
        image -= states.vectors @ (states.vectors.conj().T @ image)
        diagonal.append(float(np.vdot(v, image).real))
        image -= diagonal[-1] * v + (off[-1] * previous if off else 0.0)
        off.append(float(np.linalg.norm(image)))
        previous, v = v, image / off[-1]
    ritz, vectors = eigh_tridiagonal(diagonal, off[:-1])
    return square * float(vectors[0] ** 2 @ np.exp(-beta * (ritz - lowest)))


def _density(cluster: KanamoriCluster, states: States, weights: np.ndarray) -> np.ndarray:
    rho = np.zeros((cluster.n_orb,) * 2, dtype=states.vectors.dtype)
    for spin, strings in enumerate(cluster.strings(states.sector)):
        psi = _by_spin(cluster, states, spin)
        for a in range(cluster.n_orb):
            for b in range(cluster.n_orb):
                image = strings.hop(b, a) @ psi.reshape(len(strings), -1)
                product = psi.conj() * image.reshape(psi.shape)
                rho[a, b] += 0.5 * product.sum(axis=(0, 1)) @ weights
    return rho


def _double(cluster: KanamoriCluster, states: States, weights: np.ndarray) -> np.ndarray:
    up, down = (s.occupations[:, : cluster.n_orb] for s in cluster.strings(states.sector))
    p = (np.abs(states.vectors) ** 2 @ weights).reshape(len(up), len(down))
    pairs = up.T @ p @ down
    return 0.5 * (pairs + pairs.T)


_MEANS = {"density": _density, "double": _double}


def _by_spin(cluster: KanamoriCluster, states: States, spin: int) -> np.ndarray:
    """(strings of this spin, strings of the other, k) view or copy of the vectors."""
    up, down = cluster.strings(states.sector)
    psi = states.vectors.reshape(len(up), len(down), -1)
    return psi if spin == 0 else np.ascontiguousarray(psi.swapaxes(0, 1))
