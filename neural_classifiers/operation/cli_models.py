"""The commands about promoted models: ``models``, ``promote``, ``rollback``, ``predict``.

Those that people wait for import no Prefect; only ``promote`` reads runs, and so does.
"""

import argparse
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from neural_classifiers.engine import history, paths
from neural_classifiers.errors import RefusedError
from neural_classifiers.operation.arguments import files_among
from neural_classifiers.operation.cli_runs import add_table_options
from neural_classifiers.operation.output import answer, table

KINDS = ("comments", "digits")


def add_commands(add: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the commands to those of the console script."""
    add("models", _models, "every promoted model, and which of them serve", uses_prefect=False)
    promote = add("promote", _promote, "let the best model of a run serve, if it may")
    promote.add_argument("run", metavar="RUN", nargs="?", default="last", help="default: last")
    promote.add_argument("--model", metavar="NAME", help="another than the best one")
    promote.add_argument(
        "--other-categories", action="store_true", help="the serving model has other categories"
    )
    rollback = add("rollback", _rollback, "let the model before serve again", uses_prefect=False)
    rollback.add_argument("kind", nargs="?", choices=KINDS, default="comments")
    about = "texts, a file of comments, images of digits"
    predict = add("predict", _predict, about, uses_prefect=False)
    predict.add_argument("what", metavar="WHAT", nargs="+", help="texts, or files")
    predict.add_argument("--text", action="store_true", help="texts, though they look like paths")
    predict.add_argument(
        "--out", type=Path, metavar="FILE", help=".jsonl, .csv or .parquet; needed for comments"
    )
    predict.add_argument("--text-column", metavar="NAME", help="default: the model's")
    add_table_options(predict)
    predict.add_argument("--version", metavar="NAME", help="default: the one that serves")
    predict.add_argument("--workers", type=int, metavar="N", help="processes")
    serve = add("serve", _serve, "answer over HTTP, with a page; stays", uses_prefect=False)
    serve.add_argument("--port", type=int, default=8000, help="default: 8000")
    serve.add_argument("--host", default="127.0.0.1", help="default: 127.0.0.1, this machine alone")
    serve.add_argument("--processes", type=int, default=1, metavar="N", help="default: 1")


def _models(parsed: argparse.Namespace) -> int:
    from neural_classifiers.serving import registry

    answer(parsed, {"models": registry.all_versions()}, _models_in_words)
    return 0


def _models_in_words(result: Mapping[str, Any]) -> str:
    if not result["models"]:
        return "no model was promoted yet: neural-classifiers promote last"
    rows = [
        [
            "->" if model["serves"] else "",
            model["version"],
            model["kind"],
            model["promoted"] or "rolled back",
            model["run"]["folder"],
            ", ".join(f"{name} {value:.4f}" for name, value in model["scores"].items()),
        ]
        for model in result["models"]
    ]
    return table(["", "version", "kind", "serves since", "run", "scores"], rows)


def _promote(parsed: argparse.Namespace) -> int:
    paths.enter_project()
    from tasks.promote import in_words, promote

    run = history.find_run(parsed.run)
    decisions = promote(run, parsed.model, other_classes=parsed.other_categories)
    lines = [in_words(decision) for decision in decisions]
    if any("no difference" in gate.found for gate in decisions[-1].gates if not gate.passed):
        lines.append("A run on more comments (--sample) shows smaller differences.")
    answer(parsed, {"decisions": list(map(asdict, decisions))}, "\n".join(lines))
    return 0 if any(decision.version for decision in decisions) else 1


def _rollback(parsed: argparse.Namespace) -> int:
    from neural_classifiers.serving import registry

    before, now = registry.roll_back(parsed.kind)
    result = {"kind": parsed.kind, "withdrawn": before, "serves": now}
    answer(parsed, result, f"{before} serves no more; now {now or 'no model'} does")
    return 0


def _predict(parsed: argparse.Namespace) -> int:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if parsed.text and parsed.out:
        raise RefusedError(f"expected files for --out {parsed.out}, got --text")
    try:
        files = [] if parsed.text else files_among(parsed.what, is_any_path=bool(parsed.out))
        if not files:
            return _predict_texts(parsed)
        others = [file for file in files if not _are_images(file)]
        if not others:
            return _predict_images(parsed, files)
        if len(others) < len(files):
            raise RefusedError(f"{others[0]}: expected images, as the others are, got none")
        return _predict_comments(parsed, files)
    except OSError as error:
        raise RefusedError(str(error)) from error


def _serve(parsed: argparse.Namespace) -> int:
    from neural_classifiers.serving.http_server import serve

    serve(parsed.host, parsed.port, parsed.processes)
    return 0


def _are_images(path: Path) -> bool:
    from neural_classifiers.digits.files import are_images
    from neural_classifiers.digits.layouts import IMAGE_SUFFIXES

    with path.open("rb") as file:
        return are_images(file) or path.suffix.lower() in IMAGE_SUFFIXES


def _predict_texts(parsed: argparse.Namespace) -> int:
    from neural_classifiers.serving import predict, registry

    classifier = registry.load(parsed.version or "comments", kind="comments")
    rows = predict.predict_texts(classifier, parsed.what)
    answer(parsed, {"predictions": rows}, "\n".join(map(_prediction_in_words, rows)))
    return 1 if any("rejected" in row for row in rows) else 0


def _prediction_in_words(row: Mapping[str, Any], where: str = "") -> str:
    if "rejected" in row:
        return f"{where}rejected: {'; '.join(row['rejected'])}  ({row['version']})"
    best = sorted(row["probabilities"].items(), key=lambda share: -share[1])[:5]
    shares = ", ".join(f"{label} {share:.3f}" for label, share in best)
    warning = f"  {row['warning']}" if row.get("warning") else ""
    return f"{where}{row['label']}  {shares}  ({row['version']}){warning}"


def _predict_images(parsed: argparse.Namespace, files: list[Path]) -> int:
    from neural_classifiers.serving import predict, registry

    reader = registry.load(parsed.version or "digits", kind="digits")
    rows = predict.predict_images(files, reader, parsed.out)
    if parsed.out is None:
        lines = [_prediction_in_words(row, f"{row['file']} {row['image']}: ") for row in rows]
        answer(parsed, {"predictions": rows}, "\n".join(lines))
        return 0
    odd = sum(row["warning"] is not None for row in rows)
    result = {"out": str(parsed.out), "version": reader.version, "predicted": len(rows)}
    words = f"{parsed.out}  {len(rows):,} images by {reader.version}"
    words += f", {odd:,} of them with a warning" if odd else ""
    answer(parsed, result | {"warnings": odd}, words)
    return 0


def _predict_comments(parsed: argparse.Namespace, files: list[Path]) -> int:
    from neural_classifiers.serving import predict, registry

    if len(files) > 1 or parsed.out is None:
        raise RefusedError(
            f"expected one file of comments and --out FILE for its predictions, got {len(files)} "
            f"and --out {parsed.out}"
        )
    classifier = registry.load(parsed.version or "comments", kind="comments")
    predicted = predict.predict_file(
        files[0],
        parsed.out,
        classifier,
        parsed.text_column,
        parsed.workers,
        delimiter=parsed.delimiter,
        quoting=parsed.quoting or "auto",
        escape=parsed.escape,
    )
    answer(parsed, asdict(predicted), "\n".join(predicted.in_words()))
    return 0
