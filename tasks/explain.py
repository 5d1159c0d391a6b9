"""Say of the judged models where they are weak, why they answer so, what more data would do."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from neural_classifiers.engine.records import File
from neural_classifiers.engine.step import step
from neural_classifiers.judgement.names import CONSTANT, SERVING, SIMPLE
from tasks.model_files import load_pipeline
from tasks.references import Examined, Explained, Model, Scored, SearchSample, Split, read_comments

N_OCCLUDED = 3  # comments, each answered again without each of its words


@step(threads=1)
def explain_models(
    split: Split, models: dict[str, Model], scored: dict[str, Scored], folder: Path
) -> Explained:
    """Slices and mistakes of every model; words of the linear one; occlusion of the networks."""
    from neural_classifiers.judgement import weaknesses

    test = pd.read_parquet(split.test.path)
    answers = {name: pd.read_parquet(s.predictions.path) for name, s in scored.items()}
    answers = {name: table for name, table in answers.items() if not _knows_some(table)}
    actual = test["cat"].to_numpy(str)
    slices = weaknesses.score_slices(
        weaknesses.slices_of(test["txt"].tolist(), test["file"].tolist()),
        actual,
        {name: table["predicted"].to_numpy(str) for name, table in answers.items()},
    )
    mistakes, occluded = {}, {}
    for name, table in answers.items():
        if name == CONSTANT:
            continue
        said = table["predicted"].to_numpy(str)
        found = weaknesses.surest_mistakes(actual, said, _probabilities(table), _classes(table))
        texts = test["txt"].iloc[[m["row"] for m in found]].tolist()
        mistakes[name] = [m | {"txt": text} for m, text in zip(found, texts, strict=True)]
        if name not in (*SIMPLE, SERVING):
            occluded[name] = _occluded(models[name], table, test)
    words = weaknesses.deciding_words(load_pipeline(models["linear"])) if "linear" in models else {}
    told = {"slices": slices, "words": words, "mistakes": mistakes, "occluded": occluded}
    path = folder / "explanations.json"
    path.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    return Explained(
        explanations=File.of(path),
        slices=len(slices),
        mistakes=sum(len(each) for each in mistakes.values()),
    )


@step(threads=1)
def examine_training(
    searched: Split | SearchSample, linear: Model, folds: int, seed: int, folder: Path
) -> Examined:
    """The learning curve of the linear model, and the labels that it contradicts.

    Both of the comments that its parameters were chosen on: it was fitted on parts of them.
    """
    from neural_classifiers.judgement import weaknesses
    from neural_classifiers.report.plots import plot_sizes

    train, comments = pd.read_parquet(searched.train.path), read_comments(searched.train)
    pipeline = load_pipeline(linear)
    curve = weaknesses.learning_curve(pipeline, comments.X, comments.y, folds, seed)
    (folder / "curve.json").write_text(json.dumps(curve, indent=2) + "\n", encoding="utf-8")
    (folder / "curve.png").write_bytes(plot_sizes(curve))
    suspected = folder / "suspected.parquet"
    _suspected(train, linear).to_parquet(suspected, index=False)
    return Examined(
        curve=File.of(folder / "curve.json"),
        figure=File.of(folder / "curve.png"),
        suspected=File.of(suspected),
        n_suspected=len(pd.read_parquet(suspected)),
        rows=len(train),
    )


def _suspected(train: pd.DataFrame, linear: Model) -> pd.DataFrame:
    from neural_classifiers.judgement import weaknesses

    if linear.held_out is None:
        raise ValueError("expected a linear model that was searched with answers held out")
    held_out = pd.read_parquet(linear.held_out.path)
    classes, probabilities = _classes(held_out), _probabilities(held_out)
    rows = weaknesses.suspected_labels(train["cat"].tolist(), probabilities, classes)
    places = np.searchsorted(classes, train["cat"].iloc[rows].to_numpy(str))
    found = train.iloc[rows][["file", "line", "txt", "cat"]].copy()
    found["p_cat"] = probabilities[rows, places]
    found["likelier"] = np.asarray(classes)[probabilities[rows].argmax(axis=1)]
    found["p_likelier"] = probabilities[rows].max(axis=1)
    return found


def _occluded(model: Model, table: pd.DataFrame, test: pd.DataFrame) -> list[dict[str, Any]]:
    """The comments that a network was surest of, rightly or not, and the words it hung on."""
    from neural_classifiers.judgement import weaknesses

    pipeline, classes = load_pipeline(model), _classes(table)
    n_words = [len(text.split()) for text in test["clean"]]
    surest = _probabilities(table).max(axis=1)
    # of comments long enough to show something, one of each class if there are so many
    order = [int(i) for i in np.argsort(-surest, kind="stable") if n_words[i] >= 3]
    answers = table["predicted"].to_numpy(str)
    firsts = [next((i for i in order if answers[i] == label), None) for label in classes]
    rows = [row for row in firsts if row is not None][:N_OCCLUDED]
    told = []
    for row in rows:
        text, place = test["clean"].iloc[row], classes.index(answers[row])
        found = weaknesses.occlusion(pipeline.predict_proba, text, place)
        told.append(
            {
                "txt": test["txt"].iloc[row],
                "actual": str(test["cat"].iloc[row]),
                "predicted": str(answers[row]),
                "probability": found["probability"],
                "words": found["words"],
            }
        )
    return told


def _knows_some(table: pd.DataFrame) -> bool:
    """Whether a model, the serving one, was trained on some of the test rows."""
    return "seen" in table and bool(table["seen"].any())


def _classes(table: pd.DataFrame) -> list[str]:
    return [c.removeprefix("p_") for c in table.columns.astype(str) if c.startswith("p_")]


def _probabilities(table: pd.DataFrame) -> "np.ndarray[Any, Any]":
    return table[[f"p_{label}" for label in _classes(table)]].to_numpy(np.float64)
