"""A run as Markdown, for the Prefect UI."""

from collections.abc import Mapping, Sequence
from typing import Any

from neural_classifiers.judgement.names import percent
from neural_classifiers.report.pages import (
    _comments,
    _data_uri,
    _digits,
    _mistakes,
    _moment,
    _p_value,
    _percent2,
    _points,
    _printable,
    _title,
    _verdict,
    plain,
)

MARKDOWN_BYTES_MAX = 300_000  # of an artifact: beyond it the Prefect UI becomes slow


MISTAKES_IN_MARKDOWN = 5


def render_markdown(
    run: Mapping[str, Any],
    sections: Mapping[str, Mapping[str, Any]],
    figures: Mapping[str, bytes],
    failed: Sequence[str] = (),
) -> str:
    """The report for the Prefect UI, at most 300 KB: figures that do not fit are named instead.

    Takes what `render_report` takes.
    """
    run, sections, failed = _printable(run), _printable(sections), _printable(failed)
    blocks = [f"# {_title(sections)}"]
    if failed:
        blocks.append(f"**This run failed in {plain(', '.join(failed))}.**")
    blocks.append("\n>\n".join(f"> {plain(sentence)}" for sentence in _verdict(sections)))
    if comments := _comments(sections.get("comments")):
        blocks += _comments_in_markdown(comments)
    if digits := _digits(sections.get("digits")):
        blocks += _digits_in_markdown(digits)
    blocks.append(f"Run {plain(run['name'])} of {plain(run['flow'])}, {_moment(run['started'])}.")
    return _with_figures("\n\n".join(block for block in blocks if block) + "\n", figures)


def _comments_in_markdown(comments: Mapping[str, Any]) -> list[str]:
    models = [
        (
            plain(model["title"]),
            percent(model["accuracy"]),
            f"{percent(model['low'])} – {percent(model['high'])}",
            f"{model['f1_macro']:.3f}",
            percent(model["f1_weighted"]),
            "" if model["best_cv_score"] is None else percent(model["best_cv_score"]),
        )
        for model in comments["models"]
    ]
    chosen = [
        f"- {plain(model['title'])}: "
        + ", ".join(f"{plain(name)} {plain(value)}" for name, value in model["best_params"].items())
        for model in comments["models"]
        if model["best_params"]
    ]
    comparisons = [
        (
            plain(c["title"]),
            plain(c["rival_title"]),
            plain(c["words"]),
            _points(c["accuracy_difference"]),
            f"{c['won']} / {c['lost']}",
            _p_value(c["p_value"]),
        )
        for c in comments["comparisons"]
    ]
    f1 = [
        (plain(label), *(f"{model['per_class'][label]['f1']:.3f}" for model in comments["models"]))
        for label in comments["labels"]
    ]
    return [
        f"## Comments: {comments['rows']['test']:,} in the test set",
        _table(
            ("model", "accuracy", "95 % interval", "macro-F1", "weighted F1", "over folds"), models
        ),
        plain(comments["searched"]),
        "\n".join(chosen),
        _table(("model", "against", "in words", "points", "won / lost", "p"), comparisons),
        "\n".join(f"- {plain(warning)}" for warning in comments["warnings"]),
        _table(("F1 of class", *(plain(m["short_title"]) for m in comments["models"])), f1),
        _table(
            ("surest mistakes", "is", "taken for", "probability"),
            [
                (
                    plain(m["txt"]),
                    plain(m["actual"]),
                    plain(m["predicted"]),
                    percent(m["p_predicted"]),
                )
                for m in _mistakes(comments)[:MISTAKES_IN_MARKDOWN]
            ],
        ),
        plain(comments["account"]) if comments["account"] else "",
        _table(("rows", ""), [(plain(name), f"{n:,}") for name, n in comments["funnel"]]),
        _table(
            ("drift from the last run", "distance", "limit", "before", "now"),
            [
                (
                    plain(m["title"]),
                    f"{m['distance']:.3f}",
                    f"{m['limit']:.3f}",
                    plain(m["before"]),
                    plain(m["now"]),
                )
                for m in comments["drift"]["drift"]
            ],
        ),
    ]


def _digits_in_markdown(digits: Mapping[str, Any]) -> list[str]:
    networks = [
        (
            plain(m["name"]),
            f"{m['parameters']:,}",
            _percent2(m["test_accuracy"]),
            f"{_percent2(m['low'])} – {_percent2(m['high'])}",
            f"{m['test_loss']:.4f}",
        )
        for m in digits["models"]
    ]
    columns = ("network", "parameters", "test accuracy", "95 % interval", "test loss")
    seeds = [
        (
            plain(m["name"]),
            str(m["seeds"]["n"]),
            *(_percent2(m["seeds"][key]) for key in ("mean", "std", "worst", "best")),
            str(m["seeds"]["chosen"]),
        )
        for m in digits["models"]
        if digits["has_seeds"]
    ]
    names = [plain(m["name"]) for m in digits["models"]]
    per_digit = [
        (plain(digit["label"]), *(_with_interval(told) for told in digit["models"]))
        for digit in digits["per_digit"]
    ]
    robustness = [
        (plain(row["alteration"]), *(_with_interval(told) for told in row["models"]))
        for row in digits["robustness"]
    ]
    return [
        f"## Digits: {digits['rows']['test']:,} in the test set",
        _table(columns, networks),
        _table(("network", "seeds", "mean", "std", "worst", "best", "shown"), seeds),
        _table(("digit", *names), per_digit),
        _table(("images", *names), robustness),
    ]


def _with_interval(told: Mapping[str, Any]) -> str:
    low, high = _percent2(told["low"]), _percent2(told["high"])
    return f"{_percent2(told['accuracy'])} ({low} – {high})"


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; nothing at all where it has no rows."""
    if not rows:
        return ""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _with_figures(text: str, figures: Mapping[str, bytes]) -> str:
    """Text with the figures, in their order, that the room left allows; the others by name."""
    named = {name: f"\n{plain(name)}: in the run's folder.\n" for name in figures}
    room = MARKDOWN_BYTES_MAX - len((text + "".join(named.values())).encode())
    for name, png in figures.items():
        picture = f"\n### {plain(name)}\n\n![{plain(name)}]({_data_uri(png)})\n"
        cost = len(picture.encode()) - len(named[name].encode())
        if cost <= room:
            room -= cost
            named[name] = picture
    return text + "".join(named.values())
