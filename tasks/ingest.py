"""Read comments: one row for each row that was drawn, whatever the row holds."""

from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from neural_classifiers.comments.rows import (
    Layout,
    Parsed,
    Part,
    SampleSize,
    count_rows,
    draw_rows,
    read_rows,
)
from neural_classifiers.comments.schemas import SCHEMA
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
    folder: Path,
) -> Ingested:
    """Rows drawn from a source, before anything is known of them, as in the notebook.

    A source out of the catalogue knows its own columns; the three named here are those of a path.

    Raises
    ------
    CommentFileError
        If a file is empty or damaged, or lacks a column, or there are fewer rows than `sample`.
    """
    layout = layout_of(raw, text_column, label_column, time_column)
    return read_source(raw, layout, sample, seed, folder, unfinished(folder))


def read_source(
    raw: Source,
    layout: Layout,
    sample: SampleSize | None,
    seed: int,
    folder: Path,
    keep: Path,
    n_workers: int | None = None,
    batch_rows: int = BATCH_ROWS,
) -> Ingested:
    """As `ingest_comments`; neither the workers nor the size of the batches matters.

    Batches that are finished lie in `keep`. By default there are as many workers as the rows
    drawn are worth.
    """
    parts = parts_of(raw)
    counted = count_rows(parts, layout)
    drawn = draw_rows(counted.total, raw.name, sample, seed)
    expected = counted.total if drawn is None else len(drawn)
    n_workers = useful_workers(expected) if n_workers is None else n_workers
    path, parsed = folder / "rows.parquet", Parsed()
    batches = ((segments, layout) for segments in read_rows(parts, layout, drawn, batch_rows))
    with TableWriter(path, SCHEMA) as table:
        report = reporter_for_rows(expected)
        for batch in work_batches(parse_batch, batches, keep, n_workers, report):
            table.write(batch.read("rows"))
            parsed.add(Parsed(**batch.told))
    parsed.check(parts[0].name, layout)
    check_rows(raw.name, table.rows, expected)
    return Ingested(
        table=File.of(path),
        rows=table.rows,
        rows_in_file=counted.total,
        blank_lines=counted.blank,
        formats=list(counted.formats),
    )


def layout_of(raw: Source, text_column: str, label_column: str, time_column: str | None) -> Layout:
    """The columns of a source: the catalogue's, else those named."""
    if raw.text_columns:
        return Layout(tuple(raw.text_columns), None, time_column, raw.quoted)
    return Layout((text_column,), label_column, time_column, raw.quoted)


def parts_of(raw: Source) -> list[Part]:
    """The files of a source, ordered by category where a file tells it, then by name."""
    categories = raw.file_categories
    names = sorted(raw.files, key=lambda name: (categories.get(name, ""), name))
    return [Part(name, _opener(raw.files[name]), categories.get(name)) for name in names]


def _opener(file: File) -> Callable[[], BinaryIO]:
    return lambda: file.path.open("rb")
