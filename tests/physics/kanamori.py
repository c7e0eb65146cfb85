"""A slow, independent witness with several orbitals: Hubbard-Kanamori in the whole Fock space.

Jordan-Wigner operators of every mode as sparse matrices, the Hamiltonian as their products, the
ground state of one (N_up, N_dn) sector by scipy's Lanczos. Nothing of the package that it checks.
Two orbitals with two bath sites each are 12 modes (4096 states), with three 16 (65536).
"""

from functools import reduce

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import eigsh


class Kanamori:
    """Impurity of several orbitals, each with its own star bath.

    Parameters
    ----------
    eps_d : (n_orb,) float
    U, J : float
    baths : list of (energies, couplings), one an orbital
    """

    def __init__(self, eps_d, U, J, baths):
        sizes = [1 + len(energies) for energies, _ in baths]
        n = sum(sizes)
        c = sparse_annihilators(2 * n)
        starts = np.concatenate([[0], np.cumsum(sizes)])
        self.d = [[c[s * n + starts[o]] for s in (0, 1)] for o in range(len(baths))]
        H = 0
        for o, (energies, couplings) in enumerate(baths):
            for s in (0, 1):
                d = self.d[o][s]
                H = H + eps_d[o] * d.T @ d
                for k, (e, v) in enumerate(zip(energies, couplings, strict=True)):
                    b = c[s * n + starts[o] + 1 + k]
                    H = H + e * b.T @ b + v * (d.T @ b + b.T @ d)
        self.interaction = self._interaction(U, J)
        self.H = (H + self.interaction).tocsr()
        numbers = [sum(x.T @ x for x in c[s * n : (s + 1) * n]).diagonal() for s in (0, 1)]
        self.n_up, self.n_down = (np.rint(x).astype(int) for x in numbers)

    def _interaction(self, U, J):
        """Textbook form: density terms, spin flip, pair hopping."""
        total = 0
        for m, (up, down) in enumerate(self.d):
            total = total + U * up.T @ up @ down.T @ down
            for k, other in enumerate(self.d):
                if k == m:
                    continue
                for s in (0, 1):
                    mine = self.d[m][s]
                    density = mine.T @ mine
                    total = total + 0.5 * (U - 2 * J) * density @ (other[1 - s].T @ other[1 - s])
                    total = total + 0.5 * (U - 3 * J) * density @ (other[s].T @ other[s])
                total = total - J * up.T @ down @ other[1].T @ other[0]
                total = total + J * up.T @ down.T @ other[1] @ other[0]
        return total

    def ground_state(self, n_up, n_down):
        """(energy, state in the whole Fock space) of one sector."""
        inside = np.flatnonzero((self.n_up == n_up) & (self.n_down == n_down))
        block = self.H[inside][:, inside]
        start = np.random.default_rng(0).normal(size=inside.size)
        energy, vector = eigsh(block, k=1, which="SA", v0=start, tol=1e-12)
        state = np.zeros(self.H.shape[0])
        state[inside] = vector[:, 0]
        return float(energy[0]), state

    def moments(self, energy, state, operators, n_moments):
        """(n_moments, m, m) ``<state| O_a (H - E)^n O_b^+ |state>``."""
        kets = np.stack([operator.T @ state for operator in operators], axis=1)
        out, bras = [], kets
        for _ in range(n_moments):
            out.append(bras.T @ kets)
            bras = self.H @ bras - energy * bras
        return np.array(out)

    def commutator(self, d):
        """``q = [d, H_int]``."""
        return (d @ self.interaction - self.interaction @ d).tocsr()


def sparse_annihilators(n_modes):
    """Jordan-Wigner matrices of every mode."""
    a = sp.csr_matrix([[0.0, 1.0], [0.0, 0.0]])
    Z, one = sp.diags([1.0, -1.0]), sp.identity(2)
    chains = [[Z] * k + [a] + [one] * (n_modes - k - 1) for k in range(n_modes)]
    return [reduce(lambda x, y: sp.kron(x, y, format="csr"), chain) for chain in chains]
