"""Results of a plan whose fits are stored: `GridSearchCV`'s, in its arithmetic, to the last digit.

Source: scikit-learn 1.9.1, ``BaseSearchCV`` in sklearn/model_selection/_search.py; a test
holds every column against `GridSearchCV` itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.ma import MaskedArray
from scipy.stats import rankdata

from neural_classifiers.search.answers import FitAnswer, decode, score
from neural_classifiers.search.plan import SearchPlan


@dataclass(frozen=True)
class SearchResults:
    """Results under the names that `GridSearchCV` gives them.

    Attributes
    ----------
    cv_results_ : dict of str to sequence
        `GridSearchCV`'s columns, then two of our own. ``shared_with``: the first candidate
        whose training this one's results come from, its own number if it shares none;
        ``mean_fit_time`` of such rows counts the same seconds again. Times are measured,
        without the transformers that a fold shares; in a training of several epoch counts,
        up to the epoch in question. ``error``: first error of the candidate's fits, or ``""``.
    best_index_, best_params_, best_score_ : int, dict, float
    errors : dict of (int, int) to str
        Full text of what failed, by candidate and fold.
    """

    cv_results_: dict[str, Any]
    best_index_: int
    best_params_: dict[str, Any]
    best_score_: float
    errors: dict[tuple[int, int], str]


def collect(plan: SearchPlan, store: Mapping[str, bytes]) -> SearchResults:
    """Results of a search whose fits are all in the store. Fits nothing.

    Raises
    ------
    LookupError
        If fits are missing: how many, and the first of them.
    ValueError
        If every fit failed.
    """
    n_folds = len(plan.folds)
    pairs = [(candidate, fold) for candidate in plan.distinct for fold in range(n_folds)]
    stored = {pair: decode(store.get(plan.key(*pair))) for pair in pairs}
    answers = {pair: answer for pair, answer in stored.items() if answer is not None}
    missing = [pair for pair in pairs if pair not in answers]
    if missing:
        candidate, fold = missing[0]
        raise LookupError(
            f"{len(missing)} of {len(pairs)} fits are not in the store, the first: "
            f"{plan.candidates[candidate]} on fold {fold}"
        )
    if all(answer.error for answer in answers.values()):
        first = answers[pairs[0]].error
        raise ValueError(f"all {len(pairs)} fits failed, the first with {first}")
    scored = {
        (candidate, fold): score(answer, plan.scorer, plan.estimator, *plan.held_out(fold))
        for (candidate, fold), answer in answers.items()
    }

    def table(values: Mapping[tuple[int, int], float]) -> np.ndarray:
        """One row per candidate, one column per fold."""
        rows = [[values[same, fold] for fold in range(n_folds)] for same in plan.same_as]
        return np.array(rows, dtype=np.float64)

    results: dict[str, Any] = {}
    for name in ("fit", "score"):
        seconds = {pair: getattr(answer, f"{name}_seconds") for pair, answer in answers.items()}
        _add_mean_and_std(results, f"{name}_time", table(seconds))
    results.update(parameter_columns(plan.candidates))
    results["params"] = [dict(candidate) for candidate in plan.candidates]
    add_scores(results, table({pair: value for pair, (value, _) in scored.items()}))
    errors = {
        (candidate, fold): scored[same, fold][1]
        for candidate, same in enumerate(plan.same_as)
        for fold in range(n_folds)
        if scored[same, fold][1]
    }
    served_by = {c: min(group) for group in plan.trainings for c in group}
    results["shared_with"] = np.array([served_by[same] for same in plan.same_as])
    results["error"] = [
        next((errors[c, fold] for fold in range(n_folds) if (c, fold) in errors), "")
        for c in range(len(plan.candidates))
    ]
    best = int(results["rank_test_score"].argmin())
    best_score = float(results["mean_test_score"][best])
    return SearchResults(results, best, results["params"][best], best_score, errors)


def refit(plan: SearchPlan, results: SearchResults, instead: tuple[Any, Any] | None = None) -> Any:
    """The best candidate's estimator, fitted on all rows; or on `instead`, an (X, y) of more."""
    X, y = instead or (plan.X, plan.y)
    return plan.build(results.best_index_).fit(X, y)


def held_out_answers(
    plan: SearchPlan, results: SearchResults, store: Mapping[str, bytes]
) -> list[tuple[np.ndarray, FitAnswer]]:
    """Answers of the best candidate on each fold: the rows held out, and the answer.

    Raises
    ------
    LookupError
        If a fit of the best candidate is missing or failed.
    """
    answers = []
    for fold, (_, rows) in enumerate(plan.folds):
        answer = decode(store.get(plan.key(results.best_index_, fold)))
        if answer is None or answer.error:
            raise LookupError(f"expected the best candidate's fit on fold {fold}, got none")
        answers.append((rows, answer))
    return answers


def add_scores(results: dict[str, Any], scores: np.ndarray) -> None:
    """Add the columns of the scores, of shape (n_candidates, n_folds): each fold, mean, std, rank.

    A candidate without a mean ranks with the worst; equal means share the better rank.
    """
    for fold in range(scores.shape[1]):
        results[f"split{fold}_test_score"] = scores[:, fold]
    _add_mean_and_std(results, "test_score", scores)
    mean = results["mean_test_score"]
    if np.isnan(mean).all():
        results["rank_test_score"] = np.ones(len(mean), dtype=np.int32)
        return
    filled = np.where(np.isnan(mean), np.nanmin(mean) - 1, mean)
    results["rank_test_score"] = rankdata(-filled, method="min").astype(np.int32)


def _add_mean_and_std(results: dict[str, Any], name: str, values: np.ndarray) -> None:
    mean = np.average(values, axis=1)
    results[f"mean_{name}"] = mean
    results[f"std_{name}"] = np.sqrt(np.average((values - mean[:, None]) ** 2, axis=1))


def parameter_columns(candidates: Sequence[Mapping[str, Any]]) -> dict[str, MaskedArray]:
    """One ``param_`` column per name, masked where a candidate has no such parameter."""
    columns = {}
    for name in dict.fromkeys(name for candidate in candidates for name in candidate):
        present = [i for i, candidate in enumerate(candidates) if name in candidate]
        values = [candidates[i][name] for i in present]
        column = MaskedArray(np.empty(len(candidates), dtype=_column_type(values)), mask=True)
        for i, value in zip(present, values, strict=True):
            column[i] = value
        columns[f"param_{name}"] = column
    return columns


def _column_type(values: list[Any]) -> np.dtype:
    """Type that numpy gives the values; object for texts and for values that are sequences."""
    try:
        array = np.array(values)
    except ValueError:  # sequences of different lengths
        return np.dtype(object)
    return array.dtype if array.ndim == 1 and array.dtype.kind != "U" else np.dtype(object)
