"""What one fit answered on the rows held out: kept as bytes, scored whenever one likes.

Kept are predictions, probabilities and decision values instead of scores, so that another
scoring over the same fits trains nothing. The bytes hold arrays only, no pickle.
"""

import hashlib
import io
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils.metaestimators import available_if

__all__ = ["Outcome", "answer", "decode", "encode", "score", "with_times", "without_times"]

METHODS = ("predict", "predict_proba", "decision_function")


@dataclass(frozen=True)
class Outcome:
    """What one fit answered on the rows held out, or how it failed.

    Attributes
    ----------
    answers : dict of str to ndarray
        What each of the fitted estimator's `METHODS` gave, one row per row held out.
    classes : ndarray or None
        Its ``classes_``: the columns of the probabilities.
    fit_seconds, score_seconds : float
        Time to fit, and to answer.
    error : str
        ``"Type: message"`` of what the fit raised; ``""`` if it went well.
    """

    answers: dict[str, np.ndarray] = field(default_factory=dict)
    classes: np.ndarray | None = None
    fit_seconds: float = 0.0
    score_seconds: float = 0.0
    error: str = ""


def answer(fitted: Any, X: Any, fit_seconds: float) -> Outcome:
    """Ask a fitted estimator for all it can say about the rows held out."""
    started = time.perf_counter()
    answers = {
        method: np.asarray(getattr(fitted, method)(X))
        for method in METHODS
        if hasattr(fitted, method)
    }
    return Outcome(
        answers=answers,
        classes=getattr(fitted, "classes_", None),
        fit_seconds=fit_seconds,
        score_seconds=time.perf_counter() - started,
    )


def encode(outcome: Outcome) -> bytes:
    """An outcome as a compressed .npz archive and, behind it, the archive's SHA-256.

    The archive's own checksums do not cover its directory: a flipped byte there can lose
    an array without a word. `numpy.load` reads the bytes as they are.

    Raises
    ------
    ValueError
        If an answer consists of Python objects, which only pickle could store.
    """
    arrays = dict(outcome.answers)
    arrays["seconds"] = np.array([outcome.fit_seconds, outcome.score_seconds])
    arrays["error"] = np.array(outcome.error)
    if outcome.classes is not None:
        arrays["classes"] = np.asarray(outcome.classes)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    archive = buffer.getvalue()
    return archive + hashlib.sha256(archive).digest()


def decode(content: bytes | None) -> Outcome | None:
    """The outcome that `encode` wrote; None for no bytes or damaged ones."""
    if content is None or hashlib.sha256(content[:-32]).digest() != content[-32:]:
        return None
    with np.load(io.BytesIO(content[:-32]), allow_pickle=False) as archive:
        arrays: Mapping[str, np.ndarray] = {name: archive[name] for name in archive.files}
    fit_seconds, score_seconds = arrays["seconds"].tolist()
    return Outcome(
        answers={method: arrays[method] for method in METHODS if method in arrays},
        classes=arrays.get("classes"),
        fit_seconds=fit_seconds,
        score_seconds=score_seconds,
        error=arrays["error"].item(),
    )


def without_times(content: bytes) -> tuple[bytes, list[float]]:
    """An encoded outcome that is the same for every equal fit, and its seconds (fit, score)."""
    outcome = _whole(content)
    timeless = replace(outcome, fit_seconds=0.0, score_seconds=0.0)
    return encode(timeless), [outcome.fit_seconds, outcome.score_seconds]


def with_times(content: bytes, seconds: Sequence[float]) -> bytes:
    """The encoded outcome as it was before `without_times`."""
    fit_seconds, score_seconds = seconds
    outcome = replace(_whole(content), fit_seconds=fit_seconds, score_seconds=score_seconds)
    return encode(outcome)


def _whole(content: bytes) -> Outcome:
    outcome = decode(content)
    if outcome is None:
        raise ValueError(f"expected an encoded outcome, got {len(content)} bytes that are none")
    return outcome


def score(
    outcome: Outcome, scorers: Mapping[str, Callable[..., Any]], kind: str | None, X: Any, y: Any
) -> tuple[dict[str, float], str]:
    """Scores of one fit by scorer, nan where fit or scorer failed, and the first error.

    Parameters
    ----------
    outcome : Outcome
    scorers : mapping of str to callable
        scikit-learn's scorers, called with a stand-in for the fitted estimator.
    kind : {"classifier", "regressor"} or None
        What the fitted estimator was.
    X : n_rows rows
        The rows held out, which scorers want to see.
    y : ndarray of shape (n_rows,)
        Their labels or targets.

    Returns
    -------
    (dict of str to float, str)
    """
    scores = dict.fromkeys(scorers, np.nan)
    error = outcome.error
    if error:
        return scores, error
    replay = _REPLAYS.get(kind, _Replay)(outcome)
    for name, scorer in scorers.items():
        try:
            scores[name] = float(scorer(replay, X, y))
        except Exception as failure:  # a candidate's failure, as with GridSearchCV
            error = error or f"scoring {name!r}: {type(failure).__name__}: {failure}"
    return scores, error


def _has(method: str) -> Callable[[Any], bool]:
    return lambda replay: method in replay.outcome.answers


class _Replay(BaseEstimator):
    """Stands for a fitted estimator and answers as it did on the rows held out."""

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome
        if outcome.classes is not None:
            self.classes_ = outcome.classes

    def __sklearn_is_fitted__(self) -> bool:
        return True

    @available_if(_has("predict"))
    def predict(self, X: Any) -> np.ndarray:
        return self.outcome.answers["predict"]

    @available_if(_has("predict_proba"))
    def predict_proba(self, X: Any) -> np.ndarray:
        return self.outcome.answers["predict_proba"]

    @available_if(_has("decision_function"))
    def decision_function(self, X: Any) -> np.ndarray:
        return self.outcome.answers["decision_function"]


class _ReplayClassifier(ClassifierMixin, _Replay):
    pass


class _ReplayRegressor(RegressorMixin, _Replay):
    pass


_REPLAYS: dict[str | None, type[_Replay]] = {
    "classifier": _ReplayClassifier,
    "regressor": _ReplayRegressor,
}
