"""The report of a run as one page, and as Markdown for the Prefect UI.

Both are made of the same plain values, whatever of them there is: a run whose searches failed
still has its data to show. The verdict comes first, in words. Texts and labels out of the data are
hostile input: the page escapes them (Jinja's autoescape) and forbids itself to load anything, the
Markdown neutralises both HTML and Markdown; what cannot be printed, or would turn the direction of
the text around it, becomes a replacement mark in both.
"""

import base64
import html
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any

from neural_classifiers.judgement import weaknesses
from neural_classifiers.judgement.names import CONSTANT, LINEAR, SERVING, SIMPLE, percent
from neural_classifiers.judgement.scores import (
    ModelComparison,
    Scores,
    model_title,
    wilson_interval,
)
from neural_classifiers.judgement.verdict import recommend_model, verdict, verdict_sentences
from neural_classifiers.report.departures import DEPARTURES

PLAIN_LENGTH = 300  # characters of one hostile text in the Markdown

# Control characters but white space, lone surrogates, marks that turn the text's direction.
UNPRINTABLE = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


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
        As ``run.json``: name, flow, run_id, started, attempts, parameters, steps; and, where it
        has them, the ``versions`` of the libraries and ``since_last``: the name of the run
        ``before``, the ``changes`` in words and the ``scores`` that moved (name, then, now).
    sections : mapping
        ``comments`` and ``digits`` as ``report.json`` has them; either may be missing.
    figures : mapping of str to bytes
        PNG by name; those that are missing leave no gap.
    failed : sequence of str
        Steps that failed; shown first, with what they said.

    Returns
    -------
    str
        Can always be encoded as UTF-8.
    """
    from jinja2 import Environment, StrictUndefined

    run, sections, failed = _printable(run), _printable(sections), _printable(failed)
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    filters: dict[str, Any] = {
        "percent": percent,
        "percent2": _percent2,
        "points": _points,
        "thousands": lambda n: f"{n:,}",
        "p_value": _p_value,
        "moment": _moment,
        "score": _score,
    }
    environment.filters |= filters
    template = (
        files("neural_classifiers.report").joinpath("report.html").read_text(encoding="utf-8")
    )
    steps = [{"error": None} | step for step in run["steps"]]
    said = {step["task_run"]: step["error"] for step in steps}
    return environment.from_string(template).render(
        title=_title(sections),
        run={"versions": {}} | dict(run) | {"steps": steps},
        failed=[(name, said.get(name)) for name in failed],
        verdict=_verdict(sections),
        since_last=run.get("since_last"),
        comments=_with_mistakes(_comments(sections.get("comments"))),
        digits=_digits(sections.get("digits")),
        departures=DEPARTURES,
        hits=sum(bool(step["hit"]) for step in steps),
        files=[pair for part in sections.values() for pair in part["files"].items()],
        figures={
            name: {"uri": _data_uri(png), "width": _width(png)} for name, png in figures.items()
        },
    )


def warnings_of(section: Mapping[str, Any]) -> list[str]:
    """What a reader of a section on comments should know before using a model."""
    scores = _scores(section)
    examined = section.get("examined")
    return weaknesses.warnings(
        section["models"],
        {name: model_title(name, scores) for name in scores},
        recommend_model(scores, _compared(section)),
        section["comparisons"],
        section.get("near_duplicates"),
        examined["n_suspected"] / examined["rows"] if examined else 0.0,
    )


def searched_in_words(rows: Mapping[str, int]) -> str:
    """What parameters were chosen on, where that was a sample; "" where it was all."""
    searched, train = rows["searched"], rows["train"]
    if searched == train:
        return ""
    return (
        f"Parameters were chosen on {searched:,} of the {train:,} training comments; the "
        "models were fitted on all, and so were temperatures and shifts of answers."
    )


def plain(text: object) -> str:
    """Text that neither HTML nor Markdown will take for anything else: one line, cut if long.

    Backslashes, since the Prefect UI shows numeric entities as they are; before ``:``, ``.`` and
    ``@`` too, since it makes links of bare addresses.
    """
    one_line = " ".join(str(text).split())
    if len(one_line) > PLAIN_LENGTH:
        one_line = one_line[: PLAIN_LENGTH - 1] + "…"
    escaped = html.escape(one_line, quote=False)
    return re.sub(r"([\\`*_{}\[\]()#+!|~>:.@$=^\"-])", r"\\\1", escaped)


def _printable(value: Any) -> Any:
    """The same plain value with every text in it, keys too, made printable."""
    if isinstance(value, str):
        return UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", value)
    if isinstance(value, Mapping):
        return {_printable(key): _printable(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_printable(each) for each in value]
    return value


def _data_uri(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def _width(png: bytes) -> int:
    """Width to show a picture at: half its pixels, so that it is sharp on dense screens."""
    return int.from_bytes(png[16:20], "big") // 2  # PNG: 8 bytes of signature, then IHDR


def _points(difference: float) -> str:
    return f"{100 * difference:+.1f}".replace("-", "\N{MINUS SIGN}")


def _percent2(share: float) -> str:
    return f"{100 * share:.2f}\N{NO-BREAK SPACE}%"


def _score(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _p_value(p: float) -> str:
    return f"{p:.3f}" if p >= 0.001 else "below 0.001"


def _moment(iso: str) -> str:
    return f"{datetime.fromisoformat(iso).astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _title(sections: Mapping[str, Any]) -> str:
    parts = [name for name in ("comments", "digits") if name in sections]
    return f"Classifiers of {' and '.join(parts)}" if parts else "Classifiers"


def _scores(section: Mapping[str, Any]) -> dict[str, Scores]:
    return {name: Scores.model_validate(told) for name, told in section["models"].items()}


def _compared(section: Mapping[str, Any]) -> list[ModelComparison]:
    return [ModelComparison.model_validate(told) for told in section["comparisons"]]


def _verdict(sections: Mapping[str, Mapping[str, Any]]) -> list[str]:
    comments, digits = sections.get("comments"), sections.get("digits")
    networks = digits["models"] if digits else {}
    sentences = verdict_sentences(
        _scores(comments) if comments else None,
        _compared(comments) if comments else (),
        digits={name: told["test_accuracy"] for name, told in networks.items()},
        n_digits=digits["rows"]["test"] if digits else 0,
    )
    return list(sentences) or ["Nothing could be judged in this run."]


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
        mark = "" if name != recommended else "not beaten" if name == CONSTANT else "recommended"
        measured = {"calibration": None, "f1_macro_interval": None, "scoring": "accuracy"} | told
        models.append({**measured, **titles, "name": name, "low": low, "high": high, "mark": mark})
    titles = {name: model_title(name, scores) for name in scores}
    rows = section["rows"]
    examined, near = section.get("examined"), section.get("near_duplicates")
    account = section.get("account")
    funnel = [
        ("Rows in the file", rows["in_file"]),
        ("Drawn for this run", rows["drawn"]),
        *((f"Quarantined: {reason}", n) for reason, n in rows["reasons"].items()),
        ("Quarantined: left empty by cleaning", rows["empty"]),
        ("Duplicates dropped", rows["duplicates"]),
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
        if c.rival in (*SIMPLE, SERVING) or recommended in (c.model, c.rival)
    ]
    labels = list(section["counts"])
    return {
        **section,
        "models": models,
        "labels": labels if models else [],
        "grids": grids,
        "comparisons": told_comparisons,
        "funnel": funnel,
        "account": account and _account_in_words(account),
        "near_duplicates": near and {"pairs": []} | near,
        "warnings": warnings_of(section),
        "recommended": recommended,
        "titles": titles,
        "explained": section.get("explained"),
        "examined": examined,
        "more_data": weaknesses.more_data(examined["curve"], rows["train"]) if examined else "",
        "searched": searched_in_words(rows),
        "data_docs": section.get("data_docs"),
        "drift": section.get("drift") or {"drift": [], "moved_words": [], "drifted": []},
    }


def _with_mistakes(comments: dict[str, Any] | None) -> dict[str, Any] | None:
    return comments and comments | {"mistakes": _mistakes(comments)}


def _mistakes(comments: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The surest mistakes of the model that is recommended, or of the linear one."""
    told = (comments["explained"] or {"mistakes": {}})["mistakes"]
    return told.get(comments["recommended"]) or told.get(LINEAR) or []


def _account_in_words(account: Mapping[str, int]) -> str:
    """The sum that accounts for every row."""
    parts = [(f"{account[name]:,} {name}") for name in ("accepted", "quarantined", "duplicates")]
    return f"{account['in']:,} rows in = {' + '.join(parts)}"


def _digits(section: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The section with what only the page needs: intervals, and rows with all networks."""
    if section is None:
        return None
    rows = section["rows"]
    models = []
    for name, told in section["models"].items():
        low, high = wilson_interval(round(told["test_accuracy"] * rows["test"]), rows["test"])
        models.append({**told, "name": name, "low": low, "high": high})
    labels = models[0]["labels"] if models else []
    per_digit = [
        {"label": labels[told["digit"]], "images": told["images"], "models": each}
        for each in zip(*(model["per_digit"] for model in models), strict=True)
        for told in each[:1]
    ]
    robustness = [
        {"alteration": told["alteration"], "images": told["images"], "models": each}
        for each in zip(*(model["robustness"] for model in models), strict=True)
        for told in each[:1]
    ]
    return {
        **section,
        "models": models,
        "labels": labels,
        "per_digit": per_digit,
        "robustness": robustness,
        "has_seeds": any(model["seeds"]["n"] > 1 for model in models),
        "oddities": _oddities(rows),
    }


def _oddities(rows: Mapping[str, int]) -> str:
    """What is odd about the images and was let through, in a sentence."""
    odd = [
        (rows["blank"], "blank"),
        (rows["on_both_sides"], "test images that also are training images"),
    ]
    told = [f"{n:,} {what}" for n, what in odd if n]
    return f"Among them are {' and '.join(told)}." if told else ""
