"""A search with several workers: threads, processes of this machine, or a Dask cluster.

One worker a core, each held to its share of the threads. A worker takes one training at a time,
the longest that is left (as other folds have shown it); what precedes the last step is computed
once a fold and shared. Every fit comes back as soon as it is finished and is stored here, so
that a kill costs the fits under way and the store may be any mapping. A worker that dies costs
its training only, which is made again by another.

Threads suit estimators that leave Python's lock alone, never Keras. Processes are spawned: call
`fit` below ``if __name__ == "__main__":``, since they import the calling script again.
"""

import contextlib
import multiprocessing
import os
import threading
from collections import Counter
from collections.abc import Callable, Collection
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol

from threadpoolctl import threadpool_limits

from neural_classifiers.search.fits import FinishedFit, Ledger, Share, make_features, missing_jobs
from neural_classifiers.search.plan import SearchPlan, Store
from neural_classifiers.search.shared import Handle, SharedValues
from neural_classifiers.search.training import Features, Job, train

__all__ = ["ATTEMPTS", "WorkersDiedError", "fit"]

ATTEMPTS = 3  # workers that may die over the same training before it is given up
GROWTH_MB = 500.0

Keep = Callable[[int, bytes], None]


class WorkersDiedError(RuntimeError):
    """Several workers died over the same training; all others were made."""


class _DiedError(Exception):
    """A worker died, or ran out of memory."""


def fit(
    plan: SearchPlan,
    store: Store,
    *,
    workers: str = "processes",
    n_workers: int | None = None,
    threads: int = 1,
    folds: Collection[int] | None = None,
    on_fit: Callable[[FinishedFit], None] | None = None,
    growth_mb: float = GROWTH_MB,
) -> Share:
    """Make the missing fits of a search, several at a time.

    Parameters
    ----------
    plan : SearchPlan
    store : mutable mapping of str to bytes
        As for `search.fit_share`; written by this process alone, one fit at a time.
    workers : str
        ``"processes"``, ``"threads"``, or the address of a Dask scheduler
        (``"tcp://host:8786"``) whose workers have one thread each, this package and no
        spilling to disk, which would be pickles: ``dask worker --nthreads 1 --memory-limit 0``.
    n_workers : int, optional
        By default the cores that this process may use, divided by `threads`; with Dask all
        workers that there are.
    threads : int
        Threads that each worker may use inside. They decide the last bits of some estimators.
    folds : collection of int, optional
        These folds only.
    on_fit : callable, optional
        Told of every fit once it is stored; never by two threads at once.
    growth_mb : float
        A worker process that has grown by more since its first training is replaced.

    Returns
    -------
    Share

    Raises
    ------
    ValueError
        Workers of an unknown kind or number; Keras in threads; Dask workers of several threads
        or that spill.
    WorkersDiedError
        If `ATTEMPTS` workers died over one training. All other fits are in the store.
    Exception
        Whatever the store or `on_fit` raises.
    """
    jobs, found = missing_jobs(plan, store, folds)
    crew = _crew(workers, n_workers, threads, growth_mb, jobs)
    with crew as members:
        ledger = Ledger(plan, store, jobs, found, on_fit, len(members))
        _Search(plan, ledger, jobs, crew).run(members)
    return ledger.share


class _Worker(Protocol):
    """One that makes one training at a time."""

    def make(self, job: Job, features: Any, keep: Keep) -> None:
        """Make a training; raises _DiedError where the worker died."""

    def stop(self) -> None:
        """Give up what is being made, from another thread."""


class _Crew(Protocol):
    """Workers of one kind, and how features reach them."""

    def __enter__(self) -> "list[_Worker]": ...

    def __exit__(self, *error: object) -> None: ...

    def share(self, features: Features) -> Any:
        """Features in the form in which `_Worker.make` takes them."""

    def release(self, shared: Any) -> None:
        """No training will ask for them again."""


def _crew(
    workers: str, n_workers: int | None, threads: int, growth_mb: float, jobs: list[Job]
) -> _Crew:
    if threads < 1 or (n_workers is not None and n_workers < 1):
        raise ValueError(
            f"expected at least 1 worker of at least 1 thread, got {n_workers} of {threads}"
        )
    is_local = workers in ("threads", "processes")
    if not is_local and "://" not in workers:
        raise ValueError(
            "workers: expected 'threads', 'processes' or the address of a Dask scheduler such "
            f"as 'tcp://127.0.0.1:8786', got {workers!r}"
        )
    if not is_local:
        return _DaskCrew(workers, n_workers, threads)
    n_workers = n_workers or max(1, cores() // threads)
    n_workers = max(1, min(n_workers, len(jobs)))
    if workers == "processes":
        return _ProcessCrew(n_workers, threads, growth_mb)
    if n_workers > 1 and any(_is_keras(job.final) for job in jobs):
        raise ValueError(
            "workers: expected 'processes' or Dask for Keras, got 'threads': trainings side by "
            "side in one process silently stop being reproducible"
        )
    return _ThreadCrew(n_workers, threads)


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _is_keras(estimator: Any) -> bool:
    return any(
        kind.__module__.split(".")[0] in ("scikeras", "keras") for kind in type(estimator).__mro__
    )


class _Search:
    """The trainings that wait, and a thread here for each worker, which waits for it."""

    def __init__(self, plan: SearchPlan, ledger: Ledger, jobs: list[Job], crew: _Crew) -> None:
        self._plan, self._ledger, self._crew = plan, ledger, crew
        self._waiting = list(jobs)
        self._busy = 0
        self._begun: set[int] = set()  # trainings of which a fold has begun
        self._deaths: Counter[tuple[int, int]] = Counter()
        self._given_up: list[tuple[Job, str]] = []
        self._error: BaseException | None = None
        self._changed = threading.Condition(threading.RLock())
        self._features = _SharedFeatures(plan, crew, jobs)

    def run(self, members: "list[_Worker]") -> None:
        """Until nothing waits; raises what went wrong."""
        threads = [threading.Thread(target=self._serve, args=(member,)) for member in members]
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        except BaseException as error:  # KeyboardInterrupt, mostly
            with self._changed:
                self._error = error
                self._changed.notify_all()
            for member in members:
                member.stop()
            for thread in threads:
                thread.join()
        finally:
            self._features.release_all()
        if self._error is not None:
            raise self._error
        if self._given_up:
            job, words = self._given_up[0]
            candidate = self._plan.candidates[min(job.stages.values())]
            raise WorkersDiedError(
                f"{ATTEMPTS} workers died over each of {len(self._given_up)} trainings, the first "
                f"{candidate} on fold {job.fold}: {words}. All other fits are in the store"
            )

    def _serve(self, member: "_Worker") -> None:
        while (job := self._take()) is not None:
            try:
                self._make(member, job)
            except _DiedError as error:
                self._give_back(job, str(error))
            except BaseException as error:
                with self._changed:
                    self._error = self._error or error
                    self._changed.notify_all()
            finally:
                with self._changed:
                    self._busy -= 1
                    self._changed.notify_all()

    def _make(self, member: "_Worker", job: Job) -> None:
        try:
            features = self._features.of(job)
        except MemoryError:
            raise
        except Exception as error:
            with self._changed:
                self._ledger.fail(job, error)
            return

        def keep(candidate: int, content: bytes) -> None:
            with self._changed:
                if self._error is None:
                    self._ledger.keep(job, candidate, content)
                    kept.add(candidate)

        kept: set[int] = set()
        try:
            member.make(job, features, keep)
        except _DiedError:  # what was kept before it died stays
            for stage in [stage for stage, candidate in job.stages.items() if candidate in kept]:
                del job.stages[stage]
            if job.stages:
                raise
        with self._changed:
            if self._error is None:
                self._ledger.end(job)
        self._features.done_with(job)

    def _take(self) -> Job | None:
        """The next training; waits while one under way may come back."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or not self._busy or self._error)
            if self._error is not None or not self._waiting:
                return None
            job = self._next()
            self._waiting.remove(job)
            self._begun.add(job.training)
            self._ledger.begin(job)
            self._busy += 1
            return job

    def _next(self) -> Job:
        """One that no fold has shown yet, else the longest; alike transformers together."""
        transformers = self._waiting[0].needs[0]
        together = [job for job in self._waiting if job.needs[0] == transformers]
        seconds = {job.training: self._ledger.expected_seconds(job.training) for job in together}
        for job in together:
            if job.training not in self._begun and seconds[job.training] is None:
                return job
        return max(together, key=lambda job: seconds[job.training] or 0.0)

    def _give_back(self, job: Job, words: str) -> None:
        with self._changed:
            self._ledger.give_back(job)
            place = job.training, job.fold
            self._deaths[place] += 1
            if self._deaths[place] < ATTEMPTS:
                self._waiting.insert(0, job)
            else:
                self._given_up.append((job, words))


class _SharedFeatures:
    """Features of each fold: computed once, here, and given back after their last training."""

    def __init__(self, plan: SearchPlan, crew: _Crew, jobs: list[Job]) -> None:
        self._plan, self._crew = plan, crew
        self._left = Counter(job.needs for job in jobs)
        self._locks = {needs: threading.Lock() for needs in self._left}
        self._shared: dict[Any, Any] = {}

    def of(self, job: Job) -> Any:
        """Features of a job, as its worker takes them."""
        with self._locks[job.needs]:
            if job.needs not in self._shared:
                made = make_features(self._plan, job)
                self._shared[job.needs] = self._crew.share(made)
            return self._shared[job.needs]

    def done_with(self, job: Job) -> None:
        """One training fewer will ask."""
        with self._locks[job.needs]:
            self._left[job.needs] -= 1
            if not self._left[job.needs]:
                self._crew.release(self._shared.pop(job.needs))

    def release_all(self) -> None:
        """Nobody will ask again."""
        while self._shared:
            self._crew.release(self._shared.popitem()[1])


# --- threads --------------------------------------------------------------------------------


class _ThreadCrew:
    def __init__(self, n_workers: int, threads: int) -> None:
        self._n_workers, self._threads = n_workers, threads
        self._limits = contextlib.ExitStack()

    def __enter__(self) -> "list[_Worker]":
        self._limits.enter_context(threadpool_limits(self._threads))
        return [_ThreadWorker() for _ in range(self._n_workers)]

    def __exit__(self, *error: object) -> None:
        self._limits.close()

    def share(self, features: Features) -> Features:
        return features

    def release(self, shared: Features) -> None:
        pass


class _ThreadWorker:
    def make(self, job: Job, features: Features, keep: Keep) -> None:
        train(job.final, job.stages, features, keep)

    def stop(self) -> None:
        """A thread ends with its training."""


# --- processes ------------------------------------------------------------------------------


class _ProcessCrew:
    def __init__(self, n_workers: int, threads: int, growth_mb: float) -> None:
        self._members = [_ProcessWorker(threads, growth_mb) for _ in range(n_workers)]

    def __enter__(self) -> "list[_Worker]":
        return list(self._members)

    def __exit__(self, *error: object) -> None:
        for member in self._members:
            member.stop()

    def share(self, features: Features) -> SharedValues:
        return SharedValues(features)

    def release(self, shared: SharedValues) -> None:
        shared.release()


class _ProcessWorker:
    """A spawned process, which is replaced when it dies or has grown."""

    def __init__(self, threads: int, growth_mb: float) -> None:
        self._threads, self._growth_mb = threads, growth_mb
        self._process: Any = None
        self._pipe: Any = None
        self._first_mb: float | None = None

    def make(self, job: Job, features: SharedValues, keep: Keep) -> None:
        if self._process is None:
            self._start()
        try:
            self._pipe.send((job.final, job.stages, features.handle))
            while not isinstance(message := self._pipe.recv(), float):
                if isinstance(message, str):
                    self.stop()
                    raise _DiedError(message)
                keep(*message)
        except (EOFError, BrokenPipeError, ConnectionResetError):
            self._process.join()
            code = self._process.exitcode
            self._process = None
            raise _DiedError(f"a worker process ended with exit code {code}") from None
        except BaseException:
            self.stop()
            raise
        self._first_mb = self._first_mb or message
        if message - self._first_mb > self._growth_mb:
            self.stop()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(other, self._threads))
        self._process.start()
        other.close()
        self._first_mb = None

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.join()


def _serve(pipe: Connection, threads: int) -> None:
    """In a worker process: make what is asked for until the parent is gone."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import psutil

    while True:
        try:
            final, stages, handle = pipe.recv()
            _train_limited(final, stages, handle, threads, lambda *kept: pipe.send(kept))
        except EOFError:
            return
        except MemoryError as error:
            pipe.send(f"MemoryError: {error}")
            return
        pipe.send(psutil.Process().memory_info().rss / 1e6)


def _train_limited(
    final: Any, stages: Any, features: Handle | Features, threads: int, keep: Keep
) -> None:
    if hasattr(final, "limit_threads"):  # TensorFlow takes no notice of threadpoolctl
        final.limit_threads(threads)
    with threadpool_limits(threads):
        values = features.read() if isinstance(features, Handle) else features
        train(final, stages, Features(*values), keep)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


# --- Dask -----------------------------------------------------------------------------------


class _DaskCrew:
    """A slot for each worker of a cluster; which of them makes a training Dask decides."""

    def __init__(self, address: str, n_workers: int | None, threads: int) -> None:
        self._address, self._n_workers, self._threads = address, n_workers, threads

    def __enter__(self) -> "list[_Worker]":
        from distributed import Client

        self._client = Client(self._address, set_as_default=False)
        self._client.wait_for_workers(self._n_workers or 1)
        threads = self._client.nthreads()
        several = {name: n for name, n in threads.items() if n > 1}
        spilling = [name for name, spills in self._client.run(_spills).items() if spills]
        if several or spilling:
            self._client.close()
            raise ValueError(
                "expected Dask workers of one thread each that write no pickles to disk (dask "
                f"worker --nthreads 1 --memory-limit 0), got threads {several}, spilling {spilling}"
            )
        return [
            _DaskWorker(self._client, self._threads) for _ in range(self._n_workers or len(threads))
        ]

    def __exit__(self, *error: object) -> None:
        self._client.close()

    def share(self, features: Features) -> Any:
        # Not scattered: what is scattered is lost with the worker that holds it. The outcome
        # of a task is made again.
        return self._client.submit(_held, features, pure=False)

    def release(self, shared: Any) -> None:
        shared.release()


class _DaskWorker:
    def __init__(self, client: Any, threads: int) -> None:
        self._client, self._threads = client, threads
        self._future: Any = None

    def make(self, job: Job, features: Any, keep: Keep) -> None:
        from distributed import KilledWorker
        from distributed.client import FutureCancelledError

        self._future = self._client.submit(
            _train_far, job.final, job.stages, features, self._threads, pure=False
        )
        try:
            for kept in self._future.result():
                keep(*kept)
        except (KilledWorker, FutureCancelledError, MemoryError) as error:
            raise _DiedError(f"{type(error).__name__}: {error}") from None
        finally:
            self._future = None

    def stop(self) -> None:
        if (future := self._future) is not None:
            future.cancel()


def _spills(dask_worker: Any) -> bool:
    """Whether a worker moves what it holds to disk when memory is short."""
    return not isinstance(dask_worker.data, dict)


def _held(features: Features) -> Features:
    return features


def _train_far(final: Any, stages: Any, features: Features, threads: int) -> list[Any]:
    kept: list[Any] = []
    _train_limited(final, stages, features, threads, lambda *one: kept.append(one))
    return kept
