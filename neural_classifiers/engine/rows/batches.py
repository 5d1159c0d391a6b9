"""Many rows, batch by batch: on all cores, in flat memory, and after a kill from where it stopped.

Memory is that of some batches of `BATCH_ROWS` rows, so it grows with the size of a row only.
What a batch gave lies at once in files of its own, whole or absent. A step that is done again finds
them and works the other batches only; once its record stands they are removed
(`engine.records.recall`).
"""

import contextlib
import hashlib
import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from neural_classifiers.engine import workers
from neural_classifiers.engine.files import make_folder, write_durably
from neural_classifiers.engine.records import canonical, digest_of

BATCH_ROWS = 16_384
ROWS_WORTH_A_WORKER = 60_000  # below, starting a worker takes longer than the work
_TOLD = "told"


@dataclass(frozen=True)
class Result:
    """What a batch gave.

    Attributes
    ----------
    rows : int
        Rows of the batch, as they went in.
    tables : mapping of str to list of RecordBatch
        By name, each in one piece or more.
    told : mapping of str to object
        Plain JSON.
    """

    rows: int
    tables: Mapping[str, list[pa.RecordBatch]]
    told: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Kept:
    """What a batch gave, on disk."""

    folder: Path
    number: int
    rows: int
    told: Mapping[str, Any]

    def read(self, table: str) -> pa.Table:
        """A table with all its pieces."""
        with _open(self.folder, self.number, table) as reader:
            return reader.read_all()


def read_piece(keep: Path, number: int, table: str, piece: int) -> pa.RecordBatch:
    """One piece of a table that a batch gave, out of the folder where batches are kept."""
    with _open(keep, number, table) as reader:
        return reader.get_batch(piece)


@contextlib.contextmanager
def _open(keep: Path, number: int, table: str) -> Iterator[pa.ipc.RecordBatchFileReader]:
    path = _path(keep, number, f"{table}.arrow")
    with pa.OSFile(str(path)) as file, pa.ipc.open_file(file) as reader:
        yield reader


def useful_workers(rows: int) -> int:
    """Worker processes worth starting for so many rows."""
    return min(workers.cores(), rows // ROWS_WORTH_A_WORKER)


def work_batches(
    work: Callable[..., Result],
    batches: Iterable[tuple[Any, ...]],
    keep: Path,
    n_workers: int = 0,
    tell: Callable[[int], None] = lambda _: None,
) -> Iterator[Kept]:
    """What each batch gave, in order; those that are kept from before are not worked again.

    Parameters
    ----------
    work : callable
        Importable by module and name; called with the arguments of a batch.
    batches : iterable of tuple
        Arguments of each, small or worth sending to another process. Taken as they are needed: at
        most two batches a worker are under way.
    keep : Path
        Folder for what they give, of this work alone.
    n_workers : int
        Processes; 0: this one.
    tell : callable, optional
        Called with the rows of each batch that is done.
    """
    make_folder(keep)
    waiting: deque[tuple[int, Future[Any] | None]] = deque()
    with ThreadPoolExecutor(max(n_workers, 1)) as threads:  # each waits for a worker process
        try:
            for number, arguments in enumerate(batches):
                if _is_kept(keep, number):
                    waiting.append((number, None))
                elif n_workers:
                    told = (work, arguments, keep, number)
                    waiting.append((number, threads.submit(workers.run, _work, *told)))
                else:
                    _work(work, arguments, keep, number)
                    waiting.append((number, None))
                while len(waiting) > 2 * n_workers:
                    yield _taken(keep, *waiting.popleft(), tell)
            while waiting:
                yield _taken(keep, *waiting.popleft(), tell)
        finally:
            for _, future in waiting:
                if future is not None:
                    future.cancel()


def _taken(
    keep: Path, number: int, future: "Future[Any] | None", tell: Callable[[int], None]
) -> Kept:
    if future is not None:
        future.result()
    told = _read(keep, number)
    tell(told["rows"])
    return Kept(keep, number, told["rows"], told["told"])


def _work(work: Callable[..., Result], arguments: tuple[Any, ...], keep: Path, number: int) -> None:
    """Work a batch, and keep what it gave; the last file says that it is whole."""
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
        write_durably(_path(keep, number, f"{name}.arrow"), content)
    told = canonical({"rows": result.rows, "tables": digests, "told": result.told})
    digest = hashlib.sha256(told).hexdigest().encode()
    write_durably(_path(keep, number, _TOLD), digest + b"\n" + told)


def _is_kept(keep: Path, number: int) -> bool:
    """Whether an earlier process kept what a batch gave, whole."""
    try:
        return all(
            digest_of(_path(keep, number, f"{name}.arrow")) == digest
            for name, digest in _read(keep, number)["tables"].items()
        )
    except (OSError, ValueError):
        return False


def _read(keep: Path, number: int) -> Any:
    """What was told of a batch, behind its own digest; ValueError where it is damaged."""
    path = _path(keep, number, _TOLD)
    digest, _, told = path.read_bytes().partition(b"\n")
    if hashlib.sha256(told).hexdigest().encode() != digest:
        raise ValueError(f"{path}: expected what its digest says, got other bytes")
    return json.loads(told)


def _path(keep: Path, number: int, name: str) -> Path:
    return keep / f"{number:06}-{name}"
