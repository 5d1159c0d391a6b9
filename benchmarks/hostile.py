"""Files and texts made to cost: seconds of the processor at one size, at twice and four times it.

    make hostile

Each was quadratic, or unbounded, in some version. What counts is the growth: about 2 for each
doubling. Ends with status 1 where four times the size costs more than eight times the seconds.
"""

import contextlib
import gzip
import sys
import time
from collections.abc import Callable
from io import BytesIO

from neural_classifiers.comments.formats import Layout
from neural_classifiers.comments.packing import CommentFileError, Part
from neural_classifiers.comments.rows import count_rows, open_readers, read_parsed_rows
from neural_classifiers.comments.rules import row_rules
from neural_classifiers.comments.text import Cleaning, clean_comment

MOST = 8  # times the seconds at four times the size


def read(content: bytes) -> None:
    """Read a file, beside one good row."""
    layout = Layout()
    readers = open_readers([Part("hostile", lambda: BytesIO(content))], layout)
    count_rows(readers)
    for _ in read_parsed_rows(readers, layout):
        pass


def of_rules(text: str) -> None:
    """Hold a text against the rules about rows."""
    for rule in row_rules():
        if rule.column == "txt":
            rule.broken_rows([text])


GOOD = b'{"cat": "a", "txt": "b"}\n'
HOSTILE: dict[str, tuple[int, Callable[[int], None]]] = {
    "quotes that open and close in turn": (
        50_000,
        lambda n: read(b"txt,cat\nx,y\n" + b'a","b\n' * n),
    ),
    "quotes never closed": (50_000, lambda n: read(b"txt,cat\nx,y\n" + b'"a\nb\n' * n)),
    "a mark that no line closes, far": (400_000, lambda n: read(b'txt,cat\nx,y\n"' + b"a,b\n" * n)),
    "JSON names, one of them twice": (
        100_000,
        lambda n: read(GOOD + b"{%s}\n" % b",".join(b'"%d":0' % (i % (n - 1)) for i in range(n))),
    ),
    "JSON brackets": (400_000, lambda n: read(GOOD + b"[" * n)),
    "blank lines, gzipped twice": (
        10_000_000,
        lambda n: read(gzip.compress(gzip.compress(b"\n" * n + GOOD))),
    ),
    "lines of one character": (100_000, lambda n: read(GOOD + b"x\n" * n)),
    "[removed by and spaces": (1_000_000, lambda n: of_rules("[removed by " + " " * n)),
    "combining marks, NFC": (
        50_000,
        lambda n: [
            clean_comment("a" + "\u0301\u0323" * n, cleaning=Cleaning(unicode="NFC"))
        ].clear(),
    ),
    "one word": (500_000, lambda n: [clean_comment("ay" * n)].clear()),
}


def seconds(make: Callable[[int], None], n: int) -> float:
    """Seconds of the processor; a refusal is an answer too."""
    began = time.process_time()
    with contextlib.suppress(CommentFileError):
        make(n)
    return time.process_time() - began


def main() -> int:
    """Measure all, and print a table."""
    bad = 0
    for name, (n, make) in HOSTILE.items():
        took = [seconds(make, n * times) for times in (1, 2, 4)]
        grows = took[2] / max(took[0], 0.05)
        bad += grows > MOST
        columns = " ".join(f"{each:6.2f}" for each in took)
        print(f"{name:36} {n:>10,} x 1, 2, 4: {columns} s  x {grows:.1f}", flush=True)
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
