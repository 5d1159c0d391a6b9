"""What we expect of comments, and which of them we let through.

Two suites of Great Expectations read as the specification; extend them there. `comment_suite` is
about each row: a row that breaks an expectation is set aside with every reason and the run goes
on. `category_suite` is the gate: it is about what is left, and a breach ends the run.

Great Expectations runs in memory: its context keeps everything in dictionaries, writes no file
and sends nothing.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from neural_classifiers.comments import COLUMNS

if TYPE_CHECKING:
    import great_expectations as gx

MAX_REJECTED = 0.05  # share of faulty rows beyond which the file, not the row, is at fault
MIN_CATEGORY_SHARE = 0.01  # a label rarer than this is taken for a slip, unless it was named
MAX_CATEGORY_SHARE = 0.99  # beyond it there is nothing to tell apart

REMOVED = "txt: removed"  # the reason of rows whose author or moderator took the text away
_REMOVED_TEXT = r"(?i)^\s*\[\s*(?:removed|deleted)(?:\s+by\s[^\]]*)?\s*\]\s*$"


class ValidationError(ValueError):
    """Comments that the gate stopped; `report` holds what was found until then."""

    def __init__(self, message: str, report: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.report = report or {}


@dataclass(frozen=True)
class Validation:
    """Comments parted into those let through and those set aside.

    Attributes
    ----------
    accepted : DataFrame
        ``line``, ``cat``, ``txt``, in the order of the input.
    rejected : DataFrame
        The input's columns and ``reasons``, a list of all that is wrong with the row, such as
        "txt: number", "cat: unknown category" or "line: not JSON".
    shares : DataFrame
        ``cat``, ``rows`` and ``share`` (a fraction of the accepted rows) of every category,
        in alphabetical order.
    report : dict
        The same as plain JSON, with every expectation and how often it was broken.
    """

    accepted: pd.DataFrame
    rejected: pd.DataFrame
    shares: pd.DataFrame
    report: dict[str, Any]


def comment_suite(categories: Collection[str], min_rows: int = 1) -> "gx.ExpectationSuite":
    """What we expect of rows as `neural_classifiers.comments.parse_lines` gives them.

    Parameters
    ----------
    categories : collection of str
        Labels that a row may have.
    min_rows : int
        Rows that a file must have; at least 1, since an empty table meets everything else.

    Notes
    -----
    ``reason`` is what a rejected row is told, with the value at fault. Expectations about values
    pass over nulls, so that each fault is told once: ``cat`` and ``txt`` are null unless they hold
    a string, and their types are null unless the line is an object.
    """
    import great_expectations as gx
    from great_expectations import expectations as gxe

    def reason(text: str) -> dict[str, str]:
        return {"reason": text}

    n_rows = max(min_rows, 1)
    return gx.ExpectationSuite(
        name="comments",
        expectations=[
            # The table
            gxe.ExpectTableColumnsToMatchSet(column_set=list(COLUMNS), exact_match=False),
            gxe.ExpectTableRowCountToBeBetween(
                min_value=n_rows, meta={"fault": f"expected at least {n_rows:,} rows"}
            ),
            gxe.ExpectColumnValuesToBeOfType(column="line", type_="int64"),
            gxe.ExpectColumnValuesToBeOfType(column="cat", type_="str"),
            gxe.ExpectColumnValuesToBeOfType(column="txt", type_="str"),
            # Each line
            gxe.ExpectColumnValuesToBeInSet(
                column="line_type", value_set=["object"], meta=reason("line: {}")
            ),
            # Its category
            gxe.ExpectColumnValuesToBeInSet(
                column="cat_type", value_set=["string"], meta=reason("cat: {}")
            ),
            gxe.ExpectColumnValuesToMatchRegex(
                column="cat", regex=r"\S", meta=reason("cat: empty")
            ),
            gxe.ExpectColumnValuesToBeInSet(
                column="cat", value_set=sorted(categories), meta=reason("cat: unknown category")
            ),
            # Its text
            gxe.ExpectColumnValuesToBeInSet(
                column="txt_type", value_set=["string"], meta=reason("txt: {}")
            ),
            gxe.ExpectColumnValuesToMatchRegex(
                column="txt", regex=r"\S", meta=reason("txt: empty")
            ),
            gxe.ExpectColumnValuesToNotMatchRegex(
                column="txt", regex=_REMOVED_TEXT, meta=reason(REMOVED)
            ),
        ],
    )


def category_suite(folds: int) -> "gx.ExpectationSuite":
    """What we expect of the categories of the rows let through.

    It is about a table of one row a category, with the columns ``cat``, ``rows`` and ``share``.
    """
    import great_expectations as gx
    from great_expectations import expectations as gxe

    return gx.ExpectationSuite(
        name="categories",
        expectations=[
            gxe.ExpectTableRowCountToBeBetween(
                min_value=2, meta={"fault": "expected at least 2 categories"}
            ),
            gxe.ExpectColumnValuesToBeBetween(
                column="rows",
                min_value=folds,
                meta={"fault": f"expected at least {folds} rows of every category, one a fold"},
            ),
            gxe.ExpectColumnValuesToBeBetween(
                column="share",
                max_value=MAX_CATEGORY_SHARE,
                meta={"fault": f"expected no category above {MAX_CATEGORY_SHARE:.0%} of the rows"},
            ),
        ],
    )


def check_comments(
    rows: pd.DataFrame,
    categories: Collection[str] | None = None,
    folds: int = 5,
    max_rejected: float = MAX_REJECTED,
    min_rows: int = 1,
    name: str = "comments",
) -> Validation:
    """Part comments into accepted and rejected, or stop where the file is at fault.

    Parameters
    ----------
    rows : DataFrame
        As `neural_classifiers.comments.parse_lines` gives it.
    categories : collection of str, optional
        Labels that a row may have; `usual_categories` of the rows unless given.
    folds : int
        Rows that every category must keep, so that cross-validation has one for each fold.
    max_rejected : float
        Share of all rows that may be faulty, a fraction; reached is not yet passed.
    min_rows : int
        Rows that the file must have.
    name : str
        Names the file in messages.

    Raises
    ------
    ValidationError
        If more than `max_rejected` of the rows are faulty or none is left, or if an expectation
        about the table or its categories is broken.

    Notes
    -----
    A row that is only "[removed]" or "[deleted]" is rejected and counted, yet not against
    `max_rejected`. Such a row is no fault of the file: real exports hold them, in numbers that
    depend on the forum and its moderators, and stopping for them would teach people to raise
    the limit that guards against real faults. Where nothing else is left the run does stop.
    The notebook keeps these rows and learns from the word "removed".
    """
    rows = rows.reset_index(drop=True)  # findings name rows by index label
    known = sorted(usual_categories(rows) if categories is None else set(categories))
    findings = find_breaches(rows, comment_suite(known, min_rows))
    summaries = [finding.summary for finding in findings]
    _stop_for_table(
        findings, {"success": False, "rows": len(rows), "expectations": summaries}, name
    )

    accepted, rejected = _part(rows, findings)
    shares = _shares(accepted, known)
    report = _report(rows, rejected, shares, max_rejected) | {"expectations": summaries}
    _stop_for_rows(rejected, report, name)

    gate = find_breaches(shares, category_suite(folds))
    report["expectations"] += [finding.summary for finding in gate]
    _stop_for_categories(gate, shares, report, name)
    return Validation(accepted, rejected, shares, report | {"success": True})


def usual_categories(rows: pd.DataFrame, min_share: float = MIN_CATEGORY_SHARE) -> list[str]:
    """Labels of at least `min_share` of the rows whose label is a string, in sorted order.

    Rarer ones are taken for slips. A category that is really so rare has to be named.
    """
    labels = rows["cat"].dropna()
    shares = labels[labels.str.strip() != ""].value_counts() / max(len(labels), 1)
    return sorted(shares.index[shares >= min_share])


@dataclass(frozen=True)
class Finding:
    """What one expectation found: the values that break it by their row, and its summary."""

    subject: tuple[str, str | None]  # type of the expectation, and its column if it has one
    reason: str  # what a row at fault is told; {} stands for its value
    fault: str  # what to say when the run stops for it
    broken: "pd.Series[Any]"
    summary: dict[str, Any]  # plain JSON, for the report


def find_breaches(table: pd.DataFrame, suite: "gx.ExpectationSuite") -> list[Finding]:
    """What each expectation of a suite found in a table, in the suite's order."""
    import great_expectations as gx
    from great_expectations.data_context.types.base import (
        DataContextConfig,
        InMemoryStoreBackendDefaults,
        ProgressBarsConfig,
    )

    # The default ephemeral context makes a temporary folder for its Data Docs; this one does not
    context = gx.get_context(
        mode="ephemeral",
        project_config=DataContextConfig(
            store_backend_defaults=InMemoryStoreBackendDefaults(),
            progress_bars=ProgressBarsConfig(globally=False),
        ),
    )
    asset = context.data_sources.add_pandas("memory").add_dataframe_asset(suite.name)
    batch = asset.add_batch_definition_whole_dataframe("whole").get_batch({"dataframe": table})
    # COMPLETE alone lists every row; the query would spell them all out once more as text
    result_format = {"result_format": "COMPLETE", "return_unexpected_index_query": False}
    results = batch.validate(suite, result_format=result_format).results
    findings = [_make_finding(table, result) for result in results]
    # The results come grouped by column
    told = [
        (expectation.expectation_type, getattr(expectation, "column", None))
        for expectation in suite.expectations
    ]
    return sorted(findings, key=lambda finding: told.index(finding.subject))


def _make_finding(table: pd.DataFrame, result: Any) -> Finding:
    config, found = result.expectation_config, result.result or {}
    kwargs = {key: value for key, value in config.kwargs.items() if key != "batch_id"}
    column = kwargs.get("column")
    at_fault = found.get("unexpected_index_list") or []
    meta = config.meta or {}
    return Finding(
        subject=(config.type, column),
        reason=meta.get("reason", f"{column}: {config.type}"),
        fault=meta.get("fault", f"expected {config.type} {kwargs}"),
        broken=table.loc[at_fault, column] if at_fault else pd.Series(dtype=object),
        summary={
            "expectation": config.type,
            "kwargs": kwargs,
            "success": bool(result.success),
            "unexpected": len(at_fault),
            "observed": found.get("observed_value") if found else _exceptions(result),
        },
    )


def _exceptions(result: Any) -> list[str]:
    """Messages of an expectation that could not be evaluated, such as one on a missing column.

    It raises nothing and lists no row.
    """
    info = result.exception_info
    faults = [info] if "exception_message" in info else info.values()
    return sorted({str(fault["exception_message"]) for fault in faults})


def _part(rows: pd.DataFrame, findings: list[Finding]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows that break nothing, and the others with all their reasons."""
    reasons: dict[int, list[str]] = {}
    for finding in findings:
        for row, value in finding.broken.items():
            reasons.setdefault(int(str(row)), []).append(finding.reason.format(value))
    is_rejected = rows.index.isin(list(reasons))
    rejected = rows[is_rejected].copy()
    rejected["reasons"] = [reasons[row] for row in rejected.index]
    accepted = rows.loc[~is_rejected, ["line", "cat", "txt"]]
    return accepted.reset_index(drop=True), rejected.reset_index(drop=True)


def _shares(accepted: pd.DataFrame, categories: list[str]) -> pd.DataFrame:
    """Rows and share of each category, also of those that have none left."""
    counts = accepted["cat"].value_counts().reindex(categories, fill_value=0)
    shares = counts / max(len(accepted), 1)
    return pd.DataFrame({"cat": categories, "rows": counts.to_numpy(), "share": shares.to_numpy()})


def _report(
    rows: pd.DataFrame, rejected: pd.DataFrame, shares: pd.DataFrame, max_rejected: float
) -> dict[str, Any]:
    n_removed = sum(reasons == [REMOVED] for reasons in rejected["reasons"])
    n_faulty = len(rejected) - n_removed
    unknown = rejected["cat"].dropna()[~rejected["cat"].dropna().isin(shares["cat"])]
    by_reason = rejected.explode("reasons")["reasons"].value_counts()
    return {
        "success": False,
        "rows": len(rows),
        "accepted": len(rows) - len(rejected),
        "rejected": len(rejected),
        "removed": n_removed,
        "faulty": n_faulty,
        "faulty_share": n_faulty / len(rows),
        "max_rejected": max_rejected,
        "reasons": {reason: int(n) for reason, n in sorted(by_reason.items())},
        "unknown_categories": unknown.value_counts().index[:10].tolist(),
        "shares": shares.to_dict("records"),
    }


def _stop_for_table(findings: list[Finding], report: dict[str, Any], name: str) -> None:
    faults = [
        f"{finding.fault}, got {finding.summary['observed']}"
        for finding in findings
        if not finding.summary["success"] and finding.broken.empty
    ]
    if faults:
        raise ValidationError(f"{name}: " + "; ".join(faults), report)


def _stop_for_rows(rejected: pd.DataFrame, report: dict[str, Any], name: str) -> None:
    if report["faulty_share"] <= report["max_rejected"] and report["accepted"]:
        return
    told = [
        f"{reason} {n:,} (lines {_first_lines(rejected, reason)})"
        for reason, n in report["reasons"].items()
    ]
    if report["unknown_categories"]:
        told.append(f"unknown categories {report['unknown_categories']}")
    raise ValidationError(
        f"{name}: expected at most {report['max_rejected']:.1%} faulty rows and some accepted, "
        f"got {report['faulty']:,} faulty of {report['rows']:,} ({report['faulty_share']:.1%}) "
        f"and {report['accepted']:,} accepted: " + "; ".join(told),
        report,
    )


def _first_lines(rejected: pd.DataFrame, reason: str) -> str:
    lines = rejected.loc[[reason in reasons for reasons in rejected["reasons"]], "line"]
    return ", ".join(map(str, lines[:3])) + (", ..." if len(lines) > 3 else "")


def _stop_for_categories(
    gate: list[Finding], shares: pd.DataFrame, report: dict[str, Any], name: str
) -> None:
    broken = [finding.fault for finding in gate if not finding.summary["success"]]
    if broken:
        rarest = shares.sort_values("rows", kind="stable").head(10)
        came = ", ".join(f"{cat!r} {n:,}" for cat, n in rarest.set_index("cat")["rows"].items())
        raise ValidationError(
            f"{name}: {'; '.join(broken)}; got {report['accepted']:,} accepted rows "
            f"in {len(shares)} categories, rarest first: {came}",
            report,
        )
