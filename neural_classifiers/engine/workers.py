"""Worker processes, for trainings and batches of rows: each to its own, within the machine's cores.

A Prefect task in a thread costs 5 ms and passes everything on; a training wants a process of its
own (two Keras trainings in one process lose their seeds' reproducibility silently), and rows are
worked in Python, on one core a process. So tasks run in threads and what is heavy in here. Workers
are spawned, kept for the next step, die with the process that started them (even by kill -9), and
can be killed alone when a step passes its time limit. What they write to standard error (TensorFlow
alone writes a dozen lines when it starts) goes to a log, whose end is in the error if it dies.
"""

import atexit
import contextlib
import multiprocessing
import os
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import psutil

T = TypeVar("T")

POLL_S = 0.1
# each read once, when its library loads
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")


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
    function: Callable[..., Any],
    *args: Any,
    threads: int = 1,
    timeout_s: float | None = None,
    attempts: int = 1,
    on_start: Callable[[], None] = lambda: None,
    meanwhile: Callable[[], None] = lambda: None,
) -> Answer:
    """What a function returns from a worker process.

    Parameters
    ----------
    function : callable
        Importable by module and name; it and its arguments are passed by multiprocessing.
    threads : int
        Threads that the function uses, whatever the machine. As many cores are taken while it
        runs, all where there are fewer, so that steps side by side never use more than there are.
    timeout_s : float, optional
        Seconds from its start; then the worker is killed.
    attempts : int
        Workers that may die over it before that is an error. For a function that goes on
        where a dead worker stopped.
    on_start : callable, optional
        Called once the cores are there.
    meanwhile : callable, optional
        Called again and again while the function runs, some times a second.

    Raises
    ------
    StepTimeoutError
    WorkerDiedError
    Exception
        Whatever the function raises; a RuntimeError in its words if it cannot be passed on.
    """

    def attempt() -> Answer:
        with _cores_taken(min(threads, cores())), _worker(threads) as (executor, process, log):
            on_start()
            started, peak = time.monotonic(), 0
            try:
                future = executor.submit(_answer, function, *args)
                while not future.done():
                    peak = max(peak, _rss(process))
                    if timeout_s is not None and time.monotonic() - started > timeout_s:
                        raise StepTimeoutError(f"expected an end within {timeout_s:g} s, got none")
                    meanwhile()
                    futures.wait([future], POLL_S)
                return Answer(future.result(), time.monotonic() - started, peak / 1e6)
            except BrokenProcessPool:
                raise WorkerDiedError(
                    "expected an answer from a worker process, got its death (killed, out of "
                    f"memory or a crash in a library); the last it wrote: {_end_of(log)}"
                ) from None

    for left in reversed(range(attempts)):
        try:
            return attempt()
        except WorkerDiedError:
            if not left:
                raise
    raise ValueError(f"expected at least 1 attempt, got {attempts}")


def in_order(
    function: Callable[..., T], calls: Iterable[tuple[Any, ...]], n_workers: int
) -> Iterator[T]:
    """What a function returns for each tuple of arguments, in their order.

    Parameters
    ----------
    function : callable
        As for `run`.
    calls : iterable of tuple
        Taken as they are needed: at most two a worker are under way.
    n_workers : int
        Processes; 0: this one.
    """
    if n_workers < 1:
        yield from (function(*arguments) for arguments in calls)
        return
    waiting: deque[futures.Future[Answer]] = deque()
    with futures.ThreadPoolExecutor(n_workers) as threads:  # each waits for a worker process
        try:
            for arguments in calls:
                waiting.append(threads.submit(run, function, *arguments))
                if len(waiting) > 2 * n_workers:
                    yield waiting.popleft().result().value
            while waiting:
                yield waiting.popleft().result().value
        finally:
            threads.shutdown(wait=False, cancel_futures=True)


def _answer(function: Callable[..., Any], *args: Any) -> Any:
    """In the worker: what a function returns; an error that cannot be pickled rises in words."""
    try:
        return function(*args)
    except Exception as error:
        try:
            ForkingPickler.loads(ForkingPickler.dumps(error))
        except Exception:
            raise RuntimeError(f"{type(error).__name__}: {error}") from error
        raise


def busy_rss() -> int:
    """Bytes of memory that the workers at work now hold."""
    with _idle_lock:
        processes = [worker.process for worker in _busy]
    return sum(map(_rss, processes))


def _rss(process: psutil.Process) -> int:
    try:
        return process.memory_info().rss
    except psutil.Error:  # it has just ended
        return 0


class _Worker(NamedTuple):
    """An executor of one process, and the file of what it writes to standard error."""

    executor: ProcessPoolExecutor
    process: psutil.Process
    log: Path


_free_cores = cores()
_cores_changed = threading.Condition()
_idle: dict[int, list[_Worker]] = {}  # by their number of threads
_busy: list[_Worker] = []
_idle_lock = threading.Lock()  # of both lists


@contextlib.contextmanager
def _cores_taken(n: int) -> Iterator[None]:
    global _free_cores  # noqa: PLW0603 (machinery: decides no result)
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
def _worker(threads: int) -> Iterator[_Worker]:
    """A worker that serves again, unless it is late or died."""
    worker = _take_idle(threads) or _start(threads)
    with _idle_lock:
        _busy.append(worker)
    is_fit = True
    try:
        yield worker
    except (StepTimeoutError, WorkerDiedError, KeyboardInterrupt):
        is_fit = False
        raise
    finally:
        with _idle_lock:
            _busy.remove(worker)
            if is_fit:
                _idle[threads].append(worker)
        if not is_fit:
            _end(worker)


def _take_idle(threads: int) -> _Worker | None:
    """A worker that waits, if there is one; those that have died meanwhile are cleared away."""
    with _idle_lock:
        ready = _idle.setdefault(threads, [])
        while ready:
            worker = ready.pop()
            with contextlib.suppress(psutil.NoSuchProcess):
                if worker.process.status() != psutil.STATUS_ZOMBIE:
                    return worker
            _end(worker)
    return None


def _start(threads: int) -> _Worker:
    handle, path = tempfile.mkstemp(prefix="worker-", suffix=".log")
    os.close(handle)
    context = multiprocessing.get_context("spawn")
    executor = ProcessPoolExecutor(1, context, initializer=_begin, initargs=(threads, path))
    return _Worker(executor, psutil.Process(executor.submit(os.getpid).result()), Path(path))


def _end(worker: _Worker) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        worker.process.kill()
    worker.executor.shutdown(wait=False, cancel_futures=True)
    worker.log.unlink(missing_ok=True)


def _end_of(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return " | ".join(lines[-5:]) or "nothing"


@atexit.register
def _end_idle() -> None:
    for workers in _idle.values():
        for worker in workers:
            worker.executor.shutdown()
            worker.log.unlink(missing_ok=True)


def _begin(threads: int, log: str) -> None:
    """In a new worker, before any library loads: its threads, its log, its end."""
    os.environ.update(dict.fromkeys(_THREADS, str(threads)))
    os.environ["TF_NUM_INTEROP_THREADS"] = "1"  # one operation after another: `arrays.threads`
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
    os.environ["ARROW_DEFAULT_MEMORY_POOL"] = "system"  # the default one holds 40 to 80 MB more
    handle = os.open(log, os.O_WRONLY | os.O_APPEND)
    os.dup2(handle, 2)
    os.close(handle)
    threading.Thread(target=_end_with_parent, args=(log,), daemon=True).start()


def _end_with_parent(log: str) -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        Path(log).unlink(missing_ok=True)
        os._exit(1)
