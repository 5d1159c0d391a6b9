"""A run in a few lines: what a first run, a changed one and an unchanged one say."""

from neural_classifiers.report.summary import render_summary

FILES = {"report": "runs/owl/report.html"}
RUN = {"outcome": "**Completed**: done", "computed": ["search_keras"], "cached": ["clean"]}


def test_a_first_run_has_nothing_to_compare_with():
    text = render_summary(RUN, {"comments.keras.accuracy": [None, 0.75]}, [], None, FILES)
    assert text.startswith("**Completed**: done\n")
    assert "| comments · keras · accuracy | 0.7500 |" in text
    assert "last time" not in text.lower()
    assert "1 steps computed, 1 from the cache: computed search_keras" in text
    assert "- report: `runs/owl/report.html`" in text


def test_a_change_is_told_beside_what_changed():
    scores = {"a.b.accuracy": [0.5, 0.75], "a.b.f1_macro": [0.5, 0.5], "a.c.accuracy": [0.5, None]}
    text = render_summary(RUN, scores, ["parameters.seed: 34 -> 35"], "hen", FILES)
    assert "| a · b · accuracy | 0.5000 | 0.7500 | +0.2500 |" in text
    assert "| a · b · f1_macro | 0.5000 | 0.5000 | same |" in text
    assert "| a · c · accuracy | 0.5000 |  |  |" in text
    assert "Last time: `hen`" in text
    assert "- parameters.seed: 34 -> 35" in text


def test_an_unchanged_run_says_that_nothing_changed():
    text = render_summary(RUN, {"a.b.accuracy": [0.5, 0.5]}, [], "hen", FILES)
    assert "- nothing: the same parameters, data, code and libraries" in text
