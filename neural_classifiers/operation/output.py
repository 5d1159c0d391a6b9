"""Output of the commands: one JSON object for programs, a table or a line for people."""

import argparse
import io
import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TextIO

_NUMBER = re.compile(r"[+-]?[\d,]*\.?\d+|-?")


class _ToWhoeverReads(io.FileIO):
    """A stream whose reader may go away: what comes then goes nowhere, and the work goes on."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            return memoryview(data).nbytes


def outlive_readers() -> None:
    """Make standard output and error outlive their readers, with "?" for what these cannot show.

    Streams that are not the system's, such as a test's, stay.
    """
    sys.stdout, sys.stderr = _outliving(sys.stdout), _outliving(sys.stderr)


def _outliving(stream: TextIO) -> TextIO:
    if stream not in (sys.__stdout__, sys.__stderr__):
        return stream
    stream.flush()
    raw = io.BufferedWriter(_ToWhoeverReads(stream.fileno(), "wb", closefd=False))
    is_at_once = stream.isatty() or stream is sys.__stderr__
    return io.TextIOWrapper(raw, stream.encoding, "replace", line_buffering=is_at_once)


def answer(
    parsed: argparse.Namespace, result: Mapping[str, Any], in_words: str | Callable[[Any], str]
) -> None:
    """Write a command's result: as JSON where ``--json`` is given, else in words."""
    words = in_words if isinstance(in_words, str) or parsed.json else in_words(result)
    sys.stdout.write(f"{json.dumps(result) if parsed.json else words}\n")


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lay rows out in columns as wide as their widest cell, numbers to the right.

    A column that needs no title has "".

    Examples
    --------
    >>> print(table(["model", "accuracy"], [["keras", "0.7500"], ["linear", "0.8125"]]))
    model   accuracy
    keras     0.7500
    linear    0.8125
    """
    columns = list(zip(header, *rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    right = [all(_NUMBER.fullmatch(cell) for cell in column[1:]) for column in columns]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if is_right and rows else cell.ljust(width)
            for cell, width, is_right in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in [header, *rows]
    )


def number(value: float | None, places: int = 1, sign: str = "") -> str:
    """Write a number with so many decimals; "-" where there is none."""
    return "-" if value is None else f"{value:{sign},.{places}f}"
