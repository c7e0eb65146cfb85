"""A hybridization known as bath levels and their couplings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dmftnet.errors import InvalidProblemError
from dmftnet.physics.impurity.hybridization import Hybridization, from_real, to_real


@dataclass(frozen=True, eq=False)
class PoleHybridization(Hybridization):
    """Bath levels.

    Parameters
    ----------
    energies : (n_levels,) float64, in D
    couplings : (n_levels, n_orb) float64 or complex128, in D
        ``V_ka`` of ``V_ka d+_a c_k + h.c.``: ``Delta_ab = sum_k V_ka conj(V_kb) / (z - e_k)``.
    is_diagonal : bool
        Whether each level couples to one orbital alone.
    """

    energies: np.ndarray
    couplings: np.ndarray

    def __post_init__(self):
        energies, couplings = np.array(self.energies, dtype=np.float64), np.array(self.couplings)
        if couplings.ndim != 2 or energies.shape != couplings.shape[:1]:
            raise InvalidProblemError(
                f"bath energies {energies.shape} and couplings {couplings.shape}: give (n_levels,) "
                "and (n_levels, n_orb)"
            )
        for name, values in (("energy", energies), ("coupling", couplings)):
            if not np.all(np.isfinite(values)):
                raise InvalidProblemError(f"a bath {name} is not finite")
            values.setflags(write=False)
        object.__setattr__(self, "energies", energies)
        object.__setattr__(self, "couplings", couplings)

    @property
    def n_orb(self) -> int:
        return self.couplings.shape[1]

    @property
    def is_diagonal(self) -> bool:
        return bool(np.all((self.couplings != 0).sum(axis=1) <= 1))

    def _weights(self) -> np.ndarray:
        if self.is_diagonal:
            return (np.abs(self.couplings) ** 2).T
        return np.einsum("ka,kb->abk", self.couplings, self.couplings.conj())

    def at(self, z: np.ndarray) -> np.ndarray:
        return self._weights() @ (1 / (np.asarray(z) - self.energies[:, None]))

    def moments(self, n_moments: int) -> np.ndarray:
        weights = self._weights()
        return np.stack([weights @ self.energies**m for m in range(n_moments)])

    def vector(self) -> np.ndarray:
        return np.concatenate([self.energies, to_real(self.couplings)])

    def with_vector(self, vector: np.ndarray) -> PoleHybridization:
        n = self.energies.size
        return PoleHybridization(vector[:n], from_real(vector[n:], self.couplings))

    def change(self, new: PoleHybridization) -> float:
        """Largest change of a level or a coupling, in D."""
        return float(np.abs(new.vector() - self.vector()).max(initial=0.0))

    def drift(self, new: PoleHybridization) -> float:
        return self.change(new)

    def particle_hole(self) -> PoleHybridization:
        return PoleHybridization(-self.energies[::-1], self.couplings[::-1].conj())

    def is_particle_hole_symmetric(self, tolerance: float = 1e-9) -> bool:
        z = 1j * np.linspace(0.1, 2.0, 2 * self.energies.size + 2)  # more points than unknowns
        values, mirrored = self.matrix_at(z), self.particle_hole().matrix_at(z)
        return bool(np.abs(values - mirrored).max(initial=0.0) <= tolerance)

    def averaged(self, other: PoleHybridization) -> PoleHybridization:
        return PoleHybridization(
            np.concatenate([self.energies, other.energies]),
            np.concatenate([self.couplings, other.couplings]) / np.sqrt(2),
        )

    def one_body(self, levels: np.ndarray) -> np.ndarray:
        """(n, n) one-body matrix of the impurity's (n_orb, n_orb) `levels` and the bath."""
        n_orb, n = self.n_orb, self.n_orb + self.energies.size
        h = np.zeros((n, n), dtype=np.result_type(levels, self.couplings))
        h[:n_orb, :n_orb] = levels
        h[np.arange(n_orb, n), np.arange(n_orb, n)] = self.energies
        h[:n_orb, n_orb:] = self.couplings.T
        h[n_orb:, :n_orb] = self.couplings.conj()
        return h
