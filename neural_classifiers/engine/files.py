"""Files that are whole on disk or not there at all, whatever ends the process or the power."""

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def as_json(value: Any) -> bytes:
    """JSON for people: indented, one newline at its end."""
    return (json.dumps(value, indent=2, allow_nan=False, default=str) + "\n").encode()


def write_durably(path: Path, content: bytes) -> None:
    """Write a file; see `replacing`."""
    with replacing(path) as unfinished:
        unfinished.write_bytes(content)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A hidden path beside a file, which takes the file's name once the block has ended well.

    Two that write the same file must take turns (`engine.locks.locked`). What a kill leaves has
    one name, and the next write takes it.
    """
    unfinished = path.with_name(f".{path.name}.writing")
    try:
        yield unfinished
        sync(unfinished)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    sync(path.parent)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it where they are missing, so that power loss keeps them."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync(folder.parent)


def sync(path: Path) -> None:
    """Ask the kernel to put a file, or a folder's list of names, on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
