"""The console script ``neural-classifiers``.

Prefect keeps its files in the project's own ``.prefect`` folder, so that a user's profile (their
Cloud account, say) is never touched: only a server named in ``PREFECT_API_URL`` is used instead of
a temporary one. The settings must stand before Prefect is imported, so flows are imported late.
"""

import argparse
import importlib
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from neural_classifiers.engine import paths
from neural_classifiers.operation import cli_models, cli_up, temporary_server

FLOWS = ("comments", "digits", "all")
HOMES = {
    "classify-comments": "flows.comments:classify_comments",
    "classify-digits": "flows.digits:classify_digits",
    "train-classifiers": "flows.classifiers:train_classifiers",
}
"""Where the flow of each name is, for `rerun`."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; 0 when it did what was asked, 1 when it failed, 2 when it was misspelt."""
    parsed = parser().parse_args(arguments)
    if parsed.does not in cli_models.WITHOUT_PREFECT:
        use_own_prefect()
        cli_up.join_what_is_up()
    command: Callable[[argparse.Namespace], int] = parsed.does
    return command(parsed)


def use_own_prefect() -> None:
    """Point Prefect to the project's own folder and turn its telemetry off."""
    os.environ["PREFECT_HOME"] = str(paths.root() / ".prefect")
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    os.environ.setdefault("DO_NOT_TRACK", "1")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


def parser() -> argparse.ArgumentParser:
    """Reader of the command line."""
    description = "Train, judge and report three classifiers: two of comments, one of digits."
    whole = argparse.ArgumentParser(prog="neural-classifiers", description=description)
    commands = whole.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="train and report, without a running server")
    run.add_argument("what", nargs="?", choices=FLOWS, default="all", help="default: all")
    run.add_argument("--source", help="name in data/catalog.yaml, or path (all: of the comments)")
    run.add_argument(
        "--sample", type=_sample, metavar="N|all", help="comments to draw (digits: training images)"
    )
    run.add_argument(
        "--search-sample", type=_count, metavar="N", help="comments: choose parameters on so many"
    )
    run.add_argument("--categories", nargs="+", help="known categories of the comments")
    run.add_argument("--seeds", nargs="+", type=_count, help="digits: one training for each")
    for column in ("text", "label", "time"):
        run.add_argument(f"--{column}-column", metavar="NAME", help=f"column of the {column}")
    run.add_argument("--cleaning", metavar="PRESET", help="default, or notebook")
    run.add_argument("--despite-drift", action="store_true", help="comments may have changed")
    run.add_argument("--promote", action="store_true", help="comments: the best one, if it may")
    run.add_argument("--refresh", nargs="+", metavar="STEP", help="steps to compute again")
    run.set_defaults(does=_run)

    runs = commands.add_parser("runs", help="every run, newest first")
    runs.set_defaults(does=_runs)
    show = commands.add_parser("show", help="a run's steps, and why each was computed")
    show.set_defaults(does=_show)
    compare = commands.add_parser("compare", help="in what two runs differ")
    compare.set_defaults(does=_compare)
    rerun = commands.add_parser("rerun", help="continue a run: do what failed or is missing")
    rerun.set_defaults(does=_rerun)
    verify = commands.add_parser("verify", help="check every record against its digests")
    verify.set_defaults(does=_verify)
    prune = commands.add_parser("prune", help="remove the records that no recent run needs")
    prune.add_argument("--keep-runs", type=_count, required=True, metavar="N", help="newest runs")
    prune.add_argument("--dry-run", action="store_true", help="only tell what would be removed")
    prune.set_defaults(does=_prune)
    export = commands.add_parser("export", help="a run's folder and its records as one zip")
    export.add_argument("--to", type=Path, metavar="FILE.zip", help="default: RUN.zip, here")
    export.set_defaults(does=_export)

    cli_models.add_commands(commands)
    cli_up.add_commands(commands)

    which = "folder, flow run name, the beginning of either, or last"
    for command in (show, rerun, export):
        command.add_argument("run", metavar="RUN", help=which)
    compare.add_argument("run", metavar="RUN", nargs=2, help=which)
    for command in commands.choices.values():
        command.add_argument("--json", action="store_true", help="one JSON object, for programs")
    return whole


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"expected a whole number above 0, got {text!r}")
    return int(text)


def _sample(text: str) -> int | str:
    return text if text == "all" else _count(text)


def _run(parsed: argparse.Namespace) -> int:
    _check_fits(parsed)
    ready = temporary_server.start()
    flow, parameters = _asked(parsed)  # the imports, while the server starts
    ready()
    return _tell_result(parsed, flow(**parameters, return_state=True))


def _tell_result(parsed: argparse.Namespace, state: Any) -> int:
    from neural_classifiers.engine import runs

    folder = runs.folder_of(str(state.state_details.flow_run_id))
    result = _result(state, folder)
    _tell(parsed, result, _in_words)
    return 0 if state.is_completed() else 1


def _tell(
    parsed: argparse.Namespace, told: Mapping[str, Any], in_words: Callable[[Any], str]
) -> None:
    sys.stdout.write(json.dumps(told) + "\n" if parsed.json else in_words(told))


def _asked(parsed: argparse.Namespace) -> tuple[Callable[..., Any], dict[str, Any]]:
    """The flow that was asked for, and its parameters."""
    common = {"sample": parsed.sample, "refresh": parsed.refresh}
    if parsed.what == "digits":
        from flows.digits import classify_digits

        more = {"source": parsed.source or "mnist", "seeds": parsed.seeds}
        if parsed.sample == "all":  # which is their default
            common["sample"] = None
        return classify_digits, common | more
    source = parsed.source or "short-texts"
    common["categories"] = parsed.categories
    if parsed.what == "comments":
        from flows.comments import classify_comments

        names = ("text_column", "label_column", "time_column", "cleaning", "search_sample")
        common |= {name: told for name in names if (told := getattr(parsed, name)) is not None}
        common["stop_for_drift"] = not parsed.despite_drift
        common["promote"] = parsed.promote
        return classify_comments, common | {"source": source}
    from flows.classifiers import train_classifiers

    return train_classifiers, common | {"comments": source}


def _check_fits(parsed: argparse.Namespace) -> None:
    """End with status 2 where an option says something that the flow would not hear."""
    of_comments = ["text_column", "label_column", "time_column", "cleaning", "search_sample"]
    of_comments += ["despite_drift", "promote"]
    deaf = {
        "all": [*of_comments, "seeds"],
        "comments": ["seeds"],
        "digits": [*of_comments, "categories"],
    }
    if told := [name for name in deaf[parsed.what] if getattr(parsed, name)]:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in told)
        parser().error(f"run {parsed.what}: expected options that it knows, got {options}")


def _result(state: Any, folder: Any) -> dict[str, Any]:
    result: dict[str, Any] = {
        "status": state.name.lower(),
        "error": None if state.is_completed() else state.message,
        "folder": str(folder) if folder else None,
    }
    if folder:
        run = json.loads((folder / "run.json").read_bytes())
        result |= {"run_id": run["run_id"], "flow": run["flow"], "source": run["source"]}
        report, metrics = folder / "report.html", folder / "metrics.json"
        result["report"] = str(report) if report.exists() else None
        result["metrics"] = json.loads(metrics.read_bytes()) if metrics.exists() else {}
    return result


def _in_words(result: dict[str, Any]) -> str:
    """The table of results and where everything lies."""
    lines = [""]
    metrics = result.get("metrics") or {}
    if comments := metrics.get("comments"):
        lines.append(
            f"{'comments':<14}{'accuracy':>10}{'macro-F1':>10}{'weighted F1':>13}{'CV':>8}"
        )
        for name, scores in comments.items():
            chosen = scores["best_cv_score"]
            lines.append(
                f"{name:<14}{scores['accuracy']:>10.4f}{scores['f1_macro']:>10.4f}"
                f"{scores['f1_weighted']:>13.4f}{chosen if chosen is not None else 0:>8.4f}"
            )
        lines.append("")
    if digits := metrics.get("digits"):
        lines.append(f"{'digits':<14}{'accuracy':>10}{'loss':>10}{'parameters':>13}")
        for name, scores in digits.items():
            lines.append(
                f"{name:<14}{scores['test_accuracy']:>10.4f}{scores['test_loss']:>10.4f}"
                f"{scores['parameters']:>13,}{_of_seeds(scores['seeds'])}"
            )
        lines.append("")
    lines.append(f"status  {result['status']}")
    if result["error"]:
        lines.append(f"        {result['error']}")
    if result["folder"]:
        lines.append(f"folder  {result['folder']}")
    if result.get("report"):
        lines.append(f"report  {result['report']}")
    return "\n".join(lines) + "\n"


def _of_seeds(seeds: Mapping[str, Any]) -> str:
    if seeds["n"] == 1:
        return ""
    return (
        f"   {seeds['n']} seeds: mean {seeds['mean']:.4f}, std {seeds['std']:.4f}, "
        f"worst {seeds['worst']:.4f}"
    )


def _found(*names: str) -> Any:
    """The runs of some names, or the end of the command."""
    from neural_classifiers.engine import history

    try:
        return [history.find_run(name) for name in names]
    except history.UnknownRunError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(2) from None


def _runs(parsed: argparse.Namespace) -> int:
    from neural_classifiers.engine import history

    _tell(parsed, {"runs": [history.overview(run) for run in history.all_runs()]}, _runs_in_words)
    return 0


def _show(parsed: argparse.Namespace) -> int:
    from neural_classifiers.engine import history

    [run] = _found(parsed.run)
    _tell(parsed, history.describe(run), _run_in_words)
    return 0


def _compare(parsed: argparse.Namespace) -> int:
    from neural_classifiers.engine import history

    _tell(parsed, history.compare(*_found(*parsed.run)), _differences_in_words)
    return 0


def _rerun(parsed: argparse.Namespace) -> int:
    ready = temporary_server.start()
    [run] = _found(parsed.run)
    if run.status == "running":
        return _refused(f"{run.folder}: expected a run that ended, got one that is running")
    if run.told["flow"] not in HOMES:
        return _refused(f"{run.folder}: expected a run of {', '.join(HOMES)}")
    from neural_classifiers.operation.resume import NotResumableError, resume

    module, _, name = HOMES[run.told["flow"]].partition(":")
    flow = getattr(importlib.import_module(module), name)
    ready()
    try:
        state = resume(run.told["run_id"], flow, _say_who_waits)
    except NotResumableError as error:
        return _refused(error)
    return _tell_result(parsed, state)


def _say_who_waits(state: str) -> None:
    sys.stderr.write(f"waiting for the deployment's worker: {state}\n")


def _verify(parsed: argparse.Namespace) -> int:
    from neural_classifiers.engine import housekeeping

    def at_once(fault: str) -> None:
        if not parsed.json:
            sys.stdout.write(f"{fault}\n")

    checked = housekeeping.verify(at_once)
    _tell(parsed, checked, _checked_in_words)
    return 1 if checked["faults"] else 0


def _prune(parsed: argparse.Namespace) -> int:
    from neural_classifiers.engine import housekeeping

    try:
        _tell(parsed, housekeeping.prune(parsed.keep_runs, parsed.dry_run), _pruned_in_words)
    except housekeeping.InUseError as error:
        return _refused(error)
    return 0


def _export(parsed: argparse.Namespace) -> int:
    from neural_classifiers.engine import housekeeping

    [run] = _found(parsed.run)
    _tell(parsed, housekeeping.export(run, parsed.to), _exported_in_words)
    return 0


def _refused(why: object) -> int:
    sys.stderr.write(f"{why}\n")
    return 1


def _runs_in_words(told: Mapping[str, Any]) -> str:
    lines = [
        f"{'run':<44}{'flow':<20}{'status':<11}{'seconds':>8}{'computed':>10}{'cached':>8}  scores"
    ]
    for run in told["runs"]:
        scores = [
            f"{model} {next(iter(numbers.values())):.4f}"
            for models in run["scores"].values()
            for model, numbers in models.items()
            if numbers
        ]
        lines.append(
            f"{run['folder']:<44}{run['flow']:<20}{run['status']:<11}{_number(run['seconds']):>8}"
            f"{run['computed']:>10}{run['cached']:>8}  {', '.join(scores)}"
        )
    return "\n".join(lines) + "\n"


def _run_in_words(run: Mapping[str, Any]) -> str:
    lines = [
        f"{run['folder']}: {run['flow']}, {run['status']}, attempts: {run['attempts']}, "
        f"seconds: {_number(run['seconds'])}",
        *([f"error: {run['error']}"] if run["error"] else []),
        "",
        f"{'attempt':<9}{'step':<28}{'':<10}{'seconds':>9}{'peak MB':>9}  why",
    ]
    for step in run["steps"]:
        why = step["why"] or []
        what = "cached" if step["hit"] else "failed" if "error" in step else "computed"
        said = step.get("error") or "; ".join(why[:3])
        more = f"; and {len(why) - 3} more" if len(why) > 3 else ""
        lines.append(
            f"{step['attempt']:<9}{step['task_run']:<28}{what:<10}{step['seconds']:>9.1f}"
            f"{step['peak_rss_mb']:>9.0f}  {said}{more}".rstrip()
        )
    return "\n".join(lines) + "\n"


def _differences_in_words(told: Mapping[str, Any]) -> str:
    from neural_classifiers.engine.history import in_lines

    lines = [" -> ".join(told["runs"]), *in_lines(told)]
    if len(lines) == 1:
        lines.append("the same parameters, data, code and libraries")
    if told["scores"]:
        lines += ["", f"{'score':<42}{'first':>12}{'second':>12}{'difference':>12}"]
    for name, (one, other, by) in told["scores"].items():
        lines.append(
            f"{name:<42}{_number(one, 4):>12}{_number(other, 4):>12}{_number(by, 4, '+'):>12}"
        )
    return "\n".join(lines) + "\n"


def _checked_in_words(told: Mapping[str, Any]) -> str:
    return f"{told['records']:,} records, {told['bytes']:,} bytes, {len(told['faults'])} faults\n"


def _pruned_in_words(told: Mapping[str, Any]) -> str:
    what = ", ".join(f"{number:,} {kind}" for kind, number in told["removed"].items()) or "nothing"
    would = "would be " if told["dry_run"] else ""
    return (
        f"{what} {would}removed, {told['bytes']:,} bytes; {told['kept']:,} records kept "
        f"for {told['runs']} runs\n"
    )


def _exported_in_words(told: Mapping[str, Any]) -> str:
    gone = f"; removed since: {', '.join(told['gone'])}" if told["gone"] else ""
    return f"{told['file']}  {told['bytes']:,} bytes, {told['records']} records{gone}\n"


def _number(value: float | None, places: int = 1, sign: str = "") -> str:
    return "-" if value is None else f"{value:{sign},.{places}f}"
