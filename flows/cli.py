"""The console script ``neural-classifiers``.

Prefect keeps its files in the project's own ``.prefect`` folder, so that a user's profile (their
Cloud account, say) is never touched: only a server named in ``PREFECT_API_URL`` is used instead of
a temporary one. The settings must stand before Prefect is imported, so flows are imported late.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from typing import Any

from tasks import places

FLOWS = ("comments", "digits", "all")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; 0 when it did what was asked, 1 when it failed, 2 when it was misspelt."""
    parsed = parser().parse_args(arguments)
    use_own_prefect()
    return _run(parsed)


def use_own_prefect() -> None:
    """Point Prefect to the project's own folder and turn its telemetry off."""
    os.environ["PREFECT_HOME"] = str(places.root() / ".prefect")
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    os.environ.setdefault("DO_NOT_TRACK", "1")
    # the first start makes the database: 16 s on an idle machine, Prefect gives up after 20
    os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "300")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


def parser() -> argparse.ArgumentParser:
    """Reader of the command line."""
    description = "Train, judge and report three classifiers: two of comments, one of digits."
    whole = argparse.ArgumentParser(prog="neural-classifiers", description=description)
    commands = whole.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="train and report, without a running server")
    run.add_argument("what", nargs="?", choices=FLOWS, default="all", help="default: all")
    run.add_argument("--source", help="name in data/catalog.yaml, or path (all: of the comments)")
    run.add_argument("--sample", type=_count, help="comments to draw (digits: training images)")
    run.add_argument("--categories", nargs="+", help="known categories of the comments")
    run.add_argument("--refresh", nargs="+", metavar="STEP", help="steps to compute again")
    run.add_argument("--json", action="store_true", help="one JSON object on standard output")
    return whole


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"expected a whole number above 0, got {text!r}")
    return int(text)


def _run(parsed: argparse.Namespace) -> int:
    state = _start(parsed)
    from tasks import runs

    folder = runs.folder_of(str(state.state_details.flow_run_id))
    result = _result(state, folder)
    if parsed.json:
        sys.stdout.write(json.dumps(result) + "\n")
    else:
        sys.stdout.write(_in_words(result))
    return 0 if state.is_completed() else 1


def _start(parsed: argparse.Namespace) -> Any:
    """Run the flow that was asked for; its final state."""
    common = {"refresh": parsed.refresh, "return_state": True}
    if parsed.what == "digits":
        from flows.digits import classify_digits

        return classify_digits(parsed.source or "mnist", parsed.sample, **common)
    source = parsed.source or "short-texts"
    if parsed.what == "comments":
        from flows.comments import classify_comments

        return classify_comments(source, parsed.sample, parsed.categories, **common)
    from flows.classifiers import train_classifiers

    return train_classifiers(source, "mnist", parsed.sample, parsed.categories, **common)


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
                f"{scores['parameters']:>13,}"
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
