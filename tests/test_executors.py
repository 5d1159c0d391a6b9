"""A search by the workers of any executor: the same bits, nothing twice, clear ends."""

import os
import subprocess
import sys
import time
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np
import psutil
import pytest
from joblib.externals import loky
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline
from test_search import CountingTfidf

from neural_classifiers.search import answers
from neural_classifiers.search.executors import dask_workers, local_processes
from neural_classifiers.search.fits import FitCounts, WorkersLostError, fit
from neural_classifiers.search.plan import plan_search
from neural_classifiers.search.results import collect

pytestmark = pytest.mark.filterwarnings("ignore")

COMMENTS = ["goal match coach", "boss level quest", "match league goal", "quest patch boss"] * 10
LABELS = ["sports", "games"] * 20
GRID = {"solver": ["lbfgs", "adam"], "alpha": [1e-4, 1e-1], "momentum": [0.8, 0.9]}  # 4 differ


def planned(grid=GRID, vectoriser=TfidfVectorizer):
    network = MLPClassifier((3,), random_state=34, max_iter=5)
    pipeline = Pipeline([("tfidf", vectoriser()), ("mlp", network)])
    return plan_search(pipeline, grid, COMMENTS, LABELS, namespace="tests", cv=3)


def timeless(store):
    return {key: answers.without_times(content)[0] for key, content in store.items()}


@pytest.fixture(scope="module")
def alone():
    """The search in this process."""
    store: dict[str, bytes] = {}
    fit(planned(), store)
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


EXECUTORS = {
    "threads": ThreadPoolExecutor,
    "processes": local_processes,
    "loky": loky.ProcessPoolExecutor,
}


@pytest.mark.parametrize("kind", EXECUTORS)
def test_workers_of_any_kind_store_the_bits_of_one(kind, alone):
    store: dict[str, bytes] = {}

    with EXECUTORS[kind](2) as executor:
        counts = fit(planned(), store, executor, n_workers=2)

    assert counts == FitCounts(executed=12, stored=0, trainings=12)
    assert timeless(store) == alone


def test_dask_workers_store_the_bits_of_one(cluster, alone):
    store: dict[str, bytes] = {}

    with dask_workers(cluster.scheduler_address) as (executor, n_workers):
        counts = fit(planned(), store, executor, n_workers=n_workers)

    assert n_workers == 2
    assert counts.executed == 12
    assert timeless(store) == alone


# --- deaths ---------------------------------------------------------------------------------


class Mortal(ClassifierMixin, BaseEstimator):
    """Kills its process the first `deaths` times that it is fitted, as a file remembers."""

    def __init__(self, deaths=0, folder=""):
        self.deaths, self.folder = deaths, folder

    def fit(self, X, y):
        with (Path(self.folder) / f"{self.deaths}-{X[0, 0]}").open("ab") as begun:
            begun.write(b".")
            n_begun = begun.tell()
        if n_begun <= self.deaths:
            os.kill(os.getpid(), 9)
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        return np.full(len(X), self.classes_[0])


def mortal(folder, deaths):
    X = np.arange(8.0)[:, None]
    y = np.array(["a", "b"] * 4)
    estimator = Mortal(folder=str(folder))
    return plan_search(estimator, {"deaths": deaths}, X, y, namespace="tests", cv=2)


def test_a_worker_that_dies_says_so_and_costs_what_was_under_way_only(tmp_path):
    plan, store = mortal(tmp_path, [0, 1]), {}

    with (
        local_processes(1) as executor,
        pytest.raises(WorkersLostError, match=r"BrokenProcessPool.* 1 fits .*fewer workers"),
    ):
        fit(plan, store, executor, n_workers=1)

    assert list(store) == [plan.key(0, 0)]
    with local_processes(1) as executor:
        counts = fit(plan, store, executor, n_workers=1, folds=[0])
    assert (counts.executed, counts.stored) == (1, 1)


def test_a_dask_worker_that_dies_costs_its_own_fit_only(tmp_path, cluster):
    with dask_workers(cluster.scheduler_address) as (executor, n_workers):
        counts = fit(mortal(tmp_path, [0, 1]), {}, executor, n_workers=n_workers)

    assert counts.executed == 4


def test_a_kill_leaves_no_worker_behind(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import time\n"
        "from sklearn.base import BaseEstimator, ClassifierMixin\n"
        "from neural_classifiers.search.executors import local_processes\n"
        "from neural_classifiers.search.fits import fit\n"
        "from neural_classifiers.search.plan import plan_search\n"
        "class Slow(ClassifierMixin, BaseEstimator):\n"
        "    def __init__(self, n=0): self.n = n\n"
        "    def fit(self, X, y):\n"
        "        print('begun', flush=True)\n"
        "        time.sleep(60)\n"
        "if __name__ == '__main__':\n"
        "    X, y = [[0]] * 8, [0, 1] * 4\n"
        "    plan = plan_search(Slow(), {'n': [1, 2]}, X, y, namespace='', cv=2)\n"
        "    fit(plan, {}, local_processes(1))\n"
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
    """Sleeps as long as its parameter says, and notes when it began."""

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


def sleepers(seconds):
    X, y = np.zeros((12, 1)), np.array(["a", "b"] * 6)
    return plan_search(Sleeper(), {"seconds": seconds}, X, y, namespace="tests", cv=3)


def test_once_a_fold_has_shown_it_the_longest_comes_first():
    Sleeper.begun.clear()

    with ThreadPoolExecutor(1) as executor:
        fit(sleepers([0.0, 0.1, 0.05]), {}, executor, n_workers=1)

    assert Sleeper.begun == [0.0, 0.1, 0.05] + [0.1] * 2 + [0.05] * 2 + [0.0] * 2


def test_fits_of_an_earlier_search_say_which_training_goes_first():
    plan, store = sleepers([0.0, 0.1]), {}
    fit(plan, store, folds=[0])
    Sleeper.begun.clear()

    with ThreadPoolExecutor(1) as executor:
        fit(plan, store, executor, n_workers=1)

    assert Sleeper.begun == [0.1, 0.1, 0.0, 0.0]


def test_every_fit_reports_how_far_the_search_is_and_the_best_that_is_through_all_folds():
    seen, n_stored = [], []
    plan = planned()
    fit(plan, store := {}, folds=[0])

    with ThreadPoolExecutor(2) as executor:
        fit(plan, store, executor, on_fit=lambda f: (seen.append(f), n_stored.append(len(store))))

    assert [(fit.done, fit.total) for fit in seen] == [(n, 12) for n in range(5, 13)]
    assert n_stored == list(range(5, 13))
    assert seen[0].best_score is None
    assert seen[-1].best_score == pytest.approx(collect(plan, store).best_score_)


def test_an_error_of_the_store_ends_the_search():
    class Full(dict):
        def __setitem__(self, key, value):
            raise OSError(28, "No space left on device")

    with ThreadPoolExecutor(2) as executor, pytest.raises(OSError, match="No space left"):
        fit(planned(), Full(), executor)


class Failing(TfidfVectorizer):
    def fit_transform(self, raw_documents, y=None):
        raise ArithmeticError("no words")


def test_a_transformer_that_fails_is_the_candidates_error():
    plan = planned({"alpha": [1, 2]}, vectoriser=Failing)
    store: dict[str, bytes] = {}
    fit(plan, store, folds=[0])
    with ThreadPoolExecutor(2) as executor:
        fit(plan, store, executor)

    with pytest.raises(ValueError, match=r"all 6 fits failed.*ArithmeticError: no words"):
        collect(plan, store)


def test_fewer_than_one_worker_are_an_error_before_the_first_fit():
    with ThreadPoolExecutor(1) as executor, pytest.raises(ValueError, match="at least 1 worker"):
        fit(planned(), {}, executor, n_workers=0)


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
        dask_workers(made.scheduler_address),
    ):
        pass


def test_a_scheduler_or_workers_that_are_not_there_are_an_error_that_names_the_address():
    distributed = pytest.importorskip("distributed")
    with (
        pytest.raises(ConnectionError, match=r"scheduler at tcp://127.0.0.1:9, got no answer in 1"),
        dask_workers("tcp://127.0.0.1:9", timeout_s=1),
    ):
        pass
    with (
        distributed.LocalCluster(
            n_workers=0, processes=False, protocol="tcp", dashboard_address=None
        ) as made,
        pytest.raises(ConnectionError, match=r"got none in 1 s: start one with dask worker tcp://"),
        dask_workers(made.scheduler_address, timeout_s=1),
    ):
        pass


def test_the_example_makes_every_fit_once(tmp_path):
    example = Path(__file__).parents[1] / "docs" / "search_example.py"
    printed = [
        subprocess.run(
            [sys.executable, str(example)], cwd=tmp_path, capture_output=True, text=True, check=True
        ).stdout.splitlines()[-1]
        for _ in range(2)
    ]

    # 12 candidates, 5 folds
    assert printed[0].startswith("60 made, 0 already stored: {'C': ")
    assert printed[1] == printed[0].replace(
        "60 made, 0 already stored", "0 made, 60 already stored"
    )


def test_features_are_made_once_a_fold_for_all_workers():
    CountingTfidf.rows_seen.clear()

    with ThreadPoolExecutor(2) as executor:
        fit(planned(vectoriser=CountingTfidf), {}, executor)

    assert sorted(CountingTfidf.rows_seen) == [26, 27, 27]


class DiesAtTheThird(Executor):
    """Two trainings end well; the third finds the workers dead."""

    def __init__(self):
        self.n_submitted = 0

    def submit(self, function, /, *args):
        self.n_submitted += 1
        if self.n_submitted == 3:
            raise BrokenProcessPool("a worker died")
        future = Future()
        future.set_result(function(*args))
        return future


def test_trainings_that_ended_before_the_workers_died_are_in_the_store(alone):
    store = {}
    with pytest.raises(WorkersLostError, match="The 2 fits that were finished are in the store"):
        fit(planned(), store, DiesAtTheThird(), n_workers=4)

    assert len(store) == 2
    assert timeless(store).items() <= alone.items()
