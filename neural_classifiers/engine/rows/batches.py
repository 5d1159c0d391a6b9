"""Many rows, batch by batch: on all cores, in flat memory, and after a kill from where it stopped.

Memory is that of some batches of `BATCH_ROWS` rows, so it grows with the size of a row only.
The result of a batch lies at once in files of its own, whole or absent. A step that is done again
finds them and works the other batches only; once its record stands they are removed
(`engine.records.recall`).
"""

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from neural_classifiers.engine import workers
from neural_classifiers.engine.files import make_folder, write_durably
from neural_classifiers.engine.records import canonical, digest_of
from neural_classifiers.engine.rows.parquet import GROUP_ROWS

BATCH_ROWS = GROUP_ROWS  # so that a batch reads one row group of the table before it
ROWS_WORTH_A_WORKER = 60_000  # below, starting a worker takes longer than the work


@dataclass(frozen=True)
class Result:
    """The result of work on a batch.

    Attributes
    ----------
    rows : int
        Rows of the batch, as they went in.
    tables : mapping of str to list of RecordBatch
        By name, each in one piece or more.
    summary : mapping of str to object
        Plain JSON.
    """

    rows: int
    tables: Mapping[str, list[pa.RecordBatch]]
    summary: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class FinishedBatch:
    """The result of a batch, on disk."""

    unfinished: Path
    number: int
    rows: int
    summary: Mapping[str, Any]

    def read(self, table: str) -> pa.Table:
        """A table with all its pieces."""
        with _open_table(self.unfinished, self.number, table) as reader:
            return reader.read_all()


def read_piece(unfinished: Path, number: int, table: str, piece: int) -> pa.RecordBatch:
    """One piece of a table of a finished batch.

    Parameters
    ----------
    unfinished : Path
        Folder that `work_batches` was given.
    number, piece : int
        Of the batch, and of the piece in its table; from 0.
    table : str
        Its name.
    """
    with _open_table(unfinished, number, table) as reader:
        return reader.get_batch(piece)


@contextlib.contextmanager
def _open_table(
    unfinished: Path, number: int, table: str
) -> Iterator[pa.ipc.RecordBatchFileReader]:
    with pa.OSFile(str(_path(unfinished, number, f"{table}.arrow"))) as file:
        yield pa.ipc.open_file(file)


def useful_workers(rows: int) -> int:
    """Worker processes worth starting for so many rows."""
    return min(workers.cores(), rows // ROWS_WORTH_A_WORKER)


def work_batches(
    work: Callable[..., Result],
    batches: Iterable[tuple[Any, ...]],
    unfinished: Path,
    n_workers: int = 0,
    advance: Callable[[int], None] = lambda _: None,
) -> Iterator[FinishedBatch]:
    """Results of all batches, in order; those that are finished from before are not worked again.

    Parameters
    ----------
    work : callable
        Importable by module and name; called with the arguments of a batch.
    batches : iterable of tuple
        Arguments of each, small or worth sending to another process. Taken as they are needed: at
        most two batches a worker are under way.
    unfinished : Path
        Folder for the results, of this work alone.
    n_workers : int
        Processes; 0: this one.
    advance : callable, optional
        Called with the rows of each batch that is done.
    """
    make_folder(unfinished)
    calls = ((work, arguments, unfinished, number) for number, arguments in enumerate(batches))
    for number, _ in enumerate(workers.in_order(_work, calls, n_workers)):
        batch = _read_summary(unfinished, number)
        advance(batch["rows"])
        yield FinishedBatch(unfinished, number, batch["rows"], batch["summary"])


def _work(
    work: Callable[..., Result], arguments: tuple[Any, ...], unfinished: Path, number: int
) -> None:
    """Work a batch and write its result, the summary last: where that is whole, so are the rest."""
    if _is_finished(unfinished, number):
        return
    result = work(*arguments)
    digests = {}
    for name, pieces in result.tables.items():
        sink = pa.BufferOutputStream()
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        with pa.ipc.new_file(sink, pieces[0].schema, options=options) as file:
            for piece in pieces:
                file.write_batch(piece)
        content = sink.getvalue()
        digests[name] = hashlib.sha256(content).hexdigest()
        write_durably(_path(unfinished, number, f"{name}.arrow"), content)
    batch = canonical({"rows": result.rows, "tables": digests, "summary": result.summary})
    digest = hashlib.sha256(batch).hexdigest().encode()
    write_durably(_path(unfinished, number, "summary"), digest + b"\n" + batch)


def _is_finished(unfinished: Path, number: int) -> bool:
    """True if an earlier process left the whole result of a batch."""
    try:
        return all(
            digest_of(_path(unfinished, number, f"{name}.arrow")) == digest
            for name, digest in _read_summary(unfinished, number)["tables"].items()
        )
    except (OSError, ValueError):
        return False


def _read_summary(unfinished: Path, number: int) -> Any:
    """Rows, digests and summary of a batch, behind their own digest; ValueError if damaged."""
    path = _path(unfinished, number, "summary")
    digest, _, batch = path.read_bytes().partition(b"\n")
    if hashlib.sha256(batch).hexdigest().encode() != digest:
        raise ValueError(f"{path}: expected what its digest says, got other bytes")
    return json.loads(batch)


def _path(unfinished: Path, number: int, name: str) -> Path:
    return unfinished / f"{number:06}-{name}"
