"""A run in a few lines of Markdown: did it work, how good is it, what changed, where is it."""

from collections.abc import Mapping, Sequence
from typing import Any


def render_summary(
    run: Mapping[str, Any],
    scores: Mapping[str, Sequence[float | None]],
    changes: Sequence[str],
    before: str | None,
    files: Mapping[str, str],
) -> str:
    """Markdown of a run for its page in the Prefect UI.

    Parameters
    ----------
    run : mapping
        ``outcome`` (a sentence), ``computed`` and ``cached`` (task run names).
    scores : mapping of str to [float or None, float or None]
        ``half.model.score`` to its value last time and now.
    changes : sequence of str
        What differs from last time: parameters, data, code, libraries.
    before : str or None
        Name of the run that is compared with; None for a first run.
    files : mapping of str to str
        What lies where.
    """
    parts = [run["outcome"], ""]
    if scores and before:
        parts += ["| score | last time | now | change |", "| --- | ---: | ---: | ---: |"]
        for name, (old, new) in scores.items():
            by = "" if old is None or new is None else f"{new - old:+.4f}" if new != old else "same"
            parts.append(f"| {_spaced(name)} | {_four(old)} | {_four(new)} | {by} |")
        parts.append("")
    elif scores:
        parts += ["| score | |", "| --- | ---: |"]
        parts += [f"| {_spaced(name)} | {_four(new)} |" for name, (_, new) in scores.items()]
        parts.append("")
    if before:
        nothing = "- nothing: the same parameters, data, code and libraries"
        told = [f"Last time: `{before}`", "", *([f"- {change}" for change in changes] or [nothing])]
        parts += ["**What changed since last time**", "", *told, ""]
    parts += [
        "**What was done**",
        "",
        f"{len(run['computed'])} steps computed, {len(run['cached'])} from the cache"
        + (f": computed {', '.join(run['computed'])}" if run["computed"] and run["cached"] else ""),
        "",
        "**Where the files are**",
        "",
        *(f"- {what}: `{where}`" for what, where in files.items()),
    ]
    return "\n".join(parts) + "\n"


def _spaced(name: str) -> str:
    return name.replace(".", " · ")


def _four(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
