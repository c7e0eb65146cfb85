"""Neural ground states for operator Lanczos (`dmftnet.physics.solvers.scol`).

A neural state is trained by samples, then its amplitudes over the sector are written out, and
strings act on these: energies, mean values and spectra have no noise, only the error of the state.
The excited states are ``(H - E) O psi`` with no use of psi as an eigenstate, so that the poles are
those of H in the span. ``energy_variance`` in the solver's diagnostics says how good the state is.

Range: chains whose ground state has known signs (`dmftnet.models.nqs.line`), sectors that can be
enumerated. The sector is given; by default it is that of half filling, where particle-hole symmetry
and chains of an even number of sites make its ground state the lowest of all.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from dmftnet import checks
from dmftnet.errors import ConvergenceError, InvalidProblemError, SettingError
from dmftnet.models.nqs.state import NeuralState
from dmftnet.models.nqs.training import Trained, Training
from dmftnet.physics.fermions.kanamori import Sector
from dmftnet.physics.solvers.krylov.ed import check_sectors
from dmftnet.physics.solvers.scol.ground_states import ExplicitState
from dmftnet.physics.solvers.scol.impurity import DiscreteImpurity, ImpurityChains


@dataclass(frozen=True)
class NeuralGroundStates:
    """A `GroundStates`: one neural state in one sector.

    Parameters
    ----------
    training : Training
    width : int
        Hidden units of each position's network.
    seed : int
        Of the initial weights.
    sector : (n_up, n_dn), optional
        By default half filling, of impurities that are half filled by symmetry.
    max_determinants : int
        In one sector; more is refused.
    max_memory : float, in GiB
        Of the excited states.

    Raises
    ------
    SettingError
        If an argument is of the wrong type or out of its limits.
    """

    training: Training = field(default_factory=Training)
    width: int = 24
    seed: int = 0
    sector: Sector | None = None
    max_determinants: int = 100_000
    max_memory: float = checks.MAX_MEMORY
    orbitals: ClassVar[int] = 2

    def __post_init__(self):
        key = "solver.ground_state"
        if not isinstance(self.training, Training):
            raise SettingError(
                f"{key}.training = {checks.shown(self.training)}: give a Training of "
                "dmftnet.models.nqs.training"
            )
        for name in ("width", "max_determinants"):
            value = checks.integer(f"{key}.{name}", getattr(self, name), at_least=1)
            object.__setattr__(self, name, value)
        object.__setattr__(self, "seed", checks.seed(f"{key}.seed", self.seed))
        memory = checks.number(f"{key}.max_memory", self.max_memory, above=0)
        object.__setattr__(self, "max_memory", memory)
        if self.sector is not None:
            found = checks.numbers(f"{key}.sector", self.sector, size=2, at_least=0)
            sector = tuple(checks.integer(f"{key}.sector", n) for n in found)
            object.__setattr__(self, "sector", sector)

    def check(self, n_sites: int) -> None:
        """See `GroundStates`."""
        check_sectors(n_sites, self.max_determinants)

    def find(self, impurity: DiscreteImpurity) -> tuple[ImpurityChains, list[ExplicitState]]:
        """In the basis of chains; see `GroundStates`.

        Raises
        ------
        InvalidProblemError
            If the sector or the signs of its ground state are not known.
        ConvergenceError
            If a number was not finite.
        """
        chains = ImpurityChains.of(impurity)
        state, trained = self.trained(chains, self._sector(impurity, chains))
        if not trained.is_finite:
            raise ConvergenceError(
                f"the training of the neural state met a number that is not finite in step "
                f"{trained.n_steps + 1}; take a smaller training.rate"
            )
        return chains, [self.explicit(state)]

    def trained(self, chains: ImpurityChains, sector: Sector) -> tuple[NeuralState, Trained]:
        """A trained state of a sector, and what its training did."""
        state = NeuralState.of(chains, sector, self.width, self.seed)
        return state, self.training.run(state)

    def explicit(self, state: NeuralState) -> ExplicitState:
        """A neural state as a vector, with the mean of H as its energy."""
        psi = state.vector()
        psi /= np.linalg.norm(psi)
        energy = psi @ (state.cluster.hamiltonian(state.sector) @ psi)
        return ExplicitState(
            state.cluster,
            state.sector,
            psi[:, None],
            np.array([energy]),
            np.ones(1),
            self.max_memory,
        )

    def _sector(self, impurity: DiscreteImpurity, chains: ImpurityChains) -> Sector:
        if self.sector is not None:
            return self.sector
        even = all((len(sites) + 1) % 2 == 0 for sites in chains.sites)
        if not (impurity.is_symmetric and even):
            raise InvalidProblemError(
                "the sector of the ground state is known at half filling by symmetry with an odd "
                "number of bath sites an orbital; give solver.ground_state.sector = (n_up, n_dn)"
            )
        return (chains.cluster.n_sites // 2,) * 2
