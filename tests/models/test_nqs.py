"""Neural quantum states: determinants along a line, the Born law, its sampler."""

from functools import partial
from itertools import product

import numpy as np
import pytest
import torch
from scipy.stats import chi2
from toy_nqs import (
    ANSATZE,
    CASES,
    HUND,
    NO_PAIRS,
    all_states,
    chains,
    exact,
    sector_codes,
    star,
)

from dmftnet.errors import InvalidProblemError, SettingError
from dmftnet.models.nqs import prior as nqs_prior
from dmftnet.models.nqs import state as nqs_state
from dmftnet.models.nqs.ansatz import leads_to
from dmftnet.models.nqs.line import Gate, Line, Symmetry
from dmftnet.models.nqs.position_nets import PositionNets
from dmftnet.models.nqs.prior import Correlated, conditionals, levels, mean_field
from dmftnet.models.nqs.rwkv import RWKV
from dmftnet.models.nqs.sampler import sample
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


# --- the law --------------------------------------------------------------------------------------


@pytest.mark.parametrize("ansatz", ANSATZE)
@pytest.mark.parametrize(("dtype", "accuracy"), [(torch.float64, 1e-10), (torch.float32, 1e-6)])
def test_law_is_normalised_over_the_sector(case, ansatz, dtype, accuracy):
    found, sector = case
    state = NeuralState.of(found, sector, ANSATZE[ansatz], seed=4)
    state.law.to(dtype)
    psi = state.vector()
    assert psi.size == found.cluster.dimension(sector)
    states = state.line.states(sector_codes(found.cluster, sector))
    np.testing.assert_array_equal(psi != 0, state.law.symmetry.passes(states))
    assert psi @ psi == pytest.approx(1.0, abs=accuracy)


def test_amplitudes_do_not_depend_on_the_chunk(monkeypatch):
    state = NeuralState.of(*CASES["one orbital, unequal"], seed=2)
    whole = state.vector()
    monkeypatch.setattr(nqs_state, "CHUNK", 7)
    np.testing.assert_allclose(state.vector(), whole, rtol=1e-12)


def test_conditionals_are_those_of_a_determinant():
    """Their product along the line is the square of the exact amplitudes at U = 0."""
    found, sector = chains(4, Interaction(0.0), level=-0.1, onsite=0.3), (3, 2)
    line = Line.of(found.cluster, found.sites, sector)
    orbitals = Correlated.of(found.cluster, sector).orbitals[0][line.order]
    psi = exact(found.cluster, sector)[1].reshape([len(s) for s in found.cluster.strings(sector)])
    for spin, strings in enumerate(found.cluster.strings(sector)):
        table = conditionals(orbitals, sector[spin], floor=0.0)
        expected = (psi**2).sum(axis=1 - spin)
        for code, p in zip(strings.codes.tolist(), expected, strict=True):
            product = 1.0
            for i in range(line.n_sites):
                filled = table[2**i + code % 2**i]
                product *= filled if code >> i & 1 else 1 - filled
            assert product == pytest.approx(p, abs=1e-12)


@pytest.mark.parametrize("name", ["one orbital, symmetric", "one orbital, magnetised"])
def test_the_law_starts_from_the_determinant(name, monkeypatch):
    """Without its network it is the ground state at U = 0, all images of a determinant included."""
    (_, sector), found = CASES[name], chains(3, Interaction(0.0))
    monkeypatch.setattr(nqs_prior, "conditionals", lambda o, n: conditionals(o, n, 1e-14))
    state = NeuralState.of(found, sector)
    with torch.no_grad():
        state.law.W.zero_()
    psi = exact(found.cluster, sector)[1]
    assert abs(psi @ state.vector()) == pytest.approx(1.0, abs=1e-12)


def test_conditionals_keep_off_zero_and_one():
    orbitals = np.eye(3)
    table = conditionals(orbitals, 1, floor=0.01)
    np.testing.assert_allclose(table[1:], [0.99, 0.5, 0.01, 0.5, 0.01, 0.5, 0.5])


@pytest.mark.parametrize("U", [0.5, 2.0, 8.0])
def test_correlations_lower_the_energy(U, monkeypatch):
    """Without a network: below the mean field's determinant, and closer to the ground state."""
    found, sector = chains(5, Interaction(U)), (3, 3)
    H, psi = found.cluster.hamiltonian(sector), exact(found.cluster, sector)[1]
    energies, overlaps = [], []
    for correlated in (False, True):
        if not correlated:
            monkeypatch.setattr(nqs_prior, "_correlations", lambda *_: (1.0, np.ones(4)))
        state = NeuralState.of(found, sector)
        monkeypatch.undo()
        with torch.no_grad():
            state.law.W.zero_()
        vector = state.vector()
        energies.append(vector @ (H @ vector))
        overlaps.append(abs(vector @ psi))
    assert energies[1] < energies[0] - 1e-3
    assert overlaps[1] > overlaps[0]


def test_gutzwillers_limits():
    """A free orbital is not renormalised; a strong repulsion leaves no pairs and no hops."""
    free, strong = (chains(5, Interaction(U)).cluster for U in (0.0, 40.0))
    np.testing.assert_array_equal(Correlated.of(free, (3, 3)).weights, 1.0)
    weights = Correlated.of(strong, (3, 3)).weights[0]
    np.testing.assert_allclose(weights, [0, 2, 2, 0], atol=2e-2)
    filled = KanamoriCluster(np.diag([-9.0, 0.0]), Interaction(1.0), 1)
    np.testing.assert_array_equal(Correlated.of(filled, (1, 1)).weights, 1.0)


@pytest.mark.parametrize("name", CASES)
def test_mean_field_is_a_fixed_point(name):
    cluster, sector = CASES[name][0].cluster, CASES[name][1]
    h, density = mean_field(cluster, sector)
    filled = [levels(h, s)[0][: cluster.n_orb, : sector[s]] for s in (0, 1)]
    found = sum((amplitudes**2).sum(axis=1) for amplitudes in filled) / 2
    np.testing.assert_allclose(found, density, atol=1e-8)


@pytest.mark.parametrize("ansatz", ANSATZE)
def test_next_log_prob_and_log_prob_agree(case, ansatz):
    found, sector = case
    law = NeuralState.of(found, sector, ANSATZE[ansatz], seed=1).law
    states = torch.from_numpy(sample(law, 50, np.random.default_rng(0)).states)
    total = sum(
        law.next_log_prob(states, i).gather(1, states[:, i : i + 1])[:, 0]
        for i in range(law.n_sites)
    )
    torch.testing.assert_close(total, law.log_prob(states), rtol=0, atol=1e-12)


# --- the sampler ----------------------------------------------------------------------------------


@pytest.mark.parametrize("power", [1.0, 0.5])
def test_samples_are_distinct_and_in_the_sector(case, power):
    found, sector = case
    law = NeuralState.of(found, sector, seed=2).law
    samples = sample(law, 3000, np.random.default_rng(1), power)
    up, down = (samples.states & 1).sum(axis=1), (samples.states >> 1).sum(axis=1)
    assert np.all(up == sector[0]) and np.all(down == sector[1])
    assert samples.n_drawn == 3000
    assert len(np.unique(samples.states, axis=0)) == len(samples.states)
    np.testing.assert_array_equal(law.symmetry.canonical(samples.states), samples.states)
    expected = law.log_prob(torch.from_numpy(samples.states)).detach().numpy()
    np.testing.assert_allclose(samples.log_p, expected, atol=1e-12)
    again = sample(law, 3000, np.random.default_rng(1), power)
    np.testing.assert_array_equal(again.states, samples.states)
    np.testing.assert_array_equal(again.counts, samples.counts)


@pytest.mark.parametrize("power", [1.0, 0.5])
def test_frequencies_follow_the_law(power):
    """Chi-squared on four sites, at a level of 1e-4."""
    law = NeuralState.of(*CASES["one orbital, magnetised"], seed=5).law
    states = all_states(4, (3, 1))
    states = np.unique(law.symmetry.canonical(states), axis=0)
    p = np.exp(law.log_prob(torch.from_numpy(states)).detach().numpy())
    n = 200_000
    samples = sample(law, n, np.random.default_rng(2), power)
    q = p if power == 1.0 else np.zeros_like(p)
    counts = np.zeros(len(p))
    for row, count, log_q in zip(samples.states, samples.counts, samples.log_q, strict=True):
        place = np.flatnonzero((states == row).all(axis=1))[0]
        counts[place] = count
        if power != 1.0:
            q[place] = np.exp(log_q)
    assert q.sum() == pytest.approx(1.0, abs=1e-9)
    assert np.min(n * q) > 5
    statistic = np.sum((counts - n * q) ** 2 / (n * q))
    assert statistic < chi2(len(p) - 1).isf(1e-4)
    if power != 1.0:
        assert np.abs(q - p).max() > 0.01


@pytest.mark.parametrize("power", [1.0, 0.6])
@pytest.mark.parametrize("weights", ["inclusion_weights", "importance_weights"])
def test_weighted_sums_are_unbiased(power, weights):
    """Mean over many draws of few: within four of its standard errors of the exact sum."""
    found, sector = CASES["one orbital, doped"]
    law = NeuralState.of(found, sector, seed=6).law
    states = np.unique(law.symmetry.canonical(all_states(5, sector)), axis=0)
    coefficients = np.arange(1, 6)
    p = np.exp(law.log_prob(torch.from_numpy(states)).detach().numpy())
    exact_sum = p @ np.cos(states @ coefficients)
    rng = np.random.default_rng(3)
    sums = []
    for _ in range(150):
        samples = sample(law, 12, rng, power)
        sums.append(getattr(samples, weights)() @ np.cos(samples.states @ coefficients))
    error = np.std(sums) / len(sums) ** 0.5
    assert error < 0.07
    assert abs(np.mean(sums) - exact_sum) < 4 * error


def test_all_found_makes_the_weighted_sum_exact():
    law = NeuralState.of(*CASES["one orbital, symmetric"], seed=6).law
    samples = sample(law, 1_000_000, np.random.default_rng(3), 0.3)
    assert samples.inclusion_weights().sum() == pytest.approx(1.0, abs=1e-9)


# --- settings -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ansatz", "wrong"),
    [
        (PositionNets, {"width": 0}),
        (RWKV, {"layers": 0}),
        (RWKV, {"embedding": 6, "heads": 4}),
        (RWKV, {"patch": 9}),
        (RWKV, {"hidden": 1.5}),
    ],
    ids=str,
)
def test_sizes_are_checked(ansatz, wrong):
    with pytest.raises(SettingError, match=f"ansatz.{list(wrong)[-1]}"):
        NeuralState.of(*CASES["one orbital, symmetric"], partial(ansatz, **wrong))
