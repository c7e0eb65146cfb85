import h5py
import numpy as np
import pytest
from content import content_hash

from dmftnet.data.jobfile import JobJournal, read_jobs, split_jobs, write_jobs
from dmftnet.errors import StoreError

OMEGA = np.linspace(-1, 1, 5)
HEADER = {"schema": "toy", "schema_version": 1, "recipe": "r"}
REMEDY = "do better"


def job(number):
    """Ragged tables; job 2 has no sample."""
    rng = np.random.default_rng(number)
    rows = 0 if number == 2 else 1 + number % 3
    poles = rng.integers(1, 40, rows)
    return {
        "samples/curve": rng.random((rows, 5)).astype(np.float32),
        "samples/n_poles": poles.astype(np.int64),
        "poles/energies": rng.random(poles.sum()),
        "trajectories/id": np.array([number]),
        "trajectories/message": np.array(["wrong"[: number % 5]]),
    }


def journal(path, **changes):
    return JobJournal(path, {**HEADER, **changes}, OMEGA)


def finished(path, numbers):
    opened = journal(path)
    for number in numbers:
        opened.add(number, job(number))
    opened.finish()
    return content_hash(path)


def assert_same_jobs(found, numbers):
    assert sorted(found) == sorted(numbers)
    for number in numbers:
        for name, values in job(number).items():
            assert np.array_equal(found[number][name], values), name


def test_jobs_survive_a_round_trip(tmp_path):
    path = tmp_path / "a.h5"
    write_jobs(path, {**HEADER, "complete": True}, OMEGA, {i: job(i) for i in (4, 0, 2, 7)})
    attributes, columns = read_jobs(path, "toy", 1, REMEDY)
    assert attributes["n_jobs"] == 4
    assert columns["rows/id"].tolist() == [0, 2, 4, 7]
    assert np.array_equal(columns["grid/omega"], OMEGA)
    counts = columns["samples/n_poles"]
    assert columns["samples/pole_offsets"].tolist() == [0, *np.cumsum(counts)]
    assert_same_jobs(split_jobs(columns), [0, 2, 4, 7])


def test_the_content_does_not_depend_on_the_order_of_jobs(tmp_path):
    first = finished(tmp_path / "a.h5", range(11))
    assert finished(tmp_path / "b.h5", reversed(range(11))) == first
    assert finished(tmp_path / "c.h5", range(10)) != first
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize("stop", [0, 1, 3, 4, 5, 9, 11])
def test_an_interrupted_journal_goes_on(tmp_path, stop):
    path = tmp_path / "a.h5"
    opened = journal(path)
    for number in range(stop):
        opened.add(number, job(number))
    opened.close()  # what the operating system does when a process is killed
    assert not read_jobs(path, "toy", 1, REMEDY)[0]["complete"]
    again = journal(path)
    assert_same_jobs(again.jobs, list(range(stop)))
    for number in range(stop, 11):
        again.add(number, job(number))
    again.finish()
    assert content_hash(path) == finished(tmp_path / "whole.h5", range(11))


def test_leftovers_of_a_kill_are_neither_lost_nor_doubled(tmp_path):
    path = tmp_path / "a.h5"
    opened = journal(path)
    for number in range(4):  # after the fourth the jobs move into the file
        opened.add(number, job(number))
    opened.add(4, job(4))
    # killed between the rename of the file and the removal of a job's own file,
    write_jobs(opened.folder / "00000001.h5", {**HEADER, "complete": False}, OMEGA, {1: job(1)})
    # and in the middle of writing
    (tmp_path / "a.h5.123.part").write_bytes(b"half a file")
    (opened.folder / "00000005.h5.123.part").write_bytes(b"half a file")
    opened.close()
    again = journal(path)
    assert_same_jobs(again.jobs, [0, 1, 2, 3, 4])
    again.finish()
    assert not list(tmp_path.glob("*.part"))
    assert_same_jobs(split_jobs(read_jobs(path, "toy", 1, REMEDY)[1]), [0, 1, 2, 3, 4])


def test_a_finished_file_is_not_touched_again_and_can_grow(tmp_path):
    path = tmp_path / "a.h5"
    finished(path, range(3))
    before = path.read_bytes()
    journal(path).finish()
    assert path.read_bytes() == before
    grown = journal(path)
    for number in range(3, 11):
        grown.add(number, job(number))
    grown.finish()
    assert read_jobs(path, "toy", 1, REMEDY)[0]["complete"]
    assert content_hash(path) == finished(tmp_path / "whole.h5", range(11))


def test_another_recipe_is_refused_and_nothing_changes(tmp_path):
    path = tmp_path / "a.h5"
    finished(path, range(3))
    before = path.read_bytes()
    with pytest.raises(StoreError, match="another configuration"):
        journal(path, recipe="other")
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.h5"]


def test_a_second_writer_is_refused(tmp_path):
    first = journal(tmp_path / "a.h5")
    with pytest.raises(StoreError, match="another process is writing"):
        journal(tmp_path / "a.h5")
    first.close()


def test_files_that_cannot_be_used_are_named_in_one_line(tmp_path):
    path = tmp_path / "a.h5"
    finished(path, range(9))
    whole = path.read_bytes()
    bad = {
        "truncated.h5": whole[: len(whole) // 2],
        "header.h5": whole[:100],
        "empty.h5": b"",
        "text.h5": b"energies and weights\n" * 50,
    }
    for name, content in bad.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(StoreError, match="truncated, damaged or not HDF5") as raised:
            read_jobs(tmp_path / name, "toy", 1, REMEDY)
        assert name in str(raised.value) and REMEDY in str(raised.value)
        assert "\n" not in str(raised.value)
        with pytest.raises(StoreError, match="truncated, damaged or not HDF5"):
            journal(tmp_path / name)
        assert (tmp_path / name).read_bytes() == content
    with pytest.raises(StoreError, match="does not exist; do better"):
        read_jobs(tmp_path / "none.h5", "toy", 1, REMEDY)


def test_other_schemas_are_named(tmp_path):
    path = tmp_path / "a.h5"
    finished(path, range(2))
    with pytest.raises(StoreError, match="schema toy version 1, this program reads toy version 2"):
        read_jobs(path, "toy", 2, REMEDY)
    with pytest.raises(StoreError, match="schema toy version 1"):
        read_jobs(path, "other", 1, REMEDY)
    with h5py.File(tmp_path / "foreign.h5", "w") as file:
        file["data"] = np.ones(3)
    with pytest.raises(StoreError, match="schema None"):
        read_jobs(tmp_path / "foreign.h5", "toy", 1, REMEDY)


def test_columns_of_a_group_must_agree(tmp_path):
    wrong = job(1) | {"samples/curve": np.zeros((7, 5), np.float32)}
    with pytest.raises(StoreError, match="another number of rows"):
        write_jobs(tmp_path / "a.h5", HEADER, OMEGA, {1: wrong})
    assert not list(tmp_path.iterdir())
