"""Gates of promotion: the conditions under which a model may replace the one that serves.

A model has to be shown better, by the paired test and at 5 %, than the constant answer, than the
best linear rival (unless it is that) and than the serving model, on texts that neither was trained
on; no other model of its run may be shown better. All these pairs are corrected together (Holm).
It must also fall behind neither of the latter two by more than a stated margin on any slice, so
that a gain in all is not paid by a few.

The paired test is the exact McNemar test of right answers. Against the constant answer macro-F1
will do too: of unequal classes a useful model may be less often right than the commonest answer.
But whatever it gains there, a model must be better than guessing (`judgement.scores`).
Against the others macro-F1 is named and decides nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neural_classifiers.judgement.names import CONSTANT, percent
from neural_classifiers.judgement.scores import (
    Comparison,
    Interval,
    compare_predictions,
    correct_by_holm,
)

MARGIN = 0.05  # of the share of right answers on a slice
MIN_SLICE_ROWS = 20  # of fewer, one row is more than the margin


@dataclass(frozen=True)
class Gate:
    """A condition of promotion; `found` is the comparison in words and figures."""

    name: str
    passed: bool
    found: str


@dataclass(frozen=True)
class Rival:
    """A model to be shown better than: "constant", "serving", or another one of the run.

    `answers` are of shape (n_rows,); `unseen` marks the rows that it was not trained on, all
    unless given.
    """

    name: str
    answers: NDArray[np.str_]
    unseen: NDArray[np.bool_] | None = None


def judge_challenger(
    actual: NDArray[np.str_],
    answers: NDArray[np.str_],
    rivals: Sequence[Rival],
    others: Sequence[Rival] = (),
    slices: Mapping[str, NDArray[np.bool_]] | None = None,
    seed: int = 0,
    unit: str = "texts",
) -> list[Gate]:
    """Gates that a challenger's answers pass and fail, on rows that it was not trained on.

    Parameters
    ----------
    actual, answers : ndarray of str of shape (n_rows,)
        Right answers, and those of the challenger.
    rivals : sequence of Rival
    others : sequence of Rival
        Models that it need not be better than, but none of which may be shown better.
    slices : mapping of str to ndarray of bool of shape (n_rows,), optional
        Further parts of the rows, beside each class.
    seed : int
        Of the bootstrap that bounds the differences.
    unit : str
        What a row is.

    Returns
    -------
    list of Gate
        One for each rival, one for the others, then one for all slices of each rival but the
        constant, which of course is right about every row of its own class.
    """
    found: dict[str, Comparison] = {}
    for each in (*rivals, *others):
        rows = _unseen(each, actual)
        if rows.any():
            found[each.name] = compare_predictions(
                actual[rows], answers[rows], each.answers[rows], seed
            )
    found = dict(zip(found, correct_by_holm(list(found.values())), strict=True))
    gates = [_better(rival.name, found.get(rival.name), len(actual), unit) for rival in rivals]
    if others:
        gates.append(_none_better({each.name: found[each.name] for each in others}))
    parts = {f"class {c}": actual == c for c in np.unique(actual)} | dict(slices or {})
    judged = [rival for rival in rivals if rival.name != CONSTANT]
    return gates + [_not_behind(actual, answers, r, parts, unit) for r in judged]


def _better(rival: str, comparison: Comparison | None, n_rows: int, unit: str) -> Gate:
    name = f"better than {rival}"
    if comparison is None:
        return Gate(name, False, f"no {unit} that neither was trained on")
    standing = comparison.accuracy_standing
    passed = standing == "better"
    words = f"{standing}" if standing != "unclear" else "no difference that these could show"
    if rival == CONSTANT and not comparison.is_beyond_guessing:
        passed = False
        words += ", not shown to be better than guessing"
    elif rival == CONSTANT and not passed and comparison.f1_macro_standing == "better":
        passed = True
        words += ", but better at the rarer classes"
    of = "" if comparison.n_rows == n_rows else f" that neither was trained on, of {n_rows:,}"
    accuracy = _differs(comparison.accuracy_difference, comparison.accuracy_interval)
    f1_macro = _differs(comparison.f1_macro_difference, comparison.f1_macro_interval)
    return Gate(
        name,
        passed,
        f"{words}: {comparison.n_rows:,} {unit}{of}, {comparison.won:,} won and "
        f"{comparison.lost:,} lost against {rival}, p = {comparison.p_value:.2g}; accuracy "
        f"{accuracy}, macro-F1 {f1_macro}",
    )


def _none_better(comparisons: Mapping[str, Comparison]) -> Gate:
    better = [
        f"{name}: {c.won:,} won and {c.lost:,} lost against it, p = {c.p_value:.2g}"
        for name, c in comparisons.items()
        if c.accuracy_standing == "worse"
    ]
    words = f"{len(better)} of {len(comparisons)} are"
    words += f": {'; '.join(better)}" if better else ""
    return Gate("no other model of the run shown better", not better, words)


def _not_behind(
    actual: NDArray[np.str_],
    answers: NDArray[np.str_],
    rival: Rival,
    parts: Mapping[str, NDArray[np.bool_]],
    unit: str,
) -> Gate:
    unseen = _unseen(rival, actual)
    behind, small, judged = [], [], 0
    for name, part in parts.items():
        rows = part & unseen
        n_rows = int(rows.sum())
        if n_rows < MIN_SLICE_ROWS:
            small.append(f"{name} ({n_rows})")
            continue
        judged += 1
        ours, theirs = (float((a[rows] == actual[rows]).mean()) for a in (answers, rival.answers))
        if theirs - ours > MARGIN:
            behind.append(f"{name}: {percent(ours)} against {percent(theirs)} of {n_rows:,} {unit}")
    words = (
        f"{len(behind)} of {judged} slices fall behind {rival.name} by more than {percent(MARGIN)}"
    )
    words += f": {'; '.join(behind)}" if behind else ""
    words += f"; too small to judge: {', '.join(small)}" if small else ""
    return Gate(f"no slice behind {rival.name}", not behind, words)


def _unseen(rival: Rival, actual: NDArray[np.str_]) -> NDArray[np.bool_]:
    return np.ones(len(actual), dtype=bool) if rival.unseen is None else rival.unseen


def _differs(difference: float, interval: Interval) -> str:
    return f"{difference:+.3f} ({interval[0]:+.3f} to {interval[1]:+.3f})"
