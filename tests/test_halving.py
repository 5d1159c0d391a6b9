"""Successive halving: HalvingGridSearchCV's answers from our fits."""

import functools
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from sklearn.datasets import make_classification
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import HalvingGridSearchCV, KFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from neural_classifiers.search.fits import fit
from neural_classifiers.search.halving import halve
from neural_classifiers.search.plan import plan_search
from neural_classifiers.search.results import refit

X, Y = make_classification(n_samples=200, n_features=8, random_state=0)
pytestmark = pytest.mark.filterwarnings("ignore")

GRID = {"max_depth": [1, 2, 4, None], "min_samples_leaf": [1, 3, 9], "criterion": ["gini"]}


def tree():
    return DecisionTreeClassifier(random_state=0)


def planned(estimator=None, grid=GRID, y=Y, **options):
    return plan_search(estimator or tree(), grid, X, y, namespace="tests", **options)


SETTINGS = [
    {},
    {"factor": 2},
    {"cv": KFold(3, shuffle=True, random_state=1)},
    {"scoring": "roc_auc", "factor": 4},
]


@pytest.mark.parametrize("options", SETTINGS, ids=str)
def test_every_round_is_that_of_scikit_learn(options):
    factor = options.get("factor", 3)
    plan = planned(**{name: value for name, value in options.items() if name != "factor"})

    ours = halve(plan, {}, factor=factor, seed=7)

    peer = HalvingGridSearchCV(tree(), GRID, random_state=7, return_train_score=False, **options)
    peer.fit(X, Y)
    table = ours.cv_results_
    assert list(table)[:-3] == list(peer.cv_results_)
    for name, expected in peer.cv_results_.items():
        if not name.endswith("_time"):
            assert np.array_equal(np.asarray(table[name]), np.asarray(expected)), name
    assert ours.best_index_ == peer.best_index_
    assert ours.best_params_ == peer.best_params_
    assert ours.best_score_ == peer.best_score_
    best = refit(plan, ours)
    assert np.array_equal(best.predict_proba(X), peer.predict_proba(X))


def test_a_regressor_behind_a_transformer_is_halved_too():
    pipeline = Pipeline([("scaler", StandardScaler()), ("ridge", Ridge())])
    grid = {"ridge__alpha": [0.1, 1.0, 10.0, 100.0]}
    target = X @ np.arange(8.0)

    ours = halve(planned(pipeline, grid, target), {})

    peer = HalvingGridSearchCV(pipeline, grid, random_state=0).fit(X, target)
    assert ours.best_params_ == peer.best_params_
    assert ours.best_score_ == peer.best_score_


def test_a_second_halving_makes_no_fit():
    store: dict[str, bytes] = {}
    halve(planned(), store)
    counts = []

    halve(planned(), store, fit=lambda plan, store: counts.append(fit(plan, store)))

    assert [one.executed for one in counts] == [0, 0, 0]  # 12 candidates, 4, 2


def test_rounds_may_be_made_by_several_workers():
    with ThreadPoolExecutor(2) as executor:
        ours = halve(planned(), {}, fit=functools.partial(fit, executor=executor))

    alone = halve(planned(), {})
    assert ours.best_params_ == alone.best_params_


def test_what_cannot_be_halved_is_an_error_before_the_first_fit():
    store: dict[str, bytes] = {}
    with pytest.raises(ValueError, match="factor: expected a number above 1"):
        halve(planned(), store, factor=1)
    few = plan_search(LogisticRegression(), {"C": [1, 2, 3]}, X[:12], Y[:12], namespace="", cv=4)
    with pytest.raises(ValueError, match="at least 16 rows for successive halving, got 12"):
        halve(few, store)
    assert store == {}
