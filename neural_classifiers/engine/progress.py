"""Progress of a long step: reported by its body, shown on the terminal and in the Prefect UI.

A body in a worker process knows how far it is and can reach neither terminal nor Prefect; its
task in the parent process can reach both and waits. So the body reports as often as it likes, and
its last report lies in a small file; the task looks while it waits, or, where the body runs in
the task itself, after each report. A body that reports nothing shows nothing, and costs nothing.
"""

import contextlib
import json
import re
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from prefect import runtime

WRITE_S = 0.2  # a body writes its file no more often
PUBLISH_S = 5.0  # a call of the Prefect API each, so no more often


@dataclass(frozen=True)
class ProgressReport:
    """How far a body is.

    Attributes
    ----------
    done, total : float
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
    total: float
    unit: str
    best: float | None = None
    parts: int = 1
    scores: dict[str, float] = field(default_factory=dict)


# --- in the process of the body ---------------------------------------------------------------


_write: ContextVar[Callable[[ProgressReport], None] | None] = ContextVar("write", default=None)


def report(
    done: float,
    total: float,
    unit: str,
    best: float | None = None,
    parts: int = 1,
    scores: Mapping[str, float] = MappingProxyType({}),
) -> None:
    """Report how far this step is; cheap, and without effect where nobody looks.

    Parameters
    ----------
    done, total, unit, best, parts, scores
        See `ProgressReport`.
    """
    if write := _write.get():
        write(ProgressReport(done, total, unit, best, parts, dict(scores)))


def reporter_for_rows(rows: int, passes: int = 1) -> Callable[[int], None]:
    """A function that takes the rows of each batch that is done, in so many passes over them."""
    unit = "rows" if passes == 1 else f"rows in {passes} passes"
    done = 0

    def report_batch(n: int) -> None:
        nonlocal done
        done += n
        report(done, rows * passes, unit)

    return report_batch


@contextlib.contextmanager
def reporting_to(file: Path, on_report: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Reports made inside go to this file; `on_report` is called after each that was written."""
    written_s, unit = 0.0, ""

    def write(report: ProgressReport) -> None:
        nonlocal written_s, unit
        now, is_last = time.monotonic(), report.done >= report.total
        if now - written_s < WRITE_S and not is_last and report.unit == unit:
            return
        written_s, unit = now, report.unit
        unfinished = file.with_suffix(".new")
        unfinished.write_text(json.dumps(asdict(report)))
        unfinished.replace(file)
        on_report()

    token = _write.set(write)
    try:
        yield
    finally:
        _write.reset(token)


# --- in the process of the task ---------------------------------------------------------------


class Pace:
    """The reports of one body, or of those that share a step: how far, how fast, how long still."""

    def __init__(self) -> None:
        self._began_s = time.monotonic()
        self._first: dict[object, float] = {}  # done when a body first reported: found finished
        self._last: dict[object, ProgressReport] = {}

    def add(self, body: object, report: ProgressReport) -> None:
        """Take the last report of a body; another unit begins a new count."""
        last = self._last.get(body)
        if last is None or last.unit != report.unit:
            if last is not None or not self._last:
                self._began_s = time.monotonic()
            self._first[body] = report.done
        self._last[body] = report

    def together(self) -> ProgressReport:
        """All bodies as one; those that have not begun count as an average one."""
        reports = list(self._last.values())
        total, newest = sum(one.total for one in reports), reports[-1]
        return ProgressReport(
            done=sum(one.done for one in reports),
            total=round(max(total, total / len(reports) * newest.parts)),
            unit=newest.unit,
            best=max((one.best for one in reports if one.best is not None), default=None),
            scores=newest.scores,
        )

    def words(self) -> str:
        """``134 of 300 fits, best 0.7771, about 2 min left``."""
        seconds, first = time.monotonic() - self._began_s, sum(self._first.values())
        return progress_in_words(self.together(), first, seconds)


def progress_in_words(report: ProgressReport, first: float, seconds: float) -> str:
    """One line: how far, how fast (of rows, in `unit` a second), how good, how long still.

    Parameters
    ----------
    report : ProgressReport
    first : float
        What was done at the first report: found finished, mostly.
    seconds : float
        Since then.
    """
    parts = [f"{report.done:,.10g} of {report.total:,.10g} {report.unit}"]
    if report.unit.startswith("rows") and seconds > 0:
        parts.append(f"{(report.done - first) / seconds:,.0f} a second")
    if report.best is not None:
        parts.append(f"best {report.best:.4f}")
    parts += [f"{name} {value:.4f}" for name, value in report.scores.items()]
    made, to_do = report.done - first, report.total - first
    # no speed before a twentieth of what was to do
    if 0 < made < to_do and made >= to_do / 20:
        parts.append(f"about {_duration(seconds * (to_do - made) / made)} left")
    return ", ".join(parts)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


class Watch:
    """The progress of a running body, shown whenever it is looked at.

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
        self.flow_run = str(runtime.flow_run.id)
        self._publish = publish or _Artifact(task_run)
        self._folder = tempfile.TemporaryDirectory(prefix="progress-")
        self.file = Path(self._folder.name) / "report.json"
        self._last: ProgressReport | None = None
        self._pace = Pace()
        self._published_s = 0.0

    def __enter__(self) -> "Watch":
        _terminal.begin(self)
        return self

    def __exit__(self, *error: object) -> None:
        self.look(is_last=True)
        _terminal.end(self)
        self._folder.cleanup()

    def look(self, is_last: bool = False) -> None:
        """Show what is new; called every now and then while the body runs."""
        report = read_report(self.file)
        if report is None or (report == self._last and not is_last):
            return
        self._last = report
        self._pace.add(self, report)
        _terminal.show(self, report)
        now = time.monotonic()
        if is_last or now - self._published_s >= PUBLISH_S:
            self._published_s = now
            self._publish(100 * report.done / report.total, self._pace.words())


def read_report(file: Path) -> ProgressReport | None:
    """The last report in a file; None before the first."""
    try:
        return ProgressReport(**json.loads(file.read_text()))
    except FileNotFoundError:
        return None


class _Artifact:
    """The progress artifact of the task that runs."""

    def __init__(self, task_run: str) -> None:
        self._key = "progress-" + re.sub(r"[^a-z0-9]+", "-", task_run.lower()).strip("-")
        self._id: Any = None

    def __call__(self, percent: float, description: str) -> None:
        from neural_classifiers.engine.artifacts import show_progress

        self._id = show_progress(percent, self._key, description, self._id)


class _Terminal:
    """A line for each step under way, its parts together, where there is a terminal."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._display: Any = None
        self._lines: dict[tuple[str, str], tuple[Any, Pace]] = {}  # of flow run and step
        self._watches: set[Watch] = set()

    def begin(self, watch: Watch) -> None:
        """A part of a step begins."""
        with self._lock:
            self._watches.add(watch)

    def show(self, watch: Watch, report: ProgressReport) -> None:
        """A part has reported something new."""
        with self._lock:
            if self._display is None and not self._open():
                return
            line = (watch.flow_run, watch.step)
            if line not in self._lines:
                self._lines[line] = self._display.add_task(watch.step, words=""), Pace()
            task, pace = self._lines[line]
            pace.add(watch, report)
            together = pace.together()
            self._display.update(
                task, completed=together.done, total=together.total, words=pace.words()
            )

    def end(self, watch: Watch) -> None:
        """A part has ended; the display goes with the last."""
        with self._lock:
            self._watches.discard(watch)
            if not self._watches and self._display is not None:
                self._display.stop()
                self._display = None
                self._lines.clear()

    def _open(self) -> bool:
        from rich.console import Console
        from rich.progress import BarColumn, Progress

        console = Console(stderr=True)
        if not console.is_terminal:
            return False
        columns = ("{task.description}", BarColumn(20), "{task.fields[words]}")
        self._display = Progress(*columns, console=console, transient=True)
        self._display.start()
        return True


_terminal = _Terminal()
