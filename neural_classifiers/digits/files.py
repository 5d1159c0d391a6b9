"""Images and labels of digits from NumPy's ``.npz`` and from PNG files.

Nothing is ever unpickled, and sizes are looked at before pixels are decoded.
"""

import io
import zipfile
import zlib

import numpy as np

from neural_classifiers.digits.idx import IMAGE_SHAPE

NPZ_NAMES = ("x_train", "y_train", "x_test", "y_test")  # those of Keras' mnist.npz
_PNG_MODES = ("1", "L", "RGB")


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
            found = [member.removesuffix(".npy") for member in archive.namelist()]
            arrays = {each: _read_array(archive, each) for each in NPZ_NAMES if each in found}
    except (ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(
            f"{name}: expected a whole .npz file of numbers, got {len(data)} bytes that cannot be "
            f"read as one ({error})"
        ) from error
    wanted = NPZ_NAMES if {"x_test", "y_test"} & set(arrays) else NPZ_NAMES[:2]
    if missing := [each for each in wanted if each not in arrays]:
        raise ValueError(
            f"{name}: expected the arrays {', '.join(wanted)}, got no {', '.join(missing)} "
            f"but {', '.join(found) or 'nothing'}"
        )
    return tuple(arrays[each] for each in wanted)


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


def _read_array(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    with archive.open(f"{name}.npy") as file:
        return np.lib.format.read_array(file, allow_pickle=False)
