"""Let through the rows that are comments, set the others aside with their reasons."""

import json
from collections import Counter
from pathlib import Path

import pandas as pd

from neural_classifiers.expectations import check_comments
from tasks.ingest import Ingested
from tasks.records import File, Reference
from tasks.steps import step


class Accepted(Reference):
    """Comments that passed (``line``, ``cat``, ``txt``), and those that did not.

    `findings` is the verdict of every expectation as JSON; `reasons` counts the rejected rows'.
    """

    table: File
    rejected: File
    findings: File
    rows: int
    rows_rejected: int
    reasons: dict[str, int]
    categories: list[str]

    def in_words(self) -> str:
        """Rows through the gate, rows set aside, and why."""
        why = ", ".join(f"{reason} {n}" for reason, n in self.reasons.items())
        return f"{self.rows:,} comments accepted, {self.rows_rejected} set aside" + (
            f" ({why})" if why else ""
        )


@step()
def validate_comments(
    ingested: Ingested, categories: list[str] | None, folds: int, name: str, folder: Path
) -> Accepted:
    """The rows that meet every expectation; the rest in ``rejected.parquet`` with reasons.

    Raises
    ------
    ValidationError
        If more than 5 % of the rows are faulty, or the categories cannot be learned from.
    """
    rows = pd.read_parquet(ingested.table.verified())
    validation = check_comments(rows, categories, folds, name=name)
    table, rejected = folder / "comments.parquet", folder / "rejected.parquet"
    validation.accepted.to_parquet(table, index=False)
    validation.rejected.to_parquet(rejected, index=False)
    findings = folder / "findings.json"
    findings.write_text(json.dumps(validation.report, indent=2) + "\n", encoding="utf-8")
    reasons = Counter(reason for reasons in validation.rejected["reasons"] for reason in reasons)
    return Accepted(
        table=File.of(table),
        rejected=File.of(rejected),
        findings=File.of(findings),
        rows=len(validation.accepted),
        rows_rejected=len(validation.rejected),
        reasons=dict(sorted(reasons.items())),
        categories=list(validation.shares["cat"]),
    )
