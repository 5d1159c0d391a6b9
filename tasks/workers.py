"""Worker processes for the steps that train: each to its own, within the cores of the machine.

A Prefect task in a thread costs 5 ms and passes everything on; a training wants a process of its
own (two Keras trainings in one process lose their seeds' reproducibility silently). So tasks run
in threads and the bodies of heavy steps in here. Workers are spawned, kept for the next step, die
with the process that started them (even by kill -9), and can be killed alone when a step passes
its time limit.
"""

import atexit
import contextlib
import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from typing import Any, NamedTuple

import psutil

POLL_S = 0.1
_THREAD_SETTINGS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class StepTimeoutError(TimeoutError):
    """A step passed its time limit; its worker was killed."""


class WorkerDiedError(RuntimeError):
    """A worker process ended without an answer (killed, out of memory, a crash in a library)."""


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Answer(NamedTuple):
    """What a function returned, and what it took in its worker.

    `seconds` counts from its start, not from the wait for free cores; `peak_rss_mb` is the most
    memory that the worker process was seen to hold.
    """

    value: Any
    seconds: float
    peak_rss_mb: float


def run(
    function: Callable[..., Any], *args: Any, threads: int = 1, timeout_s: float | None = None
) -> Answer:
    """What a function returns from a worker process.

    Parameters
    ----------
    function : callable
        Importable by module and name; it and its arguments are passed by multiprocessing.
    threads : int
        Threads that the function may use; as many cores are taken while it runs, so that
        steps side by side never use more than the machine has.
    timeout_s : float, optional
        Seconds from its start; then the worker is killed.

    Raises
    ------
    StepTimeoutError
    WorkerDiedError
    Exception
        Whatever the function raises.
    """
    threads = min(threads, cores())
    with _cores_taken(threads), _worker(threads) as (executor, process):
        future = executor.submit(function, *args)
        started, peak = time.monotonic(), 0
        while not future.done():
            with contextlib.suppress(psutil.Error):
                peak = max(peak, process.memory_info().rss)
            if timeout_s is not None and time.monotonic() - started > timeout_s:
                raise StepTimeoutError(f"expected an end within {timeout_s:g} s, got none")
            wait_s = POLL_S if time.monotonic() - started > 1 else POLL_S / 10
            threading.Event().wait(wait_s)
        try:
            return Answer(future.result(), time.monotonic() - started, peak / 1e6)
        except BrokenProcessPool:
            raise WorkerDiedError(
                "expected an answer from a worker process, got its death (killed, out of memory "
                "or a crash in a library)"
            ) from None


_free_cores = cores()
_cores_changed = threading.Condition()
_idle: dict[int, list[ProcessPoolExecutor]] = {}
_idle_lock = threading.Lock()


@contextlib.contextmanager
def _cores_taken(n: int) -> Iterator[None]:
    global _free_cores
    with _cores_changed:
        _cores_changed.wait_for(lambda: _free_cores >= n)
        _free_cores -= n
    try:
        yield
    finally:
        with _cores_changed:
            _free_cores += n
            _cores_changed.notify_all()


@contextlib.contextmanager
def _worker(threads: int) -> Iterator[tuple[ProcessPoolExecutor, psutil.Process]]:
    """An executor of one process; given back when all went well, killed otherwise."""
    with _idle_lock:
        ready = _idle.setdefault(threads, [])
        executor = ready.pop() if ready else None
    if executor is None:
        executor = ProcessPoolExecutor(
            1, multiprocessing.get_context("spawn"), initializer=_begin, initargs=(threads,)
        )
    try:
        pid = executor.submit(os.getpid).result()
        yield executor, psutil.Process(pid)
    except (StepTimeoutError, WorkerDiedError, BrokenProcessPool, KeyboardInterrupt):
        _kill(executor)
        raise
    except BaseException:
        _give_back(threads, executor)
        raise
    _give_back(threads, executor)


def _give_back(threads: int, executor: ProcessPoolExecutor) -> None:
    with _idle_lock:
        _idle[threads].append(executor)


def _kill(executor: ProcessPoolExecutor) -> None:
    for process in list((getattr(executor, "_processes", None) or {}).values()):
        process.kill()
    executor.shutdown(wait=False, cancel_futures=True)


@atexit.register
def stop_all() -> None:
    """End the idle workers; called when the process exits."""
    with _idle_lock:
        for executors in _idle.values():
            for executor in executors:
                executor.shutdown(wait=False, cancel_futures=True)
            executors.clear()


def _begin(threads: int) -> None:
    """In a new worker, before any library loads: its threads, and its end with its parent."""
    os.environ.update(dict.fromkeys(_THREAD_SETTINGS, str(threads)))
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
