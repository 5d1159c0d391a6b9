"""Images and labels of digits from IDX, ``.npz``, CSV and image files.

Nothing is ever unpickled, and sizes are looked at before anything is unpacked or decoded.
"""

import contextlib
import gzip
import io
import math
import re
import zipfile
import zlib
from typing import BinaryIO

import numpy as np

from neural_classifiers.arrays.unpacking import check_archive, gunzip
from neural_classifiers.arrays.weights import read_array
from neural_classifiers.errors import SourceError

N_CLASSES = 10
IMAGE_SHAPE = (28, 28)
N_PIXELS = math.prod(IMAGE_SHAPE)

NPZ_NAMES = ("x_train", "y_train", "x_test", "y_test")  # those of Keras' mnist.npz
_IDX_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
# MemoryError: a header may promise more than there is
_NPZ_DAMAGE = ValueError, EOFError, RuntimeError, MemoryError, zipfile.BadZipFile, zlib.error
_GZIP = b"\x1f\x8b"
_LABEL_COLUMNS = ("label", "class", "digit", "target", "y")
_IMAGE_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM")
_IMAGE_MODES = ("1", "L", "LA", "P", "RGB", "RGBA")  # of at most 8 bits a value
_IMAGE = re.compile(
    rb"\x89PNG\r\n\x1a\n|\xff\xd8\xff|GIF8[79]a|BM.{4}\0{4}|II\*\0|MM\0\*|RIFF.{4}WEBP|P[1-6]\s+\d+\s",
    re.DOTALL,
)


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
    if data.startswith(_GZIP):
        data = gunzip(data, name)
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] not in _IDX_DTYPES:
        known = ", ".join(f"0x{code:02x}" for code in _IDX_DTYPES)
        raise SourceError(
            f"{name}: expected an IDX file, starting with two zero bytes and a type out of "
            f"{known}, got {data[:4].hex(' ') or 'no bytes'}"
        )
    dtype = np.dtype(_IDX_DTYPES[data[2]])
    n_dimensions = data[3]
    header_size = 4 + 4 * n_dimensions
    if len(data) < header_size:
        raise SourceError(
            f"{name}: expected a header of {header_size} bytes for {n_dimensions} dimensions, "
            f"got a file of {len(data)} bytes"
        )
    shape = tuple(np.frombuffer(data, ">u4", n_dimensions, offset=4).tolist())
    expected = header_size + math.prod(shape) * dtype.itemsize
    if len(data) != expected:
        raise SourceError(
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
            check_archive(archive, len(data), name)
            names = [member.removesuffix(".npy") for member in archive.namelist()]
            arrays = {n: read_array(archive, f"{n}.npy") for n in NPZ_NAMES if n in names}
    # MemoryError: a header may promise more than there is
    except (
        ValueError,
        EOFError,
        RuntimeError,
        MemoryError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise SourceError(
            f"{name}: expected a whole .npz file of numbers, got {len(data)} bytes that cannot be "
            f"read as one ({error})"
        ) from error
    wanted = NPZ_NAMES if {"x_test", "y_test"} & set(arrays) else NPZ_NAMES[:2]
    if missing := [each for each in wanted if each not in arrays]:
        raise SourceError(
            f"{name}: expected the arrays {', '.join(wanted)}, got no {', '.join(missing)} "
            f"but {', '.join(names) or 'nothing'}"
        )
    return tuple(arrays[each] for each in wanted)


def read_csv(data: bytes, name: str) -> tuple[np.ndarray, np.ndarray | None]:
    """Return images and labels of a table with the 784 pixels of an image on each line.

    Parameters
    ----------
    data : bytes
        Content of the file, plain or gzip, with or without a header. The label stands before the
        pixels (Kaggle) or after them (OpenML): the header tells, or the values do.
    name : str
        What the file is called in error messages.

    Returns
    -------
    images : ndarray
        uint8 of shape (n_images, 28, 28).
    labels : ndarray or None
        uint8 of shape (n_images,); None where the table has pixels alone.

    Raises
    ------
    ValueError
        If a line has another number of columns, or a value is no whole number from 0 to 255.
    """
    import pyarrow as pa
    from pyarrow import csv

    if data.startswith(_GZIP):
        data = gunzip(data, name)
    header = io.BytesIO(data).readline(2**15).decode("utf-8-sig", "replace").strip()
    columns = [column.strip(' "').lower() for column in header.split(",")]
    has_header = any(re.search("[a-z]", column) for column in columns)
    if len(columns) not in (N_PIXELS, N_PIXELS + 1):
        raise SourceError(
            f"{name}: expected {N_PIXELS} pixels on each line, and perhaps a label, separated by "
            f"commas, got {len(columns)} columns: {header[:80]!r}"
        )
    numbered = [f"column {i}" for i in range(1, len(columns) + 1)]
    try:
        table = csv.read_csv(
            io.BytesIO(data),
            csv.ReadOptions(column_names=numbered, skip_rows=int(has_header)),
            convert_options=csv.ConvertOptions(column_types=dict.fromkeys(numbered, pa.uint8())),
        )
    except pa.ArrowException as error:
        raise SourceError(
            f"{name}: expected whole numbers from 0 to 255 on each line, got: {str(error)[:200]}"
        ) from None
    if empty := [each for each in numbered if table[each].null_count]:
        raise SourceError(f"{name}: expected a number in every cell, got none in {empty[:5]}")
    if not table.num_rows:
        raise SourceError(f"{name}: expected images, got a header alone")
    values = np.stack([table[each].to_numpy() for each in numbered], axis=1)
    if len(columns) == N_PIXELS:
        return values.reshape(-1, *IMAGE_SHAPE), None
    column = _label_column(columns if has_header else [], values, name)
    return np.delete(values, column, axis=1).reshape(-1, *IMAGE_SHAPE), values[:, column]


def _label_column(header: list[str], values: np.ndarray, name: str) -> int:
    """The position of the labels, 0 or -1: by the header's word, else by what can be labels."""
    named = [end for end in (0, -1) if header and header[end] in _LABEL_COLUMNS]
    fitting = [end for end in (0, -1) if values[:, end].max() < N_CLASSES]
    ends = named or [end for end in fitting if np.ptp(values[:, end])]  # a corner may be all 0
    if len(ends) != 1:
        raise SourceError(
            f"{name}: expected labels from 0 to 9 in the first or in the last column, got "
            f"{'them in both' if ends else 'none'}; a header with the word label tells the column"
        )
    return ends[0]


def read_image(data: bytes, name: str) -> np.ndarray:
    """Return the grey values of an image of 28 x 28 pixels, uint8; colours become luminance.

    Parameters
    ----------
    data : bytes
        Content of a PNG, JPEG, BMP, GIF, TIFF, WebP or PGM file; its first bytes tell which.
    name : str
        What the file is called in error messages.

    Raises
    ------
    ValueError
        If the file is none of these or not whole, or of another size, depth or with transparency.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data), formats=_IMAGE_FORMATS) as image:
            width, height, mode = *image.size, image.mode
            n_frames = getattr(image, "n_frames", 1)
            if (height, width) == IMAGE_SHAPE and mode in _IMAGE_MODES and n_frames == 1:
                alpha = image.convert("RGBA").getchannel("A")
                if alpha.getextrema()[0] == 255:
                    return np.asarray(image.convert("L"))
                mode += ", with transparency"
    except Exception as error:  # a decoder raises whatever a damaged file makes of it
        is_known = not isinstance(error, UnidentifiedImageError)
        cause = error if is_known else f"they begin with {data[:8].hex(' ') or 'nothing'}"
        raise SourceError(
            f"{name}: expected a whole PNG, JPEG, BMP, GIF, TIFF, WebP or PGM file, got "
            f"{len(data)} bytes that cannot be read as one ({cause})"
        ) from error
    raise SourceError(
        f"{name}: expected one image of 28 x 28 pixels in 8-bit grey or RGB, got {n_frames} of "
        f"{width} x {height} in mode {mode}"
    )


def read_images(data: bytes, name: str) -> np.ndarray:
    """Return the images of an image file or an IDX file, uint8 of shape (n_images, 28, 28).

    Raises
    ------
    ValueError
        If it is neither, or its images are of another size or type.
    """
    if _IMAGE.match(data[:32]):
        return read_image(data, name)[None]
    images = read_idx(data, name)
    if images.shape[1:] != IMAGE_SHAPE or images.dtype != np.uint8:
        raise SourceError(
            f"{name}: expected images of 28 x 28 bytes, got {images.dtype} of {images.shape}"
        )
    return images


def are_images(file: BinaryIO) -> bool:
    """Whether an open file begins as an image file or as IDX (packed by gzip or not) does."""
    head = file.read(32)
    if head.startswith(_GZIP):
        file.seek(0)
        with contextlib.suppress(OSError, EOFError, zlib.error), gzip.open(file) as unpacked:
            head = unpacked.read(8)
    return bool(_IMAGE.match(head)) or (head[:3] == b"\0\0\x08" and len(head) > 3)
