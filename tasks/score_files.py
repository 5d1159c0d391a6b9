"""The files of a model's scores, for every step that judges one."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from neural_classifiers.engine.records import File
from neural_classifiers.judgement.names import CONSTANT
from neural_classifiers.judgement.scores import JudgedModel, f1_macro_interval, score_predictions
from tasks.references import Scored


def keep_scores(
    name: str, table: pd.DataFrame, about: dict[str, Any], labels: list[str], folder: Path
) -> Scored:
    """Write a model's answers and all their scores.

    Parameters
    ----------
    name : str
        Of the model.
    table : DataFrame
        A line a test comment: ``actual``, ``predicted`` and ``p_<label>``. Rows with a true
        ``seen``, where there is such a column, count in no score.
    about : dict
        How the model was chosen: the fields of `JudgedModel` that are no scores.
    labels : list of str
        All classes, in the order wanted.
    folder : Path
        Where the files go.
    """
    from neural_classifiers.judgement.calibration import calibrate
    from neural_classifiers.report.plots import plot_calibration, plot_confusion

    judged = table[~table["seen"]] if "seen" in table else table
    actual, predicted = judged["actual"].to_numpy(str), judged["predicted"].to_numpy(str)
    columns = [column for column in table.columns if column.startswith("p_")]
    classes = [column.removeprefix("p_") for column in columns]
    scores = score_predictions(actual, predicted, labels)
    calibration = calibrate(judged[columns].to_numpy(), np.searchsorted(classes, actual))
    model = JudgedModel.model_validate(
        {
            **scores.model_dump(),
            "f1_macro_interval": f1_macro_interval(actual, predicted),
            "calibration": calibration,
            **about,
        }
    )
    content = json.dumps(model.model_dump(mode="json", exclude_unset=True), indent=2) + "\n"
    (folder / "scores.json").write_text(content, encoding="utf-8")
    table.to_parquet(folder / "predictions.parquet", index=False)
    figures = {"confusion": plot_confusion(scores.confusion_matrix, scores.labels)}
    if name != CONSTANT:
        figures["calibration-comments"] = plot_calibration(calibration, "comments")
    return Scored(
        name=name,
        scores=File.of(folder / "scores.json"),
        predictions=File.of(folder / "predictions.parquet"),
        figures=keep_figures(figures, folder),
        accuracy=scores.accuracy,
        f1_macro=scores.f1_macro,
    )


def keep_figures(figures: dict[str, bytes], folder: Path) -> dict[str, File]:
    """Write pictures (PNG by name)."""
    for name, png in figures.items():
        (folder / f"{name}.png").write_bytes(png)
    return {name: File.of(folder / f"{name}.png") for name in figures}
