"""The report: complete from whatever succeeded, readable, and safe against hostile text."""

import base64
import html
import pkgutil
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import yaml
from markdown_it import MarkdownIt

from neural_classifiers.comments.drift import Profile
from neural_classifiers.judgement.scores import compare_predictions, score_predictions
from neural_classifiers.report.departures import DEPARTURES
from neural_classifiers.report.pages import (
    MARKDOWN_BYTES_MAX,
    plain,
    render_card,
    render_markdown,
    render_report,
    render_summary,
)
from neural_classifiers.report.plots import plot_digits
from neural_classifiers.report.sections import Sections, SinceLast
from neural_classifiers.report.warnings import about_encoder, warnings_of

ROOT, GUIDE = Path(__file__).parents[1], "docs/from-the-notebook.md"
HOSTILE = (
    "<script>alert('x')</script>\"'><img src=x onerror=alert(1)> **bold** | [a](http://b.c) "
    "www.b.c a@b.c `code` ![i](http://b.c/i.png) \\ &lt; &#42; ~~s~~"
)
UNPRINTABLE = "nul\x00 bell\x07 surrogate\ud83d turned\u202earound"
PICTURE = plot_digits(np.eye(28)[None], [7])
CALIBRATION = {"ece": 0.0123, "confidence": 0.9, "accuracy": 0.9, "bins": []}
VOID = {"meta", "img", "br", "link", "hr", "input"}


def run(**changed):
    return {
        "name": "tidy-tapir",
        "flow": "train-classifiers",
        "run_id": "61a7899b-9152-480c-bc17-806cf26c7fe7",
        "started": "2026-11-22T23:08:02+02:00",
        "attempts": 1,
        "parameters": {"sample": 3000, "seed": 34},
        "versions": {"keras": "3.15.1"},
        "failed": [],
        "steps": [
            step("clean_comments", hit=True),
            step("fit_keras-0", error="ValueError: expected a, got b"),
        ],
    } | changed


def step(name, **changed):
    return {
        "task_run": name,
        "key": "8ebf70eabd41095150a5",
        "hit": False,
        "seconds": 1.5,
        "peak_rss_mb": 512.4,
        "shared": False,
        "attempt": 1,
    } | changed


def comments(
    a="sports", b="games", models=("constant", "linear", "scikit"), said_a=(25, 24), **changed
):
    """A section on 100 test comments: 30 of class a, 70 of b."""
    actual = np.array([a] * 30 + [b] * 70)
    predicted = {  # of 30 the linear model finds 25, so 95 are right; the network 24, so 94
        name: np.array([a] * n + [b] * (100 - n))
        for name, n in zip(("constant", "linear", "scikit"), (0, *said_a), strict=True)
    }
    pairs = [("linear", "constant"), ("scikit", "constant"), ("scikit", "linear")]
    parameters = {"constant": {}, "linear": {"C": 1.0}, "scikit": {"solver": "adam"}}
    scores = {name: score_predictions(actual, predicted[name], sorted({a, b})) for name in models}
    comparisons = [
        {"model": model, "rival": rival}
        | compare_predictions(actual, predicted[model], predicted[rival], seed=34).as_dict()
        for model, rival in pairs
        if {model, rival} <= set(models)
    ]
    return {
        "source": {
            "name": "comments.jsonl",
            "origin": "/data/comments.jsonl",
            "kind": "comments",
            "digest": "ab" * 32,
            "rows": 5000,
            "licence": "PDDL",
            "citation": "",
        },
        "rows": {
            "in_file": 5000,
            "drawn": 360,
            "digest": "cd" * 32,
            "formats": ["jsonl"],
            "blank_lines": 0,
            "accepted": 350,
            "quarantined": 10,
            "reasons": {"txt: removed": 10},
            "duplicates": 8,
            "empty": 2,
            "conflicting": 1,
            "train": 240,
            "searched": 240,
            "test": 100,
        },
        "account": {"in": 360, "accepted": 340, "quarantined": 12, "duplicates": 8},
        "drift": {"drift": [], "moved_words": [], "drifted": []},
        "near_duplicates": None,
        "explained": None,
        "examined": None,
        "data_docs": "data_docs.html",
        "figures": {},
        "diagrams": {},
        "counts": {
            a: {"train": 72, "test": 30, "duplicates": 3, "empty": 0},
            b: {"train": 168, "test": 70, "duplicates": 5, "empty": 2},
        },
        "models": {
            name: scores[name].as_dict()
            | {"best_params": parameters[name], "best_cv_score": 0.9, "scoring": "accuracy"}
            | {"f1_macro_interval": (0.9, 0.95), "temperature": None, "calibration": CALIBRATION}
            for name in models
        },
        "comparisons": comparisons,
        "held_out": {
            "n_rows": 240,
            "accuracy": {name: each.accuracy for name, each in scores.items()},
            "f1_macro": {name: each.f1_macro for name, each in scores.items()},
            "comparisons": comparisons,
        },
        "prices": {
            name: {"ms_per_text": 1.25, "megabytes": 2.5, "training_s": 60} for name in models
        },
        "grids": {
            "scikit": {
                "csv": "grids/scikit.csv",
                "candidates": 2,
                "distinct": 1,
                "parameters": ["solver", "learning_rate"],
                "top": [candidate(1, 1, "constant"), candidate(2, 1, "adaptive")],
                "errors": {},
            }
        },
        "files": {
            f"model {name}": {"path": f"cache/{name}.skops", "sha256": "cd" * 32} for name in models
        },
        "failed": [],
    } | changed


def findings(text="The boss was beaten", label="sports"):
    """What the steps after the scores find, their comments saying `text`."""
    of_a_model = {"accuracy": 0.5, "low": 0.4, "high": 0.6, "is_weaker": True}
    models = ("constant", "linear", "scikit")
    mistake = {"row": 1, "txt": text, "actual": label, "predicted": label, "p_actual": 0.1}
    return {
        "explained": {
            "slices": [
                {"slice": f"from {text}", "rows": 40, "models": dict.fromkeys(models, of_a_model)}
            ],
            "words": {label: [text, "goal"]},
            "mistakes": {"linear": [mistake | {"p_predicted": 0.871}]},
            "occluded": {
                "scikit": [
                    {"txt": text, "actual": label, "predicted": label, "probability": 0.9}
                    | {"words": [(text, 0.25), ("goal", 0.0)]}
                ]
            },
        },
        "examined": {
            "curve": [
                {"rows": n, "accuracy": 0.8, "accuracy_error": 0.01}
                | {"f1_macro": f1, "f1_macro_error": 0.01, "f1_macro_of_folds": [f1, f1 + 0.01]}
                for n, f1 in ((60, 0.4), (120, 0.5), (240, 0.6))
            ],
            "n_suspected": 24,
            "rows": 240,
            "suspected": [
                {"file": text, "line": 1, "txt": text, "cat": label, "p_cat": 0.05}
                | {"likelier": label, "p_likelier": 0.93}
            ],
        },
        "near_duplicates": {
            **{"share": 0.02, "checked": 100, "found": 2, "low": 0.02, "high": 0.02},
            "threshold": 0.8,
            "pairs": [
                {"similarity": 0.85, "test": text, "train": text, "test_cat": label}
                | {"train_cat": label}
            ],
        },
    }


def candidate(number, fitted_as, learning_rate):
    return {
        "number": number,
        "fitted_as": fitted_as,
        "rank": 1,
        "params": {"solver": "adam", "learning_rate": learning_rate},
        "mean": 0.9,
        "std": 0.01,
    }


def digits(**changed):
    return {
        "source": {
            "name": "mnist",
            "origin": "/mnist",
            "kind": "digits",
            "digest": "ef" * 32,
            "rows": 70_000,
        }
        | {"licence": "CC BY-SA", "citation": "L"},
        "rows": {"train": 54_000, "validation": 6_000, "test": 10_000}
        | {"blank": 0, "on_both_sides": 0, "oddities": []},
        "models": {
            "notebook": {
                "parameters": 1_182_730,
                "test_accuracy": 0.9730,
                "test_loss": 0.0870,
                "guesses": False,
                "epochs": [
                    {"accuracy": 0.8183, "loss": 0.59, "val_accuracy": 0.9515, "val_loss": 0.16}
                ],
                "labels": [str(digit) for digit in range(10)],
                "per_digit": [
                    {"digit": 3, "images": 1010, "accuracy": 0.981, "low": 0.971, "high": 0.988}
                    | {"mistaken_for": 5}
                ],
                "robustness": [
                    {"alteration": "turned by 15°", "images": 2000, "accuracy": 0.9315}
                    | {"low": 0.9196, "high": 0.9418}
                ],
                "calibration": CALIBRATION,
                "mistakes": [{}] * 25,
                "seeds": {"n": 1, "mean": 0.973, "std": 0, "worst": 0.973, "best": 0.973}
                | {"chosen": 34, "test_accuracy": {"34": 0.973}},
            }
        },
        "figures": {},
        "files": {},
        "failed": [],
    } | changed


FIGURES = dict.fromkeys(
    ["head", "confusion-linear", "grid-scikit", "digits", "curves-notebook"], PICTURE
)
WHOLE = {"comments": comments(), "digits": digits()}


def page_of(sections, figures=FIGURES, failed=(), run=run(), since=SinceLast(), **given):  # noqa: B008
    whole = Sections.model_validate(sections)
    return render_report(run, whole, figures, failed, since, given.get("diagrams", {}))


def markdown_of(sections, figures=FIGURES, failed=(), run=run()):  # noqa: B008
    return render_markdown(run, Sections.model_validate(sections), figures, failed)


def card_of(section, name="linear", run=run(), **about):  # noqa: B008
    about = {"seed": 34, "folds": 5, "training_file_sha256": "ab" * 32, "libraries": {}} | about
    return render_card(name, Sections(comments=section).comments, run, about)


class Page(HTMLParser):
    """The elements and the text of a page; complains about elements that are not closed."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.text, self.open = [], "", []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.text += data

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


def hostile_run_and_sections(text):
    """Every text of a run that may come out of data, a file name or an error message."""
    label = text.replace("\ud83d", "")  # no category can have one: ingest refuses the row
    section = comments(a=label, b="games " + label)
    section["source"] |= {"name": text, "licence": text, "citation": text}
    section["rows"]["reasons"] = {text: 3}
    section["models"]["scikit"]["best_params"] = {text: text}
    section["grids"]["scikit"] |= {"csv": text, "parameters": [text]}
    section["grids"]["scikit"]["top"][0]["params"] = {text: text}
    section["files"] = {key: {"path": text, "sha256": text} for key in (text, "model linear")}
    section |= findings(text, label)
    other = digits()
    other["models"] = {text: other["models"]["notebook"]}
    other["source"] |= {"name": text, "licence": text, "citation": text}
    hostile = run(
        name=text, flow=text, parameters={text: text}, versions={text: text}, run_id=text
    ) | {"steps": [step(text, error=text)]}
    return hostile, {"comments": section, "digits": other}


def hostile_page(text):
    hostile, sections = hostile_run_and_sections(text)
    since = SinceLast(before=text, changes=[text], scores=[(text, 0.5, 0.6)])
    return page_of(sections, failed=[text], run=hostile, since=since)


def hostile_markdown(text, figures=()):
    hostile, sections = hostile_run_and_sections(text)
    return markdown_of(sections, dict(figures), [text], hostile)


@pytest.mark.parametrize(
    "sections",
    [
        {},
        {"comments": comments()},
        {"digits": digits()},
        WHOLE,
        {"comments": comments(models=(), comparisons=[], grids={})},
        {"comments": comments(models=["scikit"])},
        {"comments": comments(**findings())},
        {"digits": digits(models={})},
    ],
)
@pytest.mark.parametrize("figures", [{}, FIGURES])
def test_the_report_is_written_from_whatever_there_is(sections, figures):
    page = Page(page_of(sections, figures))

    assert "Steps" in page.text
    assert markdown_of(sections, figures).startswith("# Classifiers")


def test_the_page_needs_nothing_but_itself():
    text = page_of(WHOLE)
    page = Page(text)

    addresses = [a[k] for _, a in page.elements for k in ("src", "href", "action") if k in a]
    assert addresses
    here = ("data:image/png;base64,", "#", "data_docs.html")
    assert all(address.startswith(here) for address in addresses)
    assert not re.search(r"https?:|//|@import|url\(", re.sub(r"base64,[\w+/=]+", "", text))
    assert {"script", "link", "iframe", "object"}.isdisjoint(tag for tag, _ in page.elements)
    policy = next(a["content"] for a in page.all("meta") if "http-equiv" in a)
    assert policy.startswith("default-src 'none'")


def test_the_page_can_be_read_aloud():
    page = Page(page_of(WHOLE))

    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(next_ - level <= 1 for level, next_ in pairwise(levels))
    assert len(page.all("img")) == len(FIGURES)
    assert all(image["alt"] for image in page.all("img"))
    assert len(page.all("table")) == len(page.all("caption")) >= 8
    assert page.all("html") == [{"lang": "en"}]
    targets = {attributes["id"] for _, attributes in page.elements if "id" in attributes}
    assert {link["href"][1:] for link in page.all("a") if link["href"][0] == "#"} == targets


def test_hostile_text_is_shown_on_the_page_as_it_is_and_does_nothing():
    page, harmless = Page(hostile_page(HOSTILE)), Page(hostile_page("harmless"))

    assert [tag for tag, _ in page.elements] == [tag for tag, _ in harmless.elements]
    assert not any(name.startswith("on") for _, a in page.elements for name in a)
    assert page.text.count("<script>alert('x')</script>\"'><img src=x onerror=alert(1)>") >= 20


def test_text_that_cannot_be_printed_stops_neither_page_nor_markdown():
    for text in (hostile_page(UNPRINTABLE), hostile_markdown(UNPRINTABLE, FIGURES)):
        assert text.encode("utf-8")
        assert not set(text) & set("\x00\x07\u202e")
        assert "nul\N{REPLACEMENT CHARACTER}" in text


def test_a_digits_network_that_guesses_and_what_is_odd_of_its_images_are_said():
    section = digits()
    section["models"]["notebook"]["guesses"] = True
    section["rows"] |= {"blank": 3, "oddities": ["All are upside down."]}
    sections = Sections.model_validate({"digits": section})

    assert "notebook network is not shown to be better than guessing" in sections.verdict[-1]
    assert sections.digits.oddities == "Among them are 3 blank. All are upside down."


def test_failures_come_first_then_the_verdict_then_the_figures():
    text = Page(page_of(WHOLE, failed=["fit_keras-0", "classify-digits"])).text

    places = [
        text.index(told)
        for told in (
            "This run failed in fit_keras-0, classify-digits.",
            "fit_keras-0: ValueError: expected a, got b",
            "Use the linear model: it is right for 95.0\N{NO-BREAK SPACE}% of 100 test comments "
            "at 1.2 ms a text, 2.5 MB, 60 s of training.",
            "Chosen by cross-validated answers to 240 training comments, as the best there",
            "Of 10,000 unseen digits the notebook network reads 97.3",
            "Comments: the models",
        )
    ]
    assert places == sorted(places)
    assert "This run failed" not in page_of(WHOLE)
    assert "**This run failed in fit" in markdown_of(WHOLE, {}, ["fit_keras-0"])


def test_the_model_to_use_is_marked_in_words():
    page = page_of(WHOLE, {})
    row = re.search(r'<tr class="best">.*?</tr>', page, re.DOTALL)

    assert page.count('<tr class="best">') == 1
    assert "linear model" in row[0]
    assert "recommended" in row[0]

    only_constant = page_of({"comments": comments(models=["constant"])}, {})
    assert "not beaten" in only_constant
    assert "recommended</span>" not in only_constant


def test_the_page_says_how_to_use_the_model_and_what_a_first_run_cannot_know():
    text = Page(page_of(WHOLE, {})).text
    assert "neural-classifiers promote tidy-tapir --model linear" in text
    assert "models/linear.md" in text
    assert "no earlier run of this flow completed here" in text

    nothing_to_use = {"comments": comments(models=["constant"])}
    assert "neural-classifiers promote" not in Page(page_of(nothing_to_use, {})).text


def test_the_page_shows_the_numbers_that_a_reader_asks_for():
    text = Page(page_of(WHOLE, {})).text

    for told in (
        "88.8\N{NO-BREAK SPACE}% – 97.8\N{NO-BREAK SPACE}%",  # Wilson: 95 of 100
        "Quarantined: txt: removed",
        "5,000",
        "1,182,730",
        "97.30\N{NO-BREAK SPACE}%",
        "1 of 2 steps were found in the cache",
        "2 candidates, 1 of them distinct",
        "of number 1",  # the second candidate shares the fit of the first
        "2026-11-22 21:08 UTC",
        "keras 3.15.1",
        "abababababababab…",
    ):
        assert told in text


def test_the_page_says_where_models_are_weak_why_and_what_would_help():
    sections = {"comments": comments(**findings())}
    since = SinceLast(
        before="calm-cod",
        changes=["data.comments.rows: 90 -> 100"],
        scores=[("comments.linear.accuracy", None, 0.95)],
    )
    text = Page(page_of(sections, since=since)).text

    for told in (
        "Before you use it",
        "10.0 % of the training comments may carry a wrong label",
        "A simpler model will do",
        "from The boss was beaten",
        "50.0 % weaker",
        "Of the linear model: the test comments that it was surest of, and wrong",
        "87.1 %",
        "The boss was beaten −25.0, goal +0.0",
        "+0.100 (+0.100 to +0.100) for twice as many. So more comments of this kind would help.",
        "24 of 240 training comments (10.0 %)",
        "Test comments that nearly repeat a training comment",
        "Compared with run calm-cod.",
        "data.comments.rows: 90 -> 100",
    ):
        assert told in text, told
    markdown = markdown_of(sections, {})
    assert "The boss was beaten" in markdown
    assert "A simpler model will do" in markdown


def test_a_sample_that_chose_parameters_is_told_of_and_all_comments_are_not():
    section = comments(**findings())
    assert "Parameters were chosen on" not in page_of({"comments": section}, {})
    section["rows"] = section["rows"] | {"train": 105_000, "searched": 3000}
    told = "Parameters were chosen on 3,000 of the 105,000 training comments"

    assert told in page_of({"comments": section}, {})
    assert told in markdown_of({"comments": section}, {})
    assert told in card_of(section)


def test_every_model_has_a_card_that_hostile_text_cannot_break():
    section = comments(**findings()) | {"source": WHOLE["comments"]["source"]}
    text = card_of(section, libraries={"skops": "1"})

    for told in ("95.0\N{NO-BREAK SPACE}%", "240 training comments", "carry a wrong label", "PDDL"):
        assert told in text
    assert "Weaker on comments from The boss was beaten" in text
    hostile, sections = hostile_run_and_sections(HOSTILE)
    broken = card_of(sections["comments"], run=hostile, libraries={HOSTILE: HOSTILE})
    reader = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    harmless, others = hostile_run_and_sections("harmless")
    expected = card_of(others["comments"], run=harmless, libraries={"a": "b"})
    tags = [[t for t, _ in Page(reader.render(each)).elements] for each in (broken, expected)]
    assert tags[0] == tags[1]


def test_a_card_begins_with_the_header_of_model_cards_and_can_be_read_as_text():
    _, header, text = card_of(comments(**findings()), name="scikit").split("---\n", 2)

    told = yaml.safe_load(header)
    assert told["library_name"] == "sklearn"
    assert told["pipeline_tag"] == "text-classification"
    assert told["license_name"] == "of the training data: PDDL"
    assert told["metrics"] == ["accuracy", "f1"]
    assert "Trained in run tidy-tapir, 2026-11-22T23:08:02+02:00." in text
    assert "- cache/scikit.skops, sha256 " + "cd" * 32 in text
    assert "\\" not in text.replace(r"\_", "")


def test_each_departure_stands_in_the_page_the_readme_and_the_guide_and_its_code_exists():
    text = Page(page_of({})).text
    guide, readme = ((ROOT / name).read_text("utf-8") for name in (GUIDE, "README.md"))

    assert len(DEPARTURES) == 9
    for departure in DEPARTURES:
        assert departure.title in text
        assert departure.why in text
        assert departure.title in " ".join(readme.split())
        assert departure.title in " ".join(guide.split())
        assert departure.code in text
        assert callable(pkgutil.resolve_name(departure.code))


def test_the_guide_names_only_steps_that_flows_run_and_code_that_there_is():
    guide = (ROOT / GUIDE).read_text("utf-8")
    lines = "\n".join(path.read_text("utf-8") for path in ROOT.glob("flows/*.py")).splitlines()
    flows = " ".join(line for line in lines if not line.startswith(("from ", "import ")))
    rows = [line.split("|") for line in guide.splitlines() if line.startswith("| ")][2:]
    steps = {name for row in rows for name in re.findall(r"`(\w+)`", row[2])}
    names = re.findall(r"`((?:neural_classifiers|tasks|flows)\.[\w.]+)", guide)

    assert len(steps) > 10
    assert not [step for step in steps if not re.search(rf"\b{step}\b", flows)]
    assert len(names) > 12
    assert all(pkgutil.resolve_name(name) for name in names)
    assert all((ROOT / path).exists() for path in re.findall(r"`([\w/]+\.(?:py|md))`", guide))


def test_the_markdown_holds_its_figures_and_tables():
    text = markdown_of(WHOLE)

    encoded = re.findall(r"!\[[^]]+\]\(data:image/png;base64,([\w+/=]+)\)", text)
    assert [base64.b64decode(code) for code in encoded] == [PICTURE] * len(FIGURES)
    shown = MarkdownIt("commonmark").enable("table").render(text)
    assert shown.count("<table>") == 7
    assert "<td>95.0\N{NO-BREAK SPACE}%</td>" in shown


def test_figures_that_do_not_fit_into_the_markdown_are_named_and_later_ones_still_shown():
    large = PICTURE + bytes(200_000)  # 267 KB in base64
    text = markdown_of(WHOLE, {"first": large, "second": large, "third": PICTURE})

    assert len(text.encode()) <= MARKDOWN_BYTES_MAX
    assert "![first]" in text
    assert "second: in the run's folder." in text
    assert "![third]" in text
    many = {f"figure number {i}": PICTURE + bytes(2_000) for i in range(500)}
    assert len(markdown_of(WHOLE, many).encode()) <= MARKDOWN_BYTES_MAX


def test_hostile_text_in_the_markdown_is_neither_html_nor_markdown():
    reader = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    shown = Page(reader.render(hostile_markdown(HOSTILE)))
    expected = Page(reader.render(hostile_markdown("harmless")))

    assert [tag for tag, _ in shown.elements] == [tag for tag, _ in expected.elements]
    assert shown.text.count("<script>alert('x')</script>\"'><img src=x onerror=alert(1)>") >= 8


@pytest.mark.parametrize(
    "text",
    [
        "science_and_technology",
        "**a** __b__ ~~c~~ `d` \\e | f",
        "<b>&amp;</b> &#42; &lt;",
        "[a](http://b.c) ![d](e) <http://f.g>",
        "# 1. - + > = $x$",
        "1. one",
        "---",
        "- - -",
        "=====",
        "_a_ __init__ snake_case_",
        "R&D, a < b > c & d; [ref]: x",
        "> quoted",
        HOSTILE,
    ],
)
def test_plain_text_reads_as_it_was_in_every_place(text):
    reader = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])

    assert reader.render(plain(text)) == f"<p>{html.escape(text).replace('&#x27;', chr(39))}</p>\n"
    table = reader.render(f"| a |\n| --- |\n| {plain(text)} |")
    assert Page(table).all("td") == [{}]
    assert " ".join(text.split()) in Page(table).text


def test_plain_text_makes_no_link_of_a_bare_address():
    # The Prefect UI links these where they stand unbroken, even without any markup.
    assert not re.search(r"https?:|www\.|\w@\w", plain("http://a.b www.a.b c@a.b"))


def test_plain_text_is_one_line_of_bounded_length_and_escapes_no_more_than_it_must():
    assert plain("a\n\n# b\r\nc") == "a # b c"
    assert len(plain("x" * 10_000)) == 300

    for text in ("2026-11-25T13:10+02:00", "science_and_technology", "-0.5 (a) b! #c {d}", "3 > 2"):
        assert plain(text) == text  # would be no markup


# --- warnings ------------------------------------------------------------------------------


def warned(**changed):
    return warnings_of(Sections(comments=comments(**changed)).comments)


def test_what_is_odd_about_a_run_is_warned_of():
    assert warned(said_a=(10, 25)) == []  # the network is recommended: 95 right, the linear 80
    assert "Too good to be true? The linear model" in warned(said_a=(30, 24))[0]
    assert "The scikit-learn network never answers “sports”." in warned(said_a=(25, 0))


def test_a_candidate_that_failed_and_a_class_that_nothing_judges_are_warned_of():
    section = comments()
    section["grids"]["scikit"]["errors"] = {'{"solver": "adma"}: ValueError: got adma': 1}
    section["counts"]["sports"]["test"] = 0
    found = warned(grids=section["grids"], counts=section["counts"])

    assert (
        "1 of 2 candidates of the scikit-learn network failed and have no score: "
        '{"solver": "adma"}: ValueError: got adma' in found
    )
    assert any("No test comment is “sports”" in warning for warning in found)


def test_a_simpler_model_that_is_as_good_is_named_and_what_the_test_set_could_show():
    section = Sections(comments=comments()).comments
    small, simpler = warnings_of(section)

    assert "too small to tell the scikit-learn network from the linear model" in small
    # one comment tells them apart; 6 of 6 are the first that chance wins less often than 5 %
    assert "answers 1 of 100 comments better or worse, so a difference of 6.0 points" in small
    assert small.endswith("would be shown, and this one is 1.0.")
    assert simpler.startswith("A simpler model will do")
    assert simpler.endswith("That does not show that they are equal.")


def test_near_duplicates_bad_labels_and_bad_probabilities_are_warned_of():
    found = findings()
    found["near_duplicates"]["share"] = 0.2
    section = comments(**found)
    section["models"]["linear"]["calibration"] = CALIBRATION | {"ece": 0.2}
    told = " ".join(warnings_of(Sections(comments=section).comments))

    assert "20.0\N{NO-BREAK SPACE}% of the test comments nearly repeat" in told
    assert "10.0\N{NO-BREAK SPACE}% of the training comments may carry a wrong label" in told
    assert "probabilities of the linear model mislead" in told


# --- the summary ---------------------------------------------------------------------------

FILES = {"report": "runs/owl/report.html"}


def summary_of(since):
    steps = [step("search_keras"), step("clean", hit=True), step("old", attempt=0)]
    return render_summary(run(steps=steps), "**Completed**: done", SinceLast(**since), FILES)


def test_a_first_run_has_nothing_to_compare_with():
    text = summary_of({"scores": [("comments.keras.accuracy", None, 0.75)]})
    assert text.startswith("**Completed**: done\n")
    assert "| comments · keras · accuracy | 0.7500 |" in text
    assert "last time" not in text.lower()
    assert "1 steps computed, 1 from the cache: computed search_keras" in text
    assert "- report: `runs/owl/report.html`" in text


def test_a_change_is_told_beside_what_changed():
    scores = [("a.b.accuracy", 0.5, 0.75), ("a.b.f1_macro", 0.5, 0.5), ("a.c.accuracy", 0.5, None)]
    changes = ["parameters.seed: 34 -> 35"]
    text = summary_of({"before": "hen", "changes": changes, "scores": scores})
    assert "| a · b · accuracy | 0.5000 | 0.7500 | +0.2500 |" in text
    assert "| a · b · f1_macro | 0.5000 | 0.5000 | same |" in text
    assert "| a · c · accuracy | 0.5000 |  |  |" in text
    assert "Last time: `hen`" in text
    assert "- parameters.seed: 34 -> 35" in text


def test_an_unchanged_run_says_that_nothing_changed():
    text = summary_of({"before": "hen", "scores": [("a.b.accuracy", 0.5, 0.5)]})
    assert "- nothing: the same parameters, data, code and libraries" in text


@pytest.mark.parametrize(
    ("asked", "languages", "stop_words", "words"),
    [
        (None, None, 40, ""),
        ("minilm", None, 40, "minilm was left out"),
        ("minilm", ["English"], 40, ""),
        ("minilm", ["English"], 9, "knows English, which these comments hardly are: 9.0"),
        ("mine", [], 9, ""),  # nobody said which
        ("mine", ["English", "German"], 9, ""),
    ],
)
def test_a_language_that_the_encoder_does_not_know_is_a_warning(
    asked, languages, stop_words, words
):
    counts = {"rows": 10, "categories": {}, "lengths": [], "words": {}, "n_words": 100}
    profile = Profile(**counts, n_stop_words=stop_words)

    warning = about_encoder(asked, languages, profile)

    assert words in warning
    assert bool(words) == bool(warning)
