"""Comments made up for sizes and faults: any number of them, each decided by its number alone.

For tests of reading and cleaning. Their words mean nothing, so they say
nothing about the quality of a model and are never used for it.

The vocabulary grows with the number of comments as that of real ones does (Heaps' law): comment
i draws from the 50 i^0.6 most frequent words of an endless list, by Zipf's law. Any part of the
comments can be made without those before it.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

CATEGORIES = {"science_and_technology": 0.04, "sports": 0.236, "video_games": 0.724}
FAULTS = {
    "removed": 0.01,
    "null text": 0.004,
    "unknown category": 0.003,
    "not JSON": 0.002,
    "not UTF-8": 0.002,
    "lone surrogate": 0.001,
    "duplicate": 0.05,
}
MEDIAN_WORDS, SPREAD = 17, 0.9  # of a log-normal; real comments have a median of 100 characters
_SYLLABLES = [c + v for c in "bdfgklmnprstvz" for v in "aeiou"]
_DIRT = ["&amp;", "https://example.org/x", "[a link](https://example.org)", "don't", "schÃ¶n", "⚽"]


def dirty_lines(
    n: int,
    seed: int = 34,
    start: int = 0,
    categories: Mapping[str, float] = CATEGORIES,
    faults: Mapping[str, float] = FAULTS,
) -> Iterator[bytes]:
    """Lines of a JSON Lines file, with their ends.

    Parameters
    ----------
    n : int
        How many.
    seed : int
        The same seed and number give the same line.
    start : int
        Number of the first one.
    categories : mapping of str to float
        Share of each category.
    faults : mapping of str to float
        Share of the lines with each fault, of `FAULTS`.

    Raises
    ------
    ValueError
        If a fault is unknown, or the shares of the faults sum to more than 1.
    """
    if unknown := sorted(set(faults) - set(FAULTS)):
        raise ValueError(f"faults: expected some of {list(FAULTS)}, got {unknown}")
    if sum(faults.values()) > 1:
        raise ValueError(f"faults: expected shares of at most 1 in all, got {sum(faults.values())}")
    for number in range(start, start + n):
        yield _line(number, seed, categories, faults)


def fault_of(number: int, seed: int = 34, faults: Mapping[str, float] = FAULTS) -> str:
    """The fault of a line by its number; "" for none."""
    return _chosen(np.random.default_rng([seed, number]).random(), faults)


def _line(
    number: int, seed: int, categories: Mapping[str, float], faults: Mapping[str, float]
) -> bytes:
    rng = np.random.default_rng([seed, number])
    fault = _chosen(rng.random(), faults)
    if fault == "duplicate" and number:
        earlier = int(rng.integers(number))
        if fault_of(earlier, seed, faults) != "duplicate":
            return _line(earlier, seed, categories, faults)
    category = _chosen(rng.random(), categories) or next(iter(categories))
    comment: dict[str, Any] = {"cat": category, "txt": _text(number, rng)}
    if fault == "removed":
        comment["txt"] = "[removed]"
    elif fault == "null text":
        comment["txt"] = None
    elif fault == "unknown category":
        comment["cat"] = f"slip_{number % 7}"
    elif fault == "lone surrogate":
        comment["txt"] += "\ud83d"
    line = json.dumps(comment, ensure_ascii=fault == "lone surrogate").encode()
    if fault == "not JSON":
        line = line[: len(line) // 2]
    elif fault == "not UTF-8":
        line = line.replace(b'"txt": "', b'"txt": "\xe9\xff', 1)
    return line + b"\n"


def _chosen(draw: float, shares: Mapping[str, float]) -> str:
    """The name whose part of [0, 1) a draw falls into; "" beyond them all."""
    for name, share in shares.items():
        if draw < share:
            return name
        draw -= share
    return ""


def _text(number: int, rng: np.random.Generator) -> str:
    n_words = max(1, round(rng.lognormal(math.log(MEDIAN_WORDS), SPREAD)))
    n_known = 50 * (number + 1) ** 0.6
    ranks = np.exp(rng.random(n_words) * math.log(n_known)).astype(int)  # density 1 / rank
    words = [_word(rank) for rank in ranks.tolist()]
    if rng.random() < 0.2:
        words.insert(int(rng.integers(len(words) + 1)), _pick(_DIRT, rng))
    text = " ".join(words).capitalize()
    return text + _pick(["", ".", "!", "?", " ..."], rng)


def _pick(items: Sequence[str], rng: np.random.Generator) -> str:
    return items[int(rng.integers(len(items)))]


def _word(rank: int) -> str:
    """The word of a rank, from 1: each its own, frequent ones short."""
    word = ""
    while rank:
        rank, syllable = divmod(rank - 1, len(_SYLLABLES))
        word = _SYLLABLES[syllable] + word
    return word
