"""Locks that the kernel frees when their process ends, however it ends.

A run holds two while it goes on: its folder's ``.running`` for itself, so that a killed run can be
told from a running one, and the cache's ``.in-use`` together with other runs, so that nothing is
removed from under them.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

IN_USE, RUNNING = ".in-use", ".running"


def hold(path: Path, *, shared: bool = False) -> IO[bytes]:
    """The locked file, made when missing, to be closed when done; waits until it is free.

    Shared, the lock is held together with others that share it; otherwise alone.
    """
    file = _open(path)
    _lock(file.fileno(), shared, wait=True)
    return file


def try_to_hold(path: Path) -> IO[bytes] | None:
    """The locked file, as of `hold`, alone; None if another holds it."""
    file = _open(path)
    if _lock(file.fileno(), shared=False, wait=False):
        return file
    file.close()
    return None


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock on a file or folder that is there, alone, while the block runs."""
    handle = os.open(path, os.O_RDONLY)
    try:
        _lock(handle, shared=False, wait=True)
        yield
    finally:
        os.close(handle)


def is_held(path: Path) -> bool:
    """Whether a process holds the lock alone."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return False
    with file:  # shared, so that two who look at once do not take each other for the holder
        return not _lock(file.fileno(), shared=True, wait=False)


def _open(path: Path) -> IO[bytes]:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("ab")


def _lock(handle: int, shared: bool, wait: bool) -> bool:
    how = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    try:
        fcntl.flock(handle, how if wait else how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
