"""Predict what is new in a folder, each file once, by the model that serves."""

from typing import Literal

from prefect import flow
from prefect.states import State

from neural_classifiers.comments.tables import Quoting
from neural_classifiers.engine.branches import Branches
from neural_classifiers.engine.form import with_form
from neural_classifiers.engine.runs import limit_run, release_run
from tasks.predict_new import alert_failure, find_new_files, predict_new_file, report_predictions


@flow(
    name="predict-comments",
    persist_result=False,
    on_running=[limit_run],
    on_completion=[release_run],
    on_failure=[release_run, alert_failure],
    on_crashed=[release_run, alert_failure],
    on_cancellation=[release_run],
)
@with_form
def predict_comments(
    folder: str = "data/incoming",
    out: str = "artifacts/predictions",
    format: Literal["parquet", "csv", "jsonl"] = "parquet",
    text_column: str | None = None,
    delimiter: str | None = None,
    quoting: Quoting = "auto",
    escape: str | None = None,
    version: str | None = None,
) -> State:
    """Predict the topic of every comment in the files of a folder that were not predicted yet.

    A file without comments is passed over, one that fails or takes too long fails the run; either
    is set aside with a note beside the predictions, and not tried again while the note lies there.

    Parameters
    ----------
    folder : str
        Folder of JSON Lines, CSV, TSV or Parquet files, packed or not.
    out : str
        Folder for the predictions; what lies there tells which files are done.
    format : {"parquet", "csv", "jsonl"}
        Of the predictions.
    text_column : str, optional
        Column (field) of the text; by default as in the model's training data.
    delimiter : str, optional
        Of tables; by default the one by which the header has the column.
    quoting : {"auto", "standard", "none"}
        Whether cells of tables may stand in quotation marks; by default the file tells.
    escape : str, optional
        Of tables: the character before a quotation mark or delimiter that is none.
    version : str, optional
        Promoted model; by default the one that serves when the run begins.
    """
    new = find_new_files(folder, out, version)  # also settles the version: a rollback meanwhile
    branches = Branches()  # does not reach this run
    predicted = {}
    for file in new.files:
        predicted[file.path.name] = branches.submit(
            predict_new_file,
            file,
            version=new.version,
            out=new.out,
            format=format,
            text_column=text_column,
            delimiter=delimiter,
            quoting=quoting,
            escape=escape,
        )
        branches.wait()  # one after the other: each takes all cores
    return branches.finish(report_predictions(branches.succeeded(predicted)))
