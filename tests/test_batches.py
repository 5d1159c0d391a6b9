"""Batches: in order, each on disk at once, none worked twice, whatever ends the process."""

import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from neural_classifiers.engine.records import Key, Reference, recall
from neural_classifiers.engine.rows.batches import Result, read_piece, useful_workers, work_batches


def double(number: int, log: Path) -> Result:
    """A batch that says that it was worked."""
    with log.open("a") as file:
        file.write(f"{number}\n")
    rows = pa.record_batch({"n": [number, 2 * number]})
    return Result(2, {"rows": [rows, rows.slice(1)]}, {"number": number})


def fail_at_3(number: int, log: Path) -> Result:
    if number == 3:
        raise ValueError("expected a fish, got batch 3")
    return double(number, log)


def die_at_4(number: int, log: Path) -> Result:
    if number == 4:
        os.kill(os.getpid(), 9)
    return double(number, log)


def worked(log):
    return sorted(map(int, log.read_text().split())) if log.exists() else []


@pytest.mark.parametrize("n_workers", [0, 2])
def test_what_batches_give_comes_in_their_order_and_is_worked_once(home, n_workers):
    log, unfinished = home / "log", home / "unfinished"
    done = []
    for _ in range(2):
        batches = work_batches(
            double, ((n, log) for n in range(7)), unfinished, n_workers, done.append
        )
        found = [(b.summary["number"], b.read("rows")["n"].to_pylist()) for b in batches]
        assert found == [(n, [n, 2 * n, 2 * n]) for n in range(7)]
    assert worked(log) == list(range(7))
    assert done == [2] * 14


def test_a_piece_is_read_alone(home):
    list(work_batches(double, [(4, home / "log"), (5, home / "log")], home / "unfinished"))
    assert read_piece(home / "unfinished", 1, "rows", 1).to_pydict() == {"n": [10]}


@pytest.mark.parametrize("file", ["000002-summary", "000002-rows.arrow"])
def test_what_is_damaged_or_gone_is_worked_again(home, file):
    log, unfinished = home / "log", home / "unfinished"
    list(work_batches(double, [(n, log) for n in range(4)], unfinished))
    content = (unfinished / file).read_bytes()
    changed = [content[:n] + b"?" + content[n + 1 :] for n in range(len(content))]
    for damage in (content[:-1], b"null", b"", *changed[:: len(changed) // 9], None):
        log.unlink()
        if damage is None:
            (unfinished / file).unlink()
        else:
            (unfinished / file).write_bytes(damage)
        again = list(work_batches(double, [(n, log) for n in range(4)], unfinished))
        assert worked(log) == [2]
        assert (unfinished / file).read_bytes() == content
        assert [b.summary["number"] for b in again] == [0, 1, 2, 3]


@pytest.mark.parametrize("n_workers", [0, 1])
def test_an_error_ends_the_work_and_what_is_done_stays(home, n_workers):
    log, unfinished = home / "log", home / "unfinished"
    with pytest.raises(ValueError, match="got batch 3"):
        list(work_batches(fail_at_3, ((n, log) for n in range(9)), unfinished, n_workers))
    assert worked(log)[:3] == [0, 1, 2]
    before = len(worked(log))
    list(work_batches(double, ((n, log) for n in range(9)), unfinished))
    assert worked(log) == list(range(9))
    assert before < 9


def test_after_a_kill_the_batches_that_were_done_are_not_worked_again(home):
    log, unfinished = home / "log", home / "unfinished"
    code = (
        "from pathlib import Path; from tests.test_batches import die_at_4, work_batches; "
        f"list(work_batches(die_at_4, ((n, Path({str(log)!r})) for n in range(9)), "
        f"Path({str(unfinished)!r})))"
    )
    code = f"import sys; sys.path[:0] = {sys.path!r}; " + code.replace("tests.", "")
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert worked(log) == [0, 1, 2, 3]
    batches = list(work_batches(double, ((n, log) for n in range(9)), unfinished))
    assert worked(log) == list(range(9))
    assert [b.summary["number"] for b in batches] == list(range(9))


def test_batches_are_taken_as_they_are_needed(home):
    taken = []

    def batches():
        for n in range(20):
            taken.append(n)
            yield n, home / "log"

    for number, _ in enumerate(work_batches(double, batches(), home / "unfinished", 2)):
        assert len(taken) <= number + 6  # two under way in each worker, one in hand, one asked for


def test_few_rows_are_not_worth_a_worker(monkeypatch):
    monkeypatch.setattr("neural_classifiers.engine.workers.cores", lambda: 4)
    assert [useful_workers(n) for n in (0, 59_999, 60_000, 10_000_000)] == [0, 0, 1, 4]


class Nothing(Reference):
    """A step's result without content."""


def test_finished_batches_go_when_the_record_stands(home):
    cache = home / "cache"
    key = Key(step="clean", parameters={})
    unfinished = cache / ".unfinished" / f"clean-{key.digest}"

    def work(folder):
        assert folder.name == unfinished.name
        list(work_batches(double, [(1, home / "log")], unfinished))
        return Nothing()

    def fail(folder):
        work(folder)
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        recall(cache, key, Nothing, fail)
    assert unfinished.is_dir()
    recall(cache, key, Nothing, work)
    assert not unfinished.exists()
    assert worked(home / "log") == [1]


def test_a_refresh_works_every_batch_each_time(home):
    cache = home / "cache"
    key = Key(step="clean", parameters={})
    unfinished = cache / ".unfinished" / f"clean-{key.digest}"

    def work(folder):
        list(work_batches(double, [(1, home / "log")], unfinished))
        return Nothing()

    recall(cache, key, Nothing, work)
    list(work_batches(double, [(1, home / "log")], unfinished))  # as a failed attempt leaves it
    for n in (3, 4, 5):
        recall(cache, key, Nothing, work, refresh=True)
        assert worked(home / "log") == [1] * n
        assert not unfinished.exists()


def test_a_worker_does_not_import_what_it_does_not_need():
    code = (
        "import sys, tasks.row_work; "
        "sys.exit(any(m in sys.modules for m in ('prefect', 'great_expectations', 'sklearn')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
