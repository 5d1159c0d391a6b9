"""Images and labels of digits from IDX, ``.npz``, CSV and PNG files.

Nothing is ever unpickled, and sizes are looked at before pixels are decoded.
"""

import contextlib
import gzip
import io
import math
import zipfile
import zlib
from typing import BinaryIO

import numpy as np

N_CLASSES = 10
IMAGE_SHAPE = (28, 28)

NPZ_NAMES = ("x_train", "y_train", "x_test", "y_test")  # those of Keras' mnist.npz
_IDX_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_MODES = ("1", "L", "RGB")


def read_idx(data: bytes, name: str) -> np.ndarray:
    """Return the array that an IDX file holds, whole or not at all; MNIST comes in four of them.

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

    Notes
    -----
    An IDX file is two zero bytes, a byte for the type of its numbers, a byte for how many
    dimensions it has, the size of each dimension (four bytes, highest first) and then the numbers,
    the last dimension running fastest. Source: http://yann.lecun.com/exdb/mnist/, "FILE FORMATS".
    """
    if data[:2] == b"\x1f\x8b":
        data = _gunzip(data, name)
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] not in _IDX_DTYPES:
        known = ", ".join(f"0x{code:02x}" for code in _IDX_DTYPES)
        raise ValueError(
            f"{name}: expected an IDX file, starting with two zero bytes and a type out of "
            f"{known}, got {data[:4].hex(' ') or 'no bytes'}"
        )
    dtype = np.dtype(_IDX_DTYPES[data[2]])
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


def read_npz(data: bytes, name: str) -> tuple[np.ndarray, ...]:
    """Return images and labels of training and, where the file has them, of test.

    Parameters
    ----------
    data : bytes
        Content of an ``.npz`` file with ``x_train``, ``y_train`` and perhaps ``x_test`` and
        ``y_test``, as Keras distributes MNIST.
    name : str
        What the file is called in error messages.

    Returns
    -------
    tuple of ndarray
        Two arrays or four, of whatever shape and type the file holds.

    Raises
    ------
    ValueError
        If the file is damaged, holds Python objects, or lacks one of the arrays.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = [member.removesuffix(".npy") for member in archive.namelist()]
            arrays = {each: _read_array(archive, each) for each in NPZ_NAMES if each in names}
    except (ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(
            f"{name}: expected a whole .npz file of numbers, got {len(data)} bytes that cannot be "
            f"read as one ({error})"
        ) from error
    wanted = NPZ_NAMES if {"x_test", "y_test"} & set(arrays) else NPZ_NAMES[:2]
    if missing := [each for each in wanted if each not in arrays]:
        raise ValueError(
            f"{name}: expected the arrays {', '.join(wanted)}, got no {', '.join(missing)} "
            f"but {', '.join(names) or 'nothing'}"
        )
    return tuple(arrays[each] for each in wanted)


def read_csv(data: bytes, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return images and labels of a gzip file of lines with 784 pixels and the label."""
    lines = io.BytesIO(_gunzip(data, name))
    table = np.loadtxt(lines, delimiter=",", dtype=np.uint8)
    return table[:, :-1].reshape(-1, *IMAGE_SHAPE), table[:, -1]


def read_png(data: bytes, name: str) -> np.ndarray:
    """Return the grey values of a PNG of 28 x 28 pixels, uint8; colours become their luminance.

    Parameters
    ----------
    data : bytes
        Content of the file.
    name : str
        What the file is called in error messages.

    Raises
    ------
    ValueError
        If the file is not a whole PNG, or of another size, depth or with transparency.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            size, mode = image.size, image.mode
            if size == IMAGE_SHAPE and mode in _PNG_MODES:
                return np.asarray(image.convert("L"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(
            f"{name}: expected a whole PNG file, got {len(data)} bytes that cannot be read as "
            f"one ({error})"
        ) from error
    raise ValueError(
        f"{name}: expected a PNG of 28 x 28 pixels in 8-bit grey or RGB, got {size[0]} x {size[1]} "
        f"in mode {mode}"
    )


def read_images(data: bytes, name: str) -> np.ndarray:
    """Return the images of a PNG or IDX file, uint8 of shape (n_images, 28, 28).

    Raises
    ------
    ValueError
        If it is neither, or its images are of another size or type.
    """
    if data.startswith(_PNG):
        return read_png(data, name)[None]
    images = read_idx(data, name)
    if images.shape[1:] != IMAGE_SHAPE or images.dtype != np.uint8:
        raise ValueError(
            f"{name}: expected images of 28 x 28 bytes, got {images.dtype} of {images.shape}"
        )
    return images


def are_images(file: BinaryIO) -> bool:
    """Whether an open file begins as PNG or IDX (packed by gzip or not) does."""
    head = file.read(8)
    if head.startswith(b"\x1f\x8b"):
        file.seek(0)
        with contextlib.suppress(OSError, EOFError), gzip.open(file) as unpacked:
            head = unpacked.read(8)
    return head == _PNG or (head[:3] == b"\0\0\x08" and len(head) > 3)


def _read_array(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    with archive.open(f"{name}.npy") as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def _gunzip(data: bytes, name: str) -> bytes:
    """Content of a gzip file."""
    try:
        return gzip.decompress(data)
    except (EOFError, OSError, zlib.error) as error:
        raise ValueError(
            f"{name}: expected a whole gzip file, got {len(data)} bytes that are damaged or "
            f"end early ({error})"
        ) from error
