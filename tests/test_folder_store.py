"""Work in progress: whole values, kept at once, found by another process."""

import os
import signal
import threading

import pytest

from neural_classifiers.engine.folder_store import FolderStore


def test_a_value_is_there_for_whoever_opens_the_folder_next(tmp_path):
    FolderStore(tmp_path / "fits")["a1"] = b"one"
    again = FolderStore(tmp_path / "fits")

    assert dict(again) == {"a1": b"one"}
    assert len(again) == 1
    del again["a1"]
    assert "a1" not in FolderStore(tmp_path / "fits")


def test_a_write_that_fails_leaves_the_old_value(tmp_path, monkeypatch):
    store = FolderStore(tmp_path)
    store["a1"] = b"old"

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        store["a1"] = b"new"

    assert dict(FolderStore(tmp_path)) == {"a1": b"old"}
    assert [p.name for p in tmp_path.iterdir()] == ["a1"]


def test_two_that_keep_the_same_value_at_once_take_turns(tmp_path):
    values = [bytes([letter]) * 300_000 for letter in b"abcd"]
    threads = [
        threading.Thread(target=lambda v: FolderStore(tmp_path).update(a1=v), args=(value,))
        for value in values
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert FolderStore(tmp_path)["a1"] in values
    assert [p.name for p in tmp_path.iterdir()] == ["a1"]


def test_what_a_kill_left_is_no_value_and_goes_with_the_next_write(tmp_path):
    child = os.fork()
    if child == 0:
        os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)
        FolderStore(tmp_path)["a1"] = b"half"
    os.waitpid(child, 0)
    assert len(list(tmp_path.iterdir())) == 1
    assert dict(FolderStore(tmp_path)) == {}

    FolderStore(tmp_path)["a1"] = b"whole"

    assert [p.name for p in tmp_path.iterdir()] == ["a1"]


@pytest.mark.parametrize("name", ["../a", "", "a/b", ".hidden"])
def test_a_name_never_leaves_the_folder(tmp_path, name):
    with pytest.raises(ValueError, match="expected a name of letters"):
        FolderStore(tmp_path)[name] = b""


def test_a_missing_value_is_a_key_error(tmp_path):
    store = FolderStore(tmp_path / "none")
    with pytest.raises(KeyError, match="a1"):
        store["a1"]
    with pytest.raises(KeyError, match="a1"):
        del store["a1"]
    assert list(store) == []
