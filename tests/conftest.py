"""What several tests need: a root of their own, one throw-away Prefect server, small dirty data."""

import json
import os
import random
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

# Flows join what is up in the checkout, so they are imported where nothing is.
_ELSEWHERE = tempfile.TemporaryDirectory()
with mock.patch.dict(os.environ, NEURAL_CLASSIFIERS_HOME=_ELSEWHERE.name):
    import flows  # noqa: F401

    _SET = {k: v for k, v in os.environ.items() if k.startswith(("PREFECT_", "DO_NOT", "TF_"))}
os.environ |= _SET
settings.register_profile("here", deadline=None)  # shared machines pause without notice
settings.load_profile("here")

WORDS = {
    "science_and_technology": "atom star cell probe laser enzyme orbit neuron quark".split(),
    "sports": "goal match coach season referee penalty stadium league striker".split(),
    "video_games": "boss level quest loot console sprite patch respawn combo".split(),
}
COMMON = "really think this was the best thing ever but nobody saw it coming again".split()


SHARED = "test_faults.py", "test_no_pickle.py", "test_reproducible.py"  # the runs of small_flow
SLOWEST = *SHARED, "test_end_to_end.py"


class ByFile(LoadScopeScheduling):
    """Which tests one process gets as a whole: a file's, and those that share runs."""

    def _split_scope(self, nodeid: str) -> str:
        file = Path(nodeid.partition("::")[0]).name
        return "shared" if file in SHARED else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFile:
    """The tests side by side, by file."""
    return ByFile(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The slowest files first: what begins last keeps the other processes waiting."""
    items.sort(key=lambda item: item.path.name not in SLOWEST)


@pytest.fixture(scope="session")
def one_thread():
    """TensorFlow in this process on one thread, as in ours: a network starts it, on every core."""
    from neural_classifiers.arrays.threads import set_tensorflow_threads

    set_tensorflow_threads(1)


@pytest.fixture(autouse=True)
def own_environment():
    """Put back what a test, or a command in it, sets for its process."""
    with mock.patch.dict(os.environ):
        yield


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """An empty root: downloads, records and runs of the test lie below it."""
    monkeypatch.setenv("NEURAL_CLASSIFIERS_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture(scope="session")
def prefect_server():
    """One throw-away Prefect server a session: starting it takes longer than most tests."""
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=180):
        yield


def comments_file(path: Path, n: int = 240, seed: int = 1) -> Path:
    """A JSON Lines file of made-up comments: 10 % science, 30 % sports, 60 % games."""
    rng = random.Random(seed)
    counts = {"science_and_technology": n // 10, "sports": 3 * n // 10}
    counts["video_games"] = n - sum(counts.values())
    lines = []
    for category, count in counts.items():
        for i in range(count):
            words = rng.sample(COMMON, 5) + rng.sample(WORDS[category], 2) + [f"no{i}"]
            rng.shuffle(words)
            lines.append(json.dumps({"cat": category, "txt": " ".join(words).capitalize() + "!"}))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
