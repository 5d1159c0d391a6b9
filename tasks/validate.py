"""Let through the rows that are comments, set the others aside with their reasons."""

import json
import shutil
from collections import Counter
from pathlib import Path

from prefect import get_run_logger, task

from neural_classifiers.comments.drift import Profile
from neural_classifiers.engine import paths, run_files, runs
from neural_classifiers.engine.folder_store import unfinished
from neural_classifiers.engine.progress import reporter_for_rows
from neural_classifiers.engine.records import File
from neural_classifiers.engine.rows.batches import BATCH_ROWS, useful_workers, work_batches
from neural_classifiers.engine.rows.parquet import TableWriter, check_rows, read_groups, slices
from neural_classifiers.engine.step import UNRECORDED, step
from tasks.references import DATA_DOCS, PROFILE, QUARANTINE_FILE, Accepted, Ingested, Source
from tasks.row_work import examine_batch


@task(task_run_name="find_last_profile", **UNRECORDED)
def find_last_profile(raw: Source, ingested: Ingested) -> File | None:
    """The profile of the last completed run of the same path on other rows, if there is one."""
    profile = last_profile(raw, ingested)
    get_run_logger().info("%s", profile.path if profile else "no run to compare with")
    return profile


def last_profile(raw: Source, ingested: Ingested) -> File | None:
    """As `find_last_profile`, without Prefect.

    A run on the very same rows is passed over: it would say nothing, and a repeated run would
    have other inputs than the run that it repeats.
    """
    for folder in sorted(paths.runs().glob("*/"), reverse=True):
        profile = folder / PROFILE
        try:
            section = run_files.read_sections(folder)["comments"]
            is_completed = run_files.read(folder)["status"] == "completed"
            same_source = section["source"]["origin"] == raw.origin
            other_rows = section["rows"]["digest"] != ingested.table.sha256
            if is_completed and same_source and other_rows and profile.is_file():
                Profile.model_validate_json(profile.read_bytes())
                return File.of(profile)
        except (OSError, ValueError, KeyError, TypeError):
            continue  # no run of comments, or not one of this version
    return None


@step()
def validate_comments(
    ingested: Ingested,
    last: File | None,
    categories: list[str] | None,
    folds: int,
    limits: dict[str, float] | None,
    stop_for_drift: bool,
    name: str,
    folder: Path,
) -> Accepted:
    """The rows that meet every expectation; the rest in ``quarantine.parquet`` with reasons.

    Parameters
    ----------
    ingested : Ingested
        The rows as they came.
    last : File, optional
        The profile of the last run; without one nothing is said about drift.
    categories : list of str, optional
        Labels that a row may have; by default those of at least 1 % of the rows.
    folds : int
        Rows that every category must keep, one for each fold of the cross-validation.
    limits : dict of str to float, optional
        Shares in [0, 1] instead of the defaults of `comments.expectations.Limits`, by name.
    stop_for_drift : bool
        False: a drift is reported and stops nothing.
    name : str
        What the data is called in messages.

    Raises
    ------
    ValidationError
        If more than 5 % of the rows are faulty, the categories cannot be learned from, or the
        comments are no longer what they were in the last run.
    """
    from neural_classifiers.comments.expectations import Limits
    from neural_classifiers.comments.labels import notes_on, same_labels
    from neural_classifiers.comments.schemas import ACCEPTED, QUARANTINE
    from neural_classifiers.comments.validator import Validator, usual_categories
    from neural_classifiers.errors import ValidationError
    from neural_classifiers.report.data_docs import render_data_docs
    from neural_classifiers.report.plots import plot_drift

    before = Profile.model_validate_json(last.path.read_bytes()) if last else None
    rows = ingested.table.path
    counts = _label_counts(rows)
    spellings = same_labels(counts, categories)
    spelled: Counter[str] = Counter()
    for label, n in counts.items():
        spelled[spellings.get(label, label)] += n
    known = tuple(categories or usual_categories(spelled))
    validator = Validator(
        known,
        folds,
        limits=Limits.of(limits),
        n_rows=ingested.rows,
        last=before,
        last_run=last.path.parent.name if last else "",
        stop_for_drift=stop_for_drift,
        name=name,
    )
    table, quarantine = folder / "comments.parquet", folder / QUARANTINE_FILE
    with TableWriter(table, ACCEPTED) as good, TableWriter(quarantine, QUARANTINE) as bad:
        batches = (
            (rows, *s, known, ingested.rows, tuple(spellings.items()))
            for s in slices(ingested.rows, BATCH_ROWS)
        )
        n_workers, report = useful_workers(ingested.rows), reporter_for_rows(ingested.rows)
        for batch in work_batches(examine_batch, batches, unfinished(folder), n_workers, report):
            good.write(batch.read("accepted"))
            bad.write(batch.read("quarantined"))
            validator.add(batch.summary, batch.read("hashes")["hash"].to_numpy())
    try:
        passed = validator.gate()
    except ValidationError as error:
        if error.result is not None:
            _leave(render_data_docs(error.result), quarantine)
        raise
    check_rows(name, good.rows + bad.rows, ingested.rows)
    findings, docs, profile = (folder / n for n in ("findings.json", DATA_DOCS, PROFILE))
    findings.write_text(json.dumps(passed.report, indent=2) + "\n", encoding="utf-8")
    docs.write_text(render_data_docs(passed.result), encoding="utf-8")
    profile.write_text(json.dumps(passed.profile.as_dict()) + "\n", encoding="utf-8")
    drift = folder / "drift.png"
    if before:
        drift.write_bytes(plot_drift(before, passed.profile))
    return Accepted(
        table=File.of(table),
        quarantine=File.of(quarantine),
        findings=File.of(findings),
        docs=File.of(docs),
        profile=File.of(profile),
        drift=File.of(drift) if before else None,
        rows=good.rows,
        rows_quarantined=bad.rows,
        reasons=passed.report["reasons"],
        notes=notes_on(counts, spellings, known),
    )


def _leave(docs: str, quarantine: Path) -> None:
    """What the gate found, in the run's folder: of a run that it stops, nothing else is left."""
    if folder := runs.current():
        (folder / DATA_DOCS).write_text(docs, encoding="utf-8")
        shutil.copyfile(quarantine, folder / QUARANTINE_FILE)
        get_run_logger().error("see %s and %s", folder / DATA_DOCS, folder / QUARANTINE_FILE)


def _label_counts(path: Path) -> Counter[str]:
    counts: Counter[str] = Counter()
    for group in read_groups(path, ["cat"]):
        for label, n in zip(*group["cat"].drop_null().value_counts().flatten(), strict=True):
            counts[label.as_py()] += n.as_py()
    return counts
