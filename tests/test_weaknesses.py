"""What a single score hides, on answers whose truth is known."""

import numpy as np
import pytest

from neural_classifiers.comments.models.pipelines import linear_grid, linear_pipeline
from neural_classifiers.judgement import weaknesses
from neural_classifiers.judgement.calibration import Calibrated

WORDS = {
    "games": "boss level quest loot",
    "science": "atom cell star",
    "sports": "goal match coach",
}


def texts(n=40, seed=1):
    """Comments of three classes, each with two words of its class."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(sorted(WORDS), n)
    made = [
        " ".join([*rng.choice(WORDS[label].split(), 2), f"no{rng.integers(9)}"]) for label in labels
    ]
    order = rng.permutation(len(labels))
    return [made[i] for i in order], labels[order]


def test_slices_part_the_comments_by_length_link_and_file():
    raw = ["a" * 10, "b" * 20, "see https://x.y for it", "c" * 40, "d" * 50, "[e](/f)" + "e" * 60]
    slices = weaknesses.slices_of(raw, ["one.csv"] * 3 + ["two.csv"] * 3)

    assert np.sum([r for name, r in slices.items() if "characters" in name], axis=0).tolist() == (
        [1] * 6
    )
    assert slices["with a link"].tolist() == [False, False, True, False, False, True]
    assert slices["from two.csv"].tolist() == [False] * 3 + [True] * 3
    assert not any("from" in name for name in weaknesses.slices_of(raw, ["one.csv"] * 6))
    assert "with a link" not in weaknesses.slices_of(raw[:2], ["", ""])


def test_a_slice_is_weaker_where_its_interval_lies_below_the_whole():
    actual = np.array(["a"] * 300)
    answers = np.where(np.arange(300) < 60, "b", "a")  # the first 60 are wrong: 80 % right
    slices = {"first": np.arange(300) < 100, "rest": np.arange(300) >= 100}

    first, rest = weaknesses.score_slices(slices, actual, {"model": answers})
    assert first.models["model"].accuracy == pytest.approx(0.4)
    assert first.models["model"].is_weaker
    assert not rest.models["model"].is_weaker
    assert (first.rows, rest.rows) == (100, 200)


def test_the_surest_mistake_comes_first_and_right_answers_never():
    chances = np.array([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7], [0.6, 0.4]])
    actual = np.array(["b", "b", "a", "b"])

    def mistakes(predicted):
        given = list("wxyz"), actual, np.array(predicted), chances, ["a", "b"]
        return weaknesses.surest_mistakes(*given)

    found = mistakes(["a", "b", "b", "a"])
    assert [(m.row, m.txt, m.predicted) for m in found] == [
        (0, "w", "a"),
        (2, "y", "b"),
        (3, "z", "a"),
    ]
    assert (found[0].p_actual, found[0].p_predicted) == (0.1, 0.9)
    # what was answered counts, not the likeliest
    assert [(m.row, m.p_predicted) for m in mistakes(["b"] * 4)] == [(2, 0.7)]


@pytest.mark.parametrize("grid", linear_grid(), ids=lambda g: str(g["classifier"][0]))
def test_the_words_of_each_class_decide_for_it(grid):
    X, y = texts()
    pipeline = linear_pipeline().set_params(
        classifier=grid["classifier"][0], features__characters=grid["features__characters"][1]
    )
    fitted = pipeline.fit(X, y)
    fitted.steps[-1] = ("classifier", Calibrated(fitted[-1], 2.0))

    words = weaknesses.deciding_words(fitted)
    assert set(words) == set(WORDS)
    assert all(set(found[:3]) <= set(WORDS[label].split()) for label, found in words.items())
    assert all(3 <= len(found) <= 10 for found in words.values())


def test_of_two_classes_each_has_its_words():
    X, y = texts()
    rows = np.flatnonzero(y != "games")
    fitted = linear_pipeline().fit([X[i] for i in rows], y[rows])

    words = weaknesses.deciding_words(fitted)
    assert set(words["sports"][:2]) <= set(WORDS["sports"].split())
    assert set(words["science"][:2]) <= set(WORDS["science"].split())


def test_an_answer_hangs_on_the_word_that_carries_it():
    X, y = texts()
    fitted = linear_pipeline().set_params(classifier__C=10.0).fit(X, y)

    column = fitted.classes_.tolist().index("sports")
    probability, words = weaknesses.occlusion(
        fitted.predict_proba, "goal nobody goal knows", column
    )
    assert probability > 0.5
    assert words[0][0] == "goal"  # both of them go
    assert words[0][1] > 0.2
    assert words[1][1] == pytest.approx(0)


def test_labels_that_were_turned_are_suspected():
    rng = np.random.default_rng(1)
    truth = rng.integers(3, size=600)
    chances = np.full((600, 3), 0.05)
    chances[np.arange(600), truth] = 0.9
    labels = truth.copy()
    labels[:12] = (truth[:12] + 1) % 3
    names = np.array(["a", "b", "c"])

    assert sorted(weaknesses.suspected_labels(names[labels].tolist(), chances, names.tolist())) == (
        list(range(12))
    )
    assert weaknesses.suspected_labels(names[truth].tolist(), chances, names.tolist()) == []


def test_the_learning_curve_rises_where_more_comments_help():
    X, y = texts(60)
    curve = weaknesses.learning_curve(linear_pipeline(), X, y, folds=3, seed=1)

    assert [point.rows for point in curve] == [12, 24, 48, 84, 120]
    assert curve[-1].f1_macro > 0.95
    assert weaknesses.learning_curve(linear_pipeline(), X, y, folds=3, seed=1) == curve
    rare = np.array(["a"] * 97 + ["b"] * 3)  # a tenth of the rows may lack class b
    short = weaknesses.learning_curve(linear_pipeline(), X[:100], rare, folds=3, seed=1)
    assert len(short) < 5


def point(rows, f1, error=0.005, slope=0.01):
    """Of four folds, whose gains per doubling differ by the slope."""
    return weaknesses.CurvePoint(
        rows=rows, accuracy=f1, accuracy_error=error, f1_macro=f1, f1_macro_error=error,
        f1_macro_of_folds=[f1 + (each - 1.5) * slope * np.log2(rows / 100) for each in range(4)],
    )  # fmt: skip


def test_whether_more_data_would_help_is_said_in_words():
    rising = [point(100, 0.40), point(200, 0.50), point(400, 0.60)]
    flat = [point(n, 0.6, slope=0.001) for n in (100, 200, 400)]

    # folds gain .10 - .015, .10 - .005 ...: standard deviation .0129, error .0065, t(3) 3.18
    told = weaknesses.more_data(rising, 500)
    assert "+0.100 (+0.079 to +0.121) for twice as many. So more comments" in told
    assert "would bring little" in weaknesses.more_data(flat, 500)
    unsure = [point(n, f1, slope=0.1) for n, f1 in ((100, 0.40), (200, 0.50), (400, 0.60))]
    assert "these folds do not show" in weaknesses.more_data(unsure, 500)
    of_sample = weaknesses.more_data(rising, 105_000)
    assert "what more than those would bring, this does not show" in of_sample
    assert "all 105,000" in of_sample
    assert weaknesses.more_data(rising[:2], 500) == ""
