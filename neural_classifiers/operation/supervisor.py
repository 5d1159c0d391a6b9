"""A Prefect server with its UI and a worker, kept running for weeks by one process.

``up`` starts the server, deploys ``prefect.yaml`` (`operation.deployments`), starts the worker and
then watches: a part that ends or a server that no longer answers is started again, after a wait
that doubles up to a minute; a run whose process is gone is closed as crashed, so that Retry
takes it. It stops what it started, by process group and by descent, and nothing else. Each part
writes to a pipe; all lines come out as one log, with the time and the part in front.

What is up stands in ``.prefect/up.json`` and is true while ``.prefect/up.lock`` is held, which the
kernel ends with the process. Nothing here imports Prefect: the watcher stays small.
"""

import contextlib
import json
import os
import platform
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, TextIO

import psutil

from neural_classifiers.engine import locks, paths, run_files
from neural_classifiers.errors import RefusedError

POOL = "classifiers"
HOST = "127.0.0.1"
PROJECT = Path(__file__).resolve().parents[2]  # where prefect.yaml is
LOOK_S, LOST_S, HEALTH_S = 1.0, 10.0, 15.0
LOST_AGAIN_S = 65.0
DEAF = 4  # looks at a server that does not answer, before it is started again
LONGEST_WAIT_S = 60.0
HEALTHY_S = 300.0  # a part that ran so long is a sound one: its next end waits a second only
START_S = 300.0  # the first start makes the database: 16 s on an idle machine
STOP_S = 30.0


class SupervisorError(RefusedError):
    """The server and the worker cannot be brought up, or down."""


def home() -> Path:
    """Prefect's own files of this project."""
    return paths.root() / ".prefect"


def what_is_up() -> dict[str, Any] | None:
    """``pid``, ``address``, ``api``, ``processes`` of what `up` started here; None if nothing."""
    return _read_state() if locks.is_held(home() / "up.lock") else None


def was_killed() -> bool:
    """Whether the last `up` here ended without stopping what it started."""
    return what_is_up() is None and _read_state() is not None


def environment(port: int, auth: str | None = None, server: str | None = None) -> dict[str, str]:
    """Variables by which server, worker and commands find each other, and let nobody else in.

    Parameters
    ----------
    port : int
        Of the server on this machine's loopback.
    auth : str, optional
        ``user:password``, asked of everyone.
    server : str, optional
        Address of the API of a server elsewhere, to be used instead.
    """
    api = server or f"http://{HOST}:{port}/api"
    variables = {
        "PREFECT_HOME": str(home()),
        "PREFECT_API_URL": api,
        "PREFECT_UI_API_URL": api,  # else the UI asks the server at 4200, whatever the port
        "PREFECT_SERVER_API_HOST": HOST,
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_SERVER_API_CSRF_PROTECTION_ENABLED": "true",
        "PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS": f"http://{HOST}:{port},http://localhost:{port}",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        # the second UI sends what is clicked to a service, and nothing turns that off
        "PREFECT_SERVER_UI_V2_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "60",  # operation.deployments waits five times as long
        "PREFECT_CLIENT_MAX_RETRIES": "8",  # a run outlives two minutes without its server
        "PREFECT_LOGGING_COLORS": "false",
        "PREFECT_CLI_COLORS": "false",
        "COLUMNS": "160",
        "PYTHONUNBUFFERED": "1",
    }
    if auth:
        variables |= {"PREFECT_SERVER_API_AUTH_STRING": auth, "PREFECT_API_AUTH_STRING": auth}
    return variables


def up(port: int, auth: str | None = None, server: str | None = None) -> int:
    """Bring everything up and stay until told to stop; 0 when it was stopped, 1 when it failed.

    Parameters
    ----------
    port, auth, server
        As for `environment`; with `server`, only a worker is started here.

    Raises
    ------
    SupervisorError
        If it is up already, or the port is taken.
    """
    with _only_one():
        stop_leftovers()
        if server is None:
            _expect_free(port)
        return _Watcher(port, auth, server).watch()


def down() -> dict[str, Any] | None:
    """Stop what `up` started; what was up, or None.

    Raises
    ------
    SupervisorError
        If it does not end.
    """
    state = what_is_up()
    if state is None:
        left = stop_leftovers()
        return {"address": None, "processes": left} if left else None
    with contextlib.suppress(ProcessLookupError):
        os.kill(state["pid"], signal.SIGTERM)
    end = time.monotonic() + 3 * STOP_S
    while locks.is_held(home() / "up.lock"):
        if time.monotonic() > end:
            raise SupervisorError(f"expected process {state['pid']} to end, it goes on: {state}")
        time.sleep(0.1)
    return state


def stop_leftovers() -> dict[str, Any]:
    """Stop the processes of an `up` that was itself killed; their names and ids."""
    left = {}
    for name, noted in reversed((_read_state() or {}).get("processes", {}).items()):
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(noted["pid"])
            if process.create_time() == noted["created"]:  # else its number was given to another
                stop_process(process)
                left[name] = noted
    stop_orphans()
    (home() / "up.json").unlink(missing_ok=True)
    return left


def stop_orphans() -> int:
    """Kill what runs of deployments a dead worker left behind; how many processes.

    They would go on beside the next worker's run, and die at their next word to the dead one. Their
    finished steps and fits stand; Retry goes on from there.
    """
    left = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            variables = process.environ()
            if "PREFECT__FLOW_RUN_ID" in variables and variables.get("PREFECT_HOME") == str(home()):
                left.append(process)
    for process in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(left, timeout=STOP_S)
    return len(left)


def stop_process(process: psutil.Process, within_s: float = STOP_S) -> None:
    """End a process and all that descend from it: asked first, killed when late."""
    with contextlib.suppress(psutil.NoSuchProcess):
        family = [process, *process.children(recursive=True)]
        process.terminate()
        _, alive = psutil.wait_procs(family, timeout=within_s)
        for late in alive:
            with contextlib.suppress(psutil.NoSuchProcess):
                late.kill()
        psutil.wait_procs(alive, timeout=within_s)


def is_answering(api: str, auth: str | None = None) -> bool:
    """Whether a Prefect server answers at an address."""
    headers = {"Authorization": f"Basic {b64encode(auth.encode()).decode()}"} if auth else {}
    try:
        request = urllib.request.Request(f"{api}/health", headers=headers)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return bool(answer.read() == b"true")
    except (OSError, ValueError):
        return False


def _expect_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise SupervisorError(
                f"{HOST}:{port}: expected a free port, got {error.strerror}; another one goes by "
                "--port, for good by NEURAL_CLASSIFIERS_PORT"
            ) from None


@contextlib.contextmanager
def _only_one() -> Any:
    lock = locks.try_to_hold(home() / "up.lock")
    if lock is None:
        state = _read_state() or {}
        raise SupervisorError(
            f"it is up already: {state.get('address', 'starting')} (process {state.get('pid')}); "
            "`neural-classifiers down` stops it"
        )
    with lock:
        yield


def _read_state() -> dict[str, Any] | None:
    with contextlib.suppress(OSError, ValueError):
        return json.loads((home() / "up.json").read_bytes())
    return None


class _Log:
    """Lines of several parts on one stream."""

    _PREFECTS_TIME = re.compile(r"^(\d{4}-\d\d-\d\d )?\d\d:\d\d:\d\d\.\d{3} \| ")

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._lock = stream, threading.Lock()

    def write(self, part: str, line: str) -> None:
        line = self._PREFECTS_TIME.sub("", line.rstrip())
        if line:  # a reader that went away must not stop the work
            with self._lock, contextlib.suppress(OSError, ValueError):
                self._stream.write(f"{datetime.now():%Y-%m-%d %H:%M:%S}  {part:<7} {line}\n")
                self._stream.flush()


class _Part:
    """A program that is to run all the time."""

    def __init__(self, name: str, command: list[str], env: Mapping[str, str], log: _Log) -> None:
        self.name, self._command, self._env, self._log = name, command, env, log
        self.process: subprocess.Popen[str] | None = None
        self.created = self.started = 0.0
        self.muted = False  # Prefect's banner
        self._wait_s, self._again_at = 1.0, 0.0
        self.last_lines: list[str] = []

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "prefect", *self._command],
            cwd=PROJECT,
            env=dict(self._env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,  # Ctrl-C reaches the watcher only, which stops them in order
        )
        self.created = psutil.Process(self.process.pid).create_time()
        self.started = time.monotonic()
        threading.Thread(target=self._read, args=(self.process,), daemon=True).start()

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            stop_process(psutil.Process(self.process.pid))
        if self.process is not None:
            self.process.wait()

    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def has_just_ended(self) -> bool:
        """Whether it ended since the last look, before `is_due` logs it."""
        return not self.is_running() and not self._again_at

    def is_due(self) -> bool:
        """Whether a part that ended is to be started now; the first look logs its end."""
        now = time.monotonic()
        if not self._again_at:
            if now - self.started > HEALTHY_S:
                self._wait_s = 1.0
            self._again_at = now + self._wait_s
            status = self.process.returncode if self.process else None
            last = " | ".join(self.last_lines[-3:]) if self.muted else ""
            self._log.write(
                "up",
                f"the {self.name} ended with status {status}; it is started again in "
                f"{self._wait_s:g} s{': ' + last if last else ''}",
            )
            self._wait_s = min(2 * self._wait_s, LONGEST_WAIT_S)
        if now < self._again_at:
            return False
        self._again_at = 0.0
        return True

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self.last_lines = [*self.last_lines[-9:], line.strip()]
            if not self.muted:
                self._log.write(self.name, line)


class _Watcher:
    def __init__(self, port: int, auth: str | None, server: str | None) -> None:
        self._auth, self._env = auth, os.environ | environment(port, auth, server)
        self._api = self._env["PREFECT_API_URL"]
        self._address = self._api.removesuffix("/api")
        self._log = _Log(sys.stdout)
        self._server = (
            None if server else _Part("server", ["server", "start"], self._env, self._log)
        )
        name = platform.node() or "this machine"
        # one run at a time on a machine: each uses all its cores
        worker = ["worker", "start", "--pool", POOL, "--name", name, "--limit", "1"]
        self._worker = _Part("worker", worker, self._env, self._log)
        self._stopping = threading.Event()
        self._lost: set[Path] = set()
        self._again_at: dict[Path, float] = {}
        self._deaf = 0

    def watch(self) -> int:
        def stop(*_: object) -> None:
            self._stopping.set()

        for signal_ in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(signal_, stop)
        try:
            if not self._started():
                return 0 if self._stopping.is_set() else 1
            self._log.write("up", f"ready: {self._address} (Ctrl-C stops it)")
            self._go_on()
            return 0
        finally:
            self._log.write("up", "stopping")
            self._worker.stop()
            stop_orphans()
            self._crash_lost_runs(at_once=True)  # so that Retry takes them when all is up again
            if self._server:
                self._server.stop()
            (home() / "up.json").unlink(missing_ok=True)
            self._log.write("up", "stopped")

    def _started(self) -> bool:
        if self._server:
            self._log.write("up", "starting the server")
        if not (self._server_started() and self._deployed()) or self._stopping.is_set():
            return False
        return self._worker_started()

    def _server_started(self) -> bool:
        if self._server is None:
            return True
        self._server.muted = True
        self._server.start()
        self._write_state()
        end = time.monotonic() + START_S
        while not is_answering(self._api, self._auth):
            if self._stopping.wait(0.2):
                return False
            if not self._server.is_running() or time.monotonic() > end:
                for line in self._server.last_lines:
                    self._log.write("server", line)
                self._log.write("up", f"expected a server at {self._api}, got none")
                return False
        self._server.muted = False
        self._deaf = 0
        return True

    def _worker_started(self) -> bool:
        self._worker.start()
        self._write_state()
        return True

    def _deployed(self) -> bool:
        return self._run(
            "-m",
            "neural_classifiers.operation.deployments",
            *(() if self._server else ("--only-missed",)),
        )

    def _go_on(self) -> None:
        looked = healthy = time.monotonic()
        while not self._stopping.wait(LOOK_S):
            now = time.monotonic()
            if self._server and not self._server.is_running():
                if self._server.is_due():
                    self._server_started()
                continue
            if self._server and now - healthy > HEALTH_S:
                healthy = now
                self._deaf = 0 if is_answering(self._api, self._auth) else self._deaf + 1
                if self._deaf == DEAF:
                    self._log.write("up", f"the server does not answer at {self._api}")
                    self._server.stop()
                    continue
            if self._worker.has_just_ended() and (orphans := stop_orphans()):
                self._log.write("up", f"stopped {orphans} processes of the dead worker's run")
            if not self._worker.is_running() and self._worker.is_due():
                self._run("-m", "neural_classifiers.operation.deployments", "--only-missed")
                self._worker_started()
            if now - looked > LOST_S:
                looked = now
                self._crash_lost_runs()

    def _crash_lost_runs(self, at_once: bool = False) -> None:
        """Close the runs whose process is gone, when it was gone at the last look too."""
        lost = {
            mark.parent
            for mark in paths.runs().glob(f"*/{locks.RUNNING}")
            if not locks.is_held(mark)
        }
        now = time.monotonic()
        for folder in lost if at_once else lost & self._lost:
            if now < self._again_at.get(folder, 0):
                continue
            self._again_at[folder] = now + LOST_AGAIN_S
            with contextlib.suppress(OSError, ValueError, KeyError):
                run_id = run_files.read(folder)["run_id"]
                if is_answering(self._api, self._auth):
                    self._run("-m", "neural_classifiers.operation.resume", run_id)
        self._lost = lost

    def _run(self, *command: str) -> bool:
        """Run a short command of the project, its output into the log; False if it failed."""
        with subprocess.Popen(
            [sys.executable, *command],
            cwd=PROJECT,
            env=self._env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        ) as process:
            watch = threading.Timer(START_S, process.kill)
            watch.start()
            assert process.stdout is not None
            for line in process.stdout:
                self._log.write("up", line)
            watch.cancel()
        return process.returncode == 0

    def _write_state(self) -> None:
        state = {
            "pid": os.getpid(),
            "address": self._address,
            "api": self._api,
            "processes": {
                part.name: {"pid": part.process.pid, "created": part.created}
                for part in (self._server, self._worker)
                if part is not None and part.process is not None
            },
        }
        path = home() / "up.json"
        beside = path.with_suffix(".new")
        beside.write_text(json.dumps(state, indent=2) + "\n")
        beside.replace(path)
