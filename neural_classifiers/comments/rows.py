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
from datetime import UTC, date, datetime
from itertools import compress
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from neural_classifiers.comments.formats import (
    CommentFileError,
    Layout,
    NoRowsError,
    Part,
    Row,
    fields_of,
    open_reader,
)
from neural_classifiers.comments.schemas import SCHEMA
from neural_classifiers.comments.strict_json import OBJECT, Fields, type_of
from neural_classifiers.errors import ParameterError
from neural_classifiers.values import within

SampleSize = Annotated[int | Literal["all"], within(1)]

SAMPLE = 3000  # notebook, "Load and Clean Comment Data"
ROWS_IN_MEMORY = 8192  # of a file that one process reads and uses as it goes
BATCH_BYTES = 32 * 2**20
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


def count_rows(parts: Sequence[Part], layout: Layout) -> Counted:
    """Count the rows of all files, which costs a pass over them.

    Raises
    ------
    CommentFileError
        As `comments.formats.open_reader` does, or if no file has a row.
    """
    readers = [open_reader(part, layout) for part in parts]
    counts = [reader.count() for reader in readers]
    rows, blank = (sum(n) for n in zip(*counts, strict=True))
    if not rows:
        names = ", ".join(part.name for part in parts)
        raise NoRowsError(f"{names}: expected rows, got none")
    return Counted(rows, blank, list(dict.fromkeys(reader.format for reader in readers)))


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
    parts: Sequence[Part], layout: Layout, drawn: NDArray[np.int64] | None, batch_rows: int
) -> Iterator[list[Segment]]:
    """The rows of the files in batches, as they stand there.

    Parameters
    ----------
    parts : sequence of Part
        Files, read in this order.
    layout : Layout
        Columns that count.
    drawn : ndarray of int64, or None
        Positions over all files, rising, as `draw_rows` gives them; None: every row.
    batch_rows : int
        Rows of a batch at most; one of more than 32 MiB is handed on earlier.

    Raises
    ------
    CommentFileError
        Where a file is at fault.
    """
    if layout.label in layout.text:
        raise ParameterError(f"expected two columns, got {layout.label!r} as text and as label")
    rows: Iterator[tuple[Part, Row]] = (
        (part, row) for part in parts for row in open_reader(part, layout).rows() if row is not None
    )
    if drawn is not None:
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
                f"columns {layout.columns}, got no such row in {self.rows:,} (this one: {kind})"
            )
        for column in layout.columns:
            if column not in self.names and len(self.names) < MAX_NAMES:
                raise CommentFileError(
                    f"{name}: expected a field {column!r}, got only {sorted(self.names)[:20]} "
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
    parts: Sequence[Part],
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
    for segments in read_rows(parts, layout, drawn, batch_rows):
        batch, of_batch = parse_rows(segments, layout)
        parsed.add(of_batch)
        yield batch
    parsed.check(parts[0].name, layout)


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
    """A field's text, null where it has none, and what came."""
    if (came := _came(fields, column)) != "string":
        return None, came
    return storable(fields.values[column])


def storable(text: str) -> tuple[str | None, str]:
    """A text, null where neither Arrow nor Parquet stores it, and what came."""
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return None, "lone surrogate"
    return text, "string"


def _time_of(fields: Fields, column: str) -> tuple[datetime | None, str]:
    """A field's moment, null where it has none, and what came.

    Numbers, in digits too, are seconds since 1970; texts are ISO 8601. Without a zone it is UTC.
    """
    if (came := _came(fields, column)) in ("missing", "given twice", "null", "boolean"):
        return None, came
    try:
        return _moment(fields.values[column]), "time"
    except (ValueError, OverflowError, OSError, TypeError):
        return None, "not a time"


def _came(fields: Fields, column: str) -> str:
    """Kind of a field, or why it has no value."""
    if column not in fields.values:
        return "missing"
    return "given twice" if column in fields.twice else type_of(fields.values[column])


def _moment(value: Any) -> datetime:
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            value = datetime.fromisoformat(value.strip())
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day)
    if isinstance(value, datetime):
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"no time: {value!r}")
    return datetime.fromtimestamp(value, UTC)
