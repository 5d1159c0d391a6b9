"""What lies in a run's folder, and under which name; knows no Prefect.

``run.json`` says how the run went, ``metrics.json`` its scores, ``report.json`` the sections of
its page ``report.html``. While its process lives, a run holds the lock ``.running`` of its folder.
"""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from neural_classifiers.engine import locks, paths
from neural_classifiers.engine.files import as_json, write_durably

RUN, METRICS, SECTIONS, REPORT = "run.json", "metrics.json", "report.json", "report.html"


def newest_first() -> list[Path]:
    """The folder of every run, by the time in its name."""
    return sorted(paths.runs().glob("*/"), reverse=True)


def find_folder(run_id: str) -> Path | None:
    """The folder of a root run by its id, or None."""
    for folder in newest_first():
        with contextlib.suppress(OSError, ValueError):
            if read(folder)["run_id"] == run_id:
                return folder
    return None


def read(folder: Path) -> dict[str, Any]:
    """What ``run.json`` says."""
    return json.loads((folder / RUN).read_bytes())


@contextlib.contextmanager
def updating(folder: Path) -> Iterator[dict[str, Any]]:
    """``run.json`` to be changed in place; steps side by side take turns."""
    with locks.locked(folder):
        run = read(folder)
        yield run
        write_durably(folder / RUN, as_json(run))


def read_metrics(folder: Path) -> dict[str, dict[str, dict[str, Any]]]:
    """Half of the notebook to model to scores; empty where the run came to none."""
    return _read_or_empty(folder / METRICS)


def read_sections(folder: Path) -> dict[str, dict[str, Any]]:
    """Half of the notebook to its section of the page; empty where the run came to none."""
    return _read_or_empty(folder / SECTIONS)


def is_alive(folder: Path) -> bool:
    """Whether the process of a run lives: false for a run that ended, and for one killed."""
    return locks.is_held(folder / locks.RUNNING)


def _read_or_empty(path: Path) -> dict[str, Any]:
    return json.loads(path.read_bytes()) if path.exists() else {}
