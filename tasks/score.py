"""Judge a model once on the test set."""

from pathlib import Path

import pandas as pd

from neural_classifiers.engine.records import File
from neural_classifiers.engine.step import step
from tasks.model_files import load_pipeline
from tasks.references import Model, Scored, Split, read_comments
from tasks.score_files import keep_figures, keep_scores


@step(threads=1, task_run_name="score_model-{name}")
def score_model(name: str, model: Model, split: Split, folder: Path) -> Scored:
    """Scores, predictions and pictures of a model that has seen no test row.

    Parameters
    ----------
    name : str
        Of the model.
    model : Model
        Fitted on the training set of `split`.
    split : Split
        Its test set is what the model is judged on.
    folder : Path
        Where the files go.
    """
    from neural_classifiers.report.diagrams import draw_diagram, steps_of
    from neural_classifiers.report.plots import plot_pipeline

    pipeline = load_pipeline(model)
    comments = read_comments(split.test)
    table = pd.DataFrame(
        {"actual": comments.y, "predicted": pipeline.predict(comments.X).astype(str)}
    )
    probabilities = pipeline.predict_proba(comments.X)
    for label, column in zip(pipeline.classes_, probabilities.T, strict=True):
        table[f"p_{label}"] = column
    about = model.model_dump(include={"temperature", "best_params", "best_cv_score", "scoring"})
    scored = keep_scores(name, table, about, split.labels, folder)
    diagram = folder / "pipeline.html"
    diagram.write_text(draw_diagram(pipeline, name), encoding="utf-8")
    picture = keep_figures({"pipeline": plot_pipeline(steps_of(pipeline))}, folder)
    return scored.model_copy(
        update={"figures": scored.figures | picture, "diagram": File.of(diagram)}
    )
