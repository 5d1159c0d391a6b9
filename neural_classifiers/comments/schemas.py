"""Columns of the tables of comments, from the rows as they came to the rows dropped."""

import pyarrow as pa

SCHEMA = pa.schema(
    {
        "file": pa.string(),
        "line": pa.int64(),
        "byte_offset": pa.int64(),
        "size": pa.int64(),
        "raw": pa.binary(),
        "line_type": pa.string(),
        "cat": pa.string(),
        "cat_type": pa.string(),
        "txt": pa.string(),
        "txt_type": pa.string(),
        "time": pa.timestamp("us", tz="UTC"),
        "time_type": pa.string(),
    }
)


def _columns(*names: str) -> list[pa.Field]:
    return [SCHEMA.field(name) for name in names]


ACCEPTED = pa.schema(_columns("file", "line", "byte_offset", "cat", "txt", "time"))
QUARANTINE = pa.schema(
    [
        *_columns("file", "line", "byte_offset", "size", "raw", "cat", "txt"),
        ("reasons", pa.list_(pa.string())),
    ]
)
CLEANED = pa.schema([*ACCEPTED, ("clean", pa.string())])
DROPPED = pa.schema([*_columns("file", "line", "cat", "txt"), ("reason", pa.string())])
