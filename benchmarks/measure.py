"""Helpers of the benchmarks: a process measured from its start to its end, results, tables.

Results are appended to a file in ``artifacts/benchmarks`` one at a time, so that a comparison that
takes hours can be continued; the tables of docs/benchmarks.md are made from that file.
"""

import gzip
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import psutil  # noqa: E402

PAGE = ROOT / "docs" / "benchmarks.md"
SAMPLE_S = 0.2


def lines_of(path: Path) -> list[bytes]:
    """Lines of a file, gzipped or not."""
    content = path.read_bytes()
    return (gzip.decompress(content) if path.suffix == ".gz" else content).splitlines()


def start(command: Sequence[str | Path], **options: Any) -> subprocess.Popen[bytes]:
    """A Python process."""
    quiet = os.environ | {"PYTHONWARNINGS": "ignore", "TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.Popen([sys.executable, *map(str, command)], env=quiet, **options)


def measured(command: Sequence[str | Path], memory: str = "rss") -> dict[str, Any]:
    """Seconds, CPU seconds and peak memory of a process and all below it, and what it answers.

    Parameters
    ----------
    command : sequence
        A Python script and its arguments. The last line of its standard output is JSON: an object.
    memory : str
        ``rss``: pages that processes share count once for each; ``pss``: once in all.
    """
    began, peak = time.perf_counter(), 0
    cpu_s: dict[tuple[int, float], float] = {}
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        process = start(command, stdout=output, stderr=errors)
        while process.poll() is None:
            together = 0
            for one in family(process.pid):
                try:
                    times = one.cpu_times()
                    cpu_s[one.pid, one.create_time()] = times.user + times.system
                    sizes = one.memory_info() if memory == "rss" else one.memory_full_info()
                    together += getattr(sizes, memory)
                except psutil.Error:
                    continue
            peak = max(peak, together)
            time.sleep(SAMPLE_S)
        seconds = time.perf_counter() - began
        output.seek(0)
        errors.seek(0)
        if process.returncode:
            raise RuntimeError(f"{command}: {errors.read()[-3000:].decode(errors='replace')}")
        answer = json.loads(output.read().splitlines()[-1])
    return {
        "seconds": round(seconds, 2),
        "cpu_s": round(sum(cpu_s.values()), 2),
        "peak_mb": round(peak / 1e6, 1),
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "load": round(psutil.getloadavg()[0], 2),
        **answer,
    }


def family(pid: int) -> list[psutil.Process]:
    """A process and all below it."""
    try:
        parent = psutil.Process(pid)
        return [parent, *parent.children(recursive=True)]
    except psutil.Error:
        return []


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a process with -9, and wait until those that it started have gone, too."""
    below = family(process.pid)
    process.kill()
    process.wait()
    psutil.wait_procs(below, timeout=30)


def read(results: Path) -> list[dict[str, Any]]:
    """Measurements of a file of results, oldest first."""
    return json.loads(results.read_bytes()) if results.is_file() else []


def append(results: Path, entry: dict[str, Any]) -> None:
    """Add a measurement to a file of results, and show it."""
    results.parent.mkdir(parents=True, exist_ok=True)
    new = results.with_suffix(".new")
    new.write_text(json.dumps([*read(results), entry], indent=1))
    new.replace(results)
    print({name: value for name, value in entry.items() if name != "scores"}, flush=True)


def median(entries: Iterable[dict[str, Any]], key: str) -> float:
    """Median of one of the numbers."""
    return statistics.median(entry[key] for entry in entries)


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def write_tables(name: str, text: str) -> None:
    """Put tables between the marks of that name in docs/benchmarks.md, and show them."""
    begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->\n"
    above, _, rest = PAGE.read_text(encoding="utf-8").partition(begin)
    below = rest.partition(end)[2]
    PAGE.write_text(f"{above}{begin}\n{text}\n\n{end}{below}", encoding="utf-8")
    print(text)
