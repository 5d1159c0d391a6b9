"""One training: what it needs, and what it answers for each candidate that it serves.

Runs in this process, in a thread, in a worker process or on another machine
(`search.parallel`), and knows neither the search nor its store.
"""

import copy
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from neural_classifiers.search.answers import Outcome, answer, encode

__all__ = ["Features", "Job", "train"]


class Features(NamedTuple):
    """Input of the last step of the estimators, of one fold."""

    X_train: Any
    y_train: np.ndarray
    X_held_out: Any


@dataclass(frozen=True, eq=False)
class Job:
    """A training of one fold that is to be made.

    Attributes
    ----------
    training : int
        Its number in the plan.
    fold : int
    stages : dict of (int or None) to int
        Candidate by epoch count; one of None where the estimator has no stages.
    final : estimator
        Last step of the first candidate's estimator, unfitted.
    needs : (str or None, int)
        Name of its features: transformers and fold.
    """

    training: int
    fold: int
    stages: dict[int | None, int]
    final: Any
    needs: tuple[str | None, int]


def train(
    final: Any,
    stages: Mapping[int | None, int],
    features: Features,
    keep: Callable[[int, bytes], None],
) -> None:
    """Fit once; hand on what every stage answers as soon as it is passed.

    Parameters
    ----------
    final : estimator
        Unfitted; is fitted.
    stages : mapping of (int or None) to int
        Candidate by epoch count, or by None.
    features : Features
        Copied first, which takes milliseconds: an estimator may overwrite what it is given.
    keep : callable
        Takes a candidate and its encoded outcome; one of an error where the training fails.

    Raises
    ------
    MemoryError
        The machine's fault, and not held against the candidate.
    Exception
        Whatever `keep` raises.
    """
    left = dict(stages)
    is_ours = False  # whether what raises now is `keep`'s, not the fit's
    answering_s = 0.0

    def finish(stage: int | None) -> None:
        nonlocal is_ours, answering_s
        fit_s = time.perf_counter() - started - answering_s
        content = encode(answer(final, X_held_out, fit_s))
        is_ours = True
        keep(left.pop(stage), content)
        is_ours = False
        answering_s = time.perf_counter() - started - fit_s

    try:
        X_train, y_train, X_held_out = copy.deepcopy(features)
        started = time.perf_counter()
        if None in stages:
            final.fit(X_train, y_train)
            finish(None)
        else:
            final.fit_staged(X_train, y_train, stages, finish)
            if left:
                raise RuntimeError(f"the training ended before {sorted(filter(None, left))}")
    except MemoryError:
        raise
    except Exception as error:
        if is_ours:
            raise
        failed = encode(Outcome(error=f"{type(error).__name__}: {error}"))
        for candidate in left.values():
            keep(candidate, failed)
