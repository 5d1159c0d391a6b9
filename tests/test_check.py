"""The command ``check``: the verdict of a run on a source, without a run."""

import json
import os

import numpy as np
import pytest
from conftest import comments_file

from neural_classifiers.engine import paths
from neural_classifiers.operation import cli
from neural_classifiers.operation.check import NOTHING
from tasks.downloads import to_idx

FACES = ["\N{GRINNING FACE}", "\N{SOCCER BALL}"]


@pytest.fixture(autouse=True)
def own_settings(home, monkeypatch):
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:1/api")  # where nobody answers


def checked(capsys, *words, status=0):
    capsys.readouterr()
    assert cli.main(["check", *map(str, words), "--json"]) == status
    return json.loads(capsys.readouterr().out)


def test_a_sound_file_is_accepted_with_its_counts_and_leaves_no_run(home, capsys):
    path = comments_file(home / "comments.jsonl", n=100)  # 10 science, 30 sports, 60 games
    path.write_text(path.read_text() + "not JSON\n" + path.read_text().splitlines()[0] + "\n")

    found = checked(capsys, path)

    assert NOTHING.keys() <= found.keys()
    assert (found["ok"], found["error"], found["warnings"]) == (True, None, [])
    assert (found["rows_in"], found["accepted"], found["duplicates"]) == (102, 100, 1)
    assert found["quarantined"] == {"line: not JSON": 1}
    assert found["categories"] == {
        "science_and_technology": 10, "sports": 30, "video_games": 60
    }  # fmt: skip
    assert (found["train"], found["test"]) == (70, 30)
    assert not paths.runs().exists()
    assert cli.main(["check", str(path)]) == 0
    assert capsys.readouterr().out.endswith("accepted\n")


def lines(n, **fields):
    """Comments of two classes in turn; a field that is a list has a value a line in turn."""
    return "".join(
        json.dumps({"cat": "ab"[i % 2], "txt": f"goal number{i}"} | {
            name: values[i % len(values)] if isinstance(values, list) else values
            for name, values in fields.items()
        }) + "\n"
        for i in range(n)
    )  # fmt: skip


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ("", (), "got 0 bytes"),
        (lines(40, txt=None), (), "at most 5.0% faulty rows"),
        (lines(40, cat="a"), (), "--categories names them"),
        (lines(40, txt="the same"), (), "at most 40% duplicates"),
        (lines(40, txt=FACES * 20), (), "duplicates"),
        (lines(4), (), "at least 5 rows of every category"),
        (lines(12), (), "at least 5 training rows of every class"),
        (lines(40, when=7), ("--time-column", "when"), "the latest share one time"),
        (lines(40), ("--cleaning", "notbook"), "cleaning: expected one of"),
        (lines(40), ("--sample", "99"), "at least 99 rows"),
        (lines(40), ("--text-column", "body"), "'body'"),
    ],
)
def test_what_would_stop_a_run_is_said_with_status_1(home, capsys, content, options, message):
    path = home / "comments.jsonl"
    path.write_text(content, encoding="utf-8")

    found = checked(capsys, path, *options, status=1)

    assert not found["ok"]
    assert message in found["error"]
    assert checked(capsys, home / "nowhere", status=1)["rows_in"] is None


def test_a_name_that_is_no_utf_8_is_read_and_shown_otherwise(home, capsys):
    folder = home / "days"
    folder.mkdir()
    comments_file(folder / os.fsdecode(b"caf\xe9.jsonl"), n=100)

    assert checked(capsys, folder)["accepted"] == 100
    with pytest.raises(SystemExit):
        cli.main(["check", os.fsdecode(bytes(folder / "caf") + b"\xe9.jsonl")])
    assert "expected a path in UTF-8" in capsys.readouterr().err


def test_digits_are_checked_too(home, capsys):
    rng, folder = np.random.default_rng(1), home / "digits"
    folder.mkdir()
    for name, n in (("train", 240), ("t10k", 60)):
        labels = np.arange(n, dtype=np.uint8) % 10
        images = rng.integers(0, 255, (n, 28, 28), dtype=np.uint8)
        (folder / f"{name}-images-idx3-ubyte").write_bytes(to_idx(images))
        (folder / f"{name}-labels-idx1-ubyte").write_bytes(to_idx(labels))

    found = checked(capsys, "digits", folder)

    assert (found["rows_in"], found["train"], found["test"]) == (300, 220, 60)
    assert found["categories"] == {str(digit): 30 for digit in range(10)}
    (folder / "train-labels-idx1-ubyte").unlink()
    assert "labels, got no" in checked(capsys, "digits", folder, status=1)["error"]
