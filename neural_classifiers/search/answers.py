"""Answers of a fit on the rows held out, as bytes that can be scored at any time.

What is stored are predictions, probabilities and decision values instead of scores, so that
another scoring over the same fits trains nothing. The bytes hold arrays only, no pickle.
"""

import hashlib
import io
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import Tags, get_tags

METHODS = ("predict", "predict_proba", "decision_function")


@dataclass(frozen=True)
class FitAnswer:
    """Answer of one fit on the rows held out, or its error.

    Attributes
    ----------
    by_method : dict of str to ndarray
        What each of the fitted estimator's `METHODS` gave, one row per row held out.
    classes : ndarray or None
        Its ``classes_``: the columns of the probabilities.
    fit_seconds, score_seconds : float
        Time to fit, and to answer.
    error : str
        ``"Type: message"`` of what the fit raised; ``""`` if it went well.
    """

    by_method: dict[str, np.ndarray] = field(default_factory=dict)
    classes: np.ndarray | None = None
    fit_seconds: float = 0.0
    score_seconds: float = 0.0
    error: str = ""


def answer_of(fitted: Any, X: Any, fit_seconds: float = 0.0) -> FitAnswer:
    """Ask a fitted estimator for all it can say about the rows held out."""
    started = time.perf_counter()
    by_method = {
        method: np.asarray(getattr(fitted, method)(X))
        for method in METHODS
        if hasattr(fitted, method)
    }
    return FitAnswer(
        by_method=by_method,
        classes=getattr(fitted, "classes_", None),
        fit_seconds=fit_seconds,
        score_seconds=time.perf_counter() - started,
    )


def encode(answer: FitAnswer) -> bytes:
    """Write an answer as a compressed .npz archive, its seconds, and the SHA-256 of both.

    The archive's own checksums do not cover its directory: a flipped byte there can lose
    an array without a word. `numpy.load` reads the bytes as they are.

    Raises
    ------
    ValueError
        If an answer consists of Python objects, which only pickle could store.
    """
    arrays = answer.by_method | {"error": np.array(answer.error)}
    if answer.classes is not None:
        arrays["classes"] = np.asarray(answer.classes)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return with_times(buffer.getvalue(), [answer.fit_seconds, answer.score_seconds])


def decode(content: bytes | None) -> FitAnswer | None:
    """Read what `encode` wrote; None for no bytes or damaged ones."""
    try:
        timeless, (fit_seconds, score_seconds) = without_times(content or b"")
    except ValueError:
        return None
    with np.load(io.BytesIO(timeless), allow_pickle=False) as archive:
        arrays: Mapping[str, np.ndarray] = {name: archive[name] for name in archive.files}
    return FitAnswer(
        by_method={method: arrays[method] for method in METHODS if method in arrays},
        classes=arrays.get("classes"),
        fit_seconds=fit_seconds,
        score_seconds=score_seconds,
        error=arrays["error"].item(),
    )


def with_times(timeless: bytes, seconds: Sequence[float]) -> bytes:
    """The encoded answer as it was before `without_times`."""
    body = timeless + np.array(seconds, "<f8").tobytes()
    return body + hashlib.sha256(body).digest()


def without_times(content: bytes) -> tuple[bytes, list[float]]:
    """The part of an encoded answer that is the same for every equal fit, and its seconds.

    Raises
    ------
    ValueError
        If the content is damaged.
    """
    body, checksum = content[:-32], content[-32:]
    if hashlib.sha256(body).digest() != checksum:
        raise ValueError(f"expected an encoded answer, got {len(content)} bytes that are none")
    return body[:-16], np.frombuffer(body[-16:], "<f8").tolist()  # fit, score


def score(
    answer: FitAnswer, scorer: Callable[..., float], estimator: Any, X: Any, y: Any
) -> tuple[float, str]:
    """Score of one fit, nan where fit or scorer failed, and its error.

    Parameters
    ----------
    answer : FitAnswer
    scorer : callable
        scikit-learn's, called with a stand-in for the fitted estimator.
    estimator : estimator
        Says whether the stand-in is a classifier or a regressor.
    X : n_rows rows
        The rows held out, which scorers want to see.
    y : ndarray of shape (n_rows,)
        Their labels or targets.

    Returns
    -------
    (float, str)
    """
    if answer.error:
        return np.nan, answer.error
    try:
        return float(scorer(_StandIn(answer, get_tags(estimator)), X, y)), ""
    except Exception as failure:  # a candidate's failure, as with GridSearchCV
        return np.nan, f"scoring: {type(failure).__name__}: {failure}"


def _method(name: str, values: np.ndarray) -> Callable[[Any], np.ndarray]:
    def answer(X: Any) -> np.ndarray:
        return values

    answer.__name__ = name  # scorers call a method by its name
    return answer


class _StandIn(BaseEstimator):
    """Answers for a fitted estimator as it did on the rows held out."""

    def __init__(self, answer: FitAnswer, tags: Tags) -> None:
        self._tags = tags
        if answer.classes is not None:
            self.classes_ = answer.classes
        for method, values in answer.by_method.items():
            setattr(self, method, _method(method, values))

    def __sklearn_tags__(self) -> Tags:
        return self._tags

    def __sklearn_is_fitted__(self) -> bool:
        return True
