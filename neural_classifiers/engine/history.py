"""Past runs, read out of run folders and records, as plain values for people and JSON.

Nothing is kept for this: ``run.json`` names each step's key, and the record of a key holds the
parts that the key was made of. What was removed since (by ``prune``, by hand) is said to be gone.
"""

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from neural_classifiers.engine import paths, run_files
from neural_classifiers.engine.records import (
    RECORD,
    Key,
    Reference,
    read_record,
    record_folders,
    set_aside_of,
)
from neural_classifiers.errors import RefusedError

LAST = "last"
PARTS = [part.name for part in fields(Key) if part.name != "step"]
HEADLINES = ("accuracy", "f1_macro", "test_accuracy")
_Made = dict[tuple[str, str, str], str]  # (part of the key, name, step) to digest or version
_Name = TypeVar("_Name")
R = TypeVar("R", bound=Reference)


class UnknownRunError(RefusedError):
    """No run, or more than one, goes by the name that was given."""

    status = 2  # as for any misspelt command


@dataclass(frozen=True)
class Run:
    """A run's folder, and what its ``run.json`` says."""

    folder: Path
    json: Mapping[str, Any]

    @classmethod
    def of(cls, folder: Path) -> "Run":
        """The run of a folder, as it is now."""
        return cls(folder, run_files.read(folder))

    @cached_property
    def status(self) -> str:
        """As in ``run.json``; ``killed`` where it says running and no process holds the run."""
        status = str(self.json["status"])
        return "killed" if status == "running" and not run_files.is_alive(self.folder) else status

    @property
    def began(self) -> datetime:
        """When the first attempt began."""
        return datetime.fromisoformat(self.json["began"][0])

    @property
    def computed(self) -> set[tuple[str, str]]:
        """Step and key of each record that the run made."""
        return {(s["step"], s["key"]) for s in self.json["steps"] if not s["hit"] and _ended(s)}

    @property
    def used(self) -> set[tuple[str, str]]:
        """Step and key of each record that the run made or found."""
        return {(s["step"], s["key"]) for s in self.json["steps"] if _ended(s)}

    @cached_property
    def metrics(self) -> dict[str, dict[str, dict[str, Any]]]:
        """``metrics.json``: half, model, score; empty where the run came to none."""
        return run_files.read_metrics(self.folder)


def all_runs() -> list[Run]:
    """Every run, newest first.

    Raises
    ------
    ValueError
        If a ``run.json`` is damaged: what it used is unknown, so nothing may be concluded.
    """
    found = []
    for folder in paths.runs().glob("*/"):
        if not (folder / run_files.RUN).exists():  # killed before it was written
            continue
        try:
            run = Run.of(folder)
            found.append((run.began, folder.name, run))
        except (ValueError, KeyError) as error:
            raise ValueError(f"{folder / run_files.RUN}: expected a run, got {error!r}") from error
    return [run for *_, run in sorted(found, key=lambda entry: entry[:2], reverse=True)]


def find_run(name: str) -> Run:
    """The run of a folder name, a flow run name, a unique prefix of either, or ``last``.

    Raises
    ------
    UnknownRunError
    """
    known = all_runs()
    if not known:
        raise UnknownRunError(f"{paths.runs()}: expected the run {name!r}, got no runs")
    if name == LAST:
        return known[0]
    named = [(run, (run.folder.name, run.json["name"])) for run in known]
    fitting = [run for run, names in named if name in names]
    if not fitting and name:
        fitting = [run for run, names in named if any(n.startswith(name) for n in names)]
    if len(fitting) == 1:
        return fitting[0]
    which = ", ".join(run.folder.name for run in fitting) or "none"
    raise UnknownRunError(f"{paths.runs()}: expected one run by the name {name!r}, got {which}")


def overview(run: Run) -> dict[str, Any]:
    """A run in a line: folder, flow, status, times, steps computed and cached, headline scores."""
    steps = run.json["steps"]
    return {
        "folder": run.folder.name,
        "flow": run.json["flow"],
        "status": run.status,
        "attempts": run.json["attempts"],
        "started": run.json["started"],
        "seconds": run.json["seconds"],
        "computed": sum(not s["hit"] and _ended(s) for s in steps),
        "cached": sum(bool(s["hit"]) for s in steps),
        "failed": sum(not _ended(s) for s in steps),
        "scores": {
            half: {
                model: {name: scores[name] for name in HEADLINES if name in scores}
                for model, scores in models.items()
            }
            for half, models in run.metrics.items()
        },
    }


def describe(run: Run) -> dict[str, Any]:
    """A run with its steps in the order of their ends, and why each one was computed.

    Returns
    -------
    dict
        As `overview`, with ``error``, ``parameters``, ``sources`` and ``steps``: of ``run.json``,
        each with ``why``: None for a step that was cached or failed; else a list of lines, such as
        ``parameters.seed: 34 -> 35``: in what its key differs from that of the nearest earlier
        record.
    """
    earlier = [r for r in all_runs() if r.began < run.began]
    steps = [
        {**step, "why": _why(step, run, earlier) if not step["hit"] and _ended(step) else None}
        for step in run.json["steps"]
    ]
    about = {name: run.json[name] for name in ("run_id", "name", "error", "parameters")}
    return overview(run) | about | {"sources": run.json.get("sources") or {}, "steps": steps}


def compare(one: Run, other: Run) -> dict[str, Any]:
    """In what two runs differ: parameters, data, code, libraries, and by how much their scores do.

    Returns
    -------
    dict
        ``parameters``, ``data`` and ``libraries``: changed name to [of `one`, of `other`].
        ``code``: changed part to the steps of both that can reach it. ``unknown``: steps that a
        run used and whose records are gone. ``scores``: ``half.model.score`` to [`one`, `other`,
        difference], None where a run has no such score.
    """
    (made, gone), (made_other, gone_other) = map(_made_of, (one, other))
    libraries: dict[str, list[Any]] = {}
    reached: dict[str, list[str]] = {}
    for (part, name, step), versions in _changed_in_both(made, made_other).items():
        if part == "libraries":
            libraries[name] = versions
        else:
            reached.setdefault(name, []).append(step)
    return {
        "runs": [one.folder.name, other.folder.name],
        "parameters": _changed(one.json["parameters"], other.json["parameters"]),
        "data": _changed(one.json.get("sources") or {}, other.json.get("sources") or {}),
        "code": reached,
        "libraries": libraries,
        "unknown": sorted(gone | gone_other),
        "scores": {
            name: [a, b, b - a if a is not None and b is not None else None]
            for name, a, b in _pairs(_numbers(one), _numbers(other))
        },
    }


def in_lines(differences: Mapping[str, Any]) -> list[str]:
    """The differences that `compare` found, the scores' left out, one a line."""
    lines = []
    for part in ("parameters", "data", "libraries"):
        lines += [_line(part, name, *pair) for name, pair in differences[part].items()]
    lines += [
        f"code.{part}: reached by {', '.join(steps)}" for part, steps in differences["code"].items()
    ]
    if unknown := differences["unknown"]:
        lines.append(f"records gone, so code and libraries unknown: {', '.join(unknown)}")
    return lines


def results_of(run: Run, result_type: type[R]) -> list[tuple[R, dict[str, Any]]]:
    """Results of one class that the steps of a run gave, in the order of their ends.

    Returns
    -------
    list of (Reference, dict)
        Each with what its ``record.json`` says; without those whose record is gone.
    """
    results = []
    for step in run.json["steps"]:
        if _ended(step) and step["result"] == result_type.__name__:
            folder = paths.cache() / step["step"] / step["key"]
            if record := read_record(folder):
                result = result_type.model_validate(record["result"], context={"folder": folder})
                results.append((result, record))
    return results


def flat(value: Any, name: str = "") -> dict[str, Any]:
    """Nested mappings and lists of mappings as one: ``split.train`` to its value."""
    if isinstance(value, Mapping):
        items: Any = value.items()
    elif isinstance(value, list) and any(isinstance(item, Mapping | list) for item in value):
        items = enumerate(value)
    else:
        return {name: value}
    found: dict[str, Any] = {}
    for key, item in items:
        found |= flat(item, f"{name}.{key}" if name else str(key))
    return found


def _why(step: Mapping[str, Any], run: Run, earlier: Sequence[Run]) -> list[str]:
    """Why a step was computed, by what stood when the run began."""
    name, digest = step["step"], step["key"]
    if step["refreshed"]:
        return ["refreshed on purpose"]
    if any((name, digest) in r.used for r in earlier):
        aside = set_aside_of(paths.cache(), name, digest)
        return [f"record damaged, set aside as {aside[-1].name}" if aside else "record was removed"]
    record = read_record(paths.cache() / name / digest)
    if record is None:
        return ["unknown: its record is gone"]
    differences = [_differences(old, record) for old in _older(step, run)]
    # the newest of those that differ in the fewest parts
    nearest = min(differences, key=len, default=None)
    return nearest if nearest else ["first time"]


def _older(step: Mapping[str, Any], run: Run) -> Iterator[dict[str, Any]]:
    """Records of a step that stood before its own, newest first; those of the same run left out."""
    cache, name = paths.cache(), step["step"]
    own = (cache / name / step["key"] / RECORD).stat().st_mtime
    # its record may have been made again since
    ended = datetime.fromisoformat(step["started"]) + timedelta(seconds=step["seconds"] + 1)
    before = min(own, ended.timestamp())
    older = []
    for folder in record_folders(cache, name):
        with contextlib.suppress(OSError):  # no record, or set aside meanwhile
            made = (folder / RECORD).stat().st_mtime
            if made < before and (name, folder.name) not in run.computed:
                older.append((made, folder))
    for _, folder in sorted(older, reverse=True):
        if record := read_record(folder):
            yield record


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Where the parts of two keys differ, one a line."""
    lines = []
    for part in PARTS:
        for name, (before, after) in _changed(old[part], new[part]).items():
            if part in ("parameters", "libraries"):
                lines.append(_line(part, name, before, after))
            else:  # digests: that they differ is all they say
                how = "new" if before is None else "gone" if after is None else "changed"
                lines.append(f"{part}.{name} {how}")
    return lines


def _made_of(run: Run) -> tuple[_Made, set[str]]:
    """Digests of code and versions of libraries, and the steps whose records are gone."""
    made: _Made = {}
    gone = set()
    for step, digest in sorted(run.used):
        record = read_record(paths.cache() / step / digest)
        if record is None:
            gone.add(step)
            continue
        for part in ("code", "libraries"):
            made |= {(part, name, step): value for name, value in record[part].items()}
    return made, gone


def _changed_in_both(one: _Made, other: _Made) -> dict[tuple[str, str, str], list[Any]]:
    """What differs in steps that both came to: a step of one run alone says nothing of changes."""
    steps = {step for *_, step in one} & {step for *_, step in other}
    pairs = sorted(_pairs(one, other))
    return {what: [a, b] for what, a, b in pairs if what[2] in steps and a != b}


def _changed(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, list[Any]]:
    return {name: [a, b] for name, a, b in _pairs(flat(old), flat(new)) if a != b}


def _pairs(
    one: Mapping[_Name, Any], other: Mapping[_Name, Any]
) -> Iterator[tuple[_Name, Any, Any]]:
    """Each name of either mapping, with both values; None where one has no such name."""
    for name in {**one, **other}:
        yield name, one.get(name), other.get(name)


def _numbers(run: Run) -> dict[str, float]:
    """The single numbers among a run's metrics."""
    return {
        f"{half}.{model}.{name}": value
        for half, models in run.metrics.items()
        for model, scores in models.items()
        for name, value in scores.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }


def _ended(step: Mapping[str, Any]) -> bool:
    return "error" not in step


def _line(part: str, name: str, before: Any, after: Any) -> str:
    return f"{part}.{name}: {_short(before)} -> {_short(after)}"


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
