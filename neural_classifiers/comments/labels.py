"""Labels that are spelled in several ways: which are one, and which may be.

Spaces, letters' case and forms of the same character never tell two topics apart, so such labels
are one, spelled as most rows spell it. Labels that differ by punctuation, accents or letters of
another script that look the same may be two: they are named, and stay.
"""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping

from neural_classifiers.errors import shown

_LIKE_LATIN = str.maketrans("авекмнорстухіјѕοαρτνι", "abekmhopctyxijsoaptvi")  # Cyrillic, Greek
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u2060\ufeff]")
_NO_LETTERS = re.compile(r"[\W_]+")


def same_labels(
    counts: Mapping[str, int], categories: Collection[str] | None = None
) -> dict[str, str]:
    """The label that each other spelling of it stands for.

    Parameters
    ----------
    counts : mapping of str to int
        Rows of each label as it is spelled.
    categories : collection of str, optional
        Labels that are known: each stays as it is, and other spellings become it where only one is
        meant.

    Examples
    --------
    >>> same_labels({"sports": 7, "Sports": 2, "sports ": 1, "games": 9})
    {'Sports': 'sports', 'sports ': 'sports'}
    """
    spelled: dict[str, Counter[str]] = defaultdict(Counter)
    for label, n in counts.items():
        spelled[_folded(label)][label] += n
    for label in categories or ():
        spelled[_folded(label)][label] += 0
    same: dict[str, str] = {}
    for labels in spelled.values():
        known = [label for label in labels if label in (categories or ())]
        if len(known) > 1:
            continue  # who names two spellings means two
        [chosen] = known or [" ".join(min(labels, key=lambda a: (-labels[a], a)).split())]
        same |= dict.fromkeys((label for label in labels if label != chosen), chosen)
    return same


def alike(labels: Collection[str]) -> list[list[str]]:
    """Labels that differ by no more than punctuation, accents or letters that look the same."""
    groups: dict[str, list[str]] = defaultdict(list)
    for label in sorted(labels):
        decomposed = unicodedata.normalize("NFKD", _folded(label)).translate(_LIKE_LATIN)
        letters = (c for c in decomposed if not unicodedata.combining(c))
        groups[_NO_LETTERS.sub("", "".join(letters)) or label].append(label)
    return [group for group in groups.values() if len(group) > 1]


def notes_on(
    counts: Mapping[str, int], spellings: Mapping[str, str], categories: Collection[str]
) -> list[str]:
    """Sentences on the labels that were taken for one, and on those that look alike."""
    notes = []
    if spellings:
        n_rows = sum(counts.get(label, 0) for label in spellings)
        pairs = [f"{other!r} for {label!r}" for other, label in sorted(spellings.items())]
        notes.append(
            f"{n_rows:,} rows have a label in another spelling, and count under the usual one: "
            f"{shown(', '.join(pairs))}; --categories with both spellings keeps two apart."
        )
    if groups := alike(categories):
        pairs = [" and ".join(map(repr, group)) for group in groups]
        notes.append(f"Labels that look alike are classes of their own: {shown('; '.join(pairs))}.")
    return notes


def _folded(label: str) -> str:
    """A label without what never tells two apart."""
    return " ".join(unicodedata.normalize("NFKC", _INVISIBLE.sub("", label)).casefold().split())
