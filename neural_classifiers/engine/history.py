"""Past runs, read out of run folders and records, as plain values for people and JSON.

Nothing is kept for this: ``run.json`` names each step's key, and the record of a key holds the
parts that the key was made of. What was removed since (by ``prune``, by hand) is said to be gone.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from neural_classifiers.engine import paths, run_files
from neural_classifiers.engine.records import Key, Reference, read_record, set_aside_of
from neural_classifiers.errors import RefusedError

LAST = "last"
PARTS = [part.name for part in fields(Key) if part.name != "step"]
HEADLINES = ("accuracy", "f1_macro", "test_accuracy")
R = TypeVar("R", bound=Reference)
_STEP, _KEY = re.compile(r"[a-z]\w*"), re.compile(r"[0-9a-f]{64}")


class UnknownRunError(RefusedError):
    """No run, or more than one, goes by the name that was given."""

    code = "NC60"

    status = 2  # as for any misspelt command


@dataclass(frozen=True)
class Run:
    """A run's folder, and what its ``run.json`` says."""

    folder: Path
    json: Mapping[str, Any]

    @classmethod
    def of(cls, folder: Path) -> "Run":
        """The run of a folder, as it is now.

        Raises
        ------
        ValueError
            If it names a step or a key that is none: a run's folder may come from elsewhere, and
            these lead to folders.
        """
        json = run_files.read(folder)
        for step in json["steps"]:
            if not _STEP.fullmatch(step["step"]) or not _KEY.fullmatch(step["key"]):
                raise ValueError(f"expected a step and its key, got {step['step']}/{step['key']}")
        return cls(folder, json)

    @cached_property
    def status(self) -> str:
        """As in ``run.json``; ``killed`` where it says running and no process holds the run."""
        status = str(self.json["status"])
        return "killed" if status == "running" and not run_files.is_alive(self.folder) else status

    @property
    def began(self) -> datetime:
        """When the first attempt began."""
        return datetime.fromisoformat(self.json["began"][0])

    @cached_property
    def used(self) -> list[tuple[str, str]]:
        """Step and key of each record that the run made or found, in the order of their ends."""
        return list(dict.fromkeys((s["step"], s["key"]) for s in self.json["steps"] if _ended(s)))

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


def in_detail(run: Run) -> dict[str, Any]:
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
        {**step, "why": _why(step, earlier) if not step["hit"] and _ended(step) else None}
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
    # a step of one run alone says nothing of changes
    for step in sorted(made.keys() & made_other.keys()):
        libraries |= _changed(made[step]["libraries"], made_other[step]["libraries"])
        for name in _changed(made[step]["code"], made_other[step]["code"]):
            reached.setdefault(name, []).append(step)
    return {
        "runs": [one.folder.name, other.folder.name],
        "parameters": _changed(one.json["parameters"], other.json["parameters"]),
        "data": _changed(one.json.get("sources") or {}, other.json.get("sources") or {}),
        "code": dict(sorted(reached.items())),
        "libraries": dict(sorted(libraries.items())),
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

    Each comes with what its ``record.json`` says; those whose record is gone are left out.
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


def _why(step: Mapping[str, Any], earlier: Sequence[Run]) -> list[str]:
    """Reasons for computing a step, by the records that the runs before it used."""
    name, digest = step["step"], step["key"]
    if step["refreshed"]:
        return ["refreshed on purpose"]
    stood = [used for r in earlier for used in reversed(r.used) if used[0] == name]  # newest first
    if (name, digest) in stood:
        aside = set_aside_of(paths.cache(), name, digest)
        return [f"record damaged, set aside as {aside[-1].name}" if aside else "record was removed"]
    record = read_record(paths.cache() / name / digest)
    if record is None:
        return ["unknown: its record is gone"]
    older = [read_record(paths.cache() / name / old) for _, old in dict.fromkeys(stood)]
    differences = [_differences(old, record) for old in older if old is not None]
    # the newest of those that differ in the fewest parts
    nearest = min(differences, key=len, default=None)
    return nearest if nearest else ["first time"]


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


def _made_of(run: Run) -> tuple[dict[str, dict[str, dict[str, str]]], set[str]]:
    """Code and libraries of each step of a run, and the steps whose records are gone."""
    made: dict[str, dict[str, dict[str, str]]] = {}
    gone = set()
    for step, digest in sorted(run.used):
        record = read_record(paths.cache() / step / digest)
        if record is None:
            gone.add(step)
            continue
        parts = made.setdefault(step, {"code": {}, "libraries": {}})
        for part, entries in parts.items():
            entries |= record[part]
    return made, gone


def _changed(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, list[Any]]:
    return {name: [a, b] for name, a, b in _pairs(flat(old), flat(new)) if a != b}


def _pairs(one: Mapping[str, Any], other: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
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
