"""How good predictions are: numbers first, then the words that they allow.

All scores are fractions in [0, 1]; a score without a denominator (a class that is never
predicted has no precision) counts as 0. Whether a difference is real is decided by the exact
McNemar test for accuracy and by a paired bootstrap for macro-F1, both at 5 %: the test rows are
the same for every model, so comparing two intervals by eye would throw that pairing away.

The macro-F1 of whoever answers at random is higher than that of whoever always gives the commonest
answer. So it speaks for a model only if the model is better than guessing: more often right than
its own answers, dealt out to the rows at random, would be. That is what Cohen's kappa measures, and
its 95 % interval has to lie above 0.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict

ALPHA = 0.05  # a difference is called real when chance gives it less often than this
CONFIDENCE = 1 - ALPHA
N_RESAMPLES = 5_000  # moves a bound by about 0.02 points from seed to seed on 900 rows

CONSTANT, LINEAR, LINEAR_IMPROVED = "constant", "linear", "linear_improved"
SERVING = "serving"
SIMPLE = (CONSTANT, LINEAR, LINEAR_IMPROVED)  # simplest first

MODEL_TITLES = {
    CONSTANT: "constant answer",
    LINEAR: "linear model",
    LINEAR_IMPROVED: "improved linear model",
    "scikit": "scikit-learn network",
    "keras": "Keras network",
    "scikit_improved": "improved scikit-learn network",
    "keras_improved": "improved Keras network",
    SERVING: "serving model",
}
EXPECTED = (CONSTANT, LINEAR, "scikit", "keras")  # in every run

Interval = tuple[float, float]
Outcome = Literal["better", "worse", "unclear"]
OPPOSITE: dict[Outcome, Outcome] = {"better": "worse", "worse": "better", "unclear": "unclear"}


class Values(BaseModel):
    """A frozen record of plain values that can be written as JSON and read back."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def as_dict(self) -> dict[str, Any]:
        """Plain dictionaries, lists, strings and numbers, ready for a JSON file."""
        return self.model_dump(mode="json")


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

    # A run's metrics keep a model's parameters beside its scores: here they are left out.
    model_config = ConfigDict(extra="ignore")

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


class Comparison(Values):
    """One model against a rival on the same rows; positive differences favour the model.

    `kappa_interval` and `rival_kappa_interval` bound Cohen's kappa of each of the two, which is 0
    for whoever guesses, evenly, by class shares or always the same.
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

    @property
    def is_beyond_guessing(self) -> bool:
        """Whether the model is shown to know more than its own answers dealt out at random."""
        return self.kappa_interval[0] > 0

    @property
    def accuracy_outcome(self) -> Outcome:
        """What the exact McNemar test says about the share of right answers."""
        if self.p_value >= ALPHA:
            return "unclear"
        return "better" if self.won > self.lost else "worse"

    @property
    def f1_macro_outcome(self) -> Outcome:
        """What the score that counts classes alike says, for whom is better than guessing."""
        low, high = self.f1_macro_interval
        if low > 0 and self.is_beyond_guessing:
            return "better"
        return "worse" if high < 0 and self.rival_kappa_interval[0] > 0 else "unclear"


class ModelComparison(Comparison):
    """A `Comparison` that says which model was held against which rival."""

    model: str
    rival: str


class Candidate(Values):
    """One candidate of a grid search.

    `number` is its place in the grid, from 1; `fitted_as` the number of the candidate whose fits
    it shares, its own where it was fitted itself.
    """

    number: int
    fitted_as: int
    rank: int
    params: dict[str, Any]
    mean: float
    std: float


def score_predictions(
    y_true: ArrayLike, y_pred: ArrayLike, labels: Sequence[Any] | None = None
) -> Scores:
    """Score predicted against actual classes.

    Parameters
    ----------
    y_true, y_pred : array-like of shape (n_rows,)
        Actual and predicted classes: both strings or both numbers, none missing.
    labels : sequence, optional
        The classes in the order wanted; by default all that occur, sorted. A class named here
        that never occurs scores 0 and lowers the macro average.

    Returns
    -------
    Scores
        With the classes as strings.

    Raises
    ------
    ValueError
        If there is nothing to score, the lengths differ or a class is missing in `labels`.

    Notes
    -----
    Source: notebook, the score cells of its first two parts. It prints weighted averages only,
    which hide a class that is never found: `f1_macro` and `per_class` show it.
    """
    from sklearn.metrics import accuracy_score, confusion_matrix, precision_recall_fscore_support
    from sklearn.utils.multiclass import unique_labels

    y_true, y_pred = _same_rows(y_true, y_pred)
    occurring = list(unique_labels(y_true, y_pred))
    classes = occurring if labels is None else list(labels)
    # scikit-learn drops such rows from the matrix without a word.
    if strangers := sorted(map(str, set(occurring) - set(classes))):
        raise ValueError(f"expected classes among {classes}, got also {strangers}")

    def averaged(average: str | None) -> tuple[Any, ...]:
        return precision_recall_fscore_support(
            y_true, y_pred, labels=classes, average=average, zero_division=0
        )

    names = tuple(map(str, classes))
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
            for name, (p, r, f, n) in zip(names, each, strict=True)
        },
        labels=names,
        confusion_matrix=confusion_matrix(y_true, y_pred, labels=classes).tolist(),
    )


def wilson_interval(n_correct: int, n_rows: int) -> Interval:
    """Bound a share of right answers by its 95 % Wilson interval."""
    from scipy.stats import binomtest

    low, high = binomtest(n_correct, n_rows).proportion_ci(CONFIDENCE, method="wilson")
    return float(low), float(high)


def compare_predictions(
    y_true: ArrayLike, y_a: ArrayLike, y_b: ArrayLike, seed: int, n_resamples: int = N_RESAMPLES
) -> Comparison:
    """Say by how much the predictions `y_a` are better than `y_b`, and how sure that is.

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
        apart.

    Raises
    ------
    ValueError
        If there is nothing to compare or the lengths differ.

    Notes
    -----
    Drawing rows with replacement is drawing how often each combination (actual, a, b) comes up,
    so resamples are drawn from those combinations: the cost does not grow with the rows.
    """
    from scipy.stats import binomtest

    y_true, y_a = _same_rows(y_true, y_a)
    _, y_b = _same_rows(y_true, y_b)
    classes, coded = np.unique(np.concatenate([y_true, y_a, y_b]), return_inverse=True)
    rows, counts = np.unique(coded.reshape(3, -1), axis=1, return_counts=True)
    actual, a, b = rows

    n = int(counts.sum())
    drawn = np.random.default_rng(seed).multinomial(n, counts / n, size=n_resamples)
    draws = np.vstack([counts, drawn])  # the first line is the sample itself
    accuracy = draws @ ((a == actual) * 1.0 - (b == actual)) / n
    f1_macro = _f1_macro(draws, actual, a, len(classes)) - _f1_macro(draws, actual, b, len(classes))
    won = int(counts[(a == actual) & (b != actual)].sum())
    lost = int(counts[(a != actual) & (b == actual)].sum())
    return Comparison(
        n_rows=n,
        accuracy_difference=float(accuracy[0]),
        accuracy_interval=_percentile_interval(accuracy[1:]),
        f1_macro_difference=float(f1_macro[0]),
        f1_macro_interval=_percentile_interval(f1_macro[1:]),
        kappa_interval=_percentile_interval(_kappa(draws[1:], actual, a, len(classes))),
        rival_kappa_interval=_percentile_interval(_kappa(draws[1:], actual, b, len(classes))),
        won=won,
        lost=lost,
        p_value=float(binomtest(won, won + lost).pvalue) if won + lost else 1.0,
    )


def f1_macro_interval(
    y_true: ArrayLike, y_pred: ArrayLike, seed: int = 0, n_resamples: int = N_RESAMPLES
) -> Interval:
    """Bound the macro-F1 of predictions by its 95 % percentile interval, by bootstrap.

    Takes what `compare_predictions` takes.
    """
    y_true, y_pred = _same_rows(y_true, y_pred)
    classes, coded = np.unique(np.concatenate([y_true, y_pred]), return_inverse=True)
    rows, counts = np.unique(coded.reshape(2, -1), axis=1, return_counts=True)
    actual, predicted = rows
    n = int(counts.sum())
    draws = np.random.default_rng(seed).multinomial(n, counts / n, size=n_resamples)
    return _percentile_interval(_f1_macro(draws, actual, predicted, len(classes)))


def verdict(comparison: Comparison, unit: str = "comments") -> str:
    """Say in plain words what a comparison allows one to say.

    Returns
    -------
    str
        "better", "worse" or "no difference that 900 comments could show" for accuracy; what
        macro-F1 says of the rarer classes is added where that is another clear answer, and that
        the model only guesses where that is why macro-F1 does not count.
    """
    accuracy, f1_macro = comparison.accuracy_outcome, comparison.f1_macro_outcome
    shown = f"that {comparison.n_rows:,} {unit} could show"
    if f1_macro == "unclear" and comparison.f1_macro_interval[0] > 0:
        begun = f"no difference {shown}" if accuracy == "unclear" else accuracy
        return f"{begun}, and no better than guessing"
    if f1_macro in ("unclear", accuracy):
        return f"no difference {shown}" if accuracy == "unclear" else accuracy
    in_accuracy = f"no difference in accuracy {shown}" if accuracy == "unclear" else accuracy
    return f"{in_accuracy}, but {f1_macro} at the rarer classes"


def recommend_model(
    models: Mapping[str, Scores], comparisons: Sequence[ModelComparison]
) -> str | None:
    """Name the simplest model that nothing here is shown to beat.

    A model must be shown better than the constant answer and than every simpler model that is
    shown so: a network than the linear model, an improved network than the improved linear
    model too. Among networks the higher accuracy wins. The serving model is none of this run: it
    is not recommended, only compared with.

    It must be shown better than guessing. Between two models the share of right answers then
    decides; where it cannot, macro-F1 does. Against the constant answer it is the other way
    round, since of unequal classes a useful model may be less often right than the commonest
    answer. `verdict_sentences` then says for whom it is.

    Returns
    -------
    str or None
        A key of `models`, ``"constant"`` where no model beats it, None where there is no model.
    """
    networks = sorted(
        (name for name in models if name not in (*SIMPLE, SERVING)),
        key=lambda name: -models[name].accuracy,
    )
    simple = [name for name in SIMPLE if name in models]
    chosen = simple[0] if simple else None

    def is_better(name: str) -> bool:
        rivals = {rival for rival in (CONSTANT, chosen) if rival and rival in models}
        is_shown = all(_outcome(comparisons, name, rival) == "better" for rival in rivals)
        return is_shown and not _only_guesses(comparisons, name)

    for name in simple[1:]:
        if is_better(name):
            chosen = name
    if chosen is None:
        return networks[0] if networks else None
    return next(filter(is_better, networks), chosen)


def verdict_sentences(
    models: Mapping[str, Scores] | None = None,
    comparisons: Sequence[ModelComparison] = (),
    *,
    digits: Mapping[str, float] | None = None,
    n_digits: int = 0,
) -> tuple[str, ...]:
    """Sum up a run in a few sentences that need no statistics to be understood.

    Parameters
    ----------
    models : mapping of str to Scores, optional
        Scores on the same test comments under the names of `MODEL_TITLES`; a model whose step
        failed is absent. None where the run had no comments.
    comparisons : sequence of ModelComparison
        Any pairs of `models`, either way round; a pair without one gets figures but no judgement.
    digits : mapping of str to float, optional
        Share of the test digits that each network reads correctly; without networks or None
        nothing is said of them.
    n_digits : int
        Number of test digits.

    Returns
    -------
    tuple of str
        In this order and where they apply: which model to use, how it stands against the others,
        what is worse than the constant answer, what only guesses, the weakest class, what could
        not be judged, and the digits.
    """
    sentences = [] if models is None else _comment_sentences(models, comparisons)
    if digits:
        shares = [f"the {name} network reads {percent(share)}" for name, share in digits.items()]
        sentences.append(f"Of {n_digits:,} unseen digits {_listed(shares)} correctly.")
    return tuple(sentences)


def model_title(name: str, models: Mapping[str, Scores] | None = None) -> str:
    """Name a model for people: "Keras network", "always answering “sports”"."""
    if name == CONSTANT and models and CONSTANT in models:
        answers = np.sum(models[CONSTANT].confusion_matrix, axis=0)
        return f"always answering “{models[CONSTANT].labels[int(answers.argmax())]}”"
    return MODEL_TITLES.get(name, name)


def percent(share: float) -> str:
    """Write a share as people read it: 0.75 is "75.0 %", with a space that does not break."""
    return f"{100 * share:.1f}\N{NO-BREAK SPACE}%"


def rank_candidates(
    cv_results: Mapping[str, Sequence[Any]], limit: int | None = None
) -> tuple[Candidate, ...]:
    """List the candidates of a grid search, best first.

    Parameters
    ----------
    cv_results : mapping of str to sequence
        Columns as in ``GridSearchCV.cv_results_`` (``param_*``, ``mean_test_score``,
        ``std_test_score``, ``rank_test_score``), and optionally ``fitted_as``: for each candidate
        the position of the one whose fits it shares, its own where it was fitted itself; and
        ``params``: what each candidate sets, as a mapping or its JSON.
    limit : int, optional
        How many to list; all by default.

    Returns
    -------
    tuple of Candidate
        Ties in the grid's own order; parameter names without the steps of their pipeline. A
        parameter that a candidate does not have (masked, or not in its params) is left out;
        candidates without a score (their fit failed) come last with nan.

    Raises
    ------
    ValueError
        If a column is missing.
    """
    columns = ["rank_test_score", "mean_test_score", "std_test_score"]
    if missing := sorted(set(columns) - set(cv_results)):
        raise ValueError(f"cv_results: expected {columns}, missing {missing}")
    params = _short_names([column for column in cv_results if column.startswith("param_")])
    ranks, means, stds = (list(cv_results[column]) for column in columns)
    positions = range(len(ranks))
    fitted_as = list(cv_results.get("fitted_as", positions))
    told = [json.loads(p) if isinstance(p, str) else p for p in cv_results.get("params", ())]

    def has(i: int, column: str) -> bool:
        is_told = not told or column.removeprefix("param_") in told[i]
        return is_told and cv_results[column][i] is not np.ma.masked

    candidates = [
        Candidate(
            number=i + 1,
            fitted_as=int(fitted_as[i]) + 1,
            rank=int(ranks[i]),
            params={
                name: _plain(cv_results[column][i])
                for column, name in params.items()
                if has(i, column)
            },
            mean=float(means[i]),
            std=float(stds[i]),
        )
        for i in positions
    ]
    return tuple(sorted(candidates, key=lambda candidate: candidate.rank)[:limit])


def _short_names(columns: Sequence[str]) -> dict[str, str]:
    """Map "param_mlp__alpha" to "alpha", or to "mlp__alpha" where another step has an alpha too."""
    last = [re.sub(r"^param_|.*__", "", column) for column in columns]
    return {
        column: name if last.count(name) == 1 else column.removeprefix("param_")
        for column, name in zip(columns, last, strict=True)
    }


def _plain(value: Any) -> Any:
    """Take a value out of NumPy, so that it can be shown and written as JSON."""
    return value.item() if isinstance(value, np.generic) else value


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


def _percentile_interval(differences: NDArray[np.float64]) -> Interval:
    low, high = np.quantile(differences, [ALPHA / 2, 1 - ALPHA / 2])
    return float(low), float(high)


def _find(
    comparisons: Sequence[ModelComparison], model: str, rival: str
) -> tuple[Outcome, Outcome] | None:
    """What is known of model against rival, as (accuracy, macro-F1), either way round."""
    for c in comparisons:
        if (c.model, c.rival) == (model, rival):
            return c.accuracy_outcome, c.f1_macro_outcome
        if (c.model, c.rival) == (rival, model):
            return OPPOSITE[c.accuracy_outcome], OPPOSITE[c.f1_macro_outcome]
    return None


def _outcome(comparisons: Sequence[ModelComparison], model: str, rival: str) -> Outcome | None:
    """Which of the two `recommend_model` holds for better."""
    known = _find(comparisons, model, rival)
    if known is None:
        return None
    first, second = known[::-1] if CONSTANT in (model, rival) else known
    return second if first == "unclear" else first


def _only_guesses(comparisons: Sequence[ModelComparison], model: str) -> bool:
    """Whether a model is not shown to be better than guessing."""
    kappas = [c.kappa_interval for c in comparisons if c.model == model]
    kappas += [c.rival_kappa_interval for c in comparisons if c.rival == model]
    return bool(kappas) and kappas[0][0] <= 0


def _standing(comparisons: Sequence[ModelComparison], model: str, rivals: Mapping[str, str]) -> str:
    """How model stands against its rivals (titles by name), those alike in one breath."""
    groups: dict[tuple[Outcome, Outcome] | None, list[str]] = {}
    for name, title in rivals.items():
        groups.setdefault(_find(comparisons, model, name), []).append(title)
    return "; ".join(_against(known, _listed(titles)) for known, titles in groups.items())


def _against(known: tuple[Outcome, Outcome] | None, rivals: str) -> str:
    """Words for what is known of accuracy and macro-F1 against rivals."""
    match known:
        case None:
            return f"not compared with {rivals}"
        case ("unclear", "unclear"):
            return f"as good as {rivals}"
        case ("unclear", rarer):
            return f"as often right as {rivals}, but {rarer} at the rarer classes"
        case ("better", "worse"):
            return f"more often right than {rivals}, but worse at the rarer classes"
        case ("worse", "better"):
            return f"less often right than {rivals}, but better at the rarer classes"
        case (accuracy, _):
            return f"{accuracy} than {rivals}"


def _listed(phrases: Sequence[str]) -> str:
    """Join phrases as in "a, b and c"."""
    return " and ".join([", ".join(phrases[:-1]), phrases[-1]] if len(phrases) > 1 else phrases)


def _comment_sentences(
    models: Mapping[str, Scores], comparisons: Sequence[ModelComparison]
) -> list[str]:
    """The sentences of `verdict_sentences` on the comments."""
    trained = [name for name in models if name not in (CONSTANT, SERVING)]
    chosen = recommend_model(models, comparisons)
    if chosen is None:
        return ["No model could be judged on the comments."]

    def named(name: str) -> str:
        article = "" if name == CONSTANT else "the "
        return f"{article}{model_title(name, models)}"

    def figure(name: str) -> str:
        return percent(models[name].accuracy)

    unit = f"{models[chosen].n_rows:,} test comments"
    sentences = []
    if chosen == CONSTANT:
        figures = [f"{named(name)} {figure(name)}" for name in trained]
        tail = f", and nothing here is shown to beat it: {_listed(figures)}" if figures else ""
        sentences.append(
            f"Use none of these models: {named(CONSTANT)} is right for {figure(CONSTANT)} "
            f"of {unit}{tail}."
        )
    else:
        against = _find(comparisons, chosen, CONSTANT)
        condition = " if every class matters to you" if against == ("worse", "better") else ""
        sentences.append(
            f"Use {named(chosen)}{condition}: it is right for {figure(chosen)} of {unit}."
        )
        others = [name for name in models if name not in (chosen, SERVING)]
        rivals = sorted(others, key=_simplest_first)
        if rivals:
            titles = {name: f"{named(name)} ({figure(name)})" for name in rivals}
            sentences.append(f"It is {_standing(comparisons, chosen, titles)}.")

        if SERVING in models:
            serving = {SERVING: f"the one that serves now ({figure(SERVING)})"}
            sentences.append(f"It is {_standing(comparisons, chosen, serving)}.")

    if below := [n for n in trained if _outcome(comparisons, n, CONSTANT) == "worse"]:
        verb = "are" if len(below) > 1 else "is"
        losers = _listed([f"{named(name)} ({figure(name)})" for name in below])
        sentences.append(_sentence(f"{losers} {verb} worse than {named(CONSTANT)}."))
    if guess := [n for n in trained if n not in below and _only_guesses(comparisons, n)]:
        verb, whose = ("are", "their") if len(guess) > 1 else ("is", "its")
        guessers = _listed([f"{named(name)} ({figure(name)})" for name in guess])
        sentences.append(
            _sentence(
                f"{guessers} {verb} not shown to be better than guessing: {whose} answers, dealt "
                "out at random, might be right as often."
            )
        )
    if trained:
        sentences.append(_weakness_sentence({name: models[name] for name in trained}))
    if missing := [MODEL_TITLES[name] for name in EXPECTED if name not in models]:
        sentences.append(f"Not judged in this run: the {_listed(missing)}.")
    return sentences


def _weakness_sentence(models: Mapping[str, Scores]) -> str:
    """Which class is found least, and by how much."""
    first = next(iter(models.values()))
    found = {
        label: [scores.confusion_matrix[i][i] for scores in models.values()]
        for i, label in enumerate(first.labels)
        if first.per_class[label].support
    }
    support = {label: first.per_class[label].support for label in found}
    weakest = min(found, key=lambda label: sum(found[label]) / support[label])
    sought = f"Weakest class: of {support[weakest]:,} “{weakest}” comments"
    if not any(found[weakest]):
        return f"{sought} no model finds any."
    counts = [
        f"the {model_title(name)} finds {n_found or 'none'}"
        for name, n_found in zip(models, found[weakest], strict=True)
    ]
    return f"{sought} {_listed(counts)}."


def _simplest_first(name: str) -> int:
    titles = list(MODEL_TITLES)
    return titles.index(name) if name in titles else len(titles)


def _sentence(words: str) -> str:
    return words[0].upper() + words[1:]
