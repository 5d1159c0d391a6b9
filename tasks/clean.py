"""Clean comments: by default lower case, no stop words, no punctuation, every word stemmed."""

from pathlib import Path

from neural_classifiers.comments.schemas import CLEANED
from neural_classifiers.engine.folder_store import unfinished
from neural_classifiers.engine.progress import reporter_for_rows
from neural_classifiers.engine.records import File
from neural_classifiers.engine.rows.batches import BATCH_ROWS, useful_workers, work_batches
from neural_classifiers.engine.rows.parquet import TableWriter, check_rows, slices
from neural_classifiers.engine.step import step
from tasks.references import Accepted, Cleaned
from tasks.row_work import clean_batch

HEAD_ROWS = 5  # notebook, the first rows of its table
HEAD = ["cat", "txt", "clean"]


@step()
def clean_comments(
    accepted: Accepted, cleaning: str | dict[str, bool | str], folder: Path
) -> Cleaned:
    """The accepted comments with a column ``clean``; of the first rows a picture.

    Raises
    ------
    ValueError
        If `cleaning` is neither a preset nor options that are known.
    """
    from neural_classifiers.comments.text import cleaning_of
    from neural_classifiers.report.plots import plot_table

    cleaning_of(cleaning)  # a name that is not known is refused before a worker starts
    comments = accepted.table.path
    table, head, n_empty = folder / "cleaned.parquet", folder / "head.png", 0
    first: list[dict[str, str]] = []
    with TableWriter(table, CLEANED) as cleaned:
        for batch in work_batches(
            clean_batch,
            batches=((comments, *s, cleaning) for s in slices(accepted.rows, BATCH_ROWS)),
            unfinished=unfinished(folder),
            n_workers=useful_workers(accepted.rows),
            advance=reporter_for_rows(accepted.rows),
        ):
            rows = batch.read("cleaned")
            n_empty += batch.summary["empty"]
            first += rows.slice(0, HEAD_ROWS - len(first)).select(HEAD).to_pylist()
            cleaned.write(rows)
    check_rows("comments cleaned", cleaned.rows, accepted.rows)
    head.write_bytes(plot_table(HEAD, [list(row.values()) for row in first]))
    return Cleaned(table=File.of(table), head=File.of(head), rows=cleaned.rows, rows_empty=n_empty)
