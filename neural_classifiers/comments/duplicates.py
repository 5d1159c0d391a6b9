"""Comments that nearly repeat another one, across the split.

A model that has seen a comment with one word changed is not tested by it. Two comments count as
nearly the same when their sets of three-word sequences overlap by at least 0.8 (Jaccard).

What a reader might question: no MinHash. A set that overlaps by t with one of n sequences shares
at least ceil(t n) of them, so it holds one of any n - ceil(t n) + 1 (prefix filtering, Chaudhuri et
al. 2006). The rarest so many of each test comment make an index small enough to hold every training
comment against, one after the other; and nothing is missed.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from neural_classifiers.judgement.scores import wilson_interval

THRESHOLD = 0.8
CHECKED_WHOLE = 50_000  # rows of both sides together; beyond, a sample of the test rows
CHECKED_ROWS = 5_000  # in that sample

Sequence3 = tuple[str, ...]  # three words; of a text of one or two, these


class Overlap(NamedTuple):
    """Test texts that nearly repeat a training text.

    Attributes
    ----------
    checked : int
        Test rows that were held against every training row.
    pairs : list of (int, int, float)
        Test row, the training row most like it, and their similarity, for each row that has one.
    share : float
        Of the checked rows.
    interval : (float, float)
        95 % interval (Wilson) of the share among all test rows; both ends are the share where all
        were checked.
    threshold : float
    """

    checked: int
    pairs: list[tuple[int, int, float]]
    share: float
    interval: tuple[float, float]
    threshold: float


def rows_to_check(n_train: int, n_test: int, seed: int) -> NDArray[np.int64]:
    """Test rows to hold against every training row, rising: all of them, or of many a sample.

    A sample of the training rows, too, would miss pairs.
    """
    if n_train + n_test <= CHECKED_WHOLE or n_test <= CHECKED_ROWS:
        return np.arange(n_test)
    return np.sort(np.random.default_rng(seed).choice(n_test, CHECKED_ROWS, replace=False))


def near_duplicates(
    train: Iterable[str], test: Mapping[int, str], n_test: int, threshold: float = THRESHOLD
) -> Overlap:
    """Test texts that nearly repeat a training text.

    Parameters
    ----------
    train : iterable of str
        Cleaned texts, words separated by spaces; gone through once.
    test : mapping of int to str
        Cleaned texts to check, by their row.
    n_test : int
        Test texts that there are.
    threshold : float
        Least similarity, in (0, 1].
    """
    sequences = {row: _sequences(text) for row, text in test.items()}
    rows_of = _index(sequences, threshold)
    best: dict[int, tuple[int, float]] = {}
    for position, text in enumerate(train):
        candidates = {row for s in _sequences(text) if s in rows_of for row in rows_of[s]}
        if candidates:
            theirs = frozenset(_sequences(text))
        for row in candidates:
            mine = frozenset(sequences[row])
            similarity = len(mine & theirs) / len(mine | theirs)
            if similarity >= threshold and similarity > best.get(row, (0, 0.0))[1]:
                best[row] = (position, similarity)
    share = len(best) / max(len(test), 1)
    is_whole = len(test) == n_test
    interval = (share, share) if is_whole else wilson_interval(len(best), len(test))
    pairs = [(row, *best[row]) for row in sorted(best)]
    return Overlap(len(test), pairs, share, interval, threshold)


def _sequences(text: str) -> list[Sequence3]:
    """Sequences of three words, some perhaps twice; of a text of one or two words, these."""
    words = text.split()
    if len(words) < 3:
        return [tuple(words)]
    return list(zip(words, words[1:], words[2:], strict=False))


def _index(
    sequences: Mapping[int, list[Sequence3]], threshold: float
) -> dict[Sequence3, list[int]]:
    """Rows by each sequence that a text as similar as `threshold` may share with them at least."""
    frequency = Counter(s for of_row in sequences.values() for s in of_row)
    rows_of: dict[Sequence3, list[int]] = {}
    for row, of_row in sequences.items():
        distinct = sorted(set(of_row), key=lambda s: (frequency[s], s))
        # a hair less, lest rounding up 0.8 x 5 gives 5
        n_shared = math.ceil(threshold * len(distinct) - 1e-9)
        for s in distinct[: len(distinct) - n_shared + 1]:
            rows_of.setdefault(s, []).append(row)
    return rows_of
