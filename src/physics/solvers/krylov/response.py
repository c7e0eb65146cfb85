"""Poles of G, F and I of an ensemble: Lehmann sums where spectra are complete, else block Lanczos.

From each state of weight w, for either spin and either side: ``|x> = sqrt(w/2) (d+|n>, q+|n>)``
for addition and ``(d|n>, q|n>)`` for removal. Every excited state is a rank-one residue matrix; so
is every Ritz vector of a block Lanczos run, whose moments are exact up to twice its length.
"""

from __future__ import annotations

import numpy as np

from dmftnet.physics.fermions.kanamori import DOWN, UP, KanamoriCluster, Sector
from dmftnet.physics.solvers.krylov.ensemble import Ensemble, States
from dmftnet.physics.solvers.krylov.lanczos import response_poles


def matrix_poles(
    cluster: KanamoriCluster,
    ensemble: Ensemble,
    n_lanczos: int,
    dense: int = 1500,
    smallest: float = 1e-16,
) -> tuple[np.ndarray, np.ndarray]:
    """Poles of the spin-averaged Green's functions.

    Parameters
    ----------
    n_lanczos : int
        Block steps in target sectors of more than `dense` determinants.
    smallest : float
        Poles that carry less than this share of the weight of G and of I are dropped.

    Returns
    -------
    energies : (n_p,) float64, in D
    amplitudes : (n_p, 2, n_orb)
        d (dimensionless) and q (in D): ``G_ab(z) = sum_p a_pa conj(a_pb) / (z - E_p)``.
    """
    spectra = dict(ensemble.spectra)
    found: list[tuple[np.ndarray, np.ndarray]] = []
    for states, weights in ensemble:
        # of as many electrons of either spin the two answers are mirror images, and equal
        spins = (UP,) if states.sector[UP] == states.sector[DOWN] else (UP, DOWN)
        for spin in spins:
            for side in (1, -1):
                target = cluster.target(states.sector, spin, side)
                if target is None:
                    continue
                poles = _from_states(
                    cluster, states, weights / len(spins), spin, side, target, spectra,
                    n_lanczos, dense,
                )  # fmt: skip
                found.append(poles)
    energies, amplitudes = (np.concatenate(part) for part in zip(*found, strict=True))
    square = np.abs(amplitudes) ** 2
    keep = np.any(square > smallest * square.sum(axis=0), axis=(1, 2))
    return energies[keep], amplitudes[keep]


def _from_states(
    cluster: KanamoriCluster,
    states: States,
    weights: np.ndarray,
    spin: int,
    side: int,
    target: Sector,
    spectra: dict[Sector, tuple[np.ndarray, np.ndarray]],
    n_lanczos: int,
    dense: int,
) -> tuple[np.ndarray, np.ndarray]:
    start = cluster.excitations(states.sector, spin, side, states.vectors)
    start = start * np.sqrt(weights)
    n, _, n_orb, n_states = start.shape
    if n <= dense:
        levels, vectors = _spectrum(cluster, target, spectra)
        overlap = (vectors.conj().T @ start.reshape(n, -1)).reshape(n, 2, n_orb, n_states)
        overlap = np.moveaxis(overlap, -1, 1).reshape(n * n_states, 2, n_orb)
        energies = side * (levels[:, None] - states.energies).reshape(-1)
    else:
        H = cluster.hamiltonian(target)
        runs = [
            response_poles(H.dot, start[..., k].reshape(n, -1), n_lanczos) for k in range(n_states)
        ]
        energies = side * np.concatenate(
            [ritz - states.energies[k] for k, (ritz, _) in enumerate(runs)]
        )
        overlap = np.concatenate([a for _, a in runs]).reshape(-1, 2, n_orb)
    return energies, overlap.conj() if side > 0 else overlap


def _spectrum(
    cluster: KanamoriCluster,
    sector: Sector,
    spectra: dict[Sector, tuple[np.ndarray, np.ndarray]],
) -> tuple[np.ndarray, np.ndarray]:
    """All states of a small sector; those of its mirror image in spin are the same, transposed."""
    mirrored = sector[::-1]
    if sector not in spectra and mirrored in spectra:
        levels, vectors = spectra[mirrored]
        n_up, n_down = (len(strings) for strings in cluster.strings(mirrored))
        swapped = vectors.reshape(n_up, n_down, -1).swapaxes(0, 1).reshape(vectors.shape)
        return levels, swapped
    if sector not in spectra:
        spectra[sector] = np.linalg.eigh(cluster.hamiltonian(sector).toarray())
    return spectra[sector]
