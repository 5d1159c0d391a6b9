"""Findings that a single score hides: weak slices, reasons of answers, the worth of more data.

Everything about the test set is computed from answers that were given once; what needs new
fits (the learning curve) stays on training rows.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neural_classifiers.judgement.scores import wilson_interval
from neural_classifiers.values import Values

LINK = re.compile(r"https?://|www\.|\]\(", re.IGNORECASE)
N_FILES = 8  # of a source that are slices of their own
N_WORDS, N_MISTAKES = 10, 10
N_WITHOUT, N_FALLS = 60, 5  # words of a comment that are left out in turn, and that are listed
LITTLE = 0.01  # of macro-F1, for twice as many comments
SHARES = (0.1, 0.2, 0.4, 0.7, 1.0)  # of the learning curve


class SliceAccuracy(Values):
    """A model's share of right answers on a slice, with its 95 % Wilson interval.

    `is_weaker` where the interval lies below the model's accuracy on all rows.
    """

    accuracy: float
    low: float
    high: float
    is_weaker: bool


class Slice(Values):
    """Comments of one kind, how many there are, and how each model does on them."""

    slice: str
    rows: int
    models: dict[str, SliceAccuracy]


class Mistake(Values):
    """A wrong answer: the comment, its row, both classes and the probabilities of both."""

    row: int
    txt: str
    actual: str
    predicted: str
    p_actual: float
    p_predicted: float


class Occlusion(Values):
    """An answer, and by how much its probability falls when each word is left out."""

    txt: str
    actual: str
    predicted: str
    probability: float
    words: list[tuple[str, float]]


class Explanations(Values):
    """Slices of the test set; words of each class; mistakes and occlusions of each model."""

    slices: list[Slice]
    words: dict[str, list[str]]
    mistakes: dict[str, list[Mistake]]
    occluded: dict[str, list[Occlusion]]


class CurvePoint(Values):
    """Scores of a model trained on so many rows: over the folds, with standard errors."""

    rows: int
    accuracy: float
    accuracy_error: float
    f1_macro: float
    f1_macro_error: float
    f1_macro_of_folds: list[float]


# --- slices -------------------------------------------------------------------------------


def slices_of(texts: Sequence[str], files: Sequence[str]) -> dict[str, NDArray[np.bool_]]:
    """Comments (not cleaned) by length in three equal parts, with and without a link, by file.

    The files that they came from are slices where there are from 2 to 8 of them.
    """
    lengths = np.array([len(text) for text in texts])
    low, high = np.quantile(lengths, [1 / 3, 2 / 3], method="nearest").tolist()
    has_link = np.array([bool(LINK.search(text)) for text in texts])
    slices = {
        f"up to {low:,} characters": lengths <= low,
        f"{low + 1:,} to {high:,} characters": (lengths > low) & (lengths <= high),
        f"more than {high:,} characters": lengths > high,
        "with a link": has_link,
        "without a link": ~has_link,
    }
    names, of_file = np.unique(np.asarray(files, dtype=str), return_inverse=True)
    if 1 < len(names) <= N_FILES:
        slices |= {f"from {name}": of_file == i for i, name in enumerate(names)}
    return {name: rows for name, rows in slices.items() if rows.any()}


def score_slices(
    slices: Mapping[str, NDArray[np.bool_]],
    actual: NDArray[Any],
    predicted: Mapping[str, NDArray[Any]],
) -> list[Slice]:
    """Accuracy of each model (name to answers) on each slice of the test set."""
    is_right = {model: answers == actual for model, answers in predicted.items()}

    def accuracy(right: NDArray[np.bool_], rows: NDArray[np.bool_]) -> SliceAccuracy:
        n, n_rows = int(right[rows].sum()), int(rows.sum())
        low, high = wilson_interval(n, n_rows)
        is_weaker = high < float(right.mean())
        return SliceAccuracy(accuracy=n / n_rows, low=low, high=high, is_weaker=is_weaker)

    return [
        Slice(
            slice=name,
            rows=int(rows.sum()),
            models={model: accuracy(right, rows) for model, right in is_right.items()},
        )
        for name, rows in slices.items()
    ]


# --- mistakes and reasons -----------------------------------------------------------------


def surest_mistakes(
    texts: Sequence[str],
    actual: NDArray[Any],
    predicted: NDArray[Any],
    probabilities: NDArray[np.float64],
    classes: Sequence[str],
) -> list[Mistake]:
    """The ten wrong answers that a model was surest of, the surest first.

    Parameters
    ----------
    texts : sequence of str of length n_rows
    actual, predicted : ndarray of str, shape (n_rows,)
    probabilities : ndarray of shape (n_rows, n_classes)
    classes : sequence of str
        In the order of the columns, sorted.
    """
    rows, names = np.arange(len(actual)), np.asarray(classes, dtype=str)
    of_answer = probabilities[rows, np.searchsorted(names, predicted)]
    of_actual = probabilities[rows, np.searchsorted(names, actual)]
    wrong = np.flatnonzero(predicted != actual)
    return [
        Mistake(
            row=int(i),
            txt=texts[i],
            actual=str(actual[i]),
            predicted=str(predicted[i]),
            p_actual=float(of_actual[i]),
            p_predicted=float(of_answer[i]),
        )
        for i in wrong[np.argsort(-of_answer[wrong], kind="stable")][:N_MISTAKES]
    ]


def deciding_words(pipeline: Any) -> dict[str, list[str]]:
    """For each class the ten words that speak for it most, by the weights of a linear model.

    The fitted pipeline has features first, whose names say ``words__goal`` (n-grams of characters
    are no words and left out), and a linear classifier last, perhaps with a temperature. Of naive
    Bayes a weight is how much likelier the class makes the word than the mean class does.
    """
    classifier = getattr(pipeline[-1], "classifier", pipeline[-1])
    names = pipeline[:-1].get_feature_names_out()
    if hasattr(classifier, "coef_"):
        weights = np.asarray(classifier.coef_)
        weights = np.vstack([-weights, weights]) if len(weights) == 1 else weights
    else:
        weights = np.asarray(classifier.feature_log_prob_)
        weights = weights - weights.mean(axis=0)
    words = np.flatnonzero([name.startswith("words__") for name in names])
    deciding = {}
    for label, weight in zip(classifier.classes_, weights, strict=True):
        best = words[np.argsort(-weight[words], kind="stable")][:N_WORDS]
        deciding[str(label)] = [names[i].removeprefix("words__") for i in best if weight[i] > 0]
    return deciding


def occlusion(
    predict_proba: Callable[[list[str]], NDArray[np.float64]], text: str, column: int
) -> tuple[float, list[tuple[str, float]]]:
    """Words of a comment that a model's answer hangs on: what it loses without each.

    Takes the model's probabilities of texts such as it was fitted on, of shape (n_texts,
    n_classes), and the column of the answer. Gives the probability of the answer and the five
    words that it loses most without, each with how far the probability falls when every occurrence
    is left out.
    """
    words = text.split()
    tried = list(dict.fromkeys(words))[:N_WITHOUT]
    without = [" ".join(w for w in words if w != each) for each in tried]
    probability, *others = predict_proba([text, *without])[:, column]
    falls = probability - np.array(others)
    order = np.argsort(-falls, kind="stable")[:N_FALLS]
    return float(probability), [(tried[i], float(falls[i])) for i in order]


# --- training rows ------------------------------------------------------------------------


def suspected_labels(
    labels: Sequence[str], probabilities: NDArray[np.float64], classes: Sequence[str]
) -> list[int]:
    """Rows whose label is likely wrong, the likeliest first, by confident learning.

    Probabilities of shape (n_rows, n_classes) come from models that were not fitted on the row;
    `classes` are in the order of the columns. Source: C. Northcutt et al., Confident Learning,
    JAIR 70, 2021; by cleanlab.
    """
    from cleanlab.filter import find_label_issues

    rows = find_label_issues(
        np.searchsorted(np.asarray(classes), np.asarray(labels)),
        probabilities,
        filter_by="confident_learning",
        return_indices_ranked_by="normalized_margin",
        n_jobs=1,
    )
    return [int(row) for row in rows]


def learning_curve(
    pipeline: Any, X: Sequence[str], y: Sequence[str], folds: int, seed: int
) -> list[CurvePoint]:
    """Scores of a model on a tenth of the training rows, and on more and more of them.

    Parameters
    ----------
    pipeline : Pipeline
        Cloned for each fit.
    X, y : sequences
        Training rows only; each size is judged on the rows that its folds hold out.
    folds, seed : int

    Returns
    -------
    list of CurvePoint
        Sizes that lack a class are left out.
    """
    from sklearn.metrics import f1_score, make_scorer
    from sklearn.model_selection import StratifiedKFold, cross_validate

    texts, labels = np.asarray(X, dtype=object), np.asarray(y)
    rng = np.random.default_rng(seed)
    shuffled = [
        (rng.permutation(train), held_out)
        for train, held_out in StratifiedKFold(folds).split(texts, labels)
    ]
    f1_macro = make_scorer(f1_score, average="macro", zero_division=0)
    curve = []
    for share in SHARES:
        parts = [(rows[: max(1, round(share * len(rows)))], rest) for rows, rest in shuffled]
        if any(set(labels[rows]) != set(labels) for rows, _ in parts):
            continue
        scores = cross_validate(
            pipeline, texts, labels, error_score="raise",
            scoring={"accuracy": "accuracy", "f1_macro": f1_macro}, cv=parts,
        )  # fmt: skip
        accuracies, f1s = scores["test_accuracy"], scores["test_f1_macro"]
        curve.append(
            CurvePoint(
                rows=round(float(np.mean([len(rows) for rows, _ in parts]))),
                accuracy=float(np.mean(accuracies)),
                accuracy_error=float(np.std(accuracies, ddof=1) / folds**0.5),
                f1_macro=float(np.mean(f1s)),
                f1_macro_error=float(np.std(f1s, ddof=1) / folds**0.5),
                f1_macro_of_folds=[float(f1) for f1 in f1s],
            )
        )
    return curve


def more_data(curve: Sequence[CurvePoint], fitted_on: int) -> str:
    """A sentence on what more data would bring, by the learning curve; "" if it is too short.

    The trend is that of the last three sizes, and its uncertainty that of the folds, which share
    most of their rows: if anything it is too small. `fitted_on` are the training comments that
    there are: where the curve was drawn on a sample of them it does not reach so far.
    """
    if len(curve) < 3:
        return ""
    from scipy.stats import t

    before, last = curve[-3], curve[-1]
    doublings = np.log2([point.rows for point in curve[-3:]])
    gains = np.polyfit(doublings, [point.f1_macro_of_folds for point in curve[-3:]], 1)[0]
    gain, n_folds = float(gains.mean()), len(gains)
    half = float(t.ppf(0.975, n_folds - 1) * gains.std(ddof=1) / n_folds**0.5)
    rise = (
        f"From {before.rows:,} to {last.rows:,} training comments the macro-F1 of the linear "
        f"model went from {before.f1_macro:.3f} to {last.f1_macro:.3f}: by {gain:+.3f} "
        f"({gain - half:+.3f} to {gain + half:+.3f}) for twice as many"
    )
    if fitted_on > 2 * last.rows:
        return (
            f"{rise}. The models were fitted on all {fitted_on:,}: what more than those would "
            "bring, this does not show."
        )
    if gain > half:
        return f"{rise}. So more comments of this kind would help."
    if gain + half < LITTLE:
        return f"{rise}. So more comments of this kind would bring little."
    return f"{rise}. Whether more comments of this kind would help, these folds do not show."
