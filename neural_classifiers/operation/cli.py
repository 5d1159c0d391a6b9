"""The console script: ``run``, ``rerun``, ``check``, and the way to the other commands.

Prefect keeps its files in the project's own ``.prefect`` folder, so that a user's profile (their
Cloud account, say) is never touched: only a server named in ``PREFECT_API_URL`` is used instead of
a temporary one. The settings must stand before Prefect is imported, so flows are imported late.
"""

import argparse
import os
import pkgutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from neural_classifiers.comments.models.grids import IMPROVED_GRIDS
from neural_classifiers.engine import history, own_prefect, paths, run_files
from neural_classifiers.engine.run_log import log_once
from neural_classifiers.errors import RefusedError
from neural_classifiers.operation import cli_models, cli_runs, cli_up, temporary_server
from neural_classifiers.operation.output import answer, number, outlive_readers, table

FLOWS = {
    "all": "flows.classifiers.train_classifiers",
    "comments": "flows.comments.classify_comments",
    "digits": "flows.digits.classify_digits",
}
"""The flow that ``run`` starts, by its argument; a flow's name is its function's, with dashes."""
IS_GIVEN: dict[str, Any] = {"action": "store_const", "default": argparse.SUPPRESS}
WHERE = "name in data/catalog.yaml, or path"
CHECKED = ("rows_in", "accepted", "duplicates", "train", "test")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; 0 when it did what was asked, 1 when it failed, 2 when it was misspelt."""
    outlive_readers()
    parsed = parse(sys.argv[1:] if arguments is None else arguments)
    os.environ["PYTHONSAFEPATH"] = "1"  # what is started imports nothing from this folder
    try:
        if parsed.uses_prefect:
            own_prefect.enter()
            own_prefect.join()
        return int(parsed.does(parsed))
    except RefusedError as refused:
        sys.stderr.write(f"{refused}\n")
        return refused.status


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read a command line: ``run`` alone means ``run all``, ``check`` is about comments."""
    words = list(arguments)
    if words[:1] == ["run"] and (len(words) == 1 or words[1].startswith("--")):
        words.insert(1, "all")
    if words[:1] == ["check"] and words[1:2] not in (["comments"], ["digits"], ["-h"], ["--help"]):
        words.insert(1, "comments")
    return parser().parse_args(words)


def parser() -> argparse.ArgumentParser:
    """Reader of the command line; each option is called as the flow's parameter that it sets."""
    json_option = argparse.ArgumentParser(add_help=False)
    json_option.add_argument("--json", action="store_true", help="one JSON object, for programs")
    json_option.set_defaults(uses_prefect=True)

    description = "Train, judge and report three classifiers: two of comments, one of digits."
    whole = argparse.ArgumentParser(prog="neural-classifiers", description=description)
    commands = whole.add_subparsers(dest="command", required=True)

    def add(name: str, does: Any, about: str, **defaults: Any) -> argparse.ArgumentParser:
        command = commands.add_parser(name, parents=[json_option], help=about)
        command.set_defaults(does=does, **defaults)
        return command

    run = commands.add_parser("run", help="train and report, without a running server")
    _add_flows(run.add_subparsers(dest="what", required=True), json_option)
    check = commands.add_parser("check", help="what run would say of a source, without training")
    _add_checks(check.add_subparsers(dest="what", required=True), json_option)
    rerun = add("rerun", _rerun, "continue a run: do what failed or is missing")
    rerun.add_argument("run", metavar="RUN", help=cli_runs.WHICH)
    for others in (cli_runs, cli_models, cli_up):
        others.add_commands(add)
    return whole


def _add_flows(flows: Any, json_option: argparse.ArgumentParser) -> None:
    about = {"all": "comments and digits (the default)", "comments": "alone", "digits": "alone"}
    both, comments, digits = (
        flows.add_parser(what, parents=[json_option], help=text, argument_default=argparse.SUPPRESS)
        for what, text in about.items()
    )
    both.add_argument("--source", dest="comments", type=_source, help=f"of the comments: {WHERE}")
    for command in (comments, digits):
        command.add_argument("--source", type=_source, help=WHERE)
    _add_rows(both)
    _add_source_options(comments)
    for command in (both, comments):
        encoder = f"pretrained: {WHERE}, or none"
        command.add_argument("--encoder", type=_encoder, metavar="NAME", help=encoder)
    digits.add_argument("--sample", type=_images, metavar="N|all", help="training images to draw")
    digits.add_argument("--seeds", nargs="+", type=_seed, help="one training for each")
    comments.add_argument(
        "--search-sample", type=cli_runs.count, metavar="N", help="choose parameters on so many"
    )
    comments.add_argument(
        "--improved",
        **IS_GIVEN,
        dest="improved_grids",
        const=IMPROVED_GRIDS,
        help="three more models",
    )
    comments.add_argument("--promote", **IS_GIVEN, const=True, help="let the best serve, if it may")
    for command in (both, comments, digits):
        command.add_argument("--refresh", nargs="+", metavar="STEP", help="steps to compute again")
        command.set_defaults(does=_run)


def _source(text: str) -> str:
    """A catalogue's name as it is; a path from the root, for the run leaves this folder."""
    try:
        text.encode()
    except UnicodeEncodeError:  # Prefect writes every parameter down
        raise argparse.ArgumentTypeError(
            "expected a path in UTF-8, got another; rename the file, or name the folder it lies in"
        ) from None
    names = yaml.safe_load(paths.catalogue().read_text("utf-8"))
    return text if text in names else str(Path(text).expanduser().absolute())


def _add_rows(command: argparse.ArgumentParser) -> None:
    command.add_argument("--sample", type=_sample, metavar="N|all", help="comments to draw")
    command.add_argument("--categories", nargs="+", help="the known categories")


def _add_source_options(command: argparse.ArgumentParser) -> None:
    """Add what ``run comments`` and ``check`` are told of a source of comments."""
    _add_rows(command)
    for name in ("text", "label", "time"):
        command.add_argument(f"--{name}-column", metavar="NAME", help=f"column of the {name}")
    cli_runs.add_table_options(command)
    command.add_argument("--cleaning", metavar="PRESET", help="default, or notebook")
    command.add_argument(
        "--despite-drift", **IS_GIVEN, dest="stop_for_drift", const=False, help="go on all the same"
    )


def _add_checks(kinds: Any, json_option: argparse.ArgumentParser) -> None:
    options: dict[str, Any] = {"parents": [json_option], "argument_default": argparse.SUPPRESS}
    comments = kinds.add_parser("comments", help="the default", **options)
    digits = kinds.add_parser("digits", help="images and labels", **options)
    _add_source_options(comments)
    digits.add_argument("--sample", type=_images, metavar="N|all", help="training images to draw")
    for command in (comments, digits):
        command.add_argument("source", type=_source, metavar="SOURCE", help=WHERE)
        command.set_defaults(does=_check)


def _seed(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a whole number, 0 or above, got {text!r}")
    return int(text)


def _sample(text: str) -> int | str:
    return text if text == "all" else cli_runs.count(text)


def _encoder(text: str) -> str | None:
    return None if text == "none" else text


def _images(text: str) -> int | None:
    return None if text == "all" else cli_runs.count(text)  # None: all, the flow's default


def _run(parsed: argparse.Namespace) -> int:
    paths.enter_project()  # Prefect reads settings in the folder that it is imported in
    ready = temporary_server.start()
    flow = pkgutil.resolve_name(FLOWS[parsed.what])  # the imports, while the server starts
    ready()
    log_once()
    with temporary_server.without_heartbeats():
        state = flow(**parameters_of(parsed), return_state=True)
    return _answer_with_result(parsed, state)


def _check(parsed: argparse.Namespace) -> int:
    paths.enter_project()
    from neural_classifiers.operation.check import check

    result = check(parsed.what, parameters_of(parsed))
    answer(parsed, result, _checked_in_words)
    return 0 if result["ok"] else 1


def _checked_in_words(result: Mapping[str, Any]) -> str:
    rows = [[name, number(result[name], 0)] for name in CHECKED if result[name] is not None]
    rows += [[f"quarantined: {reason}", f"{n:,}"] for reason, n in result["quarantined"].items()]
    rows += [[f"category {label}", f"{n:,}"] for label, n in result["categories"].items()]
    lines = [table(["", "rows"], rows)] if rows else []
    lines += [f"warning: {warning}" for warning in result["warnings"]]
    return "\n".join([*lines, f"refused: {result['error']}" if result["error"] else "accepted"])


def parameters_of(parsed: argparse.Namespace) -> dict[str, Any]:
    """The flow's parameters that were given on the command line."""
    own = {"command", "what", "does", "json", "uses_prefect"}
    return {name: value for name, value in vars(parsed).items() if name not in own}


def _rerun(parsed: argparse.Namespace) -> int:
    paths.enter_project()
    ready = temporary_server.start()
    run = history.find_run(parsed.run)
    if run.status == "running":
        raise RefusedError(f"{run.folder}: expected a run that ended, got one that is running")
    flows = {name.rpartition(".")[2].replace("_", "-"): name for name in FLOWS.values()}
    if run.json["flow"] not in flows:
        raise RefusedError(f"{run.folder}: expected a run of {', '.join(flows)}")
    from neural_classifiers.operation.resume import resume

    flow = pkgutil.resolve_name(flows[run.json["flow"]])
    ready()
    with temporary_server.without_heartbeats():
        state = resume(run.json["run_id"], flow)
    return _answer_with_result(parsed, state)


def _answer_with_result(parsed: argparse.Namespace, state: Any) -> int:
    from neural_classifiers.engine.runs import why_of

    folder = run_files.find_folder(str(state.state_details.flow_run_id))
    result: dict[str, Any] = {
        "status": state.name.lower(),
        "error": None if state.is_completed() else why_of(state),
        "folder": str(folder) if folder else None,
    }
    if folder:
        run, report = run_files.read(folder), folder / run_files.REPORT
        result |= {"run_id": run["run_id"], "flow": run["flow"], "source": run["source"]}
        result["report"] = str(report) if report.exists() else None
        result["metrics"] = run_files.read_metrics(folder)
    answer(parsed, result, _result_in_words)
    return 0 if state.is_completed() else 1


def _result_in_words(result: Mapping[str, Any]) -> str:
    """Tables of the results, and where everything lies."""
    parts = [""]
    metrics = result.get("metrics") or {}
    if comments := metrics.get("comments"):
        rows = [
            [
                name,
                *(number(scores[score], 4) for score in ("accuracy", "f1_macro", "f1_weighted")),
                number(scores["best_cv_score"], 4),
            ]
            for name, scores in comments.items()
        ]
        parts += [table(["comments", "accuracy", "macro-F1", "weighted F1", "CV"], rows), ""]
    if digits := metrics.get("digits"):
        rows = [
            [
                name,
                number(scores["test_accuracy"], 4),
                number(scores["test_loss"], 4),
                number(scores["parameters"], 0),
                _seeds_in_words(scores["seeds"]),
            ]
            for name, scores in digits.items()
        ]
        parts += [table(["digits", "accuracy", "loss", "parameters", ""], rows), ""]
    parts.append(f"status  {result['status']}")
    if result["error"]:
        parts.append(f"        {result['error']}")
    parts += [f"{name}  {result[name]}" for name in ("folder", "report") if result.get(name)]
    return "\n".join(parts)


def _seeds_in_words(seeds: Mapping[str, Any]) -> str:
    if seeds["n"] == 1:
        return ""
    return (
        f"{seeds['n']} seeds: mean {seeds['mean']:.4f}, std {seeds['std']:.4f}, "
        f"worst {seeds['worst']:.4f}"
    )
