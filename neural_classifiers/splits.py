"""Training and test rows that share no text.

The decision a reader might question: what counts as one text is the *cleaned* text, since that
is all a model sees. A text with one label stands in the split once. A text that people labelled
in two ways keeps a row for each label, on one side.
"""

import math
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

TRAIN_FRACTION = 0.7  # notebook, "Split Data"
SEED = 34  # notebook, "Split Data"

Rows = NDArray[np.int64]  # shape (n,): positions in the input


@dataclass(frozen=True)
class Split:
    """Where every row of the input went: each stands in exactly one of the four arrays.

    Attributes
    ----------
    train, test : ndarray of int64
        Positions in the input, in random order, so that folds cut from them in order are random.
    duplicates : ndarray of int64
        Rows whose cleaned text and label stood in an earlier row; dropped. Rising.
    empty : ndarray of int64
        Rows with nothing left after cleaning; dropped. Rising.
    conflicting : tuple of str
        Cleaned texts that occur with several labels, in order of appearance.
    counts : dict
        For each label, in sorted order: ``rows``, ``empty``, ``duplicates``, ``train`` and
        ``test``, where ``rows`` is the sum of the others.
    """

    train: Rows
    test: Rows
    duplicates: Rows
    empty: Rows
    conflicting: tuple[str, ...]
    counts: dict[str, dict[str, int]]


def split_comments(
    cleaned: Sequence[str],
    labels: Sequence[str],
    train_fraction: float = TRAIN_FRACTION,
    seed: int = SEED,
    times: Sequence[float] | None = None,
) -> Split:
    """Split comments by class, or by time, into training and test rows without common texts.

    Parameters
    ----------
    cleaned : sequence of str, length n_comments
        Cleaned texts.
    labels : sequence of str, length n_comments
        Their classes.
    train_fraction : float
        Share of each class that goes to training, between 0 and 1.
    seed : int
        The same input and seed give the same split.
    times : sequence of float, length n_comments, optional
        When each was written. Then the earliest `train_fraction` of the rows kept is the training
        set, whatever their class; rows of the same time stay together, on the side of the first
        of them that crosses the border; of duplicates the earliest stays.

    Returns
    -------
    Split
        Of a class with n rows left, training gets ``train_fraction * n`` rounded to the nearest
        whole number, halves up (0.7 of 45 is 32), and test gets the rest. That is exact where
        texts with several labels are few; where a class has hardly any others it may be off by
        half a row for each set of labels that it shares texts in.

    Raises
    ------
    ValueError
        If `train_fraction` is not between 0 and 1, or the lengths differ.

    Notes
    -----
    The notebook splits without regard to class, and leaves duplicates in, on both sides. Here
    the first row of each text and label stays. Rows that cleaning left empty are dropped: a
    model can learn nothing from them, and they would make one big "duplicate". Their number is
    given, because in use such comments do come.
    """
    if not 0 < train_fraction < 1:
        raise ValueError(f"train_fraction: expected a number between 0 and 1, got {train_fraction}")
    if len(cleaned) != len(labels):
        raise ValueError(
            f"expected a label for each of {len(cleaned):,} texts, got {len(labels):,}"
        )
    if times is not None and len(times) != len(labels):
        raise ValueError(f"expected a time for each of {len(labels):,} texts, got {len(times):,}")
    rows = pd.DataFrame({"text": list(cleaned), "label": list(labels)}, dtype=object)
    order = np.arange(len(rows)) if times is None else np.argsort(times, kind="stable")
    is_empty = rows["text"] == ""
    is_duplicate = ~is_empty & rows.iloc[order].duplicated().sort_index()
    kept = rows[~is_empty & ~is_duplicate]
    is_conflicting = kept.duplicated("text", keep=False)  # its other row has another label
    shared, single = kept[is_conflicting], kept[~is_conflicting]

    rng = np.random.default_rng(seed)
    if times is None:
        wanted = kept["label"].value_counts().map(lambda n: nearest_count(train_fraction, n))
        in_train = _draw_texts(shared, train_fraction, rng)
        drawn = shared.loc[in_train, "label"].value_counts()
        in_train += _draw_rows(single, wanted.sub(drawn, fill_value=0), rng)
    else:
        in_train = _earliest(kept, np.asarray(times)[kept.index], train_fraction)

    side = pd.Series("test", index=rows.index)
    side[in_train] = "train"
    side[is_duplicate] = "duplicates"
    side[is_empty] = "empty"
    return Split(
        train=rng.permutation(_where(side, "train")),
        test=rng.permutation(_where(side, "test")),
        duplicates=_where(side, "duplicates"),
        empty=_where(side, "empty"),
        conflicting=tuple(shared["text"].unique()),
        counts=_counts(rows["label"], side),
    )


def check_folds(labels: Sequence[str], folds: int, classes: Collection[str] | None = None) -> None:
    """Raise unless every class has a training row for each fold of cross-validation.

    Parameters
    ----------
    labels : sequence of str
        Classes of the training rows.
    folds : int
        Folds to come.
    classes : collection of str, optional
        Classes that there must be, so that one without any row is noticed.

    Raises
    ------
    ValueError
        If a class has fewer rows than `folds`; names each such class with its rows.
    """
    counts = Counter(dict.fromkeys(() if classes is None else classes, 0))
    counts.update(labels)
    short = {label: n for label, n in sorted(counts.items()) if n < folds}
    if short:
        raise ValueError(
            f"expected at least {folds} training rows of every class, one for each fold, "
            f"got {short}"
        )


def nearest_count(fraction: float, n: int) -> int:
    """`fraction` of `n`, rounded to the nearest whole number, halves up, in exact arithmetic."""
    # The float 0.7 * 45 is 31.499999999999996, which would round to 31
    return math.floor(Fraction(str(fraction)) * n + Fraction(1, 2))


def _draw_texts(shared: pd.DataFrame, fraction: float, rng: np.random.Generator) -> list[int]:
    """Training rows among texts with several labels, drawn text by text.

    Texts with the same set of labels are drawn together, so that each class gets its part.
    """
    by_label = shared.sort_values("label", kind="stable")
    labels_of = by_label.groupby("text", sort=False)["label"].agg("\n".join)
    drawn: set[str] = set()
    for _, texts in labels_of.groupby(labels_of):
        drawn.update(rng.permutation(texts.index)[: nearest_count(fraction, len(texts))])
    return shared.index[shared["text"].isin(drawn)].tolist()


def _earliest(kept: pd.DataFrame, times: NDArray[Any], fraction: float) -> list[int]:
    """The earliest rows; a text with several labels stands where its earliest row does."""
    began = pd.Series(times, index=kept.index).groupby(kept["text"]).transform("min")
    n_train = nearest_count(fraction, len(kept))
    if not 0 < n_train < len(kept):
        return kept.index.tolist() if n_train else []
    last = np.sort(began.to_numpy())[n_train - 1]
    return kept.index[began <= last].tolist()


def _draw_rows(single: pd.DataFrame, lacking: pd.Series, rng: np.random.Generator) -> list[int]:
    """Training rows among texts with one label: as many as each class still lacks."""
    drawn: list[int] = []
    for label, of_class in single.groupby("label"):
        drawn += rng.permutation(of_class.index)[: max(int(lacking[label]), 0)].tolist()
    return drawn


def _where(side: pd.Series, name: str) -> Rows:
    return np.flatnonzero(side == name).astype(np.int64)


def _counts(labels: pd.Series, side: pd.Series) -> dict[str, dict[str, int]]:
    table = pd.crosstab(labels, side)
    return {
        str(label): {"rows": int(row.sum())}
        | {name: int(row.get(name, 0)) for name in ("empty", "duplicates", "train", "test")}
        for label, row in table.iterrows()
    }
