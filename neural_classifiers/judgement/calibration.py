"""Probabilities that mean what they say, and answers that do not forget rare classes.

The answers that a search keeps for the rows held out cost nothing more, so both are fitted on
those: no row that a model was fitted on judges how sure it may be. The probabilities take one
number, a temperature, which cannot change which class is the likeliest. The answers may take
another, a shift: they then favour rare classes, as macro-F1 asks, while the probabilities stay.
"""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin

from neural_classifiers.judgement.scores import wilson_interval
from neural_classifiers.search.answers import FitAnswer

N_BINS = 10  # of the reliability curve
TINY = 1e-12  # the least probability whose logarithm is taken
SHIFTS = tuple(step / 20 for step in range(31))  # 0 to 1.5
LEAST, MOST = 0.02, 50.0  # of a temperature: beyond, the probabilities are all or nothing


class Calibrated(ClassifierMixin, BaseEstimator):
    """A classifier with a temperature for its probabilities, and a shift for its answers.

    Parameters
    ----------
    classifier : classifier
        With ``predict_proba`` or ``decision_function``; `fit` fits it as it stands.
    temperature : float
        Above 1: less sure than the classifier says; below 1: surer.
    offsets : sequence of float, optional
        Added to each class's log-probability before the likeliest is the answer; without them
        the classifier answers.
    """

    def __init__(
        self, classifier: Any, temperature: float = 1.0, offsets: Sequence[float] | None = None
    ) -> None:
        self.classifier = classifier
        self.temperature = temperature
        self.offsets = offsets

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self.classifier, "classes_")

    @property
    def classes_(self) -> NDArray[Any]:
        """Classes in the order of the probabilities."""
        return np.asarray(self.classifier.classes_)

    def fit(self, X: Any, y: Any) -> Self:
        """Fit the classifier; temperature and offsets are parameters."""
        self.classifier.fit(X, y)
        return self

    def predict(self, X: Any) -> NDArray[Any]:
        """The classifier's answers, unless there are offsets: a temperature changes nothing."""
        if self.offsets is None:
            return np.asarray(self.classifier.predict(X))
        return self.classes_[likeliest(self.predict_proba(X), self.offsets)]

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Probabilities of shape (n_rows, n_classes)."""
        return softmax(_logits(self.classifier, X) / self.temperature)


def _logits(classifier: Any, X: Any) -> NDArray[np.float64]:
    method = "predict_proba" if hasattr(classifier, "predict_proba") else "decision_function"
    return logits_of({method: getattr(classifier, method)(X)})


def logits_of(answers: dict[str, NDArray[Any]]) -> NDArray[np.float64]:
    """Log-probabilities, or decision values where there are none, of shape (n_rows, n_classes)."""
    if "predict_proba" in answers:
        return np.log(np.clip(np.asarray(answers["predict_proba"], np.float64), TINY, None))
    values = np.asarray(answers["decision_function"], np.float64)
    # of two classes scikit-learn gives one column: how much the second is ahead
    return np.column_stack([-values / 2, values / 2]) if values.ndim == 1 else values


def likeliest(
    probabilities: NDArray[np.float64], offsets: Sequence[float] | None = None
) -> NDArray[np.intp]:
    """Column of each row's answer: the likeliest once the offsets are added to the logarithms."""
    if offsets is None:
        return probabilities.argmax(axis=1)
    shifted = np.log(np.clip(probabilities, TINY, None)) + np.asarray(offsets)
    return np.asarray(shifted.argmax(axis=1))


def softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probabilities of shape (n_rows, n_classes) of logits of that shape."""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))


def fit_temperature(logits: NDArray[np.float64], columns: NDArray[np.intp]) -> float:
    """The temperature at which the actual classes (by column) of unseen rows are the likeliest.

    Source: C. Guo et al., On Calibration of Modern Neural Networks, ICML 2017.
    """
    from scipy.optimize import minimize_scalar

    rows = np.arange(len(columns))

    def loss(log_temperature: float) -> float:
        chances = softmax(logits / np.exp(log_temperature))[rows, columns]
        return float(-np.log(np.clip(chances, TINY, None)).mean())

    optimum = minimize_scalar(loss, bounds=(np.log(LEAST), np.log(MOST)), method="bounded")
    return float(np.exp(optimum.x))


def fit_shift(logits: NDArray[np.float64], columns: NDArray[np.intp]) -> float:
    """How far answers should favour rare classes, for the best macro-F1; 0 is not at all.

    The logits are of unseen rows, at their temperature; `columns` are of their actual classes, of
    which each occurs. Source: A. K. Menon et al., Long-tail learning via logit adjustment, ICLR
    2021.
    """
    from sklearn.metrics import f1_score

    prior = prior_of(columns, logits.shape[1])

    def f1(shift: float) -> float:
        answers = (logits + offsets_of(shift, prior)).argmax(axis=1)
        return float(f1_score(columns, answers, average="macro", zero_division=0))

    return max(SHIFTS, key=f1)  # of equals the smallest


def prior_of(columns: NDArray[np.intp], n_classes: int) -> NDArray[np.float64]:
    """Share of each class; of one that does not occur that of half a row."""
    counts = np.bincount(columns, minlength=n_classes)
    return np.asarray(np.maximum(counts, 0.5) / len(columns))


def offsets_of(shift: float, prior: NDArray[np.float64]) -> NDArray[np.float64]:
    """What a shift adds to each class: at 1 the classes are as if they were equally common."""
    return np.asarray(-shift * np.log(prior))


def shifted_f1_macro(estimator: Any, X: Any, y: Any) -> float:
    """Score an estimator by the macro-F1 that its answers reach once they are shifted.

    The shift is fitted on the rows scored, for every candidate alike: good to choose by, a little
    too good to quote.
    """
    from sklearn.metrics import f1_score

    logits = _logits(estimator, X)
    classes = np.asarray(estimator.classes_)
    columns = np.searchsorted(classes, np.asarray(y))
    offsets = offsets_of(fit_shift(logits, columns), prior_of(columns, len(classes)))
    answers = (logits + offsets).argmax(axis=1)
    return float(f1_score(columns, answers, average="macro", zero_division=0))


def calibrate(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Distance between the probability of the answer and the share of right answers.

    Of probabilities of shape (n_rows, n_classes), with the columns of the actual classes as
    `labels`. Bins are of equal width between 0 and 1; an answer of exactly 1 is in the last. Gives
    the fields of `scores.Calibration`: ``ece`` is the mean over the rows of the distance between a
    bin's mean confidence and its accuracy; each of ``bins`` that has answers has its bounds,
    ``rows``, ``confidence``, ``accuracy`` and the accuracy's Wilson interval.
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    is_right = probabilities.argmax(axis=1) == labels
    of_bin = np.minimum((confidence * N_BINS).astype(int), N_BINS - 1)
    bins, ece = [], 0.0
    for i in np.unique(of_bin).tolist():
        inside = of_bin == i
        n, right = int(inside.sum()), int(is_right[inside].sum())
        mean = float(confidence[inside].mean())
        low, high = wilson_interval(right, n)
        ece += n / len(labels) * abs(mean - right / n)
        bins.append(
            {
                "from": i / N_BINS,
                "to": (i + 1) / N_BINS,
                "rows": n,
                "confidence": mean,
                "accuracy": right / n,
                "low": low,
                "high": high,
            }
        )
    return {
        "ece": ece,
        "confidence": float(confidence.mean()),
        "accuracy": float(is_right.mean()),
        "bins": bins,
    }


def held_out_logits(
    answers: Sequence[tuple[NDArray[np.intp], FitAnswer]], classes: NDArray[Any], n_rows: int
) -> NDArray[np.float64]:
    """Logits of a search's candidate for the rows that each fold held out, in the rows' order.

    Of shape (`n_rows`, n_classes), columns in the order of `classes`; `answers` are pairs of the
    rows that a fold held out and what was answered. Rows that no fold held out stay nan.
    """
    logits = np.full((n_rows, len(classes)), np.nan)
    for rows, answer in answers:
        assert answer.classes is not None
        columns = np.searchsorted(classes, answer.classes)
        logits[np.ix_(rows, columns)] = logits_of(answer.by_method)
    return logits
