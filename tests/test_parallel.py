"""A search with several workers: the same bits, nothing twice, deaths survived."""

import os
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import psutil
import pytest
import scipy.sparse
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline

from neural_classifiers.search import answers, parallel, shared
from neural_classifiers.search.fits import Share, fit_share
from neural_classifiers.search.plan import plan_search
from neural_classifiers.search.results import collect

COMMENTS = ["goal match coach", "boss level quest", "match league goal", "quest patch boss"] * 10
LABELS = ["sports", "games"] * 20
GRID = {"solver": ["lbfgs", "adam"], "alpha": [1e-4, 1e-1], "momentum": [0.8, 0.9]}  # 4 differ


@pytest.fixture(autouse=True)
def _quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def planned(grid=GRID, **options):
    network = MLPClassifier((3,), random_state=34, max_iter=5)
    pipeline = Pipeline([("tfidf", TfidfVectorizer()), ("mlp", network)])
    return plan_search(pipeline, grid, COMMENTS, LABELS, namespace="tests", cv=3, **options)


def timeless(store):
    return {key: answers.without_times(content)[0] for key, content in store.items()}


@pytest.fixture(scope="module")
def alone():
    """The search by one worker, in this process."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        store: dict[str, bytes] = {}
        fit_share(planned(), store)
        return timeless(store)


@pytest.fixture(scope="module")
def cluster():
    """A Dask cluster of separate worker processes, over TCP."""
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=True,
        protocol="tcp",
        memory_limit=0,
        dashboard_address=None,
    ) as made:
        yield made


@pytest.mark.parametrize("workers", ["threads", "processes"])
def test_several_workers_store_the_bits_of_one(workers, alone):
    store: dict[str, bytes] = {}

    share = parallel.fit(planned(), store, workers=workers, n_workers=2)

    assert share == Share(executed=12, found=0, trainings=12)
    assert timeless(store) == alone


def test_dask_workers_store_the_bits_of_one(cluster, alone):
    assert cluster.scheduler_address.startswith("tcp://")
    assert len({worker["id"] for worker in cluster.scheduler_info["workers"].values()}) == 2
    store: dict[str, bytes] = {}

    share = parallel.fit(planned(), store, workers=cluster.scheduler_address)

    assert share.executed == 12
    assert timeless(store) == alone


def test_what_is_stored_is_not_made_again():
    store: dict[str, bytes] = {}
    fit_share(planned(), store, folds=[0])

    share = parallel.fit(planned(), store, workers="threads", n_workers=2)

    assert (share.executed, share.found) == (8, 4)


# --- deaths ---------------------------------------------------------------------------------


class Mortal(ClassifierMixin, BaseEstimator):
    """Kills its process the first `deaths` times that it is fitted, as files remember."""

    def __init__(self, deaths=0, folder="", growth_mb=0):
        self.deaths, self.folder, self.growth_mb = deaths, folder, growth_mb

    def fit(self, X, y):
        mark = Path(self.folder) / f"{self.deaths}-{len(X)}-{X[0, 0]}"
        with mark.open("ab") as begun:
            begun.write(f"{os.getpid()}\n".encode())
        if mark.read_bytes().count(b"\n") <= self.deaths:
            os.kill(os.getpid(), 9)
        HELD.append(bytearray(int(self.growth_mb * 1e6)))
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        return np.full(len(X), self.classes_[0])


HELD: list[bytearray] = []  # memory that is never given back


def mortal(folder, deaths, n_folds=2, growth_mb=0):
    X = np.arange(8.0)[:, None]
    y = np.array(["a", "b"] * 4)
    estimator = Mortal(folder=str(folder), growth_mb=growth_mb)
    return plan_search(estimator, {"deaths": deaths}, X, y, namespace="tests", cv=n_folds)


def pids(folder):
    return [int(pid) for mark in folder.iterdir() for pid in mark.read_text().split()]


def test_a_worker_that_dies_costs_its_own_fit_only(tmp_path):
    store: dict[str, bytes] = {}

    share = parallel.fit(mortal(tmp_path, [0, 1]), store, n_workers=2)

    assert share.executed == 4
    assert len(pids(tmp_path)) == 4 + 2  # each of the two that die once is begun twice


def test_a_training_that_kills_every_worker_is_given_up_and_the_others_are_made(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(parallel, "ATTEMPTS", 2)
    store: dict[str, bytes] = {}
    plan = mortal(tmp_path, [99, 0])

    with pytest.raises(parallel.WorkersDiedError, match=r"2 workers died.*1 trainings.*deaths.*99"):
        parallel.fit(plan, store, n_workers=1, folds=[0])

    assert set(store) == {plan.key(1, 0)}
    assert len(pids(tmp_path)) == parallel.ATTEMPTS + 1


def test_a_dask_worker_that_dies_costs_its_own_fit_only(tmp_path, cluster):
    store: dict[str, bytes] = {}

    share = parallel.fit(mortal(tmp_path, [0, 1]), store, workers=cluster.scheduler_address)

    assert share.executed == 4


def test_a_worker_that_has_grown_is_replaced(tmp_path):
    plan = mortal(tmp_path, [0], n_folds=4, growth_mb=60)

    parallel.fit(plan, {}, n_workers=1, growth_mb=100)

    # The first training is the base; 60 MB more are allowed, 120 are not: a new one after three.
    assert [pids(tmp_path).count(pid) for pid in dict.fromkeys(pids(tmp_path))] in ([3, 1], [1, 3])


def test_a_kill_leaves_no_worker_behind(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import time\n"
        "from sklearn.base import BaseEstimator, ClassifierMixin\n"
        "from neural_classifiers.search import parallel, search\n"
        "class Slow(ClassifierMixin, BaseEstimator):\n"
        "    def __init__(self, n=0): self.n = n\n"
        "    def fit(self, X, y):\n"
        "        print('begun', flush=True)\n"
        "        time.sleep(60)\n"
        "if __name__ == '__main__':\n"
        "    plan = search.plan(Slow(), {'n': [1, 2]}, [[0]] * 8, [0, 1] * 4, namespace='', cv=2)\n"
        "    parallel.fit(plan, {}, n_workers=1)\n"
    )
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
        children = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        _, alive = psutil.wait_procs(children, timeout=10)
    assert not alive


# --- order, progress, errors ------------------------------------------------------------------


class Sleeper(ClassifierMixin, BaseEstimator):
    """Takes as long as it is told, and notes when it began."""

    begun: list[float] = []  # noqa: RUF012 - shared by the clones on purpose

    def __init__(self, seconds=0.0):
        self.seconds = seconds

    def fit(self, X, y):
        self.begun.append(self.seconds)
        time.sleep(self.seconds)
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        return np.full(len(X), self.classes_[0])


def sleepers(seconds, n_folds=3):
    X, y = np.zeros((12, 1)), np.array(["a", "b"] * 6)
    return plan_search(Sleeper(), {"seconds": seconds}, X, y, namespace="tests", cv=n_folds)


def test_once_a_fold_has_shown_it_the_longest_comes_first():
    Sleeper.begun.clear()

    parallel.fit(sleepers([0.0, 0.1, 0.05]), {}, workers="threads", n_workers=1)

    assert Sleeper.begun == [0.0, 0.1, 0.05] + [0.1] * 2 + [0.05] * 2 + [0.0] * 2


def test_fits_of_an_earlier_search_say_what_is_longest():
    plan, store = sleepers([0.0, 0.1]), {}
    parallel.fit(plan, store, workers="threads", n_workers=1, folds=[0])
    Sleeper.begun.clear()

    parallel.fit(plan, store, workers="threads", n_workers=1)

    assert Sleeper.begun == [0.1, 0.1, 0.0, 0.0]


def test_progress_counts_all_fits_and_tells_the_best_that_is_through_all_folds():
    seen = []
    plan = planned()
    fit_share(plan, store := {}, folds=[0])

    parallel.fit(plan, store, workers="threads", n_workers=2, on_fit=lambda f: seen.append(f))

    progress = [fit.progress for fit in seen]
    assert [(p.done, p.total) for p in progress] == [(n, 12) for n in range(5, 13)]
    assert progress[0].best_score is None
    results = collect(plan, store)
    assert progress[-1].best_score == pytest.approx(results.best_score_)
    assert progress[-1].seconds_left == 0


def test_the_time_left_is_what_other_folds_took():
    left = []
    fit_share(
        sleepers([0.2], n_folds=4), {}, on_fit=lambda fit: left.append(fit.progress.seconds_left)
    )

    assert left[0] is None  # the training has not ended when its fit is kept
    assert left[1] == pytest.approx(2 * 0.2, abs=0.15)


def test_an_error_of_the_store_ends_the_search():
    class Full(dict):
        def __setitem__(self, key, value):
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        parallel.fit(planned(), Full(), workers="threads", n_workers=2)


class Failing(TfidfVectorizer):
    """Fails on the rows of one fold."""

    def fit_transform(self, raw_documents, y=None):
        raise ArithmeticError("no words")


@pytest.mark.parametrize("workers", ["alone", "threads"])
def test_a_transformer_that_fails_is_the_candidates_error(workers):
    pipeline = Pipeline([("tfidf", Failing()), ("mlp", MLPClassifier((2,), max_iter=1))])
    plan = plan_search(pipeline, {"alpha": [1, 2]}, COMMENTS, LABELS, namespace="", cv=2)
    store: dict[str, bytes] = {}
    if workers == "alone":
        fit_share(plan, store)
    else:
        parallel.fit(plan, store, workers=workers)

    with pytest.raises(ValueError, match=r"all 4 fits failed.*ArithmeticError: no words"):
        collect(plan, store)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": "fibres"}, "expected 'threads', 'processes' or the address.*got 'fibres'"),
        ({"n_workers": 0}, "at least 1 worker"),
        ({"threads": 0}, "at least 1 worker of at least 1 thread"),
    ],
)
def test_workers_that_cannot_be_are_an_error_before_the_first_fit(options, message):
    with pytest.raises(ValueError, match=message):
        parallel.fit(planned(), {}, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threads_per_worker": 2, "memory_limit": 0}, r"got threads {'.*': 2}, spilling \[\]"),
        ({"threads_per_worker": 1}, r"got threads {}, spilling \['.*'\]"),
    ],
)
def test_dask_workers_of_several_threads_or_that_spill_are_refused(options, message):
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=1, processes=False, protocol="tcp", dashboard_address=None, **options
        ) as made,
        pytest.raises(ValueError, match=message),
    ):
        parallel.fit(planned(), {}, workers=made.scheduler_address)


def test_the_example_makes_every_fit_once(tmp_path):
    example = Path(__file__).parents[1] / "docs" / "search_example.py"
    told = [
        subprocess.run(
            [sys.executable, str(example)], cwd=tmp_path, capture_output=True, text=True, check=True
        ).stdout.splitlines()[-1]
        for _ in range(2)
    ]

    # 12 candidates, 5 folds
    assert told[0].startswith("60 made, 0 found: {'C': ")
    assert told[1] == told[0].replace("60 made, 0 found", "0 made, 60 found")


# --- shared memory ----------------------------------------------------------------------------


VALUES = (
    np.array(["a", "bc"]),
    scipy.sparse.csr_matrix([[0.0, 1.5], [2.0, 0.0]]),
    np.zeros((0, 3)),
    ["a", "list"],
)


@pytest.mark.parametrize("room", [np.inf, 10])
def test_shared_values_come_back_as_they_were(monkeypatch, room):
    monkeypatch.setattr(shared, "_room", lambda: room)
    made = shared.SharedValues(VALUES)
    texts, matrix, empty, listed = made.handle.read()
    made.release()

    assert (made.handle.block is not None) == (room == np.inf)
    assert np.array_equal(texts, VALUES[0])
    assert type(matrix) is type(VALUES[1])
    assert (matrix != VALUES[1]).nnz == 0
    assert (empty.shape, listed) == ((0, 3), ["a", "list"])


def test_shared_memory_is_given_back():
    made = shared.SharedValues(VALUES)
    made.release()

    with pytest.raises(FileNotFoundError):
        made.handle.read()


class Noting(TfidfVectorizer):
    """Notes how often any of its clones is fitted."""

    fitted: list[int] = []  # noqa: RUF012 - shared by the clones on purpose

    def fit_transform(self, raw_documents, y=None):
        self.fitted.append(len(raw_documents))
        return super().fit_transform(raw_documents, y)


def test_features_are_made_once_a_fold_for_all_workers():
    network = MLPClassifier((2,), random_state=0, max_iter=1)
    pipeline = Pipeline([("tfidf", Noting()), ("mlp", network)])
    plan = plan_search(pipeline, GRID, COMMENTS, LABELS, namespace="tests", cv=3)

    parallel.fit(plan, {}, workers="threads", n_workers=2)  # where all workers are here to count

    assert sorted(Noting.fitted) == [26, 27, 27]
