"""How far a long step is: told by its body, shown on the terminal and in the Prefect UI.

A body in a worker process knows how far it is and can reach neither terminal nor Prefect; its
task in the parent process can reach both and waits. So the body tells, as often as it likes, and
the last it told lies in a small file; the task looks while it waits, or, where the body runs in
the task itself, whenever it tells. A body that tells nothing shows nothing, and costs nothing.
"""

import contextlib
import json
import os
import re
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from prefect import runtime

TELL_S = 0.2  # a body writes its file no more often
PUBLISH_S = 5.0  # a call of the Prefect API each, so no more often


class _Telling(NamedTuple):
    """Where what is told in this context goes."""

    file: Path
    on_tell: Callable[[], None]


_telling: ContextVar[_Telling | None] = ContextVar("telling", default=None)
_told: dict[Path, tuple[float, str]] = {}  # when, and in which unit, the last was written


@dataclass(frozen=True)
class Told:
    """What a body told.

    Attributes
    ----------
    done, of : float
        In `unit`; `done` counts what was found finished at the start, too.
    unit : str
        What is counted, in the plural: ``"fits"``, ``"epochs"``. Another one begins a new count.
    best : float or None
        The best score so far, where more is better.
    parts : int
        Steps of this name that share the work, such as the folds of a search.
    scores : dict of str to float
        What it stands at now, such as ``accuracy`` and ``loss``.
    """

    done: float
    of: float
    unit: str
    best: float | None = None
    parts: int = 1
    scores: dict[str, float] = field(default_factory=dict)


# --- in the process of the body ---------------------------------------------------------------


def tell(
    done: float,
    of: float,
    unit: str,
    best: float | None = None,
    parts: int = 1,
    scores: Mapping[str, float] = MappingProxyType({}),
) -> None:
    """Say how far this step is (see `Told`); cheap, and without effect where nobody looks."""
    told = Told(done, of, unit, best, parts, dict(scores))
    telling, now = _telling.get(), time.monotonic()
    if telling is None:
        return
    at, last_unit = _told[telling.file]
    if now - at < TELL_S and done < of and unit == last_unit:
        return
    _told[telling.file] = now, unit
    beside = telling.file.with_suffix(".new")
    beside.write_text(json.dumps(asdict(told)))
    beside.replace(telling.file)
    telling.on_tell()


def tell_rows(rows: int, passes: int = 1) -> Callable[[int], None]:
    """For `engine.rows.batches.work_batches`: says how far a step of so many rows and passes is.

    What it gives is called with the rows of each batch that is done.
    """
    unit = "rows" if passes == 1 else f"rows in {passes} passes"
    done = 0

    def tell_next(n: int) -> None:
        nonlocal done
        done += n
        tell(done, rows * passes, unit)

    return tell_next


@contextlib.contextmanager
def telling(file: Path, on_tell: Callable[[], None] = lambda: None) -> Iterator[None]:
    """What is told inside goes to this file; a watch in the same process is called each time."""
    _told[file] = 0.0, ""
    token = _telling.set(_Telling(file, on_tell))
    try:
        yield
    finally:
        _telling.reset(token)
        del _told[file]


# --- in the process of the task ---------------------------------------------------------------


class Watch:
    """What a running body has told so far, shown whenever it is looked at.

    Parameters
    ----------
    step, task_run : str
        Names of the step and of this run of it, such as ``fit_scikit`` and ``fit_scikit-3``.
    publish : callable, optional
        Takes a percentage and a description; Prefect's progress artifact by default.
    """

    def __init__(
        self, step: str, task_run: str, publish: Callable[[float, str], None] | None = None
    ) -> None:
        self.step = step
        self._publish = publish or _Artifact(task_run)
        handle, name = tempfile.mkstemp(prefix="progress-", suffix=".json")
        os.close(handle)
        self.file = Path(name)
        self._begun: float | None = None
        self._first = 0.0
        self._last: Told | None = None
        self._published = 0.0

    def __enter__(self) -> "Watch":
        _terminal.begin(self)
        return self

    def __exit__(self, *error: object) -> None:
        self.look(is_last=True)
        _terminal.end(self)
        self.file.unlink(missing_ok=True)
        self.file.with_suffix(".new").unlink(missing_ok=True)

    def look(self, is_last: bool = False) -> None:
        """Show what is new; called every now and then while the body runs."""
        told = _read(self.file)
        if told is None or (told == self._last and not is_last):
            return
        now = time.monotonic()
        if self._begun is None or self._last is None or told.unit != self._last.unit:
            self._begun, self._first = now, told.done
        self._last = told
        _terminal.show(self, told)
        if is_last or now - self._published >= PUBLISH_S:
            self._published = now
            self._publish(100 * told.done / told.of, self.words())

    def words(self) -> str:
        """``134 of 300 fits, best 0.7771, about 2 min left``."""
        if self._last is None or self._begun is None:
            return ""
        seconds = time.monotonic() - self._begun
        rate = (self._last.done - self._first) / seconds if seconds > 0 else None
        return in_words(self._last, seconds_left(self._last, self._first, seconds), rate)


def in_words(told: Told, left_s: float | None, rate: float | None = None) -> str:
    """One line: how far, how fast (of rows, in `unit` a second), how good, how long still."""
    parts = [f"{told.done:,.10g} of {told.of:,.10g} {told.unit}"]
    if rate is not None and told.unit.startswith("rows"):
        parts.append(f"{rate:,.0f} a second")
    if told.best is not None:
        parts.append(f"best {told.best:.4f}")
    parts += [f"{name} {value:.4f}" for name, value in told.scores.items()]
    if left_s is not None and told.done < told.of:
        parts.append(f"about {_duration(left_s)} left")
    return ", ".join(parts)


def seconds_left(told: Told, first: float, seconds: float) -> float | None:
    """At the speed so far; None before there is one (a twentieth of what was to do).

    Parameters
    ----------
    told : Told
    first : float
        What was done when the body first told: found finished, mostly.
    seconds : float
        Since then.
    """
    made, to_do = told.done - first, told.of - first
    if made <= 0 or made < to_do / 20:
        return None
    return seconds * (told.of - told.done) / made


def _read(file: Path) -> Told | None:
    try:
        return Told(**json.loads(file.read_text()))
    except (FileNotFoundError, ValueError):  # nothing told yet: the file is empty
        return None


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


class _Artifact:
    """The progress artifact of the task that runs."""

    def __init__(self, task_run: str) -> None:
        self._key = "progress-" + re.sub(r"[^a-z0-9]+", "-", task_run.lower()).strip("-")
        self._id: Any = None

    def __call__(self, percent: float, description: str) -> None:
        from prefect.artifacts import create_progress_artifact, update_progress_artifact

        if self._id is None:
            self._id = create_progress_artifact(percent, self._key, description)
        else:
            update_progress_artifact(self._id, percent, description)


class _Terminal:
    """A line for each step under way, its parts together, where there is a terminal."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._display: Any = None
        self._lines: dict[tuple[str, str], _Line] = {}
        self._watches: dict[Watch, tuple[str, str]] = {}

    def begin(self, watch: Watch) -> None:
        """A part of a step begins."""
        with self._lock:
            self._watches[watch] = (str(runtime.flow_run.id), watch.step)

    def show(self, watch: Watch, told: Told) -> None:
        """A part has told something new."""
        with self._lock:
            if self._display is None and not self._open():
                return
            place = self._watches[watch]
            if place not in self._lines:
                self._lines[place] = _Line(self._display.add_task(watch.step, total=None, words=""))
            line = self._lines[place]
            line.note(watch, told)
            together, words = line.together()
            self._display.update(line.task, completed=together.done, total=together.of, words=words)

    def end(self, watch: Watch) -> None:
        """A part has ended; the display goes with the last."""
        with self._lock:
            del self._watches[watch]
            if not self._watches and self._display is not None:
                self._display.stop()
                self._display = None
                self._lines.clear()

    def _open(self) -> bool:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        console = Console(stderr=True)
        if not console.is_terminal:
            return False
        columns = (
            TextColumn("{task.description}"),
            BarColumn(20),
            TextColumn("{task.fields[words]}"),
        )
        self._display = Progress(*columns, console=console, transient=True)
        self._display.start()
        return True


class _Line:
    """What the parts of one step have told."""

    def __init__(self, task: Any) -> None:
        self.task = task
        self._begun = time.monotonic()
        self._first: dict[Watch, float] = {}
        self._last: dict[Watch, Told] = {}

    def note(self, watch: Watch, told: Told) -> None:
        if watch not in self._last:
            self._first[watch] = told.done
        elif told.unit != self._last[watch].unit:
            self._begun, self._first[watch] = time.monotonic(), told.done
        self._last[watch] = told

    def together(self) -> tuple[Told, str]:
        """All parts as one; those that have not begun count as an average one."""
        told = list(self._last.values())
        of = sum(one.of for one in told)
        whole = max(of, of / len(told) * told[-1].parts)
        best = max((one.best for one in told if one.best is not None), default=None)
        done, scores = sum(one.done for one in told), told[-1].scores
        together = Told(done, round(whole), told[-1].unit, best, scores=scores)
        seconds = time.monotonic() - self._begun
        first = sum(self._first.values())
        rate = (done - first) / seconds if seconds > 0 else None
        return together, in_words(together, seconds_left(together, first, seconds), rate)


_terminal = _Terminal()
