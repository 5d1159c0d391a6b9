"""Lines of a file with their place and bytes, and the account that readers are held against.

Lines end in LF or CRLF, or, in a file of old Macs, in CR alone; the last one may have no end. What
a reader makes of them is added up, and held against the bytes and line ends that were counted below
it: one that loses a line, or gives it twice, stops the run.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from neural_classifiers.comments.packing import SWAP, CommentFileError, Stream
from neural_classifiers.comments.strict_json import BYTE_ORDER_MARK

MAX_ROW_BYTES = 16 * 2**20  # a longer row is set aside unread
BEGINNING_BYTES = 64 * 2**10  # of a row that is too long

BLANK = b" \t\r\n"
_BLANK_LINES = re.compile(rb"[ \t\r\n]*\n")
_MANY_BLANK = 32  # lines one after the other, from which on they are taken by the block


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
    lines : int
        Lines that it takes.
    """

    line: int
    offset: int | None
    size: int
    raw: bytes
    fault: str = ""
    values: Mapping[str, Any] | None = None
    lines: int = 1


class Blank(Row):
    """Blank lines, which are no row."""

    __slots__ = ()


def read_lines(stream: Stream, end: bytes = b"\n") -> Iterator[Row]:
    """Every line as a row of its bytes; one that is too long keeps its beginning only.

    Parameters
    ----------
    stream : Stream
    end : bytes
        LF; or CR, of a stream in which both have changed places.
    """
    number, offset, n_blank = 1, 0, 0
    while line := stream.readline(MAX_ROW_BYTES + 1):
        size, n_lines, kind, fault = len(line), 1, Row, ""
        if size > MAX_ROW_BYTES:
            raw, rest, fault = (
                line[:BEGINNING_BYTES],
                line,
                f"longer than {MAX_ROW_BYTES // 2**20} MiB",
            )
            while not rest.endswith(b"\n") and (rest := stream.readline(MAX_ROW_BYTES)):
                size += len(rest)
        else:
            raw = _without_end(line, end)
            if (raw if offset else raw.removeprefix(BYTE_ORDER_MARK)).strip(BLANK):
                n_blank = 0
            else:
                kind, n_blank = Blank, n_blank + 1
                if n_blank > _MANY_BLANK and (more := _BLANK_LINES.match(stream.peek())):
                    line += stream.read(more.end())
                    size, n_lines, raw = len(line), line.count(b"\n"), _without_end(line, end)
        yield kind(number, offset, size, raw, fault, None, n_lines)
        number, offset = number + n_lines, offset + size


def _without_end(line: bytes, end: bytes) -> bytes:
    if end == b"\r":
        return line.removesuffix(b"\n").translate(SWAP)
    return line.removesuffix(b"\n").rstrip(b"\r")  # \r\r\n is of Windows, twice


def end_of(line: Row, end: bytes) -> bytes:
    """The line end that a line was read without."""
    return end.rjust(line.size - len(line.raw), b"\r")


def without_mark(row: Row) -> bytes:
    """The bytes of a row, without the mark at a file's beginning."""
    return row.raw.removeprefix(BYTE_ORDER_MARK) if row.offset == 0 else row.raw


def accounted(name: str, stream: Stream, rows: Iterable[Row]) -> Iterator[Row]:
    """The rows, in the end held against the lines and bytes that were counted below the reader.

    Raises
    ------
    CommentFileError
        If their lines or bytes are not those of the file.
    """
    lines = size = 0
    for row in rows:
        lines, size = lines + row.lines, size + row.size
        yield row
    counted = stream.raw
    if (lines, size) != (counted.all_lines, counted.size):
        raise CommentFileError(
            f"{name}: expected rows of {counted.all_lines:,} lines and {counted.size:,} bytes, got "
            f"{lines:,} and {size:,}: this is a fault of the reader, please report it"
        )
