"""Neural quantum states: local energies, natural gradient, training, against dense algebra."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from toy_nqs import ANSATZE, CASES, all_states, chains, exact

from dmftnet.errors import SettingError
from dmftnet.models.nqs import training
from dmftnet.models.nqs.energy import Energy, local_energies
from dmftnet.models.nqs.natural_gradient import Derivatives, move, no_direction, norm, spring
from dmftnet.models.nqs.sampler import sample
from dmftnet.models.nqs.state import NeuralState
from dmftnet.models.nqs.training import Training, TrainingRun, centred
from dmftnet.physics.impurity.interaction import Interaction

SHORT = Training(40, 100, rate=(0.5, 0.05), momentum=0.9, n_final=500, seed=1)


@pytest.fixture(params=CASES, ids=str)
def state(request):
    return NeuralState.of(*CASES[request.param], seed=3)


@pytest.fixture(params=["position nets", "rwkv"])
def four(request):
    """Four sites, 2 electrons of each spin, without symmetries but spin flip."""
    found = chains(3, Interaction(2.0), level=-0.3, onsite=0.2)
    return NeuralState.of(found, (2, 2), ANSATZE[request.param], seed=3)


def canonical(state):
    """Those that pass the law's gates."""
    states = all_states(state.line.n_sites, state.sector)
    states = states[state.law.symmetry.passes(states)]
    return np.unique(state.law.symmetry.canonical(states), axis=0)


def law_of(state):
    """(n, n_sites) canonical states and (n,) p."""
    states = canonical(state)
    return states, np.exp(2 * state.log_amplitudes(states)) * state.law.symmetry.orbit(states)


def mean_energy(state):
    psi = state.vector()
    return psi @ state.cluster.hamiltonian(state.sector) @ psi / (psi @ psi)


# --- local energies -------------------------------------------------------------------------------


def test_local_energies_are_those_of_the_vector(state):
    psi, H = state.vector(), state.cluster.hamiltonian(state.sector)
    up, down = state.cluster.strings(state.sector)
    codes = (up.codes[:, None] | down.codes[None, :] << state.cluster.n_sites).ravel()
    there = psi != 0
    assert there.any()
    np.testing.assert_array_equal((H @ psi)[~there], 0)
    states = state.line.states(codes[there])
    expected = (H @ psi)[there] / psi[there]
    found = local_energies(state, state.law.symmetry.canonical(states))
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


def test_an_eigenstate_has_one_local_energy():
    """Of two sites the mean field's determinant at U = 0, but for the floor of its conditionals."""
    found = chains(1, Interaction(0.0))
    state = NeuralState.of(found, (1, 1))
    with torch.no_grad():
        state.law.W.zero_()
    energies, _ = exact(found.cluster, (1, 1))
    np.testing.assert_allclose(local_energies(state, canonical(state)), energies[0], rtol=1e-12)


def test_energy_is_exact_where_all_is_found(state):
    samples = sample(state.law, 2_000_000, np.random.default_rng(0), 0.3)
    found = Energy.of(samples, local_energies(state, samples.states))
    H, psi = state.cluster.hamiltonian(state.sector), state.vector()
    assert found.n_distinct == len(canonical(state))
    assert found.mean == pytest.approx(mean_energy(state), abs=1e-8)
    assert found.variance == pytest.approx(np.sum((H @ psi - found.mean * psi) ** 2), rel=1e-6)
    assert found.error < 1e-6


@pytest.mark.parametrize("power", [1.0, 0.6])
def test_error_bar_is_the_scatter(power):
    """Standard deviation of many estimates, known to some 7 %, against the mean error bar."""
    state = NeuralState.of(*CASES["one orbital, doped"], seed=3)
    states = canonical(state)
    local = local_energies(state, states)
    rng, exact_mean = np.random.default_rng(4), mean_energy(state)
    found = []
    for _ in range(100):
        samples = sample(state.law, 40, rng, power)
        places = [np.flatnonzero((states == row).all(axis=1))[0] for row in samples.states]
        found.append(Energy.of(samples, local[places]))
    scatter = np.std([energy.mean for energy in found])
    error = np.sqrt(np.mean([energy.error**2 for energy in found]))
    assert scatter > 1e-3
    assert 0.6 < scatter / error < 1.4
    assert abs(np.mean([e.mean for e in found]) - exact_mean) < scatter  # bias of a ratio


# --- natural gradient -----------------------------------------------------------------------------


def dense_derivatives(state, states, weights):
    """(n, n_parameters) roots of the weights times centred d log psi, by finite differences."""
    law, step, columns = state.law, 1e-5, []
    for parameter in law.parameters():
        flat = parameter.data.view(-1)
        for k in range(flat.numel()):
            kept = flat[k].item()
            pair = []
            for shift in (step, -step):
                flat[k] = kept + shift
                pair.append(state.log_amplitudes(states))
            flat[k] = kept
            columns.append((pair[0] - pair[1]) / (2 * step))
    derivatives = np.stack(columns, axis=1)
    return np.sqrt(weights)[:, None] * (derivatives - weights @ derivatives)


def flat(direction):
    return torch.cat([part.flatten() for part in direction]).numpy()


def random_direction(law, seed):
    draw = torch.Generator().manual_seed(seed)
    return tuple(
        torch.randn(parameter.shape, generator=draw, dtype=torch.float64)
        for parameter in law.parameters()
    )


def test_derivatives_are_finite_differences(four):
    states, p = law_of(four)
    found = Derivatives.of(four.law, states, p)
    O = dense_derivatives(four, states, p)
    np.testing.assert_allclose(found.gram().numpy(), O @ O.T, atol=1e-8)
    direction = random_direction(four.law, 0)
    np.testing.assert_allclose(found.times(direction).numpy(), O @ flat(direction), atol=1e-7)
    values = np.linspace(-1, 2, len(p))
    transposed = flat(found.transposed(torch.from_numpy(values)))
    np.testing.assert_allclose(transposed, O.T @ values, atol=1e-8)


def test_direction_is_the_gradient_of_the_energy_by_the_metric(four):
    """Without momentum ``(S + lambda) phi`` is half the gradient, from the vector's energy."""
    states, p = law_of(four)
    derivatives = Derivatives.of(four.law, states, p)
    local = local_energies(four, states)
    phi = flat(spring(derivatives, local - p @ local, no_direction(four.law), 0.0, 1e-3))
    O, step = dense_derivatives(four, states, p), 1e-5
    residual = O.T @ (O @ phi) + 1e-3 * phi
    for seed in range(6):
        direction, pair = random_direction(four.law, seed), []
        for shift in (step, -2 * step):
            move(four.law, direction, shift)
            pair.append(mean_energy(four))
        move(four.law, direction, step)
        slope = (pair[0] - pair[1]) / (2 * step)
        assert flat(direction) @ residual == pytest.approx(0.5 * slope, abs=1e-6)
        assert abs(slope) > 1e-4


def test_momentum_solves_its_least_squares(four):
    states, p = law_of(four)
    derivatives = Derivatives.of(four.law, states, p)
    O = dense_derivatives(four, states, p)
    e = np.cos(np.arange(len(p)))
    last = random_direction(four.law, 1)
    phi = flat(spring(derivatives, e, last, 0.8, 0.05))
    target = np.sqrt(p) * e
    left = O.T @ (O @ phi - target) + 0.05 * (phi - 0.8 * flat(last))
    np.testing.assert_allclose(left, 0, atol=1e-6)
    assert norm(last) == pytest.approx(np.linalg.norm(flat(last)))


def test_no_direction_out_of_what_is_not_finite(four):
    states, p = law_of(four)
    derivatives = Derivatives.of(four.law, states, p)
    e = np.full(len(p), np.nan)
    assert spring(derivatives, e, no_direction(four.law), 0.5, 1e-3) is None
    assert spring(derivatives, np.ones(len(p)), no_direction(four.law), 0.5, np.nan) is None


def test_local_energies_are_cut_around_the_median():
    weights = np.array([0.3, 0.4, 0.2, 0.1])
    local = np.array([-1.0, 0.0, 1.0, 100.0])  # mean absolute deviation 10.5 from 0
    for limit in (1000.0, None):
        np.testing.assert_allclose(centred(local, weights, limit), local - weights @ local)
    cut = centred(local, weights, 2.0)
    assert weights @ cut == pytest.approx(0.0, abs=1e-14)
    np.testing.assert_allclose(np.diff(cut), [1.0, 1.0, 20.0])


# --- training -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["one orbital, symmetric", "one orbital, doped", "two orbitals"])
def test_training_finds_the_ground_state(name):
    """Down to a fiftieth of the determinant's error."""
    found, sector = CASES[name]
    state = NeuralState.of(found, sector, seed=3)
    lowest = exact(found.cluster, sector)[0][0]
    before = mean_energy(state)
    trained = replace(SHORT, steps=120).run(state)
    after = mean_energy(state)
    assert before - lowest > 3e-2
    assert -1e-12 < after - lowest < 0.02 * (before - lowest)
    assert trained.is_finite and trained.n_steps == 120
    assert abs(trained.energy.mean - after) < 6 * trained.energy.error + 1e-9


def test_a_seed_is_a_training():
    runs = []
    for seed in (1, 1, 2):
        state = NeuralState.of(*CASES["one orbital, doped"], seed=3)
        runs.append((replace(SHORT, steps=12, seed=seed).run(state), state.vector()))
    np.testing.assert_array_equal(runs[0][0].history, runs[1][0].history)
    np.testing.assert_array_equal(runs[0][1], runs[1][1])
    assert np.abs(runs[0][0].history - runs[2][0].history).max() > 1e-6


def test_no_steps_leave_the_state():
    state = NeuralState.of(*CASES["one orbital, doped"], seed=3)
    before = state.vector()
    trained = replace(SHORT, steps=0).run(state)
    np.testing.assert_array_equal(state.vector(), before)
    assert trained.n_steps == 0 and trained.history.size == 0


def test_not_a_number_ends_with_the_last_good_state(monkeypatch):
    """NaN in the 26th step: the state is that after the twentieth, the end of a block."""
    calls = []

    def broken(state, states):
        calls.append(None)
        found = local_energies(state, states)
        return np.where(len(calls) == 26, np.nan, found)

    states = [NeuralState.of(*CASES["one orbital, doped"], seed=3) for _ in range(2)]
    reference = replace(SHORT, steps=20, rate=(0.2, 0.2), regularisation=(1e-3, 1e-3))
    assert reference.run(states[0]).rollbacks == 0
    monkeypatch.setattr(training, "local_energies", broken)
    trained = replace(reference, steps=40).run(states[1])
    assert not trained.is_finite and trained.n_steps == 25
    np.testing.assert_array_equal(states[1].vector(), states[0].vector())
    assert np.isfinite(trained.energy.mean)


def test_a_block_that_rises_is_taken_back(monkeypatch):
    """Steps from the eleventh on go the wrong way; what is left is the state after ten."""
    states = [NeuralState.of(*CASES["one orbital, doped"], seed=3) for _ in range(2)]
    reference = replace(SHORT, steps=10, rate=(0.1, 0.1), regularisation=(1e-2, 1e-2))
    reference.run(states[0])
    real, calls = training.move, []

    def wrong(law, direction, factor):
        calls.append(None)
        real(law, direction, factor if len(calls) <= 10 else -10 * factor)

    monkeypatch.setattr(training, "move", wrong)
    trained = replace(reference, steps=20).run(states[1])
    assert trained.rollbacks == 1
    assert trained.history[-1] > trained.history[10] + 0.01
    np.testing.assert_array_equal(states[1].vector(), states[0].vector())


def test_a_step_changes_no_sample_too_much():
    """Log p of the samples of a step, before and after it, where steps are long."""
    found, sector = CASES["one orbital, doped"]
    changes = {}
    for largest in (1e3, 0.05):
        state = NeuralState.of(found, sector, ANSATZE["position nets"], seed=1)
        states = torch.from_numpy(canonical(state))
        settings = replace(SHORT, steps=5, rate=(3.0, 3.0), largest_change=largest)
        run = TrainingRun(settings.resolved(state), state, np.random.default_rng(0))
        changes[largest] = []
        for _ in range(5):
            with torch.no_grad():
                before = state.law.log_prob(states)
                run.step()
                after = state.law.log_prob(states)
            changes[largest].append(float((after - before).abs().max()))
    assert max(changes[1e3]) > 0.5
    assert max(changes[0.05]) < 0.1  # to first order, all determinants of so small a sector


def test_power_and_steps_follow_the_sector_and_the_bath():
    ten, twelve = (
        NeuralState.of(chains(n - 1, Interaction(2.0)), (n // 2, n // 2)) for n in (10, 12)
    )
    found = [Training().resolved(state) for state in (ten, twelve)]
    assert [(each.steps, each.power) for each in found] == [(400, 0.3), (2000, 0.5)]
    two = NeuralState.of(*CASES["two orbitals"])
    assert [Training().resolved(each).largest_change for each in (ten, two)] == [1.0, 0.3]
    levels = NeuralState.of(*CASES["star"])
    assert (Training().resolved(levels).steps, Training().resolved(levels).power) == (2000, 0.3)
    given = Training(steps=7, power=0.7, largest_change=2.0)
    assert given.resolved(ten) == given.resolved(twelve) == given


@pytest.mark.parametrize(("largest", "power"), [(36, 0.3), (35, 0.5)])
def test_the_default_power_is_that_of_the_sector(monkeypatch, largest, power):
    """36 determinants; every step and the last estimate draw with it."""
    real, drawn = training.sample, []
    monkeypatch.setattr(training, "ENUMERATED", largest)
    monkeypatch.setattr(training, "sample", lambda *given: drawn.append(given[-1]) or real(*given))
    state = NeuralState.of(*CASES["one orbital, symmetric"], seed=3)
    replace(SHORT, steps=2).run(state)
    assert drawn == [power] * 3


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": -1},
        {"n_samples": 1},
        {"power": 0.0},
        {"power": 1.1},
        {"rate": (0.1, 0.0)},
        {"momentum": 1.0},
        {"regularisation": (1e-3,)},
        {"regularisation": (0.0, 1e-3)},
        {"clip": float("nan")},
        {"largest_step": 0},
        {"largest_change": 0.0},
        {"steps": -1},
        {"n_final": "many"},
        {"seed": -1},
    ],
    ids=str,
)
def test_settings_are_checked(wrong):
    with pytest.raises(SettingError, match=f"training.{next(iter(wrong))}"):
        Training(**wrong)
