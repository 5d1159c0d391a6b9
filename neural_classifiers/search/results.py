"""The results of a plan whose fits are there: scores, ranks and winner as GridSearchCV's."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.base import is_classifier, is_regressor

from neural_classifiers.search.answers import Outcome, decode, score
from neural_classifiers.search.cv_results import add_mean_and_std, add_scores, parameter_columns
from neural_classifiers.search.plan import SearchPlan, SearchResults


def _score(plan: SearchPlan, outcome: Outcome, fold: int) -> tuple[dict[str, float], str]:
    """Scores of one fit by scorer, and its first error."""
    kind = "classifier" if is_classifier(plan.estimator) else None
    kind = "regressor" if is_regressor(plan.estimator) else kind
    return score(outcome, plan.scorers, kind, *plan.held_out(fold))


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
    outcomes = {pair: outcome for pair, outcome in stored.items() if outcome is not None}
    missing = [pair for pair in pairs if pair not in outcomes]
    if missing:
        candidate, fold = missing[0]
        raise LookupError(
            f"{len(missing)} of {len(pairs)} fits are not in the store, the first: "
            f"{plan.candidates[candidate]} on fold {fold}"
        )
    if all(outcome.error for outcome in outcomes.values()):
        first = outcomes[pairs[0]].error
        raise ValueError(f"all {len(pairs)} fits failed, the first with {first}")
    scored = {pair: _score(plan, outcome, pair[1]) for pair, outcome in outcomes.items()}

    def table(values: Mapping[tuple[int, int], float]) -> np.ndarray:
        """One row per candidate, one column per fold."""
        rows = [[values[same, fold] for fold in range(n_folds)] for same in plan.same_as]
        return np.array(rows, dtype=np.float64)

    results: dict[str, Any] = {}
    fit_seconds = {pair: outcome.fit_seconds for pair, outcome in outcomes.items()}
    score_seconds = {pair: outcome.score_seconds for pair, outcome in outcomes.items()}
    add_mean_and_std(results, "fit_time", table(fit_seconds))
    add_mean_and_std(results, "score_time", table(score_seconds))
    results.update(parameter_columns(plan.candidates))
    results["params"] = [dict(candidate) for candidate in plan.candidates]
    for name in plan.scorers:
        scores = {pair: by_name[name] for pair, (by_name, _) in scored.items()}
        add_scores(results, f"test_{name}", table(scores))
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
    return _with_best(plan, SearchResults(results, None, None, None, errors))


def _with_best(plan: SearchPlan, results: SearchResults) -> SearchResults:
    if plan.is_multimetric and plan.refit is False:
        return results
    table = results.cv_results_
    if callable(plan.refit):
        best = plan.refit(table)
        if not 0 <= best < len(plan.candidates):
            raise IndexError(f"refit: expected a candidate's index, got {best}")
        return replace(results, best_index_=int(best), best_params_=table["params"][best])
    metric = plan.refit if plan.is_multimetric else "score"
    best = int(table[f"rank_test_{metric}"].argmin())
    return replace(
        results,
        best_index_=best,
        best_params_=table["params"][best],
        best_score_=float(table[f"mean_test_{metric}"][best]),
    )


def held_out_answers(
    plan: SearchPlan, results: SearchResults, store: Mapping[str, bytes]
) -> list[tuple[np.ndarray, Outcome]]:
    """What the best candidate answered on each fold: the rows held out, and the answers.

    Raises
    ------
    LookupError
        If a fit of the best candidate is missing or failed.
    """
    answers = []
    for fold, (_, rows) in enumerate(plan.folds):
        outcome = decode(store.get(plan.key(results.best_index_ or 0, fold)))
        if outcome is None or outcome.error:
            raise LookupError(f"expected the best candidate's fit on fold {fold}, found none")
        answers.append((rows, outcome))
    return answers
