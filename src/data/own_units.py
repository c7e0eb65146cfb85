"""A dataset with every problem in units of its own bath, ``D = 2 sqrt(integral -Im Delta / pi)``.

An impurity problem has no unit of energy but its own: with all energies divided by one of them the
spectrum is the same function. In units of the bath's D the hybridizations of all lattices have the
weight 1/4 of the semicircle's, and what a network learns from one lattice holds for another of
three times the width. Networks that put out the self-energy see problems so
(`dmftnet.models.solvers.network`).
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np

from dmftnet.data.store import SpectralStore
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.pole_solutions import PoleSolution
from dmftnet.physics.impurity.poles import ResponsePoles
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.impurity.units import unit_of

OUTSIDE = 1e-3
"""Largest share of a spectrum, or of Delta or Sigma, beyond the network's grid."""


class OwnUnits:
    """What labels need of a `SpectralStore`, each sample in units of its own D.

    Parameters
    ----------
    store : SpectralStore

    Attributes
    ----------
    unit : (n,) float64, in D of the file
    grid : FrequencyGrid
        The file's, its numbers now in units of each sample's D.
    """

    def __init__(self, store: SpectralStore):
        self.store = store
        self.grid: FrequencyGrid = store.grid
        self.path: Path = store.path
        self.resolution = store.resolution
        raw = store["hybridization"].astype(np.float64)
        self.unit = np.array([unit_of(float(m0)) for m0 in store.grid.integrate(raw)])

    def __len__(self) -> int:
        return len(self.store)

    def __getitem__(self, name: str) -> np.ndarray:
        """A column of the samples by its short name."""
        if name in ("U", "eps_d"):
            return self.store[name] / self.unit
        if name == "hybridization":
            return self._hybridization
        if name == "broadening":
            return self.store[name] / np.stack([self.unit, np.ones_like(self.unit)], axis=1)
        return self.store[name]

    @cached_property
    def _hybridization(self) -> np.ndarray:
        """(n, n_w) float64, their weight kept to the last bit that lies inside the grid."""
        grid, raw = self.grid, self.store["hybridization"].astype(np.float64)
        return np.stack(
            [
                grid.shared(grid.omega / unit, grid.weights * curve) / grid.weights / unit**2
                for unit, curve in zip(self.unit, raw, strict=True)
            ]
        )

    def poles(self, sample: int) -> ResponsePoles:
        """Poles and amplitudes of one sample; the second amplitude is an energy."""
        found, unit = self.store.poles(sample), self.unit[sample]
        return ResponsePoles(found.energies / unit, found.amplitudes / [1.0, unit])

    def problem(self, sample: int) -> ImpurityProblem:
        """The impurity problem of one sample."""
        U, eps_d = self["U"][sample], self["eps_d"][sample]
        return ImpurityProblem.on_grid(
            float(U), float(eps_d), self.grid, self._hybridization[sample]
        )

    def solution(self, sample: int) -> PoleSolution:
        """The exact solver's answer for one sample."""
        eta, slope = map(float, self["broadening"][sample])
        return PoleSolution(
            problem=self.problem(sample),
            greens=(self.poles(sample),),
            filling=float(self.store["filling"][sample]),
            double_occupancy=float(self.store["double_occupancy"][sample]),
            broadening=(eta, slope),
        )

    def inside(self, w_max: float) -> np.ndarray:
        """(n,) bool: whether all but `OUTSIDE` of Delta, A and Sigma lies within ``+- w_max``."""
        far = np.abs(self.grid.omega[None, :]) > w_max * self.unit[:, None]
        raw = self.store["hybridization"] * self.grid.weights
        lost = (raw * far).sum(axis=1) / raw.sum(axis=1)
        for i in range(len(self)):
            poles = self.poles(i)
            weights = poles.amplitudes**2
            beyond = np.abs(poles.energies) > w_max
            total = np.maximum(weights.sum(axis=0), np.finfo(float).tiny)
            lost[i] = max(lost[i], (weights[beyond].sum(axis=0) / total).max())
        return lost <= OUTSIDE
