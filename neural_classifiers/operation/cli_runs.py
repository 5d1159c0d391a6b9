"""The commands about past runs and their records.

``runs``, ``show`` and ``compare`` read the runs' folders; ``verify``, ``prune`` and ``export`` the
records.
"""

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from neural_classifiers.engine import history, housekeeping
from neural_classifiers.operation.output import answer, number, table

WHICH = "folder, flow run name, the beginning of either, or last"


def add_commands(add: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the commands to those of the console script."""
    add("runs", _runs, "every run, newest first")
    show = add("show", _show, "a run's steps, and why each was computed")
    show.add_argument("run", metavar="RUN", help=WHICH)
    compare = add("compare", _compare, "in what two runs differ")
    compare.add_argument("run", metavar="RUN", nargs=2, help=WHICH)
    add("verify", _verify, "check every record against its digests")
    prune = add("prune", _prune, "remove the records that no recent run needs")
    prune.add_argument("--keep-runs", type=count, required=True, metavar="N", help="newest runs")
    prune.add_argument("--dry-run", action="store_true", help="only name what would be removed")
    export = add("export", _export, "a run's folder and its records as one zip")
    export.add_argument("run", metavar="RUN", help=WHICH)
    export.add_argument("--to", type=Path, metavar="FILE.zip", help="default: RUN.zip, here")


def count(text: str) -> int:
    """Read a whole number above 0."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"expected a whole number above 0, got {text!r}")
    return int(text)


def add_table_options(command: argparse.ArgumentParser) -> None:
    """Add how the cells of a table are told apart, by the names of the flows' parameters."""
    for name, about in (("delimiter", "between cells, tab for a tab"), ("escape", r"such as '\'")):
        command.add_argument(f"--{name}", type=_sign, metavar="SIGN", help=f"of tables: {about}")
    about = "of tables: whether cells may stand in quotation marks; default: the file tells"
    command.add_argument("--quoting", choices=("auto", "standard", "none"), help=about)


def _sign(text: str) -> str:
    return {"tab": "\t", r"\t": "\t", r"\\": "\\"}.get(text, text)


def _runs(parsed: argparse.Namespace) -> int:
    runs = [history.overview(run) for run in history.all_runs()]
    answer(parsed, {"runs": runs}, _runs_in_words)
    return 0


def _runs_in_words(result: Mapping[str, Any]) -> str:
    rows = []
    for run in result["runs"]:
        scores = [
            f"{model} {next(iter(numbers.values())):.4f}"
            for models in run["scores"].values()
            for model, numbers in models.items()
            if numbers
        ]
        counts = (f"{run[name]}" for name in ("computed", "cached"))
        seconds = number(run["seconds"])
        rows.append(
            [run["folder"], run["flow"], run["status"], seconds, *counts, ", ".join(scores)]
        )
    return table(["run", "flow", "status", "seconds", "computed", "cached", "scores"], rows)


def _show(parsed: argparse.Namespace) -> int:
    answer(parsed, history.in_detail(history.find_run(parsed.run)), _run_in_words)
    return 0


def _run_in_words(run: Mapping[str, Any]) -> str:
    head = (
        f"{run['folder']}: {run['flow']}, {run['status']}, attempts: {run['attempts']}, "
        f"seconds: {number(run['seconds'])}\n"
    )
    if run["error"]:
        head += f"error: {run['error']}\n"
    rows = []
    for step in run["steps"]:
        reasons = step["why"] or []
        state = "cached" if step["hit"] else "failed" if "error" in step else "computed"
        why = step.get("error") or "; ".join(reasons[:3])
        if len(reasons) > 3:
            why += f"; and {len(reasons) - 3} more"
        figures = number(step["seconds"]), number(step["peak_rss_mb"], 0)
        rows.append([str(step["attempt"]), step["task_run"], state, *figures, why])
    return f"{head}\n{table(['attempt', 'step', '', 'seconds', 'peak MB', 'why'], rows)}"


def _compare(parsed: argparse.Namespace) -> int:
    answer(parsed, history.compare(*map(history.find_run, parsed.run)), _differences_in_words)
    return 0


def _differences_in_words(result: Mapping[str, Any]) -> str:
    lines = [" -> ".join(result["runs"]), *history.in_lines(result)]
    if len(lines) == 1:
        lines.append("the same parameters, data, code and libraries")
    if result["scores"]:
        rows = [
            [name, number(first, 4), number(second, 4), number(by, 4, "+")]
            for name, (first, second, by) in result["scores"].items()
        ]
        lines += ["", table(["score", "first", "second", "difference"], rows)]
    return "\n".join(lines)


def _verify(parsed: argparse.Namespace) -> int:
    def at_once(fault: str) -> None:
        if not parsed.json:
            sys.stdout.write(f"{fault}\n")

    checked = housekeeping.verify(at_once)
    words = "{records:,} records, {bytes:,} bytes, {n_faults} faults"
    answer(parsed, checked, words.format(**checked, n_faults=len(checked["faults"])))
    return 1 if checked["faults"] else 0


def _prune(parsed: argparse.Namespace) -> int:
    answer(parsed, housekeeping.prune(parsed.keep_runs, parsed.dry_run), _pruned_in_words)
    return 0


def _pruned_in_words(result: Mapping[str, Any]) -> str:
    removed = ", ".join(f"{n:,} {kind}" for kind, n in result["removed"].items()) or "nothing"
    would = "would be " if result["dry_run"] else ""
    return (
        f"{removed} {would}removed, {result['bytes']:,} bytes; {result['kept']:,} records kept "
        f"for {result['runs']} runs"
    )


def _export(parsed: argparse.Namespace) -> int:
    answer(parsed, housekeeping.export(history.find_run(parsed.run), parsed.to), _exported_in_words)
    return 0


def _exported_in_words(result: Mapping[str, Any]) -> str:
    gone = f"; removed since: {', '.join(result['gone'])}" if result["gone"] else ""
    return f"{result['file']}  {result['bytes']:,} bytes, {result['records']} records{gone}"
