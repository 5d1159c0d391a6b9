"""Scores of predictions, and comparisons of one model with another on the same rows.

All scores are fractions in [0, 1]; a score without a denominator (a class that is never
predicted has no precision) counts as 0. Whether a difference is real is decided by the exact
McNemar test for accuracy and by a paired bootstrap for macro-F1, both at 5 %: the test rows are
the same for every model, so comparing two intervals by eye would throw that pairing away. Of many
pairs some differ by chance: `correct_by_holm` makes 5 % the chance that any is called real.

The macro-F1 of whoever answers at random is higher than that of whoever always gives the commonest
answer. So it speaks for a model only if the model is better than guessing: more often right than
its own answers, dealt out to the rows at random, would be. That is what Cohen's kappa measures, and
its 95 % interval has to lie above 0.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neural_classifiers.judgement.names import CONSTANT, MODEL_TITLES
from neural_classifiers.values import Values

ALPHA = 0.05  # a difference is called real when chance gives it less often than this
CONFIDENCE = 1 - ALPHA
N_RESAMPLES = 5_000  # moves a bound by about 0.02 points from seed to seed on 900 rows

Interval = tuple[float, float]
Standing = Literal["better", "worse", "unclear"]
OPPOSITE: dict[Standing, Standing] = {"better": "worse", "worse": "better", "unclear": "unclear"}


class ClassScores(Values):
    """How well one class is recognised; `support` is its number of rows."""

    precision: float
    recall: float
    f1: float
    support: int


class Scores(Values):
    """How good one model's predictions are, as a whole and class by class.

    `confusion_matrix` has a row for each actual class and a column for each predicted one, both
    in the order of `labels`. `*_weighted` averages classes by their number of rows, as the
    notebook does; `f1_macro` counts every class alike.
    """

    accuracy: float
    precision_weighted: float
    recall_weighted: float
    f1_weighted: float
    f1_macro: float
    per_class: dict[str, ClassScores]
    labels: tuple[str, ...]
    confusion_matrix: tuple[tuple[int, ...], ...]

    @property
    def n_rows(self) -> int:
        """Number of rows that were predicted."""
        return sum(map(sum, self.confusion_matrix))

    @property
    def n_correct(self) -> int:
        """Number of rows that were predicted correctly."""
        return sum(row[i] for i, row in enumerate(self.confusion_matrix))

    @property
    def accuracy_interval(self) -> Interval:
        """The 95 % Wilson interval of the accuracy."""
        return wilson_interval(self.n_correct, self.n_rows)


class Calibration(Values):
    """Distance between the probability of an answer and the share of right answers.

    `ece` is the expected calibration error, a fraction; `confidence` and `accuracy` are means over
    all rows; `bins` are those of the reliability curve.
    """

    ece: float
    confidence: float
    accuracy: float
    bins: list[dict[str, float]]


class JudgedModel(Scores):
    """A model's scores on the test set, and how it was chosen: what ``metrics.json`` says of it.

    `best_cv_score` is the mean over the folds of what `scoring` names, None where no search chose;
    `temperature` None where probabilities are as the library gives them. `version` and `rows_seen`
    (test rows that it was trained on, which count in no score) are of the serving model alone.
    """

    f1_macro_interval: Interval
    calibration: Calibration
    best_params: dict[str, Any]
    best_cv_score: float | None
    scoring: str
    temperature: float | None
    version: str | None = None
    rows_seen: int | None = None


class Comparison(Values):
    """One model against a rival on the same rows; positive differences favour the model.

    `kappa_interval` and `rival_kappa_interval` bound Cohen's kappa of each of the two, which is 0
    for whoever guesses, evenly, by class shares or always the same. Below `level` a p of McNemar's
    test shows a difference before it is corrected for the number of pairs.
    """

    n_rows: int
    accuracy_difference: float
    accuracy_interval: Interval
    f1_macro_difference: float
    f1_macro_interval: Interval
    kappa_interval: Interval
    rival_kappa_interval: Interval
    won: int
    lost: int
    p_value: float
    f1_macro_p_value: float
    level: float = ALPHA

    @property
    def is_beyond_guessing(self) -> bool:
        """True where the model knows more than its own answers dealt out to the rows at random."""
        return self.kappa_interval[0] > 0

    @property
    def accuracy_standing(self) -> Standing:
        """Share of right answers against the rival's, by the exact McNemar test."""
        if self.p_value >= ALPHA:
            return "unclear"
        return "better" if self.won > self.lost else "worse"

    @property
    def f1_macro_standing(self) -> Standing:
        """Macro-F1 against the rival's; it speaks for a model that is better than guessing only."""
        is_ahead = self.f1_macro_difference > 0
        knows = self.is_beyond_guessing if is_ahead else self.rival_kappa_interval[0] > 0
        if self.f1_macro_p_value >= ALPHA or not knows:
            return "unclear"
        return "better" if is_ahead else "worse"

    @property
    def smallest_shown(self) -> float:
        """Least difference in accuracy that would be shown, if as many rows told the two apart."""
        from scipy.stats import binom

        n = max(self.won + self.lost, int(np.log2(2 / self.level)) + 1)  # fewer show nothing
        won = np.arange(n // 2, n + 1)
        least = int(won[2 * binom.sf(won - 1, n, 0.5) < self.level][0])
        return (2 * least - n) / self.n_rows


class ModelComparison(Comparison):
    """A `Comparison` that says which model was held against which rival."""

    model: str
    rival: str


C = TypeVar("C", bound=Comparison)


def score_predictions(y_true: ArrayLike, y_pred: ArrayLike, labels: Sequence[str]) -> Scores:
    """Score predicted against actual classes of shape (n_rows,).

    `labels` are all classes in the order wanted. A class named there that never occurs scores 0
    and lowers the macro average.

    Notes
    -----
    Source: notebook, the score cells of its first two parts. It prints weighted averages only,
    which hide a class that is never found: `f1_macro` and `per_class` show it.
    """
    from sklearn.metrics import accuracy_score, confusion_matrix, precision_recall_fscore_support

    y_true, y_pred = _same_rows(y_true, y_pred)
    # scikit-learn drops such rows from the matrix without a word.
    if strangers := sorted({*y_true.tolist(), *y_pred.tolist()} - set(labels)):
        raise ValueError(f"expected classes among {list(labels)}, got also {strangers}")

    def averaged(average: str | None) -> tuple[Any, ...]:
        return precision_recall_fscore_support(
            y_true, y_pred, labels=labels, average=average, zero_division=0
        )

    precision, recall, f1, _ = averaged("weighted")
    each = zip(*(column.tolist() for column in averaged(None)), strict=True)
    return Scores(
        accuracy=float(accuracy_score(y_true, y_pred)),
        precision_weighted=float(precision),
        recall_weighted=float(recall),
        f1_weighted=float(f1),
        f1_macro=float(averaged("macro")[2]),
        per_class={
            name: ClassScores(precision=p, recall=r, f1=f, support=n)
            for name, (p, r, f, n) in zip(labels, each, strict=True)
        },
        labels=tuple(labels),
        confusion_matrix=confusion_matrix(y_true, y_pred, labels=labels).tolist(),
    )


def wilson_interval(n_correct: int, n_rows: int) -> Interval:
    """Bound a share of right answers by its 95 % Wilson interval."""
    from scipy.stats import binomtest

    low, high = binomtest(n_correct, n_rows).proportion_ci(CONFIDENCE, method="wilson")
    return float(low), float(high)


def compare_predictions(
    y_true: ArrayLike, y_a: ArrayLike, y_b: ArrayLike, seed: int, n_resamples: int = N_RESAMPLES
) -> Comparison:
    """Measure by how much the predictions `y_a` are better than `y_b`, and how sure that is.

    Parameters
    ----------
    y_true, y_a, y_b : array-like of shape (n_rows,)
        Actual classes and those predicted by the model and by its rival.
    seed : int
        Start of the bootstrap's random numbers.
    n_resamples : int, default 5000
        Resamples of the bootstrap.

    Returns
    -------
    Comparison
        Differences a - b in accuracy and macro-F1 with 95 % percentile intervals of a paired
        bootstrap, and such intervals of the kappa of each; rows that only a (`won`) or only b
        (`lost`) has right; the two-sided p of the exact McNemar test, 1.0 when no row tells them
        apart, and that of the bootstrap for macro-F1.

    Notes
    -----
    Drawing rows with replacement is drawing how often each combination (actual, a, b) comes up,
    so resamples are drawn from those combinations: the cost does not grow with the rows.
    """
    from scipy.stats import binomtest

    rows, draws = _resampled(y_true, y_a, y_b, seed=seed, n_resamples=n_resamples)
    (actual, a, b), counts, n_classes = rows, draws[0], int(rows.max()) + 1
    n = int(counts.sum())
    accuracy = draws @ ((a == actual) * 1.0 - (b == actual)) / n
    f1_macro = _f1_macro(draws, actual, a, n_classes) - _f1_macro(draws, actual, b, n_classes)
    won = int(counts[(a == actual) & (b != actual)].sum())
    lost = int(counts[(a != actual) & (b == actual)].sum())
    return Comparison(
        n_rows=n,
        accuracy_difference=float(accuracy[0]),
        accuracy_interval=_percentile_interval(accuracy[1:]),
        f1_macro_difference=float(f1_macro[0]),
        f1_macro_interval=_percentile_interval(f1_macro[1:]),
        kappa_interval=_percentile_interval(_kappa(draws[1:], actual, a, n_classes)),
        rival_kappa_interval=_percentile_interval(_kappa(draws[1:], actual, b, n_classes)),
        won=won,
        lost=lost,
        p_value=float(binomtest(won, won + lost).pvalue) if won + lost else 1.0,
        f1_macro_p_value=_percentile_p_value(f1_macro[1:]),
    )


def correct_by_holm(comparisons: Sequence[C]) -> list[C]:
    """The comparisons of one family, the p-values of each score corrected for their number.

    Notes
    -----
    Source: S. Holm, A simple sequentially rejective multiple test procedure, 1979. scipy has the
    false discovery rate only.
    """
    accuracy = _holm([c.p_value for c in comparisons])
    f1_macro = _holm([c.f1_macro_p_value for c in comparisons])
    level = ALPHA / max(sum(p >= ALPHA for p in accuracy), 1)  # of the next that would be shown
    return [
        c.model_copy(update={"p_value": p, "f1_macro_p_value": f1, "level": level})
        for c, p, f1 in zip(comparisons, accuracy, f1_macro, strict=True)
    ]


def _holm(p_values: Sequence[float]) -> list[float]:
    p, order = np.array(p_values), np.argsort(p_values, kind="stable")
    n_left = np.arange(len(p), 0, -1)  # the smallest is one of all, the next one of the others
    p[order] = np.minimum(np.maximum.accumulate(p[order] * n_left), 1)
    return [float(each) for each in p]


def f1_macro_interval(y_true: ArrayLike, y_pred: ArrayLike) -> Interval:
    """Bound the macro-F1 of predictions by its 95 % percentile interval, by bootstrap."""
    rows, draws = _resampled(y_true, y_pred, seed=0, n_resamples=N_RESAMPLES)
    return _percentile_interval(_f1_macro(draws[1:], rows[0], rows[1], int(rows.max()) + 1))


def _resampled(
    y_true: ArrayLike, *predictions: ArrayLike, seed: int, n_resamples: int
) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
    """Combinations of actual and predicted classes, and how often each comes up in each resample.

    Combinations are columns of shape (1 + n_predictions, n_combinations), classes numbers from 0;
    draws of shape (1 + n_resamples, n_combinations), the first line the sample itself.
    """
    columns = [_same_rows(y_true, predicted)[1] for predicted in (y_true, *predictions)]
    _, coded = np.unique(np.concatenate(columns), return_inverse=True)
    rows, counts = np.unique(coded.reshape(len(columns), -1), axis=1, return_counts=True)
    n = int(counts.sum())
    drawn = np.random.default_rng(seed).multinomial(n, counts / n, size=n_resamples)
    return rows, np.vstack([counts, drawn])


def _same_rows(y_true: ArrayLike, y_pred: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
    """Both as one-dimensional arrays, checked to have the same, non-zero length."""
    actual, predicted = np.asarray(y_true), np.asarray(y_pred)
    if actual.ndim != 1 or actual.shape != predicted.shape or not len(actual):
        raise ValueError(
            "expected actual and predicted classes of one shape (n_rows,) with n_rows > 0, "
            f"got {actual.shape} and {predicted.shape}"
        )
    return actual, predicted


def _f1_macro(
    draws: NDArray[Any], actual: NDArray[Any], predicted: NDArray[Any], n_classes: int
) -> NDArray[np.float64]:
    """Macro-F1 of each resample; `draws` counts how often each pair of classes came up."""
    classes = np.arange(n_classes)
    is_actual = actual[:, None] == classes
    is_predicted = predicted[:, None] == classes
    hits = draws @ (is_actual & is_predicted)
    named = draws @ is_actual + draws @ is_predicted
    return (2 * hits / np.maximum(named, 1)).mean(axis=1)


def _kappa(
    draws: NDArray[Any], actual: NDArray[Any], predicted: NDArray[Any], n_classes: int
) -> NDArray[np.float64]:
    """Cohen's kappa of each resample; 0 where one class is all there is."""
    classes = np.arange(n_classes)
    n = draws.sum(axis=1)
    right = draws @ (actual == predicted) / n
    share_actual = draws @ (actual[:, None] == classes) / n[:, None]
    share_predicted = draws @ (predicted[:, None] == classes) / n[:, None]
    # counts are whole numbers: what is not exactly 0 for a constant answer is rounding
    by_chance = (share_actual * share_predicted).sum(axis=1)
    beyond = np.where(np.isclose(right, by_chance, rtol=0, atol=1e-12), 0.0, right - by_chance)
    return beyond / np.where(by_chance < 1, 1 - by_chance, 1.0)


def _percentile_p_value(differences: NDArray[np.float64]) -> float:
    """Two-sided p of no difference by resamples; their number bounds it from below."""
    beyond = min((differences <= 0).sum(), (differences >= 0).sum())
    return float(min(2 * (beyond + 1) / (len(differences) + 1), 1))


def _percentile_interval(differences: NDArray[np.float64]) -> Interval:
    low, high = np.quantile(differences, [ALPHA / 2, 1 - ALPHA / 2])
    return float(low), float(high)


def model_title(name: str, models: Mapping[str, Scores] | None = None) -> str:
    """Name a model for people: "Keras network", "always answering “sports”"."""
    if name == CONSTANT and models and CONSTANT in models:
        answers = np.sum(models[CONSTANT].confusion_matrix, axis=0)
        return f"always answering “{models[CONSTANT].labels[int(answers.argmax())]}”"
    return MODEL_TITLES.get(name, name)
