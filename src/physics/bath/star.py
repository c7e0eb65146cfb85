"""Bath sites in a star, each coupled to the impurity alone.

Other forms of the same bath: `dmftnet.physics.bath.chains`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dmftnet.physics.impurity.poles import PoleSpectrum

# A site in a gap carries no weight, yet fixes the particle number of a local moment: this
# "spectator" sits at zero energy with this coupling (in D), far below any weight that matters.
SPECTATOR_COUPLING = 1e-4


@dataclass(frozen=True, eq=False)
class StarBath:
    """Bath sites coupled to the impurity alone.

    Parameters
    ----------
    energies : (n_bath,) float64, in D
    couplings : (n_bath,) float64, in D
        ``V_k >= 0``.
    spectator : bool
        Whether one site stands in a gap at zero energy, there only to fix the particle number.
    """

    energies: np.ndarray
    couplings: np.ndarray
    spectator: bool = False

    @property
    def n_bath(self) -> int:
        """Number of bath sites."""
        return self.energies.size

    @property
    def is_symmetric(self) -> bool:
        """Whether particle-hole exchange maps the bath onto itself; a shifted one it does not."""
        order = np.argsort(self.energies)
        e, v = self.energies[order], self.couplings[order]
        return bool(np.allclose(e, -e[::-1], atol=1e-9) and np.allclose(v, v[::-1], atol=1e-9))

    def one_body(self, eps_d: float) -> np.ndarray:
        """(n_bath + 1, n_bath + 1) one-body matrix, the impurity first."""
        h = np.diag(np.concatenate([[eps_d], self.energies]))
        h[0, 1:] = h[1:, 0] = self.couplings
        return h

    def hybridization_function(self, z: np.ndarray) -> np.ndarray:
        """``Delta(z) = sum_k V_k^2 / (z - eps_k)`` at complex z; same shape."""
        z = np.asarray(z)
        return (self.couplings**2 / (z[..., None] - self.energies)).sum(axis=-1)

    def gaussian_hybridization(self, omega: np.ndarray, eta: float, slope: float) -> np.ndarray:
        """(n_w,) retarded Delta, each site a Gaussian of width ``eta + slope |E|``, in D."""
        return PoleSpectrum(self.energies, self.couplings**2).gaussian_greens(omega, eta, slope)
