"""The pages of a run's folder and of its Prefect run, from the sections that there are so far."""

import json
from pathlib import Path
from typing import Any

from prefect import get_run_logger, runtime

from neural_classifiers.engine import history, paths, run_files
from neural_classifiers.engine.artifacts import show_markdown
from neural_classifiers.engine.files import as_json, write_durably
from neural_classifiers.engine.run_files import REPORT, SECTIONS
from neural_classifiers.plain_text import plain
from neural_classifiers.report.pages import render_markdown, render_report, render_summary
from neural_classifiers.report.sections import (
    CommentsSection,
    DigitsSection,
    Sections,
    SinceLast,
)


def add_half(path: Path, half: str, content: Any) -> None:
    """Add what one half of the notebook has to say to a JSON file of the run's folder."""
    whole = json.loads(path.read_bytes()) if path.exists() else {}
    write_durably(path, as_json(whole | {half: content}))


def publish(folder: Path, half: str, section: CommentsSection | DigitsSection) -> None:
    """Add a section to the run's folder, and show it on the page and in the Prefect UI."""
    add_half(folder / SECTIONS, half, section.as_dict())
    sections = sections_of(folder)
    with run_files.updating(folder) as run:
        run["sources"] = {name: s.source.as_dict() for name, s in sections.halves.items()}
        run["source"] = next(iter(run["sources"].values()))
    show_page(folder)
    only = Sections.model_validate({half: section})
    markdown = render_markdown(run, only, _figures(folder, only), section.failed)
    show_markdown(markdown, key=f"report-{half}", description="What the run found")
    get_run_logger().info("report: %s (run %s)", folder / REPORT, runtime.flow_run.name)


def sections_of(folder: Path) -> Sections:
    """The sections that a run wrote; none where it came to none."""
    return Sections.model_validate(run_files.read_sections(folder))


def show_page(folder: Path) -> None:
    """Write the page of all sections so far; nothing where there is none."""
    run, sections = run_files.read(folder), sections_of(folder)
    if not sections.halves:
        return
    failed = [name for section in sections.halves.values() for name in section.failed]
    diagrams = sections.comments.diagrams if sections.comments else {}
    page = render_report(
        run,
        sections,
        _figures(folder, sections),
        failed=list(dict.fromkeys([*failed, *run["failed"]])),
        since_last=_since_last(folder),
        diagrams={name: (folder / path).read_text("utf-8") for name, path in diagrams.items()},
    )
    write_durably(folder / REPORT, page.encode())


def show_summary(folder: Path, status: str, message: str) -> None:
    """Show in the Prefect UI how the run went, what changed since last time, where files are."""
    files = {"report": folder / REPORT, "run": folder, "records": paths.cache()}
    markdown = render_summary(
        run_files.read(folder),
        f"**{status}**: {plain(message, 5000)}",
        _since_last(folder),
        {name: str(path) for name, path in files.items()},
    )
    show_markdown(markdown, key="summary", description="How the run went")


def _since_last(folder: Path) -> SinceLast:
    """What differs from the last run of the same flow that completed, and this run's scores."""
    run = history.Run.of(folder)
    same = (run.json["flow"], "completed")
    before = next(
        (
            other
            for other in history.all_runs()
            if other.began < run.began and (other.json["flow"], other.status) == same
        ),
        None,
    )
    differences = history.compare(before or run, run)
    return SinceLast(
        before=before and before.folder.name,
        changes=history.in_lines(differences) if before else [],
        scores=[
            (name, then if before else None, now)
            for name, (then, now, _) in differences["scores"].items()
            if name.rpartition(".")[2] in history.HEADLINES
        ],
    )


def _figures(folder: Path, sections: Sections) -> dict[str, bytes]:
    figures = [pair for section in sections.halves.values() for pair in section.figures.items()]
    return {name: (folder / path).read_bytes() for name, path in figures}
