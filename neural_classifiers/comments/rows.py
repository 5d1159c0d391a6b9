"""Comments out of files: Arrow batches with a row for each row of a file, whatever it holds.

A fault of the file (empty, cut short, a column that is nowhere) raises `CommentFileError`. A fault
of a row never does: the row is kept with what came instead of text, and
`comments.expectations` decides about it.

Two passes: `count_rows` counts, `read_comments` reads the rows that were drawn. Both hold one batch
of rows in memory. How rows are cut into batches changes nothing about them.

`read_comments` is two steps, which may run in two processes: `read_rows` finds where rows begin
and end, one after the other; `parse_rows` looks into them, which is most of the work.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from neural_classifiers.comments.formats import (
    CommentFileError,
    Fields,
    Layout,
    Part,
    Row,
    fields_of,
    open_reader,
)
from neural_classifiers.comments.schemas import SCHEMA
from neural_classifiers.comments.strict_json import OBJECT, type_of

__all__ = [
    "SCHEMA",
    "CommentFileError",
    "Counted",
    "Layout",
    "Part",
    "SampleSize",
    "count_rows",
    "read_comments",
]

SampleSize = int | Literal["all"]

SAMPLE = 3000  # notebook, "Load and Clean Comment Data"
SEED = 34  # notebook, "Load and Clean Comment Data"
BATCH_ROWS = 8192
BATCH_BYTES = 32 * 2**20
MAX_NAMES = 1000  # fields remembered for the message about one that is nowhere


@dataclass(frozen=True)
class Counted:
    """What lies in the files of a data set.

    Attributes
    ----------
    rows : dict of str to int
        Rows of each file, by name, in order.
    blank : int
        Blank lines, which are no rows.
    formats : tuple of str
        Formats that were found, such as "JSON Lines", in order of appearance.
    """

    rows: dict[str, int]
    blank: int
    formats: tuple[str, ...]

    @property
    def total(self) -> int:
        """Rows of all files."""
        return sum(self.rows.values())


def count_rows(parts: Sequence[Part], layout: Layout) -> Counted:
    """Rows of each file, which costs a pass over all of them.

    Raises
    ------
    CommentFileError
        As `comments.formats.open_reader` does, or if no file has a row.
    """
    rows: dict[str, int] = {}
    formats: dict[str, None] = {}
    blank = 0
    for part in parts:
        reader = open_reader(part, layout)
        rows[part.name], n_blank = reader.count()
        blank += n_blank
        formats[reader.format] = None
    if not sum(rows.values()):
        raise CommentFileError(f"{', '.join(rows)}: expected rows, got none")
    return Counted(rows, blank, tuple(formats))


def draw_rows(
    n_rows: int, name: str, sample: SampleSize | None = None, seed: int = SEED
) -> NDArray[np.int64] | None:
    """Positions of the rows to read, drawn without replacement, rising; None for every row.

    Rows are drawn before anything is known of them, as in the notebook; so a bad row can be
    drawn, and is then counted rather than silently replaced by a good one.

    Parameters
    ----------
    n_rows : int
        Rows that there are.
    name : str
        Names the data in messages.
    sample : int or "all", optional
        How many to draw; unless given, 3,000, or all where there are fewer.
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
    wanted = min(SAMPLE, n_rows) if sample is None else sample
    if wanted < 1:
        raise ValueError(f"sample: expected at least 1 row, got {wanted}")
    if wanted > n_rows:
        raise CommentFileError(
            f"{name}: expected at least {wanted:,} rows to draw the sample from, got {n_rows:,}"
        )
    if wanted == n_rows:
        return None
    return np.sort(np.random.default_rng(seed).choice(n_rows, size=wanted, replace=False))


def read_comments(
    parts: Sequence[Part],
    layout: Layout,
    drawn: NDArray[np.int64] | None = None,
    batch_rows: int = BATCH_ROWS,
) -> Iterator[pa.RecordBatch]:
    """Rows of the files in batches, with what each of them holds.

    Parameters
    ----------
    parts : sequence of Part
        Files, read in this order.
    layout : Layout
        Columns that count. The result calls them ``txt``, ``cat`` and ``time``.
    drawn : ndarray of int64, optional
        Positions over all files, rising, as `draw_rows` gives them; by default every row.
    batch_rows : int
        Rows of a batch at most; one of more than 32 MiB is handed on earlier.

    Yields
    ------
    RecordBatch
        With `SCHEMA`: ``file``, ``line``, ``byte_offset``, ``size``, ``raw`` as in
        `comments.formats.Row`; ``line_type`` ("object", or what came instead: "not
        JSON", "not UTF-8", "list", "3 columns, not 2", ...); ``cat`` and ``txt`` (null unless a
        string that can be stored), ``time`` (null unless a moment); ``cat_type``, ``txt_type``
        ("string", "null", "number", ..., "missing", "given twice", "lone surrogate"; null where
        the row has no fields) and ``time_type`` ("time", "missing", "not a time", ...; null where
        no column was named).

    Raises
    ------
    CommentFileError
        Where a file is at fault; after the last batch if no row drawn had fields, or none had one
        of the columns.
    """
    parsed = Parsed()
    for segments in read_rows(parts, layout, drawn, batch_rows):
        batch, found = parse_rows(segments, layout)
        parsed.add(found)
        yield batch
    parsed.check(parts[0].name, layout)


class Segment(NamedTuple):
    """Rows of one file that follow each other, unparsed; `label` is the file's, if it has one."""

    name: str
    label: str | None
    rows: list[Row]


def read_rows(
    parts: Sequence[Part],
    layout: Layout,
    drawn: NDArray[np.int64] | None = None,
    batch_rows: int = BATCH_ROWS,
) -> Iterator[list[Segment]]:
    """The rows of the files in batches, as they stand there; parameters as of `read_comments`."""
    if layout.label in layout.text:
        raise ValueError(f"expected two columns, got {layout.label!r} as text and as label")
    segments: list[Segment] = []
    n_rows = size = 0
    for part, row in _drawn_rows(parts, layout, drawn):
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
    """What rows held, over all batches: whether there is anything to read in the files.

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
        """Add what the next batch held."""
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
    """A batch of rows with `SCHEMA`, and what to remember of it for `Parsed.check`."""
    names: dict[str, None] = {}
    first: list[Any] = []
    rows: list[tuple[Any, ...]] = []
    has_fields = False
    for name, label, raw_rows in segments:
        for row in raw_rows:
            fields = fields_of(row)
            rows.append(_told(name, label, row, fields, layout))
            has_fields = has_fields or fields.kind == OBJECT
            first = first or [name, row.line, fields.kind]
            if len(names) < MAX_NAMES and not names.keys() >= fields.values.keys():
                names |= dict.fromkeys(fields.values)
    return _batch(rows), Parsed(len(rows), has_fields, list(names), first)


def _drawn_rows(
    parts: Sequence[Part], layout: Layout, drawn: NDArray[np.int64] | None
) -> Iterator[tuple[Part, Row]]:
    position, wanted = -1, iter([] if drawn is None else drawn.tolist())
    following = next(wanted, None)
    for part in parts:
        reader = open_reader(part, layout)
        for row in reader.rows():
            if row is None:
                continue
            position += 1
            if drawn is not None:
                if position != following:
                    continue
                following = next(wanted, None)
            yield part, row


def _batch(rows: list[tuple[Any, ...]]) -> pa.RecordBatch:
    columns = zip(*rows, strict=True)
    return pa.record_batch(
        [pa.array(column, field.type) for column, field in zip(columns, SCHEMA, strict=True)],
        schema=SCHEMA,
    )


def _told(
    name: str, label: str | None, row: Row, fields: Fields, layout: Layout
) -> tuple[Any, ...]:
    """A row of the schema."""
    where = (name, row.line, row.offset, row.size, row.raw, fields.kind)
    if fields.kind != OBJECT:
        return (*where, None, None, None, None, None, None)
    category = (label, "string") if layout.label is None else _text_of(fields, layout.label)
    text = _texts_of(fields, layout.text)
    time = (None, None) if layout.time is None else _time_of(fields, layout.time)
    return (*where, *category, *text, *time)


def _texts_of(fields: Fields, columns: tuple[str, ...]) -> tuple[str | None, str]:
    """The text of one column, or of several that are not blank, and what came."""
    if len(columns) == 1:
        return _text_of(fields, columns[0])
    texts = []
    for column in columns:
        text, came = _text_of(fields, column)
        if text is None:
            return None, came
        texts.append(text)
    return "\n\n".join(text for text in texts if text.strip()), "string"


def _text_of(fields: Fields, column: str) -> tuple[str | None, str]:
    """A field's text, null where it has none, and what came."""
    if column not in fields.values:
        return None, "missing"
    if column in fields.twice:
        return None, "given twice"
    value = fields.values[column]
    if not isinstance(value, str):
        return None, type_of(value)
    try:
        value.encode()
    except UnicodeEncodeError:  # half of a surrogate pair: neither Arrow nor Parquet stores it
        return None, "lone surrogate"
    return value, "string"


def _time_of(fields: Fields, column: str) -> tuple[datetime | None, str]:
    """A field's moment, null where it has none, and what came.

    Numbers, in digits too, are seconds since 1970; texts are ISO 8601. Without a zone it is UTC.
    """
    if column not in fields.values:
        return None, "missing"
    value = fields.values[column]
    if column in fields.twice or value is None or isinstance(value, bool):
        return None, "given twice" if column in fields.twice else type_of(value)
    try:
        moment = _moment(value)
    except (ValueError, OverflowError, OSError, TypeError):
        return None, "not a time"
    return moment, "time"


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
