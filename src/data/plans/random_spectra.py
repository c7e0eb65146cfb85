"""Random causal hybridization spectra: where trajectories start, and data for other lattices.

Three families, each a function of a random generator alone:

* `random_bands`: a few bands of any place and width, of about the Bethe bath's weight;
* `quasiparticle_spectrum`: a resonance between two Hubbard bands, its width drawn over two decades
  and its height pinned as in a Fermi liquid. The slow mode of a DMFT loop near the Mott transition
  is this width: loops that start along it pass near every fixed point within a few iterations;
* `agnostic_spectrum`: as from other lattices or molecules: bands of many shapes, gaps, pseudogaps,
  narrow peaks, shifted and asymmetric, the total weight over more than a decade.
"""

from __future__ import annotations

import numpy as np

from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.lattices.bethe import semicircle


def random_bands(
    rng: np.random.Generator, grid: FrequencyGrid, weight: float, symmetric: bool
) -> np.ndarray:
    """One to four semi-elliptic or Gaussian bands.

    Parameters
    ----------
    weight : float, in D^2
        The integral comes out between 0.6 and 1.6 times this.
    symmetric : bool
        Make it even in frequency.

    Returns
    -------
    (n_w,) float64, in D
    """
    n_bands = rng.integers(1, 5)
    total = np.zeros(grid.n_w)
    for share in rng.dirichlet(np.ones(n_bands)):
        centre = rng.uniform(-2.2, 2.2)
        width = np.exp(rng.uniform(np.log(0.15), np.log(1.2)))
        if rng.random() < 0.5:
            total += semicircle(grid, centre, width, share)
        else:
            total += _of_weight(grid, _gaussian(grid.omega, centre, width), share)
    if symmetric:
        total = 0.5 * (total + total[::-1])
    return weight * rng.uniform(0.6, 1.6) * total


def quasiparticle_spectrum(
    rng: np.random.Generator,
    grid: FrequencyGrid,
    bands: np.ndarray,
    symmetric: bool,
    narrowest: float = 0.01,
    widest: float = 0.6,
) -> np.ndarray:
    """A semi-elliptic resonance at zero between two bands.

    A share z of the weight, drawn evenly in its logarithm, forms the resonance of half-width
    ``z D``: then its height is that of the non-interacting Bethe bath, as Fermi-liquid theory asks.

    Parameters
    ----------
    bands : (n_w,) float64, in D
        Hybridization of the insulator, whose weight is kept.
    symmetric : bool
        Leave the bands as they are; else move weight from one to the other.
    narrowest, widest : float
        Range of z.

    Returns
    -------
    (n_w,) float64, in D
    """
    weight = grid.integrate(bands)
    z = np.exp(rng.uniform(np.log(narrowest), np.log(widest)))
    tilt = 0.0 if symmetric else rng.uniform(-0.7, 0.7)
    tilted = _of_weight(grid, bands * (1 + tilt * np.sign(grid.omega)), (1 - z) * weight)
    return tilted + semicircle(grid, 0.0, z, z * weight)


def agnostic_spectrum(rng: np.random.Generator, grid: FrequencyGrid, symmetric: bool) -> np.ndarray:
    """A hybridization of no particular lattice; see the module.

    Parameters
    ----------
    symmetric : bool
        Make it even in frequency.

    Returns
    -------
    (n_w,) float64, in D; integral between 0.05 and 0.8 D^2.
    """
    w = grid.omega
    n_bands = rng.integers(1, 6)
    total = np.zeros(grid.n_w)
    for share in rng.dirichlet(np.ones(n_bands)):
        total += share * _band(rng, grid)
    if rng.random() < 0.3:  # a level that hybridizes weakly with the rest
        centre, width = rng.uniform(-1.5, 1.5), _log_uniform(rng, 0.02, 0.1)
        total += _of_weight(grid, _gaussian(w, centre, width), rng.uniform(0.02, 0.3))
    kind = rng.random()
    if kind < 0.35:
        centre = 0.0 if rng.random() < 0.6 else rng.uniform(-1.0, 1.0)
        half = _log_uniform(rng, 0.05, 0.8)
        gapped = total * np.sqrt(
            np.clip(1 - (half / np.maximum(np.abs(w - centre), half)) ** 2, 0, 1)
        )
        if grid.integrate(gapped) > 0.1 * grid.integrate(
            total
        ):  # a gap over all bands would leave nothing
            total = gapped
    elif kind < 0.5:
        power, scale = rng.uniform(0.3, 2.0), _log_uniform(rng, 0.03, 0.5)
        total *= np.abs(w) ** power / (np.abs(w) ** power + scale**power)
    if symmetric:
        total = 0.5 * (total + total[::-1])
    return _of_weight(grid, total, _log_uniform(rng, 0.05, 0.8))


def _band(rng: np.random.Generator, grid: FrequencyGrid) -> np.ndarray:
    """(n_w,) one band of integral one: five shapes, half of them near zero."""
    w = grid.omega
    centre = rng.normal(0.0, 0.5) if rng.random() < 0.5 else rng.uniform(-2.5, 2.5)
    width = _log_uniform(rng, 0.12, 1.5)
    x = (w - centre) / width
    shape = rng.integers(5)
    if shape == 0:
        return semicircle(grid, centre, width, 1.0)
    if shape == 1:
        curve = _gaussian(w, centre, width)
    elif shape == 2:  # flat with soft edges
        curve = 1 / (1 + np.exp(np.clip((np.abs(x) - 1) / 0.05, -50, 50)))
    elif shape == 3:  # skewed: two half Gaussians
        skew = np.exp(rng.uniform(-1.0, 1.0))
        curve = np.exp(-2 * np.where(x < 0, x * skew, x / skew) ** 2)
    else:  # logarithmic van Hove peak inside a band
        inside = np.abs(x) < 1
        curve = np.where(inside, 0.2 - np.log(np.abs(x) + 0.01), 0.0)
        curve *= np.clip(10 * (1 - np.abs(x)), 0, 1)
    return _of_weight(grid, curve, 1.0)


def _gaussian(w: np.ndarray, centre: float, width: float) -> np.ndarray:
    return np.exp(-2 * ((w - centre) / width) ** 2)


def _of_weight(grid: FrequencyGrid, curve: np.ndarray, weight: float) -> np.ndarray:
    """The curve scaled to an integral; one that vanishes on the grid stays zero."""
    integral = grid.integrate(curve)
    return curve * (weight / integral) if integral > 0 else curve


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))
