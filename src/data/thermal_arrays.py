"""Samples at finite temperature as arrays: what models read, and their labels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from dmftnet.data.thermal import ThermalStore


@dataclass(frozen=True, eq=False)
class ThermalArrays:
    """n samples, as of `dmftnet.data.keys.ThermalBatch`; everything in units of the sample's D.

    What follows from U for one orbital is None there.
    """

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
    J: np.ndarray | None = None
    mean_field: np.ndarray | None = None
    second_order: np.ndarray | None = None
    strengths: np.ndarray | None = None
    misfits: np.ndarray | None = None
    doubles: np.ndarray | None = None
    strength: np.ndarray | None = None

    @classmethod
    def of(cls, store: ThermalStore, inputs: Sequence[str]) -> ThermalArrays:
        """All samples of a file with these approximations, NaN where one failed.

        Raises
        ------
        StoreError
            If the file does not hold one of them.
        """
        n = len(store)
        several = _of_several(store, inputs) if store.n_orb > 1 else {}
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
            **several,
        )

    def __len__(self) -> int:
        return len(self.U)

    def items(self) -> Iterator[tuple[str, np.ndarray]]:
        """Names and values of the arrays that there are."""
        named = ((f.name, getattr(self, f.name)) for f in fields(self))
        return ((name, values) for name, values in named if values is not None)

    @property
    def complete(self) -> np.ndarray:
        """(n,) bool: every approximation gave an answer."""
        return np.isfinite(self.self_energies).all((1, 2)) & np.isfinite(self.densities).all(1)

    def take(self, samples: np.ndarray) -> ThermalArrays:
        """The given samples, in the given order."""
        return replace(self, **{name: values[samples] for name, values in self.items()})

    def particle_hole(self) -> ThermalArrays:
        """Mirrored samples: ``eps_d -> -U - eps_d``, ``Delta -> -Delta^*``,

        ``Sigma -> U - Sigma^*``, ``n -> 1 - n``, and the double occupancy by ``d + 1 - 2 n``; of
        several orbitals `mean_field` stands for U.
        """
        U = self.U if self.mean_field is None else self.mean_field
        doubles = None if self.doubles is None else self.doubles + 1 - 2 * self.densities
        misfits = None if self.misfits is None else -self.misfits.conj()
        return replace(
            self,
            eps_d=-U - self.eps_d,
            hybridization=-self.hybridization.conj(),
            self_energies=U[:, None, None] - self.self_energies.conj(),
            densities=1 - self.densities,
            doubles=doubles,
            misfits=misfits,
            self_energy=U[:, None] - self.self_energy.conj(),
            density=1 - self.density,
            double_occupancy=self.double_occupancy + 1 - 2 * self.density,
        )


def _of_several(store: ThermalStore, inputs: Sequence[str]) -> dict[str, np.ndarray]:
    """What is not known from U alone."""
    interactions = [store.interaction(i) for i in range(len(store))]

    def stacked(values: list[np.ndarray], *more: int) -> np.ndarray:
        return np.stack(values, axis=1) if values else np.zeros((len(store), 0, *more))

    return {
        "J": store.J.astype(np.float64),
        "mean_field": np.array([own.mean_field(store.n_orb) for own in interactions]),
        "second_order": np.array([own.second_order(store.n_orb) for own in interactions]),
        "strengths": stacked([store.strength(name) for name in inputs]),
        "misfits": stacked([store.misfit(name) for name in inputs], store.odd.size) + 0j,
        "doubles": stacked([store.double_occupancy(name) for name in inputs]),
        "strength": store.strength().astype(np.float64),
    }
