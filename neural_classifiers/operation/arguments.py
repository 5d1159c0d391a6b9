"""Texts and paths among the arguments of ``predict``: none is ever taken for the other."""

# os.path answers for any text, pathlib raises for a long one
# ruff: noqa: PTH112, PTH113, PTH118, PTH120, PTH208

import contextlib
import difflib
import os
import re
from collections.abc import Sequence
from pathlib import Path

from neural_classifiers.digits.layouts import IMAGE_SUFFIXES
from neural_classifiers.errors import RefusedError

SUFFIXES = (
    *".jsonl .ndjson .json .csv .tsv .tab .txt .parquet .npz .gz .zst .zip .bz2 .xz".split(),
    *IMAGE_SUFFIXES,
)


def files_among(arguments: Sequence[str], is_any_path: bool = False) -> list[Path]:
    """The files that arguments name; none where all are texts.

    Parameters
    ----------
    arguments : sequence of str
    is_any_path : bool
        True: none is a text.

    Raises
    ------
    RefusedError
        If an argument names no file where it must, since others do, or can hardly be meant as a
        text: a misspelt file, a folder, a pattern without a match.
    """
    is_any_path = is_any_path or any(map(os.path.isfile, arguments))
    for argument in arguments:
        if not os.path.isfile(argument) and (is_any_path or _looks_like_a_path(argument)):
            if os.path.isdir(argument):
                raise RefusedError(f"{argument}: expected files, got a folder: name those in it")
            similar = _similar_file(argument)
            meant = f", perhaps {similar}" if similar else ""
            raise RefusedError(
                f"{argument[:200]}: no such file{meant}; what is a text all the same: --text"
            )
    return [Path(argument) for argument in arguments] if is_any_path else []


def _looks_like_a_path(argument: str) -> bool:
    if os.path.lexists(argument):
        return True
    if any(map(str.isspace, argument)):
        folder = os.path.dirname(argument)
        return argument.lower().endswith(SUFFIXES) or (folder != "" and os.path.isdir(folder))
    is_named_so = re.search(r"[/\\*\[]|\w\.[^\W\d]\w*$", argument)
    return bool(is_named_so or _similar_file(argument))


def _similar_file(argument: str) -> str | None:
    """The file or folder whose name is nearly the same, if there is one."""
    folder, name = os.path.split(argument)
    with contextlib.suppress(OSError, ValueError):
        names = difflib.get_close_matches(name, os.listdir(folder or "."), 1, cutoff=0.8)
        return os.path.join(folder, names[0]) if names else None
    return None
