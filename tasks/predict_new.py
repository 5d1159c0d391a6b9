"""The files of a folder that were not predicted yet: each content once, by one version a run.

The predictions of a file lie in one that is named for the digest of what was predicted, so the
folder of predictions itself tells what is done: a file that comes again under another name is not
predicted again, one whose content changed is. A kill leaves nothing behind that counts as done.
What cannot be predicted is set aside with a note in the same folder, so that it is told once and
does not keep others waiting each hour.
"""

import contextlib
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prefect import get_run_logger, runtime, task
from prefect.client.schemas.objects import FlowRun
from prefect.flows import Flow
from prefect.states import State

from neural_classifiers.comments.packing import NoRowsError
from neural_classifiers.engine import alerts, paths, workers
from neural_classifiers.engine.artifacts import show_table
from neural_classifiers.engine.files import as_json, make_folder, write_durably
from neural_classifiers.engine.records import DamagedFileError, File
from neural_classifiers.engine.settings import read_settings
from neural_classifiers.engine.step import UNRECORDED
from neural_classifiers.errors import ParameterError
from neural_classifiers.serving import predict, registry
from neural_classifiers.serving.model import COMMENTS, NotPromotedError
from neural_classifiers.serving.prediction_files import FORMATS
from tasks.references import New

DIGITS_OF_DIGEST = 16  # in a file's name
ASIDE = ".aside.json"  # ending of a note on a file that cannot be predicted
UNFINISHED = (".part", ".partial", ".crdownload", ".tmp", ".swp")  # of files still being written
# Endings (none counts too) of files that are meant as comments, so that it is a failure if they are
# none; others (README.md, desktop.ini, ~$book.xlsx) are passed over.
MEANT = ("", *".jsonl .ndjson .json .csv .tsv .tab .parquet .gz .zst .zip .bz2 .xz".split())


NOT_OF_THE_FILE = NotPromotedError, OSError  # a timeout is one, and is the file's


@task(task_run_name="find_new_files", **UNRECORDED)
def find_new_files(folder: str, out: str, version: str | None) -> New:
    """Files of a folder whose content was not predicted yet, and the version that will do it.

    The folders of the files and of the predictions (`out`) lie below the project's root. Without a
    `version` it is the one that serves now. Hidden files, those still being written and links out
    of the folder are left alone.

    Raises
    ------
    ValueError
        If both are one folder.
    NotPromotedError
        If there is something to predict and no model that could.
    """
    incoming, predictions = (paths.root() / folder).resolve(), paths.root() / out
    if incoming == predictions.resolve():
        raise ParameterError(
            f"{incoming}: expected another folder for the predictions, got the same"
        )
    if not incoming.is_dir():
        get_run_logger().warning("%s: expected a folder of new files, got none", incoming)
    done = set(filter(None, map(_digest_in, predictions.glob("*-*"))))
    new: dict[str, File] = {}
    for path in sorted(incoming.glob("[!.]*")):
        if path.suffix.lower() in UNFINISHED or not path.is_file():
            continue
        if not path.resolve().is_relative_to(incoming):
            get_run_logger().warning("%s: expected a file, got a link out of the folder", path)
            continue
        with contextlib.suppress(FileNotFoundError):  # taken away meanwhile
            file = File.of(path)
            if _short(file) not in done:
                new.setdefault(_short(file), file)
    version = version or registry.serving_version(COMMENTS)
    if new and version is None:
        raise NotPromotedError(
            f"{incoming}: expected a promoted model for {len(new)} new files, got "
            "none: neural-classifiers promote last"
        )
    get_run_logger().info("%d new files in %s, for %s", len(new), incoming, version)
    return New(files=list(new.values()), version=version or "", out=predictions)


@task(task_run_name="predict_file-{file.path.name}", **UNRECORDED)
def predict_new_file(
    file: File,
    version: str,
    out: Path,
    format: str,
    text_column: str | None = None,
    **table: Any,
) -> predict.PredictedFile | None:
    """The predictions of a file, in one that is named for its content; None where it has no rows.

    It is predicted in a worker process, for as long as the setting ``step_limit_s`` says. A file
    without comments, or that fails, is set aside with a note beside the predictions.

    Parameters
    ----------
    file : File
    version : str
    out : Path
        Folder of the predictions.
    format : {"parquet", "csv", "jsonl"}
    text_column : str, optional
        Column (field) of the text; by default as in the model's training data.
    **table
        ``delimiter``, ``quoting`` and ``escape``, as in `comments.formats.Layout`.

    Raises
    ------
    CommentFileError, StepTimeoutError, WorkerDiedError
        If it is meant as comments by its name and cannot be read, or takes too long.
    NotPromotedError, OSError
        If the fault lies elsewhere: it is tried again.
    DamagedFileError
        If it changes meanwhile: nothing of it is kept then, and it is tried again.
    """
    name = f"{file.path.name.partition('.')[0]}-{_short(file)}"
    arguments = file.verified(), out / f"{name}.{format}", text_column, table
    try:
        answer = workers.run(
            predict.predict_file_by,
            registry.version_folder(version),
            version,
            *arguments,
            timeout_s=read_settings().step_limit_s,
        )
    except Exception as error:
        if isinstance(error, NOT_OF_THE_FILE) and not isinstance(error, workers.StepTimeoutError):
            raise
        make_folder(out)
        note = {"file": str(file.path), "reason": str(error), "at": datetime.now(UTC).isoformat()}
        write_durably(out / f"{name}{ASIDE}", as_json(note))
        logger = get_run_logger()
        logger.warning("%s set aside, see %s%s: %s", file.path.name, name, ASIDE, error)
        if isinstance(error, NoRowsError) or file.path.suffix.lower() not in MEANT:
            return None
        raise
    predicted: predict.PredictedFile = answer.value
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
def report_predictions(files: Mapping[str, predict.PredictedFile | None]) -> str:
    """A line on what was predicted; a table in the UI; an alert where it is unlike the training."""
    predicted = [each for each in files.values() if each]
    passed_over = [name for name, each in files.items() if each is None]
    words = f"; passed over: {', '.join(passed_over)}" if passed_over else ""
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
        return f"nothing new{words}"
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
    return f"{len(predicted)} files, {sum(each.rows for each in predicted):,} rows{words}"


def alert_failure(flow: Flow, flow_run: FlowRun, state: State) -> None:
    """Tell the webhook that predicting failed or crashed (hook)."""
    event = "crashed" if state.is_crashed() else "failed"
    run = {"flow": flow.name, "name": flow_run.name, "run_id": str(flow_run.id)}
    sentence = f"{flow.name} ({flow_run.name}) {event}: {state.message}"
    _alert(event, sentence, run | {"status": event, "error": state.message})


def _alert(event: str, sentence: str, run: Mapping[str, Any]) -> None:
    finished = datetime.now(UTC).isoformat()
    alerts.deliver(event, sentence, {"attempts": 1, "started": None, "finished": finished, **run})


def _digest_in(path: Path) -> str:
    """The digest in the name of predictions, or of a note; "" in that of other files."""
    if path.name.endswith(ASIDE):
        return path.name.removesuffix(ASIDE).rpartition("-")[2]
    is_predicted = path.suffix in FORMATS and not path.name.endswith(".rejected.jsonl")
    return path.stem.rpartition("-")[2] if is_predicted else ""


def _short(file: File) -> str:
    return file.sha256[:DIGITS_OF_DIGEST]
