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
import logging.handlers
import os
import platform
import re
import signal
import socket
import subprocess
import sys
import threading
import time
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
    storage,
    what_is_up,
    where_auth,
)
from neural_classifiers.errors import RefusedError
from neural_classifiers.operation.lookout import Lookout, is_answering
from neural_classifiers.operation.server import HOST

POOL = "classifiers"
BACKLOG = 128
WORKER = platform.node() or "this machine"
PROJECT = Path(__file__).resolve().parents[2]  # where prefect.yaml is
LOOK_S, LOST_S, HEALTH_S = 1.0, 10.0, 15.0
LOST_AGAIN_S = 65.0
RUNS_S, VAIN = 20.0, 3  # between two looks at the server's runs; vain ones that are told
SLEPT_S = 60.0  # by so much the clock may differ from the time that passed
DEAF = 20  # looks at a server that does not answer: five minutes; a busy machine's is slow
HEARTBEAT_S = 300  # of a run: an event, lost while the server is away
LONGEST_WAIT_S = 60.0
HEALTHY_S = 300.0  # a part that ran so long is a sound one: its next end waits a second only
START_S = 900.0  # the first start makes the database: 16 s on an idle machine
STOP_S = 30.0
LOG, LOG_BYTES, LOGS, QUIET_S = "up.log", 5_000_000, 5, 3600.0
_PREFECTS = re.compile(r"(?:\d{4}-\d\d-\d\d )?\d\d:\d\d:\d\d\.\d{3} \| ([A-Z]+) *\| (.*)")
_ROUTINE = re.compile(r"eployment (pull )?step| - View at | - Running hook | - Hook ")
_quiet_until: dict[str, float] = {}  # by the part and its logger that warned
_HAPPENED = ("Flow run", "Worker")  # what lines begin with that tell what happened


class SupervisorError(RefusedError):
    """The server and the worker cannot be brought up, or down."""

    code = "NC80"


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
        _open_log()
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


def _listen(port: int) -> socket.socket:
    """Open the socket of every server of this `up`: nobody takes the port between two of them."""
    try:
        return socket.create_server((HOST, port), backlog=BACKLOG)
    except OSError as error:
        raise SupervisorError(
            f"{HOST}:{port}: expected a free port, got {error.strerror}; another one goes by "
            "--port, for good by NEURAL_CLASSIFIERS_PORT"
        ) from None


def _free_port() -> int:
    with socket.create_server((HOST, 0)) as free:
        return int(free.getsockname()[1])


def _open_log() -> None:
    """Two logs: what happened on standard output; everything in ``.prefect/up.log``, rotated."""
    line, seconds = "%(asctime)s  %(name)-7s %(message)", "%Y-%m-%d %H:%M:%S"
    happened = logging.StreamHandler(sys.stdout)
    happened.setLevel(logging.INFO)
    happened.setFormatter(logging.Formatter(f"{line}.240s", seconds))  # Prefect prints events whole
    rotated = logging.handlers.RotatingFileHandler(
        home() / LOG, maxBytes=LOG_BYTES, backupCount=LOGS, encoding="utf-8"
    )
    logging.basicConfig(
        handlers=[happened, rotated],
        format=f"{line}s",
        datefmt=seconds,
        level=logging.DEBUG,
    )
    for library in ("httpx", "httpcore"):  # each alert would be three lines
        logging.getLogger(library).setLevel(logging.WARNING)
    logging.raiseExceptions = False  # a reader that went away must not stop the work


def _log(part: str, line: str) -> None:
    """Write a line of a part, without the time that Prefect gave it, to one log or to both.

    Both get what happened, and of the warnings that Prefect's own loggers give, most of which it
    puts right itself, the first of each in an hour. One gets the rest: banners, tracebacks, what
    steps say, which the UI shows.
    """
    found = _PREFECTS.match(line)
    level, text = found.groups() if found else ("", line)
    happened = part == "up" or (text.startswith(_HAPPENED) and not _ROUTINE.search(text))
    if level not in ("", "INFO", "DEBUG"):
        if not happened:
            source, now = f"{part} {text.partition(' - ')[0]}", time.monotonic()
            happened = now >= _quiet_until.get(source, 0.0)
            _quiet_until[source] = now + QUIET_S if happened else _quiet_until[source]
        text = f"{level}: {text}"
    if text := text.rstrip():
        logging.getLogger(part).log(logging.INFO if happened else logging.DEBUG, "%s", text)


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
        self.last_lines: deque[str] = deque(maxlen=3)
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
            _log(
                "up",
                f"the {self.name} ended with status {status}; it is started again in "
                f"{self._wait_s:g} s",
            )
            self._wait_s = min(2 * self._wait_s, LONGEST_WAIT_S)
        if now < self._again_at:
            return False
        self._again_at = 0.0
        return True

    def _read(self, output: TextIO) -> None:
        for line in output:
            self.last_lines.append(line.strip())
            _log(self.name, line)


class _Watcher:
    def __init__(
        self,
        port: int,
        auth: str | None,
        server: str | None,
        listening: socket.socket | None,
    ) -> None:
        self._env = os.environ | environment(port, auth, server) | storage()
        self._api = self._env["PREFECT_API_URL"]
        self._address = self._api.removesuffix("/api")
        serve = ["neural_classifiers.operation.server"]
        self._server = _Part("server", serve, self._env, listening) if listening else None
        self._lookout = Lookout(self._api, auth)
        self._health = f"http://{HOST}:{_free_port()}"
        # one run at a time on a machine: each uses all its cores
        worker = ["prefect", "worker", "start", "--pool", POOL, "--name", WORKER, "--limit", "1"]
        health = {"PREFECT_WORKER_WEBSERVER_HOST": HOST}
        health["PREFECT_WORKER_WEBSERVER_PORT"] = self._health.rpartition(":")[2]
        self._worker = _Part("worker", [*worker, "--with-healthcheck"], self._env | health)
        self._stopping = threading.Event()
        self._crash_at: dict[Path, float] = {}  # folders of the runs whose process is gone
        self._seen: set[str] = set()  # runs that ended before they began
        self._told: set[str] = set()  # what is wrong, and told
        self._vain = 0  # looks at the server's runs
        self._clocks = time.time(), time.monotonic()

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
        if not self._run("deployments", *(() if self._server else ("died",))):
            return False
        if not self._stopping.is_set():
            self._start(self._worker)
        return not self._stopping.is_set()

    def _start(self, part: _Part) -> None:
        part.start()
        self._write_state()

    def _start_server(self, server: _Part) -> bool:
        self._start(server)
        end = time.monotonic() + START_S
        while not is_answering(self._api, timeout_s=3.0):  # until it listens, it is asked in vain
            if self._stopping.wait(0.2):
                return False
            if not server.is_running() or time.monotonic() > end:
                last = " | ".join(server.last_lines)
                _log("up", f"expected a server at {self._api}, got none: {last}")
                return False
        return True

    def _keep_up(self) -> None:
        deaf, looked, healthy, seen = 0, *[time.monotonic()] * 3
        while not self._stopping.wait(LOOK_S):
            now = time.monotonic()
            self._look_at_clock()
            if not self._worker.is_running() and (orphans := stop_orphans()):
                _log("up", f"stopped {orphans} processes of the dead worker's run")
            if self._server and not self._server.is_running():
                if self._server.is_due():
                    deaf = 0
                    self._start_server(self._server)
                continue
            if self._server and now - healthy > HEALTH_S:
                healthy = now
                deaf = 0 if is_answering(self._api, "health") else deaf + 1
                if deaf == DEAF:
                    _log("up", f"the server does not answer at {self._api}")
                    self._server.stop()
                    continue
            if not self._worker.is_running() and self._worker.is_due():
                self._run("deployments", "died")
                self._start(self._worker)
            if self._server and now - seen > RUNS_S:
                seen = now
                self._look_at_runs()
            if now - looked > LOST_S:
                looked = now
                self._crash_lost_runs()

    def _look_at_clock(self) -> None:
        """After a sleep of the machine: of the runs that it missed only each one's newest is made.

        Everything was alive all the time, so the worker, which would make each, has to wait.
        """
        now = time.time(), time.monotonic()
        ahead = now[0] - self._clocks[0] - (now[1] - self._clocks[1])
        self._clocks = now
        if abs(ahead) < SLEPT_S:
            return
        _log("up", f"the clock went {ahead:+.0f} s while nothing passed: it slept, or was set")
        if self._worker.process and self._worker.is_running():
            self._worker.process.suspend()
            self._run("deployments", "missed")
            self._worker.process.resume()

    def _look_at_runs(self) -> None:
        """Note the runs that ended before they began; tell of what keeps runs from beginning."""
        try:
            unbegun, waiting = self._lookout.unbegun(), self._lookout.waiting()
        except (OSError, ValueError, KeyError) as error:
            self._vain += 1
            if self._vain == VAIN:
                self._tell("unusable", f"the server at {self._address} is no good: {error!r}")
            return
        self._vain = 0
        self._told.discard("unusable")
        for run_id in unbegun:
            if run_id not in self._seen:
                self._seen.add(run_id)
                self._run("resume", run_id, "unbegun")
        if not waiting:
            self._told.discard("late")
            return
        self._tell("late", f"late though nothing is at work: {', '.join(waiting[:10])}")
        busy = self._worker.process and self._worker.process.children()
        if self._worker.is_running() and not busy and not is_answering(self._health, "health"):
            _log("up", "the worker is deaf")
            self._worker.stop()

    def _tell(self, event: str, sentence: str) -> None:
        """Log and alert once until it is well again."""
        from neural_classifiers.engine import alerts  # with an HTTP client, which takes memory

        if event not in self._told:
            self._told.add(event)
            _log("up", f"WARNING: {sentence}")
            threading.Thread(target=alerts.deliver, args=(event, sentence), daemon=True).start()

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
