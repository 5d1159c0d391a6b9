"""The page and the Markdown: whatever of a run there is, and nothing of it obeyed."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest

from neural_classifiers.pages import MARKDOWN_BYTES_MAX, plain, render_markdown, render_report
from neural_classifiers.scores import compare_predictions, score_predictions

HOSTILE = "<script>alert(1)</script>|[x](javascript:1)"
PNG = b"\x89PNG picture"
RUN = {
    "name": "tidy-tapir",
    "flow": "train-classifiers",
    "started": "2026-11-22T20:00:00+00:00",
    "attempts": 1,
    "parameters": {"source": HOSTILE, "seed": 34},
    "steps": [
        {
            "step": "clean_comments",
            "task_run": "clean_comments",
            "key": "ab" * 32,
            "hit": True,
            "seconds": 0.01,
            "peak_rss_mb": 300.0,
            "shared": True,
        },
        {
            "step": "fit_keras",
            "task_run": "fit_keras-0",
            "key": "cd" * 32,
            "hit": False,
            "seconds": 3.0,
            "peak_rss_mb": 900.0,
            "shared": False,
            "error": f"ValueError: {HOSTILE}",
        },
    ],
}
SOURCE = {
    "name": HOSTILE,
    "kind": "comments",
    "digest": "0" * 64,
    "rows": 40,
    "licence": "MIT",
    "citation": HOSTILE,
}


def comments(models=("constant", "linear")) -> dict:
    labels = ["a", HOSTILE]
    actual = np.array(["a"] * 10 + [HOSTILE] * 30)
    predicted = {"constant": np.array([HOSTILE] * 40), "linear": actual}
    told = {
        name: score_predictions(actual, predicted[name], labels).as_dict()
        | {"best_params": {"C": 10.0}, "best_cv_score": 0.9}
        for name in models
    }
    compared = []
    if len(models) > 1:
        found = compare_predictions(actual, predicted["linear"], predicted["constant"], 1)
        compared = [found.as_dict() | {"model": "linear", "rival": "constant"}]
    count = {"rows": 20, "empty": 0, "duplicates": 0, "train": 10, "test": 20}
    candidate = {
        "number": 2,
        "fitted_as": 1,
        "rank": 1,
        "params": {"C": HOSTILE},
        "mean": 0.9,
        "std": 0.01,
    }
    grid = {
        "csv": "grids/linear.csv",
        "candidates": 2,
        "distinct": 1,
        "parameters": ["C"],
        "top": [candidate],
    }
    return {
        "source": SOURCE,
        "rows": {
            "in_file": 41,
            "drawn": 41,
            "blank_lines": 0,
            "accepted": 40,
            "rejected": 1,
            "reasons": {HOSTILE: 1},
            "empty": 0,
            "duplicates": 0,
            "conflicting": 0,
            "train": 20,
            "test": 40,
        },
        "counts": dict.fromkeys(labels, count),
        "models": told,
        "comparisons": compared,
        "grids": {"linear": grid} if "linear" in models else {},
        "figures": {"head": "figures/head.png"},
        "files": {"train": {"path": "x/train.parquet", "sha256": "0" * 64}},
        "failed": [],
    }


DIGITS = {
    "source": SOURCE,
    "rows": {"train": 100, "validation": 10, "test": 1000},
    "models": {
        "notebook": {
            "parameters": 1_182_730,
            "test_accuracy": 0.967,
            "test_loss": 0.109,
            "epochs": [{"accuracy": 0.8, "loss": 0.6, "val_accuracy": 0.9, "val_loss": 0.2}],
        }
    },
    "figures": {},
    "files": {},
    "failed": [],
}
SECTIONS = [{}, {"comments": comments()}, {"digits": DIGITS}, {"comments": comments(())}]
SECTIONS += [{"comments": comments(("linear",)), "digits": DIGITS}]


class Reader(HTMLParser):
    """Collects tags, addresses and headings, and sees that tags are closed in order."""

    VOID = frozenset({"meta", "img", "br", "link", "input"})

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.unlabelled = 0
        self.text = ""
        self._open: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        told = dict(attrs)
        self.addresses += [v for k, v in attrs if k in ("src", "href") and v]
        self.unlabelled += tag == "img" and not told.get("alt")
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.text += data


@pytest.mark.parametrize("sections", SECTIONS, ids=["none", "comments", "digits", "failed", "both"])
def test_the_page_is_one_file_without_script_or_address(sections):
    reader = Reader()
    reader.feed(render_report(RUN, sections, {"head": PNG}, ["fit_keras-0"]))

    assert "script" not in reader.tags
    assert all(a.startswith(("data:image/png;base64,", "#")) for a in reader.addresses)
    assert reader.unlabelled == 0
    assert reader.tags.count("h1") == 1
    assert "This run failed in fit_keras-0." in reader.text


def test_the_verdict_comes_before_every_table():
    page = render_report(RUN, {"comments": comments(), "digits": DIGITS}, {})

    assert 0 < page.index("Use the linear model") < page.index("<table")
    assert "96.7" in page[: page.index("<table")]


def test_hostile_text_is_shown_and_not_obeyed():
    page = render_report(RUN, {"comments": comments(), "digits": DIGITS}, {"head": PNG})
    reader = Reader()
    reader.feed(page)

    assert "<script" not in page
    assert HOSTILE in reader.text  # as text, unharmed


def test_the_markdown_obeys_nothing_either_and_stays_small():
    figures = {"head": PNG, "large": b"\x89PNG" + bytes(400_000)}
    text = render_markdown(RUN, {"comments": comments(), "digits": DIGITS}, figures, [HOSTILE])

    assert "<script" not in text
    assert not re.search(r"(?<!\\)\]\(javascript", text)
    assert "data:image/png;base64," in text
    assert "large: in the run's folder." in text
    assert len(text.encode()) <= MARKDOWN_BYTES_MAX


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a|b", r"a\|b"),
        ("<b>", r"&lt;b&gt;"),
        ("two\nlines", "two lines"),
        ("[x](y)", r"\[x\]\(y\)"),
        ("plain words", "plain words"),
    ],
)
def test_plain_text_is_neither_html_nor_markdown(text, expected):
    assert plain(text) == expected
