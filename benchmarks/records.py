"""What the record layer costs in a cold run: seconds beside the work of each step.

    python benchmarks/records.py                   # a synthetic output of 100 MB
    python benchmarks/records.py RUN_FOLDER        # and what each step of that run would pay

For a run the outputs of each of its records are recorded once more, in a folder beside, by a step
that copies them; the seconds beside the copying are set against those that the step took.
"""

import argparse
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from neural_classifiers.engine.records import File, Key, Reference, recall


class Copied(Reference):
    """Files that were copied."""

    files: list[File]


def seconds_beside(cache: Path, name: str, sources: list[Path]) -> tuple[float, float]:
    """Seconds that recording these files takes beside copying them, and those of a hit.

    The digests that the work itself takes (`File.of`) count as the layer's.
    """
    copying = 0.0

    def work(folder: Path) -> Copied:
        nonlocal copying
        started = time.perf_counter()
        copies = [Path(shutil.copyfile(source, folder / source.name)) for source in sources]
        copying = time.perf_counter() - started
        return Copied(files=[File.of(copy) for copy in copies])

    key = Key(step=name, parameters={"files": [str(source) for source in sources]})
    started = time.perf_counter()
    recall(cache, key, Copied, work)
    recorded = time.perf_counter()
    assert recall(cache, key, Copied, work).hit
    return recorded - started - copying, time.perf_counter() - recorded


def of_a_run(run: Path, beside: Path) -> list[dict[str, Any]]:
    """Each step that a run executed: its seconds, and those of the record layer."""
    rows = []
    for step in json.loads((run / "run.json").read_bytes())["steps"]:
        home = run.parents[1] / "cache" / step["step"] / step["key"]
        if step["hit"] or not (home / "record.json").is_file():
            continue
        outputs = json.loads((home / "record.json").read_bytes())["outputs"]
        recording, finding = seconds_beside(
            beside, step["step"], [home / output["file"] for output in outputs]
        )
        megabytes = sum(output["size"] for output in outputs) / 1e6
        rows.append(
            {
                "step": step["task_run"],
                "seconds": step["seconds"],
                "megabytes": round(megabytes, 2),
                "recording": round(recording, 3),
                "finding": round(finding, 3),
            }
        )
    return rows


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", nargs="?", type=Path, help="a run's folder, of a cold run")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="records-") as folder:
        made = Path(folder) / "100 MB"
        made.write_bytes(bytes(100_000_000))
        recording, finding = seconds_beside(Path(folder) / "cache", "synthetic", [made])
        print(f"100 MB: {recording:.2f} s to record, {finding:.2f} s to find")
        if asked.run is None:
            return
        rows = of_a_run(asked.run.resolve(), Path(folder) / "cache")
    print(f"\n{'step':<24}{'seconds':>9}{'MB':>8}{'recording':>11}{'finding':>9}")
    for row in rows:
        print(
            f"{row['step']:<24}{row['seconds']:>9.2f}{row['megabytes']:>8.2f}"
            f"{row['recording']:>11.3f}{row['finding']:>9.3f}"
        )
    worked, recorded = (sum(row[name] for row in rows) for name in ("seconds", "recording"))
    print(f"together: {recorded:.2f} s of {worked:.1f} s, {recorded / worked:.1%}")


if __name__ == "__main__":
    main()
