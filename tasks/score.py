"""Judge a model once on the test set."""

from pathlib import Path

import pandas as pd

from neural_classifiers.engine.step import step
from tasks.model_files import load_pipeline, write_price
from tasks.references import Encoded, Model, Scored, Split, read_comments
from tasks.score_files import keep_scores


@step(threads=1, task_run_name="score_model-{name}")
def score_model(
    name: str, model: Model, split: Split, encoded: Encoded | None, folder: Path
) -> Scored:
    """Scores and predictions of a model that has seen no test row.

    Parameters
    ----------
    name : str
        Of the model.
    model : Model
        Fitted on the training set of `split`.
    split : Split
        Its test set is what the model is judged on.
    encoded : Encoded or None
        The texts' vectors, where they were encoded; for a model that begins with the encoder.
    folder : Path
        Where the files go.
    """
    pipeline = load_pipeline(model, encoded)
    comments = read_comments(split.test, model.text)
    table = pd.DataFrame(
        {"actual": comments.y, "predicted": pipeline.predict(comments.X).astype(str)}
    )
    probabilities = pipeline.predict_proba(comments.X)
    for label, column in zip(pipeline.classes_, probabilities.T, strict=True):
        table[f"p_{label}"] = column
    about = model.model_dump(include={"temperature", "best_params", "best_cv_score", "scoring"})
    # with nothing looked up, nor held from before
    write_price(folder, load_pipeline(model) if model.encoder else pipeline, comments.X)
    return keep_scores(name, table, about, split.labels, folder)
