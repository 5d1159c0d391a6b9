"""Write what a run found into its folder, and the same into Prefect, for people.

These steps are never cached: a run that computed nothing new still has its folder. They are fed by
references and copy small things; models and tables stay in the cache, named by path and digest.
Each half of the notebook writes its section as soon as it has one, so that a half that fails
later takes nothing away.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from prefect import get_run_logger, runtime, task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.states import State

from neural_classifiers.digits.scores import best_seed, spread_of_seeds
from neural_classifiers.engine import history, paths, runs
from neural_classifiers.engine.branches import Branches
from neural_classifiers.engine.files import write_durably
from neural_classifiers.engine.records import File
from neural_classifiers.engine.run_files import METRICS, REPORT, SECTIONS, read_sections
from neural_classifiers.engine.step import UNRECORDED
from neural_classifiers.report.cards import render_card
from neural_classifiers.report.markdown import render_markdown
from neural_classifiers.report.pages import render_report, warnings_of
from neural_classifiers.report.summary import render_summary
from neural_classifiers.search.candidates import rank_candidates
from tasks.model_files import read_grid
from tasks.references import (
    DATA_DOCS,
    PROFILE,
    Accepted,
    Cleaned,
    Compared,
    Digits,
    Examined,
    Explained,
    Ingested,
    Model,
    NearDuplicates,
    Scored,
    Source,
    Split,
    TrainedDigits,
    digest_of_files,
)

_SHORT = {  # the table is as wide as its names
    "rank_test_score": "rank",
    "mean_test_score": "score",
    "std_test_score": "over folds ±",
    "mean_fit_time": "fit s",
}
LISTED = 20  # comments in a list of the report; the whole list is a file
TABLE_ROWS = 300  # of a table artifact: the UI pages it, the server stores it whole


def finish(branches: Branches) -> State:
    """End a run: the page names what failed since it was written, the UI gets a summary."""
    state = branches.finish()
    folder = runs.run_folder()
    if state.is_failed() and (folder / SECTIONS).exists():
        _show(folder)
    if runtime.flow_run.id == runs.read(folder)["run_id"]:  # not one half of two
        _summarise(folder, f"**{state.name}**: {state.message}")
    return state


@task(task_run_name="report_comments", **UNRECORDED)
def report_comments(
    raw: Source,
    ingested: Ingested,
    accepted: Accepted,
    cleaned: Cleaned,
    split: Split,
    models: dict[str, Model],
    scored: dict[str, Scored],
    compared: Compared | None,
    near: NearDuplicates | None,
    examined: Examined | None,
    explained: Explained | None,
    failed: dict[str, str],
) -> None:
    """The section on comments: metrics, grids, figures, page, models' cards and artifacts."""
    folder = runs.run_folder()
    account = account_of(ingested, accepted, split)
    findings = _json(accepted.findings)
    write_durably(folder / DATA_DOCS, accepted.docs.verified().read_bytes())
    write_durably(folder / PROFILE, accepted.profile.verified().read_bytes())
    metrics = {name: _json(s.scores) for name, s in scored.items()}
    figures = {"head": cleaned.head}
    if accepted.drift:
        figures["drift"] = accepted.drift
    figures |= {f"confusion-{name}": s.confusion for name, s in scored.items()}
    figures |= {
        f"calibration-comments-{name}": s.calibration
        for name, s in scored.items()
        if name != "constant"
    }
    if examined:
        figures["sizes"] = examined.figure
    for name, model in models.items():
        figures |= {f"{figure}-{name}": file for figure, file in model.figures.items()}
    section = {
        "source": _source(raw, ingested.rows_in_file),
        "rows": {
            "in_file": ingested.rows_in_file,
            "drawn": ingested.rows,
            "digest": ingested.table.sha256,
            "formats": ingested.formats,
            "blank_lines": ingested.blank_lines,
            "accepted": accepted.rows,
            "quarantined": accepted.rows_quarantined,
            "reasons": accepted.reasons,
            "empty": split.dropped("empty"),
            "duplicates": split.dropped("duplicates"),
            "conflicting": split.conflicting,
            "train": split.rows_train,
            "searched": next(
                (m.searched_rows for m in models.values() if m.searched_rows), split.rows_train
            ),
            "test": split.rows_test,
        },
        "account": account,
        "drift": {name: findings[name] for name in ("drift", "moved_words", "drifted")},
        "near_duplicates": near
        and {
            **near.model_dump(exclude={"pairs"}),
            "pairs": _rows_of(near.pairs, LISTED),
        },
        "explained": _json(explained.explanations) if explained else None,
        "examined": examined
        and {
            "curve": _json(examined.curve),
            "n_suspected": examined.n_suspected,
            "rows": examined.rows,
            "suspected": _rows_of(examined.suspected, LISTED),
        },
        "data_docs": DATA_DOCS,
        "counts": split.counts,
        "models": metrics,
        "comparisons": _json(compared.comparisons) if compared else [],
        "grids": {name: _grid(folder, name, model) for name, model in models.items()},
        "figures": _copied(folder, figures),
        "files": {
            "accepted": _where(accepted.table),
            "quarantine": _where(accepted.quarantine),
            "findings": _where(accepted.findings),
            "cleaned": _where(cleaned.table),
            "train": _where(split.train),
            "test": _where(split.test),
            "dropped": _where(split.dropped_rows),
            **({"near duplicates": _where(near.pairs)} if near else {}),
            **({"labels in doubt": _where(examined.suspected)} if examined else {}),
            **{f"model {name}": _where(model.pipeline) for name, model in models.items()},
            **{
                f"weights {name}": _where(model.weights)
                for name, model in models.items()
                if model.weights
            },
            **{f"predictions {name}": _where(s.predictions) for name, s in scored.items()},
        },
        "failed": list(failed),
    }
    (folder / "models").mkdir(exist_ok=True)
    warnings, run = warnings_of(section), runs.read(folder)
    for name in [name for name in scored if name in models]:
        card = render_card(name, section, run, _json(models[name].recipe), warnings)
        write_durably(folder / "models" / f"{name}.md", card.encode())
    _write(folder, "comments", section, metrics)
    for name, model in models.items():
        if len(read_grid(model)) > 1:
            create_table_artifact(
                _rows(model), key=f"grid-{name.replace('_', '-')}", description=model.in_words()
            )


@task(task_run_name="report_digits", **UNRECORDED)
def report_digits(
    raw: Source, digits: Digits, trained: list[TrainedDigits], failed: dict[str, str]
) -> None:
    """The section on digits: metrics, figures, page and artifacts.

    Of several seeds the network shown is the one that read the validation images best; the test
    accuracies of all are told beside it, and chose nothing.
    """
    folder = runs.run_folder()
    by_name: dict[str, dict[int, TrainedDigits]] = {}
    for each in trained:
        by_name.setdefault(each.name, {})[each.seed] = each
    chosen = {
        name: seeds[best_seed({s: t.model_dump() for s, t in seeds.items()})]
        for name, seeds in by_name.items()
    }
    metrics = {
        name: _json(t.scores)
        | {
            "seeds": {
                **spread_of_seeds([each.test_accuracy for each in by_name[name].values()]),
                "test_accuracy": {str(s): each.test_accuracy for s, each in by_name[name].items()},
                "chosen": t.seed,
            }
        }
        for name, t in chosen.items()
    }
    figures = {"digits": digits.examples}
    for name, t in chosen.items():
        figures |= {
            f"curves-{name}": t.curves,
            f"confusion-digits-{name}": t.confusion,
            f"mistakes-{name}": t.mistakes,
            f"calibration-{name}": t.calibration,
            f"summary-{name}": t.layers,
        }
    section = {
        "source": _source(raw, digits.rows),
        "rows": {
            "train": digits.rows_train,
            "validation": digits.rows_validation,
            "test": digits.rows_test,
            "blank": digits.blank,
            "on_both_sides": digits.on_both_sides,
        },
        "models": metrics,
        "figures": _copied(folder, figures),
        "files": {
            "digits": _where(digits.arrays),
            "findings on digits": _where(digits.findings),
            **{f"weights {name}": _where(t.weights) for name, t in chosen.items()},
            **{
                f"weights {t.name}, seed {t.seed}": _where(t.weights)
                for t in trained
                if t is not chosen[t.name]
            },
        },
        "failed": list(failed),
    }
    _write(folder, "digits", section, metrics)


def _summarise(folder: Path, outcome: str) -> None:
    """Show in the Prefect UI how the run went, what changed since last time, where files are."""
    run = history.Run.of(folder)
    before = _run_before(run)
    told = history.compare(before or run, run)
    scores = {
        name: (old if before else None, new)
        for name, (old, new, _) in told["scores"].items()
        if name.rpartition(".")[2] in history.HEADLINES
    }
    steps = [step for step in run.json["steps"] if step["attempt"] == run.json["attempts"]]
    files = {"report": folder / REPORT, "run": folder, "records": paths.cache()}
    markdown = render_summary(
        {
            "outcome": outcome,
            "computed": [step["task_run"] for step in steps if not step["hit"]],
            "cached": [step["task_run"] for step in steps if step["hit"]],
        },
        scores,
        history.in_lines(told),
        before.folder.name if before else None,
        {name: str(path) for name, path in files.items()},
    )
    create_markdown_artifact(markdown, key="summary", description="How the run went")


def _run_before(run: history.Run) -> history.Run | None:
    """The last run of the same flow that completed."""
    return next(
        (
            other
            for other in history.all_runs()
            if other.began < run.began
            and (other.json["flow"], other.status) == (run.json["flow"], "completed")
        ),
        None,
    )


def _since_last(folder: Path) -> dict[str, Any] | None:
    """What differs from the last run, for the page; None of a first run."""
    run = history.Run.of(folder)
    before = _run_before(run)
    if before is None:
        return None
    told = history.compare(before, run)
    return {
        "before": before.folder.name,
        "changes": history.in_lines(told),
        "scores": [
            (name, old, new)
            for name, (old, new, _) in told["scores"].items()
            if name.rpartition(".")[2] in history.HEADLINES and old != new
        ],
    }


def account_of(ingested: Ingested, accepted: Accepted, split: Split) -> dict[str, int]:
    """Where every row that was drawn went: rows in are the sum of the others.

    ``quarantined`` are the rows that validation set aside and those that cleaning left empty.

    Raises
    ------
    RuntimeError
        If a row is missing, or counted twice.
    """
    rows = {
        "accepted": split.rows,
        "quarantined": accepted.rows_quarantined + split.dropped("empty"),
        "duplicates": split.dropped("duplicates"),
    }
    if sum(rows.values()) != ingested.rows:
        raise RuntimeError(f"expected {ingested.rows:,} rows to be accounted for, got {rows}")
    return {"in": ingested.rows, **rows}


def _json(file: File) -> Any:
    return json.loads(file.verified().read_bytes())


def _rows_of(file: File, limit: int) -> list[dict[str, Any]]:
    """The first rows of a table of comments."""
    return json.loads(pd.read_parquet(file.verified()).head(limit).to_json(orient="records"))


def _where(file: File) -> dict[str, str]:
    return {"path": str(file.path), "sha256": file.content or file.sha256}


def _source(raw: Source, rows: int) -> dict[str, Any]:
    return {
        "name": raw.name,
        "kind": raw.kind,
        "digest": digest_of_files(raw.files),
        "rows": rows,
        "licence": raw.licence,
        "citation": raw.citation,
    }


def _copied(folder: Path, figures: Mapping[str, File]) -> dict[str, str]:
    """Copies of the figures, which a reader may edit without reaching a record."""
    (folder / "figures").mkdir(exist_ok=True)
    for name, file in figures.items():
        write_durably(folder / "figures" / f"{name}.png", file.verified().read_bytes())
    return {name: f"figures/{name}.png" for name in figures}


def _grid(folder: Path, name: str, model: Model) -> dict[str, Any]:
    """The ten best candidates, and the whole table as CSV, which any program opens."""
    table = read_grid(model)
    (folder / "grids").mkdir(exist_ok=True)
    path = folder / "grids" / f"{name}.csv"
    write_durably(path, table.to_csv(index=False).encode())
    best = rank_candidates(columns_of(table), limit=10)
    return {
        "csv": str(path.relative_to(folder)),
        "candidates": len(table),
        "distinct": int(table["fitted_as"].nunique()),
        "parameters": list(dict.fromkeys(name for c in best for name in c.params)),
        "top": [candidate.as_dict() for candidate in best],
    }


def columns_of(table: Any) -> dict[str, list[Any]]:
    """Each column as a list of plain values: Parquet gives a value that is a list as an array."""
    return {
        str(name): [v.tolist() if hasattr(v, "tolist") else v for v in table[name].tolist()]
        for name in table
    }


def _rows(model: Model) -> list[dict[str, Any]]:
    """The grid for the UI: best first, a few columns, numbers short."""
    table = read_grid(model).sort_values("rank_test_score", kind="stable").head(TABLE_ROWS)
    kept = [c for c in table.columns.astype(str) if c.startswith("param_")]
    rows = table[["rank_test_score", *kept, "mean_test_score", "std_test_score", "mean_fit_time"]]
    rows = rows.rename(columns=lambda name: _SHORT.get(name, name.removeprefix("param_")))
    return json.loads(rows.round(4).to_json(orient="records"))


def _show(folder: Path) -> None:
    """Write the page of all sections so far."""
    run, sections = runs.read(folder), read_sections(folder)
    failed = dict.fromkeys(
        [n for told in sections.values() for n in told["failed"]] + run["failed"]
    )
    run["since_last"] = _since_last(folder)
    page = render_report(run, sections, _figures(folder, sections), list(failed))
    write_durably(folder / REPORT, page.encode())


def _publish(folder: Path, half: str) -> None:
    """Show a section in the Prefect UI."""
    sections = {half: read_sections(folder)[half]}
    figures = _figures(folder, sections)
    markdown = render_markdown(runs.read(folder), sections, figures, sections[half]["failed"])
    create_markdown_artifact(markdown, key=f"report-{half}", description="What the run found")


def _figures(folder: Path, sections: Mapping[str, Any]) -> dict[str, bytes]:
    figures = [pair for told in sections.values() for pair in told["figures"].items()]
    return {name: (folder / path).read_bytes() for name, path in figures}


def _write(folder: Path, name: str, section: dict[str, Any], metrics: dict[str, Any]) -> None:
    """Add a section to the folder's files, and show the page so far."""
    for file, part in ((SECTIONS, section), (METRICS, metrics)):
        path = folder / file
        whole = json.loads(path.read_bytes()) if path.exists() else {}
        write_durably(path, runs.as_json(whole | {name: part}))
    with runs.updating(folder) as run:
        sections = read_sections(folder)
        run["sources"] = {half: told["source"] for half, told in sections.items()}
        run["source"] = next(iter(run["sources"].values()))
    _show(folder)
    _publish(folder, name)
    get_run_logger().info("report: %s (run %s)", folder / REPORT, runtime.flow_run.name)
