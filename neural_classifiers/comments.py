"""Comments out of JSON Lines: one row for each line, whatever the line holds.

A fault of the file (empty, another encoding, no JSON Lines, a column that is nowhere) raises
`CommentFileError`. A fault of a row never does: the row is kept with what came instead of
text, and `neural_classifiers.expectations` decides about it.

JSON is read by RFC 8259: NaN and Infinity, which Python's parser lets through, are refused.
Where the RFC leaves a choice: a name given twice counts with its last value; nesting deeper than
Python's parser goes (about 1,000 levels) is refused; a byte order mark before the first line is
skipped; a NUL character (written ``\\u0000``) is text. Lines end in LF or CRLF.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any, NoReturn

import numpy as np
import pandas as pd

SAMPLE = 3000  # notebook, "Load and Clean Comment Data"
SEED = 34  # notebook, "Load and Clean Comment Data"

COLUMNS = {
    "line": "int64",
    "raw": "str",
    "line_type": "str",
    "cat": "str",
    "cat_type": "str",
    "txt": "str",
    "txt_type": "str",
}

# The data set's four files (Hutto and Gilbert, 2014), by the category that each stands for.
VADER_FILES = {
    "movie_review": "movieReviewSnippets_GroundTruth.txt",
    "news": "nytEditorialSnippets_GroundTruth.txt",
    "product_review": "amazonReviewSnippets_GroundTruth.txt",
    "tweet": "tweets_GroundTruth.txt",
}

Line = tuple[int, str]  # number in the file, from 1; its text without the line's end

_JSON_SPACE = " \t\r\n"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_JSON_TYPES = {
    str: "string",
    type(None): "null",
    bool: "boolean",
    int: "number",
    float: "number",
    list: "list",
    dict: "object",
}


class CommentFileError(ValueError):
    """A file that cannot be read as comments: what was expected, what came, and where."""


@dataclass(frozen=True)
class CommentRows:
    """What was read of one file.

    Attributes
    ----------
    rows : DataFrame
        The rows drawn, as `parse_lines` gives them.
    n_rows : int
        Rows of the file before any were drawn: its lines less the blank ones.
    n_blank : int
        Blank lines, which are no rows.
    """

    rows: pd.DataFrame
    n_rows: int
    n_blank: int


def read_json_lines(
    lines: Iterable[bytes],
    name: str,
    sample: int | None = None,
    seed: int = SEED,
    text_column: str = "txt",
    label_column: str = "cat",
) -> CommentRows:
    """Draw rows from a JSON Lines file and say of each what it holds.

    Rows are drawn before anything is known of them, as in the notebook; so a bad row can be
    drawn, and is then counted rather than silently replaced by a good one.

    Parameters
    ----------
    lines : iterable of bytes
        The file's lines with their ends, as a file opened in binary mode gives them.
    name : str
        Names the file in messages.
    sample, seed
        See `sample_lines`.
    text_column, label_column : str
        Names of the two fields in the file. The result calls them ``txt`` and ``cat``.

    Raises
    ------
    CommentFileError
        If the file is empty, is not UTF-8, has fewer rows than an explicit `sample`, or if no
        row drawn is a JSON object, or none has one of the two fields.
    """
    decoded, n_blank = decode_lines(lines, name)
    drawn = sample_lines(decoded, name, sample, seed)
    return CommentRows(parse_lines(drawn, name, text_column, label_column), len(decoded), n_blank)


def decode_lines(lines: Iterable[bytes], name: str) -> tuple[list[Line], int]:
    """Every line that is not blank, with its number, and how many were blank.

    Raises
    ------
    CommentFileError
        If a line is not UTF-8 (names the line and the byte), or none is left.
    """
    decoded: list[Line] = []
    start = n_blank = 0  # start: bytes of the file before this line
    for number, line in enumerate(lines, start=1):
        text = _decode(line, name, number, start)
        start += len(line)
        if text.strip(_JSON_SPACE):
            decoded.append((number, text))
        else:
            n_blank += 1
    if not decoded:
        came = f"{n_blank:,} blank lines" if n_blank else "0 bytes"
        raise CommentFileError(f"{name}: expected a JSON object on each line, got {came}")
    return decoded, n_blank


def sample_lines(
    lines: Sequence[Line], name: str, sample: int | None = None, seed: int = SEED
) -> list[Line]:
    """Draw lines without replacement and give them in the file's order.

    Parameters
    ----------
    lines : sequence of (int, str)
        Lines of one file.
    name : str
        Names the file in messages.
    sample : int, optional
        How many to draw; unless given, 3,000, or all where there are fewer.
    seed : int
        The same lines, sample and seed give the same draw: ``choice`` without replacement by
        ``numpy.random.default_rng(seed)``.

    Raises
    ------
    CommentFileError
        If `sample` was given and the file has fewer rows.
    ValueError
        If `sample` is below 1.

    Notes
    -----
    The notebook shuffles with pandas' older generator, so its 3,000 rows are others than ours.
    """
    wanted = min(SAMPLE, len(lines)) if sample is None else sample
    if wanted < 1:
        raise ValueError(f"sample: expected at least 1 row, got {wanted}")
    if wanted > len(lines):
        raise CommentFileError(
            f"{name}: expected at least {wanted:,} rows to draw the sample from, got {len(lines):,}"
        )
    drawn = np.random.default_rng(seed).choice(len(lines), size=wanted, replace=False)
    return [lines[i] for i in np.sort(drawn)]


def parse_lines(
    lines: Iterable[Line], name: str, text_column: str = "txt", label_column: str = "cat"
) -> pd.DataFrame:
    """Table of the lines with one row for each, whether it is a comment or not.

    Returns
    -------
    DataFrame
        ``line`` (number in the file, from 1), ``raw`` (the line's text), ``line_type``
        ("object", or what came instead: "not JSON", "list", "string", ...); ``cat`` and ``txt``
        (null unless a string that can be stored); ``cat_type`` and ``txt_type`` ("string",
        "null", "number", "boolean", "list", "object", "missing", "lone surrogate"; null where the
        line is no object).

    Raises
    ------
    CommentFileError
        If no line is a JSON object, or none has `text_column` or `label_column`.
    """
    if text_column == label_column:
        raise ValueError(f"expected two columns, got {text_column!r} as text and as label")
    rows = []
    names: dict[str, None] = {}  # fields of all objects, in order of appearance
    for number, text in lines:
        line_type, fields = _parse(text)
        names |= dict.fromkeys(fields)
        is_object = line_type == "object"
        cat, cat_type = _text_of(fields, label_column) if is_object else (None, None)
        txt, txt_type = _text_of(fields, text_column) if is_object else (None, None)
        rows.append((number, text, line_type, cat, cat_type, txt, txt_type))
    table = pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)
    _require_json_lines(table, name)
    for column in (label_column, text_column):
        if column not in names:
            raise CommentFileError(
                f"{name}: expected a field {column!r}, got only {sorted(names)[:20]} "
                f"in {len(table):,} rows"
            )
    return table


def vader_to_json_lines(contents: Mapping[str, bytes]) -> bytes:
    """JSON Lines with ``cat`` and ``txt`` from the tables of texts published with VADER.

    Parameters
    ----------
    contents : mapping of str to bytes
        Content of each file by its category, as `VADER_FILES` names them: UTF-8, tab-separated
        with the header ``id  sentiment  text``, no quoting.

    Returns
    -------
    bytes
        UTF-8, one object a line, categories in alphabetical order, each in its file's order.

    Raises
    ------
    CommentFileError
        If a file is not UTF-8 or has another header, or a row has not three columns.

    Notes
    -----
    Source: Hutto and Gilbert, "VADER", ICWSM 2014. The sentiment scores are not used.
    """
    lines = [
        json.dumps({"cat": category, "txt": text}, ensure_ascii=False)
        for category, content in sorted(contents.items())
        for text in _vader_texts(content, f"{category} ({VADER_FILES.get(category, 'no name')})")
    ]
    return "".join(f"{line}\n" for line in lines).encode()


def _vader_texts(content: bytes, name: str) -> list[str]:
    lines, _ = decode_lines(BytesIO(content), name)
    table = [(number, text.split("\t")) for number, text in lines]
    if table[0][1] != ["id", "sentiment", "text"]:
        raise CommentFileError(
            f"{name}:1: expected the header id, sentiment, text, got {table[0][1]}"
        )
    for number, fields in table:
        if len(fields) != 3:
            raise CommentFileError(f"{name}:{number}: expected 3 columns, got {len(fields)}")
    return [fields[2] for _, fields in table[1:]]


def _decode(line: bytes, name: str, number: int, start: int) -> str:
    n_mark = len(_BYTE_ORDER_MARK) if number == 1 and line.startswith(_BYTE_ORDER_MARK) else 0
    try:
        return line[n_mark:].decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError as error:
        offset = n_mark + error.start
        raise CommentFileError(
            f"{name}:{number}: expected UTF-8, got byte 0x{line[offset]:02x} "
            f"at byte {offset + 1} of the line, offset {start + offset} of the file"
        ) from error


def _parse(text: str) -> tuple[str, dict[str, Any]]:
    """What a line holds, and its fields where that is an object."""
    try:
        # Numbers are never used, so any length will do: int() refuses more than 4,300 digits
        value = json.loads(text, parse_int=float, parse_constant=_refuse_constant)
    except json.JSONDecodeError:
        return "not JSON", {}
    except RecursionError:
        return "nested too deeply", {}
    return _JSON_TYPES[type(value)], value if isinstance(value, dict) else {}


def _refuse_constant(constant: str) -> NoReturn:
    raise json.JSONDecodeError(f"{constant} is no JSON", constant, 0)


def _text_of(fields: dict[str, Any], column: str) -> tuple[str | None, str]:
    """A field's text, null where it has none, and what came."""
    if column not in fields:
        return None, "missing"
    value = fields[column]
    if not isinstance(value, str):
        return None, _JSON_TYPES[type(value)]
    try:
        value.encode()
    except UnicodeEncodeError:  # half of a surrogate pair: neither Arrow nor Parquet stores it
        return None, "lone surrogate"
    return value, "string"


def _require_json_lines(table: pd.DataFrame, name: str) -> None:
    if (table["line_type"] == "object").any():
        return
    first = table.iloc[0]
    raise CommentFileError(
        f"{name}:{first['line']}: expected a JSON object on each line, "
        f"got none in {len(table):,} rows (this one: {first['line_type']})"
    )
