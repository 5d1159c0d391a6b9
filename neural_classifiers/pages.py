"""The report of a run as one page, and as Markdown for the Prefect UI.

Both are made of the same plain values, whatever of them there is: a run whose searches failed
still has its data to show. The verdict comes first, in words. Texts and labels out of the data are
hostile input: the page escapes them (Jinja's autoescape), the Markdown neutralises both HTML and
Markdown.
"""

import base64
import html
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from neural_classifiers.scores import (
    ModelComparison,
    Scores,
    model_title,
    percent,
    recommend_model,
    verdict,
    verdict_sentences,
    wilson_interval,
)

MARKDOWN_BYTES_MAX = 300_000  # of an artifact: beyond it the Prefect UI becomes slow

DEPARTURES = (
    "Every word of a comment is stemmed. The notebook stems the whole comment as one word, so only "
    "its last word changes.",
    "The vectoriser is fitted on training comments only, inside each fold. The notebook fits it "
    "again on the test set before the Keras network predicts, so the columns mean other words.",
    "The Keras network's 2,100 features are a choice; the notebook takes the number of rows for "
    "the number of features.",
    "A constant answer and a linear model are judged beside the networks. The notebook has no "
    "baseline, and hides that its Keras network is worse than always giving one answer.",
    "Candidates that cannot differ are fitted once: 48 of the notebook's 108 repeat another one.",
    "[removed] comments and duplicates are dropped and counted, the split is stratified, and no "
    "cleaned text stands on both sides of it.",
    "Stop words go while the apostrophe stands, and punctuation separates words. The notebook "
    "makes “dont” of “don't” and “pcconsole” of “pc/console”.",
    "The digits' validation images come from the training set, everything is seeded, the models "
    "are kept, and the headline is the test accuracy, not the training accuracy.",
)


def render_report(
    run: Mapping[str, Any],
    sections: Mapping[str, Mapping[str, Any]],
    figures: Mapping[str, bytes],
    failed: Sequence[str] = (),
) -> str:
    """The page of a run: one HTML document without script or outside address.

    Parameters
    ----------
    run : mapping
        As ``run.json``: name, flow, started, attempts, parameters, steps.
    sections : mapping
        ``comments`` and ``digits`` as ``report.json`` has them; either may be missing.
    figures : mapping of str to bytes
        PNG by name.
    failed : sequence of str
        Steps that failed; shown first.
    """
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters |= {
        "percent": percent,
        "percent2": lambda share: f"{100 * share:.2f}\N{NO-BREAK SPACE}%",
        "points": lambda share: f"{100 * share:+.1f}".replace("-", "\N{MINUS SIGN}"),
        "thousands": lambda n: f"{n:,}",
    }
    template = files("neural_classifiers").joinpath("report.html").read_text(encoding="utf-8")
    comments, digits = _comments(sections.get("comments")), _digits(sections.get("digits"))
    return environment.from_string(template).render(
        title=_title(sections),
        run={**run, "steps": [{"error": None} | step for step in run["steps"]]},
        failed=list(failed),
        verdict=_verdict(sections),
        comments=comments,
        digits=digits,
        departures=DEPARTURES,
        hits=sum(bool(step["hit"]) for step in run["steps"]),
        files=[pair for part in sections.values() for pair in part["files"].items()],
        figures={name: _data_uri(png) for name, png in figures.items()},
    )


def render_markdown(
    run: Mapping[str, Any],
    sections: Mapping[str, Mapping[str, Any]],
    figures: Mapping[str, bytes],
    failed: Sequence[str] = (),
) -> str:
    """The report for the Prefect UI, at most 300 KB: figures that do not fit are named instead."""
    lines = [f"# {plain(_title(sections))}", ""]
    if failed:
        lines += [f"**This run failed in {plain(', '.join(failed))}.**", ""]
    lines += [f"> {plain(sentence)}\n>" for sentence in _verdict(sections)]
    if comments := _comments(sections.get("comments")):
        lines += ["", f"## Comments: {comments['rows']['test']:,} in the test set", ""]
        lines += ["| model | accuracy | macro-F1 | weighted F1 | over folds |", _rule(5)]
        for model in comments["models"]:
            over_folds = "" if model["best_cv_score"] is None else percent(model["best_cv_score"])
            lines.append(
                f"| {plain(model['title'])} | {percent(model['accuracy'])} | "
                f"{model['f1_macro']:.3f} | {percent(model['f1_weighted'])} | {over_folds} |"
            )
        lines += ["", "| rows | |", _rule(2)]
        lines += [f"| {plain(name)} | {n:,} |" for name, n in comments["funnel"]]
    if digits := _digits(sections.get("digits")):
        lines += ["", f"## Digits: {digits['rows']['test']:,} in the test set", ""]
        lines += ["| network | parameters | test accuracy | test loss |", _rule(4)]
        lines += [
            f"| {plain(m['name'])} | {m['parameters']:,} | {m['test_accuracy']:.2%} | "
            f"{m['test_loss']:.4f} |"
            for m in digits["models"]
        ]
    return _with_figures("\n".join(lines) + "\n", figures)


def plain(text: str) -> str:
    """Text that neither HTML nor Markdown will take for anything else, on one line."""
    one_line = " ".join(text.split())
    return re.sub(r"([\\`*_{}\[\]()#+!|~>-])", r"\\\1", html.escape(one_line, quote=False))


def _with_figures(text: str, figures: Mapping[str, bytes]) -> str:
    for name, png in figures.items():
        picture = f"\n### {plain(name)}\n\n![{plain(name)}]({_data_uri(png)})\n"
        if len((text + picture).encode()) > MARKDOWN_BYTES_MAX - 2_000:
            picture = f"\n{plain(name)}: in the run's folder.\n"
        text += picture
    return text


def _rule(columns: int) -> str:
    return "| --- " * columns + "|"


def _data_uri(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def _title(sections: Mapping[str, Any]) -> str:
    parts = [name for name in ("comments", "digits") if name in sections]
    return f"Classifiers of {' and '.join(parts)}" if parts else "Classifiers"


def _scores(section: Mapping[str, Any]) -> dict[str, Scores]:
    return {name: Scores.model_validate(told) for name, told in section["models"].items()}


def _compared(section: Mapping[str, Any]) -> list[ModelComparison]:
    return [ModelComparison.model_validate(told) for told in section["comparisons"]]


def _verdict(sections: Mapping[str, Mapping[str, Any]]) -> list[str]:
    comments, digits = sections.get("comments"), sections.get("digits")
    read = [m["test_accuracy"] for m in digits["models"].values()] if digits else []
    return list(
        verdict_sentences(
            _scores(comments) if comments else None,
            _compared(comments) if comments else (),
            digits_accuracy=max(read, default=None),
            n_digits=digits["rows"]["test"] if digits else None,
        )
    )


def _comments(section: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The section with what only the page needs: titles, intervals, words."""
    if section is None:
        return None
    scores, comparisons = _scores(section), _compared(section)
    recommended = recommend_model(scores, comparisons)
    models = []
    for name, told in section["models"].items():
        low, high = scores[name].accuracy_interval
        titles = {"title": model_title(name, scores), "short_title": model_title(name)}
        models.append(
            {**told, **titles, "name": name, "low": low, "high": high}
            | {"recommended": name == recommended}
        )
    rows = section["rows"]
    funnel = [
        ("Rows in the file", rows["in_file"]),
        ("Drawn for this run", rows["drawn"]),
        ("Accepted", rows["accepted"]),
        *((f"Rejected: {reason}", n) for reason, n in rows["reasons"].items()),
        ("Duplicates dropped", rows["duplicates"]),
        ("Left empty by cleaning, dropped", rows["empty"]),
        ("Texts with several labels, kept on one side", rows["conflicting"]),
        ("Training comments", rows["train"]),
        ("Test comments", rows["test"]),
    ]
    grids = [
        {**grid, "name": name, "title": model_title(name)}
        for name, grid in section["grids"].items()
        if grid["candidates"] > 1
    ]
    told_comparisons = [
        c.as_dict()
        | {
            "title": model_title(c.model, scores),
            "rival_title": model_title(c.rival, scores),
            "words": verdict(c),
        }
        for c in comparisons
    ]
    labels = list(section["counts"])
    return {
        **section,
        "models": models,
        "labels": labels if models else [],
        "grids": grids,
        "comparisons": told_comparisons,
        "funnel": funnel,
    }


def _digits(section: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if section is None:
        return None
    n = section["rows"]["test"]
    models = []
    for name, told in section["models"].items():
        low, high = wilson_interval(round(told["test_accuracy"] * n), n)
        models.append({**told, "name": name, "low": low, "high": high})
    return {**section, "models": models}
