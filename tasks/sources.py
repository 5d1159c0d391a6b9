"""Where data comes from: a name in ``data/catalog.yaml``, or a path.

Catalogued files are got by package clients, checked against the digests of the catalogue whatever
the way, and moved into ``data/raw/<name>/`` only then (``reddit`` comes over HTTPS and has none:
what came first counts from then on). What lies there already is checked and not got again. This is
the one step that touches the network, so the one step that retries.
"""

import contextlib
import glob
import gzip
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml
from prefect import Task, get_run_logger, task
from prefect.client.schemas.objects import TaskRun
from prefect.states import State
from pydantic import BaseModel, ConfigDict, Field

from neural_classifiers.checks import SourceError
from neural_classifiers.engine import paths
from neural_classifiers.engine.files import write_durably
from neural_classifiers.engine.records import File, digest_of
from neural_classifiers.engine.step import UNRECORDED
from tasks.references import Source

HTTPS = "https"
AS_THEY_CAME = "digests.json"  # of files whose digests the catalogue does not know


class DownloadError(RuntimeError):
    """A way to get the data failed, perhaps for now."""


class _Entry(BaseModel):
    """An entry of the catalogue."""

    model_config = ConfigDict(extra="forbid")

    kind: str
    title: str
    description: str
    licence: str
    citation: str
    format: str
    get: list[dict[str, str]]
    files: dict[str, dict[str, str]] = Field(default_factory=dict)
    categories: list[str]
    text_columns: list[str] | None = None
    quoted: bool = True
    files_of_categories: str | None = None  # a list beside the catalogue, by category


def read_catalogue(path: Path) -> dict[str, _Entry]:
    """The catalogue's entries by name."""
    told = yaml.safe_load(path.read_text(encoding="utf-8"))
    entries = {name: _Entry.model_validate(entry) for name, entry in told.items()}
    for entry in entries.values():
        if entry.files_of_categories:
            listed = (path.parent / entry.files_of_categories).read_text(encoding="utf-8")
            for category, files in yaml.safe_load(listed).items():
                entry.files.update({file: {"category": category} for file in files})
    return entries


def _may_pass(task: Task[..., Any], task_run: TaskRun, state: State) -> bool:
    """Whether trying again may help: after a failed download, not after a wrong path."""
    return isinstance(state.result(raise_on_failure=False), DownloadError)


@task(
    task_run_name="fetch_source",
    retries=2,
    retry_delay_seconds=[5, 20],
    retry_condition_fn=_may_pass,
    **UNRECORDED,
)
def fetch_source(source: str, kind: str) -> Source:
    """The source of a name in the catalogue or of a path, with every file checked.

    Parameters
    ----------
    source : str
        Name in ``data/catalog.yaml``, or a path. Comments: a file, a folder or a glob of JSON
        Lines, CSV, TSV or Parquet. Digits: a folder with the four IDX files of MNIST's names
        (plain or .gz), a folder of PNGs in ten folders named for their labels (perhaps below
        ``train`` and ``test``), or an ``.npz`` with ``x_train``, ``y_train`` and perhaps ``x_test``
        and ``y_test``.
    kind : str
        ``comments`` or ``digits``.

    Raises
    ------
    SourceError
        Unknown name, missing path, data of the other kind, a digest that differs.
    DownloadError
        No way to get it worked; the task tries again.
    """
    found = find_source(source, kind)
    get_run_logger().info("%s", found.in_words())
    return found


def find_source(source: str, kind: str) -> Source:
    """As `fetch_source`, without Prefect."""
    entries = read_catalogue(paths.catalogue())
    if source in entries:
        if entries[source].kind != kind:
            raise SourceError(f"{source}: expected a source of {kind}, got {entries[source].kind}")
        return _from_catalogue(source, entries[source], paths.raw_data() / source)
    path = Path(source).expanduser()
    if kind == "comments" and not path.exists() and glob.has_magic(source):
        return _from_glob(str(path))
    if not path.exists():
        known = ", ".join(name for name, entry in entries.items() if entry.kind == kind)
        raise SourceError(
            f"{source}: expected a path that exists or one of the catalogue's {kind} ({known}), "
            "got neither"
        )
    return _from_path(path.resolve(), kind)


def _from_path(path: Path, kind: str) -> Source:
    if kind == "digits":
        return _digits_from_path(path)
    found = _files_below(path) if path.is_dir() else {path.name: path}
    if not found:
        raise SourceError(f"{path}: expected files of comments, got a folder without any")
    files = {name: File.of(file) for name, file in found.items()}
    return Source(name=path.name, kind=kind, format="rows", files=files)


def _digits_from_path(path: Path) -> Source:
    """Digits as an ``.npz``, as four IDX files, or as a folder of PNGs for each of ten labels."""
    labels = None
    if path.is_file():
        if path.suffix != ".npz":
            raise SourceError(f"{path}: expected a folder or an .npz file, got {path.name}")
        form, files = "npz", {path.name: path}
    elif pngs := sorted(path.rglob("*.png")):
        form, files = "png", {png.relative_to(path).as_posix(): png for png in pngs}
        labels = sorted({png.parent.name for png in pngs})
        if len(labels) != 10:
            raise SourceError(
                f"{path}: expected PNG files in ten folders, one a label, got the folders {labels}"
            )
    else:
        form, files = "idx", _idx_files(path)
    return Source(
        name=path.stem if form == "npz" else path.name,
        kind="digits",
        format=form,
        files={name: File.of(file) for name, file in files.items()},
        categories=labels,
    )


def _idx_files(folder: Path) -> dict[str, Path]:
    """MNIST's four files, each plain or with ``.gz``, under their plain names."""
    names = read_catalogue(paths.catalogue())["mnist"].files
    found = {
        name: file
        for name in names
        for file in (folder / f"{name}.gz", folder / name)
        if file.is_file()
    }
    if missing := [name for name in names if name not in found]:
        raise SourceError(
            f"{folder}: expected the files {', '.join(names)} (plain or .gz) or folders of PNG "
            f"files, got no {', '.join(missing)}"
        )
    return {name: found[name] for name in names}


def _from_glob(pattern: str) -> Source:
    matched = glob.glob(pattern, recursive=True)  # noqa: PTH207 (Path.glob wants a root)
    found = sorted(path for path in map(Path, matched) if path.is_file())
    if not found:
        raise SourceError(f"{pattern}: expected files of that pattern, got none")
    above = Path(os.path.commonpath([path.resolve().parent for path in found]))
    files = {path.resolve().relative_to(above).as_posix(): File.of(path) for path in found}
    return Source(name=Path(pattern).name, kind="comments", format="rows", files=files)


def _files_below(folder: Path) -> dict[str, Path]:
    """Files of a folder and those inside it; hidden ones and ``_SUCCESS`` and its like are none."""
    found = {}
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if path.is_file() and not any(part.startswith((".", "_")) for part in inside.parts):
            found[inside.as_posix()] = path
    return found


def _from_catalogue(name: str, entry: _Entry, folder: Path) -> Source:
    expected = {file: told.get("sha256", "") for file, told in entry.files.items()}
    if _unknown(expected):
        expected |= _digests_as_they_came(folder)
    _set_damaged_aside(folder, expected)
    if any(not (folder / file).is_file() for file in expected):
        _get(name, entry, folder, expected)
    return Source(
        name=name,
        kind=entry.kind,
        format=entry.format,
        files={file: File.of(folder / file) for file in expected},
        file_categories={
            f: told["category"] for f, told in entry.files.items() if "category" in told
        },
        categories=entry.categories,
        text_columns=entry.text_columns,
        quoted=entry.quoted,
        licence=entry.licence,
        citation=entry.citation.strip(),
    )


def _unknown(expected: dict[str, str]) -> bool:
    """Whether the catalogue has no digest of some file: then the first one that comes counts."""
    return not all(expected.values())


def _digests_as_they_came(folder: Path) -> dict[str, str]:
    path = folder / AS_THEY_CAME
    return json.loads(path.read_bytes()) if path.is_file() else {}


def _set_damaged_aside(folder: Path, expected: dict[str, str]) -> None:
    for file, sha256 in expected.items():
        path = folder / file
        if path.is_file() and sha256 and (got := digest_of(path)) != sha256:
            aside = path.rename(path.with_name(f"{file}.wrong-{got[:8]}"))
            raise SourceError(
                f"{path}: expected sha256 {sha256}, got {got}; set aside as {aside.name}. "
                "Run again to get it anew"
            )


def _get(name: str, entry: _Entry, folder: Path, expected: dict[str, str]) -> None:
    """Try each way; move the files into place once all have their digests."""
    folder.mkdir(parents=True, exist_ok=True)
    failures = []
    for way in entry.get:
        with _beside(way["way"], folder) as beside:
            try:
                _WAYS[way["way"]](way, list(expected), beside)
            except (DownloadError, OSError, subprocess.SubprocessError) as error:
                failures.append(f"{way['way']}: {error}")
                continue
            for file, sha256 in expected.items():
                got = digest_of(beside / file)
                if got != (sha256 or got):
                    aside = (beside / file).rename(folder / f"{file}.wrong-{got[:8]}")
                    raise SourceError(
                        f"{name}, {file}, got by {way['way']}: expected sha256 {sha256}, "
                        f"got {got}; set aside as {aside}"
                    )
            if _unknown(expected):
                came = {file: digest_of(beside / file) for file in expected}
                write_durably(folder / AS_THEY_CAME, json.dumps(came, indent=1).encode())
            for file in expected:
                (folder / file).parent.mkdir(parents=True, exist_ok=True)
                (beside / file).replace(folder / file)
        if way["way"] == HTTPS:
            shutil.rmtree(beside)
        return
    raise DownloadError(f"{name}: no way to get it worked ({'; '.join(failures)})")


@contextlib.contextmanager
def _beside(way: str, folder: Path) -> Iterator[Path]:
    """A folder for files that are not all there yet; what came by HTTPS stays for the next try."""
    if way == HTTPS:
        beside = folder / ".getting"
        beside.mkdir(exist_ok=True)
        yield beside
        return
    with tempfile.TemporaryDirectory(prefix=".getting-", dir=folder) as temporary:
        yield Path(temporary)


def _get_by_https(way: dict[str, str], files: list[str], beside: Path) -> None:
    """Files below one address, each where it stopped the last time."""
    from tasks import downloads

    try:
        downloads.fetch(way["address"], files, beside)
    except downloads.HttpError as error:
        raise DownloadError(
            f"{error}. What came is kept; without this address, give a folder of the files "
            "as the source"
        ) from error


def _get_by_pip(way: dict[str, str], files: list[str], beside: Path) -> None:
    """Take files from a wheel; pip checks the wheel's digest."""
    requirement = beside / "requirement.txt"
    requirement.write_text(f"{way['requirement']} --hash=sha256:{way['sha256']}\n")
    options = ["--quiet", "--no-deps", "--require-hashes", "--only-binary=:all:"]
    where = ["--dest", str(beside), "--requirement", str(requirement)]
    _call([sys.executable, "-m", "pip", "download", *options, *where])
    [wheel] = beside.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        for file in files:
            (beside / file).write_bytes(archive.read(f"{way['folder']}/{file}"))


def _get_by_npm(way: dict[str, str], files: list[str], beside: Path) -> None:
    """Take files from an npm package; its digest is checked here."""
    _call(["npm", "pack", way["requirement"], "--silent", "--ignore-scripts"], cwd=beside)
    [package] = beside.glob("*.tgz")
    if (got := digest_of(package)) != way["sha256"]:
        raise DownloadError(f"{package.name}: expected sha256 {way['sha256']}, got {got}")
    with tarfile.open(package) as archive:
        for file in files:
            member = archive.extractfile(f"{way['folder']}/{file}")
            if member is None:
                raise DownloadError(f"{package.name}: expected the file {file}, got none")
            (beside / file).write_bytes(member.read())


def _get_by_folder(way: dict[str, str], files: list[str], beside: Path) -> None:
    """Take files that an installed package of the system has put into a folder, unzipped."""
    folder = Path(way["folder"])
    for file in files:
        path = folder / f"{file}.gz"
        if not path.is_file():
            raise DownloadError(f"expected {path} (of the package {way['package']}), got no file")
        (beside / file).write_bytes(gzip.decompress(path.read_bytes()))


def _get_by_keras(way: dict[str, str], files: list[str], beside: Path) -> None:
    """Take a set of digits from Keras and write it as the IDX files it was made of."""
    import keras

    try:
        data = getattr(keras.datasets, way.get("dataset", "mnist"))
        (x_train, y_train), (x_test, y_test) = data.load_data()
    except Exception as error:  # Keras raises a bare Exception when its download fails
        raise DownloadError(str(error)) from error
    for file, array in zip(files, (x_train, y_train, x_test, y_test), strict=True):
        (beside / file).write_bytes(to_idx(array))


def to_idx(array: Any) -> bytes:
    """An array of bytes as an IDX file: magic, sizes as big-endian 32 bits, values."""
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes()


_WAYS: dict[str, Callable[[dict[str, str], list[str], Path], None]] = {
    "pip": _get_by_pip,
    "npm": _get_by_npm,
    "folder": _get_by_folder,
    "keras": _get_by_keras,
    HTTPS: _get_by_https,
}


def _call(command: list[str], cwd: Path | None = None) -> None:
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            capture_output=True,
            text=True,
            timeout=600,
            env=os.environ,
            check=False,
        )
    except FileNotFoundError:
        raise DownloadError(
            f"expected the program {command[0]}, got none on this machine"
        ) from None
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        words = " ".join(" ".join(said[-3:]).split())  # pip names both digests in its last three
        raise DownloadError(f"{' '.join(command[:4])} ended with {done.returncode}: {words}")
