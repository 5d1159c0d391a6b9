"""Scores against the notebook's printed figures, comparisons, and the words they allow."""

import json
import math
from itertools import combinations

import numpy as np
import pytest
from scipy.stats import binomtest

from neural_classifiers.judgement.choice import HeldOutScores, Price, best_and_cheapest
from neural_classifiers.judgement.names import percent
from neural_classifiers.judgement.scores import (
    Comparison,
    ModelComparison,
    Scores,
    compare_predictions,
    correct_by_holm,
    f1_macro_interval,
    score_predictions,
    wilson_interval,
)
from neural_classifiers.judgement.verdict import Judgement, comparison_in_words, digits_sentence
from neural_classifiers.search.candidates import rank_candidates

CLASSES = ["science_and_technology", "sports", "video_games"]
CONSTANT = [[0, 0, 36], [0, 0, 212], [0, 0, 652]]
SCIKIT = [[0, 10, 26], [0, 63, 149], [0, 40, 612]]  # notebook, rows actual, columns predicted
KERAS = [[0, 7, 29], [1, 31, 180], [2, 83, 567]]
GOOD = [[20, 6, 10], [5, 150, 57], [5, 30, 617]]  # 787 of 900 right


def answers(matrix):
    """Actual and predicted classes that have this confusion matrix."""
    cells = [(i, j) for i, row in enumerate(matrix) for j, n in enumerate(row) for _ in range(n)]
    actual, predicted = np.array(CLASSES)[np.array(cells).T]
    return actual, predicted


def compared(actual, answered):
    """Scores of models by their answers, and the comparison of every pair."""
    models = {name: score_predictions(actual, given, CLASSES) for name, given in answered.items()}
    comparisons = [
        ModelComparison(model=model, rival=rival, **found.model_dump())
        for rival, model in combinations(answered, 2)
        for found in [compare_predictions(actual, answered[model], answered[rival], seed=34)]
    ]
    return models, correct_by_holm(comparisons)


def held_out(models, comparisons):
    """The same as scores on training rows."""
    return HeldOutScores(
        n_rows=2100,
        accuracy={name: each.accuracy for name, each in models.items() if name != "serving"},
        f1_macro={name: each.f1_macro for name, each in models.items() if name != "serving"},
        comparisons=comparisons,
    )


def judged(training=None, prices=None, **matrices):
    """Models with these confusion matrices on the test rows, and on the training rows the same."""

    def of(matrices):
        each = {name: answers(matrix)[1] for name, matrix in matrices.items()}
        return compared(answers(CONSTANT)[0], each)

    trained = of(training) if training else of(matrices)
    return Judgement(*of(matrices), held_out(*trained), prices or {})


def comparison(
    p_value=1.0, won=0, lost=0, f1_macro_interval=(-0.1, 0.1), kappa=(0.3, 0.4), rival=(0.3, 0.4)
):
    return Comparison(
        n_rows=900,
        accuracy_difference=(won - lost) / 900,
        accuracy_interval=(-0.1, 0.1),
        f1_macro_difference=sum(f1_macro_interval) / 2,
        f1_macro_interval=f1_macro_interval,
        f1_macro_p_value=0.01 if math.prod(f1_macro_interval) > 0 else 1.0,
        kappa_interval=kappa,
        rival_kappa_interval=rival,
        won=won,
        lost=lost,
        p_value=p_value,
    )


@pytest.mark.parametrize(
    ("matrix", "printed", "f1_macro"),
    [(SCIKIT, (75.00, 69.47, 75.00, 70.75), 0.413), (KERAS, (66.44, 58.97, 66.44, 61.92), 0.327)],
)
def test_the_notebooks_matrices_give_the_figures_that_it_printed(matrix, printed, f1_macro):
    scores = score_predictions(*answers(matrix), CLASSES)

    found = (
        scores.accuracy,
        scores.precision_weighted,
        scores.recall_weighted,
        scores.f1_weighted,
    )
    assert tuple(round(100 * score, 2) for score in found) == printed
    assert round(scores.f1_macro, 3) == f1_macro
    assert scores.per_class["science_and_technology"].f1 == 0
    assert scores.per_class["science_and_technology"].support == 36
    assert [list(row) for row in scores.confusion_matrix] == matrix
    assert scores.labels == tuple(CLASSES)


def test_a_class_that_is_never_predicted_scores_zero_precision():
    scores = score_predictions(["a", "b"], ["a", "a"], ["a", "b"])

    assert scores.precision_weighted == pytest.approx(0.25)  # (0.5 for "a" + 0 for "b") / 2
    assert scores.per_class["b"].precision == 0


def test_classes_come_in_the_order_asked_for_and_absent_ones_score_zero():
    scores = score_predictions(["a", "b"], ["a", "b"], labels=["b", "c", "a"])

    assert scores.labels == ("b", "c", "a")
    assert scores.confusion_matrix == ((1, 0, 0), (0, 0, 0), (0, 0, 1))
    assert scores.f1_macro == pytest.approx(2 / 3)  # 1, 0 and 1


@pytest.mark.parametrize(
    ("y_true", "y_pred", "message"),
    [
        ([], [], r"\(0,\) and \(0,\)"),
        (["a", "b"], ["a"], r"\(2,\) and \(1,\)"),
        ([["a"]], [["a"]], r"\(1, 1\)"),
        (["a", "b"], ["a", "z"], "got also .'z'"),  # scikit-learn would drop the row
    ],
)
def test_what_cannot_be_scored_is_refused_with_what_came(y_true, y_pred, message):
    with pytest.raises(ValueError, match=message):
        score_predictions(y_true, y_pred, ["a", "b"])


def test_scores_go_through_json_unchanged():
    scores = score_predictions(*answers(SCIKIT), CLASSES)

    assert Scores.model_validate(json.loads(json.dumps(scores.as_dict()))) == scores
    assert (scores.n_correct, scores.n_rows) == (675, 900)


def test_the_wilson_interval_is_wilsons():
    p, n, z = 675 / 900, 900, 1.959964
    centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)

    assert wilson_interval(675, 900) == pytest.approx((centre - half, centre + half))
    assert wilson_interval(5, 5)[1] == 1  # certain of nothing below: 5 of 5 may be 57 %
    assert wilson_interval(5, 5)[0] == pytest.approx(5 / (5 + z**2))


def test_the_notebooks_winner_beats_the_constant_answer_by_chance_3_times_in_100():
    actual, scikit = answers(SCIKIT)
    found = compare_predictions(actual, scikit, np.full(900, "video_games"), seed=34)

    assert (found.won, found.lost, found.n_rows) == (63, 40, 900)
    assert round(found.p_value, 2) == 0.03
    assert found.accuracy_difference == pytest.approx(23 / 900)
    # 0.413 against (0 + 0 + 2 * 652 / (900 + 652)) / 3 = 0.280
    assert found.f1_macro_difference == pytest.approx(0.413 - 0.280, abs=0.001)


def test_the_bootstraps_agree_with_drawing_rows_one_by_one():
    from sklearn.metrics import accuracy_score, cohen_kappa_score, f1_score

    actual, a = answers(SCIKIT)
    _, b = answers(KERAS)
    found = compare_predictions(actual, a, b, seed=1)

    rng = np.random.default_rng(2)
    drawn = []
    for rows in rng.integers(0, 900, (200, 900)):
        accuracy, f1_macro, kappa = (
            [score(actual[rows], predicted[rows], **options) for predicted in (a, b)]
            for score, options in (
                (accuracy_score, {}),
                (f1_score, {"labels": CLASSES, "average": "macro", "zero_division": 0}),
                (cohen_kappa_score, {}),
            )
        )
        drawn.append(
            (accuracy[0] - accuracy[1], f1_macro[0] - f1_macro[1], f1_macro[0], kappa[0], kappa[1])
        )
    intervals = (
        found.accuracy_interval,
        found.f1_macro_interval,
        f1_macro_interval(actual, a),
        found.kappa_interval,
        found.rival_kappa_interval,
    )
    # 200 resamples place a bound to within about 0.3 points (one standard error).
    assert np.transpose(intervals) == pytest.approx(
        np.quantile(drawn, [0.025, 0.975], axis=0), abs=0.015
    )
    constant = compare_predictions(actual, a, answers(CONSTANT)[1], seed=1)
    assert constant.rival_kappa_interval == (0, 0)


def test_an_interval_narrows_with_more_rows():
    actual, predicted = answers(GOOD)
    low, high = f1_macro_interval(actual, predicted)
    narrow = f1_macro_interval(np.tile(actual, 4), np.tile(predicted, 4))
    assert narrow[1] - narrow[0] == pytest.approx((high - low) / 2, rel=0.1)  # root of 4


def test_a_comparison_depends_on_its_seed_and_not_on_the_order_of_rows():
    actual, a = answers(SCIKIT)
    _, b = answers(KERAS)
    order = np.random.default_rng(0).permutation(900)

    found = compare_predictions(actual, a, b, seed=1)
    assert compare_predictions(actual[order], a[order], b[order], seed=1) == found
    assert compare_predictions(actual, a, b, seed=2).f1_macro_interval != found.f1_macro_interval


def test_equal_predictions_are_no_difference_at_all():
    actual, a = answers(SCIKIT)
    found = compare_predictions(actual, a, a, seed=1)

    assert (found.won, found.lost, found.p_value) == (0, 0, 1.0)
    assert found.accuracy_interval == found.f1_macro_interval == (0, 0)
    assert (found.accuracy_standing, found.f1_macro_standing) == ("unclear", "unclear")


def test_rows_that_do_not_pair_are_refused():
    with pytest.raises(ValueError, match=r"\(2,\) and \(1,\)"):
        compare_predictions(["a", "b"], ["a", "b"], ["a"], seed=1)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (comparison(0.03, 63, 40), "better"),
        (comparison(0.03, 40, 63), "worse"),
        (comparison(0.5, 50, 45), "no difference that 900 comments could show"),
        (comparison(0.03, 63, 40, (0.1, 0.2)), "better"),
        (
            comparison(0.5, 50, 45, (0.1, 0.2)),
            "no difference in accuracy that 900 comments could show, but better at the rarer "
            "classes",
        ),
        (comparison(0.03, 40, 63, (0.1, 0.2)), "worse, but better at the rarer classes"),
        (comparison(0.03, 63, 40, (-0.2, -0.1)), "better, but worse at the rarer classes"),
        (comparison(0.03, 63, 40, (-0.2, -0.1), rival=(-0.1, 0.1)), "better"),  # than a coin
        (
            comparison(0.5, 50, 45, (0.1, 0.2), kappa=(-0.1, 0.1)),
            "no difference that 900 comments could show, and no better than guessing",
        ),
        (
            comparison(0.03, 40, 63, (0.1, 0.2), kappa=(-0.1, 0.1)),
            "worse, and no better than guessing",
        ),
    ],
)
def test_the_verdict_says_what_the_two_tests_allow(found, words):
    assert comparison_in_words(found) == words


def drawn(shares, n, seed):
    """Labels with these shares of CLASSES, the commonest always, and coins that answer them."""
    rng = np.random.default_rng(seed)
    actual = rng.choice(CLASSES, n, p=shares)
    constant = np.full(n, CLASSES[2])
    coins = {
        "uniform": rng.choice(CLASSES, n),
        "by class shares": rng.choice(CLASSES, n, p=shares),
        "mostly the commonest": np.where(rng.random(n) < 0.05, rng.choice(CLASSES, n), constant),
    }
    return actual, constant, coins


@pytest.mark.parametrize("shares", [(1 / 3, 1 / 3, 1 / 3), (0.1, 0.3, 0.6), (0.04, 0.236, 0.724)])
def test_a_coin_is_neither_recommended_nor_called_better_than_the_constant_answer(shares):
    recommended, called_better = [], []
    for seed in range(100):
        actual, constant, coins = drawn(shares, 900, seed)
        models = {"constant": score_predictions(actual, constant, CLASSES)}
        for coin in coins.values():
            models["scikit"] = score_predictions(actual, coin, CLASSES)
            found = compare_predictions(actual, coin, constant, seed=0, n_resamples=400)
            named = ModelComparison(model="scikit", rival="constant", **found.model_dump())
            judgement = Judgement(models, [named], held_out(models, [named]))
            recommended.append(judgement.recommended == "scikit")
            called_better.append("better" in comparison_in_words(found).replace("no better", ""))

    # Of 300 coins, each mistaken once in 40 times by a test, 12 or fewer are in 95 % of cases;
    # the table calls better what either of two tests does
    assert sum(recommended) <= 12
    assert sum(called_better) <= 22


def test_a_coin_beats_no_model_that_hardly_knows_more():
    # the linear model is right for 37 % where a third is by chance, and never answers one class
    actual, constant, coins = drawn((1 / 3, 1 / 3, 1 / 3), 900, seed=2)
    rng = np.random.default_rng(3)
    linear = np.where(rng.random(900) < 0.1, actual, rng.choice(CLASSES[1:], 900))
    answered = {"constant": constant, "linear": linear, "scikit": coins["uniform"]}
    models, comparisons = compared(actual, answered)
    judgement = Judgement(models, comparisons, held_out(models, comparisons))

    assert judgement.recommended == "linear"
    told = judgement.sentences()
    assert any(
        sentence.startswith("The scikit-learn network (")
        and "is not shown to be better than guessing" in sentence
        for sentence in told
    )


BALANCED = [[26, 5, 5], [20, 150, 42], [85, 117, 450]]  # 626 of 900 right, the constant 652
RARER = [[26, 5, 5], [30, 140, 42], [105, 117, 430]]  # 596
NEARLY = [[19, 7, 10], [5, 151, 56], [5, 29, 618]]  # of GOOD one right answer more, one less
BEST = [[24, 4, 8], [4, 170, 38], [4, 18, 630]]  # 824


@pytest.mark.parametrize(
    ("matrices", "recommended", "phrases"),
    [
        (  # of unequal classes a model may be less often right and still be of use
            {"linear": BALANCED, "scikit": CONSTANT},
            "linear",
            [
                "Use the linear model: it is right for 69.6",
                "It is not told apart from always answering “video_games” (72.4",
                "by right answers, but better at the rarer classes",
            ],
        ),
        (  # where it is clearly less often right it is said for whom it is
            {"linear": RARER},
            "linear",
            [
                "Use the linear model if every class matters to you: it is right",
                "It is less often right than always answering “video_games” (72.4",
            ],
        ),
        (
            {"linear": SCIKIT, "scikit": GOOD, "keras": KERAS},
            "scikit",
            [
                f"Use the scikit-learn network: it is right for {percent(787 / 900)} of 900 test "
                "comments.",
                "It is better than always answering “video_games”",
                "the linear model (75.0\N{NO-BREAK SPACE}%)",
            ],
        ),
        (  # the difference is noise
            {"linear": NEARLY, "scikit": GOOD, "keras": GOOD},
            "linear",
            [
                "It is better than always answering “video_games” (72.4\N{NO-BREAK SPACE}%); "
                "not told apart from the scikit-learn network (",
                "and the Keras network (",
            ],
        ),
        (
            {"linear": GOOD, "scikit": SCIKIT, "keras": KERAS},
            "linear",
            [
                "It is better than always answering “video_games”",
                "the scikit-learn network (75.0",
                "The Keras network (66.4\N{NO-BREAK SPACE}%) is worse than always answering",
            ],
        ),
        (
            {"linear": GOOD, "keras": KERAS, "keras_improved": BEST},
            "keras_improved",
            ["Use the improved Keras network: it is right for 91.6", "the linear model (87.4"],
        ),
        (  # a network must also beat the linear model with the same means
            {"linear": SCIKIT, "linear_improved": GOOD, "keras_improved": GOOD},
            "linear_improved",
            ["Use the improved linear model"],
        ),
        (
            {"linear": SCIKIT, "linear_improved": GOOD, "keras_improved": BEST},
            "keras_improved",
            ["Use the improved Keras network"],
        ),
        (
            {"linear": BEST, "scikit_improved": GOOD},
            "linear",
            ["It is better than", "the improved scikit-learn network (87.4"],
        ),
        (  # the serving model is held against it and never recommended: it stands
            {"linear": GOOD, "serving": SCIKIT},
            "linear",
            ["It is better than the one that serves now (75.0"],
        ),
        (
            {"linear": GOOD, "serving": GOOD},
            "linear",
            ["It is not told apart from the one that serves now (87.4"],
        ),
        (
            {"linear": GOOD, "serving": BEST},
            "linear",
            ["It is worse than the one that serves now (91.6"],
        ),
        (
            {"linear": CONSTANT, "keras": KERAS},
            "constant",
            [
                "Use none of these models: always answering “video_games” is right",
                "nothing here is shown to beat it",
            ],
        ),
        (
            {"scikit": SCIKIT, "keras": KERAS},
            "scikit",
            ["Weakest class: of 36 “science_and_technology” comments no model finds any."],
        ),
        (
            {"linear": GOOD, "scikit": SCIKIT},
            "linear",
            [
                "Weakest class: of 36 “science_and_technology” comments the linear model finds 20 "
                "and the scikit-learn network finds none.",
            ],
        ),
        (  # what failed is named, the others are judged
            {"scikit": GOOD},
            "scikit",
            ["Not judged in this run: the linear model and Keras network."],
        ),
    ],
)
def test_the_sentences_say_what_to_use_and_how_it_stands(matrices, recommended, phrases):
    judgement = judged(constant=CONSTANT, **matrices)
    told = " ".join(judgement.sentences())

    assert judgement.recommended == recommended
    places = [told.index(phrase) for phrase in phrases]
    assert places == sorted(places)


def test_without_the_constant_answer_the_rest_is_still_judged():
    told = judged(linear=GOOD, keras=KERAS).sentences()

    assert told[0].startswith("Use the linear model")
    assert "better than the Keras network" in told[2]


def test_without_comparisons_figures_are_given_and_nothing_is_claimed():
    both = judged(linear=SCIKIT, keras=KERAS)

    told = Judgement(both.models, [], both.held_out).sentences()
    assert told[2] == "It is not compared with the Keras network (66.4\N{NO-BREAK SPACE}%)."


def test_a_comparison_serves_either_way_round():
    judgement = judged(keras=KERAS, scikit=SCIKIT, linear=GOOD, constant=CONSTANT)

    assert judgement.sentences()[0].startswith("Use the linear model")


SAME = {"constant": CONSTANT, "linear": NEARLY, "keras": GOOD}  # the last two not told apart


@pytest.mark.parametrize(
    ("models", "cost", "best", "chosen"),
    [
        (SAME, {}, "keras", "linear"),  # the simpler
        (SAME, {"linear": (1.9, 60), "keras": (1.0, 31)}, "keras", "linear"),  # prices alike
        (SAME, {"linear": (2.1, 1), "keras": (1.0, 60)}, "keras", "keras"),  # answers faster
        (SAME, {"linear": (1.0, 63), "keras": (1.9, 31)}, "keras", "keras"),  # trained faster
        (SAME | {"scikit": BEST}, {"scikit": (9, 99), "keras": (1, 1)}, "scikit", "scikit"),
        ({"linear": CONSTANT, "constant": CONSTANT}, {}, None, None),
    ],
)
def test_the_cheapest_model_that_is_not_shown_worse_than_the_best_is_chosen(
    models, cost, best, chosen
):
    prices = {
        name: Price(ms_per_text=ms, megabytes=1, training_s=s) for name, (ms, s) in cost.items()
    }
    found = best_and_cheapest(judged(**models).held_out, prices)

    assert found == (chosen and (best, chosen))


@pytest.mark.parametrize(
    ("on_test", "recommended", "first", "second"),
    [
        ({"linear": GOOD, "keras": KERAS}, "linear", "Use the linear model", "confirm it"),
        (
            {"linear": SCIKIT, "keras": GOOD},
            None,
            "Use none of these models before new comments have judged them: 900 test comments show "
            "the Keras network (87.4",
            "refuse it",
        ),
        (
            {"linear": CONSTANT, "keras": KERAS},
            "constant",
            "Use none of these models: 900 test comments do not show that the linear model (72.4",
            "refuse it",
        ),
    ],
)
def test_the_test_comments_confirm_or_refuse_what_the_training_comments_chose(
    on_test, recommended, first, second
):
    training = {"constant": CONSTANT, "linear": GOOD, "keras": KERAS}
    judgement = judged(training, constant=CONSTANT, **on_test)

    assert judgement.chosen == "linear"
    assert judgement.recommended == recommended
    assert judgement.sentences()[0].startswith(first)
    assert "2,100 training comments, as the best there" in judgement.sentences()[1]
    assert second in judgement.sentences()[1]
    assert "3 pairs by Holm" in judgement.sentences()[1]


def test_p_values_are_corrected_for_their_number_the_smallest_most():
    # Holm by hand: .01 x 4; max(.04, .02 x 3); then .04 x 2; then .3 x 1
    p_values = [0.04, 0.01, 0.3, 0.02]
    found = correct_by_holm([comparison(p, 20, 10, (0.1, 0.2)) for p in p_values])

    assert [c.p_value for c in found] == pytest.approx([0.08, 0.04, 0.3, 0.06])
    assert [c.f1_macro_p_value for c in found] == pytest.approx([0.04] * 4)  # .01 x 4 each
    assert {c.level for c in found} == {0.05 / 3}  # one is shown, three are left
    assert correct_by_holm([]) == []


@pytest.mark.parametrize(("won", "lost"), [(50, 45), (3, 1), (0, 0), (300, 295)])
def test_a_difference_is_shown_from_the_smallest_that_can_be_shown_on(won, lost):
    c = comparison(1.0, won, lost)
    n = max(won + lost, 6)  # 2 / 2^6 is the first below 5 %
    shown = round(c.smallest_shown * 900)
    k = (n + shown) // 2

    assert binomtest(k, n).pvalue < 0.05 <= binomtest(k - 1, n).pvalue


def test_digits_have_a_sentence():
    assert digits_sentence({"notebook": 0.9730}, n_digits=10_000) == (
        "Of 10,000 unseen digits the notebook network reads 97.3\N{NO-BREAK SPACE}% correctly."
    )


def test_a_run_that_judged_nothing_says_so():
    assert Judgement({}, []).sentences() == ["No model could be judged on the comments."]


def test_candidates_are_listed_best_first_with_short_names_and_plain_values():
    listed = rank_candidates(
        {
            "param_mlp__solver": np.ma.masked_array(["adam", "sgd", "lbfgs"], dtype=object),
            "param_mlp__alpha": np.array([1e-4, 1e-5, 1e-4]),
            "mean_test_score": np.array([0.70, 0.75, 0.75]),
            "std_test_score": np.array([0.01, 0.02, 0.02]),
            "rank_test_score": np.array([3, 1, 1], dtype=np.int32),
            "fitted_as": [0, 1, 1],
        }
    )

    assert [c.params["solver"] for c in listed] == ["sgd", "lbfgs", "adam"]
    assert [(c.rank, c.number, c.fitted_as) for c in listed] == [(1, 2, 2), (1, 3, 2), (3, 1, 1)]
    assert json.loads(json.dumps([c.as_dict() for c in listed]))[0]["params"]["alpha"] == 1e-5


def test_the_candidates_of_a_grid_search_are_its_own():
    from sklearn.datasets import load_iris
    from sklearn.model_selection import GridSearchCV
    from sklearn.tree import DecisionTreeClassifier

    tree = DecisionTreeClassifier(random_state=34)
    search = GridSearchCV(tree, {"max_depth": [1, 3], "class_weight": [None, "balanced"]})
    search.fit(*load_iris(return_X_y=True))

    best = rank_candidates(search.cv_results_, limit=1)[0]
    assert best.params == search.best_params_
    assert best.mean == search.best_score_
    assert best.fitted_as == best.number == search.best_index_ + 1


def test_equal_names_keep_their_step_and_missing_parameters_are_left_out():
    columns = {
        "param_a__alpha": [1, 2],
        "param_b__alpha": np.ma.masked_array([3, 4], mask=[False, True]),
        "param_b__sizes": [np.array([20, 10]), [20]],  # as Parquet reads a list
        "mean_test_score": [0.5, math.nan],
        "std_test_score": [0.1, math.nan],
        "rank_test_score": [1, 2],
    }

    first, last = rank_candidates(columns)
    assert first.params == {"a__alpha": 1, "b__alpha": 3, "sizes": [20, 10]}
    assert last.params == {"a__alpha": 2, "sizes": [20]}
    assert math.isnan(last.mean)


def test_a_grid_without_ranks_is_refused():
    with pytest.raises(ValueError, match=r"missing .'rank_test_score'"):
        rank_candidates({"mean_test_score": [0.5], "std_test_score": [0.1]})
