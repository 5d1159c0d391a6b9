"""What a user of ``neural-classifiers up`` waits for, pays and survives, counted from outside.

    python benchmarks/operation.py [--only idle hurt ...]

brings a server and a worker up on a folder and port of their own, and prints Markdown: seconds
until they are ready and from a trigger to the first step, the idle cost, listening sockets, what a
run on unchanged data adds, and what became of a run that was cancelled or whose flow, worker or
server was killed with -9: seconds until its state was right, processes left, what Retry had to do.
"""

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import time
import urllib.error
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil

PROJECT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(PROJECT), str(PROJECT / "tests")]

from conftest import comments_file  # noqa: E402
from operated import SMALL, Site, wait_until  # noqa: E402

SETTLE_S, IDLE_S = 60.0, 120.0
LONG = {"solver": ["adam"], "alpha": [1e-4 + i * 1e-6 for i in range(60)]}
FINAL = {"Completed", "Failed", "Crashed", "Cancelled"}


class Table:
    """Rows of Markdown, printed as they come."""

    def __init__(self, *head: str) -> None:
        print(f"\n| {' | '.join(head)} |\n|{' --- |' * len(head)}", flush=True)

    def row(self, *cells: Any) -> None:
        """One line more."""
        print(f"| {' | '.join(str(cell) for cell in cells)} |", flush=True)


def idle(site: Site) -> None:
    """Processor time and memory of each part while nothing is to do, and where they listen."""
    time.sleep(SETTLE_S)
    watcher = psutil.Process(json.loads(site.state_file().read_bytes())["pid"])
    parts = {"watcher": watcher, "server": site.part("server"), "worker": site.part("worker")}
    before = {name: sum(part.cpu_times()[:2]) for name, part in parts.items()}
    time.sleep(IDLE_S)
    table = Table("part, idle", "% of a core", "MB", "listens at")
    for name, part in parts.items():
        used = (sum(part.cpu_times()[:2]) - before[name]) / IDLE_S
        listens = [
            f"{c.laddr.ip}:{'(the port)' if c.laddr.port == site.port else c.laddr.port}"
            for c in part.net_connections("tcp")
            if c.status == psutil.CONN_LISTEN
        ]
        memory = part.memory_info().rss / 1e6
        table.row(name, f"{100 * used:.1f}", f"{memory:.0f}", ", ".join(listens) or "nowhere")


def nothing_new(site: Site) -> None:
    """A first run, then three on unchanged data: seconds, bytes, what they say."""
    parameters = {"source": str(comments_file(site.folder / "same.jsonl", n=120)), **SMALL}
    table = Table("run", "trigger to first step, s", "trigger to end, s", "artifacts +kB",
                  "Prefect's files +kB", "says")  # fmt: skip
    for name in ("first", "unchanged", "unchanged", "unchanged"):
        kept, prefects = _size(site.folder / "artifacts"), _size(site.folder / ".prefect")
        began = time.time()
        run_id = site.run("nightly", **parameters)
        site.wait_for_state(run_id, *FINAL)
        ended = time.time()
        of_run = {"flow_runs": {"id": {"any_": [run_id]}}}
        # the server writes them when it gets to it
        tasks = wait_until(
            lambda of_run=of_run: site.ask("task_runs/filter", of_run), 60, "its task runs"
        )
        first = min(datetime.fromisoformat(t["start_time"]).timestamp() for t in tasks)
        table.row(
            name,
            f"{first - began:.1f}",
            f"{ended - began:.1f}",
            f"{(_size(site.folder / 'artifacts') - kept) / 1e3:.0f}",
            f"{(_size(site.folder / '.prefect') - prefects) / 1e3:.0f}",
            site.ask(f"flow_runs/{run_id}")["state"]["message"],
        )


def hurt(site: Site) -> None:
    """What becomes of a run, and of its processes, when something is killed under it."""
    ways: dict[str, Callable[[str], None]] = {
        "Cancel": lambda run_id: site.ask(
            f"flow_runs/{run_id}/set_state", {"state": {"type": "CANCELLING"}}
        ),
        "kill -9 of the flow": lambda _: site.flow_process().kill(),
        "kill -9 of the worker": lambda _: site.part("worker").kill(),
        "kill -9 of both": lambda _: _kill(site.part("worker"), site.flow_process()),
        "kill -9 of the server": lambda _: site.part("server").kill(),
    }
    table = Table("during a search", "state of the run", "after s", "folder says",
                  "its processes gone after s", "then Retry", "s", "steps executed")  # fmt: skip
    for seed, (name, way) in enumerate(ways.items()):
        idle = {process.pid for process in site.processes()}
        source = comments_file(site.folder / f"{seed}.jsonl", n=300, seed=seed)
        run_id = site.run("nightly", **{**SMALL, "source": str(source), "scikit_grid": LONG})
        wait_until(lambda run_id=run_id: _searches(site, run_id), 180, "a search")
        time.sleep(5)
        own = [p for p in site.processes() if p.pid not in idle]
        began = time.monotonic()
        way(run_id)
        state = site_state = "Running"
        gone_s = state_s = None
        while state_s is None or gone_s is None:
            if time.monotonic() - began > 300:
                break
            try:
                site_state = site.state(run_id)
            except (urllib.error.URLError, OSError):
                site_state = "unknown"
            if state_s is None and site_state in FINAL:
                state, state_s = site_state, time.monotonic() - began
            if gone_s is None and not any(p.is_running() for p in own):
                gone_s = time.monotonic() - began
            time.sleep(0.2)
        says = site.told(run_id)["status"]
        if state == "Completed":
            table.row(name, state, _number(state_s), says, _number(gone_s), "", "", "")
            continue
        wait_until(lambda run_id=run_id: site.told(run_id)["status"] != "running", 120, "its end")
        says = site.told(run_id)["status"]
        site.wait_for_worker()
        attempt, again = site.told(run_id)["attempts"] + 1, time.monotonic()
        site.retry(run_id)
        wait_until(lambda r=run_id, a=attempt: site.told(r)["attempts"] == a, 180, "a retry")
        retried = site.wait_for_state(run_id, *FINAL)
        took = time.monotonic() - again
        steps = [s for s in site.told(run_id)["steps"] if s["attempt"] == attempt]
        executed = sum(not s["hit"] for s in steps)
        table.row(
            name, state, _number(state_s), says, _number(gone_s), retried, _number(took),
            f"{executed} of {len(steps)}",
        )  # fmt: skip


def weekend(site: Site) -> None:
    """Runs of a schedule that came due while no worker was there: what is made of them."""
    nightly = site.deployments()["nightly"]
    source = comments_file(site.folder / "weekend.jsonl", n=120)
    parameters = {"source": str(source), **SMALL}
    schedule = {"schedule": {"interval": 60}, "parameters": parameters, "active": True}
    worker = site.part("worker")
    worker.suspend()  # there, but deaf: as a machine that sleeps
    [made] = site.ask(f"deployments/{nightly['id']}/schedules", [schedule])
    time.sleep(330)  # four of them are late by more than two minutes then, or nearly so
    site.ask(f"deployments/{nightly['id']}/schedules/{made['id']}", {"active": False}, "PATCH")
    late = [r for r in site.runs("Late", "Scheduled") if r["auto_scheduled"] and _is_due(r)]
    worker.kill()
    site.wait_for_worker()
    time.sleep(60)
    ended = [site.state(run["id"]) for run in late]
    table = Table("came due without a worker", "skipped", "done or being done", "cancelled")
    table.row(
        len(late),
        ended.count("Skipped"),
        sum(state in ("Completed", "Running", "Pending") for state in ended),
        ended.count("Cancelled"),
    )


def _is_due(run: dict[str, Any]) -> bool:
    return datetime.fromisoformat(run["expected_start_time"]).timestamp() < time.time()


def _searches(site: Site, run_id: str) -> bool:
    if site.folder_of(run_id) is None:
        return False
    split = any(s["task_run"] == "split_comments" for s in site.told(run_id)["steps"])
    forked = any("--multiprocessing-fork" in p.cmdline() for p in site.processes() if _is_there(p))
    return split and forked


def _is_there(process: psutil.Process) -> bool:
    try:
        return bool(process.cmdline())
    except psutil.Error:
        return False


def _kill(*processes: Any) -> None:
    for process in processes:
        process.kill()


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _number(value: float | None) -> str:
    return "never" if value is None else f"{value:.1f}"


PARTS = {"idle": idle, "nothing-new": nothing_new, "hurt": hurt, "weekend": weekend}


def main() -> int:
    """Print every table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    chosen = parser.parse_args().only
    folder = Path(tempfile.mkdtemp(prefix="operation-"))
    starts = []
    for _ in range(2):  # the first makes the database
        site = Site(folder)
        began = time.monotonic()
        site.start()
        starts.append(time.monotonic() - began)
        if len(starts) == 1:
            assert site.stop() == []
            site.log.unlink()
    print(f"up: {starts[0]:.0f} s the first time, {starts[1]:.0f} s later; cores: "
          f"{psutil.cpu_count()}, load {statistics.mean(psutil.getloadavg()):.1f}")  # fmt: skip
    try:
        for name in chosen:
            PARTS[name](site)
    finally:
        family, began = site.processes(), time.monotonic()
        left = site.stop()
        print(f"\ndown: {time.monotonic() - began:.1f} s, {len(family)} processes ended, "
              f"{len(left)} left")  # fmt: skip
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
