"""Runs: each root flow run has a folder, made for people, filled while the run goes on.

``run.json`` is rewritten whole after each step, so that a killed run tells how far it came. A
retry of the same flow run finds its folder by the run's id and adds to ``attempts``. Tables and
models stay in the cache and are named here by path and digest. While its process lives, a run
holds the locks of `engine.locks`. A run that ends tells the webhook of `engine.alerts`; one that
goes on beyond the setting ``run_limit_s`` is ended, so that no hang blocks those behind it.
"""

import contextlib
import importlib.metadata
import os
import platform
import signal
import sys
import threading
from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import prefect.runtime
from prefect.client.schemas.objects import FlowRun
from prefect.flows import Flow
from prefect.states import State
from prefect.task_runners import ThreadPoolTaskRunner
from prefect.utilities.callables import get_parameter_defaults

from neural_classifiers.engine import alerts, locks, paths
from neural_classifiers.engine.files import as_json, make_folder, write_durably
from neural_classifiers.engine.run_files import (
    RUN,
    find_folder,
    newest_first,
    read,
    read_metrics,
    updating,
)
from neural_classifiers.engine.run_log import log_once
from neural_classifiers.engine.settings import read_settings
from neural_classifiers.errors import ParameterError, RefusedError

LIBRARIES = tuple(
    "prefect pandas pyarrow numpy nltk scikit-learn tensorflow keras scikeras great-expectations "
    "skops".split()
)
LOOK_BACK = 200  # runs, for the one to compare with
GRACE_S = 60.0  # between asking an overdue run to end and ending it
_held: dict[str, contextlib.ExitStack] = {}  # locks and limit of this process's root runs, by id


def current() -> Path | None:
    """The folder of the root run that the caller belongs to; None outside a run."""
    flow_run_id = prefect.runtime.flow_run.id
    return find_folder(_root_of(flow_run_id)) if flow_run_id else None


def run_folder() -> Path:
    """The folder of the root run that the caller belongs to.

    Raises
    ------
    RuntimeError
        If the caller belongs to no run that has a folder.
    """
    folder = current()
    if folder is None:
        raise RuntimeError("expected to be called in a flow run that has a folder, found none")
    return folder


@lru_cache(maxsize=64)
def _root_of(flow_run_id: str) -> str:
    """Root run of a flow run; asks the server, so once for each flow run."""
    return str(prefect.runtime.flow_run.root_flow_run_id or flow_run_id)


def note_step(entry: dict[str, Any]) -> None:
    """Add what became of a step to the run's ``steps``."""
    if folder := current():
        with updating(folder) as run:
            run["steps"].append({**entry, "attempt": run["attempts"]})


def wants_fresh(step: str, key: str, known: Collection[str]) -> bool:
    """Whether the flow's ``refresh`` names a step that this run has not yet refreshed.

    Raises
    ------
    ValueError
        If it names anything else than `known` steps.
    """
    asked = (prefect.runtime.flow_run.parameters or {}).get("refresh") or ()
    if unknown := sorted(set(asked) - set(known)):
        raise ParameterError(f"refresh: expected names of steps ({sorted(known)}), got {unknown}")
    if step not in asked:
        return False
    folder = current()
    done = read(folder)["steps"] if folder else []
    return not any(s["key"] == key and s.get("refreshed") and "error" not in s for s in done)


def steps_in_words(run: Mapping[str, Any]) -> str:
    """How many steps the last attempt of a run computed, and how many came from the cache."""
    steps = [step for step in run["steps"] if step["attempt"] == run["attempts"]]
    computed = sum(not step["hit"] for step in steps)
    if not computed:
        return f"nothing new: all {len(steps)} steps came from the cache"
    return f"{computed} of {len(steps)} steps computed, {len(steps) - computed} from the cache"


def versions() -> dict[str, str]:
    """Versions of Python and of the libraries that a reader of the report would ask for."""
    libraries = {library: importlib.metadata.version(library) for library in LIBRARIES}
    return {"python": platform.python_version(), **libraries}


def open_run(flow: Flow, flow_run: FlowRun, state: State) -> None:
    """Make the folder of a root run, or add an attempt to it (hook ``on_running``)."""
    if flow_run.parent_task_run_id is not None:
        return
    log_once()
    run_id, began = str(flow_run.id), datetime.now(UTC)
    folder = find_folder(run_id) or paths.runs() / f"{began:%Y%m%dT%H%M%SZ}-{flow_run.name}"
    is_first = run_id not in _held  # a flow that retries itself enters Running again
    if is_first:
        _held[run_id] = contextlib.ExitStack()
        _held[run_id].enter_context(locks.hold(paths.cache() / locks.IN_USE, shared=True))
        _held[run_id].enter_context(locks.hold(folder / locks.RUNNING))
    _begin(flow.name, flow_run, folder, began, _all_parameters(flow, flow_run))
    if is_first:
        _limit(run_id)


def note_unbegun(flow_name: str, flow_run: FlowRun, state: State) -> None:
    """Give a run that ended before it began (``attempts``: 0) a folder, and send its alerts."""
    folder = paths.runs() / f"{state.timestamp:%Y%m%dT%H%M%SZ}-{flow_run.name}"
    make_folder(folder)
    _begin(flow_name, flow_run, folder, state.timestamp, flow_run.parameters, attempts=0)
    end_run(str(flow_run.id), state)


def _begin(
    flow_name: str,
    flow_run: FlowRun,
    folder: Path,
    began: datetime,
    parameters: dict[str, Any],
    attempts: int = 1,
) -> None:
    if (folder / RUN).exists():
        with updating(folder) as run:
            run["earlier"] = [*run["earlier"], run["status"]]
            run.update(status="running", attempts=run["attempts"] + 1, finished=None)
            run.update(error=None, failed=[], seconds=None)
            run.update(began=[*run["began"], _exactly(began)])
        return
    run = {
        "run_id": str(flow_run.id),
        "flow": flow_name,
        "name": flow_run.name,
        "status": "running",
        "attempts": attempts,
        "started": began.isoformat(timespec="seconds"),
        "finished": None,
        "began": [_exactly(began)],  # each attempt
        "seconds": None,  # of the last attempt
        "error": None,
        "earlier": [],  # how each earlier attempt ended
        "failed": [],
        "source": None,
        "parameters": parameters,
        "versions": versions(),
        "steps": [],
    }
    write_durably(folder / RUN, as_json(run))


def close_run(flow: Flow, flow_run: FlowRun, state: State) -> None:
    """Write how a root run ended (hooks for every end), let go of its locks, send its alerts."""
    if flow_run.parent_task_run_id is None:
        end_run(str(flow_run.id), state)


def end_run(run_id: str, state: State) -> None:
    """As `close_run`, for a root run by its id; also where its process is gone."""
    ended, folder = datetime.now(UTC), find_folder(run_id)
    if folder:
        with updating(folder) as run:
            took = ended - datetime.fromisoformat(run["began"][-1])
            run["status"] = _status(state)
            run["finished"] = ended.isoformat(timespec="seconds")
            run["seconds"] = round(took.total_seconds(), 1)
            run["error"] = None if state.is_completed() else why_of(state)
        (folder / locks.RUNNING).unlink(missing_ok=True)
    if held := _held.pop(run_id, None):  # none where a worker tells of the process that it lost
        held.close()
    if folder:
        _alert(folder)


def why_of(state: State) -> str:
    """Why a run or a step did not complete: the words of an expected error, else Prefect's."""
    error = getattr(state.data, "result", state.data)
    return str(error) if isinstance(error, RefusedError) else state.message or str(state.name)


def _all_parameters(flow: Flow, flow_run: FlowRun) -> dict[str, Any]:
    """With the defaults: a deployment's run knows only what was given to it."""
    defaults = get_parameter_defaults(flow.fn)
    return flow.serialize_parameters({**defaults, **flow_run.parameters})


def _status(state: State) -> str:
    if state.is_cancelling():  # the hooks are called while the worker ends the processes
        return "cancelled"
    return (state.name or state.type.value).lower()


def _alert(folder: Path) -> None:
    """Send the alerts of a run that ended, and note in its ``run.json`` what came of them."""
    run = read(folder)
    for event, sentence in alerts.events(run, read_metrics(folder), _before(folder)):
        if sent := alerts.deliver(event, sentence, run):
            with updating(folder) as run:
                sent["attempt"] = run["attempts"]
                run["alerts"] = [*run.get("alerts", []), sent]


def _before(folder: Path) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """``run.json`` and metrics of the runs before this one, the newest first."""
    earlier = [other for other in newest_first() if other.name < folder.name]
    for other in earlier[:LOOK_BACK]:
        with contextlib.suppress(OSError, ValueError):
            yield read(other), read_metrics(other)


def _limit(run_id: str) -> None:
    """End this process when the run takes too long: asked first, killed if it does not listen."""
    limit_s = read_settings().run_limit_s

    def end() -> None:
        sys.stderr.write(f"expected the run to end within {limit_s:g} s, it goes on: ended here\n")
        os.kill(os.getpid(), signal.SIGTERM)
        kill = threading.Timer(GRACE_S, os.kill, (os.getpid(), signal.SIGKILL))
        kill.daemon = True
        kill.start()

    limit = threading.Timer(limit_s, end)
    limit.daemon = True
    limit.start()
    _held[run_id].callback(limit.cancel)


def limit_run(flow: Flow, flow_run: FlowRun, state: State) -> None:
    """End this process when a run without a folder takes too long (hook ``on_running``)."""
    run_id = str(flow_run.id)
    if run_id not in _held:
        _held[run_id] = contextlib.ExitStack()
        _limit(run_id)


def release_run(flow: Flow, flow_run: FlowRun, state: State) -> None:
    """Take back what `limit_run` began (hooks for every end)."""
    if held := _held.pop(str(flow_run.id), None):
        held.close()


def _exactly(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds")


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
