"""Records out of the lines of a table: CSV, TSV and their like, in any quoting.

A dialect says what ends a cell and what a quotation mark or an escape is. Where the user does not
say it, the whole file does, if nothing is in doubt (`survey`): CSV is read by RFC 4180; TSV, which
knows no quoting, as it stands, unless all its quotation marks are those that a writer of quoted
cells would have made.

What a reader might question: a quotation mark that is never closed would swallow all that follows.
Here a record that is none costs its first line, and reading goes on with the next. How far it looks
ahead for a closing mark is bounded, so that the cost of a file grows with its length alone.
"""

import re
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

from neural_classifiers.comments.lines import MAX_ROW_BYTES, Blank, Row, end_of, without_mark
from neural_classifiers.comments.packing import CommentFileError
from neural_classifiers.errors import shown

Quoting = Literal["auto", "standard", "none"]

DELIMITERS = {",": "CSV", "\t": "TSV", ";": "CSV (semicolons)", "|": "CSV (bars)"}
LINES_AHEAD = 4  # that any record may look at, and bytes for each byte read before
BYTES_AHEAD, SPENT = (
    4,
    8,
)  # each looked at in vain costs so many; the first `MAX_ROW_BYTES` are free
MAX_SUSPECTS, MAX_VALUES = 1000, 100_000

_CLOSED, _OPEN, _STRAY = "closed", "open", "stray"
_STATES = {
    False: (("whole", _CLOSED), ("opens", _OPEN)),
    True: (("goes on", _OPEN), ("closes", _CLOSED), ("opens again", _OPEN)),
}
_ESCAPED = {
    "n": "\n",
    "t": "\t",
    "r": "\r",
    "b": "\b",
    "v": "\v",
    "f": "\f",
    "0": "\0",
    "Z": "\x1a",
}
_DIGITS = re.compile(r"\d+")
_ASK = "--quoting standard reads it as one cell, --quoting none reads the marks as characters"


@dataclass(frozen=True)
class Dialect:
    """How the cells of a record are told apart.

    Attributes
    ----------
    delimiter : str
        One character.
    quoted : bool
        Whether a quotation mark at a cell's beginning quotes it, a doubled one inside being one.
    escape : str
        A character, or "". In quoted dialects a quotation mark, delimiter, escape or line end
        behind it stands for itself (Spark, Python); in others every character does, but "n" and
        "t" and their like are line feed and tab, and a cell of escape and "N" has no value (MySQL,
        PostgreSQL).
    """

    delimiter: str
    quoted: bool = True
    escape: str = ""

    @cached_property
    def _patterns(self) -> dict[str, re.Pattern[str]]:
        d, e = re.escape(self.delimiter), re.escape(self.escape)
        escaped = f"|{e}.?" if e else ""
        inside = f'(?:[^"{e}]++|""{escaped})*+'
        bare = f"(?:[^{d}{e}]++{escaped})*+"
        if self.quoted:
            bare = f'(?!"){bare}'
        cell = f'(?:"{inside}"|{bare})'
        patterns = {
            "whole": f"{cell}(?:{d}{cell})*+",
            "opens": f'(?:{cell}{d})*+"{inside}',
            "goes on": inside,
            "closes": f'{inside}"(?:{d}{cell})*+',
            "opens again": f'{inside}"{d}(?:{cell}{d})*+"{inside}',
            "cells": f'(?:^|{d})(?:"({inside})"|({bare}))'
            if self.quoted
            else f"(?:^|{d})()({bare})",
            "in quotes": f'""|{e}(["{d}{e}\r\n])' if e else '"(")',
            "bare": f'{e}(["{d}{e}\r\n])' if self.quoted else f"{e}(.)",
        }
        return {name: re.compile(pattern, re.DOTALL) for name, pattern in patterns.items()}

    @cached_property
    def _signs(self) -> tuple[str, ...]:
        return tuple(('"' if self.quoted else "") + self.escape)

    def asks(self, line: bytes) -> bool:
        """Whether a line has a sign that may change where its record or its cells end."""
        return any(sign.encode() in line for sign in self._signs)

    def state(self, text: str, is_open: bool = False) -> str:
        """Whether the record of a line is "closed", "open" (the next line goes on) or "stray"."""
        if not self.quoted:
            n_escapes = len(text) - len(text.rstrip(self.escape)) if self.escape else 0
            return _OPEN if n_escapes % 2 else _CLOSED
        for name, state in _STATES[is_open]:
            if self._patterns[name].fullmatch(text):
                return state
        return _STRAY

    def matches(self, text: str) -> Iterator[re.Match[str]]:
        """A match for each cell of a sound record; group 1 is what stands in quotation marks."""
        return self._patterns["cells"].finditer(text)

    def cells(self, text: str) -> list[str | None]:
        """The cells of a sound record; None where the escape says that there is no value."""
        if not any(sign in text for sign in self._signs):
            return [*text.split(self.delimiter)]
        return [self._value(match) for match in self.matches(text)]

    def _value(self, match: re.Match[str]) -> str | None:
        if match.lastindex == 1:
            return self._patterns["in quotes"].sub(lambda sign: sign[1] or '"', match[1])
        text = match[2]
        if not self.escape:
            return text
        if text == f"{self.escape}N":
            return None
        known = {} if self.quoted else _ESCAPED
        return self._patterns["bare"].sub(lambda sign: known.get(sign[1], sign[1]), text)


class _Ahead:
    """Lines of a file, some of which may be put back.

    A record may look at so many lines and bytes on trial; what it looked at in vain is spent, and
    comes back as the file goes on.
    """

    def __init__(self, lines: Iterator[Row], end: bytes) -> None:
        self._lines, self.end = lines, end
        self._ahead: deque[Row] = deque()
        self.spare = MAX_ROW_BYTES

    def __iter__(self) -> Iterator[Row]:
        return self

    def __next__(self) -> Row:
        if self._ahead:
            return self._ahead.popleft()
        line = next(self._lines)
        self.spare += BYTES_AHEAD * line.size
        return line

    def put_back(self, lines: list[Row]) -> None:
        """Give lines again, of a record that is none."""
        self._ahead.extendleft(reversed(lines))
        self.spare = max(self.spare - SPENT * sum(line.size for line in lines), 0)


def records(lines: Iterator[Row], end: bytes, dialect: Dialect) -> Iterator[Row]:
    """Records of a table, a line each or several where the dialect asks for it; and blank lines."""
    ahead = _Ahead(lines, end)
    for line in ahead:
        if type(line) is Blank or line.fault or not dialect.asks(line.raw):
            yield line
        else:
            yield _record(line, ahead, dialect)


def _record(first: Row, ahead: _Ahead, dialect: Dialect) -> Row:
    """A line and those that its last cell needs as a row; the line alone if they are none."""
    taken, size = [first], first.size
    state = dialect.state(text_of(first), is_open=False)
    while state == _OPEN:
        is_too_far = len(taken) > LINES_AHEAD and size > ahead.spare
        line = None if size > MAX_ROW_BYTES or is_too_far else next(ahead, None)
        if line is None or line.fault:
            taken += [line] if line else []
            break
        taken.append(line)
        size += line.size
        state = dialect.state(text_of(line), is_open=True)
    if state == _CLOSED and size <= MAX_ROW_BYTES:
        ends = [line.raw + end_of(line, ahead.end) for line in taken[:-1]]
        n_lines = sum(line.lines for line in taken)
        return first._replace(size=size, raw=b"".join([*ends, taken[-1].raw]), lines=n_lines)
    ahead.put_back(taken[1:])
    if not dialect.quoted:
        return first
    is_open = state == _OPEN or len(taken) > 1
    return first._replace(fault="quote never closed" if is_open else "stray quotation mark")


def text_of(row: Row) -> str:
    """The text of a row, bytes that are no UTF-8 as lone surrogates."""
    return without_mark(row).decode("utf-8", "surrogateescape")


def with_values(row: Row, header: Sequence[str], dialect: Dialect) -> Row:
    """A record with its columns by name, or with the fault that it has none."""
    if row.fault:
        return row
    try:
        text = without_mark(row).decode("utf-8")
    except UnicodeDecodeError:
        return row._replace(fault="not UTF-8")
    columns = dialect.cells(text)
    if len(columns) != len(header):
        return row._replace(fault=f"{len(columns)} columns, not {len(header)}")
    return row._replace(values=dict(zip(header, columns, strict=True)))


@dataclass
class _Look:
    """What a table shows of how it was written: lines, from 1, or 0 where it does not show it.

    Attributes
    ----------
    needed : int
        A cell is quoted, and needs it.
    literal : int
        A quotation mark is none that a writer of quoted cells would have made.
    suspects : list
        Line of each record over several lines that are records by themselves, and their cells.
    rows, blank : int
    """

    needed: int = 0
    literal: int = 0
    suspects: list[tuple[int, list[list[str]]]] = field(default_factory=list)
    rows: int = 0
    blank: int = 0


def survey(
    name: str,
    read: Callable[[Dialect], Iterator[Row]],
    dialect: Dialect,
    n_columns: int,
    telling: Sequence[int],
    is_header_quoted: bool,
) -> tuple[Dialect, tuple[int, int] | None]:
    """The dialect of a table of which nobody said whether it is quoted, by all of its records.

    Parameters
    ----------
    name : str
        Names the file in messages.
    read : callable
        Gives the records without the header, as a dialect has them.
    dialect : Dialect
        With quoted cells.
    n_columns : int
    telling : sequence of int
        Columns whose values tell a record from prose: the label's, or all but the text's.
    is_header_quoted : bool

    Returns
    -------
    Dialect
    (int, int) or None
        Its rows and blank lines, where they were counted on the way.

    Raises
    ------
    CommentFileError
        If it cannot be told, a cell spans lines each of which is a record by itself, or quotation
        marks and delimiters seem to be escaped.
    """
    found = _look(name, read(dialect), dialect, n_columns)
    swallowed = 0
    if found.suspects:
        plain = replace(dialect, quoted=False, escape="")
        swallowed = _swallowed(read(plain), plain, n_columns, telling, found.suspects)
    if dialect.delimiter == "\t" and not is_header_quoted:
        literal = found.literal or swallowed
        needed = found.needed or (0 if swallowed or not found.suspects else found.suspects[0][0])
        if needed and literal:
            raise CommentFileError(
                f"{name}: expected quotation marks around cells, or as characters, got both, in "
                f"lines {needed} and {literal}: {_ASK}"
            )
        if not needed:
            return replace(dialect, quoted=False), None
    elif swallowed:
        raise CommentFileError(
            f"{name}:{swallowed}: expected a row, got a quotation mark that makes one cell of "
            f"lines, each a row by itself: {_ASK}"
        )
    return dialect, (found.rows, found.blank)


def _look(name: str, rows: Iterator[Row], dialect: Dialect, n_columns: int) -> _Look:
    """Go through a table as one with quoted cells."""
    found, quoted, needless = _Look(), Counter[int](), dict[int, int]()
    weak, is_cut = 0, False
    for row in rows:
        if type(row) is Blank:
            found.blank += row.lines
            continue
        found.rows += 1
        is_odd = is_cut or b'"' in row.raw or b"\\" in row.raw or b"\r" in row.raw
        goes_on = is_cut
        is_cut = (len(row.raw) - len(row.raw.rstrip(b"\\"))) % 2 == 1
        if not is_odd:
            continue
        text = text_of(row)
        is_sound = not row.fault and len(dialect.cells(text)) == n_columns
        if not is_sound:
            _refuse_other_dialects(name, row, text, goes_on, dialect, n_columns)
        if '"' not in text:
            continue
        if row.fault:
            found.literal = found.literal or row.line
        elif row.lines > 1 and (pieces := _pieces(text, dialect, n_columns)):
            found.suspects += [(row.line, pieces)] if len(found.suspects) < MAX_SUSPECTS else []
        else:
            for column, match in enumerate(dialect.matches(text)):
                inner = match[1] or ""
                if match.lastindex != 1:
                    found.literal = found.literal or row.line * ('"' in match[2])
                    continue
                quoted[column] += 1
                if any(sign in inner for sign in ('"', dialect.delimiter, "\n", "\r")):
                    found.needed = found.needed or row.line
                elif "," in inner:  # Excel quotes such cells in any table
                    weak = weak or row.line
                elif inner:
                    needless.setdefault(column, row.line)
    for column, line in needless.items():
        if quoted[column] == found.rows > 1:
            found.needed = found.needed or line
        else:
            found.literal = found.literal or line
    found.needed = found.needed or (0 if found.literal else weak)
    return found


def _refuse_other_dialects(
    name: str, row: Row, text: str, goes_on: bool, dialect: Dialect, n_columns: int
) -> None:
    """Raise where a record that is none is one with escapes, or several that CR ends.

    `goes_on` says that the line before ends in a backslash.
    """
    d = dialect.delimiter
    trials = []
    if '\\"' in text:
        trials.append(replace(dialect, escape="\\"))
    elif f"\\{d}" in text and not row.fault:
        trials.append(Dialect(d, quoted=False, escape="\\"))
    fits = [t.state(text) == _CLOSED and len(t.cells(text)) == n_columns for t in trials]
    if not dialect.escape and (any(fits) or (goes_on and not row.fault)):
        raise CommentFileError(
            f"{name}:{row.line}: expected {n_columns} columns, got backslashes that seem to be "
            f"escapes: --escape '\\' takes them for that; {shown(text)}"
        )
    records = text.split("\r")
    if len(records) > 2 and all(record.count(d) == n_columns - 1 for record in records if record):
        raise CommentFileError(
            f"{name}:{row.line}: expected lines that all end in LF, got {len(records)} rows that "
            "end in CR: write the file with one kind of line end"
        )


def _pieces(text: str, dialect: Dialect, n_columns: int) -> list[list[str]]:
    """The cells of each line of a record, if each line is a record by itself."""
    pieces = [line.split(dialect.delimiter) for line in re.split(r"\r\n|\n|\r", text)]
    return pieces if n_columns > 1 and all(len(piece) == n_columns for piece in pieces) else []


def _swallowed(
    rows: Iterator[Row],
    dialect: Dialect,
    n_columns: int,
    telling: Sequence[int],
    suspects: Sequence[tuple[int, list[list[str]]]],
) -> int:
    """The first line of a record that has swallowed others, by the values that rows have; or 0."""
    known: dict[int, Counter[str]] = {column: Counter() for column in telling}
    for row in rows:
        cells = text_of(row).split(dialect.delimiter) if b'"' not in row.raw else []
        if len(cells) == n_columns:
            for column, values in known.items():
                value = _kind(cells[column])
                if value in values or len(values) < MAX_VALUES:
                    values[value] += 1
    for line, pieces in suspects:
        for column, values in known.items():
            if all(values[_kind(piece[column])] > 1 for piece in pieces):
                return line
    return 0


def _kind(value: str) -> str:
    """A value, all numbers being one."""
    return _DIGITS.sub("0", value.strip(' "'))
