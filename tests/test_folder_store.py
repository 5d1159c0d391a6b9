"""Work in progress: whole values, kept at once, found by another process."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from neural_classifiers.engine.folder_store import FolderStore


def test_a_value_is_there_for_whoever_opens_the_folder_next(tmp_path):
    FolderStore(tmp_path / "fits")["a1"] = b"one"
    again = FolderStore(tmp_path / "fits")

    assert dict(again) == {"a1": b"one"}
    assert len(again) == 1
    del again["a1"]
    assert "a1" not in FolderStore(tmp_path / "fits")


def test_two_that_keep_the_same_value_at_once_take_turns(tmp_path):
    values = [bytes([letter]) * 300_000 for letter in b"abcd"]
    with ThreadPoolExecutor(len(values)) as threads:
        list(threads.map(lambda value: FolderStore(tmp_path).update(a1=value), values))

    assert FolderStore(tmp_path)["a1"] in values
    assert [p.name for p in tmp_path.glob("[!.]*")] == ["a1"]


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
