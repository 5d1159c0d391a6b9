"""Records: what a step has finished is written once, whole, and found again.

A record is a folder ``<cache>/<step>/<key>/`` with the step's files and ``record.json``. The key
is the digest of everything that decides the result, so that equal work has one home. It is
written beside, flushed to disk and renamed into place: a kill leaves it whole or absent. What
differs between two equal runs (seconds, memory) lies apart, in ``timing.json`` and in whatever
else a step calls ``timing.*``: no digest counts it.

This module knows files only; ``engine.step`` lays it around Prefect tasks.
"""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Self, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    SerializationInfo,
    ValidationInfo,
    field_serializer,
    field_validator,
)

FORMAT = 1
TIMING = "timing."
UNFINISHED = ".unfinished"  # below the cache: what a step keeps until its record stands
_RECORD = "record.json"
_DAMAGE = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.EIO}


class Reference(BaseModel):
    """What steps hand each other: small, frozen, readable; files by path and digest."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def in_words(self) -> str:
        """One line with the numbers a reader would ask for; the step logs it."""
        return type(self).__name__


class File(Reference):
    """A file by path and digest.

    Attributes
    ----------
    path : Path
        Absolute; in ``record.json`` relative to the record's folder, so that a cache can move.
    sha256 : str
        Of the bytes. Checked before the file is used.
    size : int
        Bytes.
    content : str or None
        Digest of what the bytes mean, where equal meanings differ in bytes (a zip keeps its
        date): keys are made of this one, when there is one.
    """

    path: Path
    sha256: str
    size: int
    content: str | None = None

    @classmethod
    def of(cls, path: Path, content: str | None = None) -> Self:
        """The reference to a file that exists."""
        return cls(path=path, sha256=digest_of(path), size=path.stat().st_size, content=content)

    @field_serializer("path")
    def _relative(self, path: Path, info: SerializationInfo) -> str:
        folder = (info.context or {}).get("folder")
        return (
            str(path.relative_to(folder)) if folder and path.is_relative_to(folder) else str(path)
        )

    @field_validator("path")
    @classmethod
    def _absolute(cls, path: Path, info: ValidationInfo) -> Path:
        folder = (info.context or {}).get("folder")
        return folder / path if folder else path

    def verified(self) -> Path:
        """The path, once the bytes are seen to be those of the digest.

        Raises
        ------
        DamagedFileError
            If the file is missing or its bytes are others.
        """
        got = digest_of(self.path) if self.path.is_file() else "no such file"
        if got != self.sha256:
            raise DamagedFileError(f"{self.path}: expected sha256 {self.sha256}, got {got}")
        return self.path


class DamagedFileError(ValueError):
    """A file is missing, or is not the one that was recorded."""


R = TypeVar("R", bound=Reference)


@dataclass(frozen=True)
class Key:
    """Everything that decides a step's result.

    Attributes
    ----------
    step : str
    parameters : mapping
        Plain values.
    inputs : mapping
        For each argument that refers to files: its digests and counts, no paths.
    code : mapping of str to str
        Digest of each part of our own code and data files that the step can reach.
    libraries : mapping of str to str
        Version of each library that decides the result.
    """

    step: str
    parameters: Mapping[str, Any]
    inputs: Mapping[str, Any] = field(default_factory=dict)
    code: Mapping[str, str] = field(default_factory=dict)
    libraries: Mapping[str, str] = field(default_factory=dict)

    def parts(self) -> dict[str, Any]:
        """The key as written to ``record.json``."""
        return {
            "format": FORMAT,
            "step": self.step,
            "parameters": identity(self.parameters),
            "inputs": identity(self.inputs),
            "code": dict(sorted(self.code.items())),
            "libraries": dict(sorted(self.libraries.items())),
        }

    @property
    def digest(self) -> str:
        """The key itself: 64 hex digits."""
        return hashlib.sha256(canonical(self.parts())).hexdigest()


@dataclass(frozen=True)
class Outcome(Generic[R]):
    """What became of a step: its result, and how it came by it.

    Attributes
    ----------
    result : Reference
    hit : bool
        Found, not computed.
    warning : str or None
        A damaged record was set aside, or a refreshed step gave another output.
    """

    result: R
    hit: bool
    warning: str | None = None


def identity(value: Any) -> Any:
    """A value as JSON with every file replaced by the digest that counts."""
    if isinstance(value, File):
        return value.content or value.sha256
    if isinstance(value, BaseModel):
        return {name: identity(getattr(value, name)) for name in type(value).model_fields}
    if isinstance(value, Mapping):
        return {str(name): identity(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [identity(item) for item in value]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    raise TypeError(f"a step's argument must be plain or a reference, not {type(value).__name__}")


def canonical(value: Any) -> bytes:
    """JSON with one spelling: sorted names, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def digest_of(path: Path) -> str:
    """sha256 of a file's bytes, as hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder_of(cache: Path, key: Key) -> Path:
    """Where the record of a key lies, or will lie."""
    return cache / key.step / key.digest


def recall(
    cache: Path,
    key: Key,
    result_type: type[R],
    work: Callable[[Path], R],
    timing: Callable[[], Mapping[str, Any]] = dict,
    refresh: bool = False,
) -> Outcome[R]:
    """The recorded result of a key; computed and recorded first where it is missing.

    Parameters
    ----------
    cache : Path
        Made when missing.
    key : Key
    result_type : type
        Class of the result; reads it from ``record.json``.
    work : callable
        Takes an empty folder, writes its files there and returns their reference.
    timing : callable, optional
        Called after the work; what it returns is written to ``timing.json``.
    refresh : bool
        Compute even if there is a record, and from the start. An equal output keeps the record; a
        different one sets it aside and is reported.

    Raises
    ------
    OSError
        Disk full, no permission: nothing half-written stays.

    Notes
    -----
    Two runs that want the same record at once: one computes, the other waits. The lock is
    the kernel's (flock) and ends with its process, however that ends.
    """
    with _turn(cache, key):
        home = folder_of(cache, key)
        found, warning = _find(home, key, result_type)
        if found is not None or refresh:
            _forget(cache, key)
        if found is not None and not refresh:
            return Outcome(found, hit=True)
        if warning:
            warning = f"{warning}; set aside as {_set_aside(cache, home).name}, computed again"
        make_folder(home.parent)  # before the work: what stands in its way is told at once
        with _beside(cache, key) as beside:
            result = work(beside)
            _seal(beside, key, result)
            write_durably(beside / f"{TIMING}json", _pretty(dict(timing())))
            if found is not None and identity(result) == identity(found):
                _forget(cache, key)
                return Outcome(found, hit=False)
            if found is not None:
                warning = (
                    f"{key.step} is not reproducible: computed again from the same inputs it gave "
                    f"another output; the old record is {_set_aside(cache, home).name}"
                )
            beside.rename(home)
            _sync(home.parent)
            _forget(cache, key)
        result = result_type.model_validate(
            result.model_dump(mode="json", context={"folder": beside}), context={"folder": home}
        )
        return Outcome(result, hit=False, warning=warning)


def _forget(cache: Path, key: Key) -> None:
    """Remove what the step kept on its way, against a kill (`engine.folder_store.unfinished`)."""
    shutil.rmtree(cache / UNFINISHED / f"{key.step}-{key.digest}", ignore_errors=True)


def faults_of(home: Path) -> str | None:
    """What is wrong with the record in a folder, or None: every file against its digest.

    Raises
    ------
    OSError
        If the files cannot be read for a reason that is no fault of theirs (no permission, too
        many open files): a record is not set aside for that.
    """
    try:
        record = json.loads((home / _RECORD).read_bytes())
        expected = record.pop("sha256")
        if (got := _digest_of_record(record)) != expected:
            return f"{home / _RECORD}: expected sha256 {expected} of its content, got {got}"
        for output in record["outputs"]:
            path = home / output["file"]
            if not path.is_file():
                return f"{path}: expected {output['size']} bytes, got no such file"
            if (got := digest_of(path)) != output["sha256"]:
                return f"{path}: expected sha256 {output['sha256']}, got {got}"
    except OSError as error:
        if error.errno not in _DAMAGE:
            raise
        return f"{home}: expected a record, got {type(error).__name__}: {error}"
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return f"{home / _RECORD}: expected a record, got {type(error).__name__}: {error}"
    return None


def write_durably(path: Path, content: bytes) -> None:
    """Write a file so that it is whole on disk, or not there at all.

    Two that write the same file must take turns (`locked`). What a kill leaves has one name, a
    hidden one, and the next write takes it.
    """
    beside = path.with_name(f".{path.name}.writing")
    try:
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    _sync(path.parent)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it where they are missing, so that power loss keeps them."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        _sync(folder.parent)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the kernel's lock on a file or folder; it ends with its process, however that ends."""
    handle = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _find(home: Path, key: Key, result_type: type[R]) -> tuple[R | None, str | None]:
    if not home.exists():
        return None, None
    if fault := faults_of(home):
        return None, fault
    try:
        record = json.loads((home / _RECORD).read_bytes())
        if any(record.get(name) != value for name, value in key.parts().items()):
            return None, f"{home}: expected the record of its key, got another's"
        return result_type.model_validate(record["result"], context={"folder": home}), None
    except (ValueError, KeyError) as error:
        return None, f"{home / _RECORD}: {error}"


def _seal(folder: Path, key: Key, result: Reference) -> None:
    """Flush what the work wrote, and write ``record.json`` with the digests of it all."""
    outputs = []
    for path in sorted(_below(folder)):
        _sync(path)  # a folder too: its list of names
        if path.is_dir() or path.name.startswith(TIMING):
            continue
        size = path.stat().st_size
        name = str(path.relative_to(folder))
        outputs.append({"file": name, "size": size, "sha256": digest_of(path)})
    record = {
        **key.parts(),
        "key": key.digest,
        "rows_in": _rows(key.inputs),
        "rows_out": getattr(result, "rows", None),
        "result": result.model_dump(mode="json", context={"folder": folder}),
        "outputs": outputs,
    }
    record["sha256"] = _digest_of_record(record)  # numbers of the result stand nowhere else
    write_durably(folder / _RECORD, _pretty(record))


def _below(folder: Path) -> Iterator[Path]:
    """Every folder and file below a folder; one that cannot be listed is an error.

    `Path.rglob` passes over it since Python 3.13, and the record would not name its files.
    """

    def rise(error: OSError) -> None:
        raise error

    for place, folders, files in os.walk(folder, onerror=rise):
        yield from (Path(place, name) for name in [*folders, *files])


def _digest_of_record(record: Mapping[str, Any]) -> str:
    return hashlib.sha256(canonical(record)).hexdigest()


def _rows(inputs: Any) -> int | None:
    """Rows of the tables that went in; None where no input is a table."""
    found = [v.rows for v in inputs.values() if isinstance(getattr(v, "rows", None), int)]
    return sum(found) if found else None


def _pretty(value: Any) -> bytes:
    return (json.dumps(value, indent=2, allow_nan=False) + "\n").encode()


def _set_aside(cache: Path, home: Path) -> Path:
    aside = cache / ".aside"
    make_folder(aside)
    name = f"{home.parent.name}-{home.name[:16]}"
    number = 1
    while (aside / f"{name}-{number}").exists():
        number += 1
    return home.rename(aside / f"{name}-{number}")


def _sync(path: Path) -> None:
    """Ask the kernel to put a file, or a folder's list of names, on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def _turn(cache: Path, key: Key) -> Iterator[None]:
    """One at a time for each key; what a kill left half-written is swept first."""
    lock = cache / ".locks" / f"{key.step}-{key.digest}"
    lock.parent.mkdir(parents=True, exist_ok=True)
    lock.touch()
    with locked(lock):
        shutil.rmtree(cache / ".writing" / lock.name, ignore_errors=True)
        yield


@contextlib.contextmanager
def _beside(cache: Path, key: Key) -> Iterator[Path]:
    """An empty folder for a record in the making; gone in the end, however it ends.

    Each process has its own, so that a worker that outlives its killed run by a moment never
    writes into the record of the next. The folder's name is the same in all of them.
    """
    name = f"{key.step}-{key.digest}"
    attempts = cache / ".writing" / name
    beside = attempts / str(os.getpid()) / name
    try:
        beside.mkdir(parents=True)
        yield beside
    finally:
        shutil.rmtree(attempts, ignore_errors=True)
