"""Say of the judged models where they are weak, why they answer so, what more data would do."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from neural_classifiers.engine.records import File
from neural_classifiers.engine.step import step
from neural_classifiers.judgement import weaknesses
from neural_classifiers.judgement.names import CONSTANT, SERVING, SIMPLE
from tasks.model_files import load_pipeline
from tasks.references import Examined, Explained, Model, Scored, SearchSample, Split, read_comments

N_OCCLUDED = 3  # comments, each answered again without each of its words


@step(threads=1)
def explain_models(
    split: Split, models: dict[str, Model], scored: dict[str, Scored], folder: Path
) -> Explained:
    """Slices and mistakes of every model; words of the linear one; occlusion of the networks.

    Parameters
    ----------
    split : Split
        Its test set is what the models were judged on.
    models, scored : dict of str to Model and to Scored
        By name; a model that was trained on test rows, the serving one, is left out.
    folder : Path
        Where the files go.
    """
    test = pd.read_parquet(split.test.path)
    tables = {name: pd.read_parquet(s.predictions.path) for name, s in scored.items()}
    tables = {n: t for n, t in tables.items() if "seen" not in t or not t["seen"].any()}
    actual, texts = test["cat"].to_numpy(str), test["txt"].tolist()
    predicted = {name: table["predicted"].to_numpy(str) for name, table in tables.items()}
    explanations = weaknesses.Explanations(
        slices=weaknesses.score_slices(
            weaknesses.slices_of(texts, test["file"].tolist()), actual, predicted
        ),
        words=weaknesses.deciding_words(load_pipeline(models["linear"]))
        if "linear" in models
        else {},
        mistakes={
            name: weaknesses.surest_mistakes(texts, actual, predicted[name], *_probabilities(table))
            for name, table in tables.items()
            if name != CONSTANT
        },
        occluded={
            name: _occluded(models[name], table, test)
            for name, table in tables.items()
            if name not in (*SIMPLE, SERVING)
        },
    )
    path = folder / "explanations.json"
    path.write_text(json.dumps(explanations.as_dict(), indent=2) + "\n", encoding="utf-8")
    return Explained(
        explanations=File.of(path),
        slices=len(explanations.slices),
        mistakes=sum(map(len, explanations.mistakes.values())),
    )


@step(threads=1)
def examine_training(
    searched: Split | SearchSample, linear: Model, folds: int, seed: int, folder: Path
) -> Examined:
    """The learning curve of the linear model, and the labels that it contradicts.

    Parameters
    ----------
    searched : Split or SearchSample
        The comments that the parameters of `linear` were chosen on: it was fitted on parts of
        them.
    linear : Model
        Searched with answers held out.
    folds, seed : int
        Of the learning curve.
    folder : Path
        Where the files go.
    """
    from neural_classifiers.report.plots import plot_sizes

    train, comments = pd.read_parquet(searched.train.path), read_comments(searched.train)
    pipeline = load_pipeline(linear)
    curve = weaknesses.learning_curve(pipeline, comments.X, comments.y, folds, seed)
    points = json.dumps([point.as_dict() for point in curve], indent=2) + "\n"
    (folder / "curve.json").write_text(points, encoding="utf-8")
    (folder / "curve.png").write_bytes(plot_sizes(curve))
    suspected = _suspected(train, linear)
    suspected.to_parquet(folder / "suspected.parquet", index=False)
    return Examined(
        curve=File.of(folder / "curve.json"),
        figure=File.of(folder / "curve.png"),
        suspected=File.of(folder / "suspected.parquet"),
        n_suspected=len(suspected),
        rows=len(train),
    )


def _suspected(train: pd.DataFrame, linear: Model) -> pd.DataFrame:
    """The comments whose label is in doubt, with its probability and the likelier class."""
    probabilities, classes = _probabilities(pd.read_parquet(linear.held_out.path))
    rows = weaknesses.suspected_labels(train["cat"].tolist(), probabilities, classes)
    columns = np.searchsorted(classes, train["cat"].iloc[rows].to_numpy(str))
    doubts = train.iloc[rows][["file", "line", "txt", "cat"]].copy()
    doubts["p_cat"] = probabilities[rows, columns]
    doubts["likelier"] = np.asarray(classes)[probabilities[rows].argmax(axis=1)]
    doubts["p_likelier"] = probabilities[rows].max(axis=1)
    return doubts


def _occluded(model: Model, table: pd.DataFrame, test: pd.DataFrame) -> list[weaknesses.Occlusion]:
    """The comments that a network was surest of, rightly or not, and the words it hung on.

    Words are those that the network sees: stems, or of a pretrained one the words as they came.
    """
    pipeline, texts = load_pipeline(model), test[model.text]
    probabilities, classes = _probabilities(table)
    n_words = [len(text.split()) for text in texts]
    surest = np.argsort(-probabilities.max(axis=1), kind="stable").tolist()
    # of comments long enough to show something, one of each class if there are so many
    order = [row for row in surest if n_words[row] >= 3]
    answers = table["predicted"].to_numpy(str)
    firsts = [next((row for row in order if answers[row] == label), None) for label in classes]
    occluded = []
    for row in [row for row in firsts if row is not None][:N_OCCLUDED]:
        column = classes.index(answers[row])
        probability, words = weaknesses.occlusion(pipeline.predict_proba, texts.iloc[row], column)
        occluded.append(
            weaknesses.Occlusion(
                txt=test["txt"].iloc[row],
                actual=str(test["cat"].iloc[row]),
                predicted=str(answers[row]),
                probability=probability,
                words=words,
            )
        )
    return occluded


def _probabilities(table: pd.DataFrame) -> tuple[NDArray[np.float64], list[str]]:
    """Probabilities of shape (n_rows, n_classes), and the classes of their columns."""
    columns = [c for c in table.columns.astype(str) if c.startswith("p_")]
    return table[columns].to_numpy(np.float64), [c.removeprefix("p_") for c in columns]
