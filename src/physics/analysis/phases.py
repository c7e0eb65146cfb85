"""Metal or insulator: one rule for exact and learned solutions, half filled and doped, any lattice.

A local self-energy leaves A(0) of a metal at the value of the non-interacting lattice of the same
filling, ``rho(e_F(n))`` (Luttinger's theorem; E. Mueller-Hartmann, Z. Phys. B 76, 211 (1989)). So

* a *metal* has no gap and at least `PINNED` of that value,
* an *insulator* has a gap and at most `GAPPED` of it,
* anything else is *neither*: a resonance that the discrete bath or the network's grid does not
  resolve, or a loop that stopped on the way from one phase to the other.

The value is the mean of rho over ``e_F +- 0.02 D``: any resolution cuts off a logarithmic
singularity (the square lattice at half filling).
"""

from __future__ import annotations

import numpy as np

from dmftnet.physics.analysis.observables import gap
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.protocol import ImpuritySolution
from dmftnet.physics.lattices.protocol import LocalLattice

PINNED, GAPPED = 0.9, 0.1
HALF_WIDTH = 0.02  # in D
PHASES = ("metal", "insulator", "neither")


def fermi_level_density(lattice: LocalLattice, filling: float) -> float:
    """Mean density of states, in 1/D, around the non-interacting Fermi level of a filling.

    Parameters
    ----------
    filling : float
        Both spins, in [0, 2].
    """
    energies, values = lattice.density_of_states()
    curve = FrequencyGrid(energies)
    filled = curve.cumulative(values, energies)
    share = np.clip(filling / 2, 0.0, 1.0) * filled[-1]
    level = np.interp(share, filled, energies)
    ends = np.array([level - HALF_WIDTH, level + HALF_WIDTH])
    return float(np.diff(curve.cumulative(values, ends))[0] / (2 * HALF_WIDTH))


def pinned_share(
    grid: FrequencyGrid, spectrum: np.ndarray, lattice: LocalLattice, filling: float
) -> float:
    """A(0) of an (n_w,) spectrum over its value in a Fermi liquid of this filling."""
    return float(grid.at_zero(spectrum)) / fermi_level_density(lattice, filling)


def phase_of(
    grid: FrequencyGrid, spectrum: np.ndarray, lattice: LocalLattice, filling: float
) -> str:
    """One of `PHASES` for an (n_w,) spectrum; see the module."""
    share, gapped = pinned_share(grid, spectrum, lattice, filling), gap(grid, spectrum) > 0
    if gapped and share <= GAPPED:
        return "insulator"
    return "metal" if not gapped and share >= PINNED else "neither"


def phase_of_solution(solution: ImpuritySolution, lattice: LocalLattice) -> str:
    """One of `PHASES` for the first orbital of a solution."""
    grid, spectrum = solution.problem.grid, solution.spectrum()[0]
    return phase_of(grid, spectrum, lattice, solution.filling)
