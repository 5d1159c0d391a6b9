"""Candidates of a grid as people read them: ranked, with short names."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from neural_classifiers.values import Values


class RankedCandidate(Values):
    """One candidate of a grid search.

    `number` is its position in the grid, from 1; `fitted_as` the number of the candidate whose
    fits it shares, its own where it was fitted itself.
    """

    number: int
    fitted_as: int
    rank: int
    params: dict[str, Any]
    mean: float
    std: float


def rank_candidates(
    cv_results: Mapping[str, Sequence[Any]], limit: int | None = None
) -> tuple[RankedCandidate, ...]:
    """Candidates of a grid search, best first.

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
    tuple of RankedCandidate
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
    sets = [json.loads(p) if isinstance(p, str) else p for p in cv_results.get("params", ())]

    def has(i: int, column: str) -> bool:
        is_set = not sets or column.removeprefix("param_") in sets[i]
        return is_set and cv_results[column][i] is not np.ma.masked

    candidates = [
        RankedCandidate(
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
    """A value outside NumPy, as it can be shown and written as JSON."""
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else value
