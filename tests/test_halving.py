"""Successive halving: HalvingGridSearchCV's answers from our fits."""

import functools
import warnings

import numpy as np
import pytest
from sklearn.datasets import make_classification
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import HalvingGridSearchCV, KFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from neural_classifiers.search import parallel
from neural_classifiers.search.halving import halve
from neural_classifiers.search.plan import refit

X, Y = make_classification(n_samples=200, n_features=8, random_state=0)
GRID = {"max_depth": [1, 2, 4, None], "min_samples_leaf": [1, 3, 9], "criterion": ["gini"]}


@pytest.fixture(autouse=True)
def _quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def tree():
    return DecisionTreeClassifier(random_state=0)


SETTINGS = [
    {},
    {"factor": 2},
    {"min_resources": "smallest"},
    {"min_resources": 60, "aggressive_elimination": True},
    {"max_resources": 120, "cv": KFold(3, shuffle=True, random_state=1)},
    {"scoring": "roc_auc", "min_resources": 40},
    {"resource": "max_features", "max_resources": 8},
    {"resource": "max_features", "min_resources": 2, "max_resources": 8, "factor": 2},
]


@pytest.mark.parametrize("options", SETTINGS, ids=str)
def test_every_round_is_that_of_scikit_learn(options):
    ours = halve(tree(), GRID, X, Y, {}, namespace="tests", seed=7, **options)

    peer = HalvingGridSearchCV(tree(), GRID, random_state=7, return_train_score=False, **options)
    peer.fit(X, Y)
    assert [r.n_candidates for r in ours.rounds] == peer.n_candidates_
    assert [r.n_resources for r in ours.rounds] == peer.n_resources_
    table = ours.results.cv_results_
    assert [name for name in table if name not in ("shared_with", "error")] == list(
        peer.cv_results_
    )
    for name, expected in peer.cv_results_.items():
        if not name.endswith("_time"):
            assert np.array_equal(np.asarray(table[name]), np.asarray(expected)), name
    assert ours.results.best_index_ == peer.best_index_
    assert ours.results.best_params_ == peer.best_params_
    assert ours.results.best_score_ == peer.best_score_
    best = refit(ours.plan, ours.results)
    assert np.array_equal(best.predict_proba(X), peer.predict_proba(X))


def test_a_regressor_behind_a_transformer_is_halved_too():
    pipeline = Pipeline([("scaler", StandardScaler()), ("ridge", Ridge())])
    grid = {"ridge__alpha": [0.1, 1.0, 10.0, 100.0]}
    target = X @ np.arange(8.0)

    ours = halve(pipeline, grid, X, target, {}, namespace="tests")

    peer = HalvingGridSearchCV(pipeline, grid, random_state=0).fit(X, target)
    assert ours.results.best_params_ == peer.best_params_
    assert ours.results.best_score_ == peer.best_score_


def test_a_second_halving_makes_no_fit():
    store: dict[str, bytes] = {}
    halve(tree(), GRID, X, Y, store, namespace="tests")

    again = halve(tree(), GRID, X, Y, store, namespace="tests")

    assert sum(r.share.executed for r in again.rounds) == 0


def test_rounds_may_be_made_by_several_workers():
    fit = functools.partial(parallel.fit, workers="threads", n_workers=2)

    ours = halve(tree(), GRID, X, Y, {}, namespace="tests", fit=fit)

    alone = halve(tree(), GRID, X, Y, {}, namespace="tests")
    assert ours.results.best_params_ == alone.results.best_params_


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"factor": 1}, "factor: expected a number above 1"),
        ({"resource": "n_trees", "max_resources": 9}, "expected a parameter of Logistic.*n_trees"),
        ({"resource": "C", "max_resources": 9}, "one that the grid does not vary, got 'C'"),
        ({"resource": "max_iter"}, "max_resources: expected a number"),
        ({"min_resources": 300}, r"expected 1 to max_resources \(200\), got 300"),
        ({"scoring": ["accuracy"]}, "refit: expected"),
    ],
)
def test_what_cannot_be_halved_is_an_error_before_the_first_fit(options, message):
    store: dict[str, bytes] = {}
    with pytest.raises(ValueError, match=message):
        halve(LogisticRegression(), {"C": [1, 2, 3]}, X, Y, store, namespace="tests", **options)
    assert store == {}
