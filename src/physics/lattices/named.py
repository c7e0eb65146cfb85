"""Densities of states of well-known lattices, half bandwidth 1, a single inequivalent site each.

From the bands in closed form, as histograms over a fine mesh of the Brillouin zone. A flat band is
a peak of half width `FLAT`. Energies are moved so that their mean is zero, as the level of the
impurity is then eps_d (`dmftnet.physics.lattices.density_of_states`).
"""

from __future__ import annotations

import numpy as np

from dmftnet.physics.lattices.density_of_states import DensityOfStates

FLAT = 0.01
"""D, of the triangle that stands for a flat band."""

N_K = {2: 2400, 3: 240}
"""Points of the mesh in each direction."""

N_BINS = {2: 600, 3: 300}


def _cosines(dim: int) -> list[np.ndarray]:
    """``cos k`` of each direction on a mesh that meets no point of symmetry."""
    k = 2 * np.pi * (np.arange(N_K[dim]) + 0.5) / N_K[dim]
    return list(np.meshgrid(*[np.cos(k)] * dim, indexing="ij", sparse=True))


def _density(
    bands: list[np.ndarray],
    dim: int,
    name: str,
    flat: float | None = None,
    weight: float = 0.0,
    even: bool = False,
) -> DensityOfStates:
    """Of dispersive bands, and a flat one at an energy with a share of the weight.

    `even` where the exact density is: a histogram is so to its rounding alone.
    """
    low = min(band.min() for band in bands)
    high = max(band.max() for band in bands)
    edges = np.linspace(low, high, N_BINS[dim] + 1)
    counts = sum(np.histogram(band, edges)[0] for band in bands)
    energies = 0.5 * (edges[1:] + edges[:-1])
    values = counts / np.trapezoid(counts, energies)
    half = 0.5 * (high - low)
    if flat is not None:
        low, high = min(low, flat), max(high, flat)
        half = 0.5 * (high - low)
        around = flat + FLAT * half * np.array([-1.0, 0.0, 1.0])
        both = np.unique(np.concatenate([energies, around]))
        values = (1 - weight) * np.interp(both, energies, values, left=0.0, right=0.0)
        peak = np.interp(both, around, [0.0, 1.0 / (FLAT * half), 0.0], left=0.0, right=0.0)
        energies, values = both, values + weight * peak
    if even:
        energies, values = 0.5 * (energies - energies[::-1]), 0.5 * (values + values[::-1])
    return DensityOfStates(energies / half, values, name)


def kagome() -> DensityOfStates:
    """A flat band at the top, a third of the weight, and two that touch as in graphene."""
    x, y = _cosines(2)
    k = 2 * np.pi * (np.arange(N_K[2]) + 0.5) / N_K[2]
    third = np.cos(k[:, None] - k[None, :])
    root = np.sqrt(np.maximum(3 + 2 * (x + y + third), 0.0))
    return _density([-1 + root, -1 - root], 2, "kagome", flat=2.0, weight=1 / 3)


def lieb() -> DensityOfStates:
    """The mean over the three sites: a flat band at zero between two that touch it."""
    x, y = _cosines(2)
    root = np.sqrt(np.maximum(4 + 2 * (x + y), 0.0))
    return _density([root, -root], 2, "lieb", flat=0.0, weight=1 / 3, even=True)


def diamond() -> DensityOfStates:
    """Two sublattices of face-centred cubic points: vanishes at zero as the square."""
    k = 2 * np.pi * (np.arange(N_K[3]) + 0.5) / N_K[3]
    a, b, c = np.meshgrid(k, k, k, indexing="ij", sparse=True)
    root = np.abs(1 + np.exp(1j * a) + np.exp(1j * b) + np.exp(1j * c))
    return _density([root, -root], 3, "diamond", even=True)


def square_next_nearest(ratio: float = -0.25) -> DensityOfStates:
    """The square lattice with hopping ``t' = ratio t`` along diagonals: its peak off the middle."""
    x, y = _cosines(2)
    return _density([-2 * (x + y) - 4 * ratio * x * y], 2, "square_next_nearest")


def checkerboard() -> DensityOfStates:
    """Planar pyrochlore: a flat band below one of the square lattice's shape."""
    x, y = _cosines(2)
    return _density([2 * (x + y)], 2, "checkerboard", flat=-4.0, weight=0.5)


def stacked_planes(ratio: float = 0.15) -> DensityOfStates:
    """Square planes with weak hopping ``ratio t`` between them: the logarithm is cut off."""
    x, y, z = _cosines(3)
    return _density([-2 * (x + y + ratio * z)], 3, "stacked_planes", even=True)


def hypercubic() -> DensityOfStates:
    """Infinite dimensions: a Gaussian of standard deviation 1/2."""
    energies = np.linspace(-2.5, 2.5, 801)
    return DensityOfStates(energies, np.exp(-2 * energies**2), "hypercubic")


def two_bands() -> DensityOfStates:
    """Two semi-elliptic bands, a band gap of 0.4 between them."""
    energies = 1 - 2 * np.sin(0.5 * np.pi * np.linspace(1, 0, 801)) ** 2
    values = np.sqrt(np.clip(0.16 - (np.abs(energies) - 0.6) ** 2, 0.0, None))
    return DensityOfStates(energies, values, "two_bands")


def pseudogap() -> DensityOfStates:
    """Proportional to the distance from zero."""
    energies = np.linspace(-1, 1, 401)
    return DensityOfStates(energies, np.abs(energies), "pseudogap")


NAMED = {
    "kagome": kagome,
    "lieb": lieb,
    "diamond": diamond,
    "square_next_nearest": square_next_nearest,
    "checkerboard": checkerboard,
    "stacked_planes": stacked_planes,
    "hypercubic": hypercubic,
    "two_bands": two_bands,
    "pseudogap": pseudogap,
}
"""All of them; conf/lattice has a file for each."""
