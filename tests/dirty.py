"""Comments made up for tests, as dirty as life: with faults, in shares that we know.

Their words mean nothing, so they say nothing about the quality of a model and are never used
for it. The frequencies of words follow Zipf's law, as in real texts.
"""

import json
import math
from collections.abc import Iterator, Mapping

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
N_WORDS = 10_000
_SYLLABLES = [c + v for c in "bdfgklmnprstvz" for v in "aeiou"]
_DIRT = ["&amp;", "https://example.org/x", "[a link](https://example.org)", "don't", "schÃ¶n", "⚽"]


def dirty_lines(n: int, faults: Mapping[str, float] = FAULTS) -> Iterator[bytes]:
    """Lines of a JSON Lines file, with their ends; `faults` is the share of lines with each.

    Beside those of `FAULTS` there are "stop words", of which cleaning leaves nothing.
    """
    rng = np.random.default_rng(34)
    names, shares = [*faults, ""], [*faults.values(), 1 - sum(faults.values())]
    sound: list[bytes] = []
    for number in range(n):
        fault = rng.choice(names, p=shares)
        text = _text(rng)
        category = str(rng.choice(list(CATEGORIES), p=list(CATEGORIES.values())))
        texts = {
            "removed": "[removed]",
            "null text": None,
            "stop words": "It was not the same.",
            "lone surrogate": f"{text}\ud83d",
        }
        comment = {
            "cat": f"slip_{number % 7}" if fault == "unknown category" else category,
            "txt": texts.get(fault, text),
        }
        line = json.dumps(comment, ensure_ascii=fault == "lone surrogate").encode()
        if fault == "not JSON":
            line = line[: len(line) // 2]
        elif fault == "not UTF-8":
            line = line.replace(b'"txt": "', b'"txt": "\xe9\xff', 1)
        elif fault == "duplicate" and sound:
            line = sound[int(rng.integers(len(sound)))]
        elif not fault:
            sound.append(line)
        yield line + b"\n"


def _text(rng: np.random.Generator) -> str:
    n_words = max(1, round(rng.lognormal(math.log(MEDIAN_WORDS), SPREAD)))
    ranks = np.exp(rng.random(n_words) * math.log(N_WORDS)).astype(int)  # density 1 / rank
    words = [_word(rank) for rank in ranks.tolist()]
    if rng.random() < 0.2:
        words.insert(int(rng.integers(len(words) + 1)), str(rng.choice(_DIRT)))
    return " ".join(words).capitalize() + str(rng.choice(["", ".", "!", "?", " ..."]))


def _word(rank: int) -> str:
    """The word of a rank, from 1: each its own, frequent ones short."""
    word = ""
    while rank:
        rank, syllable = divmod(rank - 1, len(_SYLLABLES))
        word = _SYLLABLES[syllable] + word
    return word
