"""A slow, independent witness at finite temperature: the whole Fock space, plain numpy.

G(tau), n and double occupancy of a star impurity by sums over all eigenstates of
`physics.brute_force`. And segments weighed one configuration at a time, from their definition.
"""

from itertools import pairwise

import numpy as np
from physics.brute_force import BruteForce


class Thermal(BruteForce):
    """Averages over ``e^(-beta H)``.

    Parameters
    ----------
    eps_d, U : float
    energies, couplings : (n_bath,) float
    beta : float
    """

    def __init__(self, eps_d, U, energies, couplings, beta):
        super().__init__(eps_d, U, energies, couplings)
        self.beta, self.eps_d = beta, eps_d
        self.bath = list(zip(energies, couplings, strict=True))
        boltzmann = np.exp(-beta * (self.levels - self.levels[0]))
        self.boltzmann = boltzmann / boltzmann.sum()
        self.partition = float(boltzmann.sum() * np.exp(-beta * self.levels[0]))

    def mean(self, operator):
        return float(self.boltzmann @ np.einsum("an,ab,bn->n", self.states, operator, self.states))

    def greens_tau(self, tau):
        """(n_tau,) ``-<d(tau) d+>``."""
        d = self.states.T @ self.d @ self.states
        levels = self.levels - self.levels[0]
        early = np.exp(-np.outer(self.beta - np.asarray(tau), levels))
        late = np.exp(-np.outer(np.asarray(tau), levels))
        sums = np.einsum("tm,mn,tn->t", early, d**2, late)
        return -sums / np.exp(-self.beta * levels).sum()

    def self_energy(self, z):
        """(n_z,) Sigma by Dyson's equation, z off the real axis."""
        d = self.states.T @ self.d @ self.states
        weights = d**2 * (self.boltzmann[:, None] + self.boltzmann)
        apart = self.levels[None, :] - self.levels[:, None]
        G = np.array([(weights / (one - apart)).sum() for one in z])
        delta = sum(v**2 / (z - e) for e, v in self.bath)
        return z - self.eps_d - delta - 1 / G


def segments_of(creators, annihilators, beta):
    """``(start, length)`` of each segment, creators in order."""
    found = []
    for start in creators:
        later = [end - start if end > start else end - start + beta for end in annihilators]
        found.append((start, min(later)))
    return found


def time_line(creators, annihilators, full, points, beta):
    """Occupation of one spin between each two of the sorted points."""
    if len(creators) == 0:
        return np.full(len(points) - 1, float(full))
    middle = np.array([(a + b) / 2 for a, b in pairwise(points)])
    inside = np.zeros(middle.size)
    for start, length in segments_of(creators, annihilators, beta):
        inside += (middle - start) % beta < length
    return inside


def log_weight(spins, beta, eps, U, delta):
    """``(sign, log |weight|)`` of segments from the expansion itself.

    The determinant is that of rows and columns in the order of the segments, with ``Delta(s - e)``
    continued antiperiodically, and a factor -1 for a segment across beta: one fermion operator
    moved past all others.

    Parameters
    ----------
    spins : two of (creators, annihilators, full)
    delta : callable
        Delta(tau) for 0 < tau < beta.
    """
    points = np.unique(np.concatenate([[0.0, beta], *(np.concatenate(s[:2]) for s in spins)]))
    lines = [time_line(*spin, points, beta) for spin in spins]
    steps = np.diff(points)
    exponent = -sum(eps * line @ steps for line in lines) - U * (lines[0] * lines[1]) @ steps
    sign, total = 1.0, float(exponent)
    for creators, annihilators, _ in spins:
        segments = segments_of(creators, annihilators, beta)
        if not segments:
            continue
        ends = [(start + length) % beta for start, length in segments]
        matrix = [
            [delta(s - e) if s > e else -delta(s - e + beta) for s, _ in segments] for e in ends
        ]
        one, size = np.linalg.slogdet(np.array(matrix))
        crossing = sum(start + length > beta for start, length in segments)
        sign, total = sign * one * (-1) ** crossing, total + size
    return sign, total
