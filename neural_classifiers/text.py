"""Cleaned comments: lower-case stems without punctuation and stop words.

One decision a reader might question: punctuation goes in two steps. Everything but the
apostrophe goes first, so that "(don't" and "don't," are both recognised as the stop word
"don't"; the apostrophe goes last.
"""

import sys
import unicodedata
from collections.abc import Callable, Collection, Iterable
from functools import cache, lru_cache
from importlib.resources import files

# Bounds the memory of `porter_stemmer`, about 150 bytes a word. Real comments rarely leave
# it: 144,000 of them hold 109,000 distinct words.
MAX_REMEMBERED_STEMS = 2**18


def clean_comment(comment: str, stop_words: Collection[str], stem: Callable[[str], str]) -> str:
    """Lower, separate at punctuation, drop stop words and stem one comment.

    Parameters
    ----------
    comment : str
        Raw text of one comment. May be empty.
    stop_words : collection of str
        Lower-case words of letters and apostrophes to drop, compared while the apostrophe
        stands ("don't" is one) and again when it is gone ("goalie's" leaves "s").
        A set, for speed.
    stem : callable
        Maps one word to its stem, e.g. ``PorterStemmer().stem``.

    Returns
    -------
    str
        Stems joined by single spaces; ``""`` when nothing is left.

    Raises
    ------
    TypeError
        If `comment` is not a string: missing values are caught in validation.

    Examples
    --------
    >>> clean_comment("The goalie SAVED it!", {"the", "it"}, str.title)
    'Goalie Saved'
    >>> clean_comment("pc/console", set(), str.title)
    'Pc Console'

    Notes
    -----
    Source: notebook class ``TextNormalizer``. Departures: the notebook stems a comment as if
    it were one word, so only its last word changes; here every word is stemmed. It deletes
    punctuation before it looks for stop words, which makes "don't" the word "dont" and
    "pc/console" the word "pcconsole"; here stop words go while the apostrophe stands, and
    punctuation separates.

    Punctuation is every character of a Unicode category P. Symbols (categories S, "+" and
    "$" among them) stay, as in the notebook.
    """
    if not isinstance(comment, str):
        raise TypeError(f"expected a comment as str, got {type(comment).__name__}: {comment!r}")
    words = comment.lower().translate(_punctuation_to_spaces()).split()
    standing = (word for word in words if word.strip("'") not in stop_words)
    parts = (part for word in standing for part in word.replace("'", " ").split())
    return " ".join(stem(part) for part in parts if part not in stop_words)


def clean_comments(
    comments: Iterable[str],
    stop_words: Collection[str] | None = None,
    stem: Callable[[str], str] | None = None,
) -> list[str]:
    """Clean many comments, in their order, as `clean_comment` does each of them.

    Parameters
    ----------
    comments : iterable of str
        Raw texts.
    stop_words : collection of str, optional
        NLTK's English list unless given.
    stem : callable, optional
        Porter's stemmer with a memory unless given. Whoever cleans in batches makes one
        with `porter_stemmer` and hands it to each call.
    """
    stop_words = english_stop_words() if stop_words is None else stop_words
    stem = porter_stemmer() if stem is None else stem
    return [clean_comment(comment, stop_words, stem) for comment in comments]


def english_stop_words() -> frozenset[str]:
    """NLTK's 198 English stop words, lower case; provenance in the README beside the list."""
    listed = files("neural_classifiers").joinpath("stop_words_english.txt")
    return frozenset(listed.read_text(encoding="utf-8").split())


def porter_stemmer() -> Callable[[str], str]:
    """NLTK's Porter stemmer, which works out each distinct word once.

    PyStemmer is 40 times faster than NLTK and gives other stems (98.75 % agree); a memory
    gives the same stems, 4 times faster on words seen for the first time in real text.
    """
    from nltk.stem import PorterStemmer

    return lru_cache(MAX_REMEMBERED_STEMS)(PorterStemmer().stem)


@cache
def _punctuation_to_spaces() -> dict[int, str]:
    """Every Unicode punctuation mark mapped to a space, the apostrophe's two forms to "'"."""
    # The scan of all 1,114,112 characters takes about 0.1 s: once, at the first comment.
    marks = (c for c in range(sys.maxunicode + 1) if unicodedata.category(chr(c))[0] == "P")
    return dict.fromkeys(marks, " ") | {ord("'"): "'", ord("’"): "'"}
