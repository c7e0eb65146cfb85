"""Neural quantum states: the Born law and its sampler."""

from functools import partial

import numpy as np
import pytest
import torch
from scipy.stats import chi2
from toy_nqs import (
    ANSATZE,
    CASES,
    all_states,
    chains,
    exact,
    sector_codes,
)

from dmftnet.errors import SettingError
from dmftnet.models.nqs import prior as nqs_prior
from dmftnet.models.nqs import state as nqs_state
from dmftnet.models.nqs.line import Line
from dmftnet.models.nqs.position_nets import PositionNets
from dmftnet.models.nqs.prior import Correlated, conditionals, levels, mean_field
from dmftnet.models.nqs.rwkv import RWKV
from dmftnet.models.nqs.sampler import sample
from dmftnet.models.nqs.state import NeuralState
from dmftnet.physics.fermions.kanamori import KanamoriCluster
from dmftnet.physics.impurity.interaction import Interaction


@pytest.fixture(params=CASES, ids=str)
def case(request):
    return CASES[request.param]


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
