"""Phases of neural states that are learned, against dense linear algebra."""

import numpy as np
import pytest
from toy_nqs import CASES, HUND, all_states, chains, exact, sector_codes

from dmftnet.errors import SettingError
from dmftnet.models.nqs.energy import Energy, local_energies
from dmftnet.models.nqs.ground_states import NeuralGroundStates
from dmftnet.models.nqs.phases import PhaseMap, settled, turned
from dmftnet.models.nqs.record import TrainingRecord
from dmftnet.models.nqs.sampler import sample
from dmftnet.models.nqs.state import NeuralState
from dmftnet.models.nqs.training import Training

NAMES = ["three orbitals", "three orbitals, doped", "two orbitals", "star"]
SHORT = Training(100, 300, rate=(0.5, 0.05), momentum=0.9, n_final=2000, seed=1)


@pytest.fixture(params=NAMES, ids=str)
def state(request):
    return NeuralState.of(*CASES[request.param], seed=3, phases=PhaseMap(seed=2))


def canonical(state):
    """(n, n_sites) states that have a probability, and (n,) that."""
    states, symmetry = all_states(state.line.n_sites, state.sector), state.law.symmetry
    states = np.unique(symmetry.canonical(states[symmetry.passes(states)]), axis=0)
    return states, np.exp(2 * state.log_amplitudes(states)) * symmetry.orbit(states)


def mean_energy(state):
    psi = state.vector()
    return (psi.conj() @ state.cluster.hamiltonian(state.sector) @ psi).real


def test_local_energies_are_those_of_the_vector(state):
    psi, H = state.vector(), state.cluster.hamiltonian(state.sector)
    assert psi.dtype == np.complex128 and np.linalg.norm(psi) == pytest.approx(1, abs=1e-10)
    there = psi != 0
    states = state.line.states(sector_codes(state.cluster, state.sector)[there])
    found = local_energies(state, state.law.symmetry.canonical(states))
    np.testing.assert_allclose(found, (H @ psi)[there] / psi[there], rtol=1e-9, atol=1e-9)
    assert np.abs(found.imag).max() > 0.1


def test_energy_is_exact_where_all_is_found(state):
    samples = sample(state.law, 2_000_000, np.random.default_rng(0), 0.3)
    found = Energy.of(samples, local_energies(state, samples.states))
    H, psi = state.cluster.hamiltonian(state.sector), state.vector()
    assert found.mean == pytest.approx(mean_energy(state), abs=1e-8)
    assert found.variance == pytest.approx(np.linalg.norm(H @ psi - found.mean * psi) ** 2)


def test_step_is_the_natural_gradient(state):
    """Of a dense metric, with the energy's slopes by finite differences."""
    states, p = canonical(state)
    entries = state.phases.entries(state.line, states)
    used, table = np.unique(entries), state.law.get_buffer("phases")
    slopes = []
    for k in used.tolist():
        kept, pair = table[k].item(), []
        for shift in (1e-5, -1e-5):
            table[k] = kept + shift
            pair.append(mean_energy(state))
        table[k] = kept
        slopes.append((pair[0] - pair[1]) / 2e-5)
    W = np.array([p[entries == k].sum() for k in used])
    metric = np.diag(W) - np.outer(W, W) + 1e-2 * np.eye(used.size)
    local = local_energies(state, states).imag
    new = turned(table.numpy(), entries, p, local, 1e-3, 1e-2)
    found = (table.numpy() - new) / 1e-3
    np.testing.assert_allclose(found[used], np.linalg.solve(metric, slopes) / 2, atol=1e-7)
    assert np.abs(slopes).max() > 1e-2
    assert np.all(np.delete(found, used) == 0)


def test_moduli_do_not_turn_phases(state):
    """The real part of the metric has no element between p and the table: d log psi are real."""
    samples = sample(state.law, 500, np.random.default_rng(0))
    before = state.law.get_buffer("phases").clone()
    weights = np.full(len(samples.states), 1 / len(samples.states))
    state.turn(samples.states, turned, weights, np.zeros(weights.size), 0.1, 1e-3)
    assert np.array_equal(state.law.get_buffer("phases"), before)


@pytest.mark.parametrize("common", [0.0, 0.4, 2.0, -1.3])
def test_settled_phases_are_signs_but_for_one_of_all(common):
    rng = np.random.default_rng(0)
    odd, entries = rng.integers(0, 2, 30), np.arange(30)
    table = common + np.pi * odd + rng.uniform(-0.3, 0.3, 30) + 2 * np.pi * rng.integers(-2, 2, 30)
    found = settled(table, entries, np.full(30, 1 / 30)) / np.pi
    assert set(found) <= {0.0, 1.0}
    assert abs(np.sum((-1.0) ** (found - odd))) == 30


def test_settled_states_are_real(state):
    samples = sample(state.law, 500, np.random.default_rng(0))
    state.turn(samples.states, settled, np.full(len(samples.states), 1 / len(samples.states)))
    psi = state.vector()
    assert psi.dtype == np.float64 and psi @ psi == pytest.approx(1, abs=1e-10)


@pytest.mark.parametrize("seed", [4, 5])
def test_phases_are_learned_from_random_ones(seed):
    """Far below what the signs of hops and spin flip alone can reach."""
    found, sector = CASES["three orbitals"]
    H, (energies, psi) = found.cluster.hamiltonian(sector), exact(found.cluster, sector)
    finder = NeuralGroundStates(SHORT, phases=PhaseMap(seed=seed), progress_every=None)
    state, trained = finder.trained(found, sector)
    without = state.line.signs(state.line.states(sector_codes(found.cluster, sector))) * abs(psi)
    assert without @ H @ without - energies[0] > 1e-2
    error = finder.explicit(state).energy - energies[0]
    assert -1e-10 < error < 1e-6
    assert trained.energy.mean - energies[0] == pytest.approx(error, abs=1e-6)


def test_training_goes_on_from_its_file_with_the_same_phases(tmp_path):
    training, tables = Training(20, 40, n_final=50), []
    for folder, cut in ((tmp_path / "a", None), (tmp_path / "b", 10)):
        for steps in filter(None, (cut, 20)):
            state = NeuralState.of(*CASES["three orbitals"], seed=3, phases=PhaseMap(seed=2))
            record = TrainingRecord(training, state, folder)
            if steps < 20:
                real = record.block

                def stop(run, real=real):
                    real(run)
                    raise KeyboardInterrupt

                record.block = stop
                with pytest.raises(KeyboardInterrupt):
                    training.run(state, record)
            else:
                training.run(state, record)
        tables.append(state.vector())
    np.testing.assert_array_equal(tables[0], tables[1])


def test_settings_are_checked():
    for wrong in ({"sites": [-1]}, {"spread": -1}, {"steps": -1}, {"seed": 1.5}, {"sites": "all"}):
        with pytest.raises(SettingError, match=f"phases.{next(iter(wrong))}"):
            PhaseMap(**wrong)
    found = chains(1, HUND, n_orb=3)
    with pytest.raises(SettingError, match="different sites below 6"):
        NeuralState.of(found, (3, 3), phases=PhaseMap((0, 6)))
    with pytest.raises(SettingError, match=r"16,777,216 phases is larger than 1,048,576"):
        NeuralState.of(chains(2, HUND, n_orb=3), (5, 4), phases=PhaseMap(range(9)))
    with pytest.raises(SettingError, match=r"solver\.ground_state\.phases"):
        NeuralGroundStates(phases="table")
