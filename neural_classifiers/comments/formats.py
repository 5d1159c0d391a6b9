"""Rows out of files as they come: JSON Lines, CSV, TSV and Parquet, compressed or not.

What a file is, its content tells; its name only where the content leaves it open. Text is read
line by line, so memory holds a row, never a file. A fault of a row makes a row with that fault; a
fault of the file (cut short, several files in one zip, a column that is nowhere) raises
`CommentFileError`.

What a reader might question: where a quote is never closed, CSV would swallow all that follows.
Here a record that is no CSV costs its first line; reading goes on with the next one.
"""

import csv
import io
import json
import zipfile
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any, BinaryIO, NamedTuple, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from neural_classifiers.comments.strict_json import BYTE_ORDER_MARK, OBJECT, read_json
from neural_classifiers.errors import RefusedError

MAX_ROW_BYTES = 16 * 2**20  # a longer row is set aside unread
KEPT_BYTES = 64 * 2**10  # of a row that is too long
BUFFER_BYTES = 2**20

_BLANK = b" \t\r\n"
_MAGIC = {
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"PK\x03\x04": "zip",
    b"PAR1": "parquet",
}
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_DELIMITERS = {",": "CSV", "\t": "TSV", ";": "CSV (semicolons)"}
_TABLE_NAMES = (".csv", ".tsv", ".tab")
_DAMAGE = (OSError, EOFError, zlib.error, zipfile.BadZipFile, pa.ArrowException)

csv.field_size_limit(MAX_ROW_BYTES)  # the module's only setting is global; its default is 128 KiB


class CommentFileError(RefusedError, ValueError):
    """A file that cannot be read as comments: what was expected, what came, and where."""


@dataclass(frozen=True)
class Part:
    """One file of a data set.

    Attributes
    ----------
    name : str
        Names the file in messages and in the column ``file``.
    open : callable
        Gives the file, opened in binary mode, from its beginning. Called twice.
    label : str, optional
        Category of all its rows, where the file tells it and not a column.
    """

    name: str
    open: Callable[[], BinaryIO]
    label: str | None = None


@dataclass(frozen=True)
class Layout:
    """Which columns (fields) count.

    Attributes
    ----------
    text : tuple of str
        Columns of the text. Of several, those that are not blank are joined by an empty line.
    label : str or None
        Column of the category; None where each file has one.
    time : str or None
        Column of the time, if there is one.
    quoted : bool
        False: a quotation mark in a table is a character like any other.
    """

    text: tuple[str, ...] = ("txt",)
    label: str | None = "cat"
    time: str | None = None
    quoted: bool = True

    @property
    def columns(self) -> list[str]:
        """All of them, each once."""
        return list(dict.fromkeys([*self.text, *filter(None, (self.label, self.time))]))


class Row(NamedTuple):
    """One row as it stands in its file.

    Attributes
    ----------
    line : int
        Number of its first line, from 1 (Parquet: of the row).
    offset : int or None
        Bytes of the unpacked file before it; None in Parquet.
    size : int
        Bytes that it takes, with its line end.
    raw : bytes
        Those bytes without the line end; the first 64 KiB of a row that is too long. Parquet: the
        columns that count, as JSON.
    fault : str
        Why it cannot be read, such as "longer than 16 MiB"; "" where it can.
    values : mapping or None
        Its fields by name, where the format tells them while it looks for the row's end.
    """

    line: int
    offset: int | None
    size: int
    raw: bytes
    fault: str = ""
    values: Mapping[str, Any] | None = None


class Fields(NamedTuple):
    """What a row holds: "object" and its fields, or what came instead."""

    kind: str
    values: Mapping[str, Any]
    twice: frozenset[str] = frozenset()


class Reader(Protocol):
    """Rows of one file, whatever its format."""

    format: str

    def rows(self) -> Iterator[Row | None]:
        """Every row, in order; None stands for a blank line, which is no row."""

    def count(self) -> tuple[int, int]:
        """Rows, and blank lines."""


def fields_of(row: Row) -> Fields:
    """What a row holds, whatever its file's format."""
    if row.fault:
        return Fields(row.fault, {})
    if row.values is not None:
        return Fields(OBJECT, row.values)
    return Fields(*read_json(_without_mark(row)))


def open_reader(part: Part, layout: Layout) -> Reader:
    """The reader for a file's format.

    Raises
    ------
    CommentFileError
        If the file is empty, UTF-16, a zip of other than one file, or a table or Parquet file
        without the columns of `layout`.
    """
    with _unpacked(part) as (stream, packing):
        if packing == "parquet":
            return _Parquet(part, layout)
        first, number = b"", 0
        for line in _lines(stream):
            first, number = line.raw, line.line
            if first.startswith(_UTF16):
                raise CommentFileError(f"{part.name}: expected UTF-8, got the mark of UTF-16")
            if _without_mark(line).strip(_BLANK):
                break
        else:
            came = f"{number:,} blank lines" if number else "0 bytes"
            raise CommentFileError(f"{part.name}: expected rows, got {came}")
    head = first.removeprefix(BYTE_ORDER_MARK).decode("utf-8", "surrogateescape")
    headers = {delimiter: _split(head, delimiter, layout.quoted) for delimiter in _DELIMITERS}
    for delimiter, header in headers.items():
        if set(layout.columns) <= set(header):
            return _Delimited(part, layout, delimiter, header)
    names = part.name.lower().split(".")
    if not head.lstrip().startswith("{") and any(f".{n}" in _TABLE_NAMES for n in names[1:]):
        delimiter = max(headers, key=lambda d: len(headers[d]))
        raise CommentFileError(
            f"{part.name}: expected a header with the columns {layout.columns}, "
            f"got {headers[delimiter][:20]}"
        )
    return _JsonLines(part)


class _JsonLines:
    """One JSON text a line; lines end in LF or CRLF, the last one may have no end."""

    format = "JSON Lines"

    def __init__(self, part: Part) -> None:
        self._part = part

    def rows(self) -> Iterator[Row | None]:
        with _unpacked(self._part) as (stream, _):
            for line in _lines(stream):
                yield line if _without_mark(line).strip(_BLANK) else None

    def count(self) -> tuple[int, int]:
        return _counted(self.rows())


class _Delimited:
    """CSV by RFC 4180, and the same with tabs or semicolons; the first row is the header."""

    def __init__(self, part: Part, layout: Layout, delimiter: str, header: Sequence[str]) -> None:
        self._part, self._delimiter, self._header = part, delimiter, list(header)
        self._quoted, self.format = layout.quoted, _DELIMITERS[delimiter]
        if twice := [name for name in layout.columns if header.count(name) > 1]:
            raise CommentFileError(f"{part.name}: expected each column once, got {twice} twice")

    def rows(self) -> Iterator[Row | None]:
        with _unpacked(self._part) as (stream, _):
            seen_header = False
            for row in self._records(_lines(stream)):
                if not seen_header and row is not None:
                    seen_header = True
                else:
                    yield row

    def count(self) -> tuple[int, int]:
        return _counted(self.rows())

    def _records(self, lines: Iterator[Row]) -> Iterator[Row | None]:
        waiting: deque[Row] = deque()  # read ahead for a quote that was then not closed
        while (line := waiting.popleft() if waiting else next(lines, None)) is not None:
            if not line.raw.strip(_BLANK):
                yield None
            elif line.fault or not (self._quoted and b'"' in line.raw):
                yield self._row([line], line.fault)
            else:
                taken = [line]
                fault = self._take_quoted(taken, waiting, lines)
                if fault:
                    waiting.extendleft(reversed(taken[1:]))
                    del taken[1:]
                yield self._row(taken, fault)

    def _take_quoted(self, taken: list[Row], waiting: deque[Row], lines: Iterator[Row]) -> str:
        """Add to `taken` the lines that its first one needs; say what is wrong, if anything."""

        def texts() -> Iterator[str]:
            size = taken[0].size
            yield _text(taken[0])
            while (line := waiting.popleft() if waiting else next(lines, None)) is not None:
                taken.append(line)
                size += line.size
                if size > MAX_ROW_BYTES:
                    return
                yield _text(line)

        try:
            next(csv.reader(texts(), delimiter=self._delimiter, strict=True))
        except csv.Error as error:
            closed = "unexpected end" not in str(error) and "field limit" not in str(error)
            return "stray quotation mark" if closed and len(taken) == 1 else "quote never closed"
        return ""

    def _row(self, lines: Sequence[Row], fault: str) -> Row:
        first = lines[0]
        size = sum(line.size for line in lines)
        raw = b"".join(line.raw + (_end(line) if line is not lines[-1] else b"") for line in lines)
        row = Row(first.line, first.offset, size, raw, fault)
        if fault:
            return row
        try:
            text = _without_mark(row).decode("utf-8")
        except UnicodeDecodeError:
            return row._replace(fault="not UTF-8")
        found = _split(text, self._delimiter, self._quoted)
        if len(found) != len(self._header):
            fault = f"{len(found)} columns, not {len(self._header)}"
            return row._replace(fault=fault)
        return row._replace(values=dict(zip(self._header, found, strict=True)))


class _Parquet:
    """Parquet, the columns that count alone."""

    format = "Parquet"

    def __init__(self, part: Part, layout: Layout) -> None:
        self._part, self._columns = part, layout.columns
        with self._opened() as file:
            names = file.schema_arrow.names
        if missing := [column for column in self._columns if column not in names]:
            raise CommentFileError(f"{part.name}: expected the columns {missing}, got {names[:20]}")

    def rows(self) -> Iterator[Row | None]:
        number = 0
        with self._opened() as file:
            groups = range(file.num_row_groups)  # one call would keep a buffer for each of them
            read = partial(file.iter_batches, batch_size=4096, columns=self._columns)
            for batch in chain.from_iterable(read(row_groups=[number]) for number in groups):
                columns = {name: _values(batch.column(name)) for name in self._columns}
                for values in zip(*columns.values(), strict=True):
                    number += 1
                    fields = dict(zip(columns, values, strict=True))
                    told = json.dumps(fields, ensure_ascii=False, default=_plain)
                    raw = told.encode("utf-8", "surrogatepass")
                    yield Row(number, None, len(raw), raw, values=fields)

    def count(self) -> tuple[int, int]:
        with self._opened() as file:
            return file.metadata.num_rows, 0

    @contextmanager
    def _opened(self) -> Iterator[pq.ParquetFile]:
        with _damage_told(self._part.name, "Parquet"), self._part.open() as file:
            yield pq.ParquetFile(file)


def _values(column: pa.Array) -> list[Any]:
    """Values of a column; a string that is no UTF-8 stays bytes, which no string is taken for."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if not (
        pa.types.is_string(column.type)
        or pa.types.is_large_string(column.type)
        or pa.types.is_string_view(column.type)
    ):
        return column.to_pylist()
    return [_decoded(value) for value in column.cast(pa.large_binary()).to_pylist()]


def _decoded(value: bytes | None) -> str | bytes | None:
    try:
        return None if value is None else value.decode("utf-8")
    except UnicodeDecodeError:
        return value


def _plain(value: Any) -> str:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)


def _counted(rows: Iterator[Row | None]) -> tuple[int, int]:
    n_rows = n_blank = 0
    for row in rows:
        n_blank += row is None
        n_rows += row is not None
    return n_rows, n_blank


@contextmanager
def _unpacked(part: Part) -> Iterator[tuple[BinaryIO, str]]:
    """The file's content, unpacked as often as it is packed; and what the last layer is."""
    with _damage_told(part.name, "file"), part.open() as file:
        stream: Any = file
        packing, layers = _packing(stream), 0
        while packing in ("gzip", "zstd", "zip"):
            if layers == 3:
                raise CommentFileError(f"{part.name}: expected at most 3 layers of packing")
            stream = _opened_zip(part.name, stream, layers) if packing == "zip" else stream
            if packing != "zip":
                unpacking = pa.CompressedInputStream(pa.PythonFile(stream, mode="r"), packing)
                stream = io.BufferedReader(unpacking, BUFFER_BYTES)
            packing, layers = _packing(stream), layers + 1
        if packing == "parquet" and layers:
            raise CommentFileError(f"{part.name}: expected Parquet as it is, got it packed")
        yield stream, packing


def _packing(stream: Any) -> str:
    peek = getattr(stream, "peek", None)
    if peek is not None:
        head = peek(4)[:4]
    else:
        head = stream.read(4)
        stream.seek(0)
    return next((kind for magic, kind in _MAGIC.items() if head.startswith(magic)), "")


def _opened_zip(name: str, stream: Any, layers: int) -> Any:
    if layers:
        raise CommentFileError(f"{name}: expected a zip as the outermost layer")
    archive = zipfile.ZipFile(stream)
    members = [m for m in archive.infolist() if not m.is_dir() and "__MACOSX" not in m.filename]
    if len(members) != 1:
        named = [member.filename for member in members[:5]]
        raise CommentFileError(f"{name}: expected one file in the zip, got {len(members)}: {named}")
    if members[0].flag_bits & 1:
        raise CommentFileError(f"{name}: expected a zip without a password, got one with")
    return io.BufferedReader(archive.open(members[0]), BUFFER_BYTES)


@contextmanager
def _damage_told(name: str, what: str) -> Iterator[None]:
    try:
        yield
    except _DAMAGE as error:
        raise CommentFileError(f"{name}: expected a whole {what}, got: {error}") from error


def _lines(stream: Any) -> Iterator[Row]:
    """Every line as a row of its bytes; one that is too long keeps its beginning only."""
    number = offset = 0
    while line := stream.readline(MAX_ROW_BYTES + 1):
        number, size = number + 1, len(line)
        if size > MAX_ROW_BYTES:
            kept, rest = line[:KEPT_BYTES], line
            while not rest.endswith(b"\n") and (rest := stream.readline(MAX_ROW_BYTES)):
                size += len(rest)
            fault = f"longer than {MAX_ROW_BYTES // 2**20} MiB"
            yield Row(number, offset, size, kept, fault)
        else:
            yield Row(number, offset, size, line.removesuffix(b"\n").removesuffix(b"\r"))
        offset += size


def _end(line: Row) -> bytes:
    """The line end that a line was read without."""
    return b"\r\n" if line.size - len(line.raw) == 2 else b"\n"


def _text(line: Row) -> str:
    return (_without_mark(line) + _end(line)).decode("utf-8", "surrogateescape")


def _without_mark(row: Row) -> bytes:
    return row.raw.removeprefix(BYTE_ORDER_MARK) if row.offset == 0 else row.raw


def _split(text: str, delimiter: str, quoted: bool) -> list[str]:
    """Columns of one record that is known to be sound."""
    if not (quoted and '"' in text):
        return text.split(delimiter)
    try:
        return next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True), [])
    except csv.Error:
        return []
