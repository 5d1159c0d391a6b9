"""Clean comments: by default lower case, no stop words, no punctuation, every word stemmed."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from pathlib import Path

import pyarrow as pa

from tasks import workers
from tasks.records import File, Reference
from tasks.steps import step
from tasks.tables import TableWriter, read_batches
from tasks.validate import Accepted

BATCH_ROWS = 25_000
ROWS_WORTH_A_WORKER = 60_000  # below, starting a worker takes longer than the work
HEAD_ROWS = 5  # notebook, the first rows of its table


class Cleaned(Reference):
    """Comments with their cleaned text, ``clean``, beside the original.

    `head` is a picture of the first rows.
    """

    table: File
    head: File
    rows: int
    rows_empty: int

    def in_words(self) -> str:
        """Comments cleaned, and how many were left empty."""
        return f"{self.rows:,} comments cleaned, {self.rows_empty} left empty"


@step()
def clean_comments(
    accepted: Accepted, cleaning: str | dict[str, bool | str], folder: Path
) -> Cleaned:
    """The accepted comments with a column ``clean``.

    Raises
    ------
    ValueError
        If `cleaning` is neither a preset nor options that are known.
    """
    n_workers = min(workers.cores(), accepted.rows // ROWS_WORTH_A_WORKER)
    return clean_table(accepted.table, cleaning, folder, n_workers)


def clean_table(
    comments: File,
    cleaning: str | dict[str, bool | str],
    folder: Path,
    n_workers: int = 0,
    batch_rows: int = BATCH_ROWS,
) -> Cleaned:
    """As `clean_comments`; neither the workers (0: none) nor the size of the batches matters."""
    from neural_classifiers.expectations import ACCEPTED
    from neural_classifiers.plots import plot_table_head
    from neural_classifiers.text import cleaning_of

    cleaning_of(cleaning)  # a name that is not known is told before a worker starts
    table, head, n_empty = folder / "cleaned.parquet", folder / "head.png", 0
    first: list[list[str]] = []
    with TableWriter(table, ACCEPTED.append(pa.field("clean", pa.string()))) as cleaned:
        batches = read_batches(comments, batch_rows)
        for batch, texts in _cleaned(batches, cleaning, n_workers):
            n_empty += texts.count("")
            first += _rows(batch.slice(0, HEAD_ROWS - len(first)), texts)
            cleaned.write(batch.append_column("clean", pa.array(texts, pa.string())))
    head.write_bytes(plot_table_head(["cat", "txt", "clean"], first))
    return Cleaned(table=File.of(table), head=File.of(head), rows=cleaned.rows, rows_empty=n_empty)


def _rows(batch: pa.RecordBatch, texts: list[str]) -> list[list[str]]:
    columns = (batch["cat"].to_pylist(), batch["txt"].to_pylist(), texts)
    return [list(row) for row in zip(*columns, strict=False)]


def clean_texts(texts: list[str], cleaning: str | dict[str, bool | str]) -> list[str]:
    """Cleaned texts, in a worker or here."""
    from neural_classifiers.text import clean_comments, cleaning_of

    return clean_comments(texts, stem=_stemmer(), cleaning=cleaning_of(cleaning))


@cache
def _stemmer() -> Callable[[str], str]:
    """Porter's stemmer, whose memory outlives a batch."""
    from neural_classifiers.text import porter_stemmer

    return porter_stemmer()


def _cleaned(
    batches: Iterator[pa.RecordBatch], cleaning: str | dict[str, bool | str], n_workers: int
) -> Iterator[tuple[pa.RecordBatch, list[str]]]:
    """Each batch with its cleaned texts, in order, at most two batches a worker in memory."""
    if n_workers < 1:
        for batch in batches:
            yield batch, clean_texts(batch["txt"].to_pylist(), cleaning)
        return
    waiting: deque[tuple[pa.RecordBatch, Future[workers.Answer]]] = deque()
    with ThreadPoolExecutor(n_workers) as threads:  # each waits for a worker process
        for batch in batches:
            texts = batch["txt"].to_pylist()
            waiting.append((batch, threads.submit(workers.run, clean_texts, texts, cleaning)))
            if len(waiting) == 2 * n_workers:
                done, answer = waiting.popleft()
                yield done, answer.result().value
        for done, answer in waiting:
            yield done, answer.result().value
