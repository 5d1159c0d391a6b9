"""Scores against the notebook's printed figures; comparisons against arithmetic."""

import numpy as np
import pytest
from scipy.stats import binomtest

from neural_classifiers.scores import (
    ModelComparison,
    compare_predictions,
    rank_candidates,
    recommend_model,
    score_predictions,
    verdict,
    verdict_sentences,
    wilson_interval,
)

LABELS = ["science_and_technology", "sports", "video_games"]
SCIKIT = [[0, 10, 26], [0, 63, 149], [0, 40, 612]]  # printed by the notebook
KERAS = [[0, 7, 29], [1, 31, 180], [2, 83, 567]]
GAMES = [[0, 0, 36], [0, 0, 212], [0, 0, 652]]


def rows_of(matrix) -> tuple[np.ndarray, np.ndarray]:
    """Actual and predicted classes that give a confusion matrix."""
    pairs = [
        (LABELS[i], LABELS[j]) for i in range(3) for j in range(3) for _ in range(matrix[i][j])
    ]
    actual, predicted = zip(*pairs, strict=True)
    return np.array(actual), np.array(predicted)


@pytest.mark.parametrize(
    ("matrix", "printed", "f1_macro"),
    [
        (SCIKIT, (0.7500, 0.6947, 0.7500, 0.7075), 0.413),
        (KERAS, (0.6644, 0.5897, 0.6644, 0.6192), 0.327),
    ],
    ids=["scikit", "keras"],
)
def test_the_notebooks_matrices_give_the_scores_that_it_printed(matrix, printed, f1_macro):
    scores = score_predictions(*rows_of(matrix), LABELS)

    assert scores.accuracy == pytest.approx(printed[0], abs=5e-5)
    assert scores.precision_weighted == pytest.approx(printed[1], abs=5e-5)
    assert scores.recall_weighted == pytest.approx(printed[2], abs=5e-5)
    assert scores.f1_weighted == pytest.approx(printed[3], abs=5e-5)
    assert scores.f1_macro == pytest.approx(f1_macro, abs=5e-4)
    assert scores.per_class["science_and_technology"].f1 == 0
    assert [list(row) for row in scores.confusion_matrix] == matrix


def test_a_class_that_is_never_predicted_scores_zero_precision():
    scores = score_predictions(np.array(["a", "b"]), np.array(["a", "a"]))

    assert scores.precision_weighted == pytest.approx(0.25)  # (0.5 for "a" + 0 for "b") / 2
    assert scores.per_class["b"].precision == 0


def test_the_comparison_is_the_exact_test_on_won_and_lost():
    """63 comments won and 40 lost: the notebook's network against the constant answer."""
    actual = np.array(["a"] * 63 + ["b"] * 40 + ["c"] * 797)
    ours = np.array(["a"] * 63 + ["c"] * 40 + ["c"] * 797)
    theirs = np.array(["c"] * 63 + ["b"] * 40 + ["c"] * 797)
    found = compare_predictions(actual, ours, theirs, seed=1)

    assert (found.won, found.lost, found.n_rows) == (63, 40, 900)
    assert found.p_value == pytest.approx(binomtest(63, 103).pvalue)
    assert round(found.p_value, 2) == 0.03
    assert found.accuracy_difference == pytest.approx(23 / 900)
    low, high = found.accuracy_interval
    # normal approximation of a paired difference: standard error sqrt(103 - 23**2 / 900) / 900
    error = 1.96 * np.sqrt(103 - 23**2 / 900) / 900
    assert low == pytest.approx(23 / 900 - error, abs=0.002)
    assert high == pytest.approx(23 / 900 + error, abs=0.002)
    assert verdict(found).startswith("better")


def test_equal_predictions_are_no_difference():
    actual = np.array(["a", "b"] * 20)
    found = compare_predictions(actual, actual, actual, seed=1)

    assert (found.won, found.lost, found.p_value, found.accuracy_difference) == (0, 0, 1.0, 0.0)
    assert verdict(found) == "no difference that 40 comments could show"


def test_predictions_of_another_length_are_refused():
    with pytest.raises(ValueError, match="one shape"):
        compare_predictions(["a", "b"], ["a"], ["a", "b"], seed=1)


def test_the_interval_is_wilsons():
    # n = 100, 75 right, z = 1.96: centre (75 + z²/2) / (100 + z²), from the formula
    z = 1.959964
    centre = (75 + z**2 / 2) / (100 + z**2)
    half = z * np.sqrt(0.75 * 0.25 / 100 + z**2 / 40000) / (1 + z**2 / 100)
    assert wilson_interval(75, 100) == pytest.approx((centre - half, centre + half), abs=1e-5)


def against(model: str, rival: str, p: float, won: int, lost: int) -> ModelComparison:
    difference = (won - lost) / 900
    return ModelComparison(
        model=model,
        rival=rival,
        n_rows=900,
        accuracy_difference=difference,
        accuracy_interval=(difference - 0.01, difference + 0.01),
        f1_macro_difference=0.0,
        f1_macro_interval=(-0.01, 0.01),
        won=won,
        lost=lost,
        p_value=p,
    )


MODELS = {
    "constant": score_predictions(*rows_of(GAMES), LABELS),
    "linear": score_predictions(*rows_of(SCIKIT), LABELS),
    "keras": score_predictions(*rows_of(KERAS), LABELS),
}


def test_a_network_that_is_only_as_good_as_the_linear_model_is_not_recommended():
    noise = [
        against("linear", "constant", 0.03, 63, 40),
        against("keras", "constant", 0.01, 80, 40),
        against("keras", "linear", 0.4, 30, 25),
    ]
    assert recommend_model(MODELS, noise) == "linear"
    real = [*noise[:2], against("keras", "linear", 0.001, 60, 20)]
    assert recommend_model(MODELS, real) == "keras"


def test_what_is_worse_than_the_constant_answer_is_told():
    told = " ".join(
        verdict_sentences(
            MODELS,
            [
                against("linear", "constant", 0.03, 63, 40),
                against("keras", "constant", 0.0001, 31, 85),
                against("keras", "linear", 0.0001, 20, 97),
            ],
        )
    )
    assert "Use the linear model" in told
    assert "The Keras network (66.4\N{NO-BREAK SPACE}%) is worse than always answering" in told
    assert "“science_and_technology”" in told  # the class that neither finds
    assert "Not judged in this run: the scikit-learn network" in told


def test_when_nothing_beats_the_constant_answer_it_says_use_none():
    [first, *_] = verdict_sentences(
        MODELS,
        [against("linear", "constant", 0.5, 5, 4), against("keras", "constant", 0.5, 4, 5)],
    )
    assert first.startswith("Use none of these models: always answering “video_games”")


def test_digits_alone_have_their_sentence():
    assert verdict_sentences(digits_accuracy=0.9676, n_digits=10_000) == (
        "The digits network reads 96.8\N{NO-BREAK SPACE}% of 10,000 unseen digits correctly.",
    )
    assert verdict_sentences({}) == ("No model could be judged on the comments.",)


def test_candidates_are_ranked_best_first_with_names_without_prefixes():
    table = {
        "param_mlp__alpha": [1e-4, 1e-5, 1e-6],
        "mean_test_score": [0.7, 0.8, 0.7],
        "std_test_score": [0.0, 0.1, 0.0],
        "rank_test_score": [2, 1, 2],
        "fitted_as": [0, 1, 0],
    }
    best, second, third = rank_candidates(table)

    assert (best.params, best.rank, best.number) == ({"alpha": 1e-5}, 1, 2)
    assert (second.fitted_as, third.fitted_as) == (1, 1)
    assert [c.number for c in rank_candidates(table, limit=1)] == [2]
