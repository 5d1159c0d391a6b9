"""Comments out of files: Arrow batches with a row for each row of a file, be it good or bad.

A fault of the file (empty, cut short, a column that is nowhere) raises `CommentFileError`. A fault
of a row never does: the row stays, with what came instead of text, and `comments.expectations`
decides about it.

Two passes: `count_rows` counts, a second reads the rows that were drawn. That one has two parts,
which may run in two processes: `read_rows` finds where rows begin and end, one after the other;
`parse_rows` looks into them, which is most of the work. `read_parsed_rows` is both in one process.
All hold one batch of rows in memory. How rows are cut into batches changes nothing about them.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import compress
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from neural_classifiers.comments.formats import Layout, Reader, fields_of, open_reader
from neural_classifiers.comments.lines import Blank, Row
from neural_classifiers.comments.packing import CommentFileError, NoRowsError, Part
from neural_classifiers.comments.schemas import SCHEMA
from neural_classifiers.comments.strict_json import OBJECT, Fields, type_of
from neural_classifiers.comments.times import moment_of
from neural_classifiers.errors import ParameterError, shown
from neural_classifiers.values import within

SampleSize = Annotated[int | Literal["all"], within(1)]

SAMPLE = 3000  # notebook, "Load and Clean Comment Data"
ROWS_IN_MEMORY = 8192  # of a file that one process reads and uses as it goes
BATCH_BYTES = 32 * 2**20
_TEXTS = ("number", "boolean", "Decimal", "date", "datetime", "Timestamp")  # that CSV has as text
MAX_NAMES = 1000  # fields remembered for the message about one that is nowhere


class Counted(NamedTuple):
    """Rows in the files of a data set.

    Attributes
    ----------
    rows : int
    blank : int
        Blank lines, which are no rows.
    formats : list of str
        Formats of the files, such as "JSON Lines", in order of appearance.
    """

    rows: int
    blank: int
    formats: list[str]


def open_readers(parts: Sequence[Part], layout: Layout) -> list[Reader]:
    """A reader for each file.

    Raises
    ------
    CommentFileError
        As `comments.formats.open_reader` does.
    """
    return [open_reader(part, layout) for part in parts]


def count_rows(readers: Sequence[Reader]) -> Counted:
    """Count the rows of all files, which costs a pass over them.

    Raises
    ------
    CommentFileError
        If a reader does not give the lines that its file has, or no file has a row.
    """
    rows, blank = (sum(n) for n in zip(*(reader.count() for reader in readers), strict=True))
    if not rows:
        names = ", ".join(reader.part.name for reader in readers)
        is_empty = not any(reader.format for reader in readers)
        came = f"{blank:,} blank lines" if blank else "0 bytes" if is_empty else "none"
        raise NoRowsError(f"{shown(names)}: expected rows, got {came}")
    formats = dict.fromkeys(reader.format for reader in readers if reader.format)
    return Counted(rows, blank, list(formats))


def draw_rows(
    n_rows: int, name: str, sample: SampleSize | None, seed: int
) -> NDArray[np.int64] | None:
    """Positions of the rows to read, drawn without replacement, rising; None for every row.

    Rows are drawn before anything is known of them; so a bad row can be
    drawn, and is then counted rather than silently replaced by a good one.

    Parameters
    ----------
    n_rows : int
        Rows that there are.
    name : str
        Names the data in messages.
    sample : int or "all" or None
        How many to draw; None: 3,000, or all where there are fewer.
    seed : int
        The same rows, sample and seed give the same draw: ``choice`` without replacement by
        ``numpy.random.default_rng(seed)``.

    Raises
    ------
    CommentFileError
        If `sample` was given and there are fewer rows.
    ValueError
        If `sample` is below 1.

    Notes
    -----
    The notebook shuffles with pandas' older generator, so its 3,000 rows are others than ours.
    """
    if sample == "all":
        return None
    size = min(SAMPLE, n_rows) if sample is None else sample
    if size < 1:
        raise ParameterError(f"sample: expected at least 1 row, got {size}")
    if size > n_rows:
        raise CommentFileError(
            f"{name}: expected at least {size:,} rows to draw the sample from, got {n_rows:,}"
        )
    if size == n_rows:
        return None
    return np.sort(np.random.default_rng(seed).choice(n_rows, size=size, replace=False))


class Segment(NamedTuple):
    """Rows of one file that follow each other, unparsed; `label` is the file's, if it has one."""

    name: str
    label: str | None
    rows: list[Row]


def read_rows(
    readers: Sequence[Reader], drawn: NDArray[np.int64] | None, batch_rows: int
) -> Iterator[list[Segment]]:
    """The rows of the files in batches, as they stand there.

    Parameters
    ----------
    readers : sequence of Reader
        Of the files, read in this order.
    drawn : ndarray of int64, or None
        Positions over all files, rising, as `draw_rows` gives them; None: every row.
    batch_rows : int
        Rows of a batch at most; one of more than 32 MiB is handed on earlier.

    Raises
    ------
    CommentFileError
        Where a file is at fault.
    """
    rows: Iterator[tuple[Part, Row]] = (
        (reader.part, row) for reader in readers for row in reader.rows() if type(row) is not Blank
    )
    if drawn is not None and len(drawn):
        is_drawn = np.zeros(drawn[-1] + 1, dtype=bool)
        is_drawn[drawn] = True
        rows = compress(rows, is_drawn.data)
    segments: list[Segment] = []
    n_rows = size = 0
    for part, row in rows:
        if not segments or segments[-1].name != part.name:
            segments.append(Segment(part.name, part.label, []))
        segments[-1].rows.append(row)
        n_rows, size = n_rows + 1, size + len(row.raw)
        if n_rows == batch_rows or size > BATCH_BYTES:
            yield segments
            segments, n_rows, size = [], 0, 0
    if segments:
        yield segments


@dataclass
class Parsed:
    """Fields seen in all batches, to tell a file that holds no comments.

    Attributes
    ----------
    rows : int
    has_fields : bool
        Whether any row had fields.
    names : list of str
        Fields of all rows, in order of appearance, the first 1,000.
    first : list
        File, line and kind of the first row.
    """

    rows: int = 0
    has_fields: bool = False
    names: list[str] = field(default_factory=list)
    first: list[Any] = field(default_factory=list)

    def add(self, later: "Parsed") -> None:
        """Add those of the next batch."""
        self.rows += later.rows
        self.has_fields = self.has_fields or later.has_fields
        if len(self.names) < MAX_NAMES:
            self.names = list(dict.fromkeys([*self.names, *later.names]))
        self.first = self.first or later.first

    def check(self, name: str, layout: Layout) -> None:
        """Raise `CommentFileError` if no row had fields, or none had one of the columns."""
        if self.rows and not self.has_fields:
            file, line, kind = self.first
            raise CommentFileError(
                f"{file}:{line}: expected a JSON object on each line, or a table with the "
                f"columns {layout.columns}, got no such row in {self.rows:,} (this one: {kind}); "
                "a JSON document becomes lines by jq -c '.[]'"
            )
        for column in layout.columns:
            if self.rows and column not in self.names and len(self.names) < MAX_NAMES:
                raise CommentFileError(
                    f"{name}: expected a field {column!r}, got only {shown(sorted(self.names))} "
                    f"in {self.rows:,} rows"
                )


def parse_rows(segments: Sequence[Segment], layout: Layout) -> tuple[pa.RecordBatch, Parsed]:
    """A batch of rows, and what `Parsed.check` needs of it.

    Returns
    -------
    RecordBatch
        With `SCHEMA`: ``file``, ``line``, ``byte_offset``, ``size``, ``raw`` as in
        `comments.formats.Row`; ``line_type`` ("object", or what came instead: "not
        JSON", "not UTF-8", "list", "3 columns, not 2", ...); ``cat`` and ``txt`` (null unless a
        string that can be stored), ``time`` (null unless a moment); ``cat_type``, ``txt_type``
        ("string", "null", "number", ..., "missing", "given twice", "lone surrogate"; null where
        the row has no fields) and ``time_type`` ("time", "missing", "not a time", ...; null where
        no column was named).
    Parsed
    """
    parsed = Parsed()
    names: dict[str, None] = {}
    rows: list[tuple[Any, ...]] = []
    for name, label, raw_rows in segments:
        for row in raw_rows:
            fields = fields_of(row)
            rows.append(_schema_row(name, label, row, fields, layout))
            parsed.has_fields = parsed.has_fields or fields.kind == OBJECT
            parsed.first = parsed.first or [name, row.line, fields.kind]
            if len(names) < MAX_NAMES and not names.keys() >= fields.values.keys():
                names |= dict.fromkeys(fields.values)
    parsed.rows, parsed.names = len(rows), list(names)
    columns = zip(zip(*rows, strict=True), SCHEMA.types, strict=True)
    batch = pa.record_batch([pa.array(column, kind) for column, kind in columns], schema=SCHEMA)
    return batch, parsed


def read_parsed_rows(
    readers: Sequence[Reader],
    layout: Layout,
    drawn: NDArray[np.int64] | None = None,
    batch_rows: int = ROWS_IN_MEMORY,
) -> Iterator[pa.RecordBatch]:
    """Rows of the files in batches, as `parse_rows` gives them; parameters as of `read_rows`.

    Raises
    ------
    CommentFileError
        Where a file is at fault; after the last batch if no row drawn had fields, or none had one
        of the columns.
    """
    parsed = Parsed()
    for segments in read_rows(readers, drawn, batch_rows):
        batch, of_batch = parse_rows(segments, layout)
        parsed.add(of_batch)
        yield batch
    parsed.check(readers[0].part.name, layout)


def _schema_row(
    name: str, label: str | None, row: Row, fields: Fields, layout: Layout
) -> tuple[Any, ...]:
    """The values of a row, in the order of the schema."""
    origin = (name, row.line, row.offset, row.size, row.raw, fields.kind)
    if fields.kind != OBJECT:
        return (*origin, None, None, None, None, None, None)
    category = (label, "string") if layout.label is None else _text_of(fields, layout.label)
    text = _texts_of(fields, layout.text)
    time = (None, None) if layout.time is None else _time_of(fields, layout.time)
    return (*origin, *category, *text, *time)


def _texts_of(fields: Fields, columns: tuple[str, ...]) -> tuple[str | None, str]:
    """The text of one column, or of several that are not blank, and what came."""
    texts = [_text_of(fields, column) for column in columns]
    if len(texts) == 1:
        return texts[0]
    for text, came in texts:
        if text is None:
            return None, came
    return "\n\n".join(text for text, _ in texts if text and text.strip()), "string"


def _text_of(fields: Fields, column: str) -> tuple[str | None, str]:
    """A field's text, null where it has none, and what came; a number is its digits, as in CSV."""
    came = _came(fields, column)
    if came == "string":
        return storable(fields.values[column])
    if came in _TEXTS:
        value = fields.values[column]
        if came != "number" or math.isfinite(value):
            return str(value), "string"
        came = "null" if math.isnan(value) else came
    return None, came


def storable(text: str) -> tuple[str | None, str]:
    """A text, null where neither Arrow nor Parquet stores it, and what came."""
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return None, "lone surrogate"
    return text, "string"


def _time_of(fields: Fields, column: str) -> tuple[datetime | None, str]:
    """A field's moment, null where it has none, and what came."""
    if (came := _came(fields, column)) in ("missing", "given twice", "null", "boolean"):
        return None, came
    moment, came = moment_of(fields.values[column])
    return moment, came


def _came(fields: Fields, column: str) -> str:
    """Kind of a field, or why it has no value."""
    if column not in fields.values:
        return "missing"
    return "given twice" if column in fields.twice else type_of(fields.values[column])
