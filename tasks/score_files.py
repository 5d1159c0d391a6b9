"""The files of a model's scores, for every step that judges one."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from neural_classifiers.engine.records import File
from neural_classifiers.judgement.scores import f1_macro_interval, score_predictions
from tasks.references import Scored


def keep_scores(
    name: str, table: pd.DataFrame, about: dict[str, Any], labels: list[str], folder: Path
) -> Scored:
    """Write a model's answers, ``actual``, ``predicted`` and ``p_<label>``, and all their scores.

    Rows with a true ``seen``, where there is such a column, count in no score.
    """
    from neural_classifiers.judgement.calibration import calibrate
    from neural_classifiers.report.plots import plot_calibration, plot_confusion

    judged = table[~table["seen"]] if "seen" in table else table
    actual, predicted = judged["actual"].to_numpy(str), judged["predicted"].to_numpy(str)
    columns = [column for column in table.columns if column.startswith("p_")]
    classes = [column.removeprefix("p_") for column in columns]
    scores = score_predictions(actual, predicted, labels)
    calibration = calibrate(judged[columns].to_numpy(), np.searchsorted(classes, actual))
    told = scores.as_dict() | {
        "f1_macro_interval": f1_macro_interval(actual, predicted),
        "calibration": calibration,
        **about,
    }
    paths = {
        part: folder / part
        for part in ("scores.json", "predictions.parquet", "confusion.png", "calibration.png")
    }
    paths["scores.json"].write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    table.to_parquet(paths["predictions.parquet"], index=False)
    paths["confusion.png"].write_bytes(plot_confusion(scores.confusion_matrix, scores.labels))
    paths["calibration.png"].write_bytes(plot_calibration(calibration, "comments"))
    return Scored(
        name=name,
        scores=File.of(paths["scores.json"]),
        predictions=File.of(paths["predictions.parquet"]),
        confusion=File.of(paths["confusion.png"]),
        calibration=File.of(paths["calibration.png"]),
        accuracy=scores.accuracy,
        f1_macro=scores.f1_macro,
    )
