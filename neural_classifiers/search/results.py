"""Results of a plan whose fits are stored, in the table that scikit-learn makes of its own fits."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.model_selection import GridSearchCV

from neural_classifiers.errors import ParameterError
from neural_classifiers.search.answers import FitAnswer, decode, score
from neural_classifiers.search.plan import SearchPlan, with_parameters


@dataclass(frozen=True)
class SearchResults:
    """Results under the names that `GridSearchCV` gives them.

    Attributes
    ----------
    cv_results_ : dict of str to sequence
        `GridSearchCV`'s columns, then three of our own. ``shared_with``: the first candidate
        whose training this one's results come from, its own number if it shares none;
        ``mean_fit_time`` of such rows counts the same seconds again. Times are measured,
        without the transformers that a fold shares; in a training of several epoch counts,
        up to the epoch in question. ``error``: first error of the candidate's fits, or ``""``.
        ``fitted_as``: the first candidate that cannot differ from this one; itself, mostly.
    best_index_ : int
    """

    cv_results_: dict[str, Any]
    best_index_: int

    @property
    def best_params_(self) -> dict[str, Any]:
        """Parameters of the best candidate, named as in the grid."""
        return self.cv_results_["params"][self.best_index_]

    @property
    def best_score_(self) -> float:
        """Its mean score over the folds."""
        return float(self.cv_results_["mean_test_score"][self.best_index_])


def collect(plan: SearchPlan, store: Mapping[str, bytes]) -> SearchResults:
    """Results of a search whose fits are all in the store. Fits nothing.

    Raises
    ------
    LookupError
        If fits are missing: how many, and the first of them.
    ValueError
        If every fit failed.
    """
    table = tabulate([plan], store)
    return SearchResults(table, int(table["rank_test_score"].argmin()))


def tabulate(
    plans: Sequence[SearchPlan],
    store: Mapping[str, bytes],
    more: Mapping[str, Sequence[Any]] | None = None,
) -> dict[str, Any]:
    """Candidates of several plans over as many folds, ranked together: a ``cv_results_``.

    Parameters
    ----------
    plans : sequence of SearchPlan
    store : mapping of str to bytes
        As for `collect`, which says what is raised.
    more : mapping of str to sequence, optional
        Columns to begin with.

    Notes
    -----
    `GridSearchCV._format_results` is a private method of scikit-learn, which is held to one
    minor release for `search.equivalence` already. Tests compare every column.
    """
    fits = [fit for plan in plans for fit in _scored_fits(plan, store)]
    n_folds = len(plans[0].folds)
    params = [candidate for plan in plans for candidate in plan.candidates]
    table = GridSearchCV(plans[0].estimator, {})._format_results(params, n_folds, fits, more)
    errors = np.array([fit["error"] for fit in fits], dtype=object).reshape(-1, n_folds)
    starts = np.cumsum([0] + [len(plan.candidates) for plan in plans])
    shared_with, fitted_as = [], []
    for plan, start in zip(plans, starts, strict=False):
        served_by = {c: min(group) for group in plan.trainings for c in group}
        shared_with += [start + served_by[same] for same in plan.same_as]
        fitted_as += [start + same for same in plan.same_as]
    table["shared_with"] = np.array(shared_with)
    table["error"] = [next(filter(None, row), "") for row in errors]
    table["fitted_as"] = np.array(fitted_as)
    return table


def _scored_fits(plan: SearchPlan, store: Mapping[str, bytes]) -> Iterator[dict[str, Any]]:
    """Each candidate on each fold, as scikit-learn writes a fit down."""
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
        raise ParameterError(f"all {len(pairs)} fits failed, the first with {first}")
    scored = {}
    for (candidate, fold), answer in answers.items():
        value, error = score(answer, plan.scorer, plan.estimator, *plan.held_out(fold))
        scored[candidate, fold] = {
            "fit_time": answer.fit_seconds,
            "score_time": answer.score_seconds,
            "test_scores": value,
            "error": error,
        }
    return (scored[same, fold] for same in plan.same_as for fold in range(n_folds))


def refit(plan: SearchPlan, results: SearchResults, instead: tuple[Any, Any] | None = None) -> Any:
    """The best candidate's estimator, fitted on all rows; or on `instead`, an (X, y) of more."""
    X, y = instead or (plan.X, plan.y)
    return with_parameters(plan.estimator, results.best_params_).fit(X, y)


def held_out_answers(
    plan: SearchPlan, candidate: int, store: Mapping[str, bytes]
) -> list[tuple[np.ndarray, FitAnswer]]:
    """Answers of a candidate on each fold: the rows held out, and the answer.

    Raises
    ------
    LookupError
        If a fit of the candidate is missing or failed.
    """
    answers = []
    for fold, (_, rows) in enumerate(plan.folds):
        answer = decode(store.get(plan.key(candidate, fold)))
        if answer is None or answer.error:
            raise LookupError(
                f"expected a fit of {plan.candidates[candidate]} on fold {fold}, got none"
            )
        answers.append((rows, answer))
    return answers
