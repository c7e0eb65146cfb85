"""Samples at finite temperature as arrays: what models read, and their labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from dmftnet.data.thermal import ThermalStore


@dataclass(frozen=True, eq=False)
class ThermalArrays:
    """n samples, as of `dmftnet.data.keys.ThermalBatch`; everything in units of the sample's D."""

    U: np.ndarray
    eps_d: np.ndarray
    beta: np.ndarray
    hybridization: np.ndarray
    self_energies: np.ndarray
    densities: np.ndarray
    self_energy: np.ndarray
    density: np.ndarray
    double_occupancy: np.ndarray
    model: np.ndarray

    @classmethod
    def of(cls, store: ThermalStore, inputs: Sequence[str]) -> ThermalArrays:
        """All samples of a file with these approximations, NaN where one failed.

        Raises
        ------
        StoreError
            If the file does not hold one of them.
        """
        n = len(store)
        return cls(
            U=store["U"].astype(np.float64),
            eps_d=store["eps_d"].astype(np.float64),
            beta=store["beta"].astype(np.float64),
            hybridization=store.hybridization,
            self_energies=np.stack([store.self_energy(name) for name in inputs], axis=1)
            if inputs
            else np.zeros((n, 0, store.odd.size), dtype=complex),
            densities=np.stack([store.density(name) for name in inputs], axis=1)
            if inputs
            else np.zeros((n, 0)),
            self_energy=store.self_energy(),
            density=store.density().astype(np.float64),
            double_occupancy=store.double_occupancy().astype(np.float64),
            model=store["model"].astype(np.int64),
        )

    def __len__(self) -> int:
        return len(self.U)

    @property
    def complete(self) -> np.ndarray:
        """(n,) bool: every approximation gave an answer."""
        return np.isfinite(self.self_energies).all((1, 2)) & np.isfinite(self.densities).all(1)

    def take(self, samples: np.ndarray) -> ThermalArrays:
        """The given samples, in the given order."""
        return replace(self, **{f.name: getattr(self, f.name)[samples] for f in fields(self)})

    def particle_hole(self) -> ThermalArrays:
        """Mirrored samples: ``eps_d -> -U - eps_d``, ``Delta -> -Delta^*``,

        ``Sigma -> U - Sigma^*``, ``n -> 1 - n``, and the double occupancy by ``d + 1 - 2 n``."""
        return replace(
            self,
            eps_d=-self.U - self.eps_d,
            hybridization=-self.hybridization.conj(),
            self_energies=self.U[:, None, None] - self.self_energies.conj(),
            densities=1 - self.densities,
            self_energy=self.U[:, None] - self.self_energy.conj(),
            density=1 - self.density,
            double_occupancy=self.double_occupancy + 1 - 2 * self.density,
        )
