"""Promoted models on disk: a folder for each version, never changed, and which of them serves.

``artifacts/models/<version>/`` is written beside, flushed and renamed, so that it is whole or
absent. ``serving.json`` names, for comments and for digits, the versions that were promoted, in
order: the last one serves. It is replaced as a whole, so whoever opens a version by it opens one
that is there, and keeps it whatever is promoted or rolled back meanwhile: versions stay.

Knows no Prefect: predicting must not wait for it.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from neural_classifiers.engine import locks, paths
from neural_classifiers.engine.files import make_folder, write_durably
from neural_classifiers.serving.model import (
    KINDS,
    MANIFEST,
    POINTER,
    NotPromotedError,
    read_file,
    read_manifest,
    serving_version,
    version_of,
)

CHECK_S = 600.0
WRITING = ".writing"
_CHECK = """
import json, sys
import neural_classifiers
loaded = neural_classifiers.load(sys.argv[1])
from neural_classifiers.serving.model import EXAMPLES, furthest_from_examples
content = open(f"{sys.argv[1]}/{EXAMPLES}", "rb").read()
print(json.dumps([loaded.version, furthest_from_examples(loaded, content)]))
"""


def folder_of(version: str) -> Path:
    """Where a version lies."""
    return paths.models() / version


def serving(kind: str) -> str | None:
    """The version that serves, or None."""
    pointer = paths.models() / POINTER
    try:
        return serving_version(pointer.read_bytes() if pointer.exists() else b"{}", kind)
    except NotPromotedError:
        return None


def manifest_of(version: str) -> dict[str, Any]:
    """What a version says of itself, seen to be as it was written.

    Raises
    ------
    NotPromotedError
    """
    folder = folder_of(version)
    try:
        return read_manifest(lambda name: (folder / name).read_bytes(), version)
    except OSError as error:
        raise NotPromotedError(f"{folder}: expected a promoted model, got {error}") from None


def fault_of(version: str) -> str | None:
    """What is wrong with a version's files, or None: every one against its digest."""
    folder = folder_of(version)
    try:
        manifest = manifest_of(version)
        for name in manifest["files"]:
            read_file(lambda file: (folder / file).read_bytes(), manifest, name)
    except (NotPromotedError, OSError) as error:
        return f"{folder}: {error}"
    return None


def all_versions() -> list[dict[str, Any]]:
    """Every version: its manifest, ``serves``, and ``promoted`` (when; None if rolled back)."""
    pointer = _read_pointer()
    when = {
        told["version"]: told["since"] for kind in pointer.values() for told in kind["versions"]
    }
    now = {serving(kind) for kind in KINDS}
    found = []
    for path in sorted(paths.models().glob(f"[!.]*/{MANIFEST}")):
        version = path.parent.name
        told = {"serves": version in now, "promoted": when.get(version)}
        found.append(manifest_of(version) | told)
    return sorted(found, key=lambda told: (told["kind"], told["promoted"] or "", told["version"]))


def write_version(manifest: Mapping[str, Any], files: Mapping[str, bytes]) -> Path:
    """Write a version in a hidden place; `keep_version` puts it beside the others.

    Returns
    -------
    Path
        Folder with the files and a manifest that names them all by digest.
    """
    told = dict(manifest) | {
        "files": {
            name: {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
            for name, content in files.items()
        }
    }
    told["version"] = version_of(told)
    beside = paths.models() / WRITING / told["version"]
    make_folder(beside.parent)
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir()
    for name, content in files.items():
        write_durably(beside / name, content)
    write_durably(beside / MANIFEST, (json.dumps(told, indent=2, allow_nan=False) + "\n").encode())
    return beside


def keep_version(beside: Path) -> str:
    """Give a written version its place; its name."""
    version, home = beside.name, folder_of(beside.name)
    if home.is_dir():  # promoted before: the same bytes, since the name is their digest
        shutil.rmtree(beside)
    else:
        for path in beside.iterdir():
            path.chmod(0o444)
        beside.rename(home)
        _sync(home.parent)
    return version


def discard(beside: Path) -> None:
    """Remove what `write_version` wrote."""
    shutil.rmtree(beside)


def check_in_clean_process(folder: Path) -> tuple[bool, str]:
    """Whether a process that has nothing but the folder answers the examples as recorded."""
    done = subprocess.run(
        [sys.executable, "-c", _CHECK, str(folder)],
        capture_output=True,
        text=True,
        timeout=CHECK_S,
        check=False,
    )
    if done.returncode:
        return False, (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
    version, furthest = json.loads(done.stdout.splitlines()[-1])
    return True, f"{version} answers its examples within {furthest:.3g} of what is recorded"


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Promotions and rollbacks take turns; the lock ends with its process."""
    make_folder(paths.models())
    lock = locks.hold(paths.models() / ".turn")
    try:
        yield
    finally:
        if lock is not None:
            lock.close()


def serve(kind: str, version: str) -> None:
    """Let a version serve from now on; to be called within `one_at_a_time`."""
    pointer = _read_pointer()
    told = pointer[kind]
    told["versions"].append({"version": version, "since": _now()})
    _write_pointer(pointer)


def roll_back(kind: str) -> tuple[str, str | None]:
    """Let the version before serve again; which one served, and which does now (None: none).

    Raises
    ------
    NotPromotedError
        If none serves.
    """
    with one_at_a_time():
        pointer = _read_pointer()
        told = pointer[kind]
        if not told["versions"]:
            raise NotPromotedError(f"expected a model of {kind} that serves, got none")
        withdrawn = told["versions"].pop()["version"]
        told["withdrawn"].append({"version": withdrawn, "at": _now()})
        _write_pointer(pointer)
    return withdrawn, serving(kind)


def withdrawn(kind: str) -> dict[str, str]:
    """When each version was rolled back, by the digest of its model's parameters."""
    return {
        manifest_of(told["version"])["parameters_sha256"]: told["at"]
        for told in _read_pointer()[kind]["withdrawn"]
    }


def _read_pointer() -> dict[str, dict[str, list[dict[str, str]]]]:
    path = paths.models() / POINTER
    told = json.loads(path.read_bytes()) if path.exists() else {}
    empty: dict[str, list[dict[str, str]]] = {"versions": [], "withdrawn": []}
    return {kind: json.loads(json.dumps(empty)) | told.get(kind, {}) for kind in KINDS}


def _write_pointer(pointer: Mapping[str, Any]) -> None:
    write_durably(paths.models() / POINTER, (json.dumps(pointer, indent=2) + "\n").encode())


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
