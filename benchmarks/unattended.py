"""What a deployed run makes of a server, a database or a worker that goes away: docs/operating.md.

    make unattended

A run of eleven minutes that computes next to nothing (its steps sleep) is disturbed on SQLite and
on PostgreSQL, side by side, each on a folder, a port and processes of its own. The first run has to
end Completed without anybody: its server is killed, then gone for 90 s while the run would renew
its lease, then PostgreSQL is gone for 30 s. In the second the worker is killed, then everything is
stopped and brought up again; each time Retry is pressed.
"""

import argparse
import contextlib
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import psutil
from prefect import flow
from prefect.exceptions import PrefectException
from prefect.states import State

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from neural_classifiers.engine.branches import Branches  # noqa: E402
from neural_classifiers.engine.records import File, Reference  # noqa: E402
from neural_classifiers.engine.runs import FLOW  # noqa: E402
from neural_classifiers.engine.step import step  # noqa: E402

STEPS, STEP_S = 22, 30.0
GONE_S, DATABASE_GONE_S = 90.0, 30.0


class Waited(Reference):
    """A file that says which step made it."""

    file: File

    def in_words(self) -> str:
        """For the log."""
        return "waited"


@step(task_run_name="wait-{number}")
def wait(number: int, name: str, seconds: float, folder: Path) -> Waited:
    """Sleep."""
    time.sleep(seconds)
    (folder / "waited.txt").write_text(f"{name} {number}")
    return Waited(file=File.of(folder / "waited.txt"))


@flow(name="wait-in-steps", **FLOW)
def wait_in_steps(name: str, steps: int = STEPS, seconds: float = STEP_S) -> State:
    """Sleep step by step, as a long run works."""
    branches = Branches()
    for number in range(steps):
        branches.submit(wait, number=number, name=name, seconds=seconds)
        branches.wait()
    return branches.finish()


class Trial:
    """A site on one database, and what was seen of it: a row a disturbance."""

    def __init__(self, kind: str, folder: Path) -> None:
        from operated import Site

        path = f"{ROOT / 'benchmarks'}:{ROOT}"
        self.kind, self.site = kind, Site(folder, kind == "PostgreSQL", PYTHONPATH=path)
        self.rows: list[str] = []
        self.began = 0.0

    def begin(self, name: str, **parameters: float) -> str:
        """Deploy and start the waiting flow; the run's id once it is at work."""
        site, flow_id = self.site, self.site.ask("flows/", {"name": "wait-in-steps"})["id"]
        body = {
            "name": name,
            "flow_id": flow_id,
            "entrypoint": "unattended.wait_in_steps",
            "pull_steps": [{"neural_classifiers.engine.paths.enter_project": {}}],
            "work_pool_name": "classifiers",
            "concurrency_limit": 1,
            "concurrency_options": {"collision_strategy": "CANCEL_NEW"},
            "enforce_parameter_schema": False,
        }
        site.ask("deployments/", body)
        run_id = site.run(name, name=name, **parameters)
        site.wait_for_state(run_id, "Running")
        self.began = time.monotonic()
        return run_id

    def at(self, seconds: float) -> None:
        """Wait until so long after the run began."""
        time.sleep(max(0.0, self.began + seconds - time.monotonic()))

    def ready(self) -> bool:
        """Whether the server answers and has its database."""
        try:
            return bool(self.site.ask("ready"))
        except Exception:
            return False

    def state(self, run_id: str) -> str:
        """Name of a run's state; empty while the server is away."""
        try:
            return self.site.state(run_id)
        except Exception:
            return ""

    def disturb(self, what: str, act: Callable[[], object], right: Callable[[], object]) -> None:
        """Do something, and note the seconds until all is right again."""
        act()
        began = time.monotonic()
        while not right():
            time.sleep(0.5)
        self.note(what, time.monotonic() - began)

    def note(self, what: str, seconds: float, run_id: str = "") -> None:
        """A row: of a run with its state and its steps, too."""
        row = [self.kind, what, f"{seconds:.0f}"]
        if run_id:
            run = self.site.told(run_id)
            done = [s["task_run"] for s in run["steps"] if not s["hit"] and "error" not in s]
            twice = len(done) - len(set(done))
            row += [self.site.state(run_id), str(run["attempts"]), str(len(done)), str(twice)]
        self.rows.append(" | ".join(row))
        print(f"{time.strftime('%H:%M:%S')} {self.rows[-1]}", flush=True)

    def end(self, what: str, run_id: str) -> None:
        """Wait for the run's end."""
        while self.state(run_id) not in ("Completed", "Failed", "Crashed"):
            time.sleep(1)
        time.sleep(10)  # its folder is written after
        self.note(what, time.monotonic() - self.began, run_id)

    def kill_server(self) -> None:
        """As the kernel does."""
        self.site.part("server").kill()

    def server_goes(self) -> None:
        """The server is gone for a while, and nothing starts it."""
        assert self.site.process
        self.site.process.send_signal(signal.SIGSTOP)
        self.kill_server()
        time.sleep(GONE_S)
        self.site.process.send_signal(signal.SIGCONT)

    def database_goes(self) -> None:
        """PostgreSQL is gone for a while."""
        assert self.site.database
        self.site.database.stop()
        time.sleep(DATABASE_GONE_S)
        self.site.database.start()

    def retried(self, run_id: str) -> bool:
        """Press Retry once the run is closed; true when it is at work again."""
        state = self.state(run_id)
        with contextlib.suppress(psutil.NoSuchProcess, PrefectException, httpx.HTTPError):
            # while server or worker are being replaced
            if state == "Crashed" and self.site.is_idle("retried"):
                self.site.retry(run_id)
            return state == "Running" and self.site.flow_process() is not None
        return False

    def run(self, parts: list[str], steps: int) -> None:
        """One of the runs, or both."""
        self.site.start()
        if "alone" in parts:
            self.run_alone(steps)
        if "retried" in parts:
            self.run_retried(steps)

    def run_alone(self, steps: int) -> None:
        """The run that nobody touches."""
        run_id = self.begin("alone", steps=steps)
        self.at(110)
        self.disturb("server killed", self.kill_server, self.ready)
        self.at(190)  # until 280: the lease is renewed at 225
        self.disturb(f"server gone for {GONE_S:g} s", self.server_goes, self.ready)
        if self.kind == "PostgreSQL":
            self.at(420)
            self.disturb("database gone for 30 s", self.database_goes, self.ready)
        self.end("the run, which nobody touched", run_id)

    def run_retried(self, steps: int) -> None:
        """The run whose process ends twice."""
        run_id = self.begin("retried", steps=steps)
        self.at(100)
        worker = self.site.part("worker").kill
        self.disturb("worker killed, Retry", worker, lambda: self.retried(run_id))
        self.at(300)
        self.disturb("down, up, Retry", self.down_and_up, lambda: self.retried(run_id))
        self.end("the run, retried twice", run_id)

    def down_and_up(self) -> None:
        """Stop everything and bring it up again."""
        self.site.command("down")
        assert self.site.process
        self.site.process.wait(timeout=120)
        self.site.start()


def main() -> int:
    """Try both databases side by side; print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", choices=("SQLite", "PostgreSQL"))
    parser.add_argument("--folder", type=Path, help="kept, instead of one that is removed")
    parser.add_argument("--part", choices=("alone", "retried"))
    parser.add_argument("--steps", type=int, default=STEPS, help="of 30 s each")
    asked = parser.parse_args()
    parts = [asked.part] if asked.part else ["alone", "retried"]
    kinds = [asked.only] if asked.only else ["SQLite", "PostgreSQL"]
    with tempfile.TemporaryDirectory() as temporary:
        trials = []
        for kind in kinds:
            folder = (asked.folder or Path(temporary)) / kind
            folder.mkdir(parents=True)
            trials.append(Trial(kind, folder))
        os.environ.pop("PREFECT_API_URL", None)
        threads = [
            threading.Thread(target=trial.run, args=(parts, asked.steps)) for trial in trials
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for trial in trials:
            trial.site.stop()
    print(
        "\n".join(
            ["database | what | s | state | attempts | steps done | twice"]
            + [row for trial in trials for row in trial.rows]
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
