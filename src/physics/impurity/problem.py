"""The impurity problem, checked once, here, where it enters."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from dmftnet import checks
from dmftnet.errors import InvalidProblemError
from dmftnet.physics.grids.matsubara import ImaginaryAxis
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.hybridization import Hybridization
from dmftnet.physics.impurity.interaction import Interaction
from dmftnet.physics.impurity.matsubara_hybridization import MatsubaraHybridization
from dmftnet.physics.impurity.spectral_hybridization import SpectralHybridization

PROBED = np.array([1e-2, 1e-1, 1.0, 10.0])
"""On the imaginary axis, in D: where baths are compared that are known everywhere."""


@dataclass(frozen=True, eq=False)
class ImpurityProblem:
    """A spin-symmetric quantum impurity coupled to a bath.

    One orbital at T = 0 on a frequency grid is written `ImpurityProblem.on_grid`.

    Parameters
    ----------
    one_body : (n_orb, n_orb) or (n_orb,) float64 or complex128, in D
        Levels, chemical potential absorbed, and what mixes them; Hermitian. One axis: diagonal.
    interaction : Interaction
    hybridization : Hybridization
    beta : float, in 1/D
        Inverse temperature; infinite is T = 0.
    filling : float, optional
        Target occupation, both spins and all orbitals, for a DMFT loop that searches the level.

    Raises
    ------
    InvalidProblemError
        Names the value that is wrong and what would be right.
    """

    one_body: np.ndarray
    interaction: Interaction
    hybridization: Hybridization
    beta: float = np.inf
    filling: float | None = None

    def __post_init__(self):
        one_body = np.array(self.one_body)
        one_body = np.diag(one_body) if one_body.ndim == 1 else one_body
        if one_body.dtype.kind != "c":
            one_body = one_body.astype(np.float64)
        n_orb = self.hybridization.n_orb
        if one_body.shape != (n_orb, n_orb):
            raise InvalidProblemError(
                f"{len(one_body)} levels and a hybridization of {n_orb} orbitals; give one level "
                "an orbital"
            )
        if not np.all(np.isfinite(one_body)):
            levels = np.diag(one_body).tolist()
            raise InvalidProblemError(f"eps_d = {levels}: the level must be finite (in D)")
        if np.abs(one_body - one_body.conj().T).max() > 1e-12 * max(np.abs(one_body).max(), 1.0):
            raise InvalidProblemError("the one-body matrix of the impurity must be Hermitian")
        if not (isinstance(self.beta, float | int) and self.beta > 0):
            raise InvalidProblemError(
                f"beta = {self.beta}: give 1/T > 0 in 1/D, infinite for T = 0"
            )
        if self.filling is not None:
            filling = checks.number("filling", self.filling)
            if not 0 < filling < 2 * n_orb:
                raise InvalidProblemError(
                    f"filling = {filling}: both spins together need 0 < filling < {2 * n_orb}"
                )
        one_body.setflags(write=False)
        object.__setattr__(self, "one_body", one_body)
        object.__setattr__(self, "beta", float(self.beta))

    @classmethod
    def on_grid(
        cls,
        U: float,
        eps_d: np.ndarray | float,
        grid: FrequencyGrid,
        spectrum: np.ndarray,
        J: float = 0.0,
        filling: float | None = None,
        beta: float = np.inf,
    ) -> ImpurityProblem:
        """Levels without mixing and a spectrum on a real-frequency grid.

        Parameters
        ----------
        U, J : float, in D
            See `Interaction`.
        eps_d : (n_orb,) float64 or float, in D
            Half filling is ``-U/2`` for one orbital.
        grid : FrequencyGrid
        spectrum : (n_orb, n_w) or (n_w,) float64, in D
            ``-Im Delta / pi >= 0``.
        """
        hybridization = SpectralHybridization(grid, spectrum)
        return cls(np.atleast_1d(eps_d), Interaction(U, J), hybridization, beta, filling)

    @property
    def n_orb(self) -> int:
        """Number of orbitals."""
        return self.one_body.shape[0]

    def is_degenerate(self, tolerance: float = 1e-9) -> bool:
        """Whether all orbitals have the same level and the same bath, and do not mix.

        Parameters
        ----------
        tolerance : float
            Of levels in D, of a bath over its largest value.
        """
        if self.n_orb == 1:
            return True
        if self.has_off_diagonal or np.ptp(self.eps_d) > tolerance:
            return False
        bath = self.hybridization
        if isinstance(bath, MatsubaraHybridization):
            rows = bath.values
        else:
            rows = bath.at(1j * PROBED)
        return bool(np.abs(rows - rows[0]).max() <= tolerance * max(np.abs(rows).max(), 1e-300))

    @property
    def U(self) -> float:
        """Repulsion in one orbital, in D."""
        return self.interaction.U

    @property
    def J(self) -> float:
        """Hund's coupling, in D."""
        return self.interaction.J

    @property
    def eps_d(self) -> np.ndarray:
        """(n_orb,) float64 levels: the diagonal of `one_body`, in D."""
        return np.diag(self.one_body).real

    @property
    def grid(self) -> FrequencyGrid:
        """The real-frequency grid of the hybridization.

        Raises
        ------
        InvalidProblemError
            If the hybridization is not known as a spectrum.
        """
        return self._spectral().grid

    @property
    def spectrum(self) -> np.ndarray:
        """(n_orb, n_w) float64, or a matrix: the hybridization's spectrum, in D; see `grid`."""
        return self._spectral().spectrum

    def retarded_hybridization(self) -> np.ndarray:
        """(n_orb, n_w) complex128 Delta(w + i0) on the grid, or a matrix, in D; see `grid`."""
        return self._spectral().retarded()

    @property
    def has_off_diagonal(self) -> bool:
        """Whether orbitals mix, by their levels or by their bath."""
        if not self.hybridization.is_diagonal:
            return True
        return self.n_orb > 1 and bool(np.any(self.one_body != np.diag(np.diag(self.one_body))))

    @property
    def axis(self) -> ImaginaryAxis:
        """Matsubara frequencies: those of the hybridization, else of the problem's temperature.

        Raises
        ------
        InvalidProblemError
            At T = 0, where there are none.
        """
        if isinstance(self.hybridization, MatsubaraHybridization):
            return self.hybridization.axis
        if np.isinf(self.beta):
            raise InvalidProblemError(
                "at T = 0 there are no Matsubara frequencies; give an ImaginaryAxis, whose beta "
                "then sets their spacing"
            )
        return ImaginaryAxis(self.beta)

    def _spectral(self) -> SpectralHybridization:
        if not isinstance(self.hybridization, SpectralHybridization):
            raise InvalidProblemError(
                f"a {type(self.hybridization).__name__} has no spectrum on the real axis; use a "
                "solver for it, or give the hybridization as a spectrum"
            )
        return self.hybridization

    def replace(self, **changes) -> ImpurityProblem:
        """A copy with some fields changed, checked anew.

        Beside the fields: ``U, J`` of the interaction, ``eps_d`` in place of all levels, and
        ``spectrum`` on the grid that is there.
        """
        couplings = {name: changes.pop(name) for name in ("U", "J") if name in changes}
        if couplings:
            changes["interaction"] = replace(self.interaction, **couplings)
        if "eps_d" in changes:
            levels = np.broadcast_to(changes.pop("eps_d"), (self.n_orb,))
            mixing = self.one_body - np.diag(np.diag(self.one_body))
            changes["one_body"] = np.diag(levels) + mixing
        if "spectrum" in changes:
            changes["hybridization"] = SpectralHybridization(self.grid, changes.pop("spectrum"))
        return replace(self, **changes)

    def moved(self, hybridization: Hybridization) -> ImpurityProblem:
        """With another hybridization of as many orbitals; the rest is not checked anew."""
        made = object.__new__(ImpurityProblem)
        made.__dict__.update(self.__dict__)
        object.__setattr__(made, "hybridization", hybridization)
        return made

    def is_particle_hole_symmetric(self, tolerance: float = 1e-9) -> bool:
        """Half-filled by symmetry: all levels there (``-U/2`` for one), and an even bath."""
        half = self.interaction.half_filling(self.n_orb)
        levels = self.one_body - half * np.eye(self.n_orb)
        return bool(
            np.abs(levels).max() <= tolerance
            and self.hybridization.is_particle_hole_symmetric(tolerance)
        )

    def particle_hole(self) -> ImpurityProblem:
        """The particle-hole mirrored problem: ``A(w) -> A(-w)``, ``n -> 2 n_orb - n``."""
        filling = None if self.filling is None else 2 * self.n_orb - self.filling
        twice = 2 * self.interaction.half_filling(self.n_orb) * np.eye(self.n_orb)
        return replace(
            self,
            one_body=twice - self.one_body.T,
            hybridization=self.hybridization.particle_hole(),
            filling=filling,
        )
