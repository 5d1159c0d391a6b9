"""The Keras grid: one training for every epoch count, with the bits of separate fits."""

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline

keras_classifier = pytest.importorskip("neural_classifiers.comments.models.keras_classifier")

from neural_classifiers.comments.models import grids, pipelines  # noqa: E402
from neural_classifiers.search import answers  # noqa: E402
from neural_classifiers.search.fits import FitCounts, fit  # noqa: E402
from neural_classifiers.search.plan import plan_search  # noqa: E402
from neural_classifiers.search.results import collect, refit  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")

WORDS = {"games": ["boss", "quest"], "science": ["atom", "cell"], "sports": ["goal", "coach"]}
COMMON = ("the a", "a new", "new the", "a a")
X = [f"{common} {word}" for words in WORDS.values() for word in words for common in COMMON]
Y = np.repeat(list(WORDS), 8)  # sorted by class
GRID = {"keras__epochs": [1, 3, 2], "keras__batch_size": [5, 12]}


class CountingClassifier(keras_classifier.KerasClassifier):
    """Counts the trainings of all its clones and the epochs of each."""

    trainings: list[int] = []  # noqa: RUF012 - shared by the clones on purpose

    def fit(self, X, y, sample_weight=None, **kwargs):
        self.trainings.append(self.epochs)
        return super().fit(X, y, sample_weight=sample_weight, **kwargs)


def tiny_pipeline():
    parameters = keras_classifier.comment_classifier(34, hidden_sizes=(5, 4)).get_params()
    del parameters["build_fn"]
    network = CountingClassifier(**parameters)
    return Pipeline([("tfidf", TfidfVectorizer()), ("keras", network)])


def plan(grid=GRID, **options):
    return plan_search(tiny_pipeline(), grid, X, Y, cv=2, namespace="tests", **options)


@pytest.fixture(autouse=True)
def trainings():
    CountingClassifier.trainings.clear()
    return CountingClassifier.trainings


@pytest.fixture(scope="module")
def search_done():
    """The grid searched once: store, counts, and the epochs of every training."""
    CountingClassifier.trainings.clear()
    store = {}
    counts = fit(plan(), store)
    return store, counts, list(CountingClassifier.trainings)


@pytest.fixture
def searched(search_done):
    """A copy of the store with every fit of the grid."""
    return dict(search_done[0])


def test_one_training_serves_every_epoch_count_of_a_batch_size_and_fold(search_done):
    _, counts, epochs = search_done

    assert counts == FitCounts(executed=12, stored=0, trainings=4)
    assert epochs == [3, 3, 3, 3]  # 2 batch sizes x 2 folds, each to the largest count


def test_scores_and_ranks_are_those_of_separate_fits(searched):
    grid = GRID | {"keras__epochs": [3, 2]}

    ours = collect(plan(grid, scoring="neg_log_loss"), searched)

    peer = GridSearchCV(tiny_pipeline(), grid, cv=2, scoring="neg_log_loss", refit=False)
    peer.fit(X, Y)
    for column in ("split0_test_score", "split1_test_score", "rank_test_score"):
        assert np.array_equal(ours.cv_results_[column], peer.cv_results_[column])
    assert ours.best_params_ == peer.best_params_


def test_every_stored_fit_holds_the_bits_of_a_separate_fit(searched):
    planned = plan()

    for candidate in planned.trainings[0]:
        train, test = planned.folds[1]
        alone = planned.build(candidate).fit([X[row] for row in train], Y[train])
        expected = alone.predict_proba([X[row] for row in test])
        kept = answers.decode(searched[planned.key(candidate, 1)])
        assert np.array_equal(kept.by_method["predict_proba"], expected)
        assert kept.by_method["predict"].tolist() == alone.predict([X[r] for r in test]).tolist()


def test_a_training_goes_no_further_than_the_largest_missing_epoch_count(searched, trainings):
    store, planned = searched, plan()
    numbers = {tuple(params.values()): i for i, params in enumerate(planned.candidates)}
    del store[planned.key(numbers[5, 2], 0)]  # batch size 5, 2 epochs
    del store[planned.key(numbers[12, 1], 1)]
    del store[planned.key(numbers[12, 3], 1)]

    counts = fit(planned, store)

    assert counts == FitCounts(executed=3, stored=9, trainings=2)
    assert trainings == [2, 3]


def test_an_epoch_count_more_trains_only_for_what_is_missing(searched, trainings):
    planned = plan({"epochs": [1, 2, 3, 4], "batch_size": [5]})

    counts = fit(planned, searched, folds=[0])

    assert counts == FitCounts(executed=1, stored=3, trainings=1)
    assert trainings == [4]


def test_each_epoch_count_is_stored_as_it_passes():
    store = {}

    def stop(fit):
        if fit.done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(plan(), store, on_fit=stop)

    assert list(store) == [plan().key(candidate, 0) for candidate in (0, 2)]  # epochs 1 and 2


def test_candidates_of_one_training_say_so(searched):
    table = collect(plan(), searched).cv_results_

    batch_sizes = [params["keras__batch_size"] for params in table["params"]]
    assert batch_sizes == [5, 5, 5, 12, 12, 12]
    assert table["shared_with"].tolist() == [0, 0, 0, 3, 3, 3]
    # epochs 1, 3, 2: the time of a fit runs until its epoch has passed
    assert table["mean_fit_time"][0] < table["mean_fit_time"][2] < table["mean_fit_time"][1]


def test_epoch_counts_that_are_none_fail_alone():
    store = {}
    planned = plan({"epochs": [1, "many"], "batch_size": [12]})

    fit(planned, store)

    table = collect(planned, store).cv_results_
    assert np.isnan(table["mean_test_score"]).tolist() == [False, True]
    assert "many" in table["error"][1] or "TypeError" in table["error"][1]


def test_the_refitted_pipeline_is_a_fitted_keras_classifier(searched):
    planned = plan()
    results = collect(planned, searched)

    best = refit(planned, results)

    assert isinstance(best[-1], keras_classifier.KerasClassifier)
    assert best.predict_proba(X).shape == (24, 3)
    alone = planned.build(results.best_index_).fit(X, Y)
    assert np.array_equal(best.predict_proba(X), alone.predict_proba(X))


def test_the_notebooks_grid_takes_three_trainings_a_fold():
    planned = plan_search(
        pipelines.keras_pipeline(34), grids.KERAS_GRID, X, Y, cv=5, namespace="tests"
    )

    assert len(planned.candidates) == 9
    assert len(planned.trainings) == 3
    assert planned.build(0)[0].max_features == 2100
