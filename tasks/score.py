"""Judge a model once on the test set."""

from pathlib import Path

import pandas as pd

from neural_classifiers.engine.step import step
from tasks.model_files import load_pipeline
from tasks.references import Model, Scored, Split, read_comments
from tasks.score_files import keep_scores


@step(threads=1, task_run_name="score_model-{name}")
def score_model(name: str, model: Model, split: Split, folder: Path) -> Scored:
    """Scores, predictions and confusion matrix of a model that has seen no test row."""
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
