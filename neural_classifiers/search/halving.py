"""Successive halving: all candidates on few resources, the best of them on more, and so on.

The schedule, the rows of each round and the choice are those of scikit-learn's
`HalvingGridSearchCV`, to the last digit; the fits are ours: kept, merged, shared, by several
workers if one likes. Unlike the grid it may lose the best candidate, since it judges most of
them on little.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from sklearn.base import is_classifier
from sklearn.utils import resample

from neural_classifiers.search.cv_results import add_scores, parameter_columns
from neural_classifiers.search.fits import Share, fit_share
from neural_classifiers.search.plan import (
    SearchPlan,
    SearchResults,
    Store,
    check_parameter,
    plan_search,
)
from neural_classifiers.search.results import collect

__all__ = ["Halving", "Round", "halve"]


@dataclass(frozen=True)
class Round:
    """One round: what its candidates had, and what it took."""

    n_resources: int
    n_candidates: int
    share: Share


@dataclass(frozen=True)
class Halving:
    """What successive halving found.

    Attributes
    ----------
    plan : SearchPlan
        The candidates of all rounds, for `search.refit`; its folds are whole.
    results : SearchResults
        As `HalvingGridSearchCV` tells them (``return_train_score=False``), with columns
        ``iter`` and ``n_resources``; the best of the last round is the best.
    rounds : tuple of Round
    """

    plan: SearchPlan
    results: SearchResults
    rounds: tuple[Round, ...]


def halve(
    estimator: Any,
    grid: Mapping[str, Sequence[Any]] | Sequence[Mapping[str, Sequence[Any]]],
    X: Any,
    y: Any,
    store: Store,
    *,
    namespace: str,
    cv: Any = 5,
    scoring: str | Callable[..., Any] | None = None,
    factor: float = 3,
    resource: str = "n_samples",
    min_resources: int | Literal["exhaust", "smallest"] = "exhaust",
    max_resources: int | Literal["auto"] = "auto",
    aggressive_elimination: bool = False,
    seed: int = 0,
    fit: Callable[[SearchPlan, Store], Share] = fit_share,
) -> Halving:
    """Search a grid by successive halving.

    Parameters
    ----------
    estimator, grid, X, y, namespace, cv
        As for `search.plan`.
    store : mutable mapping of str to bytes
        As for `search.fit_share`.
    scoring : str, callable or None
        One scorer.
    factor, resource, min_resources, max_resources, aggressive_elimination
        As for `HalvingGridSearchCV`.
    seed : int
        Draws the rows of each round; its ``random_state``.
    fit : callable
        Makes the fits of a round, e.g. `parallel.fit` with its workers chosen.

    Raises
    ------
    ValueError
        What `search.plan` finds, a factor of at most 1, resources that cannot be.
    """
    base = plan_search(estimator, grid, X, y, namespace=namespace, cv=cv, scoring=scoring)
    if base.is_multimetric:
        raise ValueError(f"scoring: expected one scorer for halving, got {sorted(base.scorers)}")
    if factor <= 1:
        raise ValueError(f"factor: expected a number above 1, got {factor}")
    least, most = _resources(base, resource, min_resources, max_resources)
    n_needed = 1 + math.floor(math.log(len(base.candidates), factor))
    if min_resources == "exhaust":
        least = max(least, int(most // factor ** (n_needed - 1)))
    n_possible = 1 + math.floor(math.log(most // least, factor))
    n_rounds = n_needed if aggressive_elimination else min(n_possible, n_needed)

    candidates = list(base.candidates)
    plans, tables, rounds = [], [], []
    for number in range(n_rounds):
        power = max(0, number - n_needed + n_possible) if aggressive_elimination else number
        n_resources = min(int(factor**power * least), most)
        folds: Sequence[Any] = base.folds
        if resource == "n_samples":
            folds = [_drawn(fold, n_resources / len(base.y), seed) for fold in base.folds]
        else:
            candidates = [candidate | {resource: n_resources} for candidate in candidates]
        # one grid a candidate keeps their order
        grids = [{name: [value] for name, value in c.items()} for c in candidates]
        plan = plan_search(
            estimator, grids, X, base.y, namespace=namespace, cv=folds, scoring=scoring
        )
        plan = replace(plan, candidates=tuple(candidates))  # their names in our order
        share = fit(plan, store)
        table = collect(plan, store)
        plans.append(plan)
        tables.append(table)
        rounds.append(Round(n_resources, len(candidates), share))
        order = np.argsort(means := table.cv_results_["mean_test_score"])
        order = np.roll(order, np.count_nonzero(np.isnan(means)))  # nan is worst, not best
        candidates = [candidates[i] for i in order[-math.ceil(len(candidates) / factor) :]]
    return Halving(_together(base, plans), _all_rounds(tables, rounds), tuple(rounds))


def _resources(
    plan: SearchPlan, resource: str, min_resources: int | str, max_resources: int | str
) -> tuple[int, int]:
    """Least and most that a candidate may have."""
    is_rows = resource == "n_samples"
    if not is_rows:
        check_parameter(plan.estimator, resource)
        if any(resource in candidate for candidate in plan.candidates):
            raise ValueError(
                f"resource: expected one that the grid does not vary, got {resource!r}"
            )
        if max_resources == "auto":
            raise ValueError(f"max_resources: expected a number for resource {resource!r}")
    most = len(plan.y) if max_resources == "auto" else int(max_resources)
    if isinstance(min_resources, str):
        least = 1
        if is_rows:
            n_classes = len(np.unique(plan.y)) if is_classifier(plan.estimator) else 1
            least = 2 * len(plan.folds) * n_classes
    else:
        least = min_resources
    if not 0 < least <= most:
        raise ValueError(f"min_resources: expected 1 to max_resources ({most}), got {least}")
    return least, most


def _drawn(fold: tuple[np.ndarray, np.ndarray], fraction: float, seed: int) -> tuple[Any, Any]:
    train, test = (
        resample(rows, replace=False, random_state=seed, n_samples=int(fraction * len(rows)))
        for rows in fold
    )
    return train, test


def _together(base: SearchPlan, plans: Sequence[SearchPlan]) -> SearchPlan:
    """One plan of the candidates of all rounds."""
    starts = np.cumsum([0] + [len(plan.candidates) for plan in plans]).tolist()
    placed = list(zip(plans, starts, strict=False))
    return replace(
        base,
        candidates=tuple(c for plan in plans for c in plan.candidates),
        same_as=tuple(start + same for plan, start in placed for same in plan.same_as),
        identities=tuple(identity for plan in plans for identity in plan.identities),
        stages=tuple(stage for plan in plans for stage in plan.stages),
        trainings=tuple(
            tuple(start + c for c in group) for plan, start in placed for group in plan.trainings
        ),
    )


def _all_rounds(tables: Sequence[SearchResults], rounds: Sequence[Round]) -> SearchResults:
    """The tables of all rounds as one, ranked together; the best of the last is the best."""
    offsets = np.cumsum([0] + [r.n_candidates for r in rounds])
    results: dict[str, Any] = {
        "iter": [number for number, r in enumerate(rounds) for _ in range(r.n_candidates)],
        "n_resources": [r.n_resources for r in rounds for _ in range(r.n_candidates)],
    }
    params = [each for table in tables for each in table.cv_results_["params"]]
    for name in tables[0].cv_results_:
        parts = [table.cv_results_[name] for table in tables]
        if name == "params":
            results[name] = params
        elif name.startswith("param_"):
            results.update(parameter_columns(params))
        elif name == "shared_with":
            results[name] = np.concatenate(
                [part + offset for part, offset in zip(parts, offsets, strict=False)]
            )
        elif isinstance(parts[0], list):
            results[name] = [each for part in parts for each in part]
        else:
            results[name] = np.concatenate(parts)
    splits = [name for name in results if name.startswith("split")]
    add_scores(results, "test_score", np.column_stack([results[name] for name in splits]))
    last = results["mean_test_score"][offsets[-2] :]
    best = int(offsets[-2] + np.nanargmax(last))
    errors = {
        (int(candidate + offset), fold): error
        for table, offset in zip(tables, offsets, strict=False)
        for (candidate, fold), error in table.errors.items()
    }
    return SearchResults(
        results, best, params[best], float(results["mean_test_score"][best]), errors
    )
