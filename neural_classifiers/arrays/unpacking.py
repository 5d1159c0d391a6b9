"""Bounds on what a packed file may unpack to, so that a small file cannot fill the memory."""

import gzip
import io
import zipfile
import zlib

from neural_classifiers.errors import SourceError

MAX_UNPACKED = 2**30  # bytes: some 1.4 million images of 28 x 28
MAX_RATIO = 100  # to the packed bytes; MNIST's images: 5, its table as CSV: 7
ALWAYS_ALLOWED = 2**26  # bytes: of small files the ratio says nothing


def unpacked_limit(n_packed: int) -> int:
    """Bytes that a file of so many packed ones may unpack to."""
    return min(MAX_UNPACKED, max(ALWAYS_ALLOWED, MAX_RATIO * n_packed))


def gunzip(data: bytes, name: str) -> bytes:
    """Content of a gzip file, called `name` in messages.

    Raises
    ------
    ValueError
        If it is damaged, ends early, or unpacks to more than `unpacked_limit`.
    """
    limit = unpacked_limit(len(data))
    try:
        with gzip.open(io.BytesIO(data)) as file:
            unpacked = file.read(limit + 1)
    except (EOFError, OSError, zlib.error) as error:
        raise SourceError(
            f"{name}: expected a whole gzip file, got {len(data)} bytes that are damaged or "
            f"end early ({error})"
        ) from error
    if len(unpacked) > limit:
        raise SourceError(_too_large(name, len(data), "more"))
    return unpacked


def check_archive(archive: zipfile.ZipFile, n_packed: int, name: str) -> None:
    """Refuse a zip file (`n_packed` bytes, called `name`) that names too large contents.

    Raises
    ------
    ValueError
    """
    unpacked = sum(member.file_size for member in archive.infolist())
    if unpacked > unpacked_limit(n_packed):
        raise SourceError(_too_large(name, n_packed, f"{unpacked:,}"))


def _too_large(name: str, n_packed: int, got: str) -> str:
    return (
        f"{name}: expected {n_packed:,} packed bytes to unpack to at most "
        f"{unpacked_limit(n_packed):,}, got {got}"
    )
