"""How long `verify` and `prune` take, and what memory: on 5,000 made-up records.

    python benchmarks/housekeeping.py [--records 5000] [--bytes 100000]

Makes the records and 50 runs that name them in a temporary folder (removed at the end), then
runs the commands in processes of their own and prints wall time and peak memory of each.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from neural_classifiers.engine import paths
from neural_classifiers.engine.records import File, Key, Reference, recall

RUNS, KEPT = 50, 10
CODE = {f"module.function_{i}": f"{i:064d}" for i in range(60)}  # as many parts as a real step


class Table(Reference):
    """One file."""

    table: File


def make_records(n: int, size: int) -> list[tuple[str, str]]:
    """Records of ten steps, with one file each."""

    def work(folder: Path) -> Table:
        path = folder / "table.bin"
        path.write_bytes(os.urandom(size))
        return Table(table=File.of(path))

    made = []
    for i in range(n):
        key = Key(f"step_{i % 10}", {"seed": i}, {}, CODE, {"numpy": "2.4"})
        recall(paths.cache(), key, Table, work)
        made.append((key.step, key.digest))
    return made


def make_runs(records: list[tuple[str, str]]) -> None:
    """Runs that share the records out evenly."""
    share = len(records) // RUNS
    for i in range(RUNS):
        began = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=i)
        folder = paths.runs() / f"{began:%Y%m%dT%H%M%SZ}-run-{i}"
        folder.mkdir(parents=True)
        steps = [
            {"step": step, "key": key, "hit": False}
            for step, key in records[i * share : (i + 1) * share]
        ]
        told = {"name": f"run-{i}", "status": "completed", "started": began.isoformat()}
        (folder / "run.json").write_text(json.dumps(told | {"steps": steps}))


MEASURED = """
import resource, sys
from neural_classifiers.operation.cli import main
status = main(sys.argv[1:])
peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(f"peak {peak_mb:.0f} MB", file=sys.stderr)
sys.exit(status)
"""


def measure(*command: str) -> None:
    """Run a command and print what it said and took."""
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, *command], capture_output=True, text=True, check=True
    )
    seconds = time.monotonic() - started
    print(f"{' '.join(command):<30}{seconds:>7.1f} s  {done.stderr.strip()}  {done.stdout.strip()}")


def main() -> None:
    """Make the records, run the commands."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--records", type=int, default=5000)
    parser.add_argument("--bytes", type=int, default=100_000, help="of each record's file")
    parsed = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        paths.use(Path(home))
        started = time.monotonic()
        make_runs(make_records(parsed.records, parsed.bytes))
        print(f"{parsed.records:,} records made in {time.monotonic() - started:.1f} s")
        measure("verify")
        measure("prune", "--keep-runs", str(KEPT), "--dry-run")
        measure("prune", "--keep-runs", str(KEPT))
        measure("verify")


if __name__ == "__main__":
    main()
