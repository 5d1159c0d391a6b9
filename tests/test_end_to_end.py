"""A real server and a real worker: a schedule fires, a failed search is retried.

The failure is one that happens: a file lies where the search's records should go. Once it is
gone, Retry does again what failed and what depends on it, and nothing else.
"""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import psutil
import pytest
from conftest import comments_file

ROOT = Path(__file__).parents[1]
PREFECT = Path(sys.executable).with_name("prefect")
SMALL = {
    "scikit_grid": {"solver": ["lbfgs"], "alpha": [1e-4]},
    "keras_grid": {"epochs": [1], "batch_size": [50]},
    "folds": 2,
}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until(found, timeout_s: float, what: str):
    """What `found` returns once it is true."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        if value := found():
            return value
        time.sleep(1)
    pytest.fail(f"expected {what} within {timeout_s:g} s")


class Site:
    """A Prefect server and a worker on a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/api"
        self.env = os.environ | {
            "PREFECT_HOME": str(folder / ".prefect"),
            "PREFECT_API_URL": self.url,
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "DO_NOT_TRACK": "1",
            "PREFECT_WORKER_QUERY_SECONDS": "2",
            "NEURAL_CLASSIFIERS_HOME": str(folder),
        }
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, *command: str) -> None:
        with (self.folder / f"{command[0]}.log").open("wb") as log:
            self.processes.append(
                subprocess.Popen(
                    [PREFECT, *command],
                    cwd=ROOT,
                    env=self.env,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            )

    def prefect(self, *command: str) -> str:
        done = subprocess.run(
            [PREFECT, *command], cwd=ROOT, env=self.env, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def ask(self, path: str, body: dict | list | None = None, method: str | None = None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"{self.url}/{path}", data, {"Content-Type": "application/json"}, method=method
        )
        end = time.monotonic() + 60
        while True:
            try:
                with urllib.request.urlopen(request, timeout=30) as answer:
                    return json.loads(answer.read() or "null")
            except urllib.error.HTTPError as error:  # 503: "database is locked", ask again
                if error.code != 503 or time.monotonic() > end:
                    raise
                time.sleep(0.5)

    def is_up(self) -> bool:
        try:
            return bool(self.ask("health"))
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False

    def runs(self, state: str) -> list[dict]:
        told = {"flow_runs": {"state": {"name": {"any_": [state]}}}, "sort": "START_TIME_ASC"}
        return self.ask("flow_runs/filter", told)

    def runs_of_type(self, *types: str) -> list[dict]:
        return self.ask("flow_runs/filter", {"flow_runs": {"state": {"type": {"any_": types}}}})

    def stop(self) -> list[psutil.Process]:
        """Stop everything; the processes that would not go."""
        children = [
            child
            for process in self.processes
            for child in psutil.Process(process.pid).children(recursive=True)
        ]
        for process in reversed(self.processes):
            process.terminate()
        for process in self.processes:
            process.wait(timeout=60)
        _, alive = psutil.wait_procs(children, timeout=20)
        for process in alive:
            process.kill()
        return alive


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    site = Site(tmp_path_factory.mktemp("site"))
    site.start("server", "start", "--host", "127.0.0.1", "--port", str(site.port))
    wait_until(site.is_up, 180, "a server that answers")
    site.prefect("work-pool", "create", "classifiers", "--type", "process")
    site.prefect("--no-prompt", "deploy", "--all")
    site.start("worker", "start", "--pool", "classifiers")
    yield site
    assert site.stop() == []


def steps_of(folder: Path, attempt: int) -> dict[str, bool]:
    """For each task of an attempt whether it was executed, and did not end from the cache."""
    run = json.loads((folder / "run.json").read_bytes())
    return {s["task_run"]: not s["hit"] for s in run["steps"] if s["attempt"] == attempt}


def test_a_schedule_fires_and_a_failed_search_is_retried(site):
    source = comments_file(site.folder / "comments.jsonl", n=120)
    in_the_way = site.folder / "artifacts" / "cache" / "search_keras"
    in_the_way.parent.mkdir(parents=True)
    in_the_way.write_text("a file where a folder should be")

    deployments = {d["name"]: d for d in site.ask("deployments/filter", {})}
    assert {"nightly", "manual"} <= set(deployments)
    nightly = deployments["nightly"]
    assert nightly["schedules"][0]["schedule"]["cron"] == "30 2 * * *"

    # A schedule of a few seconds, on small data: seen to fire
    schedule = [
        {
            "schedule": {"interval": 10},
            "parameters": {"source": str(source), **SMALL},
            "active": True,
        }
    ]
    [made] = site.ask(f"deployments/{nightly['id']}/schedules", schedule)
    wait_until(lambda: site.runs("Running"), 120, "the schedule to fire")
    site.ask(f"deployments/{nightly['id']}/schedules/{made['id']}", method="DELETE")
    for waiting in site.runs_of_type("SCHEDULED", "PENDING"):  # the next, due while this one ran
        site.ask(f"flow_runs/{waiting['id']}", method="DELETE")
    failed = wait_until(lambda: site.runs("Failed"), 300, "the scheduled run to fail")
    assert len(failed) == 1
    assert failed[0]["auto_scheduled"]  # by the schedule, by nobody's hand
    assert "search_keras" in failed[0]["state"]["message"]
    [folder] = (site.folder / "artifacts" / "runs").iterdir()
    metrics = json.loads((folder / "metrics.json").read_bytes())
    assert {"constant", "linear", "scikit"} == set(metrics["comments"])
    assert (folder / "report.html").exists()

    # Retry: what failed and what depends on it, nothing else
    in_the_way.unlink()
    site.prefect("flow-run", "retry", failed[0]["id"])
    [done] = wait_until(lambda: site.runs("Completed"), 300, "the retried run to complete")

    assert done["id"] == failed[0]["id"]
    assert done["run_count"] == 2
    assert [f.name for f in (site.folder / "artifacts" / "runs").iterdir()] == [folder.name]
    executed = {name for name, was in steps_of(folder, attempt=2).items() if was}
    assert executed == {"search_keras", "score_model-keras", "compare_models"}
    metrics = json.loads((folder / "metrics.json").read_bytes())
    assert {"constant", "linear", "scikit", "keras"} == set(metrics["comments"])
    run = json.loads((folder / "run.json").read_bytes())
    assert (run["status"], run["attempts"]) == ("completed", 2)

    told = site.ask("task_runs/filter", {"task_runs": {"state": {"name": {"any_": ["Cached"]}}}})
    assert {"ingest_comments", "fit_scikit-0", "fit_keras-1"} <= {t["name"] for t in told}
