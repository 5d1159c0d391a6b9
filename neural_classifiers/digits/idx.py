"""Images and labels of digits from IDX files, the format that MNIST comes in.

An IDX file is two zero bytes, a byte for the type of its numbers, a byte for how many dimensions
it has, the size of each dimension (four bytes, highest first) and then the numbers, the last
dimension running fastest. Source: http://yann.lecun.com/exdb/mnist/, "FILE FORMATS".
"""

import gzip
import math
import zlib

import numpy as np

N_CLASSES = 10
IMAGE_SHAPE = (28, 28)

_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read_idx(data: bytes, name: str) -> np.ndarray:
    """Return the array that an IDX file holds, whole or not at all.

    Parameters
    ----------
    data : bytes
        Content of the file, plain or gzip; which of both is seen from its first bytes.
    name : str
        What the file is called in error messages.

    Returns
    -------
    ndarray
        Read-only, of the shape and type that the file names.

    Raises
    ------
    ValueError
        If the file is not IDX, or holds fewer or more bytes than its header promises.
    """
    if data[:2] == b"\x1f\x8b":
        data = _gunzip(data, name)
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] not in _DTYPES:
        known = ", ".join(f"0x{code:02x}" for code in _DTYPES)
        raise ValueError(
            f"{name}: expected an IDX file, starting with two zero bytes and a type out of "
            f"{known}, got {data[:4].hex(' ') or 'no bytes'}"
        )
    dtype = np.dtype(_DTYPES[data[2]])
    n_dimensions = data[3]
    header_size = 4 + 4 * n_dimensions
    if len(data) < header_size:
        raise ValueError(
            f"{name}: expected a header of {header_size} bytes for {n_dimensions} dimensions, "
            f"got a file of {len(data)} bytes"
        )
    shape = tuple(np.frombuffer(data, ">u4", n_dimensions, offset=4).tolist())
    expected = header_size + math.prod(shape) * dtype.itemsize
    if len(data) != expected:
        raise ValueError(
            f"{name}: expected {expected} bytes (a header of {header_size} and {shape} numbers "
            f"of {dtype.itemsize}), got {len(data)}"
        )
    return np.frombuffer(data, dtype, offset=header_size).reshape(shape)


def _gunzip(data: bytes, name: str) -> bytes:
    """Content of a gzip file."""
    try:
        return gzip.decompress(data)
    except (EOFError, OSError, zlib.error) as error:
        raise ValueError(
            f"{name}: expected a whole gzip file, got {len(data)} bytes that are damaged or "
            f"end early ({error})"
        ) from error
