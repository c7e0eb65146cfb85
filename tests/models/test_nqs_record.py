"""Neural quantum states: trainings on disk, that go on exactly; what watches them."""

import csv
import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from safetensors import safe_open
from toy_nqs import ANSATZE, CASES, chains

from dmftnet.errors import ConvergenceError, StoreError
from dmftnet.models.nqs import training
from dmftnet.models.nqs.energy import local_energies
from dmftnet.models.nqs.ground_states import GEOMETRIES, NeuralGroundStates
from dmftnet.models.nqs.record import TrainingRecord, digest
from dmftnet.models.nqs.state import NeuralState
from dmftnet.models.nqs.training import Training
from dmftnet.physics.impurity.interaction import Interaction

SHORT = Training(40, 60, rate=(0.3, 0.1), momentum=0.9, n_final=200, seed=1)
CASE = CASES["one orbital, doped"]


class Stopped(Exception):
    """What a kill is, without the kill."""


def new(ansatz="position nets", seed=3):
    return NeuralState.of(*CASE, ANSATZE[ansatz], seed)


def stopping(number):
    """A watch that breaks off in a step."""

    def watch(metrics, step):
        if step == number:
            raise Stopped

    return watch


def rows(record):
    with record.stem.with_suffix(".csv").open() as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    ("ansatz", "number"),
    [("position nets", 5), ("position nets", 27), ("position nets", 40), ("rwkv", 17)],
)
def test_a_training_that_was_broken_off_goes_on_exactly(tmp_path, ansatz, number):
    settings = SHORT if ansatz == "position nets" else replace(SHORT, steps=22, n_samples=30)
    whole, state, again = (new(ansatz) for _ in range(3))
    first = TrainingRecord(settings, whole, tmp_path / "whole")
    reference = settings.run(whole, first)
    broken = TrainingRecord(settings, state, tmp_path / "broken", (stopping(number),))
    with pytest.raises(Stopped):
        settings.run(state, broken)
    record = TrainingRecord(settings, again, tmp_path / "broken")
    trained = settings.run(again, record)
    np.testing.assert_array_equal(trained.history, reference.history)
    np.testing.assert_array_equal(again.vector(), whole.vector())
    assert trained.energy == reference.energy and trained.rollbacks == reference.rollbacks
    assert rows(record) == rows(first)


def test_a_rolled_back_training_goes_on_exactly(tmp_path, monkeypatch):
    """Steps from the eleventh on go uphill, so that the file holds a state that was taken back."""
    real = training.move
    results = []
    for folder, numbers in (("whole", ()), ("broken", (27, None))):
        for number in numbers or (None,):
            state = new()
            watch = () if number is None else (stopping(number),)
            record = TrainingRecord(SHORT, state, tmp_path / folder, watch)
            calls = []

            def wrong(law, direction, factor, calls=calls):
                real(law, direction, -20 * factor)

            monkeypatch.setattr(training, "move", wrong)
            try:
                results.append((SHORT.run(state, record), state.vector()))
            except Stopped:
                continue
    (whole, psi), (trained, found) = results
    assert whole.rollbacks > 0 and trained.rollbacks == whole.rollbacks
    np.testing.assert_array_equal(trained.history, whole.history)
    np.testing.assert_array_equal(found, psi)


def test_an_ended_training_is_read(tmp_path, monkeypatch):
    first = new()
    reference = SHORT.run(first, TrainingRecord(SHORT, first, tmp_path))
    monkeypatch.setattr(training.TrainingRun, "step", lambda run: pytest.fail("trained again"))
    again = new()
    trained = SHORT.run(again, TrainingRecord(SHORT, again, tmp_path))
    np.testing.assert_array_equal(again.vector(), first.vector())
    assert trained.energy == reference.energy


def test_the_name_is_that_of_all_that_matters():
    state = new()
    names = {
        digest(SHORT, state),
        digest(replace(SHORT, steps=41), state),
        digest(SHORT, new(seed=4)),
        digest(SHORT, new("rwkv")),
        digest(SHORT, NeuralState.of(CASE[0], (3, 2), ANSATZE["position nets"], 3)),
        digest(SHORT, NeuralState.of(chains(4, Interaction(2.1)), CASE[1], seed=3)),
    }
    other = new()
    other.law.prior[0, 1, 0] -= 0.1
    names.add(digest(SHORT, other))
    assert len(names) == 7
    assert digest(SHORT, new()) == digest(SHORT, state)


def test_table_has_a_line_a_step(tmp_path):
    state = new()
    record = TrainingRecord(replace(SHORT, steps=12), state, tmp_path)
    trained = replace(SHORT, steps=12).run(state, record)
    found = rows(record)
    assert [int(row["step"]) for row in found] == list(range(1, 13))
    np.testing.assert_array_equal([float(row["energy"]) for row in found], trained.history)
    assert {(row["n_up"], row["n_dn"]) for row in found} == {("2", "2")}
    assert float(found[0]["rate"]) == 0.3 and float(found[-1]["rate"]) == pytest.approx(0.1)
    assert all(float(row["variance"]) > 0 and float(row["length"]) > 0 for row in found)
    with safe_open(record.path, "pt") as file:
        assert json.loads(file.metadata()["training"])["n_steps"] == 10  # of the last block


@pytest.mark.parametrize("content", [b"", b"\x00" * 40])
def test_a_damaged_file_is_named(tmp_path, content):
    state = new()
    record = TrainingRecord(SHORT, state, tmp_path)
    record.path.write_bytes(content)
    with pytest.raises(StoreError, match=r"nqs_\w+\.safetensors' is damaged .*remove it"):
        SHORT.run(state, record)


def test_not_a_number_keeps_the_last_good_state_on_disk(tmp_path, monkeypatch):
    calls = []

    def broken(state, states):
        calls.append(None)
        found = local_energies(state, states)
        return np.where(len(calls) == 26, np.nan, found)

    monkeypatch.setattr(training, "local_energies", broken)
    finder = NeuralGroundStates(SHORT, ANSATZE["position nets"], folder=tmp_path)
    monkeypatch.setattr(NeuralGroundStates, "_sector", lambda *_: CASE[1])
    monkeypatch.setitem(GEOMETRIES, "chain", lambda _: CASE[0])
    with pytest.raises(ConvergenceError, match="in step 26; the last good state is kept in"):
        finder.find(SimpleNamespace(stars=CASE[0].sites))
    with safe_open(next(tmp_path.glob("*.safetensors")), "pt") as file:
        assert json.loads(file.metadata()["training"])["n_steps"] == 20
        kept = file.get_tensor("kept.W").numpy()
    np.testing.assert_array_equal(finder._memory.weights["W"].numpy(), kept)


def test_loggers_count_the_steps_of_all_solves():
    seen, saved = [], []

    class Logger:
        def log_metrics(self, metrics, step):
            seen.append((step, metrics["nqs/energy"]))

        def save(self):
            saved.append(len(seen))

    finder = NeuralGroundStates(
        replace(SHORT, steps=10), ANSATZE["position nets"], warm_steps=5, loggers={"one": Logger()}
    )
    histories = [finder.trained(*CASE)[1].history for _ in range(2)]
    assert [step for step, _ in seen] == list(range(1, 16))
    assert saved == [10, 15]
    np.testing.assert_array_equal([energy for _, energy in seen], np.concatenate(histories))


def test_a_solve_starts_from_the_one_before():
    """The first energy of the second solve is that at the end of the first, not the prior's."""
    finder = NeuralGroundStates(SHORT, ANSATZE["position nets"], warm_steps=10)
    cold, warm = (finder.trained(*CASE)[1] for _ in range(2))
    assert warm.n_steps == 10
    rise = cold.history[0] - cold.energy.mean
    assert rise > 1e-2
    assert abs(warm.history[0] - cold.energy.mean) < 0.1 * rise
    other = finder.trained(*CASES["one orbital, unequal"])[1]
    assert other.n_steps == SHORT.steps
    anew = replace(finder, warm_steps=None)
    first, second = (anew.trained(*CASE)[1] for _ in range(2))
    np.testing.assert_array_equal(first.history, second.history)


def test_progress_is_shown(capsys):
    finder = NeuralGroundStates(
        replace(SHORT, steps=3), ANSATZE["position nets"], progress_every=1e-3
    )
    finder.trained(*CASE)
    assert "steps" in capsys.readouterr().out
