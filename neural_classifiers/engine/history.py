"""What the run folders and the records tell of past runs, as plain values for people and JSON.

Nothing is kept for this: ``run.json`` names each step's key, and the record of a key holds the
parts that the key was made of. What was removed since (by ``prune``, by hand) is said to be gone.
"""

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from neural_classifiers.engine import paths, runs
from neural_classifiers.engine.records import Reference
from neural_classifiers.errors import RefusedError

LAST = "last"
PARTS = ("parameters", "inputs", "code", "libraries")
HEADLINES = ("accuracy", "f1_macro", "test_accuracy")
_Made = dict[tuple[str, str], str]  # (step, name) to digest or version
R = TypeVar("R", bound=Reference)


class UnknownRunError(RefusedError):
    """No run, or more than one, goes by the name that was given."""

    status = 2  # as for any misspelt command


@dataclass(frozen=True)
class Run:
    """A run's folder, and what its ``run.json`` says."""

    folder: Path
    told: Mapping[str, Any]

    @cached_property
    def status(self) -> str:
        """As in ``run.json``; ``killed`` where it says running and no process holds the run."""
        status = str(self.told["status"])
        return "killed" if status == "running" and not runs.is_alive(self.folder) else status

    @property
    def began(self) -> datetime:
        """When the first attempt began."""
        # runs of the first release tell the second only
        return datetime.fromisoformat(self.told.get("began", [self.told["started"]])[0])

    @property
    def computed(self) -> set[tuple[str, str]]:
        """Step and key of each record that the run made."""
        return {(s["step"], s["key"]) for s in self.told["steps"] if not s["hit"] and _ended(s)}

    @property
    def used(self) -> set[tuple[str, str]]:
        """Step and key of each record that the run made or found."""
        return {(s["step"], s["key"]) for s in self.told["steps"] if _ended(s)}

    @cached_property
    def metrics(self) -> dict[str, dict[str, dict[str, Any]]]:
        """``metrics.json``: half, model, score; empty where the run came to none."""
        path = self.folder / "metrics.json"
        return json.loads(path.read_bytes()) if path.exists() else {}


def all_runs() -> list[Run]:
    """Every run, newest first.

    Raises
    ------
    ValueError
        If a ``run.json`` is damaged: what it used is unknown, so nothing may be concluded.
    """
    found = []
    for folder in paths.runs().glob("*/"):
        if not (folder / runs.RUN).exists():  # killed before its first word
            continue
        try:
            run = Run(folder, runs.read(folder))
            found.append((run.began, folder.name, run))
        except (ValueError, KeyError) as error:
            raise ValueError(f"{folder / runs.RUN}: expected a run, got {error!r}") from error
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
    exact = [run for run in known if name in (run.folder.name, run.told["name"])]
    found = exact or [
        run for run in known if name and _starts(name, (run.folder.name, run.told["name"]))
    ]
    if len(found) == 1:
        return found[0]
    which = ", ".join(run.folder.name for run in found) if found else "none"
    raise UnknownRunError(f"{paths.runs()}: expected one run by the name {name!r}, got {which}")


def overview(run: Run) -> dict[str, Any]:
    """A run in a line: folder, flow, status, times, steps computed and cached, headline scores."""
    steps = run.told["steps"]
    return {
        "folder": run.folder.name,
        "flow": run.told["flow"],
        "status": run.status,
        "attempts": run.told["attempts"],
        "started": run.told["started"],
        "seconds": run.told.get("seconds"),
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
        ``parameters.seed: 34 -> 35``, which tell in what its key differs from that of the nearest
        earlier record.
    """
    earlier = [r for r in all_runs() if r.began < run.began]
    steps = [
        {**step, "why": _why(step, run, earlier) if not step["hit"] and _ended(step) else None}
        for step in run.told["steps"]
    ]
    about = {name: run.told[name] for name in ("run_id", "name", "error", "parameters")}
    return overview(run) | about | {"sources": run.told.get("sources") or {}, "steps": steps}


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
    (code, libraries, gone), (code_other, libraries_other, gone_other) = map(_made_of, (one, other))
    changed_libraries = {}
    for (_, name), versions in _changed_in_both(libraries, libraries_other).items():
        changed_libraries[name] = versions
    reached: dict[str, list[str]] = {}
    for step, part in _changed_in_both(code, code_other):
        reached.setdefault(part, []).append(step)
    return {
        "runs": [one.folder.name, other.folder.name],
        "parameters": _changed(one.told["parameters"], other.told["parameters"]),
        "data": _changed(one.told.get("sources") or {}, other.told.get("sources") or {}),
        "code": dict(sorted(reached.items())),
        "libraries": changed_libraries,
        "unknown": sorted(gone | gone_other),
        "scores": _scores(one, other),
    }


def in_lines(told: Mapping[str, Any]) -> list[str]:
    """The differences that `compare` found, the scores' left out, one a line."""
    lines = []
    for part in ("parameters", "data", "libraries"):
        for name, (a, b) in told[part].items():
            lines.append(f"{part}.{name}: {_short(a)} -> {_short(b)}")
    lines += [f"code.{part}: reached by {', '.join(s)}" for part, s in told["code"].items()]
    if told["unknown"]:
        lines.append(f"records gone, so code and libraries unknown: {', '.join(told['unknown'])}")
    return lines


def read_record(step: str, key: str) -> dict[str, Any] | None:
    """What ``record.json`` says of a key; None where the record is gone or damaged."""
    with contextlib.suppress(OSError, ValueError):
        return json.loads((paths.cache() / step / key / "record.json").read_bytes())
    return None


def results_of(run: Run, result_type: type[R]) -> list[tuple[R, dict[str, Any]]]:
    """Results of one class that the steps of a run gave, in the order of their ends.

    Returns
    -------
    list of (Reference, dict)
        Each with what its ``record.json`` says; without those whose record is gone.
    """
    results = []
    for step in run.told["steps"]:
        if _ended(step) and step["result"] == result_type.__name__:
            folder = paths.cache() / step["step"] / step["key"]
            if record := read_record(step["step"], step["key"]):
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
    name, key = step["step"], step["key"]
    if step["refreshed"]:
        return ["refreshed on purpose"]
    if any((name, key) in r.used for r in earlier):
        aside = sorted((paths.cache() / ".aside").glob(f"{name}-{key[:16]}-*"))
        return [f"record damaged, set aside as {aside[-1].name}" if aside else "record was removed"]
    record = read_record(name, key)
    if record is None:
        return ["unknown: its record is gone"]
    differences = [_differences(old, record) for old in _older(step, run)]
    # the newest of those that differ in the fewest parts
    nearest = min(differences, key=len, default=None)
    return nearest if nearest else ["first time"]


def _older(step: Mapping[str, Any], run: Run) -> Iterator[dict[str, Any]]:
    """Records of a step that stood before its own, newest first; those of the same run left out."""
    home = paths.cache() / step["step"]
    own = (home / step["key"] / "record.json").stat().st_mtime
    # its record may have been made again since
    ended = datetime.fromisoformat(step["started"]) + timedelta(seconds=step["seconds"] + 1)
    before = min(own, ended.timestamp())
    found = []
    for path in home.glob("*/record.json"):
        made = path.stat().st_mtime
        if made < before and (step["step"], path.parent.name) not in run.computed:
            found.append((made, path.parent.name))
    for _, key in sorted(found, reverse=True):
        if record := read_record(step["step"], key):
            yield record


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Lines that tell where the parts of two keys differ."""
    lines = []
    for part in PARTS:
        for name, (before, after) in _changed(old[part], new[part]).items():
            if part in ("parameters", "libraries"):
                lines.append(f"{part}.{name}: {_short(before)} -> {_short(after)}")
            else:  # digests: that they differ is all they say
                how = "new" if before is None else "gone" if after is None else "changed"
                lines.append(f"{part}.{name} {how}")
    return lines


def _changed(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, list[Any]]:
    before, after = flat(old), flat(new)
    names = [*before, *(name for name in after if name not in before)]
    return {
        name: [before.get(name), after.get(name)]
        for name in names
        if before.get(name) != after.get(name)
    }


def _made_of(run: Run) -> tuple[_Made, _Made, set[str]]:
    """Digests of code, versions of libraries, and the steps whose records are gone."""
    code: _Made = {}
    libraries: _Made = {}
    gone = set()
    for step, key in sorted(run.used):
        record = read_record(step, key)
        if record is None:
            gone.add(step)
            continue
        code |= {(step, part): digest for part, digest in record["code"].items()}
        libraries |= {(step, name): version for name, version in record["libraries"].items()}
    return code, libraries, gone


def _changed_in_both(one: _Made, other: _Made) -> dict[tuple[str, str], list[str | None]]:
    """What differs in steps that both came to: a step of one run alone says nothing of changes."""
    steps = {step for step, _ in one} & {step for step, _ in other}
    return {
        what: [one.get(what), other.get(what)]
        for what in sorted(one.keys() | other.keys())
        if what[0] in steps and one.get(what) != other.get(what)
    }


def _scores(one: Run, other: Run) -> dict[str, list[float | None]]:
    before, after = _numbers(one), _numbers(other)
    found: dict[str, list[float | None]] = {}
    for name in [*before, *(name for name in after if name not in before)]:
        a, b = before.get(name), after.get(name)
        found[name] = [a, b, b - a if a is not None and b is not None else None]
    return found


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


def _starts(prefix: str, names: Sequence[str]) -> bool:
    return any(name.startswith(prefix) for name in names)


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
