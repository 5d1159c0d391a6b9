"""What Prefect's UI renders: text from outside is escaped on its one way there."""

import pytest
from markupsafe import Markup

from neural_classifiers.engine import artifacts


@pytest.fixture
def shown(monkeypatch):
    """What Prefect is given."""
    given = []
    for kind in ("table", "markdown", "progress"):
        name = f"create_{kind}_artifact"
        monkeypatch.setattr(artifacts.artifacts, name, lambda *a, **k: given.append((*a, k)))
    return given


def test_cells_column_names_and_descriptions_are_text_and_numbers_stay(shown):
    picture = "![](http://evil.example/x.png)"
    artifacts.show_table([{picture: picture, "n": 0.5, "none": None}], "key", "<img src=x>")
    [(rows, more)] = shown
    escaped = r"!\[](http\://evil.example/x.png)"
    assert rows == [{escaped: escaped, "n": 0.5, "none": None}]
    assert more["description"] == "&lt;img src=x>"


def test_a_page_that_no_template_made_is_text(shown):
    artifacts.show_markdown("[x](javascript:alert(1))", "key", "")
    artifacts.show_markdown(Markup("**well**"), "key", "")
    assert [text for text, _ in shown] == [r"\[x](javascript:alert(1))", "**well**"]


def test_progress_is_told_in_text(shown):
    artifacts.show_progress(1.0, "key", "<b>1</b>", None)
    assert shown[0][2] == "&lt;b>1&lt;/b>"
