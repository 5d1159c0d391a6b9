"""Arrays that several processes of one machine read from the same memory.

What is shared is mapped into each process and not sent to it. Values that are neither numeric
arrays nor compressed sparse matrices (lists of texts, data frames), and those for which shared
memory has no room, travel with the handle.
"""

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.shared_memory import SharedMemory
from typing import Any

import numpy as np
import scipy.sparse

__all__ = ["Handle", "SharedValues"]

_ALIGNMENT = 64


@dataclass(frozen=True)
class _Place:
    """Where an array lies in the block."""

    offset: int
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class _Sparse:
    """A compressed sparse matrix of three arrays."""

    kind: type
    shape: tuple[int, ...]
    arrays: tuple[_Place, ...]


@dataclass(frozen=True)
class Handle:
    """What a process needs to read shared values; costs little to send."""

    block: str | None
    values: tuple[Any, ...]

    def read(self) -> tuple[Any, ...]:
        """The values, copied out of the shared memory, so that they may be overwritten."""
        if self.block is None:
            return self.values
        memory = SharedMemory(self.block)
        try:
            return tuple(_copied(memory, value) for value in self.values)
        finally:
            memory.close()


class SharedValues:
    """Values in shared memory until `release`, by whoever holds the `handle`."""

    def __init__(self, values: Sequence[Any]) -> None:
        arrays: list[tuple[_Place, np.ndarray]] = []
        size = 0

        def place(array: np.ndarray) -> _Place:
            nonlocal size
            made = _Place(size, array.dtype.str, array.shape)
            arrays.append((made, array))
            size += -(-array.nbytes // _ALIGNMENT) * _ALIGNMENT
            return made

        placed = tuple(_placed(value, place) for value in values)
        self._memory: SharedMemory | None = None
        if arrays and size < _room():
            self._memory = SharedMemory(create=True, size=max(1, size))
            for target, array in arrays:
                _view(self._memory, target)[...] = array
            self.handle = Handle(self._memory.name, placed)
        else:
            self.handle = Handle(None, tuple(values))

    def release(self) -> None:
        """Give the memory back."""
        if self._memory is not None:
            self._memory.close()
            self._memory.unlink()
            self._memory = None


def _placed(value: Any, place: Any) -> Any:
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        return place(value)
    if scipy.sparse.issparse(value) and value.format in ("csr", "csc"):
        arrays = tuple(place(array) for array in (value.data, value.indices, value.indptr))
        return _Sparse(type(value), value.shape, arrays)
    return value


def _copied(memory: SharedMemory, value: Any) -> Any:
    if isinstance(value, _Place):
        return _view(memory, value).copy()
    if isinstance(value, _Sparse):
        arrays = tuple(_view(memory, array).copy() for array in value.arrays)
        return value.kind(arrays, shape=value.shape, copy=False)
    return value


def _view(memory: SharedMemory, place: _Place) -> np.ndarray:
    return np.ndarray(place.shape, place.dtype, memory.buf, place.offset)


def _room() -> float:
    """Bytes that may be shared: half of what is free, since writing beyond kills the process.

    Containers often have 64 MB.
    """
    with contextlib.suppress(OSError, AttributeError):
        status = os.statvfs("/dev/shm")
        return status.f_bavail * status.f_frsize / 2
    return np.inf
