"""Look after the records: check them, remove what no run needs, pack up what one run used.

Run folders are never removed: they are made for people, and weigh kilobytes.
"""

import contextlib
import json
import os
import shutil
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from neural_classifiers.engine import locks, paths
from neural_classifiers.engine.folder_store import FITS, fits_namespace
from neural_classifiers.engine.history import Run, all_runs, read_record
from neural_classifiers.engine.records import UNFINISHED, Key, faults_of
from neural_classifiers.errors import RefusedError

ASIDE, WRITING, LOCKS = ".aside", ".writing", ".locks"


class InUseError(RefusedError):
    """A run is going on (or a check, an export): nothing may be removed."""


# --------------------------------------------------------------------------- verify


def verify(told: Callable[[str], None] = lambda fault: None) -> dict[str, Any]:
    """Every record against its digests: ``records``, ``bytes`` and ``faults``.

    Parameters
    ----------
    told : callable, optional
        Takes each fault as soon as it is found.

    Notes
    -----
    One file after the other is read through, so memory does not grow with the cache.
    """
    records, size, faults = 0, 0, []
    with _in_use():
        for home in _records():
            fault = _fault_of(home)
            if fault and not home.exists():  # set aside meanwhile, by a run that found it damaged
                continue
            records, size = records + 1, size + _size(home)
            if fault:
                faults.append(fault)
                told(fault)
    return {"records": records, "bytes": size, "faults": faults}


def _fault_of(home: Path) -> str | None:
    """What is wrong with a record: its files, or a key that is not that of its parts."""
    if not home.is_dir():
        return f"{home}: expected the folder of a record, got a file"
    if fault := faults_of(home):
        return fault
    record = json.loads((home / "record.json").read_bytes())
    parts = ("format", "step", "parameters", "inputs", "code", "libraries")
    if absent := [part for part in parts if part not in record]:
        return f"{home}/record.json: expected a record, got none of {absent}"
    key = Key(**{part: record[part] for part in parts[1:]})
    if (got := key.digest) != home.name or record["format"] != key.parts()["format"]:
        return f"{home}/record.json: expected the parts of key {home.name}, got those of {got}"
    return None


# --------------------------------------------------------------------------- prune


def prune(keep_runs: int, dry_run: bool = False) -> dict[str, Any]:
    """Remove what none of the newest runs needs; what was (or would be) removed, in bytes.

    Parameters
    ----------
    keep_runs : int
        So many of the newest run folders keep everything that they name.
    dry_run : bool
        Only tell.

    Returns
    -------
    dict
        ``runs`` (those kept), ``kept`` (records), ``removed`` (kind to number: ``records``,
        ``aside``, ``writing``, ``locks``, ``fits``, ``unfinished``) and ``bytes``.

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
    the oldest kept run began, which may be continued.
    """
    lock = None if dry_run else _alone()
    try:
        kept = all_runs()[:keep_runs]
        removed: Counter[str] = Counter()
        freed = 0
        for kind, path in _superfluous(kept):
            removed[kind] += 1
            freed += _size(path)
            if not dry_run:
                _remove(path)
        if not dry_run:
            _remove_locks()
        records = sum(1 for _ in _records())
        records -= removed["records"] if dry_run else 0
        told = {"runs": len(kept), "kept": records, "removed": dict(removed), "bytes": freed}
        return told | {"dry_run": dry_run}
    finally:
        if lock is not None:
            lock.close()


def _superfluous(kept: list[Run]) -> Iterator[tuple[str, Path]]:
    """Kind and path of what none of the kept runs needs."""
    cache = paths.cache()
    named = {(s["step"], s["key"]) for run in kept for s in run.told["steps"]}
    since = min((run.began.timestamp() for run in kept), default=0)
    for home in _records():
        if home.is_dir() and (home.parent.name, home.name) not in named:
            yield "records", home
    short = {f"{step}-{key[:16]}" for step, key in named}
    for path in _in(cache / ASIDE):
        if path.name.rpartition("-")[0] not in short:
            yield "aside", path
    for path in _in(cache / WRITING):
        if not _is_locked(path.name):
            yield "writing", path
    namespaces = set(_namespaces(named))
    for path in _in(cache / FITS):
        if path.name not in namespaces and _touched(path) < since:
            yield "fits", path
    unfinished = {f"{step}-{key}" for step, key in named}
    for path in _in(cache / UNFINISHED):
        if path.name not in unfinished and _touched(path) < since:
            yield "unfinished", path


def _namespaces(named: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Names of the stores of single fits from which the records of a search were made."""
    for step, key in named:
        record = read_record(step, key)
        inputs = (record or {}).get("inputs", {})
        train = (inputs.get("sample") or inputs.get("split") or {}).get("train")
        if record and train:
            made = Key(step, {}, {}, record["code"], record["libraries"])
            yield fits_namespace(made, train)


def _remove(path: Path) -> None:
    """Remove a file, or a folder: away from its place first, so that a kill leaves no half."""
    if not path.is_dir():
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
    for path in _in(paths.cache() / LOCKS):
        held = locks.hold(path, wait=False)
        if held is not None:
            path.unlink(missing_ok=True)
            held.close()


# --------------------------------------------------------------------------- export


def export(run: Run, to: Path | None = None) -> dict[str, Any]:
    """Pack a run's folder and every record that its steps name into one zip.

    Parameters
    ----------
    run : Run
    to : Path, optional
        By default ``<folder's name>.zip`` in the current folder.

    Returns
    -------
    dict
        ``file``, ``bytes``, ``records``, and ``gone``: records that were removed since.

    Notes
    -----
    Names in the zip are relative to ``artifacts/``: unpacked there, in another checkout, the run
    is found by ``show`` and its records by the next run. The zip is written beside and renamed.
    """
    to = (to or Path(f"{run.folder.name}.zip")).absolute()
    beside = to.with_name(f".{to.name}.writing-{os.getpid()}")
    gone, packed = [], 0
    try:
        with _in_use(), zipfile.ZipFile(beside, "w", zipfile.ZIP_DEFLATED) as archive:
            _pack(archive, run.folder)
            for step, key in sorted(run.used):
                home = paths.cache() / step / key
                if (home / "record.json").exists():
                    _pack(archive, home)
                    packed += 1
                else:
                    gone.append(f"{step}/{key}")
        beside.replace(to)
    finally:
        beside.unlink(missing_ok=True)
    return {"file": str(to), "bytes": to.stat().st_size, "records": packed, "gone": gone}


def _pack(archive: zipfile.ZipFile, folder: Path) -> None:
    base = paths.runs().parent
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.name != locks.RUNNING):
        archive.write(path, path.relative_to(base))


# --------------------------------------------------------------------------- what lies there


@contextlib.contextmanager
def _in_use() -> Iterator[None]:
    """Keep others from removing anything."""
    lock = locks.hold(paths.cache() / locks.IN_USE, shared=True)
    try:
        yield
    finally:
        if lock is not None:
            lock.close()


def _alone() -> Any:
    """The lock that says that no run is going on."""
    lock = locks.hold(paths.cache() / locks.IN_USE, wait=False)
    if lock is None:
        running = [run.folder.name for run in all_runs() if run.status == "running"]
        told = ", ".join(running) or "a check or an export"
        raise InUseError(f"{paths.cache()}: expected no run to be going on, got {told}")
    return lock


def _records() -> Iterator[Path]:
    """The folder of each record; and what lies where one should."""
    for step in _in(paths.cache()):
        if step.name.startswith("."):
            continue
        if step.is_dir():
            yield from _in(step)
        else:
            yield step


def _in(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _is_locked(name: str) -> bool:
    return locks.is_held(paths.cache() / LOCKS / name)


def _touched(path: Path) -> float:
    """When something was last added to a folder."""
    return max(p.stat().st_mtime for p in (path, *path.rglob("*")))


def _size(path: Path) -> int:
    """Bytes of a file or of all files in a folder; of what a run takes away meanwhile, none."""
    size = 0
    for file in (path, *path.rglob("*")):
        with contextlib.suppress(FileNotFoundError):
            size += 0 if file.is_dir() else file.stat().st_size
    return size
