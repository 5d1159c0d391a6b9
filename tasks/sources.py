"""Where data comes from: a name in ``data/catalog.yaml``, or a path.

Catalogued files are got in one of several ways (`tasks.downloads`), checked against the digests of
the catalogue whatever the way, and moved into ``data/raw/<name>/`` only then (``reddit`` comes over
HTTPS and has none: what came first counts from then on). What lies there already is checked and not
got again. This is the one step that touches the network, so the one step that retries.
"""

import glob
import json
import os
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from prefect import Task, get_run_logger, task
from prefect.client.schemas.objects import TaskRun
from prefect.states import State
from pydantic import BaseModel, ConfigDict, Field

from neural_classifiers.arrays.unpacking import gunzip
from neural_classifiers.comments.packing import is_no_data
from neural_classifiers.digits.layouts import find_layout
from neural_classifiers.engine import paths
from neural_classifiers.engine.files import write_durably
from neural_classifiers.engine.records import File, digest_of
from neural_classifiers.engine.step import UNRECORDED
from neural_classifiers.errors import SourceError
from tasks.downloads import WAYS, DownloadError
from tasks.references import Source, in_utf8

AS_THEY_CAME = "digests.json"  # of files whose digests the catalogue does not know


class Entry(BaseModel):
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
    languages: list[str] = Field(default_factory=list)  # of an encoder, as the next
    pretrained_on: str = ""


def read_catalogue(path: Path) -> dict[str, Entry]:
    """The catalogue's entries by name."""
    described = yaml.safe_load(path.read_text(encoding="utf-8"))
    entries = {name: Entry.model_validate(entry) for name, entry in described.items()}
    for entry in entries.values():
        if entry.files_of_categories:
            listed = (path.parent / entry.files_of_categories).read_text(encoding="utf-8")
            for category, files in yaml.safe_load(listed).items():
                entry.files.update({file: {"category": category} for file in files})
    return entries


ENCODER_FILES = ("config.json", "model.safetensors", "tokenizer.json")


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
        Lines, CSV, TSV or Parquet. Digits: MNIST's four IDX files (plain or .gz), tables
        (``train.csv`` and perhaps ``test.csv``), images in ten folders named for their labels
        (perhaps below ``train`` and ``test``), each in a folder or in folders below it; or an
        ``.npz`` with ``x_train``, ``y_train`` and perhaps ``x_test`` and ``y_test``.
    kind : str
        ``comments`` or ``digits``.

    Raises
    ------
    SourceError
        Unknown name, missing path, data of the other kind, a digest that differs.
    DownloadError
        No way to get it worked; the task tries again.
    """
    raw = find_source(source, kind)
    get_run_logger().info("%s", raw.in_words())
    if raw.passed_over:
        listed = ", ".join(raw.passed_over[:5])
        get_run_logger().warning("passed over %d files: %s", len(raw.passed_over), listed)
    return raw


@task(task_run_name="fetch_encoder", **UNRECORDED)
def fetch_encoder(encoder: str | None) -> Source | None:
    """The files of a pretrained encoder: a name in the catalogue, or a folder with the three.

    Returns
    -------
    Source or None
        None where none was asked for, and where a catalogued one cannot be had, which a warning
        says: a run goes on without it.

    Raises
    ------
    SourceError
        Unknown name, missing files, a digest that differs.
    """
    if encoder is None:
        return None
    try:
        found = find_source(encoder, "encoder")
    except DownloadError as error:
        get_run_logger().warning("the pretrained model is left out, for want of files: %s", error)
        return None
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
    passed_over: list[str] = []
    if path.exists():
        path = path.resolve()
        form, files, passed_over = FORMS[kind](path)
    elif kind == "comments" and glob.has_magic(source):
        form, (files, passed_over) = "rows", _files_of_pattern(str(path))
    else:
        known = ", ".join(name for name, entry in entries.items() if entry.kind == kind)
        raise SourceError(
            f"{source}: expected a path that exists or one of the catalogue's {kind} ({known}), "
            "got neither"
        )
    return Source(
        name=in_utf8(path.stem if form == "npz" else path.name),
        passed_over=list(map(in_utf8, passed_over)),
        kind=kind,
        format=form,
        files={in_utf8(name): File.of(file) for name, file in files.items()},
        categories=sorted({name.split("/")[1] for name in files}) if form == "images" else None,
    )


def _files_of_comments(path: Path) -> tuple[str, dict[str, Path], list[str]]:
    return "rows", *_files_below(path)


def _files_of_encoder(path: Path) -> tuple[str, dict[str, Path], list[str]]:
    files = {name: path / name for name in ENCODER_FILES}
    if missing := [name for name, file in files.items() if not file.is_file()]:
        raise SourceError(
            f"{path}: expected a folder with the files {', '.join(files)} of an encoder, got no "
            f"{', '.join(missing)}"
        )
    return "bert", files, []


def _files_of_pattern(pattern: str) -> tuple[dict[str, Path], list[str]]:
    matches = glob.glob(pattern, recursive=True)  # noqa: PTH207 (Path.glob wants a root)
    files = sorted(file for file in map(Path, matches) if file.is_file())
    if not files:
        raise SourceError(f"{pattern}: expected files of that pattern, got none")
    above = Path(os.path.commonpath([file.absolute().parent for file in files]))
    return _data_among(above, {file.absolute(): file for file in files})


def _files_below(path: Path) -> tuple[dict[str, Path], list[str]]:
    """A file, or those below a folder that are data by their names; and those that are not."""
    if path.is_file():
        return {path.name: path}, []
    if not path.is_dir():
        raise SourceError(f"{path}: expected a file or a folder, got neither: a pipe, a device?")
    return _data_among(path, {entry: entry for entry in sorted(path.rglob("*"))})


def _data_among(folder: Path, entries: Mapping[Path, Path]) -> tuple[dict[str, Path], list[str]]:
    """Files that lie in a folder, by their names there, and the names of those passed over.

    Raises
    ------
    SourceError
        If a link leaves the folder, for then whoever may put files there would read what the user
        can, or there is no file of data.
    """
    files, passed_over = {}, []
    for entry, file in entries.items():
        name = entry.relative_to(folder).as_posix()
        if file.is_symlink() and not file.resolve().is_relative_to(folder.resolve()):
            raise SourceError(
                f"{file}: expected files of the folder, got a link that leaves it, to "
                f"{file.resolve()}: copy the file, or name it as the source"
            )
        if file.is_file() and not is_no_data(name):
            files[name] = file
        elif not file.is_dir() or file.is_symlink():
            passed_over.append(name)
    if not files:
        raise SourceError(f"{folder}: expected files, got a folder without any")
    return files, passed_over


def _files_of_digits(path: Path) -> tuple[str, dict[str, Path], list[str]]:
    """Format and files of digits, by what they are for, and what is passed over."""
    inside, passed_over = _files_below(path)
    if path.is_file():
        form = next((form for form in ("npz", "csv") if f".{form}" in path.name.lower()), None)
        if form is None:
            raise SourceError(
                f"{path}: expected an .npz file, a table (.csv) or the folder of the other files, "
                f"got {path.name}"
            )
        return form, inside, []
    layout = find_layout(list(inside), str(path))
    files = {
        role: _one_of([inside[name] for name in names]) for role, names in layout.files.items()
    }
    return layout.format, files, [*layout.passed_over, *passed_over]


def _one_of(copies: list[Path]) -> Path:
    """The first of files that unpack to the same bytes, as downloads and archivers leave them."""
    if len(copies) > 1:
        contents = [path.read_bytes() for path in copies]
        contents = [
            gunzip(data, str(path)) if path.suffix.lower() == ".gz" else data
            for path, data in zip(copies, contents, strict=True)
        ]
        if len(set(contents)) > 1:
            names = ", ".join(map(str, copies[:5]))
            raise SourceError(f"expected one file of digits, got several that differ: {names}")
    return copies[0]


FORMS = {
    "comments": _files_of_comments,
    "digits": _files_of_digits,
    "encoder": _files_of_encoder,
}


def _from_catalogue(name: str, entry: Entry, folder: Path) -> Source:
    expected = {file: described.get("sha256", "") for file, described in entry.files.items()}
    if not all(expected.values()) and (folder / AS_THEY_CAME).is_file():
        expected |= json.loads((folder / AS_THEY_CAME).read_bytes())
    _refuse_damaged(name, folder, expected, aside=folder)
    if any(not (folder / file).is_file() for file in expected):
        _download(name, entry, folder, expected)
    return Source(
        name=name,
        files={file: File.of(folder / file) for file in expected},
        file_categories={
            file: described["category"]
            for file, described in entry.files.items()
            if "category" in described
        },
        **entry.model_dump(include=set(Source.model_fields) - {"files"}),
    )


def _download(name: str, entry: Entry, folder: Path, expected: dict[str, str]) -> None:
    """Try each way; move the files into place once all have their digests (``""``: any)."""
    folder.mkdir(parents=True, exist_ok=True)
    failures = []
    for way in entry.get:
        with tempfile.TemporaryDirectory(prefix=".getting-", dir=folder) as temporary:
            arrived = Path(temporary)
            try:
                WAYS[way["way"]](way, expected, arrived)
            except (DownloadError, OSError, subprocess.SubprocessError) as error:
                failures.append(f"{way['way']}: {error}")
                continue
            _refuse_damaged(f"{name}, got by {way['way']}", arrived, expected, aside=folder)
            if not all(expected.values()):
                came = {file: digest_of(arrived / file) for file in expected}
                write_durably(folder / AS_THEY_CAME, json.dumps(came, indent=1).encode())
            for file in expected:
                (folder / file).parent.mkdir(parents=True, exist_ok=True)
                (arrived / file).replace(folder / file)
        return
    raise DownloadError(f"{name}: no way to get it worked ({'; '.join(failures)})")


def _refuse_damaged(name: str, folder: Path, expected: dict[str, str], aside: Path) -> None:
    """Raise at the first file of a folder whose digest is another, and set it aside."""
    for file, sha256 in expected.items():
        path = folder / file
        if path.is_file() and sha256 and (got := digest_of(path)) != sha256:
            wrong = path.rename(aside / f"{path.name}.wrong-{got[:8]}")
            raise SourceError(
                f"{name}, {file}: expected sha256 {sha256}, got {got}; set aside as {wrong}. "
                "Run again to get it anew"
            )
