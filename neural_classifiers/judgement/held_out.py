"""Answers on rows that a fit did not see, calibrated by themselves."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from neural_classifiers.search.answers import FitAnswer


class HeldOut(NamedTuple):
    """Answers of a model on training rows that it was not fitted on, and what they show.

    Attributes
    ----------
    table : DataFrame of n_rows rows
        ``actual``, ``predicted`` and, if it is calibrated, the probability ``p_<class>`` of each
        class; in the order of the rows.
    temperature : float or None
        None: the probabilities are as they came.
    offsets : list of n_classes floats, or None
        What shifts answers towards rare classes; None without a shift.
    f1_macro : float or None
        Mean over the folds, of shifted answers; None without a shift.
    """

    table: pd.DataFrame
    temperature: float | None = None
    offsets: list[float] | None = None
    f1_macro: float | None = None


def hold_out(y: np.ndarray, answers: "Sequence[tuple[NDArray[np.intp], FitAnswer]]") -> HeldOut:
    """Answers of a model as they came; arguments as for `calibrate_held_out`."""
    table = pd.DataFrame({"actual": y, "predicted": y})
    for rows, answer in answers:
        table.loc[rows, "predicted"] = answer.by_method["predict"]
    return HeldOut(table)


def calibrate_held_out(
    y: np.ndarray, answers: "Sequence[tuple[NDArray[np.intp], FitAnswer]]", is_shifted: bool
) -> HeldOut:
    """Calibrate a model by its answers on the rows that each fold held out.

    Parameters
    ----------
    y : ndarray of shape (n_rows,)
        Labels; of at least two classes.
    answers : sequence of (ndarray of shape (n_held_out,), FitAnswer)
        For each fold the rows that it held out and the answer on them; together all rows, once.
    is_shifted : bool
        Whether answers are shifted towards rare classes, too.
    """
    from sklearn.metrics import f1_score

    from neural_classifiers.judgement import calibration

    classes, columns = np.unique(y, return_inverse=True)  # (n_classes,) and (n_rows,)
    logits = calibration.held_out_logits(answers, classes, len(y))  # (n_rows, n_classes)
    temperature = calibration.fit_temperature(logits, columns)
    probabilities = calibration.softmax(logits / temperature)  # (n_rows, n_classes)
    columns_of = [f"p_{label}" for label in classes]
    table = hold_out(y, answers).table.join(pd.DataFrame(probabilities, columns=columns_of))
    if not is_shifted:
        return HeldOut(table, temperature)
    logits = np.log(np.clip(probabilities, calibration.TINY, None))
    shift = calibration.fit_shift(logits, columns)
    offsets = calibration.offsets_of(shift, calibration.prior_of(columns, len(classes)))
    answered = (logits + offsets).argmax(axis=1)  # (n_rows,): columns
    f1 = [
        f1_score(columns[rows], answered[rows], average="macro", zero_division=0)
        for rows, _ in answers
    ]
    table["predicted"] = classes[answered]
    return HeldOut(table, temperature, offsets.tolist(), float(np.mean(f1)))


def calibrate_on_a_fold(
    estimator: Any, X: Any, y: Sequence[str], folds: int, is_shifted: bool
) -> HeldOut:
    """Calibrate a model by one more fit: on all rows but the first fold, answering on that fold.

    Parameters
    ----------
    estimator : estimator
        Unfitted; is fitted.
    X : sequence or array of n_rows rows
    y : sequence of n_rows labels
    folds : int
        Of the stratified cross-validation whose first fold is held out.
    is_shifted : bool
        As for `calibrate_held_out`.

    Notes
    -----
    What makes the answers of a model of 3,000 comments right misleads those of 100,000: it knows
    more, so it has less to gain from a shift.
    """
    from sklearn.model_selection import StratifiedKFold

    from neural_classifiers.search.answers import answer_of
    from neural_classifiers.search.plan import select_rows

    labels = np.asarray(y)
    train, rows = next(StratifiedKFold(folds).split(X, labels))
    fitted = estimator.fit(select_rows(X, train), labels[train])
    answer = answer_of(fitted, select_rows(X, rows))
    return calibrate_held_out(labels[rows], [(np.arange(len(rows)), answer)], is_shifted)
