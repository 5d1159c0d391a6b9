"""The grid search: GridSearchCV's answers, and no fit made twice."""

import io

import numpy as np
import pandas as pd
import pytest
from conftest import COMMON, WORDS
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.datasets import make_regression
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline
from sklearn.svm import LinearSVC

from neural_classifiers.comments.models import grids, pipelines
from neural_classifiers.search import answers
from neural_classifiers.search.fits import FitCounts, fit
from neural_classifiers.search.plan import plan_search
from neural_classifiers.search.results import collect, refit

pytestmark = pytest.mark.filterwarnings("ignore")  # networks of a few steps need not converge


def write_comments():
    """Sixty comments of three unequal classes, in which some words tell and most do not."""
    rng = np.random.default_rng(0)
    words = dict(zip(("science", "sports", "games"), WORDS.values(), strict=True))
    labels = rng.permutation(["games"] * 30 + ["sports"] * 20 + ["science"] * 10)
    comments = [
        " ".join([*rng.choice(COMMON[:7], 4), *rng.choice(words[label], rng.integers(0, 3))])
        for label in labels
    ]
    return comments, labels


X, Y = write_comments()

SMALL_GRID = {
    "mlp__activation": ["relu", "logistic"],
    "mlp__solver": ["sgd", "adam", "lbfgs"],
    "mlp__learning_rate": ["constant", "invscaling"],
    "mlp__alpha": [1e-4, 1e-1],
}  # 24 candidates; learning_rate idles in 16 of them, so 24 - 8 = 16 differ
N_SMALL, N_SMALL_DISTINCT = 24, 16


@pytest.fixture(scope="module")
def small():
    """The small grid, searched by us."""
    return run(small_pipeline(), SMALL_GRID)


@pytest.fixture(scope="module")
def small_peer():
    """The small grid, searched by scikit-learn."""
    return GridSearchCV(small_pipeline(), SMALL_GRID, cv=5).fit(X, Y)


def small_pipeline():
    network = MLPClassifier((6, 2), random_state=34, max_iter=5)
    return Pipeline([("tfidf", TfidfVectorizer()), ("mlp", network)])


def linear_pipeline():
    return Pipeline([("tfidf", TfidfVectorizer()), ("linear", LogisticRegression())])


def run(estimator, grid, X=X, y=Y, store=None, **options):
    """The whole search in this process: plan, results and counts."""
    store = {} if store is None else store
    planned = plan_search(estimator, grid, X, y, **{"namespace": "tests"} | options)
    counts = fit(planned, store)
    return planned, collect(planned, store), counts


def assert_same_results(ours, peer):
    """All of GridSearchCV's columns but the times, to the last digit, in its order."""
    theirs = peer.cv_results_
    own = {"shared_with", "error", "fitted_as"}
    assert [name for name in ours.cv_results_ if name not in own] == list(theirs)
    for name, expected in theirs.items():
        got = ours.cv_results_[name]
        if name == "params":
            assert got == expected
        elif name.startswith("param_"):
            assert got.dtype == expected.dtype
            assert got.mask.tolist() == expected.mask.tolist()
            assert got.tolist() == expected.tolist()
        elif not name.endswith("_time"):
            assert got.dtype == expected.dtype, name
            assert np.array_equal(got, expected, equal_nan=True), name
    for name in ("best_index_", "best_params_", "best_score_"):
        assert getattr(ours, name) == getattr(peer, name, None)


# --- the same answers ---------------------------------------------------------------------


def test_scores_ranks_and_winner_are_those_of_grid_search_cv(small, small_peer):
    planned, ours, counts = small

    assert_same_results(ours, small_peer)
    assert len(planned.candidates) == N_SMALL
    assert counts == FitCounts(
        executed=N_SMALL_DISTINCT * 5, stored=0, trainings=N_SMALL_DISTINCT * 5
    )


def test_the_notebooks_grid_has_108_candidates_of_which_60_differ():
    planned = plan_search(pipelines.scikit_pipeline(34), grids.SCIKIT_GRID, X, Y, namespace="tests")

    # 4 activations x 3 alphas x (lbfgs 1 + adam 1 + sgd 3 learning rates)
    assert (len(planned.candidates), len(planned.distinct)) == (108, 60)


def test_the_refitted_estimator_is_that_of_grid_search_cv(small, small_peer):
    planned, ours, _ = small

    best = refit(planned, ours)

    weights, expected = (fitted[-1].coefs_ for fitted in (best, small_peer.best_estimator_))
    assert all(np.array_equal(a, b) for a, b in zip(weights, expected, strict=True))
    assert best.predict(X).tolist() == small_peer.predict(X).tolist()


def fraction_of_sure(estimator, X, y):
    """A scorer of one's own."""
    return float((estimator.predict_proba(X).max(axis=1) > 0.4).mean())


SCORINGS = [
    "f1_macro",
    "balanced_accuracy",
    "neg_log_loss",
    "roc_auc_ovr",
    "matthews_corrcoef",
    "top_k_accuracy",
    fraction_of_sure,
]


@pytest.mark.parametrize("scoring", SCORINGS, ids=lambda s: getattr(s, "__name__", str(s)))
def test_another_scoring_gives_grid_search_cvs_scores_and_trains_nothing(scoring):
    grid = {"linear__C": [0.1, 1.0, 10.0]}
    store = {}
    run(linear_pipeline(), grid, store=store, scoring="accuracy")

    _, ours, counts = run(linear_pipeline(), grid, store=store, scoring=scoring)

    assert (counts.executed, counts.stored) == (0, 15)
    peer = GridSearchCV(linear_pipeline(), grid, scoring=scoring).fit(X, Y)
    assert_same_results(ours, peer)


def test_decision_values_serve_estimators_without_probabilities():
    estimator = Pipeline([("tfidf", TfidfVectorizer()), ("svm", LinearSVC(random_state=0))])
    two = [label if label == "sports" else "other" for label in Y]
    grid = {"svm__C": [0.1, 1.0]}

    _, ours, _ = run(estimator, grid, y=two, scoring="roc_auc")

    assert_same_results(ours, GridSearchCV(estimator, grid, scoring="roc_auc").fit(X, two))


def test_a_regressor_on_any_array_is_searched_too():
    features, target = make_regression(n_samples=30, n_features=3, noise=5, random_state=0)
    grid = [{"alpha": [0.1, 1.0]}, {"alpha": [0.5], "fit_intercept": [False]}]
    cv = KFold(3, shuffle=True, random_state=1)

    _, ours, _ = run(Ridge(), grid, X=features, y=target, cv=cv)

    assert_same_results(ours, GridSearchCV(Ridge(), grid, cv=cv).fit(features, target))


def test_a_data_frame_keeps_its_columns():
    frame = pd.DataFrame({"a": np.arange(40.0), "b": np.tile([0.0, 1.0], 20)})
    y = np.repeat(["x", "y"], 20)

    _, ours, _ = run(LogisticRegression(), {"C": [0.1, 1.0]}, X=frame, y=y)

    assert_same_results(ours, GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0]}).fit(frame, y))


def test_bare_names_mean_the_last_step_and_come_back_bare():
    store = {}
    _, full, _ = run(linear_pipeline(), {"linear__C": [0.1, 10.0]}, store=store)

    _, bare, counts = run(linear_pipeline(), {"C": [0.1, 10.0]}, store=store)

    assert (counts.executed, counts.stored) == (0, 10)
    assert {"linear__C": bare.best_params_["C"]} == full.best_params_
    assert "param_C" in bare.cv_results_


# --- nothing twice ------------------------------------------------------------------------


class CountingTfidf(TfidfVectorizer):
    """Counts how often any of its clones is fitted, and on how many rows."""

    rows_seen: list[int] = []  # noqa: RUF012 - shared by the clones on purpose

    def fit_transform(self, raw_documents, y=None):
        self.rows_seen.append(len(raw_documents))
        return super().fit_transform(raw_documents, y)


def test_the_vectoriser_is_fitted_once_a_fold_and_setting_on_training_rows_only():
    CountingTfidf.rows_seen.clear()
    estimator = Pipeline([("tfidf", CountingTfidf()), ("linear", LogisticRegression())])
    grid = {"linear__C": [0.1, 1.0, 10.0], "tfidf__min_df": [1, 2]}

    _, ours, _ = run(estimator, grid)

    assert CountingTfidf.rows_seen == [48] * 2 * 5  # 60 rows, 5 folds
    assert_same_results(ours, GridSearchCV(estimator, grid).fit(X, Y))


class Overwriter(ClassifierMixin, BaseEstimator):
    """Spoils the features it is given, as estimators with ``copy=False`` do."""

    def __init__(self, label="games"):
        self.label = label

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        self.total_ = X.sum()
        X.data[:] = 0
        return self

    def predict(self, X):
        X.data[:] = 0
        return np.full(X.shape[0], self.label if self.total_ else "spoilt")


def test_a_candidate_that_spoils_its_features_spoils_no_other():
    estimator = Pipeline([("tfidf", TfidfVectorizer()), ("bad", Overwriter())])

    _, ours, _ = run(estimator, {"label": ["games", "sports"]})

    # each fold of 12 holds 6 of games, 4 of sports
    assert ours.cv_results_["mean_test_score"].tolist() == pytest.approx([6 / 12, 4 / 12])


def test_shares_of_folds_add_up_to_the_search(small):
    planned, expected, _ = small
    store = {}

    done = []
    for folds in ([0], [1, 2, 3], [3, 4]):
        again = plan_search(small_pipeline(), SMALL_GRID, X, Y, namespace="tests")
        done.append(fit(again, store, folds=folds).executed)

    assert done == [16, 48, 16]
    got = collect(planned, store)
    assert np.array_equal(
        got.cv_results_["rank_test_score"], expected.cv_results_["rank_test_score"]
    )
    assert got.best_score_ == expected.best_score_


@pytest.mark.parametrize(
    ("grid", "executed", "stored"),
    [
        ({"C": [0.1, 1.0, 10.0]}, 5, 10),  # pays for the new value
        ({"C": [1.0], "class_weight": [None]}, 0, 5),  # names a default
    ],
)
def test_another_grid_pays_for_what_is_new(grid, executed, stored):
    store = {}
    run(linear_pipeline(), {"C": [0.1, 1.0]}, store=store)

    _, _, counts = run(linear_pipeline(), grid, store=store)

    assert (counts.executed, counts.stored) == (executed, stored)


@pytest.mark.parametrize(
    ("estimator", "options"),
    [
        (Pipeline([("tfidf", TfidfVectorizer(min_df=2)), ("linear", LogisticRegression())]), {}),
        (Pipeline([("tfidf", TfidfVectorizer()), ("linear", LogisticRegression(tol=0.1))]), {}),
        (linear_pipeline(), {"cv": 4}),
        (linear_pipeline(), {"cv": KFold(5)}),
        (linear_pipeline(), {"namespace": "other data"}),
    ],
)
def test_another_estimator_other_folds_or_other_data_find_nothing(estimator, options):
    store = {}
    run(linear_pipeline(), {"C": [0.1, 1.0]}, store=store)

    _, _, counts = run(estimator, {"C": [0.1, 1.0]}, store=store, **options)

    assert counts.stored == 0


class Full(dict):
    """A store with room for seven fits."""

    def __setitem__(self, key, value):
        if len(self) == 7:
            raise OSError("no space left on device")
        super().__setitem__(key, value)


def test_a_search_cut_short_goes_on_where_it_stopped():
    store = Full()
    planned = plan_search(linear_pipeline(), {"C": [0.1, 1.0]}, X, Y, namespace="tests")
    with pytest.raises(OSError, match="no space left"):
        fit(planned, store)

    counts = fit(planned, dict(store))

    assert (counts.executed, counts.stored) == (3, 7)


def test_missing_and_damaged_entries_are_counted_and_fitted_again():
    store = {}
    planned, expected, _ = run(linear_pipeline(), {"C": [0.1, 1.0]}, store=store)
    first, second, third, *_ = store
    store[first] = store[first][:-30]
    store[second] = b""
    del store[third]
    with pytest.raises(LookupError, match=r"3 of 10 fits.*'C': 0.1.* on fold 0"):
        collect(planned, store)

    counts = fit(planned, store)

    assert counts.executed == 3
    assert collect(planned, store).best_score_ == expected.best_score_


def test_no_flipped_byte_of_an_entry_goes_unnoticed():
    store = {}
    run(linear_pipeline(), {"C": [0.1]}, store=store)
    whole = next(iter(store.values()))

    for place in range(len(whole)):
        damaged = whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]
        assert answers.decode(damaged) is None


def test_the_store_holds_no_pickle():
    store = {}
    run(linear_pipeline(), {"C": [0.1]}, store=store, y=Y.astype(object))

    for content in store.values():
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            assert all(not archive[name].dtype.hasobject for name in archive.files)


def test_merged_candidates_say_whose_fit_they_report(small):
    planned, ours, _ = small

    shared_with = ours.cv_results_["shared_with"]
    for number, parameters in enumerate(planned.candidates):
        idle = parameters["mlp__solver"] != "sgd"
        first = planned.candidates[shared_with[number]]
        assert first == (parameters | {"mlp__learning_rate": "constant"} if idle else parameters)


# --- bad input ----------------------------------------------------------------------------


class NeverFits(ClassifierMixin, BaseEstimator):
    def __init__(self, mode="fine"):
        self.mode = mode

    def fit(self, X, y):
        if self.mode == "memory":
            raise MemoryError("too large")
        if self.mode == "never":
            raise RuntimeError("diverged")
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        if self.mode == "mute":
            raise ArithmeticError("no answer")
        return np.full(len(X), "games")


def test_a_candidate_that_raises_scores_nan_and_is_not_tried_again():
    grid, store = {"mode": ["fine", "never", "mute"]}, {}

    _, ours, counts = run(NeverFits(), grid, store=store)

    assert counts.executed == 15
    assert run(NeverFits(), grid, store=store)[2].executed == 0
    assert_same_results(ours, GridSearchCV(NeverFits(), grid, cv=5).fit(X, Y))
    assert ours.cv_results_["error"] == [
        "",
        "RuntimeError: diverged",
        "ArithmeticError: no answer",
    ]
    assert ours.best_params_ == {"mode": "fine"}


def test_a_search_in_which_everything_fails_says_so():
    with pytest.raises(ValueError, match=r"all 5 fits failed.*RuntimeError: diverged"):
        run(NeverFits(), {"mode": ["never"]})


class StopsEarly(NeverFits):
    """Ends its training at the second stage, whatever it was asked for."""

    staged_parameter = "epochs"

    def __init__(self, epochs=1):
        self.epochs = epochs

    mode = "fine"

    def fit_staged(self, X, y, stages, on_stage):
        self.fit(X, y)
        for stage in sorted(stages)[:2]:
            on_stage(stage)


def test_a_stage_that_a_training_does_not_reach_is_an_error():
    _, ours, counts = run(StopsEarly(), {"epochs": [3, 1, 2]})

    assert counts == FitCounts(executed=15, stored=0, trainings=5)
    assert ours.cv_results_["error"] == ["RuntimeError: the training ended before [3]", "", ""]


def test_lack_of_memory_is_not_held_against_the_candidate():
    store = {}
    with pytest.raises(MemoryError):
        run(NeverFits(), {"mode": ["memory"]}, store=store)

    assert store == {}


def test_a_scorer_that_fails_scores_nan_and_keeps_the_error():
    _, ours, _ = run(NeverFits(), {"mode": ["fine"]}, scoring="neg_log_loss")

    assert np.isnan(ours.cv_results_["mean_test_score"][0])
    assert ours.cv_results_["error"][0].startswith("scoring: AttributeError")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"grid": {"gamma": [1]}}, "unknown parameter.*gamma"),
        ({"grid": {"mlp__gamma": [1]}}, "unknown parameter.*gamma"),
        ({"grid": {"bert__C": [1]}}, "unknown parameter.*bert"),
        ({"grid": {}}, "empty grid"),
        ({"grid": []}, "empty grid"),
        ({"grid": {"alpha": []}}, "empty grid: parameter 'alpha'"),
        ({"grid": {"alpha": 0.1}}, "parameter 'alpha'.*got 0.1"),
        ({"grid": {"solver": "adam"}}, "parameter 'solver'.*got 'adam'"),
        ({"scoring": "acuracy"}, "unknown scoring 'acuracy'"),
        ({"scoring": ["accuracy"]}, r"expected one scorer, got \['accuracy'\]"),
        ({"cv": 11}, "class 'science' has 10 rows, too few for 11 folds"),
        ({"X": X[:-1]}, "as many labels as rows, got 60 for 59"),
    ],
)
def test_what_can_be_known_before_the_first_fit_is_an_error_then(change, message):
    arguments = {"estimator": small_pipeline(), "grid": {"alpha": [0.1]}, "X": X, "y": Y} | change

    with pytest.raises(ValueError, match=message):
        plan_search(**arguments, namespace="tests")


def test_labels_of_mixed_types_are_refused():
    mixed = [None, *Y[1:].tolist()]

    with pytest.raises(TypeError, match=r"got \['NoneType', 'str'\]"):
        plan_search(small_pipeline(), {"alpha": [0.1]}, X, mixed, namespace="tests")


# --- the pipelines ------------------------------------------------------------------------


def test_the_linear_and_the_constant_rival_are_searched_like_the_networks():
    _, linear, counts = run(pipelines.linear_pipeline(), pipelines.linear_grid())
    _, constant, _ = run(pipelines.constant_pipeline(), grids.CONSTANT_GRID)

    assert {"features__characters", "classifier"} <= set(linear.best_params_)
    tried = {type(params["classifier"]).__name__ for params in linear.cv_results_["params"]}
    assert tried == {"LogisticRegression", "LinearSVC", "ComplementNB"}
    assert counts.executed == 5 * (2 * 3 * 2 + 2 * 3 * 2 + 2 * 3)
    assert constant.best_score_ == 0.5  # 30 of 60 rows are games, 6 of 12 in each fold
    assert linear.best_score_ > constant.best_score_
