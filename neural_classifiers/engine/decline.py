"""Whether a model got worse by more than chance explains."""

import math
from collections.abc import Mapping
from typing import Any

STANDARD_ERRORS = 2.0  # a fall this large comes by chance once in 44 runs, if nothing changed


def worse_models(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, list[float]]:
    """The models whose accuracy on the test set fell, with the accuracy before and after.

    Parameters
    ----------
    before, after : mapping
        Half of the notebook to model to scores, as in ``metrics.json``. A model's scores hold its
        accuracy (``accuracy`` or ``test_accuracy``, a fraction) and its ``confusion_matrix``,
        whose sum is the size of its test set.

    Returns
    -------
    dict of str to [float, float]
        ``half.model`` to both accuracies. Models that only one side has are left out.

    Notes
    -----
    Two test sets of different nights are two samples, so the difference of two accuracies has
    the standard error of two proportions. A fall counts when it is more than two of those:
    on 900 comments at 0.78, below 0.74.
    """
    fallen = {}
    for half, models in after.items():
        for model, scores in models.items():
            earlier = before.get(half, {}).get(model)
            if earlier is None:
                continue
            (old, n_old), (new, n_new) = _accuracy(earlier), _accuracy(scores)
            if old - new > STANDARD_ERRORS * _standard_error(old, n_old, new, n_new):
                fallen[f"{half}.{model}"] = [old, new]
    return fallen


def _accuracy(scores: Mapping[str, Any]) -> tuple[float, int]:
    accuracy = scores["accuracy"] if "accuracy" in scores else scores["test_accuracy"]
    return float(accuracy), sum(sum(row) for row in scores["confusion_matrix"])


def _standard_error(p: float, n: int, q: float, m: int) -> float:
    pooled = (p * n + q * m) / (n + m)
    return math.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m))
