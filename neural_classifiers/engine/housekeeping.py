"""Look after the records: check them, remove what no run needs, pack up what one run used.

Run folders are never removed: they are made for people, and weigh kilobytes.
"""

import contextlib
import shutil
import sqlite3
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from neural_classifiers.engine import locks, own_prefect, paths
from neural_classifiers.engine.files import OutputError, whole_file
from neural_classifiers.engine.folder_store import fits_namespace
from neural_classifiers.engine.history import Run, all_runs
from neural_classifiers.engine.records import (
    ASIDE,
    FITS,
    LOCKS,
    RECORD,
    UNFINISHED,
    WRITING,
    Key,
    faults_of,
    read_record,
    record_folders,
    set_aside_of,
)
from neural_classifiers.errors import RefusedError

LEFT_OUT = (locks.RUNNING, locks.LOCK)  # of a zip


class InUseError(RefusedError):
    """A run is going on (or a check, an export): nothing may be removed."""

    code = "NC61"


# --------------------------------------------------------------------------- verify


def verify(on_fault: Callable[[str], None] = lambda fault: None) -> dict[str, Any]:
    """Every record against its digests: ``records``, ``bytes`` and ``faults``.

    `on_fault` takes each fault as soon as it is found.
    """
    records, size, faults = 0, 0, []
    with locks.hold(paths.cache() / locks.IN_USE, shared=True):  # nothing is removed meanwhile
        for folder in record_folders(paths.cache()):
            fault = faults_of(folder)
            if fault and not folder.exists():  # set aside meanwhile, by a run that found it damaged
                continue
            records, size = records + 1, size + _size(folder)
            if fault:
                faults.append(fault)
                on_fault(fault)
    return {"records": records, "bytes": size, "faults": faults}


# --------------------------------------------------------------------------- prune


def prune(keep_runs: int, dry_run: bool = False) -> dict[str, Any]:
    """Remove (or only count) what none of so many of the newest runs names.

    Returns
    -------
    dict
        ``runs`` (those kept), ``kept`` (records), ``removed`` (kind to number: ``records``,
        ``links``, ``aside``, ``writing``, ``fits``, ``unfinished``), ``bytes`` and ``dry_run``.

    Raises
    ------
    InUseError
        If a run is going on: which records it will ask for next nobody knows. A run that
        starts meanwhile waits.

    Notes
    -----
    Beside the records themselves: what was set aside goes when no kept run names its key; what
    a kill left half-written goes when its lock is free; single fits, unfinished trainings and
    batches of rows stay when a kept record was made of them, or when they were touched since
    the oldest kept run began, which may be continued. Of a link only the link is removed.
    """
    with contextlib.nullcontext() if dry_run else _alone():
        runs = [run for run in all_runs() if run.json["attempts"]][:keep_runs]  # that began
        removed: Counter[str] = Counter()
        freed = 0
        records = sum(not folder.is_symlink() for folder in record_folders(paths.cache()))
        for kind, path in list(_superfluous(runs)):
            removed[kind] += 1
            freed += _size(path)
            if not dry_run:
                _remove(path)
        if not dry_run:
            _remove_locks()
            freed += _compact()
    return {
        "runs": len(runs),
        "kept": records - removed["records"],
        "removed": dict(removed),
        "bytes": freed,
        "dry_run": dry_run,
    }


def _superfluous(runs: list[Run]) -> Iterator[tuple[str, Path]]:
    """Kind and path of what none of the kept runs needs."""
    cache = paths.cache()
    named = {(step["step"], step["key"]) for run in runs for step in run.json["steps"]}
    since = min((run.began.timestamp() for run in runs), default=0)
    for folder in record_folders(cache):
        if folder.is_symlink():
            yield "links", folder
        elif folder.is_dir() and (folder.parent.name, folder.name) not in named:
            yield "records", folder
    aside = {path for step, digest in named for path in set_aside_of(cache, step, digest)}
    for path in _below(cache / ASIDE):
        if path not in aside:
            yield "aside", path
    for path in _below(cache / WRITING):
        if not locks.is_held(cache / LOCKS / path.name):
            yield "writing", path
    namespaces = set(_namespaces(named))
    for path in _below(cache / FITS):
        if path.name not in namespaces and _touched(path) < since:
            yield "fits", path
    unfinished = {f"{step}-{digest}" for step, digest in named}
    for path in _below(cache / UNFINISHED):
        if path.name not in unfinished and _touched(path) < since:
            yield "unfinished", path


def _compact() -> int:
    """Bytes of Prefect's SQLite that runs left which its server has removed; 0 while it is up."""
    database = own_prefect.home() / "prefect.db"
    if own_prefect.what_is_up() is not None or not database.is_file():
        return 0
    before = database.stat().st_size
    with (
        contextlib.suppress(sqlite3.OperationalError),  # a command's server is at it
        contextlib.closing(sqlite3.connect(database, timeout=0)) as connection,
    ):
        connection.execute("VACUUM")
    return before - database.stat().st_size


def _namespaces(named: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Names of the stores of single fits of which records were made: of each training set."""
    for step, digest in named:
        record = read_record(paths.cache() / step / digest) or {"inputs": {}}
        for given in record["inputs"].values():
            if isinstance(given, Mapping) and "train" in given:
                yield fits_namespace(Key.of(record), given["train"])


def _remove(path: Path) -> None:
    """Remove a file, a link, or a folder: away first, so that a kill leaves no half."""
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
        return
    away = paths.cache() / WRITING / f"removed-{path.name}"
    if path.parent != away.parent:
        away.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(away, ignore_errors=True)
        path = path.rename(away)
    shutil.rmtree(path)


def _remove_locks() -> None:
    """Remove the lock files that nobody holds: empty, so no bytes."""
    for path in _below(paths.cache() / LOCKS):
        if held := locks.try_to_hold(path):
            path.unlink(missing_ok=True)
            held.close()


# --------------------------------------------------------------------------- export


def export(run: Run, to: Path | None = None) -> dict[str, Any]:
    """Pack a run's folder and every record that its steps name into one zip.

    By default it is ``<folder's name>.zip`` in the current folder. Links are left out.

    Returns
    -------
    dict
        ``file``, ``bytes``, ``records``, and ``gone``: records that were removed since.

    Raises
    ------
    OutputError
        If `to` does not end in .zip, or lies there already.

    Notes
    -----
    Names in the zip are relative to ``artifacts/``: unpacked there, in another checkout, the run
    is found by ``show`` and its records by the next run.
    """
    to = (to or Path(f"{run.folder.name}.zip")).absolute()
    if to.suffix.lower() != ".zip":
        raise OutputError(f"{to}: expected the name of a file that ends in .zip")
    gone, packed = [], 0
    with (
        locks.hold(paths.cache() / locks.IN_USE, shared=True),  # nothing is removed meanwhile
        whole_file(to, may_replace=False) as unfinished,
        zipfile.ZipFile(unfinished, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        _pack(archive, run.folder)
        for step, digest in sorted(run.used):
            folder = paths.cache() / step / digest
            is_ours = folder.resolve() == paths.cache().resolve() / step / digest  # and no link
            if is_ours and (folder / RECORD).exists():
                _pack(archive, folder)
                packed += 1
            else:
                gone.append(f"{step}/{digest}")
    return {"file": str(to), "bytes": to.stat().st_size, "records": packed, "gone": gone}


def _pack(archive: zipfile.ZipFile, folder: Path) -> None:
    base = paths.runs().parent
    for path in sorted(_inside(folder)):
        if path.is_file() and not path.is_symlink() and path.name not in LEFT_OUT:
            archive.write(path, path.relative_to(base))


# --------------------------------------------------------------------------- what lies there


def _alone() -> IO[bytes]:
    """The lock that says that no run is going on."""
    lock = locks.try_to_hold(paths.cache() / locks.IN_USE)
    if lock is None:
        running = [run.folder.name for run in all_runs() if run.status == "running"]
        who = ", ".join(running) or "a check or an export"
        raise InUseError(f"{paths.cache()}: expected no run to be going on, got {who}")
    return lock


def _below(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() and not folder.is_symlink() else []


def _touched(path: Path) -> float:
    """When something was last added to a folder."""
    return max(p.lstat().st_mtime for p in (path, *_inside(path)))


def _size(path: Path) -> int:
    """Bytes of a file or of all files in a folder; of what a run takes away meanwhile, none."""
    size = 0
    for file in (path, *_inside(path)):
        with contextlib.suppress(FileNotFoundError):
            size += file.lstat().st_size if file.is_symlink() or not file.is_dir() else 0
    return size


def _inside(path: Path) -> Iterator[Path]:
    """What lies in a folder and in those below it; links are not followed."""
    return iter(()) if path.is_symlink() else path.rglob("*")
