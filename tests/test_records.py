"""Records: whole or absent, found again, never believed when damaged."""

import errno
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from neural_classifiers.engine import records
from neural_classifiers.engine.folder_store import FolderStore
from neural_classifiers.engine.records import (
    File,
    Key,
    Reference,
    digest_of,
    faults_of,
    identity,
    recall,
    record_folder,
)

BEFORE = f"""
import os, signal, subprocess, sys, time
from pathlib import Path
sys.path[:0] = [{str(Path(__file__).parents[1])!r}, {str(Path(__file__).parent)!r}]
from test_records import KEY, Counted, writes
from neural_classifiers.engine.records import File, recall
cache = Path(sys.argv[1])
"""


def start(script: str, cache: Path) -> subprocess.Popen[str]:
    """Another process, which sees the cache."""
    command = [sys.executable, "-c", BEFORE + script, str(cache)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


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
    assert second.result.table.path == record_folder(tmp_path, KEY) / "table.txt"
    assert second.result.table.path.read_text() == "abc"


def test_the_record_tells_key_result_and_outputs_and_keeps_the_time_apart(tmp_path):
    source = Counted(table=File(path=Path("/x"), sha256="0" * 64, size=1), rows=7)
    key = Key(step="count_words", parameters={"seed": 34}, inputs={"source": source})
    recall(tmp_path, key, Counted, writes("abc"), timing=lambda: {"seconds": 1.5})
    home = record_folder(tmp_path, key)
    record = json.loads((home / "record.json").read_text())

    assert record["inputs"] == {"source": {"table": "0" * 64, "rows": 7}}  # no path
    assert record["result"]["rows"] == 3
    assert record["outputs"] == [
        {"file": "table.txt", "size": 3, "sha256": digest_of(home / "table.txt")}
    ]
    assert "seconds" not in json.dumps(record)
    assert json.loads((home / "timing.json").read_text()) == {"seconds": 1.5}


@pytest.mark.parametrize(
    "part",
    [
        {"step": "count"},
        {"parameters": {"seed": 35}},
        {"inputs": {"x": "digest"}},
        {"code": {"f": "2"}},
        {"libraries": {"nltk": "4"}},
    ],
    ids=lambda part: next(iter(part)),
)
def test_every_part_of_the_key_decides(part):
    assert replace(KEY, **part).digest != KEY.digest


def test_a_file_counts_by_its_content_not_by_its_place(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("same")
    two.write_text("same")

    assert identity(File.of(one)) == identity(File.of(two))
    assert identity(File.of(one, content="meaning")) == "meaning"


def test_an_argument_that_is_neither_plain_nor_a_reference_is_refused():
    with pytest.raises(TypeError, match="plain or a reference, not set"):
        identity({"words": {"a", "b"}})


def change(old: bytes, new: bytes):
    return lambda path: path.write_bytes(path.read_bytes().replace(old, new))


@pytest.mark.parametrize(
    ("file", "damage"),
    [
        ("table.txt", change(b"abc", b"abd")),
        ("table.txt", change(b"abc", b"ab")),
        ("table.txt", Path.unlink),
        ("record.json", Path.unlink),
        ("record.json", lambda path: path.write_bytes(path.read_bytes()[:50])),
        ("record.json", change(b'"rows": 3', b'"rows": 7')),  # still JSON, still the right key
    ],
    ids=["change", "shorten", "delete", "record", "half a record", "a number of the record"],
)
def test_a_damaged_record_is_set_aside_and_computed_again(tmp_path, file, damage):
    recall(tmp_path, KEY, Counted, writes("abc"))
    home = record_folder(tmp_path, KEY)
    damage(home / file)
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

    assert not record_folder(tmp_path, KEY).exists()
    assert list((tmp_path / ".writing").iterdir()) == []
    assert not recall(tmp_path, KEY, Counted, writes("abc")).hit


def test_a_worker_that_outlives_its_run_never_writes_into_the_next_attempt(tmp_path):
    script = """
def work(folder):
    late = "import sys, time; time.sleep(0.5); open(sys.argv[1], 'w').write('late')"
    subprocess.Popen([sys.executable, "-c", late, str(folder / "table.txt")])
    os.kill(os.getpid(), signal.SIGKILL)
recall(cache, KEY, Counted, work)
"""

    def slow(folder: Path) -> Counted:
        made = writes("abc")(folder)
        time.sleep(1)
        return made

    with start(script, tmp_path) as killed:
        killed.wait()
    made = recall(tmp_path, KEY, Counted, slow)

    assert made.result.table.verified().read_text() == "abc"


def test_two_processes_that_want_the_same_record_compute_it_once(tmp_path):
    script = """
def work(folder):
    (cache / f"computed-{os.getpid()}").touch()
    time.sleep(0.3)
    return writes("abc")(folder)
outcome = recall(cache, KEY, Counted, work)
print(outcome.hit, outcome.result.table.sha256, outcome.result.table.path)
"""
    both = [start(script, tmp_path) for _ in range(2)]
    told = sorted(process.communicate()[0].split() for process in both)

    assert [hit for hit, *_ in told] == ["False", "True"]
    assert told[0][1:] == told[1][1:]
    assert len(list(tmp_path.glob("computed-*"))) == 1


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 1 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    try:
        mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("needs the program mount")
    if mounted.returncode:
        pytest.skip(f"needs leave to mount a small disk: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_a_full_disk_is_an_error_and_room_makes_it_good(small_disk):
    filler = small_disk / "filler"
    filler.write_bytes(bytes(900_000))
    text = "a" * 400_000

    with pytest.raises(OSError, match="No space left"):
        recall(small_disk / "cache", KEY, Counted, writes(text))
    with pytest.raises(OSError, match="No space left"):
        FolderStore(small_disk / "fits")["a1"] = text.encode()

    left = [p for p in small_disk.rglob("*") if p.is_file() and p.stat().st_size]
    assert left == [filler]
    filler.unlink()
    assert not recall(small_disk / "cache", KEY, Counted, writes(text)).hit
    assert recall(small_disk / "cache", KEY, Counted, writes(text)).hit


def test_a_record_that_cannot_be_read_just_now_is_not_set_aside(tmp_path, monkeypatch):
    recall(tmp_path, KEY, Counted, writes("abc"))

    def too_many(*_: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as broken:
        broken.setattr(records, "digest_of", too_many)
        with pytest.raises(OSError, match="Too many open files"):
            recall(tmp_path, KEY, Counted, writes("abc"))

    assert recall(tmp_path, KEY, Counted, writes("abc")).hit


def test_a_record_is_on_disk_before_it_is_in_its_place(tmp_path, monkeypatch):
    """What is not flushed before the rename may be missing after a loss of power."""
    flushed: list[int] = []  # inodes, in order
    placed: list[tuple[Path, set[Path]]] = []  # each rename of a folder; what was flushed by then
    fsync, rename = os.fsync, os.rename

    def note_fsync(handle: int) -> None:
        flushed.append(os.fstat(handle).st_ino)
        fsync(handle)

    def note_rename(old: Path, new: Path) -> None:
        if Path(old).is_dir():
            below = [Path(old), *Path(old).rglob("*")]
            placed.append((new, {p.relative_to(old) for p in below if p.stat().st_ino in flushed}))
            flushed.clear()
        rename(old, new)

    def work(folder: Path) -> Counted:
        (folder / "figures").mkdir()
        (folder / "figures" / "head.png").write_bytes(b"png")
        (folder / "timing.fits.json").write_text("{}")
        return writes("abc")(folder)

    monkeypatch.setattr("os.fsync", note_fsync)
    monkeypatch.setattr("os.rename", note_rename)
    recall(tmp_path, KEY, Counted, work)

    home = record_folder(tmp_path, KEY)
    [(to, before)] = placed
    assert to == home
    assert before == {p.relative_to(home) for p in (home, *home.rglob("*"))}
    assert home.parent.stat().st_ino in flushed  # and the name in its new place, after


def test_refresh_keeps_the_record_when_the_output_is_equal(tmp_path):
    recall(tmp_path, KEY, Counted, writes("abc"))
    inode = record_folder(tmp_path, KEY).stat().st_ino
    calls: list[int] = []
    again = recall(tmp_path, KEY, Counted, writes("abc", calls), refresh=True)

    assert (again.hit, again.warning, len(calls)) == (False, None, 1)
    assert record_folder(tmp_path, KEY).stat().st_ino == inode


def test_refresh_that_gives_another_output_says_not_reproducible(tmp_path):
    recall(tmp_path, KEY, Counted, writes("abc"))
    again = recall(tmp_path, KEY, Counted, writes("xyz"), refresh=True)

    assert "not reproducible" in (again.warning or "")
    assert again.result.table.path.read_text() == "xyz"
    [aside] = (tmp_path / ".aside").iterdir()
    assert (aside / "table.txt").read_text() == "abc"


def test_what_was_set_aside_is_never_lost_to_a_second_time(tmp_path):
    for text in ("one", "two", "three"):
        recall(tmp_path, KEY, Counted, writes(text), refresh=True)
    aside = tmp_path / ".aside"
    first, _ = sorted(aside.iterdir())
    shutil.rmtree(first)

    recall(tmp_path, KEY, Counted, writes("four"), refresh=True)

    assert sorted((p / "table.txt").read_text() for p in aside.iterdir()) == ["three", "two"]


def test_a_refresh_that_fails_keeps_the_record(tmp_path, monkeypatch):
    recall(tmp_path, KEY, Counted, writes("abc"))

    def full() -> dict[str, float]:  # the last that is written before the record changes places
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        recall(tmp_path, KEY, Counted, writes("xyz"), full, refresh=True)

    found = recall(tmp_path, KEY, Counted, writes("xyz"))
    assert (found.hit, found.result.table.path.read_text()) == (True, "abc")


def test_a_cache_can_be_moved(tmp_path):
    recall(tmp_path / "here", KEY, Counted, writes("abc"))
    (tmp_path / "here").rename(tmp_path / "there")

    found = recall(tmp_path / "there", KEY, Counted, writes("abc"))

    assert found.hit
    assert found.result.table.verified().read_text() == "abc"
