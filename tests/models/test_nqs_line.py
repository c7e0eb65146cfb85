"""Neural quantum states: determinants along a line, their signs and symmetries."""

from itertools import product

import numpy as np
import pytest
from toy_nqs import (
    CASES,
    HUND,
    NO_PAIRS,
    all_states,
    chains,
    exact,
    sector_codes,
    star,
)

from dmftnet.errors import InvalidProblemError
from dmftnet.models.nqs.ansatz import leads_to
from dmftnet.models.nqs.line import Gate, Line, Symmetry
from dmftnet.models.nqs.prior import levels
from dmftnet.models.nqs.state import NeuralState
from dmftnet.physics.fermions.connections import Connections
from dmftnet.physics.fermions.hamiltonian import kanamori, quadratic
from dmftnet.physics.fermions.kanamori import KanamoriCluster
from dmftnet.physics.impurity.interaction import Interaction


@pytest.fixture(params=CASES, ids=str)
def case(request):
    return CASES[request.param]


# --- determinants ---------------------------------------------------------------------------------


@pytest.mark.parametrize("interaction", [HUND, Interaction(1.0, 0.3, pair_hopping=False)], ids=str)
def test_connections_are_the_sectors_matrix(interaction):
    found = chains(2, interaction, n_orb=2, level=-0.2, onsite=0.3)
    cluster, sector = found.cluster, (3, 2)
    up, down = cluster.strings(sector)
    codes = (up.codes[:, None] | down.codes[None, :] << cluster.n_sites).ravel()
    H = Connections.of(quadratic(cluster.one_body) + kanamori(interaction, 2, cluster.n_sites))
    matrix = np.diag(H.diagonal(codes))
    rows, targets, elements = H.connected(codes)
    place = np.argsort(codes)[np.searchsorted(np.sort(codes), targets)]
    np.add.at(matrix, (place, rows), elements)
    np.testing.assert_allclose(matrix, cluster.hamiltonian(sector).toarray(), atol=1e-14)


def test_line_reads_and_writes_determinants(case):
    found, sector = case
    line = Line.of(found.cluster, found.sites, sector)
    states = all_states(line.n_sites, sector)
    codes = line.codes(states)
    np.testing.assert_array_equal(line.states(codes), states)
    every = sector_codes(found.cluster, sector)
    np.testing.assert_array_equal(np.sort(codes), np.sort(every))


def gauged(found, sector):
    """Signs of the determinants that pass the gates, and their matrix with them."""
    line, symmetry = Line.of(found.cluster, found.sites, sector), Symmetry.of(found.cluster, sector)
    states = line.states(sector_codes(found.cluster, sector))
    passes, signs = symmetry.passes(states), line.signs(states)
    H = signs[:, None] * found.cluster.hamiltonian(sector).toarray() * signs
    return passes, signs, H[np.ix_(passes, passes)]


def test_signs_are_those_of_the_ground_state(case):
    """Of chains whose pairs form no triangle no element of H off the diagonal is positive."""
    found, sector = case
    passes, signs, H = gauged(found, sector)
    off = H - np.diag(np.diag(H))
    positive = Line.of(found.cluster, found.sites, sector).is_stoquastic
    assert off.min() < -0.1 and (off.max() == 0 if positive else off.max() > 0.1)
    psi = exact(found.cluster, sector)[1]
    assert np.abs(psi[~passes]).max(initial=0) < 1e-10
    assert abs(np.sum(signs * psi)) == pytest.approx(np.abs(psi).sum(), abs=1e-10)


@pytest.mark.parametrize("sector", [(3, 3), (2, 1), (5, 3)], ids=str)
@pytest.mark.parametrize("interaction", [Interaction(1.0, 0.2), Interaction(4.0, 1.3)], ids=str)
def test_every_amplitude_of_three_orbitals_has_its_sign(interaction, sector):
    """At the sector's own filling, up to a J where a pair costs nothing."""
    for seed, onsite in ((5, 0.0), (6, 0.2)):
        level = interaction.half_filling(3) * sum(sector) / 6
        found = chains(1, interaction, n_orb=3, level=level, onsite=onsite, seed=seed)
        psi = np.linalg.eigh(gauged(found, sector)[2])[1][:, 0]
        assert psi.min() * psi.max() > -1e-12


def test_spin_flip_alone_has_no_signs_of_any_number_of_orbitals():
    found = chains(1, NO_PAIRS, n_orb=4, level=-0.8, onsite=0.1)
    sector = (3, 2)
    _, _, H = gauged(found, sector)
    off = H - np.diag(np.diag(H))
    assert off.max() == 0 and (np.abs(off) == NO_PAIRS.J).any()


@pytest.mark.parametrize(
    ("found", "sector", "wrong"),
    [
        (chains(1, Interaction(1.2, 0.3), n_orb=4, level=-0.8, onsite=0.1), (3, 3), 1e-6),
        (chains(1, Interaction(1.0, 0.2), n_orb=3, level=-1.0, onsite=0.2, seed=6), (2, 2), 1e-3),
    ],
    ids=["four orbitals", "three, two pairs on any two"],
)
def test_signs_bound_the_energy_where_pairs_are_frustrated(found, sector, wrong):
    """Where no distribution of the electrons over the chains stands out some signs are wrong."""
    _, _, H = gauged(found, sector)
    energies, vectors = np.linalg.eigh(H)
    psi = vectors[:, 0] * np.sign(vectors[:, 0].sum())
    size = np.abs(psi)
    assert 0 < np.sum(psi[psi < 0] ** 2) < wrong
    assert 0 < size @ H @ size - energies[0] < 10 * wrong


@pytest.mark.parametrize("sector", [(1, 1), (2, 3), (3, 3), (4, 2), (5, 3)], ids=str)
@pytest.mark.parametrize("U", [0.0, 1.0, 8.0])
def test_every_amplitude_of_a_star_has_its_sign(U, sector):
    for seed, level in ((5, -U / 2), (6, 0.2), (7, -U - 0.1)):
        found = star(4, U, level, seed)
        _, signs, _ = gauged(found, sector)
        turned = signs * exact(found.cluster, sector)[1]
        turned *= np.sign(turned.sum())
        assert turned.min() > -1e-13 and turned.max() > 0.1


def test_ground_state_is_one_number_an_orbit(case):
    """In spin and in particle-hole symmetric sectors all images have one amplitude."""
    found, sector = case
    line, symmetry = Line.of(found.cluster, found.sites, sector), Symmetry.of(found.cluster, sector)
    states = line.states(sector_codes(found.cluster, sector))
    canonical, place = np.unique(symmetry.canonical(states), axis=0, return_inverse=True)
    np.testing.assert_array_equal(np.bincount(place.ravel()), symmetry.orbit(canonical))
    np.testing.assert_array_equal(symmetry.canonical(canonical), canonical)
    size = np.abs(exact(found.cluster, sector)[1])
    representative = np.zeros(len(canonical))
    representative[place.ravel()] = size
    np.testing.assert_allclose(size, representative[place.ravel()], atol=1e-12)


def test_symmetries_are_those_of_the_sector():
    symmetric, sector = CASES["one orbital, symmetric"]
    assert Symmetry.of(symmetric.cluster, sector) == Symmetry(True, True)
    assert Symmetry.of(symmetric.cluster, (3, 1)) == Symmetry(False, True)
    assert Symmetry.of(symmetric.cluster, (1, 1)) == Symmetry(True, False)
    assert Symmetry.of(CASES["one orbital, doped"][0].cluster, (2, 2)) == Symmetry(True, False)


@pytest.mark.parametrize("name", [name for name in CASES if "orbitals" in name])
def test_chains_keep_their_parity_or_their_electrons(name):
    """Pairs hop between them, single electrons never: most of the sector is empty."""
    found, sector = CASES[name]
    cluster = found.cluster
    line, symmetry = Line.of(cluster, found.sites, sector), Symmetry.of(cluster, sector)
    passes = symmetry.passes(line.states(sector_codes(cluster, sector)))
    step = 2 if cluster.interaction.pair_hopping else 2 * cluster.n_sites + 1
    assert [gate.step for gate in symmetry.gates] == [step] * (cluster.n_orb - 1)
    H = cluster.hamiltonian(sector).toarray()
    assert np.all(H[np.ix_(passes, ~passes)] == 0)
    psi = exact(cluster, sector)[1]
    assert 0.3 < 1 - passes.mean() < 0.9
    np.testing.assert_allclose(psi[~passes], 0, atol=1e-10)
    assert np.abs(psi[passes]).min() > 1e-10


def test_orbitals_of_equal_chains_are_not_mixed():
    cluster = chains(2, HUND, n_orb=2).cluster
    h = np.kron(np.eye(2), np.array([[0.0, 0.3], [0.3, 0.1]]))
    np.testing.assert_array_equal(levels(h, 1)[1], [1, 0, 1, 0])
    orbitals, chain = levels(h, 0)
    np.testing.assert_array_equal(chain, [0, 1, 0, 1])
    np.testing.assert_allclose(orbitals.T @ orbitals, np.eye(4), atol=1e-14)
    assert np.all(orbitals[:2, chain == 1] == 0) and np.all(orbitals[2:, chain == 0] == 0)
    mixed, _ = levels(cluster.one_body, 0)
    diagonal = mixed.T @ cluster.one_body @ mixed
    np.testing.assert_allclose(diagonal, np.diag(np.sort(np.diag(diagonal))), atol=1e-12)


def bit_counts(states):
    """Electrons of local states."""
    return np.array([0, 1, 1, 2])[states]


@pytest.mark.parametrize(
    "gates", [(Gate(2, 0, 2),), (Gate(1, 1, 2), Gate(2, 0, 2)), (Gate(2, 1, 7),)], ids=str
)
def test_table_of_what_leads_to_a_sector(gates):
    """Every prefix, by brute force over its completions."""
    n, sector = 3, (2, 1)
    table = leads_to(n, sector, gates)
    symmetry = Symmetry(gates=gates)
    every = all_states(n, sector)
    passes = [all((s[:k].sum() - e) % m == 0 for k, e, m in gates) for s in bit_counts(every)]
    np.testing.assert_array_equal(symmetry.passes(every), passes)
    good = every[passes]
    assert 0 < len(good) < len(all_states(n, sector))
    for position in range(n):
        for prefix in product(range(4), repeat=position):
            used = [sum(s >> spin & 1 for s in prefix) for spin in (0, 1)]
            ways = {int(s[position]) for s in good if tuple(s[:position]) == prefix}
            if ways:
                assert set(np.flatnonzero(table[position][tuple(used)])) == ways


def test_what_has_signs_is_refused():
    mixed = np.diag([-0.5, 0.1, 0.2])
    mixed[0, 1:] = mixed[1:, 0] = mixed[1, 2] = mixed[2, 1] = 0.3
    with pytest.raises(InvalidProblemError, match=r"sites 0 and 2 are coupled by 0\.3"):
        Line.of(KanamoriCluster(mixed, Interaction(1.0), 1), [[1, 2]], (1, 1))
    falling = np.diag([-0.5, 0.1, -0.2])
    falling[0, 1:] = falling[1:, 0] = 0.3
    with pytest.raises(InvalidProblemError, match=r"levels \[0\.1, -0\.2\] of a star do not rise"):
        Line.of(KanamoriCluster(falling, Interaction(1.0), 1), [[1, 2]], (1, 1))
    across = chains(1, HUND, n_orb=3).cluster.one_body
    across[0, 1] = across[1, 0] = 0.1
    with pytest.raises(InvalidProblemError, match=r"sites 0 and 1 are coupled by 0\.1"):
        Line.of(KanamoriCluster(across, HUND, 3), [[3], [4], [5]], (3, 3))
    with pytest.raises(InvalidProblemError, match="real"):
        imaginary = KanamoriCluster(np.array([[0, 1j], [-1j, 0]]), Interaction(1.0), 1)
        Line.of(imaginary, [[1]], (1, 1))
    with pytest.raises(InvalidProblemError, match=r"sector \(5, 2\): give 0 to 4"):
        NeuralState.of(chains(3, Interaction(1.0)), (5, 2))
    with pytest.raises(InvalidProblemError, match="24 sites are more than the 22"):
        NeuralState.of(chains(23, Interaction(1.0)), (12, 12))
