"""Judge a model once on the test set."""

import json
from pathlib import Path

import pandas as pd

from neural_classifiers.scores import score_predictions
from tasks.models import Model, load_pipeline
from tasks.records import File, Reference
from tasks.split import Split, read_comments
from tasks.steps import step


class Scored(Reference):
    """How a model did on the test set.

    `scores` is what ``metrics.json`` says of it; `predictions` has ``actual``, ``predicted`` and
    a probability for each category, in the order of the test set.
    """

    name: str
    scores: File
    predictions: File
    confusion: File
    accuracy: float
    f1_macro: float

    def in_words(self) -> str:
        """The two figures that matter."""
        return f"{self.name}: test accuracy {self.accuracy:.4f}, macro-F1 {self.f1_macro:.4f}"


@step(threads=1, task_run_name="score_model-{name}")
def score_model(name: str, model: Model, split: Split, folder: Path) -> Scored:
    """Scores, predictions and confusion matrix of a model that has seen no test row."""
    from neural_classifiers.plots import plot_confusion

    if model.weights is not None:
        from neural_classifiers.threads import set_tensorflow_threads

        set_tensorflow_threads(1)
    pipeline = load_pipeline(model)
    comments = read_comments(split.test)
    predicted = pipeline.predict(comments.X)
    scores = score_predictions(comments.y, predicted, split.labels)
    told = scores.as_dict() | {
        "best_params": model.best_params,
        "best_cv_score": model.best_cv_score,
    }
    table = pd.DataFrame({"actual": comments.y, "predicted": predicted.astype(str)})
    probabilities = pipeline.predict_proba(comments.X)
    for label, column in zip(pipeline.classes_, probabilities.T, strict=True):
        table[f"p_{label}"] = column
    paths = {
        part: folder / part for part in ("scores.json", "predictions.parquet", "confusion.png")
    }
    paths["scores.json"].write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    table.to_parquet(paths["predictions.parquet"], index=False)
    paths["confusion.png"].write_bytes(plot_confusion(scores.confusion_matrix, scores.labels))
    return Scored(
        name=name,
        scores=File.of(paths["scores.json"]),
        predictions=File.of(paths["predictions.parquet"]),
        confusion=File.of(paths["confusion.png"]),
        accuracy=scores.accuracy,
        f1_macro=scores.f1_macro,
    )
