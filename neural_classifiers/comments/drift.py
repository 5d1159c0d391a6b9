"""Whether comments are still what they were: profiles of two runs, and how far they lie apart.

A profile is small whatever the number of comments, is made batch by batch, and does not depend on
how they are cut into batches. Of many comments, words are counted in those whose hash says so:
about 50,000, the same ones in every run.
"""

import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import compress
from typing import Any

import numpy as np

from neural_classifiers.comments.splits import keys_of
from neural_classifiers.comments.text import MARKS, UNSPACED
from neural_classifiers.values import Values

WORDS_OF_ROWS = 50_000  # about so many comments have their words counted
MAX_PROFILE_WORDS = 2000  # in a profile, the most frequent
N_COMPARED_WORDS = 1000
N_LENGTHS = 48  # two for each doubling: up to 2^24 characters

DRIFTS = {
    "class_drift": "class shares",
    "length_drift": "lengths",
    "vocabulary_drift": "vocabulary",
    "language_drift": "language",
}

_LETTERS = rf"[^\W\d_{UNSPACED}](?:[^\W\d_{UNSPACED}]++|[{MARKS}]++)*+"
_WORD = re.compile(rf"[{UNSPACED}][{MARKS}]*+|{_LETTERS}(?:['’]{_LETTERS})*")


class Profile(Values):
    """What comments are like, in a few thousand numbers.

    Attributes
    ----------
    rows : int
    categories : dict of str to int
        Comments of each.
    lengths : list of int
        Comments by length: entry i counts those of about 2^(i/2) characters.
    words : dict of str to int
        Counts of the most frequent words.
    n_words, n_stop_words : int
        Running words that were counted, and how many of them are English stop words.
    """

    rows: int
    categories: dict[str, int]
    lengths: list[int]
    words: dict[str, int]
    n_words: int
    n_stop_words: int


@dataclass
class Profiler:
    """Makes a profile of comments that come in batches; `n_rows` is about how many will come."""

    stop_words: Collection[str]
    n_rows: int = 0
    _categories: Counter[str] = field(default_factory=Counter)
    _lengths: Counter[int] = field(default_factory=Counter)
    _words: Counter[str] = field(default_factory=Counter)

    def add(self, texts: Sequence[str], categories: Iterable[str]) -> None:
        """Add comments and their categories."""
        self._categories.update(categories)
        self._lengths.update(_lengths(texts))
        every = math.ceil(self.n_rows / WORDS_OF_ROWS)
        counted: Iterable[str] = texts
        if every > 1:
            counted = compress(texts, keys_of(texts) % np.uint64(every) == 0)
        for text in counted:
            self._words.update(_WORD.findall(text.lower()))

    def counts(self) -> list[list[tuple[Any, int]]]:
        """All that was added, as plain JSON, for another profiler's `add_counts`."""
        return [list(each.items()) for each in (self._categories, self._lengths, self._words)]

    def add_counts(self, counts: Sequence[Sequence[tuple[Any, int]]]) -> None:
        """Add the `counts` of another profiler of as many rows."""
        mine: list[Counter[Any]] = [self._categories, self._lengths, self._words]
        for counter, more in zip(mine, counts, strict=True):
            counter.update(dict(more))

    def profile(self) -> Profile:
        """The profile of all that was added."""
        frequent = sorted(self._words.items(), key=_by_count)
        return Profile(
            rows=self._categories.total(),
            categories=dict(sorted(self._categories.items())),
            lengths=[self._lengths[i] for i in range(N_LENGTHS)],
            words=dict(frequent[:MAX_PROFILE_WORDS]),
            n_words=self._words.total(),
            n_stop_words=sum(
                n for word, n in frequent if word.replace("’", "'") in self.stop_words
            ),
        )


@dataclass(frozen=True)
class Measure:
    """How far two runs lie apart in one respect.

    Attributes
    ----------
    name, title : str
        Of `DRIFTS`.
    distance : float
        0 for no difference at all, at most 1.
    noise : float
        What chance alone hardly ever exceeds at these numbers of rows; a limit is to be widened
        by it.
    before, now : str
        What it was and is, in words.
    """

    name: str
    title: str
    distance: float
    noise: float
    before: str
    now: str


def compare_profiles(before: Profile, now: Profile) -> list[Measure]:
    """How far comments lie from those of an earlier run.

    Notes
    -----
    Classes: half the sum of the differences of shares (total variation). Lengths: the largest
    difference of the cumulated shares (Kolmogorov-Smirnov). Vocabulary: Jensen-Shannon divergence
    in bits over the 1,000 most frequent words, all others as one. Language: difference of the share
    of English stop words among all words.

    The noise of the first two is the Kolmogorov-Smirnov distance that two samples of one population
    exceed once in 1,000 times, 1.95 sqrt(1/n + 1/m); of the vocabulary twice its expectation,
    which a second-order expansion gives; of the language four standard errors.
    """
    by_rows = 1.95 * math.sqrt(_harmonic(before.rows, now.rows))
    classes = sorted({*before.categories, *now.categories})
    shares = [_shares([p.categories.get(c, 0) for c in classes]) for p in (before, now)]
    lengths = [_shares(p.lengths) for p in (before, now)]
    words = _compared_words(before, now)
    vocabularies = [
        _shares([*counts, p.n_words - sum(counts)])
        for p in (before, now)
        for counts in [[p.words.get(word, 0) for word in words]]
    ]
    stops = [p.n_stop_words / max(p.n_words, 1) for p in (before, now)]
    pooled = sum(stops) / 2
    measured: list[tuple[Any, ...]] = [
        (
            float(np.abs(shares[0] - shares[1]).sum() / 2),
            by_rows,
            *(_shares_in_words(classes, each) for each in shares),
        ),
        (
            float(np.abs(np.cumsum(lengths[0]) - np.cumsum(lengths[1])).max()),
            by_rows,
            *(f"median about {_median_length(each)} characters" for each in lengths),
        ),
        (
            _divergence(*vocabularies),
            2 * len(words) / (8 * math.log(2)) * _harmonic(before.n_words, now.n_words),
            *(f"{p.n_words:,} words" for p in (before, now)),
        ),
        (
            abs(stops[0] - stops[1]),
            4 * math.sqrt(pooled * (1 - pooled) * _harmonic(before.n_words, now.n_words)),
            *(f"{share:.1%} English stop words" for share in stops),
        ),
    ]
    names = DRIFTS.items()
    return [Measure(*drift, *each) for drift, each in zip(names, measured, strict=True)]


def moved_words(before: Profile, now: Profile) -> list[dict[str, Any]]:
    """The ten words whose share changed most: ``word``, ``before`` and ``now`` (shares)."""
    moved: list[dict[str, Any]] = [
        {"word": word, "before": _share(before, word), "now": _share(now, word)}
        for word in _compared_words(before, now)
    ]
    return sorted(moved, key=lambda m: (-abs(m["before"] - m["now"]), m["word"]))[:10]


def _share(profile: Profile, word: str) -> float:
    """Of a word among all running words."""
    return profile.words.get(word, 0) / max(profile.n_words, 1)


def _by_count(counted: tuple[str, float]) -> tuple[float, str]:
    """Key that sorts words by their counts, the most frequent first, equals by name."""
    word, n = counted
    return -n, word


def _lengths(texts: Sequence[str]) -> list[int]:
    """Entries of `Profile.lengths`."""
    characters = np.fromiter(map(len, texts), dtype=np.int64, count=len(texts))
    halves = np.rint(2 * np.log2(np.maximum(characters, 1))).astype(np.int64)
    entries: list[int] = np.minimum(halves, N_LENGTHS - 1).tolist()
    return entries


def _median_length(shares: np.ndarray) -> int:
    middle = int(np.searchsorted(np.cumsum(shares), 0.5))
    return round(2 ** (middle / 2))


def _shares(counts: Sequence[int]) -> np.ndarray:
    return np.array(counts, dtype=float) / max(sum(counts), 1)


def _shares_in_words(classes: Sequence[str], shares: np.ndarray) -> str:
    named = [f"{c} {share:.1%}" for c, share in zip(classes, shares, strict=True)]
    return ", ".join(named[:8]) + (", …" if len(named) > 8 else "")


def _harmonic(n: int, m: int) -> float:
    return 1 / max(n, 1) + 1 / max(m, 1)


def _compared_words(before: Profile, now: Profile) -> list[str]:
    """The most frequent words of both."""
    words = {*before.words, *now.words}
    shares = {word: _share(before, word) + _share(now, word) for word in words}
    return [word for word, _ in sorted(shares.items(), key=_by_count)[:N_COMPARED_WORDS]]


def _divergence(p: np.ndarray, q: np.ndarray) -> float:
    middle = (p + q) / 2

    def information(r: np.ndarray) -> float:
        present = r > 0
        return float((r[present] * np.log2(r[present] / middle[present])).sum())

    return max((information(p) + information(q)) / 2, 0.0)
