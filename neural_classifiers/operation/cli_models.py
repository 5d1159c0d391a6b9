"""The commands about promoted models: ``models``, ``promote``, ``rollback``, ``predict``.

Those that people wait for import no Prefect; only ``promote`` reads runs, and so does.
"""

import argparse
import json
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

KINDS = ("comments", "digits")


def add_commands(commands: Any) -> None:
    """Add the commands to those of the console script."""
    models = commands.add_parser("models", help="every promoted model, and which of them serve")
    models.set_defaults(does=_models)

    promote = commands.add_parser("promote", help="let the best model of a run serve, if it may")
    promote.add_argument("run", metavar="RUN", nargs="?", default="last", help="default: last")
    promote.add_argument("--model", metavar="NAME", help="another than the best one")
    promote.add_argument(
        "--other-categories", action="store_true", help="the serving model has other categories"
    )
    promote.set_defaults(does=_promote)

    rollback = commands.add_parser("rollback", help="let the model before serve again")
    rollback.add_argument("kind", nargs="?", choices=KINDS, default="comments")
    rollback.set_defaults(does=_rollback)

    predict = commands.add_parser("predict", help="texts, a file of comments, images of digits")
    predict.add_argument("what", metavar="WHAT", nargs="+", help="a text, or files")
    predict.add_argument(
        "--out", type=Path, metavar="FILE", help=".jsonl, .csv or .parquet; needed for comments"
    )
    predict.add_argument("--text-column", metavar="NAME", default="txt", help="default: txt")
    predict.add_argument("--version", metavar="NAME", help="default: the one that serves")
    predict.add_argument("--workers", type=int, metavar="N", help="processes")
    predict.set_defaults(does=_predict)


def _models(parsed: argparse.Namespace) -> int:
    from neural_classifiers.serving import registry

    told = {"models": registry.all_versions()}
    _tell(parsed, told, "".join(f"{line}\n" for line in _models_in_words(told["models"])))
    return 0


def _models_in_words(models: list[dict[str, Any]]) -> Iterator[str]:
    if not models:
        yield "no model was promoted yet: neural-classifiers promote last"
        return
    yield f"{'':<3}{'version':<34}{'kind':<10}{'serves since':<27}{'run':<44}scores"
    for told in models:
        scores = ", ".join(f"{name} {value:.4f}" for name, value in told["scores"].items())
        yield (
            f"{'->' if told['serves'] else '':<3}{told['version']:<34}{told['kind']:<10}"
            f"{told['promoted'] or 'rolled back':<27}{told['run']['folder']:<44}{scores}"
        )


def _promote(parsed: argparse.Namespace) -> int:
    from neural_classifiers.engine import history
    from neural_classifiers.serving.model import NotPromotedError
    from tasks.promote import NothingToPromoteError, in_words, promote

    try:
        run = history.find_run(parsed.run)
        decisions = promote(run, parsed.model, other_classes=parsed.other_categories)
    except (history.UnknownRunError, NothingToPromoteError, NotPromotedError) as error:
        return _refused(error)
    told = {"decisions": [decision.as_dict() for decision in decisions]}
    words = [in_words(decision) for decision in decisions]
    if any("no difference" in gate.found for gate in decisions[-1].gates if not gate.passed):
        words.append("A run on more comments (--sample) shows smaller differences.")
    _tell(parsed, told, "".join(f"{line}\n" for line in words))
    return 0 if any(decision.version for decision in decisions) else 1


def _rollback(parsed: argparse.Namespace) -> int:
    from neural_classifiers.serving import registry
    from neural_classifiers.serving.model import NotPromotedError

    try:
        before, now = registry.roll_back(parsed.kind)
    except NotPromotedError as error:
        return _refused(error)
    told = {"kind": parsed.kind, "withdrawn": before, "serves": now}
    _tell(parsed, told, f"{before} serves no more; now {now or 'no model'} does\n")
    return 0


def _predict(parsed: argparse.Namespace) -> int:
    from neural_classifiers.serving import predict
    from neural_classifiers.serving.model import NotPromotedError

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    files = [Path(what) for what in parsed.what if _is_file(what)]
    try:
        if len(files) < len(parsed.what):
            missing = [what for what in parsed.what if not _is_file(what)]
            if files or parsed.out:
                return _refused(f"expected files, or texts without --out, got no file {missing[0]}")
            return _predict_texts(parsed)
        if all(map(predict.are_images, files)):
            return _predict_images(parsed, files)
        return _predict_comments(parsed, files)
    except (NotPromotedError, predict.PredictionError, OSError) as error:
        return _refused(error)


def _is_file(what: str) -> bool:
    try:
        return Path(what).is_file()
    except (OSError, ValueError):  # too long for a name, or holds what no name does
        return False


def _predict_texts(parsed: argparse.Namespace) -> int:
    from neural_classifiers.serving import predict

    classifier = predict.load_serving("comments", parsed.version)
    told = predict.predict_texts(classifier, parsed.what)
    _tell(parsed, {"predictions": told}, "".join(f"{_answer_in_words(row)}\n" for row in told))
    return 1 if any("rejected" in row for row in told) else 0


def _answer_in_words(row: Mapping[str, Any], where: str = "") -> str:
    if "rejected" in row:
        return f"{where}rejected: {'; '.join(row['rejected'])}  ({row['version']})"
    best = sorted(row["probabilities"].items(), key=lambda told: -told[1])[:5]
    shares = ", ".join(f"{label} {share:.3f}" for label, share in best)
    return f"{where}{row['label']}  {shares}  ({row['version']})"


def _predict_images(parsed: argparse.Namespace, files: list[Path]) -> int:
    from neural_classifiers.serving import predict

    reader = predict.load_serving("digits", parsed.version)
    rows = list(predict.predict_images(files, reader))
    if parsed.out is None:
        words = [_answer_in_words(row, f"{row['file']} {row['image']}: ") for row in rows]
        _tell(parsed, {"predictions": rows}, "".join(f"{line}\n" for line in words))
        return 0
    predict.write_images(parsed.out, rows, reader)
    told = {"out": str(parsed.out), "version": reader.version, "predicted": len(rows)}
    _tell(parsed, told, f"{parsed.out}  {len(rows):,} images by {reader.version}\n")
    return 0


def _predict_comments(parsed: argparse.Namespace, files: list[Path]) -> int:
    from dataclasses import asdict

    from neural_classifiers.comments.formats import CommentFileError
    from neural_classifiers.serving import predict

    if len(files) > 1 or parsed.out is None:
        return _refused(
            f"expected one file of comments and --out FILE for its predictions, got {len(files)} "
            f"and --out {parsed.out}"
        )
    classifier = predict.load_serving("comments", parsed.version)
    try:
        account = predict.predict_file(
            files[0], parsed.out, classifier, parsed.text_column, parsed.workers
        )
    except CommentFileError as error:
        return _refused(error)
    _tell(parsed, asdict(account), "".join(f"{line}\n" for line in account.in_words()))
    return 0


WITHOUT_PREFECT = (_models, _rollback, _predict)


def _tell(parsed: argparse.Namespace, told: Mapping[str, Any], words: str) -> None:
    sys.stdout.write(json.dumps(told) + "\n" if parsed.json else words)


def _refused(why: object) -> int:
    sys.stderr.write(f"{why}\n")
    return 1
