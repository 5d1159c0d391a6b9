"""The fits that a plan asks for: what is missing, made share by share, each kept at once."""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from neural_classifiers.search.answers import Outcome, decode, encode
from neural_classifiers.search.plan import (
    SearchPlan,
    Store,
    _last_step,
    _rows,
    _transformers_identity,
)
from neural_classifiers.search.results import _score
from neural_classifiers.search.training import Features, Job, train


@dataclass(frozen=True)
class Progress:
    """How far a search is, or a share of it.

    Attributes
    ----------
    done, total : int
        Distinct fits, those found in the store included.
    best_score, best_parameters : float and dict, or None
        The best mean over the folds among the candidates that are through all of them; None
        while there is none.
    seconds_left : float or None
        What the fits left took on other folds, on average, else what a training took so
        far, divided among the workers; None before the first.
    """

    done: int
    total: int
    best_score: float | None
    best_parameters: dict[str, Any] | None
    seconds_left: float | None


@dataclass(frozen=True)
class FinishedFit:
    """One fit that has just been made and stored.

    `scores` has one value per scorer, nan where it failed; `error` is ``""`` mostly.
    """

    candidate: int
    fold: int
    parameters: dict[str, Any]
    scores: dict[str, float]
    seconds: float
    error: str
    progress: Progress


@dataclass(frozen=True)
class Share:
    """What `fit_share` did: fits made and fits found in the store; trainings it took."""

    executed: int = 0
    found: int = 0
    trainings: int = 0


def fit_share(
    plan: SearchPlan,
    store: Store,
    *,
    folds: Collection[int] | None = None,
    trainings: Collection[int] | None = None,
    on_fit: Callable[[FinishedFit], None] | None = None,
) -> Share:
    """Make the missing fits of a share here, each in the store as soon as it is finished.

    `search.parallel.fit` does the same with several workers.

    Parameters
    ----------
    plan : SearchPlan
    store : mutable mapping of str to bytes
        Where fits are found and kept. Shares may use one store at the same time; the same
        fit made twice is stored twice, with equal content but for its times.
    folds, trainings : collection of int, optional
        The share: these folds of these ``plan.trainings``; all of them by default.
    on_fit : callable, optional
        Told of every fit once it is stored.

    Returns
    -------
    Share
        Counts of distinct fits: ``executed + found`` is the size of the share.

    Notes
    -----
    A candidate that raises is stored with its error and scores nan, as with
    ``error_score``; delete its key to have it tried again. MemoryError is the machine's
    fault and rises, as does whatever the store or `on_fit` raises.
    """
    jobs, found = missing_jobs(plan, store, folds, trainings)
    ledger = Ledger(plan, store, jobs, found, on_fit)
    last: tuple[tuple[str | None, int], Features] | None = None
    for job in jobs:
        ledger.begin(job)
        if last is None or last[0] != job.needs:
            try:
                last = job.needs, make_features(plan, job)
            except MemoryError:
                raise
            except Exception as error:
                ledger.fail(job, error)
                continue
        train(job.final, job.stages, last[1], lambda *kept, job=job: ledger.keep(job, *kept))
        ledger.end(job)
    return ledger.share


def missing_jobs(
    plan: SearchPlan,
    store: Mapping[str, bytes],
    folds: Collection[int] | None = None,
    trainings: Collection[int] | None = None,
) -> tuple[list[Job], dict[tuple[int, int], Outcome]]:
    """The trainings of a share with fits that the store lacks, and the fits that it holds."""
    folds = range(len(plan.folds)) if folds is None else folds
    trainings = range(len(plan.trainings)) if trainings is None else trainings
    jobs, found = [], {}
    for fold in folds:
        for number in trainings:
            stages = {}
            for candidate in plan.trainings[number]:
                outcome = decode(store.get(plan.key(candidate, fold)))
                if outcome is None:
                    stages[plan.stages[candidate]] = candidate
                else:
                    found[candidate, fold] = outcome
            if stages:
                estimator = plan.build(next(iter(stages.values())))
                needs = _transformers_identity(estimator), fold
                jobs.append(Job(number, fold, stages, _last_step(estimator), needs))
    return jobs, found


def make_features(plan: SearchPlan, job: Job) -> Features:
    """What the steps before the last one make of the fold of a job."""
    train_rows, held_out = plan.folds[job.fold][0], plan.held_out(job.fold)[0]
    y_train = plan.y[train_rows]
    X_train = _rows(plan.X, train_rows)
    if job.needs[0] is None:
        return Features(X_train, y_train, held_out)
    transformers = plan.build(next(iter(job.stages.values())))[:-1]
    return Features(
        transformers.fit_transform(X_train, y_train), y_train, transformers.transform(held_out)
    )


class Ledger:
    """Keeps finished fits in the store, counts them, and tells of them.

    Not to be used by two threads at once.
    """

    def __init__(
        self,
        plan: SearchPlan,
        store: Store,
        jobs: Sequence[Job],
        found: Mapping[tuple[int, int], Outcome],
        on_fit: Callable[[FinishedFit], None] | None,
        n_workers: int = 1,
    ) -> None:
        self.plan, self.store, self.on_fit, self.n_workers = plan, store, on_fit, n_workers
        self.share = Share(found=len(found))
        self._n_fits = len(found) + sum(len(job.stages) for job in jobs)
        self._n_shares = len({fold for _, fold in found} | {job.fold for job in jobs})
        self._waiting = {(job.training, job.fold): job for job in jobs}
        self._begun: dict[tuple[int, int], float] = {}
        self._seconds: dict[int, list[float]] = {}  # of a training, by its number
        self._scores: dict[int, list[float]] = {}
        numbers = {c: number for number, group in enumerate(plan.trainings) for c in group}
        longest: dict[tuple[int, int], float] = {}
        for (candidate, fold), outcome in found.items():
            place = numbers[candidate], fold
            longest[place] = max(longest.get(place, 0.0), outcome.fit_seconds)
            if on_fit is not None:
                self._note_score(candidate, _score(plan, outcome, fold)[0])
        for (number, _), seconds in longest.items():
            self._seconds.setdefault(number, []).append(seconds)

    def expected_seconds(self, training: int) -> float | None:
        """What the training took on other folds; None before the first."""
        known = self._seconds.get(training)
        return None if not known else sum(known) / len(known)

    def begin(self, job: Job) -> None:
        """A worker has taken a job."""
        self._begun[job.training, job.fold] = time.monotonic()

    def keep(self, job: Job, candidate: int, content: bytes) -> None:
        """Store one fit of a job; tell of it."""
        self.store[self.plan.key(candidate, job.fold)] = content
        self.share = replace(self.share, executed=self.share.executed + 1)
        if self.on_fit is None:
            return
        outcome = decode(content)
        assert outcome is not None
        scores, error = _score(self.plan, outcome, job.fold)
        self._note_score(candidate, scores)
        self.on_fit(
            FinishedFit(
                candidate=candidate,
                fold=job.fold,
                parameters=self.plan.candidates[candidate],
                scores=scores,
                seconds=outcome.fit_seconds,
                error=error,
                progress=self.progress(),
            )
        )

    def end(self, job: Job) -> None:
        """All fits of a job are kept."""
        place = job.training, job.fold
        del self._waiting[place]
        self._seconds.setdefault(job.training, []).append(time.monotonic() - self._begun.pop(place))
        self.share = replace(self.share, trainings=self.share.trainings + 1)

    def fail(self, job: Job, error: Exception) -> None:
        """Store a job's fits as failed: what comes before the last step raised."""
        for candidate in job.stages.values():
            self.keep(job, candidate, encode(Outcome(error=f"{type(error).__name__}: {error}")))
        self.end(job)

    def give_back(self, job: Job) -> None:
        """A worker has not finished a job."""
        self._begun.pop((job.training, job.fold), None)

    def progress(self) -> Progress:
        """How far the share is."""
        means = {
            candidate: sum(scores) / len(scores)
            for candidate, scores in self._scores.items()
            if len(scores) == self._n_shares
        }
        best = max(means, key=lambda candidate: means[candidate], default=None)
        done = self.share.executed + self.share.found
        return Progress(
            done=done,
            total=self._n_fits,
            best_score=None if best is None else means[best],
            best_parameters=None if best is None else self.plan.candidates[best],
            seconds_left=self._seconds_left() if done < self._n_fits else 0.0,
        )

    def _seconds_left(self) -> float | None:
        means = {number: sum(s) / len(s) for number, s in self._seconds.items()}
        if not means:
            return None
        typical = sum(means.values()) / len(means)
        now, left = time.monotonic(), 0.0
        for place in self._waiting:
            expected = means.get(place[0], typical)
            left += max(0.0, expected - (now - self._begun.get(place, now)))
        return left / min(self.n_workers, max(1, len(self._waiting)))

    def _note_score(self, candidate: int, scores: Mapping[str, float]) -> None:
        chosen = self.plan.refit if isinstance(self.plan.refit, str) else "score"
        value = scores.get(chosen, next(iter(scores.values())))
        if not np.isnan(value):
            self._scores.setdefault(candidate, []).append(value)
