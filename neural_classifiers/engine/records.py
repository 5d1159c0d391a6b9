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
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    SerializationInfo,
    ValidationInfo,
    field_serializer,
    field_validator,
)

from neural_classifiers.engine.files import as_json, make_folder, sync, write_durably
from neural_classifiers.engine.locks import locked

FORMAT = 1
RECORD, TIMING = "record.json", "timing."
# Below the cache, beside the folders of steps. All but `FITS` name a record: `Key.name`.
UNFINISHED = ".unfinished"  # batches and epochs of steps whose record does not stand yet
FITS = ".fits"  # single fits, a folder for each namespace of `engine.folder_store`
WRITING, LOCKS, ASIDE = ".writing", ".locks", ".aside"
_DAMAGE = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.EIO}


class Reference(BaseModel):
    """What steps hand each other: small, frozen, readable; files by path and digest."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    words: ClassVar[str] = "{0.__class__.__name__}"

    def in_words(self) -> str:
        """One line with the numbers a reader would ask for, by `words`; the step logs it."""
        return self.words.format(self)


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

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Self:
        """The key of a record, out of what its ``record.json`` says."""
        return cls(**{part.name: record[part.name] for part in fields(cls)})

    @property
    def digest(self) -> str:
        """The key itself: 64 hex digits."""
        return hashlib.sha256(canonical(self.parts())).hexdigest()

    @property
    def name(self) -> str:
        """Step and digest, as lock and unfinished work of a record are named."""
        return f"{self.step}-{self.digest}"


@dataclass(frozen=True)
class Recalled(Generic[R]):
    """The result of a step, and how it came by it."""

    result: R
    hit: bool  # found, not computed
    warning: str | None = None  # a damaged record set aside, a refresh that gave another output


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


def files_among(value: Any) -> Iterator[File]:
    """Every file that a value refers to."""
    if isinstance(value, File):
        yield value
        return
    if isinstance(value, BaseModel):
        value = [getattr(value, name) for name in type(value).model_fields]
    elif isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            yield from files_among(item)


def record_folder(cache: Path, key: Key) -> Path:
    """Where the record of a key lies, or will lie."""
    return cache / key.step / key.digest


def record_folders(cache: Path, step: str = "[!.]*") -> Iterator[Path]:
    """The folder of each record of a step, or of all; and what lies where one should.

    A link is not followed: what it leads to is not the cache's.
    """
    for folder in sorted(cache.glob(step)):
        is_ours = folder.is_dir() and not folder.is_symlink()
        yield from sorted(folder.iterdir()) if is_ours else [folder]


def read_record(folder: Path) -> dict[str, Any] | None:
    """What a record says; None where it is gone or damaged."""
    with contextlib.suppress(OSError, ValueError):
        return json.loads((folder / RECORD).read_bytes())
    return None


def set_aside_of(cache: Path, step: str, digest: str) -> list[Path]:
    """What was set aside of the records of a key, oldest first."""
    found = (cache / ASIDE).glob(f"{_aside_name(step, digest)}-*")
    return sorted(found, key=lambda path: int(path.name.rpartition("-")[2]))


def recall(
    cache: Path,
    key: Key,
    result_type: type[R],
    work: Callable[[Path], R],
    timing: Callable[[], Mapping[str, Any]] = dict,
    refresh: bool = False,
) -> Recalled[R]:
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
        folder = record_folder(cache, key)
        recorded, warning = _find(folder, result_type)
        if recorded is not None or refresh:
            _remove_unfinished(cache, key)
        if recorded is not None and not refresh:
            return Recalled(recorded, hit=True)
        if warning:
            aside = _set_aside(cache, folder).name
            warning = f"{warning}; set aside as {aside}, computed again"
        make_folder(folder.parent)  # before the work: what stands in its way is told at once
        with _in_the_making(cache, key) as made:
            result = work(made)
            _seal(made, key, result)
            write_durably(made / f"{TIMING}json", as_json(dict(timing())))
            if recorded is not None and identity(result) == identity(recorded):
                _remove_unfinished(cache, key)
                return Recalled(recorded, hit=False)
            if recorded is not None:
                warning = (
                    f"{key.step} is not reproducible: computed again from the same inputs it gave "
                    f"another output; the old record is {_set_aside(cache, folder).name}"
                )
            made.rename(folder)
            sync(folder.parent)
            _remove_unfinished(cache, key)
        result = result_type.model_validate(
            result.model_dump(mode="json", context={"folder": made}), context={"folder": folder}
        )
        return Recalled(result, hit=False, warning=warning)


def _remove_unfinished(cache: Path, key: Key) -> None:
    """Remove what the step wrote on its way, against a kill (`engine.folder_store.unfinished`)."""
    shutil.rmtree(cache / UNFINISHED / key.name, ignore_errors=True)


def faults_of(folder: Path) -> str | None:
    """What is wrong with a record, or None: its key, and every file against its digest.

    Raises
    ------
    OSError
        If the files cannot be read for a reason that is no fault of theirs (no permission, too
        many open files): a record is not set aside for that.
    """
    if folder.is_symlink() or folder.is_file():
        came = "a link" if folder.is_symlink() else "a file"
        return f"{folder}: expected the folder of a record, got {came}"
    try:
        record = json.loads((folder / RECORD).read_bytes())
        expected = record.pop("sha256")
        if (got := _digest_of_record(record)) != expected:
            return f"{folder / RECORD}: expected sha256 {expected} of its content, got {got}"
        if (got := Key.of(record).digest) != folder.name or record["format"] != FORMAT:
            return f"{folder / RECORD}: expected the parts of key {folder.name}, got those of {got}"
        for output in record["outputs"]:
            path = folder / output["file"]
            if not path.is_file():
                return f"{path}: expected {output['size']} bytes, got no such file"
            if (got := digest_of(path)) != output["sha256"]:
                return f"{path}: expected sha256 {output['sha256']}, got {got}"
    except OSError as error:
        if error.errno not in _DAMAGE:
            raise
        return f"{folder}: expected a record, got {type(error).__name__}: {error}"
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return f"{folder / RECORD}: expected a record, got {type(error).__name__}: {error}"
    return None


def _find(folder: Path, result_type: type[R]) -> tuple[R | None, str | None]:
    if not folder.exists():
        return None, None
    if fault := faults_of(folder):
        return None, fault
    try:
        record = json.loads((folder / RECORD).read_bytes())
        return result_type.model_validate(record["result"], context={"folder": folder}), None
    except (ValueError, KeyError) as error:
        return None, f"{folder / RECORD}: {error}"


def _seal(folder: Path, key: Key, result: Reference) -> None:
    """Flush what the work wrote, and write ``record.json`` with the digests of it all."""
    outputs = []
    for path in sorted(_below(folder)):
        sync(path)  # a folder too: its list of names
        if path.is_dir() or path.name.startswith(TIMING):
            continue
        size = path.stat().st_size
        name = str(path.relative_to(folder))
        outputs.append({"file": name, "size": size, "sha256": digest_of(path)})
    record = {
        **key.parts(),
        "key": key.digest,
        "result": result.model_dump(mode="json", context={"folder": folder}),
        "outputs": outputs,
    }
    record["sha256"] = _digest_of_record(record)  # numbers of the result stand nowhere else
    write_durably(folder / RECORD, as_json(record))


def _below(folder: Path) -> Iterator[Path]:
    """Every folder and file below a folder; one that cannot be listed is an error.

    `Path.rglob` passes over it since Python 3.13, and the record would not name its files.
    """

    def rise(error: OSError) -> None:
        raise error

    for parent, folders, files in os.walk(folder, onerror=rise):
        yield from (Path(parent, name) for name in [*folders, *files])


def _digest_of_record(record: Mapping[str, Any]) -> str:
    return hashlib.sha256(canonical(record)).hexdigest()


def _set_aside(cache: Path, folder: Path) -> Path:
    make_folder(cache / ASIDE)
    name, number = _aside_name(folder.parent.name, folder.name), 1
    while (cache / ASIDE / f"{name}-{number}").exists():
        number += 1
    return folder.rename(cache / ASIDE / f"{name}-{number}")


def _aside_name(step: str, digest: str) -> str:
    return f"{step}-{digest[:16]}"


@contextlib.contextmanager
def _turn(cache: Path, key: Key) -> Iterator[None]:
    """One at a time for each key; what a kill left half-written is swept first."""
    with locked(cache / LOCKS / key.name):
        shutil.rmtree(cache / WRITING / key.name, ignore_errors=True)
        yield


@contextlib.contextmanager
def _in_the_making(cache: Path, key: Key) -> Iterator[Path]:
    """An empty folder for a record in the making; gone in the end, however it ends.

    Each process has its own, so that a worker that outlives its killed run by a moment never
    writes into the record of the next. The folder's name is the same in all of them.
    """
    attempts = cache / WRITING / key.name
    made = attempts / str(os.getpid()) / key.name
    try:
        made.mkdir(parents=True)
        yield made
    finally:
        shutil.rmtree(attempts, ignore_errors=True)
