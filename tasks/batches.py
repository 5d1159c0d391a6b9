"""Many rows, batch by batch: on all cores, in flat memory, and after a kill from where it stopped.

What a batch gave lies at once in files of its own, whole or absent. A step that is done again finds
them and works the other batches only; once its record stands they are removed
(`tasks.records.recall`).
"""

import hashlib
import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from tasks import workers
from tasks.records import digest_of, make_folder, write_durably

BATCH_ROWS = 16_384
ROWS_WORTH_A_WORKER = 60_000  # below, starting a worker takes longer than the work
_TOLD = "told.json"


@dataclass(frozen=True)
class Result:
    """What a batch gave: tables by name, each in one piece or more, and plain JSON."""

    tables: Mapping[str, list[pa.RecordBatch]]
    told: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Kept:
    """What a batch gave, on disk."""

    folder: Path
    number: int
    told: Mapping[str, Any]

    def path(self, table: str) -> Path:
        """An Arrow file; its record batches are the pieces."""
        return _path(self.folder, self.number, f"{table}.arrow")

    def read(self, table: str) -> pa.Table:
        """A table with all its pieces."""
        with pa.OSFile(str(self.path(table))) as file, pa.ipc.open_file(file) as reader:
            return reader.read_all()

    def read_piece(self, table: str, number: int) -> pa.RecordBatch:
        """One piece of a table."""
        with pa.OSFile(str(self.path(table))) as file, pa.ipc.open_file(file) as reader:
            return reader.get_batch(number)


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
        Called with the number of each batch that is done.
    """
    make_folder(keep)
    waiting: deque[tuple[int, Future[Any] | None]] = deque()
    with ThreadPoolExecutor(max(n_workers, 1)) as threads:  # each waits for a worker process
        try:
            for number, arguments in enumerate(batches):
                if _find(keep, number) is not None:
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
    tell(number)
    told = json.loads(_path(keep, number, _TOLD).read_bytes())["told"]
    return Kept(keep, number, told)


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
    told = {"tables": digests, "told": result.told}
    write_durably(_path(keep, number, _TOLD), json.dumps(told).encode())


def _find(keep: Path, number: int) -> Kept | None:
    """What an earlier process kept of a batch, if it is whole."""
    try:
        found = json.loads(_path(keep, number, _TOLD).read_bytes())
        for name, digest in found["tables"].items():
            if digest_of(_path(keep, number, f"{name}.arrow")) != digest:
                return None
        return Kept(keep, number, found["told"])
    except (OSError, ValueError, KeyError):
        return None


def _path(keep: Path, number: int, name: str) -> Path:
    return keep / f"{number:06}-{name}"
