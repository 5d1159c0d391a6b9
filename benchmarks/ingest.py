"""Rows, seconds and memory of each first step on one file or data set.

    python benchmarks/ingest.py comments.jsonl.gz
    python benchmarks/ingest.py --dirty 100000

Each step runs in a process of its own, so that its peak memory is its own. The folder with what it
wrote is kept where ``--keep`` says.
"""

import argparse
import multiprocessing
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", nargs="?", help="path, or a name in the catalogue")
    parser.add_argument("--dirty", type=int, help="make up so many dirty comments instead")
    parser.add_argument("--keep", type=Path, help="folder for what the steps write")
    told = parser.parse_args()
    folder = told.keep or Path(tempfile.mkdtemp(prefix="ingest-"))
    folder.mkdir(parents=True, exist_ok=True)
    source = told.source
    if told.dirty:
        from neural_classifiers.dirty import dirty_lines

        source = str(folder / "dirty.jsonl")
        with open(source, "wb") as file:  # noqa: PTH123 (a string until here)
            file.writelines(dirty_lines(told.dirty))
    ingested = measured("ingest", ingest, source, folder)
    accepted = measured("validate", validate, ingested, folder)
    cleaned = measured("clean", clean, accepted, folder)
    split = measured("split", part, cleaned, folder)
    near = measured("near-duplicates", nearly, split, folder)
    places = {
        "accepted": split.rows,
        "quarantined by validation": accepted.rows_quarantined,
        "quarantined, left empty by cleaning": split.dropped("empty"),
        "duplicates dropped": split.dropped("duplicates"),
    }
    assert sum(places.values()) == ingested.rows
    print(f"\n{ingested.rows:,} rows in = " + " + ".join(f"{n:,} {p}" for p, n in places.items()))
    print(f"training {split.rows_train:,}, test {split.rows_test:,}, {split.conflicting:,} texts "
          "with several labels")  # fmt: skip
    print(f"reasons: {accepted.reasons}; {near.in_words()}")
    print(f"data docs: {accepted.docs.path}")


def measured(name: str, function: Any, *args: Any) -> Any:
    """What a function returns from a new process; prints its seconds and peak memory."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        result, seconds, peak_mb = pool.apply(timed, (function, *args))
    print(f"{name}: {seconds:.1f} s, peak {peak_mb:.0f} MB, {result.in_words()}", flush=True)
    return result


def timed(function: Any, *args: Any) -> tuple[Any, float, float]:
    """A result, its seconds, and the most memory that this process ever held."""
    began = time.monotonic()
    result = function(*args)
    peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return result, time.monotonic() - began, peak_kb / 1e3


def ingest(source: str, folder: Path) -> Any:
    """All rows of the source."""
    from neural_classifiers.comments import count_rows
    from tasks.ingest import layout_of, parts_of, read_source
    from tasks.sources import find_source

    raw = find_source(source, "comments")
    layout = layout_of(raw, "txt", "cat", None)
    total = count_rows(parts_of(raw), layout).total
    return read_source(raw, layout, total, 34, folder)


def validate(ingested: Any, folder: Path) -> Any:
    """Accepted and quarantined rows."""
    from tasks.validate import Last, validate_table

    return validate_table(ingested, Last(), None, 5, None, True, "comments", folder)


def clean(accepted: Any, folder: Path) -> Any:
    """Cleaned comments, in this process."""
    from tasks.clean import clean_table

    return clean_table(accepted.table, "default", folder)


def part(cleaned: Any, folder: Path) -> Any:
    """Training and test set."""
    from tasks.split import split_comments
    from tasks.steps import body_of

    return body_of(split_comments)(cleaned, 0.7, 34, 5, False, folder)


def nearly(split: Any, folder: Path) -> Any:
    """Near-duplicates across the split."""
    from tasks.split import find_near_duplicates
    from tasks.steps import body_of

    return body_of(find_near_duplicates)(split, 34, folder)


if __name__ == "__main__":
    main()
