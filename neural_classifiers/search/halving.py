"""Successive halving: all candidates on few rows, the best of them on more, and so on.

The schedule, the rows of each round and the choice are those of scikit-learn's
`HalvingGridSearchCV` with its own defaults, to the last digit; the fits are ours: stored, merged,
shared, by several workers if one likes. Unlike the grid it may lose the best candidate, since it
judges most of them on little.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.base import is_classifier
from sklearn.utils import resample

from neural_classifiers.errors import ParameterError
from neural_classifiers.search.fits import FitCounts, fit
from neural_classifiers.search.plan import SearchPlan, Store, plan_search
from neural_classifiers.search.results import SearchResults, collect, tabulate


def halve(
    plan: SearchPlan,
    store: Store,
    *,
    factor: float = 3,
    seed: int = 0,
    fit: Callable[[SearchPlan, Store], FitCounts] = fit,
) -> SearchResults:
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
    SearchResults
        The candidates of all rounds, as `HalvingGridSearchCV` gives them
        (``return_train_score=False``), with columns ``iter`` and ``n_resources``; the best of
        the last round is the best.

    Raises
    ------
    ValueError
        If the factor is at most 1, or the rows are too few to begin with.
    """
    if factor <= 1:
        raise ParameterError(f"factor: expected a number above 1, got {factor}")
    most = len(plan.y)
    least = 2 * len(plan.folds) * (len(np.unique(plan.y)) if is_classifier(plan.estimator) else 1)
    if least > most:
        raise ParameterError(f"expected at least {least} rows for successive halving, got {most}")
    n_needed = 1 + math.floor(math.log(len(plan.candidates), factor))
    least = max(least, int(most // factor ** (n_needed - 1)))
    n_possible = 1 + math.floor(math.log(most // least, factor))

    candidates, plans, rows = list(plan.candidates), [], []
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
        plans.append(round_plan)
        rows += [n_rows] * len(candidates)
        means = collect(round_plan, store).cv_results_["mean_test_score"]
        order = np.roll(np.argsort(means), np.count_nonzero(np.isnan(means)))  # nan is worst
        candidates = [candidates[i] for i in order[-math.ceil(len(candidates) / factor) :]]
    sizes = [len(round_plan.candidates) for round_plan in plans]
    rounds = np.repeat(range(len(plans)), sizes).tolist()
    table = tabulate(plans, store, {"iter": rounds, "n_resources": rows})
    last = sum(sizes[:-1])
    means = np.nan_to_num(table["mean_test_score"][last:], nan=-np.inf)
    return SearchResults(table, last + int(means.argmax()))


def _drawn(fold: tuple[np.ndarray, np.ndarray], fraction: float, seed: int) -> tuple[Any, Any]:
    train, test = (
        resample(rows, replace=False, random_state=seed, n_samples=int(fraction * len(rows)))
        for rows in fold
    )
    return train, test
