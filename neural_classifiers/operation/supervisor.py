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
import logging
import os
import platform
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

import psutil

from neural_classifiers.engine import locks, paths, run_files
from neural_classifiers.engine.files import write_durably
from neural_classifiers.engine.own_prefect import (
    SERVER,
    STARTING,
    guarded,
    home,
    read_state,
    what_is_up,
    where_auth,
)
from neural_classifiers.errors import RefusedError
from neural_classifiers.operation.server import HOST

POOL = "classifiers"
BACKLOG = 128
PROJECT = Path(__file__).resolve().parents[2]  # where prefect.yaml is
LOOK_S, LOST_S, HEALTH_S = 1.0, 10.0, 15.0
LOST_AGAIN_S = 65.0
DEAF = 4  # looks at a server that does not answer, before it is started again
HEARTBEAT_S = 60  # of a run; `operation.deployments` waits five times as long
LONGEST_WAIT_S = 60.0
HEALTHY_S = 300.0  # a part that ran so long is a sound one: its next end waits a second only
START_S = 300.0  # the first start makes the database: 16 s on an idle machine
STOP_S = 30.0
_PREFECTS_TIME = re.compile(r"^(\d{4}-\d\d-\d\d )?\d\d:\d\d:\d\d\.\d{3} \| ")


class SupervisorError(RefusedError):
    """The server and the worker cannot be brought up, or down."""


def was_killed() -> bool:
    """Whether the last `up` here ended without stopping what it started."""
    return what_is_up() is None and read_state() is not None


def environment(port: int, auth: str | None = None, server: str | None = None) -> dict[str, str]:
    """Variables by which server, worker and commands find each other, and let nobody else in.

    The server listens at `port` of this machine's loopback and asks everyone for `auth`, a
    ``user:password``; `server` is the address of the API of one elsewhere, to be used instead.
    """
    address = f"http://{HOST}:{port}"
    api = server or f"{address}/api"
    variables = SERVER | {
        "PREFECT_HOME": str(home()),
        "PREFECT_API_URL": api,
        "PREFECT_UI_API_URL": api,  # else the UI asks the server at 4200, whatever the port
        "PREFECT_SERVER_API_HOST": HOST,
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        "PREFECT_SERVER_UI_V2_ENABLED": "false",
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_S),
        "PREFECT_CLIENT_MAX_RETRIES": "8",  # a run outlives two minutes without its server
        "PREFECT_LOGGING_COLORS": "false",
        "PREFECT_CLI_COLORS": "false",
        "COLUMNS": "160",
        "PYTHONUNBUFFERED": "1",
    }
    return variables | (guarded(address, auth) if auth else {})


def up(port: int, auth: str | None = None, server: str | None = None) -> int:
    """Bring everything up and stay until told to stop; 0 when it was stopped, 1 when it failed.

    Takes what `environment` does; with `server`, only a worker is started here.

    Raises
    ------
    SupervisorError
        If it is up already, or the port is taken.
    """
    lock = locks.try_to_hold(home() / "up.lock")
    if lock is None:
        state = read_state() or {}
        raise SupervisorError(
            f"it is up already: {state.get('address', 'starting')} (process {state.get('pid')}); "
            "`neural-classifiers down` stops it"
        )
    with lock:
        stop_leftovers()
        listening = _listen(port) if server is None else None
        logging.basicConfig(
            stream=sys.stdout,
            format="%(asctime)s  %(name)-7s %(message)s",
            datefmt="%Y-%m-%d %H:%M:%S",
            level=logging.INFO,
        )
        logging.raiseExceptions = False  # a reader that went away must not stop the work
        return _Watcher(port, auth, server, listening).watch()


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
    for name, noted in reversed((read_state() or {}).get("processes", {}).items()):
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


def stop_process(process: psutil.Process | psutil.Popen) -> None:
    """End a process and all that descend from it: asked first, killed when late."""
    with contextlib.suppress(psutil.NoSuchProcess):
        family = [process, *process.children(recursive=True)]
        process.terminate()
        _, alive = psutil.wait_procs(family, timeout=STOP_S)
        for late in alive:
            with contextlib.suppress(psutil.NoSuchProcess):
                late.kill()
        psutil.wait_procs(alive, timeout=STOP_S)


def is_answering(api: str, timeout_s: float = 10.0) -> bool:
    """Whether a Prefect server answers at an address; it is asked what needs no password."""
    try:
        with urllib.request.urlopen(f"{api}/health", timeout=timeout_s) as answer:
            return bool(answer.read() == b"true")
    except (OSError, ValueError):
        return False


def _listen(port: int) -> socket.socket:
    """Open the socket of every server of this `up`: nobody takes the port between two of them."""
    try:
        return socket.create_server((HOST, port), backlog=BACKLOG)
    except OSError as error:
        raise SupervisorError(
            f"{HOST}:{port}: expected a free port, got {error.strerror}; another one goes by "
            "--port, for good by NEURAL_CLASSIFIERS_PORT"
        ) from None


def _log(part: str, line: str) -> None:
    """Write a line of a part, without the time that Prefect gave it."""
    if line := _PREFECTS_TIME.sub("", line.rstrip()):
        logging.getLogger(part).info("%s", line)


class _Part:
    """A module that is to run all the time; it is given the socket `listening`, if there is one."""

    def __init__(
        self,
        name: str,
        command: list[str],
        env: Mapping[str, str],
        listening: socket.socket | None = None,
    ) -> None:
        self.name, self._command, self._env = name, command, env
        self._sockets = [listening.fileno()] if listening else []
        self.process: psutil.Popen | None = None
        self.muted = False  # Prefect's banner
        self.last_lines: deque[str] = deque(maxlen=10)
        self.identity: dict[str, float] = {}
        self._started = self._again_at = 0.0
        self._wait_s = 1.0

    def start(self) -> None:
        self.process = psutil.Popen(
            [sys.executable, "-m", *self._command, *map(str, self._sockets)],
            pass_fds=self._sockets,
            cwd=PROJECT,
            env=dict(self._env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,  # Ctrl-C reaches the watcher only, which stops them in order
        )
        self.identity = {"pid": self.process.pid, "created": self.process.create_time()}
        self._started = time.monotonic()
        threading.Thread(target=self._read, args=(self.process.stdout,), daemon=True).start()

    def stop(self) -> None:
        if self.process is not None and self.is_running():
            stop_process(self.process)
            self.process.wait()

    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def is_due(self) -> bool:
        """Whether a part that ended is to be started now; the first look logs its end."""
        now = time.monotonic()
        if not self._again_at:
            if now - self._started > HEALTHY_S:
                self._wait_s = 1.0
            self._again_at = now + self._wait_s
            status = self.process.returncode if self.process else None
            last = f": {' | '.join(list(self.last_lines)[-3:])}" if self.muted else ""
            _log(
                "up",
                f"the {self.name} ended with status {status}; it is started again in "
                f"{self._wait_s:g} s{last}",
            )
            self._wait_s = min(2 * self._wait_s, LONGEST_WAIT_S)
        if now < self._again_at:
            return False
        self._again_at = 0.0
        return True

    def _read(self, output: TextIO) -> None:
        for line in output:
            self.last_lines.append(line.strip())
            if not self.muted:
                _log(self.name, line)


class _Watcher:
    def __init__(
        self,
        port: int,
        auth: str | None,
        server: str | None,
        listening: socket.socket | None,
    ) -> None:
        self._env = os.environ | environment(port, auth, server)
        self._api = self._env["PREFECT_API_URL"]
        self._address = self._api.removesuffix("/api")
        serve = ["neural_classifiers.operation.server"]
        self._server = _Part("server", serve, self._env, listening) if listening else None
        name = platform.node() or "this machine"
        # one run at a time on a machine: each uses all its cores
        worker = ["prefect", "worker", "start", "--pool", POOL, "--name", name, "--limit", "1"]
        self._worker = _Part("worker", worker, self._env)
        self._stopping = threading.Event()
        self._crash_at: dict[Path, float] = {}  # folders of the runs whose process is gone

    def watch(self) -> int:
        for signal_ in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(signal_, lambda *_: self._stopping.set())
        try:
            if not self._is_up():
                return 0 if self._stopping.is_set() else 1
            sign_in = f", password in {where_auth()}" if self._server else ""
            _log("up", f"ready: {self._address}{sign_in} (Ctrl-C stops it)")
            self._keep_up()
            return 0
        finally:
            _log("up", "stopping")
            self._worker.stop()
            stop_orphans()
            self._crash_lost_runs(at_once=True)  # so that Retry takes them when all is up again
            if self._server:
                self._server.stop()
            (home() / "up.json").unlink(missing_ok=True)
            _log("up", "stopped")

    def _is_up(self) -> bool:
        """Start everything, in order; False where that failed, or is to stop."""
        if self._server:
            _log("up", "starting the server")
            with locks.hold(home() / STARTING):
                if not self._start_server(self._server):
                    return False
        if not self._run("deployments", *(() if self._server else ("--only-missed",))):
            return False
        if not self._stopping.is_set():
            self._start(self._worker)
        return not self._stopping.is_set()

    def _start(self, part: _Part) -> None:
        part.start()
        self._write_state()

    def _start_server(self, server: _Part) -> bool:
        server.muted = True
        self._start(server)
        end = time.monotonic() + START_S
        while not is_answering(self._api, timeout_s=1.0):  # until it listens, it is asked in vain
            if self._stopping.wait(0.2):
                return False
            if not server.is_running() or time.monotonic() > end:
                for line in list(server.last_lines):
                    _log("server", line)
                _log("up", f"expected a server at {self._api}, got none")
                return False
        server.muted = False
        return True

    def _keep_up(self) -> None:
        deaf, looked, healthy = 0, time.monotonic(), time.monotonic()
        while not self._stopping.wait(LOOK_S):
            now = time.monotonic()
            if not self._worker.is_running() and (orphans := stop_orphans()):
                _log("up", f"stopped {orphans} processes of the dead worker's run")
            if self._server and not self._server.is_running():
                if self._server.is_due():
                    deaf = 0
                    self._start_server(self._server)
                continue
            if self._server and now - healthy > HEALTH_S:
                healthy = now
                deaf = 0 if is_answering(self._api) else deaf + 1
                if deaf == DEAF:
                    _log("up", f"the server does not answer at {self._api}")
                    self._server.stop()
                    continue
            if not self._worker.is_running() and self._worker.is_due():
                self._run("deployments", "--only-missed")
                self._start(self._worker)
            if now - looked > LOST_S:
                looked = now
                self._crash_lost_runs()

    def _crash_lost_runs(self, at_once: bool = False) -> None:
        """Close the runs whose process is gone, when it was gone at the last look too."""
        now = time.monotonic()
        running = [mark.parent for mark in paths.runs().glob(f"*/{locks.RUNNING}")]
        lost = [folder for folder in running if not run_files.is_alive(folder)]
        self._crash_at = {folder: self._crash_at.get(folder, now + LOST_S) for folder in lost}
        for folder in lost:
            if at_once or now >= self._crash_at[folder]:
                self._crash_at[folder] = now + LOST_AGAIN_S
                with contextlib.suppress(OSError, ValueError, KeyError):
                    run_id = run_files.read(folder)["run_id"]
                    if is_answering(self._api):
                        self._run("resume", run_id)

    def _run(self, module: str, *arguments: str) -> bool:
        """Run a module of this package, its output into the log; False if it failed."""
        command = [sys.executable, "-m", f"neural_classifiers.operation.{module}", *arguments]
        try:
            done = subprocess.run(
                command,
                cwd=PROJECT,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=START_S,
                start_new_session=True,
                check=False,
            )
        except subprocess.TimeoutExpired as late:
            output = late.stdout or b""  # as bytes, whatever was asked for
            text = output.decode(errors="replace") if isinstance(output, bytes) else output
            for line in text.splitlines():
                _log("up", line)
            _log("up", f"{module}: expected an end within {START_S:g} s, got none")
            return False
        for line in done.stdout.splitlines():
            _log("up", line)
        return done.returncode == 0

    def _write_state(self) -> None:
        parts = [part for part in (self._server, self._worker) if part and part.identity]
        state = {
            "pid": os.getpid(),
            "address": self._address,
            "api": self._api,
            "processes": {part.name: part.identity for part in parts},
        }
        write_durably(home() / "up.json", run_files.as_json(state))
