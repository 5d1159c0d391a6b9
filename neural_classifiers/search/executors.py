"""Executors that `fits.fit` hands trainings to: processes of this machine, or a Dask cluster.

Any other one does too (joblib's loky, for one).
"""

import contextlib
import multiprocessing
import os
import threading
import warnings
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from multiprocessing.connection import wait
from typing import Any

from neural_classifiers.search.fits import WorkersLostError


def local_processes(n_workers: int | None = None) -> ProcessPoolExecutor:
    """Spawned processes that end with this one, even by ``kill -9``; by default one a core.

    Call it below ``if __name__ == "__main__":``, since they import the calling script again.
    """
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(n_workers, context, initializer=_begin)


def _begin() -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


@contextlib.contextmanager
def dask_workers(address: str, timeout_s: float = 30) -> Iterator[tuple[Executor, int]]:
    """Executor of a Dask cluster, and the number of its workers; one that dies costs a training.

    Parameters
    ----------
    address : str
        Of the scheduler, such as ``tcp://host:8786``. Its workers have one thread each, this
        package, and no spilling to disk, which would be pickles:
        ``dask worker ADDRESS --nthreads 1 --memory-limit 0``.
    timeout_s : float
        To wait for the scheduler, then for a first worker.

    Raises
    ------
    ConnectionError
        If no scheduler or no worker is there.
    ValueError
        If workers have several threads, or spill.
    WorkersLostError
        If several workers died over one training.
    """
    from distributed import Client, KilledWorker

    try:
        client = Client(address, set_as_default=False, timeout=timeout_s)
    except OSError as error:
        raise ConnectionError(
            f"expected a Dask scheduler at {address}, got no answer in {timeout_s:g} s: {error}"
        ) from error
    with client, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sending large graph")  # features, with each training
        try:
            client.wait_for_workers(1, timeout=timeout_s)
        except TimeoutError as error:
            raise ConnectionError(
                f"expected workers at the Dask scheduler {address}, got none in {timeout_s:g} s: "
                f"start one with dask worker {address} --nthreads 1 --memory-limit 0"
            ) from error
        n_threads = client.nthreads()
        several = {name: n for name, n in n_threads.items() if n > 1}
        spilling = [name for name, spills in client.run(_spills).items() if spills]
        if several or spilling:
            raise ValueError(
                "expected Dask workers of one thread each that write no pickles to disk (dask "
                f"worker --nthreads 1 --memory-limit 0), got threads {several}, spilling {spilling}"
            )
        try:
            yield client.get_executor(pure=False), len(n_threads)
        except KilledWorker as error:
            raise WorkersLostError(
                f"{error} What was finished before is in the store: search again for the others"
            ) from error


def _spills(dask_worker: Any) -> bool:
    """True if a worker moves what it holds to disk when memory is short."""
    return not isinstance(dask_worker.data, dict)
