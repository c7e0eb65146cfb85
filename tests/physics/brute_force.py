"""A slow, independent witness: an impurity with a few bath sites in the whole Fock space.

Fermion operators as Jordan-Wigner matrices over the modes of both spins, the Hamiltonian as their
products, every eigenstate by dense diagonalisation, the ground state over all particle numbers.
Plain numpy, and nothing of the package that it checks. Cost ``64^(n_bath + 1)``: three bath sites
(256 states) take 0.1 s, four a minute.
"""

from functools import reduce

import numpy as np

DEGENERACY = 1e-9  # states this close in energy (D) are averaged as one ground multiplet


class BruteForce:
    """All eigenstates of a star impurity and what follows from them.

    Parameters
    ----------
    eps_d, U : float
    energies, couplings : (n_bath,) float
    """

    def __init__(self, eps_d, U, energies, couplings):
        n = len(energies) + 1
        c = annihilators(2 * n)
        up, down = c[:n], c[n:]
        one_body = np.diag([eps_d, *energies]).astype(float)
        one_body[0, 1:] = one_body[1:, 0] = couplings
        self.n_up, self.n_down = number(up[0]), number(down[0])
        interaction = U * self.n_up @ self.n_down
        self.H = interaction.copy()
        for spin in (up, down):
            for i, j in np.argwhere(one_body != 0):
                self.H += one_body[i, j] * spin[i].T @ spin[j]
        self.total = sum(number(mode) for mode in c)
        self.d = up[0]
        self.q = self.d @ interaction - interaction @ self.d  # [d, H_int], by definition
        self.levels, self.states = np.linalg.eigh(self.H)
        self.energy = self.levels[0]
        self.ground = self.states[:, self.levels < self.energy + DEGENERACY]

    def mean(self, operator):
        """Expectation value, averaged over the ground multiplet."""
        return np.trace(self.ground.T @ operator @ self.ground) / self.ground.shape[1]

    @property
    def electrons(self):
        """Electrons in the ground multiplet."""
        return self.mean(self.total)

    @property
    def filling(self):
        """Impurity occupation of both spins."""
        return self.mean(self.n_up + self.n_down)

    @property
    def double_occupancy(self):
        """``<n_up n_dn>``."""
        return self.mean(self.n_up @ self.n_down)

    def poles(self):
        """``(energies (n,), amplitudes (n, 2))`` of the rank-one residues of G, F, I."""
        energies, amplitudes = [], []
        share = 1 / np.sqrt(self.ground.shape[1])
        for state in self.ground.T:
            for side in (1, -1):
                operators = (self.d.T, self.q.T) if side > 0 else (self.d, self.q)
                energies.append(side * (self.levels - self.energy))
                excited = np.stack([operator @ state for operator in operators], axis=1)
                amplitudes.append(share * self.states.T @ excited)
        return np.concatenate(energies), np.concatenate(amplitudes)

    def moments(self, n_moments=4):
        """(3, n_moments) moments of G, F and I."""
        energies, (a_d, a_q) = (part.T for part in self.poles())
        powers = np.vander(energies, n_moments, increasing=True)
        return np.stack([a_d**2, a_d * a_q, a_q**2]) @ powers

    def greens(self, z):
        """``G(z)`` at complex frequencies."""
        energies, amplitudes = self.poles()
        return (amplitudes[:, 0] ** 2 / (np.asarray(z)[..., None] - energies)).sum(axis=-1)


def annihilators(n_modes):
    """Jordan-Wigner matrices ``Z x ... x Z x a x 1 x ... x 1`` of every mode."""
    a, Z, one = np.array([[0.0, 1.0], [0.0, 0.0]]), np.diag([1.0, -1.0]), np.eye(2)
    return [reduce(np.kron, [Z] * k + [a] + [one] * (n_modes - k - 1)) for k in range(n_modes)]


def number(mode):
    """``c+ c`` of one annihilator."""
    return mode.T @ mode
