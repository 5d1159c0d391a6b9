"""Bytes out of files as they come: plain, or packed by gzip, bzip2, xz, zstd, lz4, zip or tar.

How a file is packed, its content tells. What comes out is counted apart from whoever reads it, and
bounded: a few kilobytes can be packed that unpack to terabytes.
"""

import bz2
import gzip
import io
import lzma
import re
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any, BinaryIO

import pyarrow as pa

from neural_classifiers.errors import RefusedError, shown

BUFFER_BYTES = 2**20
MAX_LAYERS = 3
FREE_BYTES = 64 * 2**20  # that any file may unpack to
MAX_RATIO = 250  # bytes unpacked for each packed one, of more; text has 3 to 30

_DAMAGE = (
    *(OSError, EOFError, zlib.error, lzma.LZMAError),
    *(zipfile.BadZipFile, tarfile.TarError, NotImplementedError, pa.ArrowException),
)
_UNPACKED: dict[str, Callable[[Any], Any]] = {
    "gzip": lambda stream: gzip.GzipFile(fileobj=stream),  # passes over zeros behind the end
    "bzip2": bz2.BZ2File,
    "xz": lzma.LZMAFile,
    "zstd": lambda stream: pa.CompressedInputStream(pa.PythonFile(stream, mode="r"), "zstd"),
    "lz4": lambda stream: pa.CompressedInputStream(pa.PythonFile(stream, mode="r"), "lz4"),
}
_UNPACK, _SAVE, _UTF8 = "unpack it first", "save it as CSV or JSON Lines", "save it as UTF-8"
_MAGIC = {
    rb"\x1f\x8b": ("gzip", ""),
    rb"BZh[1-9](?:1AY&SY|\x17rE8P\x90)": ("bzip2", ""),
    rb"\xfd7zXZ\0|\x5d\0\0[\0-\xff]{2}": ("xz", ""),
    rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18": ("zstd", ""),
    rb"\x04\x22\x4d\x18": ("lz4", ""),
    rb"PK(?:\x03\x04|\x05\x06)": ("zip", ""),
    rb"PAR1": ("parquet", ""),
    rb"7z\xbc\xaf\x27\x1c": ("7-Zip", _UNPACK),
    rb"Rar!\x1a\x07": ("RAR", _UNPACK),
    rb"\x1f\x9d": ("compress (.Z)", _UNPACK),
    rb"LZIP": ("lzip", _UNPACK),
    rb"\xff\x06\0\0sNaPpY": ("snappy", _UNPACK),
    rb"\xd0\xcf\x11\xe0": ("an Office document", _SAVE),
    rb"%PDF-": ("PDF", _SAVE),
    rb"SQLite format 3\0": ("SQLite", _SAVE),
    rb"Obj\x01": ("Avro", _SAVE),
    rb"ORC": ("ORC", _SAVE),
    rb"ARROW1|FEA1": ("Arrow or Feather", "save it as Parquet"),
    rb"\x89HDF": ("HDF5", _SAVE),
    rb"\x89PNG|\xff\xd8\xff|GIF8": ("an image", "give a file of comments"),
    rb"\xff\xfe|\xfe\xff": ("UTF-16", f"{_UTF8}: iconv -f UTF-16 -t UTF-8"),
}
# Beside data in folders and archives: hidden, of file managers and of transfers, about the data
_NO_DATA = re.compile(
    r"[._~].*|.*~|desktop\.ini|thumbs\.db|(?:readme|licen[cs]e|notice|changelog)(?:\.\w+)?"
    r"|.*\.(?:md|rst|pdf|tmp|part|partial|crdownload|lock|md5|sha1|sha256|crc)|(?:md5|sha\d+)sums",
    re.IGNORECASE,
)


class CommentFileError(RefusedError, ValueError):
    """A file that cannot be read as comments: what was expected, what came, and where."""

    code = "NC30"


class NoRowsError(CommentFileError):
    """Files without a row: empty, blank lines, or a header alone."""


@dataclass(frozen=True)
class Part:
    """One file of a data set.

    Attributes
    ----------
    name : str
        Names the file in messages and in the column ``file``.
    open : callable
        Gives the file, opened in binary mode, from its beginning. Called several times.
    label : str, optional
        Category of all its rows, where the file tells it and not a column.
    """

    name: str
    open: Callable[[], BinaryIO]
    label: str | None = None


def is_no_data(name: str) -> bool:
    """Whether a path of a folder or archive is hidden, or by its name beside the data.

    Examples
    --------
    >>> [is_no_data(name) for name in ("a/day.CSV", ".git/day.csv", "~$book.xlsx", "README.md")]
    [False, True, True, True]
    """
    return any(_NO_DATA.fullmatch(part) for part in name.replace("\\", "/").split("/"))


class Counted(io.RawIOBase):
    """Bytes on their way to a reader, counted apart from it.

    Attributes
    ----------
    size, lines : int
        Bytes, and lines that were ended; `all_lines` has one that was not, too.
    """

    def __init__(self, file: Any, name: str, most: float, swapped: bool = False) -> None:
        super().__init__()
        self._file, self._name, self._most, self._swapped = file, name, most, swapped
        self.size = self.lines = 0
        self._last = b""

    @property
    def all_lines(self) -> int:
        """Lines, the last one too where nothing ends it."""
        return self.lines + (self._last not in (b"", b"\n"))

    def readable(self) -> bool:
        """True: as the protocol of streams asks."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer as far as there is something."""
        n = 0
        while n < len(buffer) and (piece := self._file.read(len(buffer) - n)):
            if self._swapped:
                piece = piece.translate(SWAP)
            buffer[n : n + len(piece)] = piece
            n += len(piece)
            self.lines += piece.count(b"\n")
            self._last = piece[-1:]
        self.size += n
        if self.size > self._most:
            raise CommentFileError(
                f"{self._name}: expected at most {MAX_RATIO} bytes unpacked for each packed one, "
                f"got {self.size:,} and more: if they are comments, unpack the file first"
            )
        return n


# Carriage return and line feed change places, so that lines which CR ends are read as others
SWAP = bytes.maketrans(b"\r\n", b"\n\r")


class Stream(io.BufferedReader):
    """A file's content; `raw` counts it."""

    raw: Counted


@contextmanager
def unpacked(part: Part, swapped: bool = False) -> Iterator[tuple[Stream, str]]:
    """The file's content, unpacked as often as it is packed; and "parquet" where it is that.

    Raises
    ------
    CommentFileError
        If it is cut short or damaged, packed in a way or a format that is not read, or is an
        archive of several files.
    """
    with refusing_damage(part.name, "file"), part.open() as file:
        packed = file.seek(0, io.SEEK_END)
        file.seek(0)
        most = max(FREE_BYTES, MAX_RATIO * packed)
        inner: Any = file
        for layer in range(MAX_LAYERS + 1):
            is_packed = layer > 0
            stream = _stream(inner, part.name, most if is_packed else float("inf"))
            packing = _packing(part.name, stream)
            if packing in ("", "parquet"):
                break
            if layer == MAX_LAYERS:
                raise CommentFileError(f"{part.name}: expected at most {layer} layers of packing")
            if packing == "zip":
                if is_packed:
                    raise CommentFileError(
                        f"{part.name}: expected a zip as the outermost layer: {_UNPACK}"
                    )
                inner = _of_zip(part.name, file)  # which looks for its end
            elif packing == "tar":
                inner = _OfTar(part.name, stream)
            else:
                inner = _UNPACKED[packing](stream)
        if packing == "parquet" and is_packed:
            raise CommentFileError(
                f"{part.name}: expected Parquet as it is, got it packed: {_UNPACK}"
            )
        if swapped:
            stream = _stream(stream, part.name, float("inf"), swapped)
        yield stream, packing


def _stream(file: Any, name: str, most: float, swapped: bool = False) -> Stream:
    return Stream(Counted(file, name, most, swapped), BUFFER_BYTES)


def _packing(name: str, stream: io.BufferedReader) -> str:
    """How the stream is packed, "parquet", or "" where it is text."""
    head = stream.peek(tarfile.BLOCKSIZE)
    for magic, (kind, do) in _MAGIC.items():
        if re.match(magic, head):
            if do:
                raise CommentFileError(f"{name}: expected comments, got {kind}: {do}")
            return kind
    try:
        tarfile.TarInfo.frombuf(head[: tarfile.BLOCKSIZE], "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return ""
    return "tar"


def _of_zip(name: str, stream: BinaryIO) -> IO[bytes]:
    archive = zipfile.ZipFile(stream)
    files = [member for member in archive.infolist() if not member.is_dir()]
    if any(member.filename == "[Content_Types].xml" for member in files):
        raise CommentFileError(f"{name}: expected comments, got an Office document: {_SAVE}")
    members = [m for m in files if "__MACOSX" not in m.filename and not is_no_data(m.filename)]
    if len(members) != 1:
        raise _several(name, "zip", [member.filename for member in members])
    if members[0].flag_bits & 1:
        raise CommentFileError(f"{name}: expected a zip without a password, got one with")
    return archive.open(members[0])


class _OfTar(io.RawIOBase):
    """The one file of a tar archive; another one behind it is refused when it is met."""

    def __init__(self, name: str, stream: BinaryIO) -> None:
        super().__init__()
        self._name = name
        archive = tarfile.open(fileobj=stream, mode="r|")  # noqa: SIM115 (read as it comes)
        self._members = self._files(archive)
        self._member, self._content = next(self._members, ("", io.BytesIO()))
        if not self._member:
            raise _several(name, "tar", [])

    def _files(self, archive: tarfile.TarFile) -> Iterator[tuple[str, IO[bytes]]]:
        for member in archive:
            content = archive.extractfile(member) if member.isreg() else None
            if content and not is_no_data(member.name.removeprefix("./")):
                yield member.name, content

    def read(self, size: int = -1) -> bytes:
        """Bytes of the file."""
        if piece := self._content.read(size):
            return piece
        for other, _ in self._members:
            raise _several(self._name, "tar", [self._member, other, "..."])
        return b""


def _several(name: str, archive: str, members: list[str]) -> CommentFileError:
    return CommentFileError(
        f"{name}: expected one file in the {archive}, got {len(members)}: {shown(members)}; "
        "unpack it and name the folder"
    )


@contextmanager
def refusing_damage(name: str, what: str) -> Iterator[None]:
    """Raise `CommentFileError` where the content is cut short or damaged."""
    try:
        yield
    except CommentFileError:
        raise
    except _DAMAGE as error:
        hint = "; unpack it first: zstd -d --long=31" if "too much memory" in str(error) else ""
        raise CommentFileError(
            f"{name}: expected a whole {what}, got: {shown(error)}{hint}"
        ) from error
