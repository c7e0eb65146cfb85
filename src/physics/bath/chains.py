"""The chain and natural forms of a star bath, and the mean field that the latter is about.

* chain: Lanczos tridiagonalisation from the impurity's neighbour;
* natural orbitals: the mean-field ground state has exactly one partially filled bath orbital b;
  the other filled (valence) and empty (conduction) orbitals form two chains that start at the
  pair (impurity, b). In this basis a correlated ground state needs very few excitations
  (Lu, Hoeppner, Gunnarsson, Haverkort, PRB 90, 085102 (2014)).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh, hessenberg
from scipy.optimize import brentq

from dmftnet.errors import InvalidProblemError
from dmftnet.physics.bath.star import StarBath


@dataclass(frozen=True, eq=False)
class ChainBath:
    """Bath sites in a line: ``hoppings[0]`` couples the impurity to the first.

    Parameters
    ----------
    onsite : (n_bath,) float64, in D
    hoppings : (n_bath,) float64, in D
    """

    onsite: np.ndarray
    hoppings: np.ndarray

    def one_body(self, eps_d: float) -> np.ndarray:
        """(n_bath + 1, n_bath + 1) tridiagonal one-body matrix, the impurity first."""
        return (
            np.diag(np.concatenate([[eps_d], self.onsite]))
            + np.diag(self.hoppings, 1)
            + np.diag(self.hoppings, -1)
        )


@dataclass(frozen=True, eq=False)
class NaturalOrbitalBath:
    """The impurity d, its natural partner b, and the valence and conduction chains.

    Depth 1 is the site next to (d, b). All energies in D; ``n_d`` is the mean-field occupation of
    one spin. The one-body matrix couples d and b to each other and both to the two first sites.

    Parameters
    ----------
    valence, conduction : (n_v,), (n_c,) float64
        On-site energies of the filled and the empty chain.
    valence_hoppings, conduction_hoppings : (n_v - 1,), (n_c - 1,) float64
        Between depth i and i + 1.
    eps_b, t_db : float
        Level of b and its coupling to d.
    t_vd, t_vb, t_cd, t_cb : float
        Couplings of the first chain sites to d and b (zero where a chain is empty).
    n_d : float
        Mean-field occupation of the impurity, one spin.
    n_pairs : int
        Electrons of one spin in the mean-field ground state: ``n_v + 1``.
    """

    valence: np.ndarray
    valence_hoppings: np.ndarray
    conduction: np.ndarray
    conduction_hoppings: np.ndarray
    eps_b: float
    t_db: float
    t_vd: float
    t_vb: float
    t_cd: float
    t_cb: float
    n_d: float
    n_pairs: int

    def one_body(self, eps_d: float) -> np.ndarray:
        """One-body matrix in the order (v_nv .. v_1, d, b, c_1 .. c_nc)."""
        n_v, n_c = self.valence.size, self.conduction.size
        h = np.diag(np.concatenate([self.valence[::-1], [eps_d, self.eps_b], self.conduction]))
        off = np.zeros(n_v + n_c + 1)
        off[: max(n_v - 1, 0)] = self.valence_hoppings[::-1]
        off[n_v] = self.t_db
        off[n_v + 2 :] = self.conduction_hoppings
        h += np.diag(off, 1) + np.diag(off, -1)
        d, b = n_v, n_v + 1
        couplings = []
        if n_v:
            couplings += [(d - 1, d, self.t_vd), (d - 1, b, self.t_vb)]
        if n_c:
            couplings += [(b + 1, d, self.t_cd), (b + 1, b, self.t_cb)]
        for i, j, t in couplings:
            h[i, j] = h[j, i] = t
        return h


def star_to_chain(bath: StarBath) -> ChainBath:
    """The same bath as a chain (Householder tridiagonalisation that keeps the impurity)."""
    diagonal, off = _tridiagonalise(bath.energies, bath.couplings)
    return ChainBath(diagonal, off)


def _tridiagonalise(energies: np.ndarray, start: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Tridiagonal form of ``diag(energies)`` from a start vector: (diagonal, off-diagonal).

    ``off[0]`` is the start vector's norm. Householder reflections fix the bordering vector, so no
    orthogonality is lost however long the chain.
    """
    n = energies.size
    bordered = np.zeros((n + 1, n + 1))
    bordered[0, 1:] = bordered[1:, 0] = start
    bordered[1:, 1:] = np.diag(energies)
    h = hessenberg(bordered)
    return np.diag(h)[1:].copy(), np.abs(np.diag(h, 1))


@dataclass(frozen=True)
class MeanField:
    """Restricted Hartree-Fock solution of a star impurity at fixed particle number.

    Parameters
    ----------
    n_pairs : int
        Electrons of each spin.
    n_d : float
        Impurity occupation of one spin.
    energy : float, in D
        Total mean-field energy of both spins.
    """

    n_pairs: int
    n_d: float
    energy: float


def mean_field(bath: StarBath, eps_d: float, U: float, n_pairs: int) -> MeanField:
    """Restricted Hartree-Fock at fixed `n_pairs`: ``n_d = <n_d>[eps_d + U n_d]`` by bisection."""

    def occupation(n: float) -> tuple[float, float]:
        levels, C = eigh(bath.one_body(eps_d + U * n))
        return float((C[0, :n_pairs] ** 2).sum()), float(2 * levels[:n_pairs].sum() - U * n**2)

    if U == 0:
        n_d = occupation(0.0)[0]
    else:
        n_d = brentq(lambda n: occupation(n)[0] - n, -1e-9, 1 + 1e-9, xtol=1e-12)
    return MeanField(n_pairs, n_d, occupation(n_d)[1])


def mean_field_ground_state(bath: StarBath, eps_d: float, U: float) -> MeanField:
    """Restricted Hartree-Fock over the particle numbers around the Fermi level; lowest energy."""
    below = int((bath.energies < 0).sum())
    candidates = range(max(1, below - 1), min(bath.n_bath, below + 2) + 1)
    return min((mean_field(bath, eps_d, U, n) for n in candidates), key=lambda state: state.energy)


def natural_orbitals(
    bath: StarBath, eps_d: float, U: float, state: MeanField
) -> NaturalOrbitalBath:
    """Natural-orbital form of a star bath about a mean-field state.

    In the basis of mean-field eigenstates the chain of the filled states is the Lanczos chain that
    starts at the impurity's filled part (the bonding orbital ``B``), that of the empty states at
    its empty part (antibonding, ``A``), and ``d = sqrt(n) B + sqrt(1 - n) A``,
    ``b = sqrt(1 - n) B - sqrt(n) A``. The result is exact for any mean field; a self-consistent one
    makes the fewest excitations necessary.
    """
    levels, C = eigh(bath.one_body(eps_d + U * state.n_d))
    n_pairs = state.n_pairs
    if not 1 <= n_pairs <= bath.n_bath:
        raise InvalidProblemError(
            f"n_pairs = {n_pairs}: {bath.n_bath} bath sites need 1 <= n_pairs <= {bath.n_bath}"
        )
    filled, empty = C[0, :n_pairs], C[0, n_pairs:]
    n_d = float(filled @ filled)
    root = float(np.sqrt(n_d))
    coroot = float(np.linalg.norm(empty))  # 1 - n_d would lose a nearly full impurity
    if root == 0 or coroot == 0:
        states = "filled" if root == 0 else "empty"
        raise InvalidProblemError(
            f"the impurity is decoupled from the bath's {states} states in the mean field; give "
            "the bath sites a finite coupling"
        )
    v_diag, v_off = _tridiagonalise(levels[:n_pairs], filled / root)
    c_diag, c_off = _tridiagonalise(levels[n_pairs:], empty / coroot)
    eps_B, eps_A = v_diag[0], c_diag[0]
    t_v = v_off[1] if v_diag.size > 1 else 0.0
    t_c = c_off[1] if c_diag.size > 1 else 0.0
    return NaturalOrbitalBath(
        valence=v_diag[1:],
        valence_hoppings=v_off[2:],
        conduction=c_diag[1:],
        conduction_hoppings=c_off[2:],
        eps_b=(1 - n_d) * eps_B + n_d * eps_A,
        t_db=root * coroot * (eps_B - eps_A),
        t_vd=t_v * root,
        t_vb=t_v * coroot,
        t_cd=t_c * coroot,
        t_cb=-t_c * root,
        n_d=n_d,
        n_pairs=n_pairs,
    )
