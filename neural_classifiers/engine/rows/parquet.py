"""Tables between steps: Parquet, read and written batch by batch.

The bytes of a file depend on its rows alone: row groups have a fixed number of rows, however the
batches come.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

GROUP_ROWS = 16_384


class TableWriter:
    """Writes rows as they come into one Parquet file; use with ``with``."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.path, self.rows = path, 0
        self._schema = schema
        self._file = pq.ParquetWriter(path, schema, compression="zstd")
        self._waiting = schema.empty_table()

    def write(self, rows: pa.RecordBatch | pa.Table) -> None:
        """Add rows; columns that the schema does not name are left out."""
        table = pa.Table.from_batches([rows]) if isinstance(rows, pa.RecordBatch) else rows
        table = table.select(self._schema.names).cast(self._schema)
        self._waiting = pa.concat_tables([self._waiting, table])
        self.rows += table.num_rows
        self._flush(self._waiting.num_rows // GROUP_ROWS * GROUP_ROWS)

    def _flush(self, n_rows: int) -> None:
        for start in range(0, n_rows, GROUP_ROWS):
            group = self._waiting.slice(start, min(GROUP_ROWS, n_rows - start))
            # combined, since the pieces of a column show in the file
            self._file.write_table(group.combine_chunks(), row_group_size=GROUP_ROWS)
        self._waiting = self._waiting.slice(n_rows)

    def __enter__(self) -> "TableWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with contextlib.closing(self._file):
            if kind is None:
                self._flush(self._waiting.num_rows)


def check_rows(what: str, got: int, expected: int) -> None:
    """Raise a RuntimeError unless as many rows came out as went in."""
    if got != expected:
        raise RuntimeError(f"{what}: expected {expected:,} rows, got {got:,}")


def slices(n_rows: int, size: int) -> list[tuple[int, int]]:
    """First row, and the row after the last, of each batch of `size` rows."""
    return [(start, min(start + size, n_rows)) for start in range(0, n_rows, size)]


def read_slice(
    path: Path, start: int, stop: int, columns: list[str] | None = None
) -> pa.RecordBatch:
    """Rows of a table that a `TableWriter` wrote; only their row groups are read.

    Parameters
    ----------
    path : Path
    start, stop : int
        First row, from 0, and the row after the last.
    columns : list of str, optional
        By default all of them.
    """
    first, last = start // GROUP_ROWS, (stop - 1) // GROUP_ROWS
    with pq.ParquetFile(path) as table:
        groups = table.read_row_groups(list(range(first, last + 1)), columns)
    return one_batch(groups.slice(start - first * GROUP_ROWS, stop - start))


def one_batch(table: pa.Table) -> pa.RecordBatch:
    """All rows of a table in one piece.

    Raises
    ------
    ValueError
        If a column holds 2 GiB of text or more, which Arrow does not put in one piece.
    """
    batches = table.combine_chunks().to_batches()
    if len(batches) > 1:
        raise ValueError(
            f"expected less than 2 GiB of text in each column of {table.num_rows:,} rows, got "
            f"{table.nbytes / 2**30:.1f} GiB in all; set aside rows that are no comments"
        )
    return batches[0] if batches else pa.RecordBatch.from_pylist([], table.schema)


def read_groups(path: Path, columns: list[str]) -> Iterator[pa.RecordBatch]:
    """The rows of a table, a row group at a time.

    Not by `ParquetFile.iter_batches`, which keeps a buffer for each row group that it has read:
    0.8 GB by the end of ten million texts.
    """
    with pq.ParquetFile(path) as table:
        for number in range(table.num_row_groups):
            yield one_batch(table.read_row_group(number, columns=columns))
