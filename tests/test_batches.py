"""Batches: in order, each on disk at once, none worked twice, whatever ends the process."""

import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from neural_classifiers.engine.records import Key, Reference, recall
from neural_classifiers.engine.rows.batches import Result, useful_workers, work_batches


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


def run(home, body=double, n=9, n_workers=0, advance=lambda _: None):
    batches = ((number, home / "log") for number in range(n))
    return list(work_batches(body, batches, home / "unfinished", n_workers, advance))


def worked(home):
    log = home / "log"
    return sorted(map(int, log.read_text().split())) if log.exists() else []


@pytest.mark.parametrize("n_workers", [0, 2])
def test_results_come_in_the_order_of_their_batches_each_worked_once(home, n_workers):
    done = []
    for _ in range(2):
        results = run(home, n=7, n_workers=n_workers, advance=done.append)
        found = [(b.summary["number"], b.read("rows")["n"].to_pylist()) for b in results]
        assert found == [(n, [n, 2 * n, 2 * n]) for n in range(7)]
    assert worked(home) == list(range(7))
    assert done == [2] * 14


@pytest.mark.parametrize("name", ["000002-summary", "000002-rows.arrow"])
def test_what_is_damaged_or_gone_is_worked_again(home, name):
    run(home, n=4)
    file = home / "unfinished" / name
    content = file.read_bytes()
    changed = [content[:n] + b"?" + content[n + 1 :] for n in range(len(content))]
    for damage in (content[:-1], b"null", b"", *changed[:: len(changed) // 9], None):
        (home / "log").unlink()
        if damage is None:
            file.unlink()
        else:
            file.write_bytes(damage)
        again = run(home, n=4)
        assert worked(home) == [2]
        assert file.read_bytes() == content
        assert [b.summary["number"] for b in again] == [0, 1, 2, 3]


@pytest.mark.parametrize("n_workers", [0, 1])
def test_an_error_ends_the_work_and_what_is_done_stays(home, n_workers):
    with pytest.raises(ValueError, match="got batch 3"):
        run(home, fail_at_3, n_workers=n_workers)
    assert worked(home)[:3] == [0, 1, 2]
    assert 3 not in worked(home)
    run(home)
    assert worked(home) == list(range(9))


def test_after_a_kill_the_batches_that_were_done_are_not_worked_again(home):
    code = (
        f"import sys; sys.path[:0] = {sys.path!r}; from pathlib import Path; "
        f"import test_batches as t; t.run(Path({str(home)!r}), t.die_at_4)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert worked(home) == [0, 1, 2, 3]
    results = run(home)
    assert worked(home) == list(range(9))
    assert [b.summary["number"] for b in results] == list(range(9))


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


def test_finished_batches_go_when_the_record_stands_and_a_refresh_works_them_again(home):
    cache, key = home / "cache", Key(step="clean", parameters={})
    unfinished = cache / ".unfinished" / key.name

    def step(error=None, refresh=False):
        def work(folder):
            assert folder.name == unfinished.name
            list(work_batches(double, [(1, home / "log")], unfinished))
            if error:
                raise error
            return Nothing()

        return recall(cache, key, Nothing, work, refresh=refresh)

    with pytest.raises(ValueError, match="no"):
        step(error=ValueError("no"))
    assert unfinished.is_dir()
    step()
    assert not unfinished.exists()
    assert worked(home) == [1]

    list(work_batches(double, [(1, home / "log")], unfinished))  # as a failed attempt leaves it
    for n in (3, 4):
        step(refresh=True)
        assert worked(home) == [1] * n
        assert not unfinished.exists()


def test_a_worker_does_not_import_what_it_does_not_need():
    code = (
        "import sys, tasks.row_work, neural_classifiers.comments.text; "
        "sys.exit(bool({'prefect', 'great_expectations', 'sklearn', 'nltk'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
