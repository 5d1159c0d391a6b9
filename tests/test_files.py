"""Files that are whole or not there, and that lead or replace nothing of somebody else's."""

import os

import pytest

from neural_classifiers.engine.files import OutputError, whole_file, write_durably


def test_a_planted_link_is_not_written_through(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    for name in (".a.json.writing", ".b.csv.writing-1", f".b.csv.writing-{os.getpid()}"):
        (tmp_path / name).symlink_to(victim)

    write_durably(tmp_path / "a.json", b"{}")
    with whole_file(tmp_path / "b.csv") as path:
        path.write_text("b")

    assert victim.read_text() == "precious"
    assert (tmp_path / "a.json").read_bytes() == b"{}"
    assert not (tmp_path / "a.json").is_symlink()
    assert (tmp_path / "b.csv").read_text() == "b"


@pytest.mark.parametrize("left", ["abc", "1²", "", "99999999", "99999999-0a"])
def test_what_lies_there_under_a_hidden_name_is_no_hindrance(tmp_path, left):
    (tmp_path / f".b.csv.writing-{left}").write_text("x")

    with whole_file(tmp_path / "b.csv") as path:
        path.write_text("b")

    assert (tmp_path / "b.csv").read_text() == "b"
    # of a process that is gone it is removed; of a name that is not ours it is not
    assert (tmp_path / f".b.csv.writing-{left}").exists() != left.startswith("9")


@pytest.mark.parametrize("kind", ["folder", "pipe", "link", "broken link"])
def test_nothing_but_a_regular_file_is_replaced(tmp_path, kind):
    out, victim = tmp_path / "out.csv", tmp_path / "victim"
    victim.write_text("precious")
    make = {"folder": out.mkdir, "pipe": lambda: os.mkfifo(out)}
    make.get(kind, lambda: out.symlink_to(victim if kind == "link" else "nowhere"))()

    with (
        pytest.raises(OutputError, match=r"out.csv: expected no file there, got a folder, a link"),
        whole_file(out) as path,
    ):
        path.write_text("b")

    assert victim.read_text() == "precious"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.csv", "victim"]


def test_a_file_that_may_not_be_replaced_stays(tmp_path):
    (tmp_path / "run.zip").write_text("mine")

    with (
        pytest.raises(OutputError, match=r"run.zip: expected no file there yet, got one"),
        whole_file(tmp_path / "run.zip", may_replace=False),
    ):
        pass
    assert (tmp_path / "run.zip").read_text() == "mine"
