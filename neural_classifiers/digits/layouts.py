"""Which files of a folder are digits, by their names: as MNIST's sources and archivers leave them.

Nothing is left out without a word: what is no part of the digits is `passed_over`.
"""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from neural_classifiers.digits.files import N_CLASSES
from neural_classifiers.errors import SourceError

IMAGE_SUFFIXES = tuple(".png .jpg .jpeg .jfif .bmp .gif .tif .tiff .webp .pgm .pnm .ppm".split())
PARTS = ("train", "test")
IDX_ROLES = tuple(f"{part} {kind}s" for part in PARTS for kind in ("image", "label"))
# "train-images.idx3-ubyte", "EMNIST-digits-test-labels-idx1-ubyte.gz", "t10k-images-idx3-ubyte"
_IDX = re.compile(r"(?:.*[^a-z])?(train|t10k|test)[^a-z]*(image|label)s?[^a-z]*(?:idx|ubyte).*")
_PART = re.compile(r"(?<![a-z])(train|test|t10k)")
_SHOWN = 5  # names in a message

Files = dict[str, list[str]]


class Layout(NamedTuple):
    """Files of digits in a folder.

    Attributes
    ----------
    format : str
        ``idx``, ``csv``, ``npz`` or ``images``.
    files : dict of str to list of str
        For IDX those of `IDX_ROLES`; for tables ``train`` and perhaps ``test``; for an ``.npz``
        ``npz``: each with every file that may be meant, the one to prefer first. For images
        ``<part>/<label>/<name>``, the part ``train`` or ``test``, with the one file.
    passed_over : list of str
    """

    format: str
    files: Files
    passed_over: list[str]


def find_layout(names: Sequence[str], where: str) -> Layout:
    """The layout of the files below a folder, hidden ones left out.

    Parameters
    ----------
    names : sequence of str
        Paths of files relative to the folder, parts separated by ``/``.
    where : str
        What the folder is called in error messages.

    Raises
    ------
    SourceError
        If there are no digits, or of two kinds, or some are missing.
    """
    plain_first = sorted(names, key=lambda name: (_ends(name, ".gz"), name))
    npz = [name for name in plain_first if _ends(name, ".npz")]
    forms = {
        "idx": _idx_files(plain_first),
        "csv": _tables(plain_first),
        "npz": {"npz": npz} if npz else {},
    }
    forms = {form: files for form, files in forms.items() if files}
    images = _images(sorted(names))
    labels = sorted({name.split("/")[1] for name in images})
    if images and (len(labels) == N_CLASSES or not forms):
        forms["images"] = images
    if not forms:
        raise SourceError(
            f"{where}: expected the four files of MNIST (train-images-idx3-ubyte, ..., plain or "
            ".gz), a table (train.csv), an .npz file or images in ten folders, one a label, got "
            f"{_listed(names)}"
        )
    if len(forms) > 1:
        firsts = " and ".join(next(iter(files.values()))[0] for files in forms.values())
        raise SourceError(
            f"{where}: expected digits in one form, got {firsts}: name the folder or the file that "
            "is wanted"
        )
    [(form, files)] = forms.items()
    if form == "images":
        _check_images(files, labels, where)
    if form == "idx" and (missing := [role for role in IDX_ROLES if role not in files]):
        raise SourceError(
            f"{where}: expected training and test images and their labels, got no "
            f"{', '.join(missing)} in {_listed(names)}"
        )
    used = {name for candidates in files.values() for name in candidates}
    return Layout(form, files, [name for name in sorted(names) if name not in used])


def _idx_files(names: Sequence[str]) -> Files:
    files: Files = {}
    for name in names:
        if match := _IDX.fullmatch(name.lower().rpartition("/")[2]):
            part = "train" if match[1] == "train" else "test"
            files.setdefault(f"{part} {match[2]}s", []).append(name)
    return {role: files[role] for role in IDX_ROLES if role in files}


def _tables(names: Sequence[str]) -> Files:
    """Tables by the set that their names speak of; where none does, they are for training."""
    files: Files = {}
    for name in names:
        if _ends(name, ".csv", ".csv.gz"):
            files.setdefault(_part_of(name.rpartition("/")[2]), []).append(name)
    if unnamed := files.pop("", []):
        files.setdefault("train", unnamed)
    return {part: files[part] for part in PARTS if part in files} if "train" in files else {}


def _images(names: Sequence[str]) -> Files:
    """Images in folders that are their labels, perhaps below a folder for each set."""
    found = [name.split("/") for name in names if _ends(name, *IMAGE_SUFFIXES)]
    # beside the folders of the labels, or with the name of a set for a folder: without a label
    found = [path for path in found if len(path) > 1 and not _part_of(path[-2])]
    levels = [set(level) for level in zip(*(path[:-2] for path in found), strict=False)]
    shared = next((i for i, level in enumerate(levels) if len(level) > 1), len(levels))
    files = {}
    for path in found:
        *above, label, _ = path[shared:]
        name = "/".join(path)
        files[f"{above[0] if above else 'train'}/{label}/{name}"] = [name]
    parts = {name.partition("/")[0] for name in files}
    if sorted(map(_part_of, parts)) in (["train"], ["test", "train"]):
        return {f"{_part_of(name)}/{name.partition('/')[2]}": path for name, path in files.items()}
    return files


def _check_images(files: Mapping[str, object], labels: Sequence[str], where: str) -> None:
    parts = sorted({name.partition("/")[0] for name in files})
    if parts not in (["train"], ["test", "train"]):
        raise SourceError(
            f"{where}: expected <label>/<image>, or train/<label>/<image> and "
            f"test/<label>/<image>, got images below {_listed(parts)}"
        )
    if len(labels) != N_CLASSES:
        raise SourceError(
            f"{where}: expected images in ten folders, one a label, got the folders "
            f"{_listed(labels)}"
        )


def _part_of(name: str) -> str:
    """The set that a name speaks of, "train" or "test"; "" for neither."""
    found = _PART.search(name.lower())
    return "" if found is None else "train" if found[1] == "train" else "test"


def _ends(name: str, *suffixes: str) -> bool:
    return name.lower().endswith(suffixes)


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    return (", ".join(names[:_SHOWN]) or "no file") + more
