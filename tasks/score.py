"""Judge a model once on the test set."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from neural_classifiers.engine.records import File, Reference
from neural_classifiers.engine.step import step
from neural_classifiers.judgement.scores import f1_macro_interval, score_predictions
from tasks.model_files import Model, load_pipeline
from tasks.split import Split, read_comments


class Scored(Reference):
    """How a model did on the test set.

    `scores` is what ``metrics.json`` says of it; `predictions` has ``actual``, ``predicted`` and
    a probability for each category, in the order of the test set.
    """

    name: str
    scores: File
    predictions: File
    confusion: File
    calibration: File
    accuracy: float
    f1_macro: float

    def in_words(self) -> str:
        """The two figures that matter."""
        return f"{self.name}: test accuracy {self.accuracy:.4f}, macro-F1 {self.f1_macro:.4f}"


@step(threads=1, task_run_name="score_model-{name}")
def score_model(name: str, model: Model, split: Split, folder: Path) -> Scored:
    """Scores, predictions and confusion matrix of a model that has seen no test row."""
    if model.weights is not None:
        from neural_classifiers.arrays.threads import set_tensorflow_threads

        set_tensorflow_threads(1)
    pipeline = load_pipeline(model)
    comments = read_comments(split.test)
    table = pd.DataFrame(
        {"actual": comments.y, "predicted": pipeline.predict(comments.X).astype(str)}
    )
    probabilities = pipeline.predict_proba(comments.X)
    for label, column in zip(pipeline.classes_, probabilities.T, strict=True):
        table[f"p_{label}"] = column
    about = {
        "temperature": model.temperature,
        "best_params": model.best_params,
        "best_cv_score": model.best_cv_score,
        "scoring": model.scoring,
    }
    return keep_scores(name, table, about, split.labels, folder)


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
