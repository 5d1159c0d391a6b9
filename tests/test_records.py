"""Records: whole or absent, found again, never believed when damaged."""

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tasks import records
from tasks.records import File, Key, Reference, digest_of, faults_of, folder_of, identity, recall


class Counted(Reference):
    table: File
    rows: int


KEY = Key(step="count_words", parameters={"seed": 34}, code={"f": "1"}, libraries={"nltk": "3.10"})


def writes(text: str, calls: list[int] | None = None):
    def work(folder: Path) -> Counted:
        if calls is not None:
            calls.append(1)
        (folder / "table.txt").write_text(text)
        return Counted(table=File.of(folder / "table.txt"), rows=len(text))

    return work


def test_a_finished_step_is_found_and_not_done_again(tmp_path):
    calls: list[int] = []
    first = recall(tmp_path, KEY, Counted, writes("abc", calls))
    second = recall(tmp_path, KEY, Counted, writes("abc", calls))

    assert (first.hit, second.hit, len(calls)) == (False, True, 1)
    assert second.result == first.result
    assert second.result.table.path == folder_of(tmp_path, KEY) / "table.txt"
    assert second.result.table.path.read_text() == "abc"


def test_the_record_tells_key_rows_and_outputs_and_keeps_the_time_apart(tmp_path):
    source = Counted(table=File(path=Path("/x"), sha256="0" * 64, size=1), rows=7)
    key = Key(step="count_words", parameters={"seed": 34}, inputs={"source": source})
    recall(tmp_path, key, Counted, writes("abc"), timing=lambda: {"seconds": 1.5})
    home = folder_of(tmp_path, key)
    record = json.loads((home / "record.json").read_text())

    assert record["inputs"] == {"source": {"table": "0" * 64, "rows": 7}}  # no path
    assert (record["rows_in"], record["rows_out"]) == (7, 3)
    assert record["outputs"] == [
        {"file": "table.txt", "size": 3, "sha256": digest_of(home / "table.txt")}
    ]
    assert "seconds" not in json.dumps(record)
    assert json.loads((home / "timing.json").read_text()) == {"seconds": 1.5}


@pytest.mark.parametrize(
    "other",
    [
        Key(step="count_words", parameters={"seed": 35}, code=KEY.code, libraries=KEY.libraries),
        Key(step="count", parameters={"seed": 34}, code=KEY.code, libraries=KEY.libraries),
        Key("count_words", {"seed": 34}, {"x": "digest"}, KEY.code, KEY.libraries),
        Key(step="count_words", parameters={"seed": 34}, code={"f": "2"}, libraries=KEY.libraries),
        Key(step="count_words", parameters={"seed": 34}, code=KEY.code, libraries={"nltk": "4"}),
    ],
    ids=["parameters", "step", "inputs", "code", "libraries"],
)
def test_every_part_of_the_key_decides(other):
    assert other.digest != KEY.digest


def test_a_file_counts_by_its_content_not_by_its_place(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("same")
    two.write_text("same")

    assert identity(File.of(one)) == identity(File.of(two))
    assert identity(File.of(one, content="meaning")) == "meaning"


def test_an_argument_that_is_neither_plain_nor_a_reference_is_refused():
    with pytest.raises(TypeError, match="plain or a reference, not set"):
        identity({"words": {"a", "b"}})


@pytest.mark.parametrize("damage", ["change", "shorten", "delete", "record", "half a record"])
def test_a_damaged_record_is_set_aside_and_computed_again(tmp_path, damage):
    recall(tmp_path, KEY, Counted, writes("abc"))
    home = folder_of(tmp_path, KEY)
    table, record = home / "table.txt", home / "record.json"
    if damage == "change":
        table.write_text("abd")
    elif damage == "shorten":
        table.write_text("ab")
    elif damage == "delete":
        table.unlink()
    elif damage == "record":
        record.unlink()
    else:
        record.write_bytes(record.read_bytes()[:50])
    assert faults_of(home)

    again = recall(tmp_path, KEY, Counted, writes("abc"))

    assert not again.hit
    assert "set aside as count_words-" in (again.warning or "")
    assert len(list((tmp_path / ".aside").iterdir())) == 1
    assert faults_of(home) is None
    assert recall(tmp_path, KEY, Counted, writes("abc")).hit


def test_work_that_fails_leaves_nothing(tmp_path):
    def work(folder: Path) -> Counted:
        (folder / "half.txt").write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        recall(tmp_path, KEY, Counted, work)

    assert not folder_of(tmp_path, KEY).exists()
    assert list((tmp_path / ".writing").iterdir()) == []
    assert not recall(tmp_path, KEY, Counted, writes("abc")).hit


def test_a_killed_process_leaves_no_record_and_no_lock(tmp_path):
    script = f"""
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_records import KEY, Counted
from tasks.records import recall
def work(folder):
    (folder / "half.txt").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
recall(Path({str(tmp_path)!r}), KEY, Counted, work)
"""
    killed = subprocess.run([sys.executable, "-c", script], env=os.environ, check=False)
    assert killed.returncode == -9

    again = recall(tmp_path, KEY, Counted, writes("abc"))

    assert not again.hit
    assert sorted(p.name for p in again.result.table.path.parent.iterdir()) == [
        "record.json",
        "table.txt",
        "timing.json",
    ]


def test_two_that_want_the_same_record_compute_it_once(tmp_path):
    calls: list[int] = []

    def slow(folder: Path) -> Counted:
        calls.append(1)
        time.sleep(0.2)
        return writes("abc")(folder)

    outcomes: list[records.Outcome[Counted]] = []
    threads = [
        threading.Thread(target=lambda: outcomes.append(recall(tmp_path, KEY, Counted, slow)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(calls) == 1
    assert sorted(outcome.hit for outcome in outcomes) == [False, True, True, True]


def test_refresh_keeps_the_record_when_the_output_is_equal(tmp_path):
    recall(tmp_path, KEY, Counted, writes("abc"))
    inode = folder_of(tmp_path, KEY).stat().st_ino
    calls: list[int] = []
    again = recall(tmp_path, KEY, Counted, writes("abc", calls), refresh=True)

    assert (again.hit, again.warning, len(calls)) == (False, None, 1)
    assert folder_of(tmp_path, KEY).stat().st_ino == inode


def test_refresh_that_gives_another_output_says_not_reproducible(tmp_path):
    recall(tmp_path, KEY, Counted, writes("abc"))
    again = recall(tmp_path, KEY, Counted, writes("xyz"), refresh=True)

    assert "not reproducible" in (again.warning or "")
    assert again.result.table.path.read_text() == "xyz"
    [aside] = (tmp_path / ".aside").iterdir()
    assert (aside / "table.txt").read_text() == "abc"


def test_a_cache_can_be_moved(tmp_path):
    recall(tmp_path / "here", KEY, Counted, writes("abc"))
    (tmp_path / "here").rename(tmp_path / "there")

    found = recall(tmp_path / "there", KEY, Counted, writes("abc"))

    assert found.hit
    assert found.result.table.verified().read_text() == "abc"
