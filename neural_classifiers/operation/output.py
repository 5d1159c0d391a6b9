"""Output of the commands: one JSON object for programs, a table or a line for people."""

import argparse
import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

_NUMBER = re.compile(r"[+-]?[\d,]*\.?\d+|-?")


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
