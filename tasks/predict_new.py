"""The files of a folder that were not predicted yet: each content once, by one version a run.

The predictions of a file lie in one that is named for the digest of what was predicted, so the
folder of predictions itself tells what is done: a file that comes again under another name is not
predicted again, one whose content changed is. A kill leaves nothing behind that counts as done.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prefect import get_run_logger, runtime, task
from prefect.client.schemas.objects import FlowRun
from prefect.flows import Flow
from prefect.states import State

from neural_classifiers.engine import alerts, paths
from neural_classifiers.engine.artifacts import show_table
from neural_classifiers.engine.records import DamagedFileError, File
from neural_classifiers.engine.step import UNRECORDED
from neural_classifiers.serving import predict, registry
from neural_classifiers.serving.model import COMMENTS, NotPromotedError
from neural_classifiers.serving.prediction_files import FORMATS
from tasks.references import New

DIGITS_OF_DIGEST = 16  # in a file's name


@task(task_run_name="find_new_files", **UNRECORDED)
def find_new_files(folder: str, out: str, version: str | None) -> New:
    """Files of a folder whose content was not predicted yet, and the version that will do it.

    The folders of the files and of the predictions (`out`) lie below the project's root. Without a
    `version` it is the one that serves now.

    Raises
    ------
    NotPromotedError
        If there is something to predict and no model that could.
    """
    predictions = paths.root() / out
    done = {path.stem.rpartition("-")[2] for path in predictions.glob("*-*") if _is_done(path)}
    new: dict[str, File] = {}
    for path in sorted((paths.root() / folder).glob("[!.]*")):
        if path.is_file():
            file = File.of(path)
            if _short(file) not in done:
                new.setdefault(_short(file), file)
    version = version or registry.serving_version(COMMENTS)
    if new and version is None:
        raise NotPromotedError(
            f"{paths.root() / folder}: expected a promoted model for {len(new)} new files, got "
            "none: neural-classifiers promote last"
        )
    get_run_logger().info("%d new files in %s, for %s", len(new), folder, version)
    return New(files=list(new.values()), version=version or "", out=predictions)


@task(task_run_name="predict_file-{file.path.name}", **UNRECORDED)
def predict_new_file(
    file: File, version: str, out: Path, format: str, text_column: str = "txt"
) -> predict.PredictedFile:
    """The predictions of a file, in one that is named for its content.

    Parameters
    ----------
    file : File
    version : str
    out : Path
        Folder of the predictions.
    format : {"parquet", "csv", "jsonl"}
    text_column : str
        Column (field) of the text.

    Raises
    ------
    CommentFileError, DamagedFileError
        If it cannot be read as comments, or changes meanwhile: nothing of it is kept then.
    """
    classifier = predict.loaded(registry.version_folder(version), version)
    name = f"{file.path.name.partition('.')[0]}-{_short(file)}.{format}"
    predicted = predict.predict_file(file.verified(), out / name, classifier, text_column)
    try:
        file.verified()
    except DamagedFileError:
        for path in (predicted.out, predicted.rejected_file):
            if path:
                Path(path).unlink()
        raise
    for line in predicted.in_words():
        get_run_logger().info("%s", line)
    return predicted


@task(task_run_name="report_predictions", **UNRECORDED)
def report_predictions(predicted: Sequence[predict.PredictedFile]) -> str:
    """A line on what was predicted; a table in the UI; an alert where it is unlike the training."""
    rows = [
        {
            "file": each.file,
            "out": each.out,
            "version": each.version,
            "rows": each.rows,
            "rejected": each.rejected,
            "unlike the training data in": ", ".join(each.drifted),
        }
        for each in predicted
    ]
    if not rows:
        return "nothing new"
    show_table(rows, key="predictions", description="Files predicted by this run")
    drifted = [
        f"{Path(each.file).name}: {', '.join(each.drifted)}" for each in predicted if each.drifted
    ]
    if drifted:
        sentence = f"comments unlike those of the training: {'; '.join(drifted)}"
        get_run_logger().warning("%s", sentence)
        run = {"flow": runtime.flow_run.flow_name, "name": runtime.flow_run.name}
        run |= {"run_id": runtime.flow_run.id, "status": "running", "error": None}
        _alert("drifted", sentence, run)
    return f"{len(predicted)} files, {sum(each.rows for each in predicted):,} rows"


def alert_failure(flow: Flow, flow_run: FlowRun, state: State) -> None:
    """Tell the webhook that predicting failed or crashed (hook)."""
    event = "crashed" if state.is_crashed() else "failed"
    run = {"flow": flow.name, "name": flow_run.name, "run_id": str(flow_run.id)}
    sentence = f"{flow.name} ({flow_run.name}) {event}: {state.message}"
    _alert(event, sentence, run | {"status": event, "error": state.message})


def _alert(event: str, sentence: str, run: Mapping[str, Any]) -> None:
    finished = datetime.now(UTC).isoformat()
    alerts.deliver(event, sentence, {"attempts": 1, "started": None, "finished": finished, **run})


def _is_done(path: Path) -> bool:
    return path.suffix in FORMATS and not path.name.endswith(".rejected.jsonl")


def _short(file: File) -> str:
    return file.sha256[:DIGITS_OF_DIGEST]
