"""A run for people: the page, its Markdown for the Prefect UI, a summary and the models' cards.

Templates in this folder, all fed with the same sections, as many of them as there are: a run
whose searches failed still has its data to show. The verdict comes first, in words. Texts and
labels out of the data are hostile input: the page escapes them (Jinja's autoescape) and forbids
itself to load anything; every value that a Markdown template writes out is escaped by `plain`.
"""

import base64
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from typing import Any

import yaml
from jinja2 import DictLoader, Environment, StrictUndefined
from markupsafe import Markup

from neural_classifiers.judgement.names import percent
from neural_classifiers.judgement.scores import model_title
from neural_classifiers.judgement.verdict import comparison_in_words, price_in_words
from neural_classifiers.judgement.weaknesses import more_data
from neural_classifiers.plain_text import plain
from neural_classifiers.report.departures import DEPARTURES
from neural_classifiers.report.sections import CommentsSection, Sections, SinceLast, printable
from neural_classifiers.report.warnings import warnings_of

MARKDOWN_BYTES_MAX = 300_000  # of an artifact: beyond it the Prefect UI becomes slow


def render_report(
    run: Mapping[str, Any],
    sections: Sections,
    figures: Mapping[str, bytes],
    failed: Sequence[str],
    since_last: SinceLast,
    diagrams: Mapping[str, str],
) -> str:
    """The page of a run: one HTML document without script or outside address.

    Parameters
    ----------
    run : mapping
        As ``run.json``: name, flow, run_id, started, attempts, parameters, versions, steps.
    sections : Sections
        Either half may be missing.
    figures : mapping of str to bytes
        PNG by name; those that are missing leave no gap.
    failed : sequence of str
        Steps that failed; shown first, with their errors.
    since_last : SinceLast
    diagrams : mapping of str to str
        Of each pipeline, by the model's name, as `report.diagrams.draw_diagram` made it.

    Returns
    -------
    str
        Can always be encoded as UTF-8.
    """
    pages = {name: page.partition("<body>") for name, page in diagrams.items()}
    styles = {
        re.sub(r".*(<style>.*</style>).*", r"\1", head, flags=re.DOTALL)
        for head, *_ in pages.values()
    }
    errors = {step["task_run"]: step.get("error") for step in run["steps"]}
    shown = {
        name: {"uri": _data_uri(png), "width": int.from_bytes(png[16:20], "big") // 2}
        for name, png in figures.items()  # PNG: the width follows 8 bytes of signature and IHDR
    }
    return _render(
        "report.html",
        run=printable(run),
        failed=printable([(name, errors.get(name)) for name in failed]),
        sections=sections,
        since_last=since_last,
        figures=shown,
        diagram_styles=Markup("".join(sorted(styles))),
        diagrams={name: Markup(body.partition("</body>")[0]) for name, (*_, body) in pages.items()},
        departures=DEPARTURES,
    )


def render_markdown(
    run: Mapping[str, Any],
    sections: Sections,
    figures: Mapping[str, bytes],
    failed: Sequence[str],
) -> Markup:
    """The report for the Prefect UI, at most 300 KB: figures that do not fit are named instead.

    Takes what `render_report` takes.
    """
    run, failed = printable(run), printable(failed)
    text = _render("report.md", run=run, sections=sections, failed=failed)
    named = {name: f"\n{plain(name)}: in the run's folder.\n" for name in figures}
    room = MARKDOWN_BYTES_MAX - len((text + "".join(named.values())).encode())
    for name, png in figures.items():
        picture = f"\n### {plain(name)}\n\n![{plain(name)}]({_data_uri(png)})\n"
        cost = len(picture.encode()) - len(named[name].encode())
        if cost <= room:
            room -= cost
            named[name] = picture
    return Markup(text + "".join(named.values()))


def render_summary(
    run: Mapping[str, Any], outcome: str, since_last: SinceLast, files: Mapping[str, str]
) -> Markup:
    """A run in a few lines of Markdown: did it work, how good is it, what changed, where is it.

    Parameters
    ----------
    run : mapping
        As ``run.json``; the steps of its last attempt count.
    outcome : str
        Markdown: how the run ended.
    since_last : SinceLast
        Its scores are those of this run, the last run's beside them.
    files : mapping of str to str
        Paths by what lies there.
    """
    run = printable(run)
    steps = [step for step in run["steps"] if step["attempt"] == run["attempts"]]
    computed = [step["task_run"] for step in steps if not step["hit"]]
    page = _render(
        "summary.md",
        run=run,
        outcome=Markup(printable(outcome)),
        computed=computed,
        n_cached=len(steps) - len(computed),
        since_last=since_last,
        files=files,
    )
    return Markup(page)


def render_card(
    name: str, section: CommentsSection, run: Mapping[str, Any], about: Mapping[str, Any]
) -> str:
    """The card of one model of a run, in Markdown that begins with the header of model cards.

    Parameters
    ----------
    name : str
        A key of the section's ``models``.
    section : CommentsSection
    run : mapping
        As ``run.json``: name and when it started.
    about : mapping
        As ``recipe.json`` beside the model: seed, folds, libraries, digests.

    Notes
    -----
    Source of the headings: M. Mitchell et al., Model Cards for Model Reporting, 2019. The header
    states no licence of the model, which nobody gave it, and no language, which nobody knows.
    """
    encoder = about.get("encoder")
    is_keras = name.startswith("keras") or encoder is not None
    licence = re.sub(r"[^\w .,()-]", "", section.source.licence)
    header = {
        "license": "other",
        "license_name": f"of the training data: {licence}",
        "library_name": "keras" if is_keras else "sklearn",
        "pipeline_tag": "text-classification",
        "tags": [
            "text-classification",
            "bert" if encoder else "tf-idf",
            "keras" if is_keras else "skops",
        ],
        "metrics": ["accuracy", "f1"],
    }
    return _render(
        "card.md",
        header=Markup(yaml.safe_dump(header, sort_keys=False, allow_unicode=True)),
        name=name,
        model=section.models[name],
        section=section,
        run=printable(run),
        about=printable(about),
    )


def _render(template: str, **values: Any) -> str:
    page = _environment(template.endswith(".html")).get_template(template)
    return page.render(warnings_of=warnings_of, more_data=more_data, **values)


@cache
def _environment(is_html: bool) -> Environment:
    """Templates in which every value is escaped as it is written, unless it is `Markup`."""
    sources = (
        files("neural_classifiers.report").joinpath("report.html"),
        files("neural_classifiers.report").joinpath("report.md"),
        files("neural_classifiers.report").joinpath("summary.md"),
        files("neural_classifiers.report").joinpath("card.md"),
    )
    environment = Environment(
        loader=DictLoader({file.name: file.read_text("utf-8") for file in sources}),
        autoescape=is_html,
        finalize=None if is_html else lambda v: v if isinstance(v, Markup) else plain(v),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Any] = {
        "code": lambda text: Markup(f"`{' '.join(str(text).split()).replace('`', chr(39))}`"),
        "moment": lambda iso: f"{datetime.fromisoformat(iso).astimezone(UTC):%Y-%m-%d %H:%M} UTC",
        "number": lambda value, digits=3: "" if value is None else f"{value:.{digits}f}",
        "p_value": lambda p: f"{p:.3f}" if p >= 0.001 else "below 0.001",
        "percent": percent,
        "percent2": lambda share: f"{100 * share:.2f}\N{NO-BREAK SPACE}%",
        "price": price_in_words,
        "points": lambda share: f"{100 * share:+.1f}".replace("-", "\N{MINUS SIGN}"),
        "thousands": lambda n: f"{n:,}",
        "title": model_title,
        "words": comparison_in_words,
    }
    environment.filters |= filters
    return environment


def _data_uri(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
