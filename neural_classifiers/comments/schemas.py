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


def _of_schema(*names: str) -> pa.Schema:
    return pa.schema([SCHEMA.field(name) for name in names])


ACCEPTED = _of_schema("file", "line", "byte_offset", "cat", "txt", "time")
QUARANTINE = _of_schema("file", "line", "byte_offset", "size", "raw", "cat", "txt").append(
    pa.field("reasons", pa.list_(pa.string()))
)
CLEANED = ACCEPTED.append(pa.field("clean", pa.string()))
DROPPED = _of_schema("file", "line", "cat", "txt").append(pa.field("reason", pa.string()))
