"""Where jobs run: a local process pool, or Dask on one machine or a cluster.

Both are standard `concurrent.futures` executors. Each worker uses one thread: a solve parallelises
badly, a hundred trajectories perfectly.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager

import loky

from dmftnet import checks
from dmftnet.errors import DmftnetError

ONE_THREAD = dict.fromkeys(
    (
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "VECLIB_MAXIMUM_THREADS",
        "NUMBA_NUM_THREADS",
    ),
    "1",
)
"""Environment of a worker, set before it imports numpy."""

PER_CORE = 16
"""Workers that may share a core: more would only fill the memory."""


@contextmanager
def local(n_workers: int | None = None) -> Iterator[Executor]:
    """Processes on this machine.

    Parameters
    ----------
    n_workers : int, optional
        All cores that this process may use by default.
    """
    n_workers = _checked(n_workers) or loky.cpu_count()
    executor = loky.ProcessPoolExecutor(
        max_workers=n_workers, env=ONE_THREAD, initializer=_end_with_parent, initargs=(os.getpid(),)
    )
    try:
        yield executor
    finally:
        executor.shutdown(wait=True, kill_workers=True)


@contextmanager
def dask(address: str | None = None, n_workers: int | None = None) -> Iterator[Executor]:
    """Workers of Dask.

    Parameters
    ----------
    address : str, optional
        Of a running scheduler, for example one that `dask-jobqueue` started on Slurm, or the path
        of the JSON file that ``dask scheduler --scheduler-file`` writes. Start its workers with
        ``--nthreads 1``. By default a cluster of processes on this machine is started.
    n_workers : int, optional
        Of the cluster on this machine; all cores by default.
    """
    from distributed import Client, LocalCluster  # seconds to import, needed here alone

    if address is not None:
        if not isinstance(address, str) or not address:
            raise DmftnetError(
                f"executor.address = {checks.shown(address)}: give tcp://host:port, the path of a "
                "scheduler file, or null"
            )
        where = {"scheduler_file": address} if address.endswith(".json") else {"address": address}
        try:
            client = Client(**where)
        except (OSError, TimeoutError, ValueError) as error:
            raise DmftnetError(
                f"executor.address = {address}: no Dask scheduler answers there "
                f"({checks.reason(error)}); start one with 'dask scheduler', or leave it null"
            ) from error
        with client, client.get_executor(pure=False) as executor:
            yield executor
        return
    cluster = LocalCluster(
        n_workers=_checked(n_workers) or loky.cpu_count(),
        threads_per_worker=1,
        processes=True,
        dashboard_address=None,
        env=ONE_THREAD,
    )
    with cluster, Client(cluster) as client, client.get_executor(pure=False) as executor:
        yield executor


def _end_with_parent(parent: int) -> None:
    """Make a worker end when its parent was killed and cannot end it."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _checked(n_workers: int | None) -> int | None:
    if n_workers is None:
        return None
    n_workers = checks.integer("executor.n_workers", n_workers)
    if n_workers < 1:
        raise DmftnetError(f"executor.n_workers = {n_workers}: give at least 1, or null for all")
    most = PER_CORE * loky.cpu_count()
    if n_workers > most:
        raise DmftnetError(
            f"executor.n_workers = {checks.shown(n_workers)}: this machine has {loky.cpu_count()} "
            f"cores, {most} workers are the most that start; give fewer, or null for all cores"
        )
    return n_workers
