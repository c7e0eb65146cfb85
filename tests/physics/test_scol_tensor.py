"""Operator strings on matrix-product ground states, against vectors of the same cluster."""

import numpy as np
import pytest

from dmftnet.errors import InvalidProblemError, SpaceTooLargeError
from dmftnet.physics.bath.star import StarBath
from dmftnet.physics.bath.wilson import Wilson
from dmftnet.physics.fermions.hamiltonian import kanamori, quadratic
from dmftnet.physics.fermions.operators import Operator, mode
from dmftnet.physics.impurity.interaction import Interaction
from dmftnet.physics.impurity.pole_hybridization import PoleHybridization
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.solvers.scol.ground_states import (
    ExactGroundStates,
    ExplicitState,
    GroundStates,
)
from dmftnet.physics.solvers.scol.impurity import DiscreteImpurity, ImpurityChains
from dmftnet.physics.solvers.scol.sets import Reach
from dmftnet.physics.solvers.scol.solver import ScolSolver
from dmftnet.physics.solvers.scol.tensor_states import TensorGroundStates
from dmftnet.physics.solvers.tensor.blocks import Truncation
from dmftnet.physics.solvers.tensor.layout import orbital_of
from dmftnet.physics.solvers.tensor.model import ImpurityModel
from dmftnet.physics.solvers.tensor.state import ground_state, starting_modes

Z = np.array([0.3j, 1.0j, 0.4 + 0.2j, -0.7 + 0.2j])
FINE = {"truncation": 1e-22, "energy_tolerance": 1e-13}
ONE = (np.array([-0.6, -0.1, 0.2, 0.7]), np.array([0.3, 0.2, 0.25, 0.35]))
TWO = ((np.array([-0.3, 0.4]), np.array([0.3, 0.25])), (np.array([-0.2]), np.array([0.4])))
CASES = {
    "one orbital": DiscreteImpurity(np.array([-0.7]), Interaction(2.0), (StarBath(*ONE),)),
    "two orbitals": DiscreteImpurity(
        np.array([-1.0, -0.8]), Interaction(1.2, 0.2), tuple(StarBath(*star) for star in TWO)
    ),
}


@pytest.fixture(
    scope="module",
    params=[("one orbital", "chain"), ("one orbital", "natural"), ("two orbitals", "chain")],
)
def pair(request):
    """The chains, the tensor network, and what it holds as a vector."""
    name, geometry = request.param
    chains, (state,) = TensorGroundStates(geometry=geometry, **FINE).find(CASES[name])
    psi = vector_of(state, chains.cluster)
    explicit = ExplicitState(
        chains.cluster, state.sector, psi[:, None], np.array([state.energy]), np.ones(1)
    )
    return chains, state, explicit


def vector_of(state, cluster):
    """Determinant by determinant; creators put from the network's order into the modes'."""
    n, psi = cluster.n_sites, state.prepared.ground.psi
    up, down = cluster.strings(state.sector)
    codes = (up.codes[:, None] | down.codes[None, :] << n).ravel()
    amplitudes = np.zeros(codes.size)
    for row, code in enumerate(codes.tolist()):
        places = [state.positions[m] for m in range(2 * n) if code >> m & 1]
        crossed = sum(p > q for i, p in enumerate(places) for q in places[i + 1 :])
        block, charge = np.ones((1, 1)), 0
        for site, q in enumerate(psi.charges):
            filled = int(site in places)
            tensor = psi.tensors[site].get((charge, filled))
            block = np.zeros((1, 1)) if tensor is None else block @ tensor
            if tensor is None:
                break
            charge += int(q[filled])
        amplitudes[row] = (-1) ** crossed * block[0, 0]
    return amplitudes


def test_energy_and_mean_values(pair):
    chains, state, explicit = pair
    assert isinstance(TensorGroundStates(), GroundStates)
    assert np.linalg.norm(explicit.vectors) == pytest.approx(1, abs=1e-12)
    assert state.energy == pytest.approx(lowest_energy(chains.cluster), abs=1e-11)
    assert abs(state.variance) < 1e-11 and explicit.variance < 1e-11
    cluster, n = chains.cluster, chains.cluster.n_sites
    H = quadratic(cluster.one_body) + kanamori(cluster.interaction, cluster.n_orb, n)
    assert state.mean(H).real == pytest.approx(state.energy, abs=1e-12)
    correlation = Operator.of((mode(0, 0, n), mode(2, 1, n)), (mode(0, 1, n), mode(1, 0, n)))
    assert state.mean(correlation).real == pytest.approx(explicit.mean(correlation).real, abs=1e-12)


def lowest_energy(cluster):
    return ExactGroundStates().of_cluster(cluster)[0].energy


def test_hunds_coupling_aligns_two_zero_modes():
    """Three sites an orbital, half filled: a triplet with an odd number of electrons in each.

    No product of pairs leads there, since the parity of each orbital's number is conserved.
    """
    interaction = Interaction(1.0, 0.2)
    star = StarBath(np.array([-0.3, 0.3]), np.array([0.2, 0.2]))
    level = interaction.half_filling(2)
    model = ImpurityModel((orbital_of(star, level, 1.0, "chain"),) * 2, 1.0, 0.2)
    start = starting_modes(model, 3, 3)
    state = ground_state(model, 3, 3, Truncation(60, 1e-14), 1e-10, filled=start)
    blocks = [orbital.one_body for orbital in model.orbitals]
    cluster = ImpurityChains.of_blocks(blocks, interaction).cluster
    lowest = np.linalg.eigvalsh(cluster.hamiltonian((3, 3)).toarray())[0]
    assert state.energy == pytest.approx(lowest, abs=1e-8)


@pytest.mark.parametrize("side", [1, -1])
def test_matrices_of_strings_are_those_of_vectors(pair, side):
    """Of overlaps and H in the strings' own order, both spins and orbitals, signs included."""
    chains, state, explicit = pair
    for orbital in range(chains.cluster.n_orb):
        for spin in (0, 1):
            found = chains.string_set(orbital, spin, Reach(1, 1, 5))
            strings = (found if side > 0 else found.adjoint()).strings
            one, other = (s.projection(strings, 1e-7) for s in (state, explicit))
            for power in (0, 1):
                matrices = [
                    p.states.T @ np.linalg.matrix_power(p.hamiltonian, power) @ p.states
                    for p in (one, other)
                ]
                np.testing.assert_allclose(*matrices, rtol=0, atol=1e-10)


@pytest.mark.parametrize("n_orb", [1, 2])
def test_spectra_are_those_of_exact_ground_states(n_orb):
    """G, F and I, to a few times the root of the energy's tolerance, which is the state's error."""
    if n_orb == 1:
        bath = PoleHybridization(ONE[0], ONE[1][:, None])
        problem = ImpurityProblem([-0.7], Interaction(2.0), bath)
    else:
        bath = PoleHybridization([0.2, -0.1], [[0.4, 0.0], [0.0, 0.3]])
        problem = ImpurityProblem([-1.0, -0.8], Interaction(1.2, 0.2), bath)
    reach = {"depth": 1, "threshold": 1e-6}
    found = ScolSolver(ground_state=TensorGroundStates(**FINE), **reach).solve(problem)
    exact = ScolSolver(**reach).solve(problem)
    for one, other in zip(found.greens, exact.greens, strict=True):
        for ours, theirs in zip(one.responses(Z), other.responses(Z), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6)
    np.testing.assert_allclose(found.doubles, exact.doubles, rtol=0, atol=1e-6)
    assert found.filling == pytest.approx(exact.filling, abs=1e-6)


def test_limits():
    two = DiscreteImpurity(
        np.array([-0.5, -0.5]), Interaction(1.2, 0.2, spin_flip=False), CASES["two orbitals"].stars
    )
    with pytest.raises(InvalidProblemError, match=r"rotationally invariant interaction, U' = U - "):
        TensorGroundStates().find(two)
    with pytest.raises(
        SpaceTooLargeError, match=r"bond dimension 200 of ground_state = mps on 41 "
    ):
        ScolSolver(ground_state="mps", bath=Wilson(40), max_memory=1e-3)
