"""Write what a run found into its folder, and the same into Prefect, for people.

These steps are never cached: a run that computed nothing new still has its folder. They are fed by
references and copy small things; models and tables stay in the cache, named by path and digest.
Each half of the notebook writes its section as soon as it has one, so that a half that fails
later takes nothing away. Numbers and grids are written before anything that shows them.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from prefect import get_run_logger, runtime, task
from prefect.states import State

from neural_classifiers.comments.drift import Profile
from neural_classifiers.digits.scores import best_seed, spread_of_seeds
from neural_classifiers.engine import run_files, runs
from neural_classifiers.engine.artifacts import show_table
from neural_classifiers.engine.branches import Branches
from neural_classifiers.engine.files import write_durably
from neural_classifiers.engine.records import File
from neural_classifiers.engine.step import UNRECORDED
from neural_classifiers.report.pages import render_card
from neural_classifiers.report.sections import CommentsSection, DigitsSection, GridSummary
from neural_classifiers.report.warnings import about_encoder
from neural_classifiers.search.candidates import RankedCandidate, rank_candidates
from tasks.model_files import read_grid, read_price
from tasks.references import (
    DATA_DOCS,
    PROFILE,
    Accepted,
    Cleaned,
    Compared,
    Digits,
    Drawn,
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
from tasks.run_pages import add_half, publish, show_page, show_summary

LISTED = 20  # comments in a list of the report; the whole list is a file
TABLE_ROWS = 300  # of a table artifact: the UI pages it, the server stores it whole


def finish(branches: Branches) -> State:
    """End a run: the page names what failed since it was written, the UI gets a summary."""
    state, folder = branches.finish(), runs.run_folder()
    try:
        if state.is_failed():
            show_page(folder)
        if runtime.flow_run.id == run_files.read(folder)["run_id"]:  # not one half of two
            show_summary(folder, str(state.name), str(state.message))
    except Exception:  # whatever it is, it costs neither the results nor the state that tells them
        get_run_logger().exception("what was found could not be shown; it lies in %s", folder)
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
    drawn: dict[str, Drawn],
    compared: Compared | None,
    near: NearDuplicates | None,
    examined: Examined | None,
    explained: Explained | None,
    failed: dict[str, str],
    asked: str | None,
    encoder: Source | None,
) -> None:
    """The section on comments: metrics, grids, figures, page, models' cards and artifacts.

    Parameters
    ----------
    raw, ingested, accepted, cleaned, split
        What the steps that every model starts from returned.
    models, scored, drawn : dict of str to Model, to Scored and to Drawn
        By the model's name; those whose branch failed are absent.
    compared, near, examined, explained
        None where the step failed.
    failed : dict of str to str
        Error of each step that failed, by its name.
    asked : str or None
        The encoder that was asked for.
    encoder : Source or None
        Its files; None where they could not be had.
    """
    folder = runs.run_folder()
    metrics = {name: _json(s.scores) for name, s in scored.items()}
    add_half(folder / run_files.METRICS, "comments", metrics)
    tables = {name: _write_grid(folder, model) for name, model in models.items()}
    grids = {name: _summary_of(name, table) for name, table in tables.items()}
    for name, file in ((DATA_DOCS, accepted.docs), (PROFILE, accepted.profile)):
        write_durably(folder / name, file.verified().read_bytes())
    findings = _json(accepted.findings)
    figures = {
        "head": cleaned.head,
        "drift": accepted.drift,
        "sizes": examined.figure if examined else None,
        **{f"{f}-{name}": file for name, d in drawn.items() for f, file in d.figures.items()},
    }
    # pipelines last: the Markdown has room for so many
    figures = dict(sorted(figures.items(), key=lambda figure: figure[0].startswith("pipeline")))
    files = {
        "accepted": accepted.table,
        "quarantine": accepted.quarantine,
        "findings": accepted.findings,
        "cleaned": cleaned.table,
        "train": split.train,
        "test": split.test,
        "dropped": split.dropped_rows,
        "near duplicates": near.pairs if near else None,
        "labels in doubt": examined.suspected if examined else None,
        **{f"model {name}": model.pipeline for name, model in models.items()},
        **{f"weights {name}": model.weights for name, model in models.items()},
        **{f"predictions {name}": s.predictions for name, s in scored.items()},
    }
    profile = Profile.model_validate(_json(accepted.profile))
    on_encoder = about_encoder(asked, encoder.languages if encoder else None, profile)
    searched = [model.searched_rows for model in models.values()]
    section = CommentsSection.model_validate(
        {
            "source": _source(raw) | {"rows": ingested.rows_in_file},
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
                "searched": searched[0] if searched else split.rows_train,
                "test": split.rows_test,
            },
            "account": account_of(ingested, accepted, split),
            "counts": split.counts,
            "drift": {name: findings[name] for name in ("drift", "moved_words", "drifted")},
            "notes": [*accepted.notes, *filter(None, [on_encoder])],
            "near_duplicates": near and near.model_dump() | {"pairs": _first_rows(near.pairs)},
            "explained": explained and _json(explained.explanations),
            "examined": examined
            and examined.model_dump(include={"n_suspected", "rows"})
            | {"curve": _json(examined.curve), "suspected": _first_rows(examined.suspected)},
            "models": metrics,
            "comparisons": _json(compared.comparisons) if compared else [],
            "held_out": compared and _json(compared.held_out),
            "prices": {
                n: p for n, m in models.items() if n in scored and (p := read_price(m, scored[n]))
            },
            "grids": grids,
            "data_docs": DATA_DOCS,
            "figures": _copy(folder, "figures", "png", figures),
            "diagrams": _copy(
                folder, "pipelines", "html", {name: d.diagram for name, d in drawn.items()}
            ),
            "files": _where(files),
            "failed": list(failed),
        }
    )
    publish(folder, "comments", section)
    _write_cards(folder, section, models)
    for name, model in models.items():
        if grids[name].candidates > 1:
            show_table(
                _rows(tables[name]),
                key=f"grid-{name.replace('_', '-')}",
                description=model.in_words(),
            )


@task(task_run_name="report_digits", **UNRECORDED)
def report_digits(
    raw: Source,
    digits: Digits,
    trained: dict[str, TrainedDigits],
    drawn: dict[str, Drawn],
    failed: dict[str, str],
) -> None:
    """The section on digits: metrics, figures, page and artifacts.

    Of several seeds the network shown is the one that read the validation images best; the test
    accuracies of all stand with it, and chose nothing.

    Parameters
    ----------
    raw, digits
        What the steps that every network starts from returned.
    trained, drawn : dict of str to TrainedDigits and to Drawn
        One of each network and seed, by both; those that failed are absent.
    failed : dict of str to str
        Error of each step that failed, by its name.
    """
    folder = runs.run_folder()
    by_name: dict[str, dict[int, TrainedDigits]] = {}
    for each in trained.values():
        by_name.setdefault(each.name, {})[each.seed] = each
    chosen = {
        name: seeds[best_seed({s: t.model_dump() for s, t in seeds.items()})]
        for name, seeds in by_name.items()
    }
    metrics = {}
    figures: dict[str, File | None] = {"digits": digits.examples}
    for name, t in chosen.items():
        accuracies = {str(s): each.test_accuracy for s, each in by_name[name].items()}
        spread = spread_of_seeds(list(accuracies.values()))
        metrics[name] = _json(t.scores) | {
            "seeds": {**spread, "test_accuracy": accuracies, "chosen": t.seed}
        }
        if pictures := drawn.get(f"{name}-{t.seed}"):
            figures |= {f"{f}-{name}": file for f, file in pictures.figures.items()}
    add_half(folder / run_files.METRICS, "digits", metrics)
    others = [t for t in trained.values() if t is not chosen[t.name]]
    files = {
        "digits": digits.arrays,
        "findings on digits": digits.findings,
        **{f"weights {name}": t.weights for name, t in chosen.items()},
        **{f"weights {t.name}, seed {t.seed}": t.weights for t in others},
    }
    section = DigitsSection.model_validate(
        {
            "source": _source(raw) | {"rows": digits.rows},
            "rows": {
                "train": digits.rows_train,
                "validation": digits.rows_validation,
                "test": digits.rows_test,
                "blank": digits.blank,
                "on_both_sides": digits.on_both_sides,
                "oddities": digits.oddities,
            },
            "models": metrics,
            "figures": _copy(folder, "figures", "png", figures),
            "files": _where(files),
            "failed": list(failed),
        }
    )
    publish(folder, "digits", section)


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


def _first_rows(file: File) -> list[dict[str, Any]]:
    return json.loads(pd.read_parquet(file.verified()).head(LISTED).to_json(orient="records"))


def _source(raw: Source) -> dict[str, Any]:
    known = raw.model_dump(include={"name", "kind", "licence", "citation"})
    return known | {"origin": raw.origin, "digest": digest_of_files(raw.files)}


def _where(files: Mapping[str, File | None]) -> dict[str, dict[str, str]]:
    return {
        name: {"path": str(file.path), "sha256": file.content or file.sha256}
        for name, file in files.items()
        if file
    }


def _copy(folder: Path, part: str, ending: str, files: Mapping[str, File | None]) -> dict[str, str]:
    """Copies that a reader may edit without reaching a record; their paths in the run's folder."""
    (folder / part).mkdir(exist_ok=True)
    paths = {}
    for name, file in files.items():
        if file:
            paths[name] = f"{part}/{name}.{ending}"
            write_durably(folder / paths[name], file.verified().read_bytes())
    return paths


def _write_grid(folder: Path, model: Model) -> pd.DataFrame:
    """The whole table, written as CSV, which any program opens."""
    table = read_grid(model)
    (folder / "grids").mkdir(exist_ok=True)
    write_durably(folder / "grids" / f"{model.name}.csv", table.to_csv(index=False).encode())
    return table


def _summary_of(name: str, table: pd.DataFrame) -> GridSummary:
    """The ten best candidates of a grid, and why others have no score."""
    best = [c for c in _ranked(table, limit=10) if math.isfinite(c.mean)]
    failed = table[table["error"] != ""].groupby("error", sort=False)["params"]
    return GridSummary(
        csv=f"grids/{name}.csv",
        candidates=len(table),
        distinct=int(table["fitted_as"].nunique()),
        parameters=list(dict.fromkeys(name for c in best for name in c.params)),
        top=best,
        errors={f"{next(iter(params))}: {error}": len(params) for error, params in failed},
    )


def _ranked(table: pd.DataFrame, limit: int) -> tuple[RankedCandidate, ...]:
    return rank_candidates({str(name): table[name].tolist() for name in table}, limit)


def _write_cards(folder: Path, section: CommentsSection, models: Mapping[str, Model]) -> None:
    (folder / "models").mkdir(exist_ok=True)
    run = run_files.read(folder)
    for name in section.models.keys() & models.keys():
        card = render_card(name, section, run, _json(models[name].recipe))
        write_durably(folder / "models" / f"{name}.md", card.encode())


def _rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The grid for the UI: best first, a few columns, numbers short."""
    candidates = _ranked(table, limit=TABLE_ROWS)
    parameters = dict.fromkeys(name for c in candidates for name in c.params)
    return [
        {
            "rank": c.rank,
            **{name: c.params.get(name) for name in parameters},
            "score": round(c.mean, 4) if math.isfinite(c.mean) else None,
            "over folds ±": round(c.std, 4) if math.isfinite(c.std) else None,
            "fit s": round(float(table["mean_fit_time"][c.number - 1]), 4),
        }
        for c in candidates
    ]
