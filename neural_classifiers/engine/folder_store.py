"""Work in progress, durable as it comes: a mapping of names to bytes in a folder of small files.

A search keeps every finished fit in one, a training its last epoch, so that a kill costs no more
than what was under way. Values are whole or absent. Batches of rows (`engine.rows.batches`) lie
in the same place, `unfinished`, as files that are read piece by piece.
"""

from collections.abc import Iterator, MutableMapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from neural_classifiers.engine import paths
from neural_classifiers.engine.files import make_folder, write_durably
from neural_classifiers.engine.locks import locked
from neural_classifiers.engine.records import UNFINISHED, Key


def unfinished(folder: Path) -> Path:
    """The folder for what a step has finished before its record, made in `folder`, stands."""
    return paths.cache() / UNFINISHED / folder.name


def fits_namespace(key: Key, train: Any) -> str:
    """Name below `records.FITS` for the single fits that a step with this code makes of these rows.

    Like the key of the step's record, without what the fits themselves name: their
    candidate, and their rows.
    """
    return replace(key, parameters={}, inputs={"train": train}).digest


class FolderStore(MutableMapping[str, bytes]):
    """A mapping that outlives the process; each name is a file, each assignment durable.

    Parameters
    ----------
    folder : Path
        Made with the first value. Names are used as file names, so they are plain words or hex.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __getitem__(self, name: str) -> bytes:
        try:
            return self._path(name).read_bytes()
        except FileNotFoundError:
            raise KeyError(name) from None

    def __setitem__(self, name: str, value: bytes) -> None:
        path = self._path(name)
        make_folder(self.folder)
        with locked(self.folder):  # two runs may finish the same fit at once
            write_durably(path, value)

    def __delitem__(self, name: str) -> None:
        try:
            self._path(name).unlink()
        except FileNotFoundError:
            raise KeyError(name) from None

    def __iter__(self) -> Iterator[str]:
        if not self.folder.is_dir():
            return iter(())
        return iter(sorted(p.name for p in self.folder.iterdir() if not p.name.startswith(".")))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _path(self, name: str) -> Path:
        if not name or not name.replace("-", "").replace("_", "").isalnum():
            raise ValueError(f"expected a name of letters, digits, - and _, got {name!r}")
        return self.folder / name
