"""What ``run`` would say of a source, in seconds: the same steps up to the split, no training.

The steps are those of the flows with the flows' defaults, so a run then finds their records; no
server is asked and no run folder made.
"""

import inspect
import json
from collections.abc import Iterator, Mapping
from typing import Any

from prefect import Flow, Task
from prefect.exceptions import ParameterTypeError
from prefect.utilities.callables import get_parameter_defaults

from flows.comments import classify_comments
from flows.digits import classify_digits
from neural_classifiers.engine import locks, paths
from neural_classifiers.engine.records import Reference
from neural_classifiers.engine.run_log import log_once
from neural_classifiers.engine.step import body_of, recorded
from neural_classifiers.errors import RefusedError, ValidationError
from tasks.clean import clean_comments
from tasks.ingest import ingest_comments
from tasks.ingest_digits import ingest_digits
from tasks.report import account_of
from tasks.sources import find_source
from tasks.split import split_comments
from tasks.validate import last_profile, validate_comments

NOTHING: dict[str, Any] = {
    "ok": False,
    "error": None,
    "warnings": [],
    "rows_in": None,
    "accepted": None,
    "quarantined": {},
    "duplicates": None,
    "categories": {},
    "train": None,
    "test": None,
}


def check(kind: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """What a run of comments or digits with the parameters given would say of its source.

    Returns
    -------
    dict
        `NOTHING` with what was found until the verdict: ``quarantined`` counts rows by reason,
        ``categories`` what is accepted by label.
    """
    flow: Flow[..., Any] = classify_comments if kind == "comments" else classify_digits
    findings = _of_comments if kind == "comments" else _of_digits
    result = dict(NOTHING)
    log_once()
    with locks.hold(paths.cache() / locks.IN_USE, shared=True):
        try:
            asked = flow.validate_parameters({**given})
            for found in findings(get_parameter_defaults(flow.fn) | asked):
                result |= found
        except (RefusedError, ParameterTypeError, ValueError, OSError) as error:
            return result | _until(error) | {"error": str(error)}
    return result | {"ok": True}


def _of_comments(asked: dict[str, Any]) -> Iterator[dict[str, Any]]:
    raw = find_source(asked["source"], "comments")
    ingested = _result(ingest_comments, asked, raw=raw)
    yield {"rows_in": ingested.rows, "rows_in_file": ingested.rows_in_file}
    accepted = _result(
        validate_comments,
        asked | {"categories": asked["categories"] or raw.categories},
        ingested=ingested,
        last=last_profile(raw, ingested),
        name=raw.name,
    )
    report = json.loads(accepted.findings.path.read_bytes())
    warnings = [*report["drifted"], *report.get("warnings", []), *accepted.notes]
    yield {"accepted": accepted.rows, "quarantined": accepted.reasons, "warnings": warnings}
    cleaned = _result(clean_comments, asked, accepted=accepted)
    by_time = asked["time_column"] is not None
    split = _result(split_comments, asked, cleaned=cleaned, by_time=by_time)
    account = account_of(ingested, accepted, split)
    if split.conflicting:
        warnings = [*warnings, f"{split.conflicting:,} texts have several labels"]
    emptied = {"clean: nothing left": split.dropped("empty")} if split.dropped("empty") else {}
    yield {
        "warnings": warnings,
        "accepted": account["accepted"],
        "quarantined": accepted.reasons | emptied,
        "duplicates": account["duplicates"],
        "categories": {label: n["train"] + n["test"] for label, n in split.counts.items()},
        "train": split.rows_train,
        "test": split.rows_test,
    }


def _of_digits(asked: dict[str, Any]) -> Iterator[dict[str, Any]]:
    raw = find_source(asked["source"], "digits")
    digits = _result(ingest_digits, asked, raw=raw)
    counts = json.loads(digits.findings.path.read_bytes())["counts"].values()
    odd = {"blank images": digits.blank, "test images are training images": digits.on_both_sides}
    yield {
        "rows_in": digits.rows,
        "accepted": digits.rows,
        "duplicates": 0,
        "categories": dict(zip(digits.labels, map(sum, zip(*counts, strict=True)), strict=True)),
        "warnings": [*digits.oddities, *(f"{n:,} {what}" for what, n in odd.items() if n)],
        "train": digits.rows_train,
        "validation": digits.rows_validation,
        "test": digits.rows_test,
    }


def _result(step: Task[..., Any], asked: Mapping[str, Any], **inputs: Reference | Any) -> Any:
    """The record of a step, its other arguments by their names among the flow's parameters."""
    names = inspect.signature(body_of(step)).parameters
    return recorded(step, **inputs, **{n: asked[n] for n in names if n in asked.keys() - inputs})


def _until(error: Exception) -> dict[str, Any]:
    """What a gate had counted when it stopped."""
    report = error.report if isinstance(error, ValidationError) else {}
    if "shares" not in report:
        return {}
    return {
        "accepted": report["accepted"],
        "quarantined": report["reasons"],
        "categories": {each["cat"]: each["rows"] for each in report["shares"]},
    }
