"""What a single score hides: where models are weak, why they answer so, what more data would do.

Everything about the test set is computed from answers that were given once; what needs new
fits (the learning curve) stays on training rows.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neural_classifiers.judgement.names import SERVING, SIMPLE, percent
from neural_classifiers.judgement.scores import wilson_interval

__all__ = [
    "deciding_words",
    "learning_curve",
    "more_data",
    "occlusion",
    "score_slices",
    "surest_mistakes",
    "suspected_labels",
    "warnings",
]

LINK = re.compile(r"https?://|www\.|\]\(", re.IGNORECASE)
N_FILES = 8  # of the source that are told apart
N_WORDS, N_MISTAKES = 10, 10
SHARES = (0.1, 0.2, 0.4, 0.7, 1.0)  # of the learning curve
TOO_GOOD = 0.99  # no model sorts people's comments so well without a leak
NEAR_DUPLICATES = 0.05  # of the test comments, beyond which they make a score look better
UNSURE = 0.1  # calibration error beyond which probabilities mislead

Shares = Mapping[str, NDArray[np.bool_]]


# --- slices -------------------------------------------------------------------------------


def slices_of(texts: Sequence[str], files: Sequence[str]) -> dict[str, NDArray[np.bool_]]:
    """Comments by length (three equal parts), with and without a link, by source file.

    Parameters
    ----------
    texts : sequence of str
        As they came, not cleaned.
    files : sequence of str
        Name of the file that each came from; told apart where there are from 2 to 8 of them.
    """
    lengths = np.array([len(text) for text in texts])
    low, high = np.quantile(lengths, [1 / 3, 2 / 3], method="nearest").tolist()
    has_link = np.array([bool(LINK.search(text)) for text in texts])
    found = {
        f"up to {low:,} characters": lengths <= low,
        f"{low + 1:,} to {high:,} characters": (lengths > low) & (lengths <= high),
        f"more than {high:,} characters": lengths > high,
        "with a link": has_link,
        "without a link": ~has_link,
    }
    names, of_file = np.unique(np.asarray(files, dtype=str), return_inverse=True)
    if 1 < len(names) <= N_FILES:
        found |= {f"from {name}": of_file == i for i, name in enumerate(names)}
    return {name: rows for name, rows in found.items() if rows.any()}


def score_slices(
    slices: Shares, actual: NDArray[Any], predicted: Mapping[str, NDArray[Any]]
) -> list[dict[str, Any]]:
    """Accuracy of each model on each slice of the test set.

    Returns
    -------
    list of dict
        ``slice``, ``rows`` and by model ``accuracy``, ``low``, ``high`` (95 %, Wilson) and
        ``is_weaker``: the interval lies below the model's accuracy on all rows.
    """
    overall = {name: float((answers == actual).mean()) for name, answers in predicted.items()}
    told = []
    for name, rows in slices.items():
        models = {}
        for model, answers in predicted.items():
            right, n = int((answers == actual)[rows].sum()), int(rows.sum())
            low, high = wilson_interval(right, n)
            models[model] = {
                "accuracy": right / n,
                "low": low,
                "high": high,
                "is_weaker": high < overall[model],
            }
        told.append({"slice": name, "rows": int(rows.sum()), "models": models})
    return told


# --- mistakes and reasons -----------------------------------------------------------------


def surest_mistakes(
    actual: NDArray[Any],
    predicted: NDArray[Any],
    probabilities: NDArray[np.float64],
    classes: Sequence[str],
    limit: int = N_MISTAKES,
) -> list[dict[str, Any]]:
    """The wrong answers that a model was surest of, the surest first.

    Parameters
    ----------
    actual, predicted : ndarray of str, shape (n_rows,)
    probabilities : ndarray of shape (n_rows, n_classes)
    classes : sequence of str
        In the order of the columns, sorted.
    limit : int

    Returns
    -------
    list of dict
        ``row``, ``actual``, ``predicted``, ``p_actual`` and ``p_predicted``.
    """
    rows, names = np.arange(len(actual)), np.asarray(classes, dtype=str)
    surest = probabilities[rows, np.searchsorted(names, predicted)]
    of_actual = probabilities[rows, np.searchsorted(names, actual)]
    wrong = np.flatnonzero(predicted != actual)
    worst = wrong[np.argsort(-surest[wrong], kind="stable")][:limit]
    return [
        {
            "row": int(i),
            "actual": str(actual[i]),
            "predicted": str(predicted[i]),
            "p_actual": float(of_actual[i]),
            "p_predicted": float(surest[i]),
        }
        for i in worst
    ]


def deciding_words(pipeline: Any, limit: int = N_WORDS) -> dict[str, list[str]]:
    """For each class the words that speak for it most, by the weights of a linear model.

    Parameters
    ----------
    pipeline : Pipeline
        Fitted; features first, whose names say ``words__goal``, and a linear classifier last,
        perhaps with a temperature.
    limit : int
        Words a class; n-grams of characters are left out, since they are no words.

    Notes
    -----
    Of naive Bayes a weight is how much likelier the class makes the word than the mean class does.
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
    found = {}
    for label, weight in zip(classifier.classes_, weights, strict=True):
        best = words[np.argsort(-weight[words], kind="stable")][:limit]
        found[str(label)] = [names[i].removeprefix("words__") for i in best if weight[i] > 0]
    return found


def occlusion(
    predict_proba: Callable[[list[str]], NDArray[np.float64]],
    text: str,
    place: int,
    max_words: int = 60,
    limit: int = 5,
) -> dict[str, Any]:
    """Which words of a comment a model's answer hangs on: what it loses without each.

    Parameters
    ----------
    predict_proba : callable
        Of cleaned texts.
    text : str
        Cleaned: words separated by spaces.
    place : int
        Of the answer among the classes.
    max_words : int
        Of the comment that are tried.
    limit : int
        Words to tell, those that the answer loses most without.

    Returns
    -------
    dict
        ``probability`` of the answer, and ``words``: pairs of a word and by how much the
        probability falls when every occurrence is left out.
    """
    words = text.split()
    tried = list(dict.fromkeys(words))[:max_words]
    without = [" ".join(w for w in words if w != each) for each in tried]
    probabilities = predict_proba([text, *without])
    falls = probabilities[0, place] - probabilities[1:, place]
    order = np.argsort(-falls, kind="stable")[:limit]
    return {
        "probability": float(probabilities[0, place]),
        "words": [(tried[i], float(falls[i])) for i in order],
    }


# --- training rows ------------------------------------------------------------------------


def suspected_labels(
    labels: Sequence[str], probabilities: NDArray[np.float64], classes: Sequence[str]
) -> list[int]:
    """Rows whose label is likely wrong, the likeliest first, by confident learning.

    Parameters
    ----------
    labels : sequence of str
    probabilities : ndarray of shape (n_rows, n_classes)
        From models that were not fitted on the row, each row summing to 1.
    classes : sequence of str
        In the order of the columns.

    Notes
    -----
    Source: C. Northcutt et al., Confident Learning, JAIR 70, 2021; by cleanlab.
    """
    from cleanlab.filter import find_label_issues

    places = np.searchsorted(np.asarray(classes), np.asarray(labels))
    found = find_label_issues(
        places,
        probabilities,
        filter_by="confident_learning",
        return_indices_ranked_by="normalized_margin",
        n_jobs=1,
    )
    return [int(row) for row in found]


def learning_curve(
    pipeline: Any, X: Sequence[str], y: Sequence[str], folds: int, seed: int
) -> list[dict[str, Any]]:
    """How a model does with a tenth of the training rows, and with more and more of them.

    Parameters
    ----------
    pipeline : Pipeline
        Cloned for each fit.
    X, y : sequences
        Training rows only; each size is judged on the rows that its folds hold out.
    folds, seed : int

    Returns
    -------
    list of dict
        ``rows`` (trained on), mean and standard error over the folds of ``accuracy`` and
        ``f1_macro``. Sizes that lack a class are left out.
    """
    from sklearn.base import clone
    from sklearn.metrics import accuracy_score, f1_score
    from sklearn.model_selection import StratifiedKFold

    texts, labels = np.asarray(X, dtype=object), np.asarray(y)
    rng = np.random.default_rng(seed)
    parts = [
        (rng.permutation(train), held_out)
        for train, held_out in StratifiedKFold(folds).split(texts, labels)
    ]
    curve = []
    for share in SHARES:
        scores, sizes = [], []
        for train, held_out in parts:
            drawn = train[: max(1, round(share * len(train)))]
            if len(np.unique(labels[drawn])) < len(np.unique(labels)):
                break
            answers = clone(pipeline).fit(texts[drawn], labels[drawn]).predict(texts[held_out])
            f1 = f1_score(labels[held_out], answers, average="macro", zero_division=0)
            scores.append((accuracy_score(labels[held_out], answers), f1))
            sizes.append(len(drawn))
        else:
            mean, error = np.mean(scores, axis=0), np.std(scores, axis=0, ddof=1) / folds**0.5
            curve.append(
                {
                    "rows": round(float(np.mean(sizes))),
                    "accuracy": float(mean[0]),
                    "accuracy_error": float(error[0]),
                    "f1_macro": float(mean[1]),
                    "f1_macro_error": float(error[1]),
                }
            )
    return curve


def more_data(curve: Sequence[Mapping[str, Any]], fitted_on: int) -> str:
    """What the learning curve says of more data, in a sentence; "" if it is too short.

    `fitted_on` are the training comments that there are: where the curve was drawn on a sample of
    them it does not reach so far.
    """
    if len(curve) < 3:
        return ""
    before, last = curve[-3], curve[-1]
    # what a doubling brought, from the last two steps of the curve
    doublings = np.log2(last["rows"] / before["rows"])
    gain = (last["f1_macro"] - before["f1_macro"]) / doublings
    error = np.hypot(last["f1_macro_error"], before["f1_macro_error"]) / doublings
    told = (
        f"From {before['rows']:,} to {last['rows']:,} training comments the macro-F1 of the linear "
        f"model went from {before['f1_macro']:.3f} to {last['f1_macro']:.3f}"
    )
    if fitted_on > 2 * last["rows"]:
        told += "" if gain > 2 * error else ", which may be chance"
        return (
            f"{told}. The models were fitted on all {fitted_on:,}: what more than those would "
            "bring, this does not show."
        )
    if gain > 2 * error:
        return f"{told}: twice as many comments may bring another {gain:.2f}."
    return f"{told}, which may be chance: more comments of this kind would hardly help."


# --- warnings -----------------------------------------------------------------------------


def warnings(
    models: Mapping[str, Mapping[str, Any]],
    titles: Mapping[str, str],
    recommended: str | None,
    comparisons: Sequence[Mapping[str, Any]],
    near: Mapping[str, Any] | None = None,
    suspected_share: float = 0.0,
) -> list[str]:
    """What a reader should know before using a model, in words; nothing where all is well.

    Parameters
    ----------
    models : mapping
        Of each model ``accuracy``, ``per_class``, ``confusion_matrix``, ``labels`` and, if
        measured, ``calibration``.
    titles : mapping of str to str
        What each model is called.
    recommended : str or None
    comparisons : sequence of mappings
        As `judgement.scores.ModelComparison` writes them.
    near : mapping, optional
        ``share`` of the test comments that nearly repeat a training comment.
    suspected_share : float
        Of the training comments whose label is likely wrong.
    """
    told = []
    trained = {name: scores for name, scores in models.items() if name != "constant"}
    best = max(trained, key=lambda name: trained[name]["accuracy"], default=None)
    if best and trained[best]["accuracy"] >= TOO_GOOD:
        told.append(
            f"Too good to be true? The {titles[best]} is right for "
            f"{percent(trained[best]['accuracy'])} of the test comments. Look whether the text "
            "gives its label away; the words that decide, below, may show how."
        )
    if near and near["share"] > NEAR_DUPLICATES:
        told.append(
            f"{percent(near['share'])} of the test comments nearly repeat a training comment: the "
            "scores are better than they would be on new comments."
        )
    for name, scores in trained.items():
        answers = np.sum(scores["confusion_matrix"], axis=0)
        never = [label for label, n in zip(scores["labels"], answers, strict=True) if not n]
        if never:
            listed = " and ".join(f"“{label}”" for label in never)
            told.append(f"The {titles[name]} never answers {listed}.")
    network = _best_network(trained)
    for c in comparisons:
        if (c["model"], c["rival"]) != (network, recommended):
            continue
        low, high = c["accuracy_interval"]
        if low <= 0 <= high:
            told.append(
                f"The test set is too small to tell the {titles[c['model']]} from the "
                f"{titles[c['rival']]}: {c['n_rows']:,} comments show differences of about "
                f"{100 * (high - low) / 2:.1f} points or more, and this one is "
                f"{100 * abs(c['accuracy_difference']):.1f}."
            )
        if recommended != "constant":
            told.append(
                f"A simpler model is as good: no network is shown to be better than the "
                f"{titles[c['rival']]}, not even the {titles[c['model']]}."
            )
    if recommended in trained:
        calibration = trained[recommended].get("calibration")
        if calibration and calibration["ece"] > UNSURE:
            told.append(
                f"The probabilities of the {titles[recommended]} mislead: they are off by "
                f"{percent(calibration['ece'])} on average."
            )
    if suspected_share > NEAR_DUPLICATES:
        told.append(
            f"{percent(suspected_share)} of the training comments may carry a wrong label; the "
            "likeliest are listed below."
        )
    return told


def _networks(models: Mapping[str, Mapping[str, Any]]) -> list[str]:
    return [name for name in models if name not in (*SIMPLE, SERVING)]


def _best_network(models: Mapping[str, Mapping[str, Any]]) -> str | None:
    return max(_networks(models), key=lambda name: models[name]["accuracy"], default=None)
