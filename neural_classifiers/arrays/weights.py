"""Weights as named arrays: their digest, and bytes that hold them.

The bytes are an uncompressed ``.npz``, so ``numpy.load(path)`` opens them, with the names sorted
and the dates fixed, so that equal weights give equal bytes. The digest is taken over the arrays
and not over the file, so it outlives the format; the file carries it as the comment of its zip.
"""

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping

import numpy as np

Weights = Mapping[str, np.ndarray]

_EPOCH_OF_ZIP = (1980, 1, 1, 0, 0, 0)  # the earliest date that a zip file can carry


def weights_digest(weights: Weights) -> str:
    """Sha256 in hexadecimal over names, types, shapes and bits, whatever the order of the names.

    Parameters
    ----------
    weights : mapping of str to ndarray
        Named arrays of numbers. May be empty.

    Raises
    ------
    TypeError
        If an array holds Python objects, which have no bits of their own.
    """
    digest = hashlib.sha256()
    for name, array in _sorted_arrays(weights):
        # JSON separates what concatenation would run together: ("a", 11) and ("a1", 1)
        digest.update(json.dumps([name, array.dtype.str, array.shape]).encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def weights_to_bytes(weights: Weights) -> bytes:
    """Return the bytes of an ``.npz`` file; the same for the same weights, to the bit.

    Parameters
    ----------
    weights : mapping of str to ndarray
        Named arrays of numbers. May be empty.

    Raises
    ------
    TypeError
        If an array holds Python objects: only pickle could write them.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, array in _sorted_arrays(weights):
            member = zipfile.ZipInfo(f"{name}.npy", _EPOCH_OF_ZIP)
            member.create_system = 3  # else Windows would write other bytes
            with archive.open(member, "w", force_zip64=True) as file:
                np.lib.format.write_array(file, array, allow_pickle=False)
        archive.comment = weights_digest(weights).encode()
    return buffer.getvalue()


def weights_from_bytes(data: bytes, name: str = "weights") -> dict[str, np.ndarray]:
    """Return the named arrays that `weights_to_bytes` wrote, in the order of their names.

    Parameters
    ----------
    data : bytes
        What `weights_to_bytes` returned. Python objects in it are never unpickled.
    name : str
        What the bytes are called in error messages.

    Raises
    ------
    ValueError
        If a single bit of an array, of its name or of its shape is not as it was written.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            expected = archive.comment.decode()
            weights = {
                member.removesuffix(".npy"): read_array(archive, member)
                for member in archive.namelist()
            }
    # What damage raises depends on the byte it hits: all of these were seen.
    except (ValueError, zipfile.BadZipFile, EOFError, RuntimeError) as error:
        raise ValueError(
            f"{name}: expected weights as an uncompressed .npz file, got {len(data)} bytes that "
            f"cannot be read as one ({error})"
        ) from error
    # The checksums of a zip do not see an entry that vanished from its list.
    if (digest := weights_digest(weights)) != expected:
        raise ValueError(f"{name}: expected weights with digest {expected!r}, got {digest!r}")
    return weights


def read_array(archive: zipfile.ZipFile, member: str) -> np.ndarray:
    """One array of an ``.npz`` file; Python objects are never unpickled."""
    with archive.open(member) as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def _sorted_arrays(weights: Weights) -> list[tuple[str, np.ndarray]]:
    """Names and arrays, in the order of the names, each array in C order."""
    arrays = [(name, np.asarray(weights[name], order="C")) for name in sorted(weights)]
    for name, array in arrays:
        if array.dtype.hasobject:
            raise TypeError(f"{name}: expected an array of numbers, got Python objects")
    return arrays
