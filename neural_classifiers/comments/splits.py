"""Training and test rows that share no text.

The decision a reader might question: what counts as one text is the *cleaned* text, since that
is all a model sees. A text with one label stands in the split once. A text that people labelled
in two ways keeps a row for each label, on one side.

No text is held: 64 bits stand for it (`keys_of`). Among n texts two different ones are taken for
the same with a probability of n^2 / 2^65: 3 in a million for ten million texts.
"""

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.util import hash_array

TRAIN_FRACTION = 0.7  # notebook, "Split Data"
SEED = 34  # notebook, "Split Data"

Rows = NDArray[np.int64]  # shape (n,): positions in the input

_SIDES = ("empty", "duplicates", "train", "test")
_EMPTY, _DUPLICATE, _TRAIN, _TEST = range(len(_SIDES))


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
    conflicting : int
        Cleaned texts that occur with several labels.
    counts : dict
        For each label, in sorted order: ``rows``, ``empty``, ``duplicates``, ``train`` and
        ``test``, where ``rows`` is the sum of the others.
    """

    train: Rows
    test: Rows
    duplicates: Rows
    empty: Rows
    conflicting: int
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
    if len(cleaned) != len(labels):
        raise ValueError(
            f"expected a label for each of {len(cleaned):,} texts, got {len(labels):,}"
        )
    names, codes = np.unique(np.asarray(labels, dtype=str), return_inverse=True)
    is_empty = np.array([not text for text in cleaned], dtype=bool)
    return split_keys(
        keys_of(cleaned), is_empty, codes, names.tolist(), train_fraction, seed, times
    )


def keys_of(texts: Sequence[str]) -> NDArray[np.uint64]:
    """64 bits for each text, shape (n_texts,); the same in every process (SipHash, by pandas)."""
    return hash_array(np.array(texts, dtype=object), categorize=False)


def split_keys(
    keys: NDArray[np.uint64],
    is_empty: NDArray[np.bool_],
    codes: NDArray[np.integer[Any]],
    labels: Sequence[str],
    train_fraction: float = TRAIN_FRACTION,
    seed: int = SEED,
    times: Sequence[float] | NDArray[Any] | None = None,
) -> Split:
    """As `split_comments`, of what stands for texts and labels.

    Parameters
    ----------
    keys : ndarray of uint64, shape (n_comments,)
        By `keys_of`.
    is_empty : ndarray of bool, shape (n_comments,)
        Whether nothing is left of the text.
    codes : ndarray of int, shape (n_comments,)
        Position of each comment's class in `labels`.
    labels : sequence of str
        Classes, in sorted order.
    train_fraction, seed, times
        As in `split_comments`.
    """
    if not 0 < train_fraction < 1:
        raise ValueError(f"train_fraction: expected a number between 0 and 1, got {train_fraction}")
    if times is not None and len(times) != len(keys):
        raise ValueError(f"expected a time for each of {len(keys):,} texts, got {len(times):,}")
    moments = None if times is None else np.asarray(times)
    repeated = _repeated(keys, is_empty, codes, moments)
    is_duplicate = repeated.duplicated(["text", "code"])
    duplicates = np.sort(repeated.index[is_duplicate].to_numpy())
    shared = repeated[~is_duplicate].sort_index()
    shared = shared[shared.duplicated("text", keep=False)]  # its other row has another label

    side = np.full(len(keys), _TEST, dtype=np.int8)
    side[duplicates] = _DUPLICATE
    side[is_empty] = _EMPTY
    rng = np.random.default_rng(seed)
    if moments is None:
        _draw_train(side, codes, shared, train_fraction, rng)
    else:
        _take_earliest(side, moments, shared, train_fraction)
    return Split(
        train=rng.permutation(_where(side, _TRAIN)),
        test=rng.permutation(_where(side, _TEST)),
        duplicates=_where(side, _DUPLICATE),
        empty=_where(side, _EMPTY),
        conflicting=shared["text"].nunique(),
        counts=_counts(codes, labels, side),
    )


def check_folds(
    labels: Sequence[str] | Mapping[str, int],
    folds: int,
    classes: Collection[str] | None = None,
) -> None:
    """Raise unless every class has a training row for each fold of cross-validation.

    Parameters
    ----------
    labels : sequence of str, or mapping of str to int
        Classes of the training rows, or how many rows each has.
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


def _repeated(
    keys: NDArray[np.uint64],
    is_empty: NDArray[np.bool_],
    codes: NDArray[np.integer[Any]],
    moments: NDArray[Any] | None,
) -> pd.DataFrame:
    """``text`` (key) and ``code`` of the rows whose text occurs more than once, earliest first."""
    order = np.argsort(keys, kind="stable")
    in_order = keys[order]
    is_next_same = in_order[1:] == in_order[:-1]
    del in_order
    is_repeated = np.zeros(len(keys), dtype=bool)
    is_repeated[order[1:][is_next_same]] = True
    is_repeated[order[:-1][is_next_same]] = True
    del order
    rows = np.flatnonzero(is_repeated & ~is_empty)
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
    kept = np.bincount(codes[side == _TEST])
    side[_draw_texts(shared, fraction, rng)] = _TRAIN
    drawn = np.bincount(codes[side == _TRAIN], minlength=len(kept))
    is_single = side == _TEST
    is_single[shared.index] = False
    for code, n in enumerate(kept.tolist()):
        lacking = max(nearest_count(fraction, n) - int(drawn[code]), 0)
        of_class = np.flatnonzero(is_single & (codes == code))
        if len(of_class):
            side[rng.permutation(of_class)[:lacking]] = _TRAIN


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
    kept = np.flatnonzero(side == _TEST)
    n_train = nearest_count(fraction, len(kept))
    if not n_train:
        return
    began = moments.copy()
    of_shared = pd.Series(moments[shared.index], index=shared.index)
    began[shared.index] = of_shared.groupby(shared["text"]).transform("min")
    last = np.partition(began[kept], n_train - 1)[n_train - 1]
    side[kept[began[kept] <= last]] = _TRAIN


def _where(side: NDArray[np.int8], which: int) -> Rows:
    return np.flatnonzero(side == which).astype(np.int64, copy=False)


def _counts(
    codes: NDArray[np.integer[Any]], labels: Sequence[str], side: NDArray[np.int8]
) -> dict[str, dict[str, int]]:
    n = len(_SIDES)
    table = np.bincount(codes.astype(np.int64) * n + side, minlength=len(labels) * n)
    return {
        label: {"rows": int(row.sum())} | dict(zip(_SIDES, row.tolist(), strict=True))
        for label, row in zip(labels, table.reshape(-1, n), strict=True)
    }
