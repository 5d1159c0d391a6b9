"""Locks that the kernel frees when their process ends, however it ends.

A run holds two while it goes on: its folder's ``.running`` for itself, so that a killed run can be
told from a running one, and the cache's ``.in-use`` together with other runs, so that nothing is
removed from under them. Lock files are opened to read and to write and folders never locked:
network file systems want it so.
"""

import contextlib
import errno
import fcntl
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from neural_classifiers.errors import RefusedError

IN_USE, RUNNING, LOCK = ".in-use", ".running", ".lock"
NONE = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS}  # what a file system without locks answers


class NoLocksError(RefusedError, OSError):
    """The file system of a lock file has no locks."""

    code = "NC82"


def hold(path: Path, *, shared: bool = False) -> IO[bytes]:
    """The locked file, made when missing, to be closed when done; waits until it is free.

    Shared, the lock is held together with others that share it; otherwise alone.
    """
    file = _open(path)
    _lock(file, shared, wait=True)
    return file


def try_to_hold(path: Path) -> IO[bytes] | None:
    """The locked file, as of `hold`, alone; None if another holds it."""
    file = _open(path)
    if _lock(file, shared=False, wait=False):
        return file
    file.close()
    return None


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of a file, made when missing, or of a folder, alone while the block runs."""
    with hold(path / LOCK if path.is_dir() else path):
        yield


def is_held(path: Path) -> bool:
    """Whether a process holds the lock alone."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return False
    with file:  # shared, so that two who look at once do not take each other for the holder
        return not _lock(file, shared=True, wait=False)


def _open(path: Path) -> IO[bytes]:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("a+b")


def _lock(file: IO[bytes], shared: bool, wait: bool) -> bool:
    how = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    try:
        fcntl.flock(file.fileno(), how if wait else how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        file.close()
        if error.errno not in NONE:
            raise
        raise NoLocksError(
            f"{file.name}: expected a file system with locks, got {error.strerror!r}; "
            "NEURAL_CLASSIFIERS_HOME names a root on one that has them"
        ) from error
    return True
