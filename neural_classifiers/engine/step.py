"""The thin layer around each step: look for its record, work only when it is missing.

A step is a Prefect task whose own caching and result persistence are off: the records are the
one cache. On a hit its state is ``Completed(name="Cached")``, so that the Prefect UI shows what
was not done, and a Retry of the run does again only what is missing.
"""

import functools
import importlib
import inspect
import os
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar, cast, get_type_hints

import psutil
from prefect import Task, get_run_logger, runtime, task
from prefect.cache_policies import NO_CACHE
from prefect.states import Completed, State

from neural_classifiers.engine import paths, progress, runs, workers
from neural_classifiers.engine.code.fingerprint import edited, fingerprint
from neural_classifiers.engine.records import Key, Recalled, Reference, files_among, recall
from neural_classifiers.engine.settings import read_settings

R = TypeVar("R", bound=Reference)

_known: set[str] = set()  # every step that this process has imported

UNRECORDED: dict[str, Any] = {"cache_policy": NO_CACHE, "persist_result": False}
"""Options of every Prefect task here: no second cache beside the records, no pickled result."""


def step(
    *,
    threads: int = 0,
    attempts: int = 1,
    task_run_name: str | None = None,
) -> Callable[[Callable[..., R]], Task[..., R]]:
    """Make a step of a function that writes its files into the folder it is given.

    Parameters
    ----------
    threads : int
        0: the body runs here, in the task's thread. Otherwise in a worker process that may
        use so many threads, and for as long as the setting ``step_limit_s`` says.
    attempts : int
        Worker processes that may die over a body; for one that goes on where it stopped.
    task_run_name : str, optional
        Name in the UI, with the body's arguments in braces; by default the step's name.

    Notes
    -----
    The body's last parameter is ``folder``: an empty folder for its files, filled in by the
    layer. It returns a Reference, whose class its annotation names. Every other argument is
    plain or a Reference and counts in the record's key. The files that arguments refer to have
    been verified when the body begins, so it opens their ``path``.
    """

    def decorate(body: Callable[..., R]) -> Task[..., R]:
        signature = inspect.signature(body)
        visible = [p for name, p in signature.parameters.items() if name != "folder"]

        @functools.wraps(body)
        def run(*args: Any, **kwargs: Any) -> State:
            bound = inspect.Signature(visible).bind(*args, **kwargs)
            bound.apply_defaults()
            return _run(body, dict(bound.arguments), threads, attempts)

        run.__signature__ = inspect.Signature(visible)  # type: ignore[attr-defined]
        made: Task[..., Any] = task(
            name=body.__name__, task_run_name=task_run_name or body.__name__, **UNRECORDED
        )(run)
        made.step = body.__name__  # type: ignore[attr-defined]
        _known.add(body.__name__)
        return cast(Task[..., R], made)

    return decorate


def _run(body: Callable[..., Any], arguments: dict[str, Any], threads: int, attempts: int) -> State:
    name, logger = body.__name__, get_run_logger()
    result_type = get_type_hints(body)["return"]
    key = key_of(body, arguments)
    meter = Meter()
    refresh = runs.wants_fresh(name, key.digest, _known)
    entry: dict[str, Any] = {
        "step": name,
        "task_run": runtime.task_run.name or name,
        "key": key.digest,
        "result": result_type.__name__,
        "refreshed": refresh,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }

    def work(folder: Path) -> Reference:
        with progress.Watch(name, runtime.task_run.name or name) as watch:
            if threads == 0:
                with progress.reporting_to(watch.file, watch.look):
                    return _call(body, arguments, folder)
            meter.answer = workers.run(
                call_body,
                body.__module__,
                name,
                arguments,
                folder,
                paths.root(),
                watch.file,
                threads=threads,
                timeout_s=read_settings().step_limit_s,
                attempts=attempts,
                on_start=lambda: logger.info("computing in a worker process"),
                meanwhile=watch.look,
            )
        return meter.answer.value

    try:
        with meter:
            recalled: Recalled[Any] = recall(
                paths.cache(), key, result_type, work, meter.reading, refresh
            )
    except BaseException as error:
        runs.note_step({**entry, "hit": False, **meter.reading(), "error": _in_words(error)})
        raise
    runs.note_step({**entry, "hit": recalled.hit, **meter.reading()})
    if recalled.warning:
        logger.warning("%s", recalled.warning)
    logger.info("%s%s", "cached: " if recalled.hit else "", recalled.result.in_words())
    return Completed(name="Cached" if recalled.hit else "Completed", data=recalled.result)


def recorded(step_task: Task[..., R], **arguments: Any) -> R:
    """The result of a step without Prefect: its record, made here and now where it is missing."""
    body = body_of(step_task)
    result_type = get_type_hints(body)["return"]

    def work(folder: Path) -> Reference:
        return _call(body, arguments, folder)

    recalled: Recalled[Any] = recall(paths.cache(), key_of(body, arguments), result_type, work)
    return cast(R, recalled.result)


def key_of(body: Callable[..., Any], arguments: dict[str, Any]) -> Key:
    """The key of a step's record for some arguments."""
    code = fingerprint(body)
    parts = dict(code.parts)
    if changed := edited():  # what runs is older than what was read: a record for this process only
        parts["<edited while running>"] = f"{os.getpid()} {sorted(changed)}"
    inputs = {name: value for name, value in arguments.items() if any(files_among(value))}
    return Key(
        step=body.__name__,
        parameters={name: value for name, value in arguments.items() if name not in inputs},
        inputs=inputs,
        code=parts,
        libraries=code.libraries,
    )


def call_body(
    module: str, name: str, arguments: dict[str, Any], folder: Path, root: Path, progress_file: Path
) -> Reference:
    """Run the body of a step by name; in a worker process, where the Prefect task is of no use.

    Parameters
    ----------
    module, name : str
        Of the step.
    arguments : dict
        Of the body, without its folder.
    folder : Path
        Empty, for what the body writes.
    root : Path
        As of `engine.paths.root`: a worker may have served another one before.
    progress_file : Path
        For the reports of `engine.progress`.
    """
    paths.use(root)
    step_task = getattr(importlib.import_module(module), name)
    with progress.reporting_to(progress_file):
        return _call(body_of(step_task), arguments, folder)


def _call(body: Callable[..., Any], arguments: Mapping[str, Any], folder: Path) -> Reference:
    """Run a body once its input files are seen to be those that were recorded."""
    for file in dict.fromkeys(files_among(arguments)):
        file.verified()
    return body(**arguments, folder=folder)


def body_of(step_task: Task[..., Any]) -> Callable[..., Any]:
    """The plain function that a step was made of."""
    return inspect.unwrap(step_task.fn)


def _in_words(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


class Meter:
    """Seconds and peak memory of what runs inside it.

    Of the worker where the body runs in one. Else of this process and the workers that work on
    its batches, together, sampled every 50 ms; then ``shared`` tells that other steps ran here at
    the same time.
    """

    _running = 0
    _lock = threading.Lock()

    def __init__(self) -> None:
        self.answer: workers.Answer | None = None
        self._peak, self._shared = 0, False
        self._started = time.monotonic()
        self._stop = threading.Event()

    def __enter__(self) -> "Meter":
        with Meter._lock:
            Meter._running += 1
        threading.Thread(target=self._sample, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        with Meter._lock:
            Meter._running -= 1

    def reading(self) -> dict[str, Any]:
        """``seconds``, ``peak_rss_mb`` and ``shared`` until now."""
        self._look()
        answer = self.answer
        return {
            "seconds": round(answer.seconds if answer else time.monotonic() - self._started, 3),
            "peak_rss_mb": round(answer.peak_rss_mb if answer else self._peak / 1e6, 1),
            "shared": self._shared and answer is None,
        }

    def _sample(self) -> None:
        while not self._stop.wait(0.05):
            self._look()

    def _look(self) -> None:
        self._peak = max(self._peak, psutil.Process().memory_info().rss + workers.busy_rss())
        self._shared = self._shared or Meter._running > 1
