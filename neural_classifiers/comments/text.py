"""Cleaned comments: lower-case stems without punctuation and stop words, and more if asked for.

`Cleaning` names every option; `CLEANINGS` has the presets ``default`` and ``notebook``. What each
option does to validation scores stands in ``docs/decisions/0004-cleaning.md``.

One decision a reader might question: punctuation goes in two steps. Everything but the
apostrophe goes first, so that "(don't" and "don't," are both recognised as the stop word
"don't"; the apostrophe goes last.
"""

import html
import re
import unicodedata
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache, lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from neural_classifiers.values import checked

if TYPE_CHECKING:
    import pyarrow as pa

# Bounds the memory of `porter_stemmer`, about 150 bytes a word. Real comments rarely leave
# it: 144,000 of them hold 109,000 distinct words.
MAX_REMEMBERED_STEMS = 2**18

# The ends of all suffixes that some rule of Porter's changes (Porter 1980, with NLTK's additions):
# a word without any of them passes every step as it is
_PORTERS_ENDINGS = (
    *("s", "ed", "ing", "y", "i", "e", "ll", "al", "er", "or", "ic", "ant", "ent", "ion", "ou"),
    *("ism", "ful"),
)

# Words of which NLTK's Porter may make another stem than the algorithm as published
_NLTKS_OWN = re.compile(
    r"""^.{0,2}\Z                                            # left as it is
    |^(?:sky|skies|dying|lying|tying|news|innings?|outings?|cannings?|howe|(?:pro|ex|suc)ceed)\Z
    |^.ie(?:s|ds?)\Z                                         # dies: die
    |^[aeiou][^aeiou](?:e|ing)                               # used, aping: use, ape
    |(?:^[^aeiou]+|[aeiouy])y(?:s|eds?|ings?)?\Z             # flying: fli; enjoy: enjoy
    |([^aeioubdfglmnprstz])\1(?:ed|ing)s?\Z                  # trekked: trek
    |bl[iy]|log[iy]|full[iy]|tionall[iy]                     # possibly, geology, sensationally""",
    re.VERBOSE | re.DOTALL,
)

# Inside of a regular expression's brackets: signs that belong to the word before them, which \w
# passes over (combining marks, joiners), by the blocks that have them; scripts that put no space
# between words (Thai, Lao, Myanmar, Khmer, Chinese, Japanese); emoji without what joins them
MARKS = (
    "\u0300-\u036f\u0483-\u0489\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u064b-\u065f"
    "\u0670\u06d6-\u06dc\u06df-\u06e8\u06ea-\u06ed\u0711-\u07f3\u07fd\u0816-\u082d\u0859-\u085b\u0898-\u0963"
    "\u0981-\u09e3\u09fe-\u0a75\u0a81-\u0ae3\u0afa-\u0bd7\u0c00-\u0c63\u0c81-\u0df3\u0e31\u0e34-\u0e3a"
    "\u0e47-\u0e4e\u0eb1\u0eb4-\u0ebc\u0ec8-\u0ece\u0f18-\u0f39\u0f3e-\u0fc6\u102b-\u103e\u1056-\u1059"
    "\u105e-\u1060\u1062-\u1064\u1067-\u106d\u1071-\u1074\u1082-\u108d\u108f\u109a-\u109d\u135d-\u135f"
    "\u1712-\u1773\u17b4-\u17d3\u17dd\u180b-\u1cff\u1dc0-\u1dff\u200c\u200d\u20d0-\u20f0\u2cef-\u2dff"
    "\u302a-\u302f\u3099\u309a\ua66f-\ua6f1\ua802-\ua9c0\ua9e5\uaa29-\uaa4d\uaa7b-\uaa7d\uaab0-\uabed"
    "\ufb1e\ufe00-\ufe2f\U000101fd-\U00011fff\U00016ac0-\U00016fff\U0001bc9d\U0001bc9e"
    "\U0001cf00-\U0001d244\U0001da00-\U0001e94a\U000e0100-\U000e01ef"
)
UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u312f\u31a0-\u31bf\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\ua9e0-\ua9ff\uaa60-\uaa7f\uf900-\ufaff\uff66-\uff9f"
    "\U0001b000-\U0001b16f\U00020000-\U0003ffff"
)
_EMOJI_SIGNS = "\u231a\u231b\u23e9-\u23fa\u2600-\u27bf\u2b00-\u2bff\U0001f000-\U0001faff"
_FLAG = "[\U0001f1e6-\U0001f1ff]{2}"
# What `TfidfVectorizer` takes for words: two signs or more, as by its own pattern, with their
# marks; of scripts without spaces each character; each emoji
TOKENS = "|".join(
    [
        r"(?a:\w{2,}+)(?![^\x00-\x7f])",  # the same in ASCII, quickly
        rf"[^\W{UNSPACED}](?=[^\W{UNSPACED}]|[{MARKS}])(?:[^\W{UNSPACED}]++|[{MARKS}]++)*+",
        rf"[{UNSPACED}][{MARKS}]*+",
        rf"{_FLAG}|[{_EMOJI_SIGNS}](?:[\ufe0e\ufe0f\u20e3\U0001f3fb-\U0001f3ff]|\u200d[{_EMOJI_SIGNS}])*+",
    ]
)

_EMOJI = re.compile(rf"[{_EMOJI_SIGNS}\ufe0e\ufe0f\u200d\u20e3\U000e0020-\U000e007f]")
_LONG_NUMBER = re.compile(r"&#(?=[xX]?[0-9a-fA-F]{20})")
_MANY_MARKS = re.compile(rf"[{MARKS}]{{31,}}")
_LINK = re.compile(r"!?\[([^\[\]\n]*)\]\((?:[^()\s]|\([^()\s]*\))*(?:\s+\"[^\"\n]*\")?\)")
_URL = re.compile(r"(?i)\b(?:https?://|www\.)[^\s<>\[\]()\"]+")
_QUOTED = re.compile(r"(?m)^[ ]{0,3}(?:>|&gt;).*$")
_IRREGULAR = {
    "ain't": "is not",
    "can't": "can not",
    "let's": "let us",
    "shan't": "shall not",
    "won't": "will not",
}
_ENDINGS = {"n't": "not", "'re": "are", "'ve": "have", "'ll": "will", "'m": "am", "'d": "would"}
_CONTRACTED = re.compile(r"\b(\w+)(n't|'re|'ve|'ll|'m|'d)\b")
_IRREGULAR_WORD = re.compile(rf"\b(?:{'|'.join(_IRREGULAR)})\b")


class _Translation(dict[int, int | str | None]):
    """A table for `str.translate`; each character is looked up when it is first met.

    To list all punctuation marks of Unicode takes 0.1 s, too long for a single text.
    """

    def __init__(self, punctuation: str | None, apostrophes: str = "") -> None:
        super().__init__({ord(character): "'" for character in apostrophes})
        self._punctuation = punctuation

    def __missing__(self, character: int) -> int | str | None:
        is_mark = unicodedata.category(chr(character))[0] == "P"
        self[character] = self._punctuation if is_mark else character
        return self[character]


# The apostrophe's two forms stay one
_TO_SPACES = _Translation(" ", apostrophes="'’")
_TO_NOTHING = _Translation(None)


@dataclass(frozen=True)
class Cleaning:
    """Options of cleaning, in the order in which they apply; the defaults are the pipeline's.

    Attributes
    ----------
    mojibake : bool
        Mend text that was decoded wrongly ("schÃ¶n" becomes "schön"), by ftfy.
    html_entities : bool
        "&amp;" becomes "&".
    unicode : str
        "none", or the normal form "NFC" (composed) or "NFKC" (also "ﬁ" becomes "fi").
    quoted_lines : str
        "keep" or "drop" lines that begin with ">": words of somebody else.
    markdown : bool
        Links "[text](address)" become their text.
    urls : str
        "keep" (as the words that punctuation leaves of them) or "drop" bare addresses.
    emoji : str
        "keep", "drop", or "name" (the soccer ball becomes "soccer ball").
    contractions : bool
        "don't" becomes "do not".
    stop_words : str
        "drop" while the apostrophe stands; "drop after punctuation", as the notebook does, to
        which "don't" is the word "dont"; or "keep".
    punctuation : str
        "separate" words at it, "delete" it, as the notebook does, to which "pc/console" is the
        word "pcconsole"; or "keep".
    stem : str
        Porter's, of all "words", of the "whole comment" as if it were one word (the notebook, to
        which only the end of the last word is an end), or "none".

    Raises
    ------
    ValueError
        If an option has a value that it does not know.
    """

    mojibake: bool = False
    html_entities: bool = False
    unicode: Literal["none", "NFC", "NFKC"] = "none"
    quoted_lines: Literal["keep", "drop"] = "keep"
    markdown: bool = False
    urls: Literal["keep", "drop"] = "keep"
    emoji: Literal["keep", "drop", "name"] = "keep"
    contractions: bool = False
    stop_words: Literal["keep", "drop", "drop after punctuation"] = "drop"
    punctuation: Literal["keep", "separate", "delete"] = "separate"
    stem: Literal["none", "words", "whole comment"] = "words"

    def __post_init__(self) -> None:
        for name, values in self.choices().items():
            value = getattr(self, name)
            if value not in values or type(value) is not type(values[0]):
                raise ValueError(f"{name}: expected one of {values}, got {value!r}")

    @classmethod
    def choices(cls) -> dict[str, list[str | bool]]:
        """The values that each option knows."""
        return {f.name: list(get_args(f.type)) or [False, True] for f in fields(cls)}

    @property
    def is_prepared(self) -> bool:
        """True if an option looks beyond a piece of text between two spaces."""
        local: Any = {name: getattr(self, name) for name in ("stop_words", "punctuation", "stem")}
        return self != Cleaning(**local)


CLEANINGS: Mapping[str, Cleaning] = {
    "default": Cleaning(),
    "notebook": Cleaning(
        stop_words="drop after punctuation", punctuation="delete", stem="whole comment"
    ),
}


def cleaning_of(cleaning: str | Mapping[str, Any]) -> Cleaning:
    """A preset by its name, or options that differ from ``default``; ``preset`` names another base.

    Raises
    ------
    ValueError
        If a preset, an option or its value is unknown.
    """
    options = {"preset": cleaning} if isinstance(cleaning, str) else dict(cleaning)
    preset = options.pop("preset", "default")
    if preset not in CLEANINGS:
        raise ValueError(f"expected one of {list(CLEANINGS)}, got {preset!r}")
    known = Cleaning.choices()
    if unknown := sorted(options.keys() - known.keys()):
        raise ValueError(f"expected options among {list(known)}, got {unknown}")
    return replace(CLEANINGS[preset], **options)


CleaningChoice = Annotated[str | dict[str, bool | str], checked(cleaning_of)]


def clean_comment(
    comment: str,
    stop_words: Collection[str] | None = None,
    stem: Callable[[str], str] | None = None,
    cleaning: Cleaning = CLEANINGS["default"],
) -> str:
    """Lower, separate at punctuation, drop stop words and stem one comment.

    Parameters
    ----------
    comment : str
        Raw text of one comment. May be empty.
    stop_words : collection of str, optional
        Lower-case words of letters and apostrophes to drop, compared while the apostrophe
        stands ("don't" is one) and again when it is gone ("goalie's" leaves "s").
        A set, for speed. By default NLTK's English list.
    stem : callable, optional
        Maps one word to its stem. By default Porter's stemmer.
    cleaning : Cleaning, optional
        Options, by default those of the pipeline.

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
    >>> clean_comment("I don't play pc/console games")
    'play pc consol game'
    >>> clean_comment("The goalie SAVED it!", {"the", "it"}, str.title)
    'Goalie Saved'

    Notes
    -----
    Source: notebook class ``TextNormalizer``. Departures: the notebook stems a comment as if
    it were one word, so only its last word changes; here every word is stemmed. It deletes
    punctuation before it looks for stop words, which makes "don't" the word "dont" and
    "pc/console" the word "pcconsole"; here stop words go while the apostrophe stands, and
    punctuation separates. The preset ``notebook`` does as the notebook does.

    Punctuation is every character of a Unicode category P. Symbols (categories S, "+" and
    "$" among them) stay, as in the notebook.
    """
    if not isinstance(comment, str):
        raise TypeError(f"expected a comment as str, got {type(comment).__name__}: {comment!r}")
    stop_words = english_stop_words() if stop_words is None else stop_words
    stem = porter_stemmer() if stem is None else stem
    words = _words(_prepared(comment, cleaning), stop_words, cleaning)
    if cleaning.stem == "none":
        return " ".join(words)
    if cleaning.stem == "whole comment":
        return stem(" ".join(words))
    return " ".join(map(stem, words))


def clean_column(comments: "pa.Array", cleaning: Cleaning = CLEANINGS["default"]) -> "pa.Array":
    """Clean a column of comments, each as `clean_comment` does: for many, several times faster.

    Parameters
    ----------
    comments : Array of string, shape (n_comments,)
        Without nulls.
    cleaning : Cleaning, optional

    Notes
    -----
    What the notebook does otherwise: see `clean_comment`.

    From white space to white space no option looks further (those that do are applied to each
    comment first), so each distinct piece of text is cleaned once, and Arrow puts the comments
    together again. Arrow's white space is Python's: all 29 characters. Where punctuation separates
    words, it goes before, so that pieces are words, of which half as many differ.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    if cleaning.is_prepared:
        prepared = [_prepared(comment, cleaning) for comment in comments.to_pylist()]
        comments = pa.array(prepared, pa.string())
    if cleaning.punctuation == "separate":
        comments = pa.array(_separated(comments.to_pylist()), pa.string())
    pieces = pc.utf8_split_whitespace(comments)
    distinct = pieces.flatten().dictionary_encode()
    cleaned = _clean_pieces(distinct.dictionary.to_pylist(), cleaning)
    texts = pa.array(cleaned, pa.string()).take(distinct.indices)
    is_left = pc.not_equal(texts, "")
    # each comment ends where its pieces ended, less those that are gone
    ends = np.concatenate([[0], np.cumsum(is_left.to_numpy(zero_copy_only=False))])
    offsets = pa.array(ends[pieces.offsets.to_numpy()], pa.int32())
    joined = pc.binary_join(pa.ListArray.from_arrays(offsets, texts.filter(is_left)), " ")
    if cleaning.stem == "whole comment":
        return pa.array(map(porter_stemmer(), joined.to_pylist()), pa.string())
    return joined


def _separated(texts: list[str]) -> list[str]:
    """In the texts that are ASCII: lower case, and spaces for punctuation, in all of them at once.

    Python translates ASCII at the speed of memory and any other text a character at a time, which
    is left to its distinct pieces.
    """
    rows = [row for row, text in enumerate(texts) if text.isascii()]
    if rows:
        together = "\n".join(texts[row].replace("\n", " ") for row in rows)
        together = together.lower().translate(_TO_SPACES)
        for row, text in zip(rows, together.split("\n"), strict=True):
            texts[row] = text
    return texts


def _prepared(text: str, cleaning: Cleaning) -> str:
    """Lower case, and all done that looks beyond a piece of text between two spaces."""
    if cleaning.mojibake:
        import ftfy

        text = ftfy.fix_encoding(text)
    if cleaning.html_entities:
        text = html.unescape(_LONG_NUMBER.sub("&amp;#", text))  # Python reads no such number
    if cleaning.unicode != "none":
        text = unicodedata.normalize(cleaning.unicode, _MANY_MARKS.sub(_stream_safe, text))
    if cleaning.quoted_lines == "drop":
        text = _QUOTED.sub("", text)
    if cleaning.markdown:
        text = _LINK.sub(r" \1 ", text)
    if cleaning.urls == "drop":
        text = _URL.sub(" ", text)
    if cleaning.emoji == "drop":
        text = _EMOJI.sub(" ", text)
    elif cleaning.emoji == "name":
        text = _EMOJI.sub(lambda match: f" {_emoji_name(match.group())} ", text)
    text = text.lower()
    return _expanded(text.replace("’", "'")) if cleaning.contractions else text


def _stream_safe(match: re.Match[str]) -> str:
    """Marks with a joiner after each 30 (UAX 15); to sort more takes the square of their number."""
    safe, n = [], 0
    for character in match.group():
        n = n + 1 if unicodedata.combining(character) else 0
        safe.append(character if n % 30 else f"{character}\u034f" if n else character)
    return "".join(safe)


def _emoji_name(character: str) -> str:
    name = unicodedata.name(character, "")
    is_part = name.startswith(("VARIATION SELECTOR", "ZERO WIDTH", "TAG ", "COMBINING"))
    return "" if is_part else name.lower()


def _expanded(text: str) -> str:
    text = _IRREGULAR_WORD.sub(lambda match: _IRREGULAR[match.group()], text)
    return _CONTRACTED.sub(lambda match: f"{match.group(1)} {_ENDINGS[match.group(2)]}", text)


def _words(text: str, stop_words: Collection[str], cleaning: Cleaning) -> list[str]:
    """Words without punctuation and stop words, as far as these are to go."""
    early = stop_words if cleaning.stop_words == "drop" else ()
    late = stop_words if cleaning.stop_words != "keep" else ()
    if cleaning.punctuation == "delete":
        standing = [word for word in text.split() if _bare(word) not in early]
        words = " ".join(standing).translate(_TO_NOTHING).split()
        return [word for word in words if word not in late]
    if cleaning.punctuation == "keep":
        return [word for word in text.split() if _bare(word) not in late]
    words = text.translate(_TO_SPACES).split()
    standing = [word for word in words if word.strip("'") not in early]
    parts = (part for word in standing for part in word.replace("'", " ").split())
    return [part for part in parts if part not in late]


def _clean_pieces(pieces: Sequence[str], cleaning: Cleaning) -> Iterator[str]:
    """Each piece of text clean, which may leave nothing of it.

    Characters are changed in all pieces at once, and a piece that is one word, as most are, takes
    the shortest way: together half of the time.
    """
    stop_words, stem = english_stop_words(), porter_stemmer()
    text = "\n".join(pieces)
    if not cleaning.is_prepared:
        text = text.lower()
    is_separated = cleaning.punctuation == "separate"
    if is_separated:
        text = text.translate(_TO_SPACES)
    dropped = stop_words if cleaning.stop_words != "keep" else ()
    is_stemmed = cleaning.stem == "words"
    for piece in text.split("\n"):
        word = piece.strip(" ")
        if is_separated and " " not in word and "'" not in word:
            yield "" if not word or word in dropped else stem(word) if is_stemmed else word
        else:
            words = _words(piece, stop_words, cleaning)
            yield " ".join(map(stem, words) if is_stemmed else words)


def _bare(word: str) -> str:
    """A word without the punctuation around it."""
    return word.translate(_TO_SPACES).strip(" '")


@cache
def english_stop_words() -> frozenset[str]:
    """NLTK's 198 English stop words, lower case; provenance in `stop_words_english.README.md`."""
    listed = files("neural_classifiers.comments").joinpath("stop_words_english.txt")
    return frozenset(listed.read_text(encoding="utf-8").split())


@cache
def porter_stemmer() -> Callable[[str], str]:
    """NLTK's Porter stemmer, which works out each distinct word once in a process.

    PyStemmer has Porter's algorithm as published, in C, 40 times as fast. NLTK's departs from it on
    some kinds of words; NLTK is asked about those, and about any that is not ASCII.
    """
    from nltk.stem import PorterStemmer
    from Stemmer import Stemmer

    extended, published = PorterStemmer().stem, Stemmer("porter", 0).stemWord

    @lru_cache(MAX_REMEMBERED_STEMS)
    def stem_once(word: str) -> str:
        lower = word.lower()
        if not lower.endswith(_PORTERS_ENDINGS):
            return lower
        is_nltks = not lower.isascii() or _NLTKS_OWN.search(lower)
        return extended(lower) if is_nltks else published(lower)

    return stem_once
