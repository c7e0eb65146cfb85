"""Self-energy and spectrum of orbitals that mix: the matrix forms of `self_energy`.

``Sigma = Sigma_Hartree + I - F G^-1 F'`` with ``F = <<q; d+>>``, ``F' = <<d; q+>>``: a Schur
complement of a positive matrix spectrum, so that ``(Sigma^+ - Sigma) / 2i >= 0`` for any common
broadening (F. Kugler, PRB 105, 245132 (2022)).
"""

from __future__ import annotations

import numpy as np

from dmftnet.physics.analysis.self_energy import hat_integrals
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.poles import MatrixPoles, gaussian_kernel
from dmftnet.physics.impurity.problem import ImpurityProblem

FLOOR = 1e-12
"""D, of the damping of a denominator inside a gap: keeps logarithms on their branch."""


def broadened_self_energy(
    poles: MatrixPoles, omega: np.ndarray, eta: float, slope: float
) -> np.ndarray:
    """(n_orb, n_orb, n_w) complex128 retarded Sigma, in D, of Gaussian-broadened poles."""
    parts = poles.responses(lambda E: gaussian_kernel(E, omega, eta, slope), omega.size)
    return _improved(poles, parts)


def exact_self_energy(poles: MatrixPoles, z: np.ndarray) -> np.ndarray:
    """(n_orb, n_orb, n_z) complex128 Sigma at complex z, in D."""
    return _improved(poles, poles.responses(lambda E: 1 / (z - E[:, None]), z.size))


def _improved(poles: MatrixPoles, parts: tuple[np.ndarray, ...]) -> np.ndarray:
    G, F, partner, I = (np.moveaxis(part, -1, 0) for part in parts)
    sigma = poles.hartree + I - F @ np.linalg.solve(G, partner)
    return np.moveaxis(sigma, 0, -1)


def matrix_spectrum(problem: ImpurityProblem, sigma: np.ndarray) -> np.ndarray:
    """``(G^+ - G) / (2 pi i)``, ``G = (w - eps - Delta - Sigma)^-1``, integrated over each cell.

    As `dmftnet.physics.analysis.self_energy.inverse_spectrum`, in the eigenbasis of the change of
    the denominator from one point to the next: a bound state between two points keeps its weight.

    Parameters
    ----------
    sigma : (n_orb, n_orb, n_w) complex128
        Retarded, ``(Sigma^+ - Sigma) / 2i >= 0``.

    Returns
    -------
    (n_orb, n_orb, n_w) complex128, in 1/D, Hermitian
    """
    grid, one = problem.grid, np.eye(problem.n_orb)
    delta = problem.retarded_hybridization()
    if delta.ndim == 2:
        delta = one[:, :, None] * delta
    free = grid.omega * one[:, :, None] - problem.one_body[:, :, None] - delta - sigma
    M = np.moveaxis(free, -1, 0) + 1j * FLOOR * one
    return np.moveaxis(_cell_integrals(grid, M), 0, -1)


def _cell_integrals(grid: FrequencyGrid, M: np.ndarray) -> np.ndarray:
    """(n_w, n_orb, n_orb) spectra of the inverse of M, which is linear in each cell."""
    inverse = np.linalg.inv(M[:-1])
    change, basis = np.linalg.eig(inverse @ (M[1:] - M[:-1]))
    back = np.linalg.inv(basis) @ inverse
    projected = np.zeros_like(M)
    h = np.diff(grid.omega)[:, None]
    for target, hat in zip((slice(None, -1), slice(1, None)), hat_integrals(change), strict=True):
        projected[target] += (basis * (hat * h)[:, None, :]) @ back
    projected /= grid.weights[:, None, None]
    return (projected.conj().swapaxes(1, 2) - projected) / (2j * np.pi)
