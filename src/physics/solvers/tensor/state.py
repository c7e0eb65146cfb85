"""Tensor-network states of an impurity: ground state by DMRG, excitations, occupations.

Two-site DMRG from the mean-field product state; in the first sweeps the bonds keep room for what H
reaches, and the truncation tightens from sweep to sweep. H is real and so is the ground state.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

from dmftnet.errors import DmftnetWarning
from dmftnet.physics.solvers.tensor.algebra import (
    ANNIHILATE,
    CREATE,
    NUMBER,
    added,
    overlap,
    with_local,
)
from dmftnet.physics.solvers.tensor.blocks import BlockState, Truncation
from dmftnet.physics.solvers.tensor.layout import DOWN, UP
from dmftnet.physics.solvers.tensor.model import ImpurityModel
from dmftnet.physics.solvers.tensor.sweeps import Expansion, Sweeper, minimise

EXACT = Truncation(10_000, 1e-26)
LOOSEST = 1e-5  # truncation of the first sweep; each next one a hundredth
ROOM = 20  # directions that a bond may gain, of each charge
ROUGH = Truncation(32, 1e-6)  # of ground states that are only compared
CLASS_TOLERANCE = 1e-4  # by which one of them must lie lower, in D


@dataclass(frozen=True, eq=False)
class GroundState:
    """A converged (or not) ground state.

    Parameters
    ----------
    psi : BlockState
        Right-canonical, norm one.
    energy : float, in D
    sweeps : int
    converged : bool
    """

    psi: BlockState
    energy: float
    sweeps: int
    converged: bool

    def variance(self, model: ImpurityModel) -> float:
        """``<H^2> - <H>^2``, in D^2, of H counted from the energy, so that rounding stays small."""
        after = model.shifted(self.energy).operator.applied(self.psi)
        return overlap(after, after).real - overlap(self.psi, after).real ** 2

    def occupation(self, *sites: int) -> float:
        """``<n_i n_j ..>`` of modes of the network."""
        psi = self.psi
        for site in sites:
            psi = with_local(psi, site, NUMBER)
        return overlap(self.psi, psi).real


def ground_state(
    model: ImpurityModel,
    n_up: int,
    n_down: int,
    truncation: Truncation,
    energy_tolerance: float = 1e-8,
    max_sweeps: int = 30,
    open_sweeps: int = 5,
    filled: list[int] | None = None,
) -> GroundState:
    """Lowest state with the given particle numbers.

    Parameters
    ----------
    energy_tolerance : float, in D
        Change of the energy in one sweep that ends the search.
    open_sweeps : int
        Sweeps that let the bonds grow towards what H reaches.
    filled : list of int, optional
        Product state to start from, 1 for a filled mode; by default `ImpurityModel.filled_modes`.
    """
    if filled is None:
        filled = model.filled_modes(n_up, n_down)
    product = BlockState.product(model.charges, filled)
    sweeper = Sweeper(product, model.operator)
    energies: list[float] = []
    for sweep in range(max_sweeps):
        now = Truncation(
            truncation.bond_dimension, max(truncation.weight, LOOSEST * 10.0 ** (-2 * sweep))
        )
        room = Expansion(1.0, now.weight, ROOM) if sweep < open_sweeps else None
        residual = 1e-2 * max(energy_tolerance, 1e-2 * 10.0**-sweep) ** 0.5
        energies.append(minimise(sweeper, now, residual, room))
        moved = abs(energies[-1] - energies[-2]) if sweep else float("inf")
        if room is None and now.weight == truncation.weight and moved <= energy_tolerance:
            break
    psi, converged = sweeper.state, moved <= energy_tolerance
    psi = psi.scaled(1 / psi.norm())
    if not converged:
        warnings.warn(
            f"DMRG stopped after {max_sweeps} sweeps with the energy still moving by {moved:.1e}; "
            "raise solver.max_sweeps or bond_dimension",
            DmftnetWarning,
            stacklevel=2,
        )
    energy = overlap(psi, model.operator.applied(psi)).real
    return GroundState(psi, energy, sweep + 1, bool(converged))


def starting_modes(model: ImpurityModel, n_up: int, n_down: int) -> list[int]:
    """The product state to start from; of several orbitals by descent.

    DMRG leaves alone what H conserves: the electrons of each orbital and spin without J, the parity
    of each orbital's with it. So electrons change their orbital, one at a time, for as long as that
    lowers a rough ground state.
    """
    best = model.filled_modes(n_up, n_down)
    if len(model.orbitals) == 1:
        return best

    def rough(states: list[int]) -> float:
        with warnings.catch_warnings():  # only the lowest is used, and converged
            warnings.simplefilter("ignore", DmftnetWarning)
            return ground_state(model, n_up, n_down, ROUGH, CLASS_TOLERANCE, 8, 2, states).energy

    lowest = rough(best)
    while True:
        energies = {states: rough(list(states)) for states in map(tuple, model.moved(best))}
        found = min(energies, key=energies.__getitem__, default=None)
        if found is None or energies[found] > lowest - CLASS_TOLERANCE:
            return best
        best, lowest = list(found), energies[found]


def with_operator(
    psi: BlockState, model: ImpurityModel, orbital: int, spin: int, name: str
) -> BlockState:
    """``O psi`` for ``d, d+`` or ``q, q+`` with ``q = [d, H_int]``, not normalised.

    Parameters
    ----------
    name : {"d", "d+", "q", "q+"}
    """
    here = model.layout.position(orbital, spin)
    op = CREATE if name.endswith("+") else ANNIHILATE
    if name[0] == "d":
        out = with_local(psi, here, op)
    elif len(model.orbitals) == 1:
        other = model.layout.position(orbital, DOWN if spin == UP else UP)
        out = with_local(with_local(psi, other, NUMBER), here, model.U * op)
    else:  # q = d H_int - H_int d, q+ = H_int d+ - d+ H_int
        sign = 1.0 if name.endswith("+") else -1.0
        first = model.interaction.applied(with_local(psi, here, op))
        second = with_local(model.interaction.applied(psi), here, op)
        out = added([first.scaled(sign), second.scaled(-sign)])
    out.canonicalise(EXACT)
    return out


def memory_estimate(n_sites: int, bond_dimension: int, mpo_dimension: int, n_states: int) -> float:
    """Upper bound in GiB: states, their environments and the Krylov vectors of one bond."""
    bond = 16.0 * bond_dimension**2
    return bond * (n_sites * (2 * n_states + 2 * mpo_dimension) + 4 * (24 + mpo_dimension)) / 2**30
