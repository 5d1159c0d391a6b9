"""Training and test rows that share no text, and samples with the classes of all.

The decision a reader might question: what counts as one text is the *cleaned* text, since that
is all a model sees. A text with one label stands in the split once. A text that people labelled
in two ways keeps a row for each label, on one side.

No text is held: 64 bits stand for it (`keys_of`). Among n texts two different ones are taken for
the same with a probability of n^2 / 2^65: 3 in a million for ten million texts.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from fractions import Fraction
from itertools import islice
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.util import hash_array

from neural_classifiers.comments.text import TOKENS
from neural_classifiers.errors import ValidationError, shown

_WORD = re.compile(TOKENS)
Rows = NDArray[np.int64]  # shape (n,): positions in the input


class Side(IntEnum):
    """A side of the split; rows below ``TRAIN`` are dropped."""

    EMPTY = 0  # nothing is left of its text
    DUPLICATES = 1  # its text and label stood in an earlier row
    TRAIN = 2
    TEST = 3


@dataclass(frozen=True)
class Assignment:
    """The side of every row of the input, and where it comes there.

    Attributes
    ----------
    side : ndarray of int8, shape (n_rows,)
        A `Side` each.
    position : ndarray of int64, shape (n_rows,)
        From 0, in the training and in the test set. Random, so that folds cut from the rows in
        order are random. 0 in a row that is dropped.
    conflicting : int
        Cleaned texts that occur with several labels.
    counts : dict
        For each label, in sorted order: ``rows``, ``empty``, ``duplicates``, ``train`` and
        ``test``, where ``rows`` is the sum of the others.
    """

    side: NDArray[np.int8]
    position: Rows
    conflicting: int
    counts: dict[str, dict[str, int]]

    def rows_of(self, side: Side) -> Rows:
        """Rows of one side, in their order there; those that are dropped rise."""
        rows = np.flatnonzero(self.side == side)
        return rows[np.argsort(self.position[rows], kind="stable")]


def keys_of(texts: Sequence[str]) -> NDArray[np.uint64]:
    """64 bits for each text, shape (n_texts,); the same in every process (SipHash, by pandas)."""
    return hash_array(np.array(texts, dtype=object), categorize=False)


_EMPTY_KEY = keys_of([""])[0]


def split_keys(
    keys: NDArray[np.uint64],
    labels: pd.Categorical,
    train_fraction: float,
    seed: int,
    times: Sequence[float] | NDArray[Any] | None = None,
) -> Assignment:
    """Split comments by class, or by time, into training and test rows without common texts.

    Parameters
    ----------
    keys : ndarray of uint64, shape (n_comments,)
        What stands for the cleaned texts, by `keys_of`.
    labels : Categorical, length n_comments
        Their classes, in sorted order; none missing.
    train_fraction : float
        Share of each class that goes to training, between 0 and 1.
    seed : int
        The same input and seed give the same split.
    times : sequence of float, length n_comments, optional
        When each was written. Then the earliest `train_fraction` of the rows not dropped is the
        training set, of any class; rows of the same time stay together, on the side of the first
        of them that crosses the border; of duplicates the earliest stays.

    Returns
    -------
    Assignment
        Of a class with n rows left, training gets ``train_fraction * n`` rounded to the nearest
        whole number, halves up (0.7 of 45 is 32), and test gets the rest. That is exact where
        texts with several labels are few; where a class has hardly any others it may be off by
        half a row for each set of labels that it shares texts in.

    Raises
    ------
    ValueError
        If `train_fraction` is not between 0 and 1, or the lengths differ.

    Examples
    --------
    >>> labels = pd.Categorical(["games", "games", "sports", "games"])
    >>> split = split_keys(keys_of(["boss", "loot", "goal", "boss"]), labels, 0.5, seed=34)
    >>> [Side(side).name for side in split.side]
    ['TEST', 'TRAIN', 'TRAIN', 'DUPLICATES']

    Notes
    -----
    The notebook splits without regard to class, and leaves duplicates in, on both sides. Here
    the first row of each text and label stays. Rows that cleaning left empty are dropped: a
    model can learn nothing from them, and they would make one big "duplicate". Their number is
    given, because in use such comments do come.
    """
    if not 0 < train_fraction < 1:
        raise ValueError(f"train_fraction: expected a number between 0 and 1, got {train_fraction}")
    for name, values in (("label", labels), ("time", times)):
        if values is not None and len(values) != len(keys):
            raise ValueError(
                f"expected a {name} for each of {len(keys):,} texts, got {len(values):,}"
            )
    codes, moments = labels.codes, None if times is None else np.asarray(times)
    repeated = _repeated(keys, codes, moments)
    is_duplicate = repeated.duplicated(["text", "code"])
    shared = repeated[~is_duplicate].sort_index()
    shared = shared[shared.duplicated("text", keep=False)]  # its other row has another label

    side = np.full(len(keys), Side.TEST, dtype=np.int8)
    side[repeated.index[is_duplicate]] = Side.DUPLICATES
    side[keys == _EMPTY_KEY] = Side.EMPTY
    rng = np.random.default_rng(seed)
    if moments is None:
        _draw_train(side, codes, shared, train_fraction, rng)
    else:
        _take_earliest(side, moments, shared, train_fraction)
    position = np.zeros(len(keys), dtype=np.int64)
    for which in (Side.TRAIN, Side.TEST):
        rows = rng.permutation(np.flatnonzero(side == which))
        position[rows] = np.arange(len(rows))
    counts = _counts(labels, side)
    return Assignment(side, position, conflicting=shared["text"].nunique(), counts=counts)


def check_folds(counts: Mapping[str, int], folds: int) -> None:
    """Raise unless every class has a training row for each fold of cross-validation.

    `counts` are the training rows of each class, those without any included.

    Raises
    ------
    ValidationError
        If a class has fewer rows than `folds`; names such classes with their rows.
    """
    if short := {label: n for label, n in sorted(counts.items()) if n < folds}:
        raise ValidationError(
            f"expected at least {folds} training rows of every class, one for each fold, got "
            f"{shown(short)}; fewer `folds`, more rows (--sample) or --categories without these"
        )


def check_test_rows(n_train: int, n_test: int, by_time: bool) -> None:
    """Raise unless a comment is left to judge by.

    Raises
    ------
    ValidationError
        If there is none; says why, and what to change.
    """
    if n_test:
        return
    why = "more rows (--sample), or a smaller `train_fraction`"
    if by_time:
        why = f"the latest share one time: no --time-column, {why}"
    raise ValidationError(
        f"expected training comments and test comments, got {n_train:,} and none; {why}"
    )


def check_words(texts: Iterable[str], counts: Mapping[str, int], folds: int) -> None:
    """Raise unless more of the training comments have a word than one fold holds out.

    Parameters
    ----------
    texts : iterable of str
        Cleaned training comments; read until there are enough.
    counts : mapping of str to int
        How many each class has.
    folds : int
        What they are cut into, class by class.

    Raises
    ------
    ValidationError
        If the vocabulary of a fold could be empty.
    """
    n_rows = sum(counts.values())
    needed = min(sum(math.ceil(n / folds) for n in counts.values()) + 1, n_rows)
    worded = islice((text for text in texts if _WORD.search(text)), needed)
    if (n_worded := sum(1 for _ in worded)) < needed:
        raise ValidationError(
            f"expected a word in {needed:,} of {n_rows:,} cleaned training "
            f"comments, got one in {n_worded:,}; another --cleaning may leave more of them"
        )


def check_halving(n_rows: int, n_classes: int, folds: int) -> None:
    """Raise unless successive halving has the rows to begin with (`search.halving.halve`).

    Raises
    ------
    ValidationError
        If there are too few.
    """
    if n_rows < (least := 2 * folds * n_classes):
        raise ValidationError(
            f"expected at least {least:,} training comments to search by halving, two a fold and "
            f'class, got {n_rows:,}; search="grid", fewer `folds`, or more rows (--sample)'
        )


def nearest_count(fraction: float, n: int) -> int:
    """`fraction` of `n`, rounded to the nearest whole number, halves up, in exact arithmetic."""
    # The float 0.7 * 45 is 31.499999999999996, which would round to 31
    return math.floor(Fraction(str(fraction)) * n + Fraction(1, 2))


def draw_stratified(labels: Sequence[str], n: int, seed: int) -> NDArray[np.intp]:
    """Positions of `n` rows drawn at random, each class with its share of them.

    Parameters
    ----------
    labels : sequence of str
        Class of each row.
    n : int
        From 0 to their number.
    seed : int

    Returns
    -------
    ndarray of shape (n,)
        Rising. Of a class as many as its share of `n`, rounded down; the rows that are still
        missing go to the classes with the largest remainders.

    Raises
    ------
    ValueError
        If there are not so many rows.
    """
    if not 0 <= n <= len(labels):
        raise ValueError(f"expected from 0 to {len(labels):,} rows to draw, got {n:,}")
    _, codes, counts = np.unique(np.asarray(labels), return_inverse=True, return_counts=True)
    sizes, remainders = np.divmod(counts * n, max(len(labels), 1))
    sizes[np.argsort(-remainders, kind="stable")[: n - sizes.sum()]] += 1
    rng = np.random.default_rng(seed)
    drawn = [rng.permutation(np.flatnonzero(codes == c))[:size] for c, size in enumerate(sizes)]
    return np.sort(np.concatenate([np.empty(0, dtype=np.intp), *drawn]))


def _repeated(
    keys: NDArray[np.uint64], codes: NDArray[np.integer[Any]], moments: NDArray[Any] | None
) -> pd.DataFrame:
    """``text`` (key) and ``code`` of the rows whose text occurs more than once, earliest first."""
    in_order = np.sort(keys)
    repeated = in_order[1:][in_order[1:] == in_order[:-1]]
    del in_order
    rows = np.flatnonzero(pd.Series(keys).isin(repeated) & (keys != _EMPTY_KEY))
    if moments is not None:
        rows = rows[np.argsort(moments[rows], kind="stable")]
    return pd.DataFrame({"text": keys[rows], "code": codes[rows]}, index=rows)


def _draw_train(
    side: NDArray[np.int8],
    codes: NDArray[np.integer[Any]],
    shared: pd.DataFrame,
    fraction: float,
    rng: np.random.Generator,
) -> None:
    """Mark the training rows: `fraction` of each class, texts with several labels first."""
    sizes = np.bincount(codes[side == Side.TEST])  # shape (n_classes,): rows not dropped
    side[_draw_texts(shared, fraction, rng)] = Side.TRAIN
    drawn = np.bincount(codes[side == Side.TRAIN], minlength=len(sizes))
    is_single = side == Side.TEST
    is_single[shared.index] = False
    for code, n in enumerate(sizes.tolist()):
        lacking = max(nearest_count(fraction, n) - int(drawn[code]), 0)
        of_class = np.flatnonzero(is_single & (codes == code))
        if len(of_class):
            side[rng.permutation(of_class)[:lacking]] = Side.TRAIN


def _draw_texts(shared: pd.DataFrame, fraction: float, rng: np.random.Generator) -> Rows:
    """Training rows among texts with several labels, drawn text by text.

    Texts with the same set of labels are drawn together, so that each class gets its part.
    """
    by_label = shared.sort_values("code", kind="stable")
    codes = by_label["code"].map("{:05}".format)
    labels_of = codes.groupby(by_label["text"], sort=False).agg(" ".join)
    drawn: set[int] = set()
    for _, texts in labels_of.groupby(labels_of):
        drawn.update(rng.permutation(texts.index)[: nearest_count(fraction, len(texts))])
    return shared.index[shared["text"].isin(drawn)].to_numpy()


def _take_earliest(
    side: NDArray[np.int8], moments: NDArray[Any], shared: pd.DataFrame, fraction: float
) -> None:
    """Mark the earliest rows; a text with several labels stands where its earliest row does."""
    rows = np.flatnonzero(side == Side.TEST)
    n_train = nearest_count(fraction, len(rows))
    if not n_train:
        return
    began = moments.copy()
    of_shared = pd.Series(moments[shared.index], index=shared.index)
    began[shared.index] = of_shared.groupby(shared["text"]).transform("min")
    last = np.partition(began[rows], n_train - 1)[n_train - 1]
    side[rows[began[rows] <= last]] = Side.TRAIN


def _counts(labels: pd.Categorical, side: NDArray[np.int8]) -> dict[str, dict[str, int]]:
    """Rows of each label, in all and on each side."""
    n = len(Side)
    table = np.bincount(
        labels.codes.astype(np.int64) * n + side, minlength=len(labels.categories) * n
    )
    return {
        label: {"rows": int(row.sum())} | {which.name.lower(): int(row[which]) for which in Side}
        for label, row in zip(labels.categories, table.reshape(-1, n), strict=True)
    }
