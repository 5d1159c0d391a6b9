"""Files that are whole on disk or not there at all, whatever ends the process or the power."""

import contextlib
import glob
import json
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from neural_classifiers.errors import RefusedError

_MARK = ".writing-"


class OutputError(RefusedError):
    """A file that a command shall not write: says what lies there."""

    code = "NC63"


def as_json(value: Any) -> bytes:
    """JSON for people: indented, one newline at its end; null for NaN and infinities."""
    finite = json.loads(json.dumps(value, default=str), parse_constant=lambda name: None)
    return (json.dumps(finite, indent=2) + "\n").encode()


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
        create_anew(unfinished)
        yield unfinished
        sync(unfinished)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    sync(path.parent)


@contextlib.contextmanager
def whole_file(out: Path, if_empty: bool = True, may_replace: bool = True) -> Iterator[Path]:
    """A hidden path to write; in the end it is flushed and takes the name `out`, or is gone.

    For folders that others may write to: its name cannot be guessed. An empty file takes no name
    unless `if_empty`; one of that name from before goes.

    Raises
    ------
    OutputError
        If `out` is a folder, a link or a device; a file too, unless `may_replace`.
    """
    if os.path.lexists(out) and not (may_replace and out.is_file() and not out.is_symlink()):
        came = "one" if out.is_file() and not out.is_symlink() else "a folder, a link or a device"
        raise OutputError(f"{out}: expected no file there{' yet' * (not may_replace)}, got {came}")
    make_folder(out.parent.absolute())
    for left in out.parent.glob(f".{glob.escape(out.name)}{_MARK}*"):  # by a kill
        pid = left.name.rpartition(_MARK)[2].partition("-")[0]
        if pid.isdecimal() and not psutil.pid_exists(int(pid)):
            left.unlink(missing_ok=True)
    path = out.with_name(f".{out.name}{_MARK}{os.getpid()}-{secrets.token_hex(8)}")
    try:
        create_anew(path)
        yield path
        sync(path)
        if if_empty or path.stat().st_size:
            path.replace(out)
        else:
            out.unlink(missing_ok=True)
        sync(out.parent.absolute())
    finally:
        path.unlink(missing_ok=True)


def create_anew(path: Path) -> None:
    """Make an empty file of our own; what lies there goes, and a link there is not followed."""
    path.unlink(missing_ok=True)
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666))


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
