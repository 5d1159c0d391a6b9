"""Pipelines as pictures: scikit-learn's diagram made harmless, and their steps as boxes."""

import re
import warnings

from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from test_report_pages import WHOLE, Page, page_of

from neural_classifiers.comments.models.pipelines import (
    improved_scikit_pipeline,
    keras_pipeline,
    linear_pipeline,
    scikit_pipeline,
)
from neural_classifiers.judgement.calibration import Calibrated
from neural_classifiers.report.diagrams import draw_diagram, steps_of
from neural_classifiers.report.plots import plot_pipeline

X = ["goal match coach", "boss level quest", "atom cell star", "goal season"] * 10
HOSTILE = "<script>alert(1)</script>\"'><b>"
Y = ["sports", "games", HOSTILE, "sports"] * 10


def fitted(pipeline):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # so few steps do not converge
        return pipeline.fit(X, Y)


def titles(rows):
    return [[box.title for box in row] for row in rows]


def test_the_steps_of_a_scikit_learn_network_are_its_features_and_its_layers():
    rows = steps_of(fitted(scikit_pipeline(34)))

    assert titles(rows) == [
        ["cleaned text"],
        ["tfidf: TfidfVectorizer"],
        ["mlp: MLPClassifier"],
        ["hidden_1: dense"],
        ["hidden_2: dense"],
        ["classes: dense"],
        ["category"],
    ]
    assert "hidden_layer_sizes=(6, 2)" in rows[2][0].lines
    # 9 words to 6 units: 9 x 6 weights and 6 biases
    assert rows[3][0].lines == (f"6 units, {len(set(' '.join(X).split())) * 6 + 6} parameters",)
    assert rows[5][0].lines == ("3 units, 9 parameters",)


def test_features_that_work_side_by_side_are_drawn_so_and_dropped_ones_are_not():
    rows = steps_of(fitted(improved_scikit_pipeline(34)))
    assert titles(rows)[1] == ["words: TfidfVectorizer", "characters: TfidfVectorizer"]
    assert "ngram_range=(2, 4)" in rows[1][1].lines
    assert titles(steps_of(fitted(linear_pipeline())))[1] == ["words: TfidfVectorizer"]


def test_a_keras_pipeline_shows_the_layers_of_its_network_and_its_calibration(one_thread):
    pipeline = fitted(keras_pipeline(34).set_params(keras__epochs=1))
    pipeline.steps[-1] = ("keras", Calibrated(pipeline[-1], 1.5, [0.0, 0.0, 1.0]))
    rows = steps_of(pipeline)

    assert titles(rows)[2:] == [
        ["keras: KerasClassifier"],
        ["hidden_1: Dense"],
        ["hidden_2: Dense"],
        ["classes: Dense"],
        ["category"],
    ]
    assert rows[2][0].lines == ("temperature 1.5, answers shifted",)
    assert rows[4][0].lines == ("100 units, 25,100 parameters",)  # 251 x 100
    assert plot_pipeline(rows).startswith(b"\x89PNG")
    first = draw_diagram(pipeline, "keras")
    assert "hidden_sizes" in first
    assert draw_diagram(pipeline, "keras") == first  # no address, no number of the process


def test_a_diagram_asks_for_nothing_and_does_not_break_the_page():
    pipeline = fitted(linear_pipeline().set_params(classifier__class_weight={HOSTILE: 2.0}))
    diagrams = {name: draw_diagram(pipeline, name) for name in ("linear", "scikit")}
    text = page_of(WHOLE, diagrams=diagrams)
    page, plain = Page(text), Page(page_of(WHOLE))

    assert Page(diagrams["linear"]).all("table")
    assert not re.search(r"https?:|//|@import|url\(", re.sub(r"base64,[\w+/=]+", "", text))
    assert {"script", "button", "iframe"}.isdisjoint(tag for tag, _ in page.elements)
    assert not any(name.startswith("on") for _, given in page.elements for name in given)
    assert page.text.count("alert(1)") == 2
    assert page.all("h2") == plain.all("h2")
    ids = [given["id"] for _, given in page.elements if "id" in given]
    assert len(ids) == len(set(ids))
    assert {given["for"] for given in page.all("label") if "for" in given} <= set(ids)
    assert text.count("<style>") == 2  # the page's and, once, scikit-learn's


def a_function_of_a_long_name(texts):
    return texts


def test_a_function_among_the_parameters_leaves_no_address():
    diagram = draw_diagram(make_pipeline(FunctionTransformer(a_function_of_a_long_name)), "m")

    assert "function a_" in diagram
    assert f"{id(a_function_of_a_long_name):x}" not in diagram
