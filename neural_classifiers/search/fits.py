"""Fits that a plan asks for: those that the store lacks, made here or by workers.

With an executor (`search.executors` has two) a worker takes one training at a time, the longest
that is left, as other folds have shown it. What precedes the last step is computed here, once a
fold. Fits are stored here as their training ends, so the store may be any mapping and a kill
costs the trainings under way. Without an executor each epoch count is stored as it is passed.
"""

import functools
import math
import os
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    ThreadPoolExecutor,
    wait,
)
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from neural_classifiers.search import answers
from neural_classifiers.search.answers import FitAnswer, decode
from neural_classifiers.search.plan import (
    SearchPlan,
    Store,
    last_step,
    select_rows,
    transformers_identity,
)
from neural_classifiers.search.training import (
    Features,
    Training,
    failure,
    run_limited,
    run_training,
)


@dataclass
class FitCounts:
    """Fits made, fits that the store already had, and the trainings that it took."""

    executed: int = 0
    stored: int = 0
    trainings: int = 0


class FinishedFit(NamedTuple):
    """How far a fit that has just been stored brings the search.

    Attributes
    ----------
    done, total : int
        Distinct fits of the folds asked for, those that the store already had included.
    best_score : float or None
        The best mean among the candidates that are through all these folds; None while there
        is none.
    """

    done: int
    total: int
    best_score: float | None


class WorkersLostError(RuntimeError):
    """Workers died, or their executor was stopped."""


def fit(
    plan: SearchPlan,
    store: Store,
    executor: Executor | None = None,
    *,
    n_workers: int | None = None,
    folds: Collection[int] | None = None,
    on_fit: Callable[[FinishedFit], None] | None = None,
) -> FitCounts:
    """Make the missing fits of a search, each in the store as soon as it is finished.

    Parameters
    ----------
    plan : SearchPlan
    store : mutable mapping of str to bytes
        Where fits are looked for and stored. Several calls may use one store at the same time; the
        same fit made twice is stored twice, with equal content but for its times.
    executor : Executor, optional
        Whose workers make the fits, with one thread each inside; they are made here without one.
        Threads suit estimators that leave Python's lock alone, never Keras.
    n_workers : int, optional
        Trainings that the executor is given at a time; by default the cores of this machine.
    folds : collection of int, optional
        These folds only, from 0.
    on_fit : callable, optional
        Called with every fit once it is stored.

    Returns
    -------
    FitCounts
        ``executed + stored`` is the number of distinct fits of the folds.

    Raises
    ------
    ValueError
        Fewer than one worker; Keras in several threads.
    WorkersLostError
        If a worker died. What was finished before is in the store.
    MemoryError
        The machine's fault, and not held against a candidate.
    Exception
        Of the store or of `on_fit`.

    Notes
    -----
    A candidate that raises is stored with its error and scores nan, as with ``error_score``;
    delete its key to have it tried again.
    """
    n_workers = n_workers if n_workers is not None else os.cpu_count() or 1
    if n_workers < 1:
        raise ValueError(f"expected at least 1 worker, got {n_workers}")
    trainings, stored = _missing(plan, store, range(len(plan.folds)) if folds is None else folds)
    ledger = _Ledger(plan, store, trainings, stored, on_fit)
    if executor is None:
        for training in trainings:
            if (features := ledger.features(training)) is not None:
                run_training(training, features, functools.partial(ledger.store, training.fold))
                ledger.counts.trainings += 1
        return ledger.counts
    in_threads = isinstance(executor, ThreadPoolExecutor) and n_workers > 1
    if in_threads and any(_is_keras(training.final) for training in trainings):
        raise ValueError(
            "executor: expected processes or Dask for Keras, got threads: trainings side by "
            "side in one process silently stop being reproducible"
        )
    with threadpool_limits(1):
        _fit_by(executor, n_workers, ledger, trainings)
    return ledger.counts


def _missing(
    plan: SearchPlan, store: Mapping[str, bytes], folds: Collection[int]
) -> tuple[list[Training], dict[tuple[int, int], FitAnswer]]:
    """Trainings with fits that the store lacks; fits that it has, by candidate and fold."""
    trainings, stored = [], {}
    for fold in folds:
        for number, candidates in enumerate(plan.trainings):
            stages = {}
            for candidate in candidates:
                answer = decode(store.get(plan.key(candidate, fold)))
                if answer is None:
                    stages[plan.stages[candidate]] = candidate
                else:
                    stored[candidate, fold] = answer
            if stages:
                estimator = plan.build(next(iter(stages.values())))
                features_of = transformers_identity(estimator), fold
                trainings.append(Training(number, fold, stages, last_step(estimator), features_of))
    return trainings, stored


def _features(plan: SearchPlan, training: Training) -> Features:
    """Output of the steps before the last one, for the fold of a training."""
    train_rows, held_out = plan.folds[training.fold][0], plan.held_out(training.fold)[0]
    X_train, y_train = select_rows(plan.X, train_rows), plan.y[train_rows]
    if training.features_of[0] is None:
        return Features(X_train, y_train, held_out)
    transformers = plan.build(next(iter(training.stages.values())))[:-1]
    return Features(
        transformers.fit_transform(X_train, y_train), y_train, transformers.transform(held_out)
    )


class _Ledger:
    """The store of a search, with its features, counts, scores and seconds."""

    def __init__(
        self,
        plan: SearchPlan,
        store: Store,
        trainings: Sequence[Training],
        stored: Mapping[tuple[int, int], FitAnswer],
        on_fit: Callable[[FinishedFit], None] | None,
    ) -> None:
        self.plan, self.counts = plan, FitCounts(stored=len(stored))
        self.seconds: dict[int, float] = {}  # of each training, on the fold where it took longest
        self._store, self._on_fit = store, on_fit
        self._features: dict[Any, Features] = {}
        self._uses = Counter(training.features_of for training in trainings)
        self._total = len(stored) + sum(len(training.stages) for training in trainings)
        self._n_folds = len({fold for _, fold in stored} | {t.fold for t in trainings})
        self._number = {c: n for n, group in enumerate(plan.trainings) for c in group}
        self._scores: dict[int, list[float]] = {}  # by candidate
        for (candidate, fold), answer in stored.items():
            self._note(candidate, fold, answer)

    def store(self, fold: int, candidate: int, content: bytes) -> None:
        """Store one fit and report it."""
        self._store[self.plan.key(candidate, fold)] = content
        self.counts.executed += 1
        answer = decode(content)
        assert answer is not None
        self._note(candidate, fold, answer)
        if self._on_fit is not None:
            means = [sum(s) / len(s) for s in self._scores.values() if len(s) == self._n_folds]
            done = self.counts.executed + self.counts.stored
            self._on_fit(FinishedFit(done, self._total, max(means, default=None)))

    def features(self, training: Training) -> Features | None:
        """Features of a training, computed for the first that needs them and held to the last.

        None where they failed, which then is what the training answers.
        """
        name = training.features_of
        self._uses[name] -= 1
        try:
            if name not in self._features:
                self._features[name] = _features(self.plan, training)
        except MemoryError:
            raise
        except Exception as error:
            for candidate in training.stages.values():
                self.store(training.fold, candidate, failure(error))
            self.counts.trainings += 1
            return None
        return self._features[name] if self._uses[name] else self._features.pop(name)

    def _note(self, candidate: int, fold: int, answer: FitAnswer) -> None:
        number = self._number[candidate]
        self.seconds[number] = max(self.seconds.get(number, 0.0), answer.fit_seconds)
        if self._on_fit is not None:
            held_out = self.plan.held_out(fold)
            score, _ = answers.score(answer, self.plan.scorer, self.plan.estimator, *held_out)
            if not np.isnan(score):
                self._scores.setdefault(candidate, []).append(score)


def _fit_by(
    executor: Executor,
    n_workers: int,
    ledger: _Ledger,
    trainings: Sequence[Training],
) -> None:
    waiting, begun = list(trainings), set[int]()
    running: dict[Future[list[tuple[int, bytes]]], Training] = {}
    try:
        while waiting or running:
            while waiting and len(running) < n_workers:
                training = _next(ledger, waiting, begun)
                waiting.remove(training)
                begun.add(training.number)
                if (features := ledger.features(training)) is not None:
                    try:
                        future = executor.submit(run_limited, training, features)
                    except RuntimeError as error:  # broken, or stopped
                        raise BrokenExecutor(str(error)) from error
                    running[future] = training
            done = wait(running, return_when=FIRST_COMPLETED).done
            for future in sorted(done, key=_has_failed):  # what went well is stored first
                _store(ledger, running.pop(future), future)
    except (BrokenExecutor, CancelledError) as error:
        for future, training in running.items():  # which had ended well before
            if future.done() and not _has_failed(future):
                _store(ledger, training, future)
        raise WorkersLostError(
            f"expected answers from the workers, got {type(error).__name__}: {error}. The "
            f"{ledger.counts.executed} fits that were finished are in the store: search again to "
            "make the others, with fewer workers if memory was short"
        ) from error
    finally:
        for future in running:
            future.cancel()


def _store(ledger: _Ledger, training: Training, future: Future[list[tuple[int, bytes]]]) -> None:
    for candidate, content in future.result():
        ledger.store(training.fold, candidate, content)
    ledger.counts.trainings += 1


def _next(ledger: _Ledger, waiting: Sequence[Training], begun: Collection[int]) -> Training:
    """One that no fold has shown yet, else the longest; alike transformers together."""
    transformers = waiting[0].features_of[0]

    def expected_s(training: Training) -> float:
        unseen = 0.0 if training.number in begun else math.inf
        return ledger.seconds.get(training.number, unseen)

    return max((t for t in waiting if t.features_of[0] == transformers), key=expected_s)


def _has_failed(future: Future[Any]) -> bool:
    return future.cancelled() or future.exception() is not None


def _is_keras(estimator: Any) -> bool:
    return any(
        kind.__module__.split(".")[0] in ("scikeras", "keras") for kind in type(estimator).__mro__
    )
