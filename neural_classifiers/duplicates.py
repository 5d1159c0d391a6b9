"""Comments that nearly repeat another one, across the split.

A model that has seen a comment with one word changed is not tested by it. Two comments count as
nearly the same when their sets of three-word sequences overlap by at least 0.8 (Jaccard); MinHash
finds the candidates (datasketch), the sets themselves decide.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from neural_classifiers.scores import wilson_interval

THRESHOLD = 0.8
CANDIDATES = 0.75  # of the threshold
PERMUTATIONS = 128
CHECKED_WHOLE = 50_000  # rows of both sides together; beyond, a sample of the test rows
CHECKED_ROWS = 5_000
BATCH_ROWS = 5_000


@dataclass(frozen=True)
class NearDuplicates:
    """What was found.

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


def near_duplicates(
    train: Sequence[str],
    test: Sequence[str],
    seed: int,
    threshold: float = THRESHOLD,
    whole: int = CHECKED_WHOLE,
    sample: int = CHECKED_ROWS,
) -> NearDuplicates:
    """Test texts that nearly repeat a training text.

    Parameters
    ----------
    train, test : sequence of str
        Cleaned texts, words separated by spaces.
    seed : int
        Of the sample and of MinHash.
    threshold : float
        Least similarity, in (0, 1].
    whole, sample : int
        With more than `whole` texts on both sides together, `sample` test texts are drawn. They
        are held against every training text all the same: a sample of both sides would miss pairs.

    Notes
    -----
    MinHash may miss a pair close to the threshold, hardly ever one well above it; what it finds is
    checked, so nothing is counted wrongly.
    """
    from datasketch import MinHashLSH

    drawn = np.arange(len(test))
    if len(train) + len(test) > whole and sample < len(test):
        drawn = np.sort(np.random.default_rng(seed).choice(len(test), sample, replace=False))
    # Lower than asked for, since candidates are checked: it finds those at the threshold, too
    index = MinHashLSH(threshold=CANDIDATES * threshold, num_perm=PERMUTATIONS)
    shingles = {i: _shingles(test[i]) for i in drawn.tolist()}
    for i, minhash in zip(shingles, _minhashes(list(shingles.values()), seed), strict=True):
        index.insert(i, minhash)
    best: dict[int, tuple[int, float]] = {}
    for start in range(0, len(train), BATCH_ROWS):
        sets = [_shingles(text) for text in train[start : start + BATCH_ROWS]]
        for j, (minhash, theirs) in enumerate(zip(_minhashes(sets, seed), sets, strict=True)):
            for i in index.query(minhash):
                similarity = len(shingles[i] & theirs) / len(shingles[i] | theirs)
                if similarity >= threshold and similarity > best.get(i, (0, 0.0))[1]:
                    best[i] = (start + j, similarity)
    share = len(best) / max(len(drawn), 1)
    is_whole = len(drawn) == len(test)
    interval = (share, share) if is_whole else wilson_interval(len(best), len(drawn))
    pairs = [(i, *best[i]) for i in sorted(best)]
    return NearDuplicates(len(drawn), pairs, share, interval, threshold)


def _shingles(text: str) -> frozenset[bytes]:
    """Sequences of three words; of a text of one or two, the text itself."""
    words = text.split()
    if len(words) < 3:
        return frozenset([" ".join(words).encode()])
    return frozenset(" ".join(words[i : i + 3]).encode() for i in range(len(words) - 2))


def _minhashes(sets: Sequence[frozenset[bytes]], seed: int) -> Iterator["object"]:
    from datasketch import MinHash

    yield from MinHash.generator(
        [sorted(shingles) for shingles in sets], num_perm=PERMUTATIONS, seed=seed
    )
