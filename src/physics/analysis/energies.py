"""Energies of a lattice site from functions at Matsubara frequencies.

``E_kin = T sum_(n, s) Delta(i w_n) G(i w_n)`` of any lattice: with ``z = i w_n - eps - Sigma`` the
kinetic energy of a spin is ``T sum_(n, k) e_k / (z - e_k) = T sum_n (z G - 1)``, and
``z = Delta + 1/G``. The e_k are counted from the centre of the band, where the impurity's level is.

``E_int = (1/2) T sum_(n, s) Sigma(i w_n) G(i w_n) e^(i w_n 0+)`` (V. Galitskii, A. Migdal, Sov.
Phys. JETP 7, 96 (1958)), for one orbital ``U <n_up n_dn>``.

Both sums are the value of a function of tau at the end of its interval, to 1e-9 of the intermediate
representation; nothing is summed up to a cutoff. References: A. Georges et al., RMP 68, 13 (1996).
"""

from __future__ import annotations

import numpy as np

from dmftnet.errors import InvalidProblemError
from dmftnet.physics.impurity.matsubara_hybridization import MatsubaraHybridization
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.impurity.protocol import ImpuritySolution


def kinetic_energy(problem: ImpurityProblem, solution: ImpuritySolution) -> float:
    """Both spins, all orbitals, in D; of a converged loop on the imaginary axis.

    Without a lattice the same sum is half the energy of the hybridization,
    ``sum_ks V_k <d+_s c_ks + h.c.> / 2``.
    """
    bath = _bath(problem)
    product = _trace_of(bath.values, solution.matsubara_greens(bath.axis))
    # falls off as 1/w^2: continuous at tau = 0
    return 2 * float(bath.axis.at_tau(bath.axis.to_coefficients(product), np.zeros(1))[0])


def galitskii_migdal(problem: ImpurityProblem, solution: ImpuritySolution) -> float:
    """Interaction energy of both spins and all orbitals, in D."""
    axis = _bath(problem).axis
    sigma, greens = solution.matsubara_self_energy(axis), solution.matsubara_greens(axis)
    product = _trace_of(sigma, greens)
    # e^(iw0+): at tau = 0 from below, minus the value at beta
    return -float(axis.at_tau(axis.to_coefficients(product), np.array([axis.beta]))[0])


def _bath(problem: ImpurityProblem) -> MatsubaraHybridization:
    if not isinstance(problem.hybridization, MatsubaraHybridization):
        raise InvalidProblemError(
            "energies are sums over Matsubara frequencies, and the hybridization is a "
            f"{type(problem.hybridization).__name__}; set axis=imaginary"
        )
    return problem.hybridization


def _trace_of(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(n,) trace over orbitals of a product; a diagonal is its matrix."""
    if a.ndim == b.ndim == 2:
        return (a * b).sum(axis=0)
    matrices = [v if v.ndim == 3 else np.eye(len(v))[:, :, None] * v[None] for v in (a, b)]
    return np.einsum("abn,ban->n", *matrices)
