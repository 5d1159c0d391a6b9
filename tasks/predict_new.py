"""The files of a folder that were not predicted yet: each content once, by one version a run.

The predictions of a file lie in one that is named for the digest of what was predicted, so the
folder of predictions itself tells what is done: a file that comes again under another name is not
predicted again, one whose content changed is. A kill leaves nothing behind that counts as done.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prefect import get_run_logger, runtime, task
from prefect.artifacts import create_table_artifact
from prefect.client.schemas.objects import FlowRun
from prefect.flows import Flow
from prefect.states import State

from neural_classifiers.engine import alerts, paths
from neural_classifiers.engine.records import DamagedFileError, File
from neural_classifiers.engine.step import UNRECORDED
from neural_classifiers.serving import predict, registry
from neural_classifiers.serving.model import COMMENTS, NotPromotedError
from tasks.references import New, Predicted

DIGITS_OF_DIGEST = 16  # in a file's name


@task(task_run_name="find_new_files", **UNRECORDED)
def find_new_files(folder: str, out: str, version: str | None) -> New:
    """The files of a folder whose content was not predicted yet, and the version that will do it.

    Raises
    ------
    NotPromotedError
        If there is something to predict and no model that could.
    """
    new = new_files(paths.root() / folder, paths.root() / out, version)
    get_run_logger().info("%d new files in %s, for %s", len(new.files), folder, new.version)
    return new


def new_files(folder: Path, out: Path, version: str | None) -> New:
    """As `find_new_files`, without Prefect."""
    done = {path.stem.rpartition("-")[2] for path in out.glob("*-*") if _is_prediction(path)}
    found: dict[str, File] = {}
    for path in sorted(folder.glob("[!.]*")):
        if path.is_file():
            file = File.of(path)
            if _short(file) not in done:
                found.setdefault(_short(file), file)
    serving = version or registry.serving(COMMENTS)
    if found and serving is None:
        raise NotPromotedError(
            f"{folder}: expected a promoted model for {len(found)} new files, got none: "
            "neural-classifiers promote last"
        )
    return New(files=list(found.values()), version=serving or "", out=out)


@task(task_run_name="predict_file-{file.path.name}", **UNRECORDED)
def predict_new_file(
    file: File, version: str, out: Path, format: str, text_column: str
) -> Predicted:
    """The predictions of a file, in one that is named for its content.

    Raises
    ------
    CommentFileError, DamagedFileError
        If it cannot be read as comments, or changes meanwhile: nothing of it is kept then.
    """
    account = predict_once(file, version, out, format, text_column)
    for line in account.in_words():
        get_run_logger().info("%s", line)
    return Predicted(account=asdict(account), drifted=account.drifted)


def predict_once(
    file: File, version: str, out: Path, format: str, text_column: str = "txt"
) -> predict.Account:
    """As `predict_new_file`, without Prefect."""
    classifier = predict.loaded(paths.root(), version)
    name = f"{file.path.name.partition('.')[0]}-{_short(file)}.{format}"
    account = predict.predict_file(file.verified(), out / name, classifier, text_column)
    try:
        file.verified()
    except DamagedFileError:
        for path in (account.out, account.rejected_file):
            if path:
                Path(path).unlink()
        raise
    return account


@task(task_run_name="tell_predictions", **UNRECORDED)
def tell_predictions(predicted: Sequence[Predicted]) -> str:
    """A line on what was predicted; a table in the UI; an alert where it is unlike the training."""
    rows = [
        {name: told.account[name] for name in ("file", "out", "version", "rows", "rejected")}
        | {"unlike the training data in": ", ".join(told.drifted)}
        for told in predicted
    ]
    if rows:
        create_table_artifact(rows, key="predictions", description="Files predicted by this run")
    drifted = [
        f"{Path(told.account['file']).name}: {', '.join(told.drifted)}"
        for told in predicted
        if told.drifted
    ]
    if drifted:
        sentence = f"comments unlike those of the training: {'; '.join(drifted)}"
        get_run_logger().warning("%s", sentence)
        run = {"flow": runtime.flow_run.flow_name, "name": runtime.flow_run.name}
        run |= {"run_id": runtime.flow_run.id, "status": "running", "error": None}
        _alert("drifted", sentence, run)
    n_rows = sum(told.account["rows"] for told in predicted)
    return f"{len(predicted)} files, {n_rows:,} rows" if predicted else "nothing new"


def alert_failure(flow: Flow, flow_run: FlowRun, state: State) -> None:
    """Tell the webhook that predicting failed or crashed (hook)."""
    event = "crashed" if state.is_crashed() else "failed"
    run = {"flow": flow.name, "name": flow_run.name, "run_id": str(flow_run.id)}
    sentence = f"{flow.name} ({flow_run.name}) {event}: {state.message}"
    _alert(event, sentence, run | {"status": event, "error": state.message})


def _alert(event: str, sentence: str, run: Mapping[str, Any]) -> None:
    finished = datetime.now(UTC).isoformat()
    alerts.deliver(event, sentence, {"attempts": 1, "started": None, "finished": finished, **run})


def _is_prediction(path: Path) -> bool:
    return path.suffix in predict.FORMATS and not path.name.endswith(".rejected.jsonl")


def _short(file: File) -> str:
    return file.sha256[:DIGITS_OF_DIGEST]
