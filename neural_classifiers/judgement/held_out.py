"""Answers on rows that a fit did not see, calibrated by the other folds."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from neural_classifiers.search.answers import Outcome


class HeldOut(NamedTuple):
    """What a model said of training rows that it was not fitted on, and what it learnt of that.

    `offsets` and `f1_macro` (mean over the folds) are of shifted answers; None without a shift.
    """

    table: pd.DataFrame
    temperature: float
    offsets: list[float] | None
    f1_macro: float | None


def _held_out(
    y: np.ndarray, answers: "list[tuple[np.ndarray, Outcome]]", is_shifted: bool
) -> HeldOut:
    """One line a row, in their order: ``actual`` and a probability for each class."""
    from sklearn.metrics import f1_score

    from neural_classifiers.judgement import calibration

    classes, places = np.unique(y, return_inverse=True)
    logits = calibration.held_out_logits(answers, classes, len(places))
    temperature = calibration.fit_temperature(logits, places)
    chances = calibration.softmax(logits / temperature)
    table = pd.DataFrame(chances, columns=[f"p_{c}" for c in classes])
    table.insert(0, "actual", y)
    if not is_shifted:
        return HeldOut(table, temperature, None, None)
    logits = np.log(np.clip(chances, calibration.TINY, None))
    shift = calibration.fit_shift(logits, places)
    offsets = calibration.offsets_of(shift, calibration.prior_of(places, len(classes)))
    said = (logits + offsets).argmax(axis=1)
    f1 = [
        f1_score(places[rows], said[rows], average="macro", zero_division=0) for rows, _ in answers
    ]
    return HeldOut(table, temperature, offsets.tolist(), float(np.mean(f1)))
