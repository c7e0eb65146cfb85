"""The registry of arrays: what is written is checked, and the documentation is what it prints."""

import pickle
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from dmftnet.arrays import ArrayKey, check_arrays
from dmftnet.data import keys
from dmftnet.data.jobfile import JobJournal
from dmftnet.data.labels import SpectralArrays
from dmftnet.data.store import SCHEMA, SpectralStore
from dmftnet.errors import StoreError
from dmftnet.physics.dmft.files import SOLUTION

ROOT = Path(__file__).resolve().parents[2]
ROWS = ArrayKey("group/rows", "f4", ("n", 2), "D", "two numbers a row")
CODES = ArrayKey("group/codes", "i4", ("n",), "", "one code a row", limits=(0, 3))


def arrays(n=5, dtype="f4"):
    return {ROWS: np.zeros((n, 2), dtype), CODES: np.arange(n, dtype="i4") % 4}


def test_the_document_is_what_the_command_prints():
    printed = subprocess.run(
        [sys.executable, "-m", "dmftnet.data.keys"], capture_output=True, text=True, check=True
    ).stdout
    assert printed == (ROOT / "docs" / "arrays.md").read_text(encoding="utf-8")


def test_every_array_of_a_file_is_registered(dataset):
    stored = set(SpectralStore.open(dataset).columns)
    registered = set(keys.SCHEMAS[SCHEMA])
    assert {name for name in stored if not name.startswith("rows/")} == registered


def test_labels_are_the_registered_ones():
    assert [field.name for field in fields(SpectralArrays)] == list(keys.LABELS)


def test_names_are_written_once():
    """Full names of arrays stand in the registry alone; call sites name keys."""
    names = {key for schema in keys.SCHEMAS.values() for key in schema} | {keys.JOBS}
    names -= {"curves/omega", "curves/hybridization", "poles/energies", "poles/amplitudes"}
    for path in (ROOT / "src").rglob("*.py"):
        if path.name not in ("keys.py", "loop_keys.py", "thermal_keys.py", "files.py"):
            found = re.findall(r"\"([a-z_]+/[A-Za-z_]+)\"", path.read_text(encoding="utf-8"))
            assert not names & set(found), path


def test_a_key_is_its_name_and_cannot_change():
    assert {"group/rows": 1}[ROWS] == 1 and ROWS.short == "rows"
    with pytest.raises(AttributeError, match="cannot be changed"):
        ROWS.unit = "eV"
    copy = pickle.loads(pickle.dumps(ROWS))
    assert copy == ROWS and type(copy) is str


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({ROWS: np.zeros((5, 3), "f4")}, r"group/rows holds float32 of shape \(5, 3\); f4 of"),
        ({ROWS: np.zeros((5, 2))}, "group/rows holds float64"),
        ({ROWS: np.zeros((4, 2), "f4")}, "group/codes has n = 5, but group/rows n = 4"),
        ({CODES: np.full(5, 7, "i4")}, "group/codes holds 7 to 7; 0 to 3 is known"),
        ({ROWS: np.full((5, 2), np.inf, "f4")}, "group/rows holds a value that is not finite"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(change, words):
    check_arrays("toy", arrays(), (ROWS, CODES), {}, "mend it", strict=True)
    with pytest.raises(StoreError, match=words) as caught:
        check_arrays("toy", arrays() | change, (ROWS, CODES), {}, "mend it", strict=True)
    assert "\n" not in str(caught.value) and str(caught.value).endswith("; mend it")


def test_what_is_read_may_be_of_another_size():
    check_arrays("toy", arrays(dtype="f8"), (ROWS, CODES), {"n": 5}, "mend it")
    with pytest.raises(StoreError, match="lacks the column group/codes"):
        check_arrays("toy", {ROWS: np.zeros((5, 2))}, (ROWS, CODES), {}, "mend it")


@pytest.mark.parametrize(
    ("key", "change"),
    [
        (keys.Samples.U, lambda v: v.astype("f4")),
        (keys.Samples.HYBRIDIZATION, lambda v: v[:, 1:]),
        (keys.Poles.AMPLITUDES, lambda v: v[:, 0]),
        (keys.Trajectories.STATUS, lambda v: v + 90),
    ],
)
def test_a_job_with_a_wrong_array_is_not_written(dataset, tmp_path, key, change):
    columns = SpectralStore.open(dataset).columns
    left_out = (keys.OMEGA, keys.Samples.POLE_OFFSETS)
    job = {name: v for name, v in columns.items() if name not in left_out and "rows/" not in name}
    header = {"schema": SCHEMA, "schema_version": 1, "recipe": "r"}
    journal = JobJournal(tmp_path / "a.h5", header, columns[keys.OMEGA])
    journal.add(0, job)
    with pytest.raises(StoreError, match=f"job 1 of .*a.h5: {key} holds"):
        journal.add(1, job | {key: change(job[key])})
    assert list(journal.jobs) == [0]
    journal.finish()


def test_units_and_meanings_are_given():
    everything = [*SOLUTION, *keys.arrays_of(keys.Batch)]
    everything += [key for schema in keys.SCHEMAS.values() for key in schema]
    for key in everything:
        assert key.meaning and np.dtype(key.dtype) and key.shape, key
