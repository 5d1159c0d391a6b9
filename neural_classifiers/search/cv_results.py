"""The columns of `GridSearchCV`'s ``cv_results_``, in its arithmetic, to the last digit.

Source: scikit-learn 1.9.1, ``BaseSearchCV`` in sklearn/model_selection/_search.py; a test
holds every column against `GridSearchCV` itself.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.ma import MaskedArray
from scipy.stats import rankdata

__all__ = ["add_mean_and_std", "add_scores", "parameter_columns"]


def add_mean_and_std(results: dict[str, Any], name: str, values: np.ndarray) -> None:
    """Add ``mean_<name>`` and ``std_<name>`` of a table of shape (n_candidates, n_folds)."""
    mean = np.average(values, axis=1)
    results[f"mean_{name}"] = mean
    results[f"std_{name}"] = np.sqrt(np.average((values - mean[:, None]) ** 2, axis=1))


def add_scores(results: dict[str, Any], name: str, scores: np.ndarray) -> None:
    """Add the columns of one scorer: each fold, mean, spread and rank.

    A candidate without a mean ranks with the worst; equal means share the better rank.
    """
    for fold in range(scores.shape[1]):
        results[f"split{fold}_{name}"] = scores[:, fold]
    add_mean_and_std(results, name, scores)
    mean = results[f"mean_{name}"]
    if np.isnan(mean).all():
        results[f"rank_{name}"] = np.ones(len(mean), dtype=np.int32)
        return
    filled = np.where(np.isnan(mean), np.nanmin(mean) - 1, mean)
    results[f"rank_{name}"] = rankdata(-filled, method="min").astype(np.int32)


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
    """What numpy makes of the values; object for texts and for values that are sequences."""
    try:
        array = np.array(values)
    except ValueError:  # sequences of different lengths
        return np.dtype(object)
    return array.dtype if array.ndim == 1 and array.dtype.kind != "U" else np.dtype(object)
