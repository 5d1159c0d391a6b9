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
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import IO, Any, BinaryIO, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from neural_classifiers.comments.strict_json import BYTE_ORDER_MARK, OBJECT, Fields, read_json
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

    code = "NC30"


class NoRowsError(CommentFileError):
    """A file without a row: empty, blank lines, or a header alone."""


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


@dataclass(frozen=True)
class Reader:
    """Rows of one file.

    Attributes
    ----------
    format : str
        Such as "JSON Lines".
    rows : callable
        Every row, in order; None stands for a blank line, which is no row.
    n_rows : int, optional
        Where the file tells it.
    """

    format: str
    rows: Callable[[], Iterator[Row | None]]
    n_rows: int | None = None

    def count(self) -> tuple[int, int]:
        """Rows, and blank lines."""
        if self.n_rows is not None:
            return self.n_rows, 0
        blank = Counter(row is None for row in self.rows())
        return blank[False], blank[True]


def fields_of(row: Row) -> Fields:
    """Fields of a row, or what came instead of them."""
    if row.fault:
        return Fields(row.fault)
    if row.values is not None:
        return Fields(OBJECT, row.values)
    return read_json(_without_mark(row))


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
            return _parquet(part, layout)
        first, number = b"", 0
        for line in _lines(stream):
            first, number = line.raw, line.line
            if first.startswith(_UTF16):
                raise CommentFileError(f"{part.name}: expected UTF-8, got the mark of UTF-16")
            if _without_mark(line).strip(_BLANK):
                break
        else:
            came = f"{number:,} blank lines" if number else "0 bytes"
            raise NoRowsError(f"{part.name}: expected rows, got {came}")
    head = first.removeprefix(BYTE_ORDER_MARK).decode("utf-8", "surrogateescape")
    headers = {delimiter: _split(head, delimiter, layout.quoted) for delimiter in _DELIMITERS}
    for delimiter, header in headers.items():
        if set(layout.columns) <= set(header):
            return _table(part, layout, delimiter, header)
    names = part.name.lower().split(".")
    if not head.lstrip().startswith("{") and any(f".{n}" in _TABLE_NAMES for n in names[1:]):
        delimiter = max(headers, key=lambda d: len(headers[d]))
        raise CommentFileError(
            f"{part.name}: expected a header with the columns {layout.columns}, "
            f"got {headers[delimiter][:20]}"
        )
    return Reader("JSON Lines", partial(_json_lines, part))


def _json_lines(part: Part) -> Iterator[Row | None]:
    """One JSON text a line; lines end in LF or CRLF, the last one may have no end."""
    with _unpacked(part) as (stream, _):
        for line in _lines(stream):
            yield line if _without_mark(line).strip(_BLANK) else None


def _table(part: Part, layout: Layout, delimiter: str, header: list[str]) -> Reader:
    """CSV by RFC 4180, and the same with tabs or semicolons; the first row is the header."""
    if twice := [name for name in layout.columns if header.count(name) > 1]:
        raise CommentFileError(f"{part.name}: expected each column once, got {twice} twice")

    def rows() -> Iterator[Row | None]:
        with _unpacked(part) as (stream, _):
            records = _records(_Lines(_lines(stream)), delimiter, layout.quoted)
            has_header = False
            for record in records:
                if has_header:
                    yield record and _with_values(record, header, delimiter, layout.quoted)
                has_header = has_header or record is not None

    return Reader(_DELIMITERS[delimiter], rows)


class _Lines:
    """Lines of a file, some of which may be put back."""

    def __init__(self, lines: Iterator[Row]) -> None:
        self._lines = lines
        self._ahead: deque[Row] = deque()

    def __iter__(self) -> Iterator[Row]:
        return self

    def __next__(self) -> Row:
        return self._ahead.popleft() if self._ahead else next(self._lines)

    def put_back(self, lines: list[Row]) -> None:
        self._ahead.extendleft(reversed(lines))


def _records(lines: _Lines, delimiter: str, quoted: bool) -> Iterator[Row | None]:
    """Records of a table: a line each, or several where a quote asks for it; None: a blank line."""
    for line in lines:
        if not line.raw.strip(_BLANK):
            yield None
        elif line.fault or not (quoted and b'"' in line.raw):
            yield line
        else:
            yield _quoted_record(line, lines, delimiter)


def _quoted_record(first: Row, lines: _Lines, delimiter: str) -> Row:
    """A line and those that its quotes need as one row; the line alone if they are no record."""
    taken, size = [first], first.size

    def texts() -> Iterator[str]:
        nonlocal size
        yield _text(first)
        for line in lines:
            taken.append(line)
            size += line.size
            if size > MAX_ROW_BYTES:
                return
            yield _text(line)

    try:
        next(csv.reader(texts(), delimiter=delimiter, strict=True))
    except csv.Error as error:
        closed = "unexpected end" not in str(error) and "field limit" not in str(error)
        lines.put_back(taken[1:])
        is_stray = closed and len(taken) == 1
        return first._replace(fault="stray quotation mark" if is_stray else "quote never closed")
    raw = b"".join(line.raw + _end(line) for line in taken[:-1]) + taken[-1].raw
    return first._replace(size=size, raw=raw)


def _with_values(row: Row, header: Sequence[str], delimiter: str, quoted: bool) -> Row:
    """A record of a table with its columns by name, or with the fault that it has none."""
    if row.fault:
        return row
    try:
        text = _without_mark(row).decode("utf-8")
    except UnicodeDecodeError:
        return row._replace(fault="not UTF-8")
    columns = _split(text, delimiter, quoted)
    if len(columns) != len(header):
        return row._replace(fault=f"{len(columns)} columns, not {len(header)}")
    return row._replace(values=dict(zip(header, columns, strict=True)))


def _parquet(part: Part, layout: Layout) -> Reader:
    """Parquet, the columns that count alone."""
    columns = layout.columns
    with _opened_parquet(part) as file:
        names, n_rows = file.schema_arrow.names, file.metadata.num_rows
    if missing := [column for column in columns if column not in names]:
        raise CommentFileError(f"{part.name}: expected the columns {missing}, got {names[:20]}")

    def rows() -> Iterator[Row | None]:
        number = 0
        with _opened_parquet(part) as file:
            groups = range(file.num_row_groups)  # one call would keep a buffer for each of them
            read = partial(file.iter_batches, batch_size=4096, columns=columns)
            for batch in chain.from_iterable(read(row_groups=[group]) for group in groups):
                for values in zip(*(_values(batch.column(name)) for name in columns), strict=True):
                    number += 1
                    fields = dict(zip(columns, values, strict=True))
                    text = json.dumps(fields, ensure_ascii=False, default=_plain)
                    raw = text.encode("utf-8", "surrogatepass")
                    yield Row(number, None, len(raw), raw, values=fields)

    return Reader("Parquet", rows, n_rows)


@contextmanager
def _opened_parquet(part: Part) -> Iterator[pq.ParquetFile]:
    with _refusing_damage(part.name, "Parquet"), part.open() as file:
        yield pq.ParquetFile(file)


def _values(column: pa.Array) -> list[Any]:
    """Values of a column; a string that is no UTF-8 stays bytes, which no string is taken for."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if column.type not in (pa.string(), pa.large_string(), pa.string_view()):
        return column.to_pylist()
    return [_decoded(value) for value in column.cast(pa.large_binary()).to_pylist()]


def _decoded(value: bytes | None) -> str | bytes | None:
    try:
        return None if value is None else value.decode("utf-8")
    except UnicodeDecodeError:
        return value


def _plain(value: Any) -> str:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)


@contextmanager
def _unpacked(part: Part) -> Iterator[tuple[io.BufferedReader, str]]:
    """The file's content, unpacked as often as it is packed; and its magic number's format."""
    with _refusing_damage(part.name, "file"), part.open() as file:
        stream, layers = _buffered(file), 0
        while (packing := _packing(stream)) in ("gzip", "zstd", "zip"):
            if layers == 3:
                raise CommentFileError(f"{part.name}: expected at most 3 layers of packing")
            if packing != "zip":
                inner = pa.CompressedInputStream(pa.PythonFile(stream, mode="r"), packing)
            elif layers:
                raise CommentFileError(f"{part.name}: expected a zip as the outermost layer")
            else:
                inner = _opened_zip(part.name, stream)
            stream, layers = _buffered(inner), layers + 1
        if packing == "parquet" and layers:
            raise CommentFileError(f"{part.name}: expected Parquet as it is, got it packed")
        yield stream, packing


def _buffered(file: Any) -> io.BufferedReader:
    return io.BufferedReader(file, BUFFER_BYTES)


def _packing(stream: io.BufferedReader) -> str:
    head = stream.peek(4)
    return next((kind for magic, kind in _MAGIC.items() if head.startswith(magic)), "")


def _opened_zip(name: str, stream: BinaryIO) -> IO[bytes]:
    archive = zipfile.ZipFile(stream)
    members = [m for m in archive.infolist() if not m.is_dir() and "__MACOSX" not in m.filename]
    if len(members) != 1:
        named = [member.filename for member in members[:5]]
        raise CommentFileError(f"{name}: expected one file in the zip, got {len(members)}: {named}")
    if members[0].flag_bits & 1:
        raise CommentFileError(f"{name}: expected a zip without a password, got one with")
    return archive.open(members[0])


@contextmanager
def _refusing_damage(name: str, what: str) -> Iterator[None]:
    try:
        yield
    except _DAMAGE as error:
        raise CommentFileError(f"{name}: expected a whole {what}, got: {error}") from error


def _lines(stream: BinaryIO) -> Iterator[Row]:
    """Every line as a row of its bytes; one that is too long keeps its beginning only."""
    number = offset = 0
    while line := stream.readline(MAX_ROW_BYTES + 1):
        number, size = number + 1, len(line)
        if size > MAX_ROW_BYTES:
            beginning, rest = line[:KEPT_BYTES], line
            while not rest.endswith(b"\n") and (rest := stream.readline(MAX_ROW_BYTES)):
                size += len(rest)
            fault = f"longer than {MAX_ROW_BYTES // 2**20} MiB"
            yield Row(number, offset, size, beginning, fault)
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
