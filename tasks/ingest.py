"""Read comments: one row for each row that was drawn, be it good or bad."""

from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from neural_classifiers.comments.formats import Layout
from neural_classifiers.comments.packing import Part
from neural_classifiers.comments.rows import (
    Parsed,
    SampleSize,
    count_rows,
    draw_rows,
    open_readers,
    read_rows,
)
from neural_classifiers.comments.schemas import SCHEMA
from neural_classifiers.comments.tables import Quoting
from neural_classifiers.engine.folder_store import unfinished
from neural_classifiers.engine.progress import reporter_for_rows
from neural_classifiers.engine.records import File
from neural_classifiers.engine.rows.batches import BATCH_ROWS, useful_workers, work_batches
from neural_classifiers.engine.rows.parquet import TableWriter, check_rows
from neural_classifiers.engine.step import step
from tasks.references import Ingested, Source
from tasks.row_work import parse_batch


@step()
def ingest_comments(
    raw: Source,
    sample: SampleSize | None,
    seed: int,
    text_column: str,
    label_column: str,
    time_column: str | None,
    delimiter: str | None,
    quoting: Quoting,
    escape: str | None,
    folder: Path,
) -> Ingested:
    """Draw rows from a source, before anything is known of them; other rows than the notebook's.

    Parameters
    ----------
    raw : Source
        One out of the catalogue knows its own columns; those named here are those of a path.
    sample : int or "all", optional
        Rows to draw; by default 3,000, or all where there are fewer.
    seed : int
        Of the draw.
    text_column, label_column : str
        Columns (fields) of the text and of its category.
    time_column : str, optional
        Column of the time that each comment was written at.
    delimiter, quoting, escape
        Of tables, as in `comments.formats.Layout`.

    Raises
    ------
    CommentFileError
        If a file is empty or damaged, or lacks a column, or there are fewer rows than `sample`.
    """
    parts = parts_of(raw)
    layout = Layout(
        text=tuple(raw.text_columns or [text_column]),
        label=None if raw.text_columns else label_column,
        time=time_column,
        delimiter=delimiter,
        quoting=quoting if raw.quoted else "none",
        escape=escape,
    )
    readers = open_readers(parts, layout)
    counted = count_rows(readers)
    drawn = draw_rows(counted.rows, raw.name, sample, seed)
    n_rows = counted.rows if drawn is None else len(drawn)
    path, parsed = folder / "rows.parquet", Parsed()
    with TableWriter(path, SCHEMA) as table:
        for batch in work_batches(
            parse_batch,
            batches=((rows, layout) for rows in read_rows(readers, drawn, BATCH_ROWS)),
            unfinished=unfinished(folder),
            n_workers=useful_workers(n_rows),
            advance=reporter_for_rows(n_rows),
        ):
            table.write(batch.read("rows"))
            parsed.add(Parsed(**batch.summary))
    parsed.check(parts[0].name, layout)
    check_rows(raw.name, table.rows, n_rows)
    return Ingested(
        table=File.of(path),
        rows=table.rows,
        rows_in_file=counted.rows,
        blank_lines=counted.blank,
        formats=counted.formats,
    )


def parts_of(raw: Source) -> list[Part]:
    """The files of a source, ordered by category where a file tells it, then by name."""
    categories = raw.file_categories
    names = sorted(raw.files, key=lambda name: (categories.get(name, ""), name))
    return [Part(name, _opener(raw.files[name]), categories.get(name)) for name in names]


def _opener(file: File) -> Callable[[], BinaryIO]:
    return lambda: file.path.open("rb")
