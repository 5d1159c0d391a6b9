"""Successive halving: all candidates on few rows, the best of them on more, and so on.

The schedule, the rows of each round and the choice are those of scikit-learn's
`HalvingGridSearchCV` with its own defaults, to the last digit; the fits are ours: stored, merged,
shared, by several workers if one likes. Unlike the grid it may lose the best candidate, since it
judges most of them on little.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.base import is_classifier
from sklearn.utils import resample

from neural_classifiers.search.fits import FitCounts, fit
from neural_classifiers.search.plan import SearchPlan, Store, plan_search
from neural_classifiers.search.results import (
    SearchResults,
    add_scores,
    collect,
    parameter_columns,
)


def halve(
    plan: SearchPlan,
    store: Store,
    *,
    factor: float = 3,
    seed: int = 0,
    fit: Callable[[SearchPlan, Store], FitCounts] = fit,
) -> tuple[SearchPlan, SearchResults]:
    """Search the candidates of a plan by successive halving.

    Parameters
    ----------
    plan : SearchPlan
    store : mutable mapping of str to bytes
        As for `fits.fit`.
    factor : float
        One of so many candidates goes on to the next round, which has so many times the rows.
    seed : int
        Draws the rows of each round; ``random_state`` of `HalvingGridSearchCV`.
    fit : callable
        Makes the fits of a round, e.g. `fits.fit` with its executor chosen.

    Returns
    -------
    plan : SearchPlan
        The candidates of all rounds, for `results.refit`; its folds are whole.
    results : SearchResults
        As `HalvingGridSearchCV` gives them (``return_train_score=False``), with columns
        ``iter`` and ``n_resources``; the best of the last round is the best.

    Raises
    ------
    ValueError
        If the factor is at most 1, or the rows are too few to begin with.
    """
    if factor <= 1:
        raise ValueError(f"factor: expected a number above 1, got {factor}")
    most = len(plan.y)
    least = 2 * len(plan.folds) * (len(np.unique(plan.y)) if is_classifier(plan.estimator) else 1)
    if least > most:
        raise ValueError(f"expected at least {least} rows for successive halving, got {most}")
    n_needed = 1 + math.floor(math.log(len(plan.candidates), factor))
    least = max(least, int(most // factor ** (n_needed - 1)))
    n_possible = 1 + math.floor(math.log(most // least, factor))

    candidates = list(plan.candidates)
    plans, tables, rows = [], [], []
    for number in range(min(n_possible, n_needed)):
        n_rows = min(int(factor**number * least), most)
        round_plan = plan_search(
            plan.estimator,
            [{name: [value] for name, value in c.items()} for c in candidates],  # in this order
            plan.X,
            plan.y,
            namespace=plan.namespace,
            cv=[_drawn(fold, n_rows / most, seed) for fold in plan.folds],
            scoring=plan.scorer,
        )
        round_plan = replace(round_plan, candidates=tuple(candidates))  # their names in our order
        fit(round_plan, store)
        table = collect(round_plan, store)
        plans.append(round_plan)
        tables.append(table)
        rows.append(n_rows)
        order = np.argsort(means := table.cv_results_["mean_test_score"])
        order = np.roll(order, np.count_nonzero(np.isnan(means)))  # nan is worst, not best
        candidates = [candidates[i] for i in order[-math.ceil(len(candidates) / factor) :]]
    return _together(plan, plans), _all_rounds(tables, rows)


def _drawn(fold: tuple[np.ndarray, np.ndarray], fraction: float, seed: int) -> tuple[Any, Any]:
    train, test = (
        resample(rows, replace=False, random_state=seed, n_samples=int(fraction * len(rows)))
        for rows in fold
    )
    return train, test


def _together(base: SearchPlan, plans: Sequence[SearchPlan]) -> SearchPlan:
    """One plan of the candidates of all rounds."""
    starts = np.cumsum([0] + [len(plan.candidates) for plan in plans]).tolist()
    shifted = list(zip(plans, starts, strict=False))
    return replace(
        base,
        candidates=tuple(c for plan in plans for c in plan.candidates),
        same_as=tuple(start + same for plan, start in shifted for same in plan.same_as),
        identities=tuple(identity for plan in plans for identity in plan.identities),
        stages=tuple(stage for plan in plans for stage in plan.stages),
        trainings=tuple(
            tuple(start + c for c in group) for plan, start in shifted for group in plan.trainings
        ),
    )


def _all_rounds(tables: Sequence[SearchResults], rows: Sequence[int]) -> SearchResults:
    """The tables of all rounds as one, ranked together; the best of the last is the best."""
    n_candidates = [len(table.cv_results_["params"]) for table in tables]
    starts = np.cumsum([0, *n_candidates])
    params = [each for table in tables for each in table.cv_results_["params"]]
    results: dict[str, Any] = {
        "iter": np.repeat(range(len(tables)), n_candidates).tolist(),
        "n_resources": np.repeat(rows, n_candidates).tolist(),
    }
    for name in tables[0].cv_results_:
        columns = [table.cv_results_[name] for table in tables]
        if name == "params":
            results[name] = params
        elif name.startswith("param_"):
            results.update(parameter_columns(params))
        elif name == "shared_with":
            results[name] = np.concatenate(
                [column + start for column, start in zip(columns, starts, strict=False)]
            )
        elif name == "error":
            results[name] = [each for column in columns for each in column]
        else:
            results[name] = np.concatenate(columns)
    splits = [name for name in results if name.startswith("split")]
    add_scores(results, np.column_stack([results[name] for name in splits]))
    best = int(starts[-2] + np.nanargmax(results["mean_test_score"][starts[-2] :]))
    errors = {
        (int(candidate + start), fold): error
        for table, start in zip(tables, starts, strict=False)
        for (candidate, fold), error in table.errors.items()
    }
    return SearchResults(
        results, best, params[best], float(results["mean_test_score"][best]), errors
    )
