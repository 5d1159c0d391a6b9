"""A card for each model, in Markdown: what it is for, what it learnt from, how good, its limits.

Source of the headings: M. Mitchell et al., Model Cards for Model Reporting, 2019. Labels, names
and parameters come out of files: they are hostile input, neutralised as in the report.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from neural_classifiers.judgement.names import percent
from neural_classifiers.judgement.scores import Scores, model_title
from neural_classifiers.report.pages import plain, searched_in_words

__all__ = ["render_card"]


def render_card(
    name: str,
    section: Mapping[str, Any],
    run: Mapping[str, Any],
    card: Mapping[str, Any],
    warnings: Sequence[str] = (),
) -> str:
    """The card of one model of a run.

    Parameters
    ----------
    name : str
        As in ``metrics.json``.
    section : mapping
        ``comments`` of ``report.json``.
    run : mapping
        As ``run.json``: name and when it started.
    card : mapping
        As ``recipe.json`` beside the model: seed, libraries, digests.
    warnings : sequence of str
        Of the run.
    """
    told, rows, source = section["models"][name], section["rows"], section["source"]
    scores = Scores.model_validate(told)
    low, high = scores.accuracy_interval
    calibration = told.get("calibration")
    interval = told.get("f1_macro_interval")
    bounds = f" (95 % interval {interval[0]:.3f} to {interval[1]:.3f})" if interval else ""
    chosen = ", ".join(f"{plain(k)} {plain(v)}" for k, v in told["best_params"].items())
    slices = (section.get("explained") or {"slices": []})["slices"]
    weak = [each for each in slices if each["models"][name]["is_weaker"]]
    limits = [
        *(plain(warning) for warning in warnings),
        *(
            f"Weaker on comments {plain(each['slice'])}: "
            f"{percent(each['models'][name]['accuracy'])} of {each['rows']:,}."
            for each in weak
        ),
        "Sorts text into the classes below and no others: whatever it is given gets one of them.",
        "It knows the words of its training comments; those of another place or year it may not.",
    ]
    files = section["files"]
    model_file = files.get(f"model {name}", {"path": "", "sha256": ""})
    lines = [
        f"# {plain(model_title(name)).capitalize()}",
        "",
        f"Trained in run {plain(run['name'])}, {plain(run['started'])}.",
        "",
        "## What it is for",
        "",
        f"Sorts comments into {len(scores.labels)} classes: "
        f"{', '.join(plain(label) for label in scores.labels)}.",
        "",
        "## What it learnt from",
        "",
        f"- {plain(source['name'])}: {rows['train']:,} training comments, {rows['test']:,} test "
        "comments; no cleaned text stands on both sides",
        f"- licence: {plain(source['licence'])}",
        f"- digest of the training file: {plain(card.get('training_file_sha256', ''))}",
        "",
        "## How it was chosen",
        "",
        f"- by {plain(told.get('scoring', 'accuracy'))} over {card.get('folds')} folds of the "
        f"training comments: {_or_none(told['best_cv_score'])}",
        *([f"- {plain(searched)}"] if (searched := searched_in_words(rows)) else []),
        f"- parameters: {chosen or 'none'}; seed {card.get('seed')}",
        f"- temperature of its probabilities: {_or_none(told.get('temperature'))}",
        "",
        "## How good it is",
        "",
        f"Judged once, on {scores.n_rows:,} test comments.",
        "",
        f"- accuracy {percent(scores.accuracy)} (95 % interval {percent(low)} to {percent(high)})",
        f"- macro-F1 {scores.f1_macro:.3f}{bounds}",
        *([f"- calibration error {percent(calibration['ece'])}"] if calibration else []),
        "",
        "| class | comments | precision | recall | F1 |",
        "| --- | --- | --- | --- | --- |",
        *(
            f"| {plain(label)} | {each.support:,} | {each.precision:.3f} | {each.recall:.3f} "
            f"| {each.f1:.3f} |"
            for label, each in scores.per_class.items()
        ),
        "",
        "## Limits",
        "",
        *(f"- {limit}" for limit in limits),
        "",
        "## Where it is",
        "",
        f"- {plain(model_file['path'])}, sha256 {plain(model_file['sha256'])}",
        "- "
        + ", ".join(f"{plain(k)} {plain(v)}" for k, v in (card.get("libraries") or {}).items()),
    ]
    return "\n".join(lines) + "\n"


def _or_none(value: float | None) -> str:
    return "none" if value is None else f"{value:.4f}"
