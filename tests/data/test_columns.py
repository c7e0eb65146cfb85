"""Files that open and hold nonsense: named with the column that is wrong."""

import h5py
import numpy as np
import pytest
import toy_files

from dmftnet.arrays import ArrayKey
from dmftnet.data.exact_loops import ReferenceStore
from dmftnet.data.jobfile import JobJournal
from dmftnet.data.labels import cached_labels
from dmftnet.data.plans.collected import ProblemCollector, read_collected
from dmftnet.data.store import SpectralStore
from dmftnet.errors import StoreError
from dmftnet.physics.grids.real_axis import FrequencyGrid


@pytest.fixture(scope="module")
def references(tmp_path_factory):
    return toy_files.make_references(tmp_path_factory.mktemp("columns") / "references.h5")


def changed(source, target, name, change):
    """A copy with one dataset changed, or left out where the change gives None."""
    target.write_bytes(source.read_bytes())
    with h5py.File(target, "a") as file:
        values = change(file[name][()])
        del file[name]
        if values is not None:
            file[name] = values
    return target


def nothing(values):
    return None


def nan_inside(values):
    values = values.copy()
    values.flat[values.size // 2] = np.nan
    return values


CHANGES = [
    ("samples/U", nothing, "lacks the column samples/U|holds no sample"),
    ("samples/hybridization", nan_inside, "samples/hybridization holds a value that is not finite"),
    ("samples/hybridization", lambda v: v[:, 1:], r"shape \('n', 400\) are needed"),
    ("samples/eps_d", lambda v: v.astype("S8"), "samples/eps_d holds"),
    ("samples/start", lambda v: v + 90, "samples/start holds 90 to 9[0-9]; 0 to 5 is known"),
    ("samples/trajectory", lambda v: v + 1000, "samples, poles and trajectories disagree"),
    ("samples/filling", lambda v: v[1:], "samples/filling and the rows of its jobs disagree"),
    ("samples/pole_offsets", lambda v: v[::-1], "pole_offsets does not follow from samples/n_pole"),
    ("rows/samples", nothing, "and the rows of its jobs disagree"),
    ("rows/id", lambda v: 0 * v, "has no ids of jobs, or no grid"),
    ("grid/omega", lambda v: v[::-1], "the frequency grid must increase strictly"),
    ("grid/omega", nothing, "has no ids of jobs, or no grid"),
]


@pytest.mark.parametrize(("name", "change", "words"), CHANGES)
def test_a_dataset_with_a_wrong_column_is_named(dataset, tmp_path, name, change, words):
    path = changed(dataset, tmp_path / "wrong.h5", name, change)
    with pytest.raises(StoreError, match=words) as caught:
        SpectralStore.open(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("references/self_energy", nan_inside, "self_energy holds a value that is not finite"),
        ("references/spectrum", nothing, "lacks the column references/spectrum"),
        ("references/kind", lambda v: v + 7, "references/kind holds 7 to"),
        ("references/target", lambda v: v.astype("S3"), "references/target holds"),
    ],
)
def test_references_with_a_wrong_column_are_named(references, tmp_path, name, change, words):
    path = changed(references, tmp_path / "wrong.h5", name, change)
    with pytest.raises(StoreError, match=words):
        ReferenceStore.open(path)


def test_collected_files_are_checked_too(dataset, tmp_path):
    problem, solution = (lambda s: (s.problem, s))(SpectralStore.open(dataset).solution(0))
    collector = ProblemCollector(tmp_path / "new.h5", problem.grid, (0.02, 0.05))
    collector.add(problem, solution, "a test")
    collector.close()
    assert len(read_collected(tmp_path / "new.h5")) == 1
    path = changed(tmp_path / "new.h5", tmp_path / "wrong.h5", "curves/hybridization", nan_inside)
    with pytest.raises(StoreError, match="curves/hybridization holds a value that is not finite"):
        read_collected(path)


def test_a_column_that_claims_more_than_its_file_can_hold_is_not_read(dataset, tmp_path):
    path = tmp_path / "claims.h5"
    path.write_bytes(dataset.read_bytes())
    with h5py.File(path, "a") as file:
        file.create_dataset("samples/huge", shape=(10**12,), dtype="f8")
    with pytest.raises(
        StoreError, match=r"damaged or not HDF5 \(samples/huge claims 8000000000000"
    ):
        SpectralStore.open(path)


def test_missing_numbers_are_allowed_where_a_column_says_so():
    values = np.array([1.0, np.nan])
    key = ArrayKey("x", "f8", ("n",), "D", "a number")
    assert key.objection(values, {}) == "holds a value that is not finite"
    assert ArrayKey("x", "f8", ("n",), "D", "one or none", nan=True).objection(values, {}) == ""


def test_a_run_without_a_job_leaves_no_file(tmp_path):
    """`abandon` takes away what the run itself began, and nothing else."""
    attributes = {"schema": "toy", "schema_version": 1, "recipe": "r"}
    journal = JobJournal(tmp_path / "a.h5", attributes, np.linspace(-1, 1, 5))
    assert (tmp_path / "a.h5").exists()
    journal.abandon()
    assert not list(tmp_path.iterdir())
    JobJournal(tmp_path / "a.h5", attributes, np.linspace(-1, 1, 5)).close()  # as if killed
    JobJournal(tmp_path / "a.h5", attributes, np.linspace(-1, 1, 5)).abandon()
    assert (tmp_path / "a.h5").exists()
    journal = JobJournal(tmp_path / "b.h5", attributes, np.linspace(-1, 1, 5))
    journal.add(3, {"samples/x": np.zeros(2)})
    journal.abandon()
    again = JobJournal(tmp_path / "b.h5", attributes, np.linspace(-1, 1, 5))
    assert list(again.jobs) == [3]
    again.close()


@pytest.mark.parametrize(
    "spoil", [lambda c: b"", lambda c: c[:200], lambda c: c[:-8] + b"\xff" * 8]
)
def test_a_damaged_cache_of_labels_is_made_anew(dataset, tmp_path, spoil):
    path = tmp_path / "data.h5"
    path.write_bytes(dataset.read_bytes())
    store, grid = SpectralStore.open(path), FrequencyGrid.geometric(0.02, 6.0, 32)
    options = (grid, (0.1,), (0.02, 0.05))
    whole = cached_labels(store, *options)
    (file,) = (tmp_path / ".labels").glob("*.safetensors")
    before = file.read_bytes()
    file.write_bytes(spoil(before))
    again = cached_labels(store, *options)
    for name in ("rotated", "hybridization", "trajectory"):
        assert np.array_equal(getattr(again, name), getattr(whole, name))
    assert file.read_bytes() == before
