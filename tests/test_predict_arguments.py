"""A misspelt path is never predicted as a comment, and a comment never looked for as a file."""

import os

import pytest

from neural_classifiers.errors import RefusedError
from neural_classifiers.operation import cli
from neural_classifiers.operation.arguments import files_among


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A current folder with a few files."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    for name in ("comments.jsonl", "data/My posts 2026.csv", "t10k-images-idx3-ubyte", "goals"):
        (tmp_path / name).write_text("x")
    (tmp_path / "broken").symlink_to("nowhere")
    os.mkfifo("pipe")
    return tmp_path


@pytest.mark.parametrize(
    "text",
    [
        "The goalie saved it!",
        "Wow...",
        "hello",
        "What?!",
        "9.5",
        "He said and/or she said, v1.0 of it.",
        "see https://example.org/a.html for more",
        "",
        " ",
        "\x00",
        "half a pair \ud83d",
        "goal " * 5000,
        "g" * 5000,
        "Цена 5,50. Хорошо",
        "- bullet",
    ],
)
def test_a_text_is_a_text(here, text):
    assert files_among([text, "Another one."]) == []


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("coments.jsonl", "no such file, perhaps comments.jsonl; what is a text all the same: --t"),
        ("nothing.JSONL", "no such file; what is a text"),
        ("data/nothing", "no such file"),
        ("./x", "no such file"),
        ("/nowhere/at/all", "no such file"),
        ("data/*.jsonl", "no such file"),
        ("*.csv", "no such file"),
        ("part-[0-9]", "no such file"),
        ("C:\\posts.csv", "no such file"),
        ("seven.png", "no such file"),
        ("t10k-image-idx3-ubyte", "no such file, perhaps t10k-images-idx3-ubyte"),
        ("my posts.csv", "no such file"),
        ("data/My post 2026.csv", "no such file, perhaps data/My posts 2026.csv"),
        ("data/some posts", "no such file"),
        ("data", "expected files, got a folder: name those in it"),
        ("data/", "expected files, got a folder"),
        (".", "expected files, got a folder"),
        ("broken", "no such file"),
        ("pipe", "no such file"),
        ("goal", "no such file, perhaps goals"),
        ("https://example.org/posts.jsonl", "no such file"),
        ("x" * 300 + ".csv", "x" * 200 + ": no such file"),
    ],
)
def test_a_path_that_is_no_file_is_refused(here, capsys, argument, words):
    with pytest.raises(RefusedError) as refused:
        files_among(["The goalie saved it!", argument])
    assert words in str(refused.value)

    assert cli.main(["predict", argument]) == 1
    assert words in capsys.readouterr().err


def test_where_one_argument_is_a_file_all_must_be(here):
    assert [str(file) for file in files_among(["goals", "comments.jsonl"])] == [
        "goals",
        "comments.jsonl",
    ]
    with pytest.raises(RefusedError, match=r"^A text: no such file"):
        files_among(["goals", "A text"])
    with pytest.raises(RefusedError, match=r"^A text: no such file"):
        files_among(["A text"], is_any_path=True)
