"""Training of one estimator on one fold, which answers for each candidate that it serves.

Runs in this process, in a thread, in a worker process or on another machine, and knows neither
the search nor its store.
"""

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from neural_classifiers.search.answers import FitAnswer, answer_of, encode


class Features(NamedTuple):
    """What the last step of a pipeline is fitted on and asked, in one fold."""

    X_train: Any
    y_train: np.ndarray
    X_held_out: Any


@dataclass(frozen=True, eq=False)
class Training:
    """A training of one fold that is still to be done.

    Attributes
    ----------
    number : int
        Its position in the plan's trainings.
    fold : int
    stages : dict of (int or None) to int
        Candidate by epoch count; one of None where the estimator has no stages.
    final : estimator
        Last step of the first candidate's estimator, unfitted.
    features_of : (str or None, int)
        Digest of the transformers before it (None without any) and fold: the same for trainings
        on the same features.
    """

    number: int
    fold: int
    stages: dict[int | None, int]
    final: Any
    features_of: tuple[str | None, int]


class _StoreError(BaseException):
    """An error of the store, which no `except Exception` of an estimator may swallow."""

    def __init__(self, error: Exception) -> None:
        self.error = error


def run_training(
    training: Training, features: Features, store: Callable[[int, bytes], None]
) -> None:
    """Fit once; store the answer of every stage as soon as it is passed.

    Parameters
    ----------
    training : Training
        Its estimator is fitted.
    features : Features
        Copied first, which takes milliseconds: an estimator may overwrite what it is given.
    store : callable
        Takes a candidate and its encoded answer, one of an error where the training fails.

    Raises
    ------
    MemoryError
        The machine's fault, and not held against the candidate.
    Exception
        Of `store`.
    """
    final, waiting = training.final, dict(training.stages)
    answering_s = 0.0

    def finish(stage: int | None) -> None:
        nonlocal answering_s
        fit_s = time.perf_counter() - started - answering_s
        content = encode(answer_of(final, X_held_out, fit_s))
        try:
            store(waiting.pop(stage), content)
        except Exception as error:
            raise _StoreError(error) from None
        answering_s = time.perf_counter() - started - fit_s

    try:
        X_train, y_train, X_held_out = copy.deepcopy(features)
        started = time.perf_counter()
        if None in training.stages:
            final.fit(X_train, y_train)
            finish(None)
        else:
            final.fit_staged(X_train, y_train, training.stages, finish)
            if waiting:
                raise RuntimeError(f"the training ended before {sorted(filter(None, waiting))}")
    except _StoreError as stopped:
        raise stopped.error from None
    except MemoryError:
        raise
    except Exception as error:
        for candidate in waiting.values():
            store(candidate, failure(error))


def failure(error: Exception) -> bytes:
    """The encoded answer of a fit that raised."""
    return encode(FitAnswer(error=f"{type(error).__name__}: {error}"))


def run_limited(training: Training, features: Features) -> list[tuple[int, bytes]]:
    """In a worker: run a training on one thread; each candidate and its answer."""
    if hasattr(training.final, "limit_threads"):  # TensorFlow takes no notice of threadpoolctl
        training.final.limit_threads(1)
    threadpool_limits(1)  # for good: the next training of this worker has the same limit
    stored: list[tuple[int, bytes]] = []
    run_training(training, features, lambda *fit: stored.append(fit))
    return stored
