"""Rows out of files as they come: JSON Lines, CSV, TSV and Parquet, packed or not.

What a file is, its content tells; its name only where the content leaves it open. Text is read
line by line, so memory holds a row, never a file. A fault of a row makes a row with that fault; a
fault of the file (cut short, several files in one zip, a column that is nowhere) raises
`CommentFileError`. Whatever a reader gives is held against what was counted apart from it.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from neural_classifiers.comments import lines
from neural_classifiers.comments.lines import BLANK, Blank, Row, accounted, read_lines, without_mark
from neural_classifiers.comments.packing import (
    BUFFER_BYTES,
    FREE_BYTES,
    MAX_RATIO,
    CommentFileError,
    Part,
    refusing_damage,
    unpacked,
)
from neural_classifiers.comments.strict_json import BYTE_ORDER_MARK, OBJECT, Fields, read_json
from neural_classifiers.comments.tables import (
    DELIMITERS,
    Dialect,
    Quoting,
    records,
    survey,
    text_of,
    with_values,
)
from neural_classifiers.errors import ParameterError, shown

BATCH_BYTES = 32 * 2**20  # of rows at once, about

_TABLE_NAMES = (".csv", ".tsv", ".tab", ".psv")


@dataclass(frozen=True)
class Layout:
    """Which columns (fields) count, and how the cells of a table are told apart.

    Attributes
    ----------
    text : tuple of str
        Columns of the text. Of several, those that are not blank are joined by an empty line.
    label : str or None
        Column of the category; None where each file has one.
    time : str or None
        Column of the time, if there is one.
    delimiter : str, optional
        Of a table; by default the one by which its header has the columns.
    quoting : {"auto", "standard", "none"}
        Whether cells of a table may stand in quotation marks; "auto": the file tells.
    escape : str, optional
        Of a table: the character before a quotation mark or delimiter that is none.

    Raises
    ------
    ParameterError
        If one column is text and label, or an option of tables is none.
    """

    text: tuple[str, ...] = ("txt",)
    label: str | None = "cat"
    time: str | None = None
    delimiter: str | None = None
    quoting: Quoting = "auto"
    escape: str | None = None

    def __post_init__(self) -> None:
        if self.label in self.text:
            raise ParameterError(f"expected two columns, got {self.label!r} as text and as label")
        if self.quoting not in ("auto", "standard", "none"):
            raise ParameterError(f"quoting: expected auto, standard or none, got {self.quoting!r}")
        for name in ("delimiter", "escape"):
            sign = self.delimiter if name == "delimiter" else self.escape
            if sign is not None and (len(sign) != 1 or sign in '"\r\n'):
                raise ParameterError(f"{name}: expected one character but no quote, got {sign!r}")
        if self.delimiter is not None and self.delimiter == self.escape:
            raise ParameterError(
                f"expected two characters, got {self.escape!r} as delimiter and escape"
            )

    @property
    def columns(self) -> list[str]:
        """All of them, each once."""
        return list(dict.fromkeys([*self.text, *filter(None, (self.label, self.time))]))


@dataclass(frozen=True)
class Reader:
    """Rows of one file.

    Attributes
    ----------
    part : Part
    format : str
        Such as "JSON Lines"; "" where there is nothing.
    rows : callable
        Every row, in order, and blank lines. In the end it raises `CommentFileError` if these are
        not the lines, bytes or rows that the file was counted to have.
    counted : (int, int), optional
        Rows and blank lines, where they are known already.
    """

    part: Part
    format: str
    rows: Callable[[], Iterator[Row]]
    counted: tuple[int, int] | None = None

    def count(self) -> tuple[int, int]:
        """Rows, and blank lines."""
        if self.counted is not None:
            return self.counted
        n_rows = n_blank = 0
        for row in self.rows():
            if type(row) is Blank:
                n_blank += row.lines
            else:
                n_rows += 1
        return n_rows, n_blank


def fields_of(row: Row) -> Fields:
    """Fields of a row, or what came instead of them."""
    if row.fault:
        return Fields(row.fault)
    if row.values is not None:
        return Fields(OBJECT, row.values)
    return read_json(without_mark(row))


def open_reader(part: Part, layout: Layout) -> Reader:
    """The reader for a file's format.

    Raises
    ------
    CommentFileError
        If the file is of a format that is not read, or an archive of other than one file, or a
        table or Parquet file without the columns of `layout`, or if it cannot be told how a table
        is quoted.
    """
    with unpacked(part) as (stream, packing):
        if packing == "parquet":
            return _parquet(part, layout)
        is_swapped = _ends_in_cr(stream.peek(BUFFER_BYTES))
    head, sign = _header(part, is_swapped)
    if head is None:
        n_blank = sum(line.lines for line in _lines(part, is_swapped))
        return Reader(part, "", partial(_lines, part, is_swapped), (0, n_blank))
    text = text_of(head)
    signs = [layout.delimiter or sign] if layout.delimiter or sign else [*DELIMITERS]
    headers = {d: _names(text, d, layout) for d in signs}
    for delimiter, header in headers.items():
        if set(layout.columns) <= set(header):
            return _table(part, layout, is_swapped, delimiter, header, '"' in text)
    names = part.name.lower().split(".")
    is_named_table = any(f".{n}" in _TABLE_NAMES for n in names[1:])
    if not text.lstrip().startswith("{") and (is_named_table or len(signs) == 1):
        header = max(headers.values(), key=len)
        raise CommentFileError(
            f"{part.name}: expected a header with the columns {layout.columns}, got "
            f"{shown(header)}: name them by --text-column and --label-column"
        )
    return Reader(part, "JSON Lines", partial(_lines, part, is_swapped))


def _ends_in_cr(head: bytes) -> bool:
    """Whether lines end in CR alone, by the first of them."""
    first = head.partition(b"\n")[0].rstrip(b"\r")
    line, end, _ = first.partition(b"\r")
    # JSON may have CR for white space
    is_json = line.removeprefix(BYTE_ORDER_MARK).lstrip(BLANK).startswith((b"{", b"["))
    return bool(end) and not (is_json and (b"\n" in head or read_json(line).kind != OBJECT))


def _lines(part: Part, is_swapped: bool) -> Iterator[Row]:
    with unpacked(part, is_swapped) as (stream, _):
        yield from accounted(part.name, stream, read_lines(stream, _end(is_swapped)))


def _end(is_swapped: bool) -> bytes:
    return b"\r" if is_swapped else b"\n"


def _header(part: Part, is_swapped: bool) -> tuple[Row | None, str]:
    """The first line that is not blank, and the delimiter that a line ``sep=;`` before it names."""
    sign = ""
    for line in _lines(part, is_swapped):
        if type(line) is not Blank:
            named = _named_delimiter(line)
            if sign or not named:
                return line, sign
            sign = named
    return None, sign


def _named_delimiter(line: Row) -> str:
    """The delimiter that Excel's first line names, or ""."""
    text = text_of(line).strip('"').lower() if len(line.raw) < 12 else ""
    return text[4:] if text.startswith("sep=") and len(text) == 5 else ""


def _names(text: str, delimiter: str, layout: Layout) -> list[str]:
    dialect = Dialect(delimiter, layout.quoting != "none", layout.escape or "")
    return [(name or "").strip() for name in dialect.cells(text)]


def _table(
    part: Part,
    layout: Layout,
    is_swapped: bool,
    delimiter: str,
    header: list[str],
    is_header_quoted: bool,
) -> Reader:
    """CSV by RFC 4180, and its like with other delimiters or escapes; the header comes first."""
    _refuse_twice(part, layout, header)
    dialect = Dialect(delimiter, layout.quoting != "none", layout.escape or "")

    def read(dialect: Dialect) -> Iterator[Row]:
        with unpacked(part, is_swapped) as (stream, _):
            found = records(read_lines(stream, _end(is_swapped)), _end(is_swapped), dialect)
            has_header = has_sign = False
            for record in accounted(part.name, stream, found):
                if has_header or type(record) is Blank:
                    yield record
                elif has_sign or not _named_delimiter(record):
                    has_header = True
                else:
                    has_sign = True

    counted = None
    if layout.quoting == "auto":
        told = [layout.label] if layout.label else [n for n in header if n not in layout.text]
        telling = [header.index(name) for name in told]
        dialect, counted = survey(part.name, read, dialect, len(header), telling, is_header_quoted)

    def rows() -> Iterator[Row]:
        for record in read(dialect):
            yield record if type(record) is Blank else with_values(record, header, dialect)

    return Reader(part, DELIMITERS.get(delimiter, f"table ({delimiter})"), rows, counted)


def _refuse_twice(part: Part, layout: Layout, names: Sequence[str]) -> None:
    if twice := [name for name in layout.columns if names.count(name) > 1]:
        raise CommentFileError(
            f"{part.name}: expected each column once, got {twice} twice: rename or drop one of each"
        )


def _parquet(part: Part, layout: Layout) -> Reader:
    """Parquet, the columns that count alone."""
    columns = layout.columns
    with _opened_parquet(part) as (file, _):
        names, meta = file.schema_arrow.names, file.metadata
        texts = [f.name for f in file.schema_arrow if f.name in columns and _is_text(f.type)]
        n_rows = sum(meta.row_group(g).num_rows for g in range(meta.num_row_groups))
    if missing := [column for column in columns if column not in names]:
        raise CommentFileError(
            f"{part.name}: expected the columns {missing}, got {shown(names)}: name them by "
            "--text-column and --label-column"
        )
    _refuse_twice(part, layout, names)

    def rows() -> Iterator[Row]:
        number = size = 0
        with _opened_parquet(part, texts) as (file, most):
            for batch in _batches(part, file, columns, most):
                for values in zip(*(_values(batch.column(name)) for name in columns), strict=True):
                    number += 1
                    row = _parquet_row(number, dict(zip(columns, values, strict=True)))
                    size += row.size
                    if size > most:
                        raise _too_large(part)
                    yield row
        if number != n_rows:
            raise CommentFileError(
                f"{part.name}: expected the {n_rows:,} rows of its row groups, got {number:,}"
            )

    return Reader(part, "Parquet", rows, (n_rows, 0))


def _parquet_row(number: int, fields: dict[str, Any]) -> Row:
    texts = [value for value in fields.values() if isinstance(value, str | bytes)]
    if sum(map(len, texts)) > lines.MAX_ROW_BYTES:
        kept = str({name: shown(_plain(value)) for name, value in fields.items()})
        fault = f"longer than {lines.MAX_ROW_BYTES // 2**20} MiB"
        return Row(number, None, sum(map(len, texts)), kept.encode("utf-8", "replace"), fault)
    text = json.dumps(fields, ensure_ascii=False, default=_plain)
    raw = text.encode("utf-8", "surrogatepass")
    return Row(number, None, len(raw), raw, values=fields)


def _batches(
    part: Part, file: pq.ParquetFile, columns: list[str], most: int
) -> Iterator[pa.RecordBatch]:
    """Batches of about 32 MiB at most, as far as the sizes that the file states can be trusted."""
    for number in range(file.num_row_groups):  # one call would keep a buffer for each of them
        group = file.metadata.row_group(number)
        chunks = [group.column(c) for c in range(group.num_columns)]
        counted = [c for c in chunks if c.path_in_schema.split(".")[0] in columns]
        size = sum(chunk.total_uncompressed_size for chunk in counted)
        if size > most:
            raise _too_large(part)
        n_rows = BATCH_BYTES * group.num_rows // max(size, 1)
        n_rows = min(max(n_rows, 1), 4096)
        yield from file.iter_batches(batch_size=n_rows, columns=columns, row_groups=[number])


def _too_large(part: Part) -> CommentFileError:
    return CommentFileError(
        f"{part.name}: expected at most {MAX_RATIO} bytes for each byte of the file, got more: if "
        "they are comments, write them as JSON Lines"
    )


@contextmanager
def _opened_parquet(part: Part, texts: Sequence[str] = ()) -> Iterator[tuple[pq.ParquetFile, int]]:
    """The file, its columns of text with each value once; and how many bytes its rows may have."""
    with refusing_damage(part.name, "Parquet"), part.open() as file:
        most = max(FREE_BYTES, MAX_RATIO * file.seek(0, 2))
        yield pq.ParquetFile(file, read_dictionary=list(texts)), most


def _is_text(kind: pa.DataType) -> bool:
    return kind in (pa.string(), pa.large_string(), pa.binary(), pa.large_binary())


def _values(column: pa.Array) -> list[Any]:
    """Values of a column; a string that is no UTF-8 stays bytes, which no string is taken for."""
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    if pa.types.is_dictionary(column.type):
        distinct = _values(column.dictionary)  # each once in memory, however many rows have it
        return [None if i is None else distinct[i] for i in column.indices.to_pylist()]
    if column.type in (pa.string(), pa.large_string(), pa.string_view()):
        column = column.cast(pa.large_binary())
    try:
        values = column.to_pylist()
    except (ValueError, OverflowError, ArithmeticError, KeyError):  # a time beyond year 9999
        values = [_python(value) for value in column]
    return [_decoded(value) if isinstance(value, bytes) else value for value in values]


def _python(value: pa.Scalar) -> Any:
    try:
        return value.as_py()
    except (ValueError, OverflowError, ArithmeticError, KeyError):
        return f"{value.value} ({value.type})"


def _decoded(value: bytes) -> str | bytes:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value


def _plain(value: Any) -> str:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
