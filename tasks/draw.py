"""Draw what was searched, trained and judged: a fault of a picture costs no model and no score."""

import json
from collections.abc import Mapping
from pathlib import Path

from neural_classifiers.engine.records import File
from neural_classifiers.engine.step import step
from neural_classifiers.judgement.names import CONSTANT
from tasks.model_files import load_pipeline, read_grid
from tasks.references import Digits, Drawn, Model, Scored, TrainedDigits, read_digits


@step(threads=1, task_run_name="draw_model-{name}")
def draw_model(name: str, model: Model | None, scored: Scored | None, folder: Path) -> Drawn:
    """Pictures of a model's grid, pipeline and answers.

    Parameters
    ----------
    name : str
        Of the model.
    model : Model or None
        None of the one that serves, which is none of the run.
    scored : Scored or None
        None where judging it failed.
    folder : Path
        Where the files go.
    """
    from neural_classifiers.report import plots
    from neural_classifiers.report.diagrams import draw_diagram, steps_of

    pictures, diagram = {}, folder / "pipeline.html"
    if scored:
        scores = json.loads(scored.scores.path.read_bytes())
        pictures["confusion"] = plots.plot_confusion(scores["confusion_matrix"], scores["labels"])
        if name != CONSTANT:
            calibration = plots.plot_calibration(scores["calibration"], "comments")
            pictures["calibration-comments"] = calibration
    if model:
        table = read_grid(model)
        grid = {str(name): table[name].tolist() for name in table}
        if len(table) > 1:
            pictures["grid"] = plots.plot_grid(grid)
            pictures["effects"] = plots.plot_grid_effects(grid)
        pipeline = load_pipeline(model)
        text = "text as it came" if model.text == "txt" else "cleaned text"
        pictures["pipeline"] = plots.plot_pipeline(steps_of(pipeline, text))
        diagram.write_text(draw_diagram(pipeline, name), encoding="utf-8")
    return Drawn(
        figures=_write(folder, pictures), diagram=File.of(diagram) if diagram.exists() else None
    )


@step(threads=1, task_run_name="draw_digits-{trained.name}-{trained.seed}")
def draw_digits(digits: Digits, trained: TrainedDigits, folder: Path) -> Drawn:
    """Pictures of a trained network, its course and its mistakes.

    Parameters
    ----------
    digits : Digits
        What it was judged on.
    trained : TrainedDigits
    folder : Path
        Where the files go.
    """
    from neural_classifiers.report import plots

    scores = json.loads(trained.scores.path.read_bytes())
    labels, mistakes = scores["labels"], scores["mistakes"]
    shown = read_digits(digits)["images_test"][[mistake["image"] for mistake in mistakes]]
    pictures = {
        "curves": plots.plot_learning_curves(scores["epochs"]),
        "confusion-digits": plots.plot_confusion(scores["confusion_matrix"], labels),
        "summary": plots.plot_model_summary(scores["layers"], scores["parameters"]),
        "mistakes": plots.plot_mistakes(shown, mistakes, labels),
        "calibration": plots.plot_calibration(scores["calibration"]),
    }
    return Drawn(figures=_write(folder, pictures))


def _write(folder: Path, pictures: Mapping[str, bytes]) -> dict[str, File]:
    for name, png in pictures.items():
        (folder / f"{name}.png").write_bytes(png)
    return {name: File.of(folder / f"{name}.png") for name in pictures}
