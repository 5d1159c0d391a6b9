"""The watcher: what stands in which log, and what it does after a sleep of the machine."""

import logging
import time

import pytest

from neural_classifiers.engine import alerts
from neural_classifiers.operation import supervisor

PREFIX = "12:00:00.000 | "


@pytest.mark.parametrize(
    ("part", "line", "in_both"),
    [
        ("up", "deployed nightly", "deployed nightly"),
        ("worker", f"{PREFIX}INFO    | Flow run 'owl' - Finished", "Flow run 'owl' - Finished"),
        ("worker", f"{PREFIX}WARNING | prefect.worker - slow", "WARNING: prefect.worker - slow"),
        ("worker", "Worker 'here' started!", "Worker 'here' started!"),
        ("worker", f"{PREFIX}INFO    | Flow run 'owl' - View at http://127.0.0.1:4200", ""),
        ("worker", f"{PREFIX}INFO    | Task run 'clean' - cached: 120 comments", ""),
        ("server", "Traceback (most recent call last):", ""),
        ("server", "", ""),
    ],
)
def test_the_readable_log_has_what_happened_and_what_warns(part, line, in_both, caplog):
    with caplog.at_level(logging.DEBUG):
        supervisor._log(part, f"{line}\n")
    assert [r.message for r in caplog.records if r.levelno >= logging.INFO] == [in_both][
        : bool(in_both)
    ]
    assert len(caplog.records) == bool(line)


def test_prefects_own_warnings_stand_in_the_readable_log_once_an_hour(caplog, monkeypatch):
    monkeypatch.setattr(supervisor, "_quiet_until", {})
    with caplog.at_level(logging.DEBUG):
        for text in (
            "a - lost 1",
            "a - lost 2",
            "b - lost",
            "Flow run 'owl' - x",
            "Flow run 'owl' - y",
        ):
            supervisor._log("server", f"{PREFIX}ERROR   | {text}")
    both = [r.message[7:] for r in caplog.records if r.levelno >= logging.INFO]
    assert both == ["a - lost 1", "b - lost", "Flow run 'owl' - x", "Flow run 'owl' - y"]
    assert len(caplog.records) == 5


class Frozen:
    """A process that notes what is done to it."""

    def __init__(self, done):
        self.done = done

    def poll(self):
        return None

    def children(self):
        return []

    def suspend(self):
        self.done.append("suspended")

    def resume(self):
        self.done.append("resumed")


@pytest.fixture
def watcher(home, monkeypatch):
    watcher, done = supervisor._Watcher(4200, None, None, None), []
    watcher._worker.process = Frozen(done)
    monkeypatch.setattr(watcher, "_run", lambda *words: done.append(" ".join(words)))
    return watcher, done


@pytest.mark.parametrize(("ahead_s", "seen"), [(3600, True), (-3600, True), (20, False)])
def test_after_a_sleep_what_was_missed_is_skipped_before_the_worker_goes_on(
    watcher, monkeypatch, ahead_s, seen
):
    watcher, done = watcher
    now = time.time()
    monkeypatch.setattr(supervisor.time, "time", lambda: now + ahead_s)
    for _ in range(2):
        watcher._look_at_clock()
    assert done == (["suspended", "deployments missed", "resumed"] if seen else [])


class Looks:
    """A lookout that sees what it was given, one look after the other."""

    def __init__(self, *looks):
        self.looks = list(looks)

    def unbegun(self):
        if isinstance(self.looks[0], Exception):
            raise self.looks.pop(0)
        return self.looks[0][0]

    def waiting(self):
        return self.looks.pop(0)[1]


def test_what_is_wrong_is_told_once_until_it_is_well_again(watcher, monkeypatch):
    watcher, done = watcher
    told = []
    monkeypatch.setattr(alerts, "deliver", lambda event, sentence: told.append(event))
    late, well = ([], ["owl"]), ([], [])
    vain = [OSError("locked")] * 4
    watcher._lookout = Looks(*vain[:2], well, *vain, well, late, late, well, late)
    monkeypatch.setattr(supervisor, "is_answering", lambda *_: True)
    for _ in range(12):
        watcher._look_at_runs()
        time.sleep(0.05)  # each is sent in a thread
    assert told == ["unusable", "late", "late"]
    watcher._lookout = Looks((["1", "2"], []), (["2", "3"], []))
    for _ in range(2):
        watcher._look_at_runs()
    assert done == [f"resume {run} unbegun" for run in "123"]


def test_a_worker_that_hears_of_no_run_is_stopped_to_be_started_again(watcher, monkeypatch):
    watcher, done = watcher
    monkeypatch.setattr(watcher, "_tell", lambda *_: None)
    monkeypatch.setattr(watcher._worker, "stop", lambda: done.append("stopped"))
    watcher._lookout = Looks(([], ["owl"]), ([], ["owl"]))
    for hears in (True, False):
        monkeypatch.setattr(supervisor, "is_answering", lambda *_, hears=hears: hears)
        watcher._look_at_runs()
    assert done == ["stopped"]
