"""One HDF5 file from many independent jobs: durable job by job, resumable, crash-safe.

A dataset is a set of jobs (DMFT trajectories, reference loops), each known by an integer id and
each giving a few tables (groups of columns with equal row counts). While it is made,

* every finished job is at once a small file of its own in ``<file>.part/``, written under a
  temporary name, synced and renamed;
* from time to time, and at the end, all finished jobs are written sorted by id into one new file
  that replaces the old one by a rename. Until the last job is in, its attribute ``complete`` is
  False.

A rename is atomic, so a killed process leaves a valid file and loses no finished job; duplicates
count once. The content depends on the jobs alone, not on their order or on interruptions, and never
on HDF5's own appending. Cost: a job is rewritten O(log n_jobs) times; all jobs are held in memory.

Layout: ``/<group>/<column>`` concatenated over jobs in the order of ids, ``/rows/id`` the ids,
``/rows/<group>`` the number of rows each job has in a group, ``/grid/omega`` the frequencies of all
curves; attributes hold schema, version, the config and the provenance.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from filelock import FileLock, Timeout

from dmftnet import checks
from dmftnet.arrays import check_arrays
from dmftnet.data.columns import check_rows
from dmftnet.data.keys import JOBS, OFFSETS, OMEGA, SCHEMAS, rows_of
from dmftnet.errors import StoreError

Columns = dict[str, np.ndarray]
"""Columns of one job, or of all jobs in the order of ids, by their name ``group/column``."""

PACKED = 1100
"""Times that compressed columns may be larger than their file: gzip reaches 1032."""

CHUNK = 2**20  # bytes that are compressed together: whole files are read, never single rows


def write_jobs(
    path: Path, attributes: Mapping[str, Any], omega: np.ndarray, jobs: Mapping[int, Columns]
) -> None:
    """Write all jobs, sorted by id and compressed, and put the file in place by a rename.

    Parameters
    ----------
    omega : (n_w,) float64, in D
        Frequencies of every curve in the file; stored as ``grid/omega``.
    jobs : mapping of id to columns
        The same columns in each; columns of one group have equal row counts within a job.
    """
    ids = sorted(jobs)
    columns: Columns = {OMEGA: omega, JOBS: np.array(ids, dtype=np.int64)}
    for name in jobs[ids[0]] if ids else ():
        columns[name] = np.concatenate([jobs[i][name] for i in ids])
        rows = np.array([len(jobs[i][name]) for i in ids], dtype=np.int64)
        group_rows = columns.setdefault(rows_of(name.split("/")[0]), rows)
        if not np.array_equal(group_rows, rows):
            raise StoreError(f"column {name} has another number of rows than its group")
    for count, offsets in OFFSETS.items():
        if count in columns:
            columns[offsets] = np.concatenate([[0], np.cumsum(columns[count])]).astype(np.int64)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.part")
    with h5py.File(temporary, "w") as file:
        file.attrs.update(attributes)
        file.attrs["n_jobs"] = len(ids)
        for name, values in columns.items():
            _write_column(file, name, values)
    with open(temporary, "rb") as handle:
        os.fsync(handle.fileno())
    os.replace(temporary, path)


def _write_column(file: h5py.File, name: str, values: np.ndarray) -> None:
    if values.dtype.kind == "U":
        values = values.astype(h5py.string_dtype())
    packing = {}
    if values.nbytes > 4096:
        rows = max(1, CHUNK * len(values) // values.nbytes)
        packing = {"compression": "gzip", "compression_opts": 6, "shuffle": True}
        packing["chunks"] = (min(rows, len(values)), *values.shape[1:])
    file.create_dataset(name, data=values, **packing)


def read_jobs(path: Path, schema: str, version: int, remedy: str) -> tuple[dict, Columns]:
    """Attributes and columns of a file that `write_jobs` wrote.

    Parameters
    ----------
    remedy : str
        What to do if the file cannot be used; ends the error text.

    Raises
    ------
    StoreError
        If the file is missing, truncated, not HDF5, of another schema or version, or if its tables
        do not belong together.
    """
    if not path.is_file():
        raise StoreError(f"file {path} does not exist; {remedy}")
    try:
        with h5py.File(path, "r") as file:
            attributes = dict(file.attrs)
            found = (attributes.get("schema"), attributes.get("schema_version"))
            if found != (schema, version):
                raise StoreError(
                    f"file {path} has schema {found[0]} version {found[1]}, this program reads "
                    f"{schema} version {version}; {remedy}"
                )
            columns: Columns = {}
            limit = PACKED * path.stat().st_size
            file.visititems(lambda name, node: _read_column(columns, name, node, limit))
    except StoreError:
        raise
    except Exception as error:  # of a damaged file h5py raises almost anything
        raise StoreError(
            f"file {path} is truncated, damaged or not HDF5 ({checks.reason(error)}); {remedy}"
        ) from error
    check_rows(path, columns, OFFSETS, remedy)
    return attributes | {"complete": bool(attributes.get("complete", False))}, columns


def _read_column(columns: Columns, name: str, node, limit: float) -> None:
    if isinstance(node, h5py.Dataset):
        if node.size * node.dtype.itemsize > limit:
            raise ValueError(f"{name} claims {node.size * node.dtype.itemsize} bytes")
        columns[name] = node.asstr()[()].astype(str) if node.dtype.kind == "O" else node[()]


def split_jobs(columns: Columns) -> dict[int, Columns]:
    """The inverse of the concatenation: columns of each job by id."""
    ids = columns[JOBS]
    jobs: dict[int, Columns] = {int(i): {} for i in ids}
    for name, values in columns.items():
        group = name.split("/")[0]
        if group in ("rows", "grid") or name in OFFSETS.values():
            continue
        ends = np.cumsum(columns[rows_of(group)])
        for i, part in zip(ids, np.split(values, ends[:-1]), strict=True):
            jobs[int(i)][name] = part
    return jobs


class JobJournal:
    """The one writer of a job file, resumable.

    Parameters
    ----------
    path : Path
        The file to make. An existing one is continued if it came from the same recipe.
    attributes : mapping
        Needs ``schema``, ``schema_version`` and ``recipe``, the hash of everything that decides
        the content of a job.
    omega : (n_w,) float64, in D
        See `write_jobs`.

    Raises
    ------
    StoreError
        If the file exists and comes from another recipe or schema, or if another process is
        writing it. Nothing is changed then.
    """

    def __init__(self, path: str | Path, attributes: Mapping[str, Any], omega: np.ndarray):
        self.path = Path(path)
        self.folder = self.path.with_name(self.path.name + ".part")
        self.attributes = dict(attributes)
        self.omega = omega
        self.jobs: dict[int, Columns] = {}
        self._loose: list[int] = []
        self._began = not self.path.exists()  # with a file that this run makes
        previous = self._read(self.path) if self.path.exists() else None
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(self.folder / "lock")
        try:
            self._lock.acquire(timeout=0)
        except Timeout as error:
            raise StoreError(
                f"another process is writing {self.path}; wait for it, or choose another "
                "dataset.path"
            ) from error
        self._complete = bool(previous and previous[0]["complete"])
        if previous:
            self.jobs.update(split_jobs(previous[1]))
        self._collect_shards()
        if not self._complete:
            self._write(complete=False)  # so that a valid file exists from the start

    def add(self, job: int, columns: Columns) -> None:
        """Make one finished job durable.

        Raises
        ------
        StoreError
            If its columns are not what the file's schema says; nothing is written then.
        """
        given = [key for key in SCHEMAS.get(self.attributes["schema"], ()) if key != OMEGA]
        made_here = OFFSETS.values()
        check_arrays(
            f"job {job} of {self.path}",
            columns,
            [key for key in given if key not in made_here],
            {"n_w": self.omega.size},
            "mend the plan that made it",
            strict=True,
        )
        attributes = self.attributes | {"complete": False}
        write_jobs(self._shard(job), attributes, self.omega, {job: columns})
        self.jobs[job] = columns
        self._loose.append(job)
        if len(self._loose) >= max(4, len(self.jobs) // 8):
            self._write(complete=False)

    def finish(self) -> None:
        """Write the final file, marked complete, and remove the working folder."""
        if self._loose or not self._complete:
            self._write(complete=True)
        self.close()
        self._remove_folder()

    def close(self) -> None:
        """Release the lock; the run can be resumed later."""
        self._lock.release()

    def abandon(self) -> None:
        """Like `close`, but removes a file that this run made and that got no job."""
        if self._began and not self.jobs and not self._complete:
            self.path.unlink(missing_ok=True)
            self._remove_folder()
        self.close()

    def _remove_folder(self) -> None:
        for rest in self.folder.iterdir():
            rest.unlink()
        self.folder.rmdir()

    def _collect_shards(self) -> None:
        for stale in self.path.parent.glob(f"{self.path.name}.*.part"):
            stale.unlink()  # a file that was being written when its process was killed
        for stale in self.folder.glob("*.h5.*.part"):
            stale.unlink()
        for shard in sorted(self.folder.glob("*.h5")):
            for job, columns in split_jobs(self._read(shard)[1]).items():
                self.jobs.setdefault(job, columns)
                self._loose.append(job)

    def _read(self, path: Path) -> tuple[dict, Columns]:
        remedy = "choose another dataset.path, or move the file away to start afresh"
        attributes, columns = read_jobs(
            path, self.attributes["schema"], self.attributes["schema_version"], remedy
        )
        if attributes.get("recipe") != self.attributes["recipe"]:
            raise StoreError(f"{path} was made with another configuration; {remedy}")
        return attributes, columns

    def _shard(self, job: int) -> Path:
        return self.folder / f"{job:08d}.h5"

    def _write(self, complete: bool) -> None:
        attributes = self.attributes | {"complete": complete}
        write_jobs(self.path, attributes, self.omega, self.jobs)
        self._complete = complete
        for job in self._loose:
            self._shard(job).unlink()
        self._loose.clear()
