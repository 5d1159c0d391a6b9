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


JUDGED = ["line_type", "cat", "cat_type", "txt", "txt_type", "time_type"]


ACCEPTED = pa.schema(
    {
        "file": pa.string(),
        "line": pa.int64(),
        "byte_offset": pa.int64(),
        "cat": pa.string(),
        "txt": pa.string(),
        "time": pa.timestamp("us", tz="UTC"),
    }
)


QUARANTINE = pa.schema(
    {
        "file": pa.string(),
        "line": pa.int64(),
        "byte_offset": pa.int64(),
        "size": pa.int64(),
        "raw": pa.binary(),
        "cat": pa.string(),
        "txt": pa.string(),
        "reasons": pa.list_(pa.string()),
    }
)


CLEANED = pa.schema([*ACCEPTED, ("clean", pa.string())])


DROPPED = pa.schema(
    [
        *(field for field in ACCEPTED if field.name in ("file", "line", "cat", "txt")),
        ("reason", pa.string()),
    ]
)
