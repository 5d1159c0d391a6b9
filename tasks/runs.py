"""A run's folder: one for each root flow run, made for people, filled while the run goes on.

``run.json`` is rewritten whole after each step, so that a killed run tells how far it came. A
retry of the same flow run finds its folder by the run's id and adds to ``attempts``. Tables and
models stay in the cache and are named here by path and digest.
"""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import prefect.runtime
from prefect.client.schemas.objects import FlowRun
from prefect.flows import Flow
from prefect.states import State
from prefect.task_runners import ThreadPoolTaskRunner

from tasks import places
from tasks.records import write_durably

_RUN = "run.json"


def current() -> Path | None:
    """The folder of the root run that the caller belongs to; None outside a run."""
    flow_run_id = prefect.runtime.flow_run.id
    return folder_of(_root_of(flow_run_id)) if flow_run_id else None


@lru_cache(maxsize=64)
def _root_of(flow_run_id: str) -> str:
    """Root run of a flow run; asks the server, so once for each flow run."""
    return str(prefect.runtime.flow_run.root_flow_run_id or flow_run_id)


def folder_of(run_id: str) -> Path | None:
    """The folder of a root run by its id, or None."""
    for folder in sorted(places.runs().glob("*/"), reverse=True):
        with contextlib.suppress(OSError, ValueError):
            if read(folder)["run_id"] == run_id:
                return folder
    return None


def read(folder: Path) -> dict[str, Any]:
    """What ``run.json`` says."""
    return json.loads((folder / _RUN).read_bytes())


@contextlib.contextmanager
def updating(folder: Path) -> Iterator[dict[str, Any]]:
    """``run.json`` to be changed in place; steps side by side take turns."""
    with _locked(folder):
        run = read(folder)
        yield run
        write_durably(folder / _RUN, as_json(run))


def as_json(value: Any) -> bytes:
    """JSON for people: indented, one newline at its end."""
    return (json.dumps(value, indent=2, allow_nan=False, default=str) + "\n").encode()


def note_step(entry: dict[str, Any]) -> None:
    """Add what became of a step to the run's ``steps``."""
    if folder := current():
        with updating(folder) as run:
            run["steps"].append({**entry, "attempt": run["attempts"]})


def wants_fresh(step: str, key: str) -> bool:
    """Whether the flow's ``refresh`` names a step that this run has not yet refreshed."""
    if step not in ((prefect.runtime.flow_run.parameters or {}).get("refresh") or ()):
        return False
    folder = current()
    done = read(folder)["steps"] if folder else []
    return not any(s["key"] == key and s.get("refreshed") and "error" not in s for s in done)


def open_run(flow: Flow, flow_run: FlowRun, state: State) -> None:
    """Make the folder of a root run, or add an attempt to it (hook ``on_running``)."""
    if flow_run.parent_task_run_id is not None:
        return
    run_id = str(flow_run.id)
    if folder := folder_of(run_id):
        with updating(folder) as run:
            run.update(status="running", attempts=run["attempts"] + 1, finished=None)
            run.update(error=None, failed=[])
        return
    started = datetime.now(UTC)
    folder = places.runs() / f"{started:%Y%m%dT%H%M%SZ}-{flow_run.name}"
    folder.mkdir(parents=True)
    run = {
        "run_id": run_id,
        "flow": flow.name,
        "name": flow_run.name,
        "status": "running",
        "attempts": 1,
        "started": started.isoformat(timespec="seconds"),
        "finished": None,
        "error": None,
        "failed": [],
        "source": None,
        "parameters": flow_run.parameters,
        "steps": [],
    }
    write_durably(folder / _RUN, as_json(run))


def close_run(flow: Flow, flow_run: FlowRun, state: State) -> None:
    """Write how a root run ended (hooks for every end)."""
    folder = folder_of(str(flow_run.id))
    if flow_run.parent_task_run_id is not None or folder is None:
        return
    with updating(folder) as run:
        run["status"] = (state.name or state.type.value).lower()
        run["finished"] = datetime.now(UTC).isoformat(timespec="seconds")
        run["error"] = None if state.is_completed() else state.message


FLOW: dict[str, Any] = {
    # Tasks wait in threads; the work is done in worker processes, as many as there are cores.
    "task_runner": ThreadPoolTaskRunner(max_workers=32),
    "persist_result": False,
    "on_running": [open_run],
    "on_completion": [close_run],
    "on_failure": [close_run],
    "on_crashed": [close_run],
    "on_cancellation": [close_run],
}
"""Options of every flow: ``@flow(**FLOW)``. Only root runs have a folder."""


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    handle = os.open(folder, os.O_RDONLY)  # a folder can be locked: no lock file to leave
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
