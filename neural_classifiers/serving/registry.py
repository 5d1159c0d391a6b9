"""The registry of versions on disk: a folder for each, never changed, and which of them serves.

``artifacts/models/<version>/`` is written elsewhere, flushed and renamed, so that it is whole or
absent. ``serving.json`` names, for comments and for digits, the versions that were promoted, in
order: the last one serves. It is replaced as a whole, so whoever opens a version by it opens one
that is there, and keeps it whatever is promoted or rolled back meanwhile: versions stay.

Knows no Prefect: predicting must not wait for it.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from neural_classifiers.engine import paths
from neural_classifiers.engine.files import make_folder, sync, write_durably
from neural_classifiers.engine.locks import locked
from neural_classifiers.engine.run_files import as_json
from neural_classifiers.serving.model import (
    ENCODERS,
    EXAMPLES,
    KINDS,
    MANIFEST,
    NotPromotedError,
    furthest_from_examples,
    read_encoder,
    read_file,
    read_manifest,
    read_model,
    version_of,
)

SERVING_FILE = "serving.json"
CHECK_S = 600.0
_WRITING = ".writing"
_VERSION = re.compile(r"\w[\w.-]*")


def load(where: str | os.PathLike[str], kind: str | None = None) -> Any:
    """Load a promoted model, as `neural_classifiers.load` describes it; of a kind, if one is given.

    Raises
    ------
    NotPromotedError
    """
    folder = Path(where)
    if str(where) in KINDS:
        serving = serving_version(str(where))
        if serving is None:
            raise NotPromotedError(
                f"expected a promoted model of {where}, got none: neural-classifiers promote last"
            )
        folder = version_folder(serving)
    elif folder.name == str(where) and not folder.is_dir():
        folder = version_folder(folder.name)
    if not (folder / MANIFEST).is_file():
        known = [path.name for path in _version_folders()]
        raise NotPromotedError(
            f"{folder}: expected a promoted model, got none; known versions: {known}"
        )
    model = read_model(folder, folder.name if folder.parent == paths.models() else None)
    if kind not in (None, got := model.manifest["kind"]):
        raise NotPromotedError(f"{model.version}: expected a model of {kind}, got one of {got}")
    return model


def version_folder(version: str) -> Path:
    """The folder of a version's files.

    Raises
    ------
    NotPromotedError
        If it is no plain name: a version is no path.
    """
    if not _VERSION.fullmatch(version):
        raise NotPromotedError(f"expected the name of a version, got {version[:200]!r}")
    return paths.models() / version


def serving_version(kind: str) -> str | None:
    """The version that serves, or None."""
    promoted = _read_serving()[kind]["promoted"]
    return promoted[-1]["version"] if promoted else None


def fault_of(version: str) -> str | None:
    """The first fault of a version's files, or None: every one is held against its digest."""
    folder = version_folder(version)
    try:
        manifest = read_manifest(folder, version)
        for name in manifest["files"]:
            read_file(folder, manifest, name)
        if "encoder" in manifest:
            read_encoder(folder, manifest)
    except NotPromotedError as error:
        return str(error)
    return None


def all_versions() -> list[dict[str, Any]]:
    """Every version: its manifest, ``serves``, and ``promoted`` (when; None if rolled back)."""
    since = {
        each["version"]: each["at"]
        for of_kind in _read_serving().values()
        for each in of_kind["promoted"]
    }
    serving = {serving_version(kind) for kind in KINDS}
    versions = [
        read_manifest(folder, folder.name)
        | {"serves": folder.name in serving, "promoted": since.get(folder.name)}
        for folder in _version_folders()
    ]
    return sorted(versions, key=lambda v: (v["kind"], v["promoted"] or "", v["version"]))


def _version_folders() -> list[Path]:
    return sorted(path.parent for path in paths.models().glob(f"[!.]*/{MANIFEST}"))


def add_version(
    manifest: Mapping[str, Any],
    files: Mapping[str, bytes],
    check: Callable[[Path], bool] = lambda folder: True,
    encoder: Mapping[str, bytes] | None = None,
) -> str | None:
    """Add a version to the registry, where it stays; to be called within `one_at_a_time`.

    The `manifest` lacks ``files`` and ``version``, which are made of `files` and of all the rest,
    and the ``files`` of its ``encoder``, which are kept once for all versions that begin with it.
    `check` takes the folder before it has the version's name: where it answers False, nothing is
    left of it, and there is no name to return.
    """
    complete = {**manifest, "files": _digests(files)}
    if encoder:
        complete["encoder"] = {**manifest["encoder"], "files": _digests(encoder)}
    version = complete["version"] = version_of(complete)
    unfinished = paths.models() / _WRITING / version
    shutil.rmtree(unfinished.parent, ignore_errors=True)  # left by a kill
    try:
        make_folder(unfinished)
        if encoder:
            _keep_encoder(unfinished.parent / ENCODERS, complete["encoder"]["sha256"], encoder)
        for name, content in files.items():
            write_durably(unfinished / name, content)
        write_durably(unfinished / MANIFEST, as_json(complete))
        if not check(unfinished):
            return None
        if not version_folder(version).is_dir():  # else the same bytes, as the name is their digest
            for path in unfinished.iterdir():
                path.chmod(0o444)
            unfinished.rename(version_folder(version))
            sync(paths.models())
        return version
    finally:
        shutil.rmtree(unfinished.parent, ignore_errors=True)


def _keep_encoder(unfinished: Path, sha256: str, files: Mapping[str, bytes]) -> None:
    home = paths.models() / ENCODERS / sha256[:16]
    if home.is_dir():
        return
    make_folder(unfinished)
    for name, content in files.items():
        write_durably(unfinished / name, content)
        (unfinished / name).chmod(0o444)
    make_folder(home.parent)
    unfinished.rename(home)
    sync(home.parent)


def _digests(files: Mapping[str, bytes]) -> dict[str, dict[str, Any]]:
    return {
        name: {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
        for name, content in files.items()
    }


def check_in_clean_process(folder: Path) -> tuple[bool, str]:
    """Whether a process that has nothing but the folder answers the examples as recorded."""
    command = [sys.executable, "-m", __name__, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=CHECK_S, check=False)
    lines = (done.stderr if done.returncode else done.stdout).strip().splitlines()
    return not done.returncode, lines[-1] if lines else f"it ended with {done.returncode}"


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Promotions and rollbacks take turns; the lock ends with its process."""
    make_folder(paths.models())
    with locked(paths.models()):
        yield


def let_serve(kind: str, version: str) -> None:
    """Let a version serve from now on; to be called within `one_at_a_time`."""
    serving = _read_serving()
    _append(serving, kind, "promoted", version)


def roll_back(kind: str) -> tuple[str, str | None]:
    """Let the version before serve again; which one served, and which does now (None: none).

    Raises
    ------
    NotPromotedError
        If none serves.
    """
    with one_at_a_time():
        serving = _read_serving()
        if not serving[kind]["promoted"]:
            raise NotPromotedError(f"expected a model of {kind} that serves, got none")
        version = serving[kind]["promoted"].pop()["version"]
        _append(serving, kind, "rolled_back", version)
    return version, serving_version(kind)


def rolled_back(kind: str) -> dict[str, str]:
    """When each version was rolled back, by the digest of its model's parameters."""
    return {
        read_manifest(version_folder(each["version"]))["parameters_sha256"]: each["at"]
        for each in _read_serving()[kind]["rolled_back"]
    }


def _read_serving() -> dict[str, dict[str, list[dict[str, str]]]]:
    """For each kind the versions that were ``promoted`` and ``rolled_back``, each with ``at``."""
    path = paths.models() / SERVING_FILE
    try:
        serving = json.loads(path.read_bytes()) if path.exists() else {}
        return {kind: {"promoted": [], "rolled_back": []} | serving.get(kind, {}) for kind in KINDS}
    except (ValueError, TypeError, AttributeError) as error:
        raise NotPromotedError(
            f"{path}: expected the versions that serve, got {error!r}; put it back from a backup"
        ) from None


def _append(serving: Mapping[str, Any], kind: str, what: str, version: str) -> None:
    """Write what serves, with a version that is promoted, or rolled back, now."""
    serving[kind][what].append(
        {"version": version, "at": datetime.now(UTC).isoformat(timespec="seconds")}
    )
    write_durably(paths.models() / SERVING_FILE, as_json(serving))


if __name__ == "__main__":  # `check_in_clean_process`
    _model = load(sys.argv[1])
    _furthest = furthest_from_examples(_model, read_file(_model.folder, _model.manifest, EXAMPLES))
    sys.stdout.write(
        f"{_model.version} answers its examples within {_furthest:.3g} of what is recorded\n"
    )
