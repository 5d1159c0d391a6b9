"""Great Expectations, in memory: it judges tables and makes the results that Data Docs show.

Its context keeps everything in dictionaries, writes no file and sends nothing.
"""

import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, Self

import pandas as pd

from neural_classifiers.checks import Finding, ValidationError
from neural_classifiers.comments.expectations import Bounds
from neural_classifiers.comments.rules import Rule

if TYPE_CHECKING:
    from great_expectations.core import (
        ExpectationSuiteValidationResult,
        ExpectationValidationResult,
    )
    from great_expectations.core.batch_definition import BatchDefinition
    from great_expectations.expectations import Expectation

N_EXAMPLES = 20  # values at fault that the Data Docs show of an expectation
EXAMPLE_CHARACTERS = 80


@dataclass
class Tally:
    """How often an expectation about rows was broken, in some rows or in all.

    Attributes
    ----------
    rows, missing, unexpected : int
        Rows, those whose value is null, and those that break it.
    examples : list of str
        The first values that break it.
    """

    rows: int = 0
    missing: int = 0
    unexpected: int = 0
    examples: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, values: Sequence[Any], broken: Sequence[int]) -> Self:
        """What is counted of the values of a column, by the positions of those that break it."""
        # One character more than is shown tells that there are more
        examples = [str(values[row])[: EXAMPLE_CHARACTERS + 1] for row in broken[:N_EXAMPLES]]
        return cls(len(values), values.count(None), len(broken), examples)

    def add(self, other: "Tally") -> None:
        """Count the rows of another tally too."""
        self.rows += other.rows
        self.missing += other.missing
        self.unexpected += other.unexpected
        self.examples += other.examples[: N_EXAMPLES - len(self.examples)]


def as_expectation(expected: "Rule | Bounds | Expectation") -> "Expectation":
    """A rule or bounds as Great Expectations has them."""
    from great_expectations import expectations as gxe

    if isinstance(expected, Bounds):
        return gxe.ExpectColumnValuesToBeBetween(
            column=expected.column,
            min_value=expected.least,
            max_value=expected.most,
            meta={"fault": f"expected {expected.what}"},
        )
    if not isinstance(expected, Rule):
        return expected
    about: dict[str, Any] = {"column": expected.column, "meta": {"reason": expected.reason}}
    if expected.values is not None:
        return gxe.ExpectColumnValuesToBeInSet(value_set=list(expected.values), **about)
    if expected.pattern is not None:
        return gxe.ExpectColumnValuesToMatchRegex(regex=expected.pattern, **about)
    return gxe.ExpectColumnValuesToNotMatchRegex(regex=expected.forbidden, **about)


def judge_table(
    table: pd.DataFrame,
    expected: "Iterable[Bounds | Expectation]",
    form: Literal["BASIC", "COMPLETE"] = "BASIC",
) -> "list[ExpectationValidationResult]":
    """What Great Expectations finds in a table, one result an expectation, in their order.

    In the basic form a result has the first values that break it, in the complete one every row.
    """
    batch = _tables().get_batch({"dataframe": table})
    # The query would spell every row out once more as text
    result_format = {"result_format": form, "return_unexpected_index_query": False}
    return [batch.validate(as_expectation(e), result_format=result_format) for e in expected]


@cache
def _tables() -> "BatchDefinition[Any]":
    """What takes tables, of a context that has no files."""
    import great_expectations as gx
    from great_expectations.data_context.types.base import (
        DataContextConfig,
        InMemoryStoreBackendDefaults,
        ProgressBarsConfig,
    )

    # The default ephemeral context makes a temporary folder for its Data Docs; this does not
    context = gx.get_context(
        mode="ephemeral",
        project_config=DataContextConfig(
            store_backend_defaults=InMemoryStoreBackendDefaults(),
            progress_bars=ProgressBarsConfig(globally=False),
        ),
    )
    asset = context.data_sources.add_pandas("memory").add_dataframe_asset("comments")
    return asset.add_batch_definition_whole_dataframe("whole")


def broken_rows(expectation: "Expectation", rows: pd.DataFrame, name: str) -> list[int]:
    """Positions of the rows that break an expectation.

    Raises
    ------
    ValidationError
        If it is broken by the table and by no row of it; `name` is what the data is called.
    """
    [result] = judge_table(rows, [expectation], "COMPLETE")
    broken: list[int] = result.result.get("unexpected_index_list") or []
    if not result.success and not broken:
        finding = finding_of(result)
        raise ValidationError(f"{name}: {finding.fault}, got {finding.observed}")
    return broken


def reason_of(expectation: "Expectation") -> str:
    """The reason of a row that breaks an expectation; {} stands for its value."""
    reason = (expectation.meta or {}).get("reason")
    return str(reason or f"{getattr(expectation, 'column', None)}: {expectation.expectation_type}")


def result_of(expected: "Rule | Expectation", tally: Tally) -> "ExpectationValidationResult":
    """The result of an expectation about rows that were judged batch by batch."""
    from great_expectations.core import ExpectationValidationResult

    counts: dict[str, Any] = {"observed_value": None}
    if tally.rows:
        present = max(tally.rows - tally.missing, 1)
        counts |= {
            "element_count": tally.rows,
            "missing_count": tally.missing,
            "missing_percent": 100 * tally.missing / tally.rows,
            "unexpected_count": tally.unexpected,
            "unexpected_percent": 100 * tally.unexpected / present,
            "partial_unexpected_list": tally.examples,
        }
    return ExpectationValidationResult(
        success=not tally.unexpected,
        expectation_config=as_expectation(expected).configuration,
        result=counts,
    )


def finding_of(result: "ExpectationValidationResult") -> Finding:
    """A result in plain values."""
    config = result.expectation_config
    kwargs = {key: value for key, value in config.kwargs.items() if key != "batch_id"}
    return Finding(
        expectation=config.type,
        kwargs=kwargs,
        success=bool(result.success),
        unexpected=result.result.get("unexpected_count") or 0,
        observed=_exceptions(result) or result.result.get("observed_value"),
        fault=str((config.meta or {}).get("fault") or f"expected {config.type} {kwargs}"),
    )


def _exceptions(result: Any) -> list[str]:
    """Messages of an expectation that could not be evaluated, such as one on a missing column.

    It raises nothing and lists no row.
    """
    info = result.exception_info or {}
    faults = [info] if "exception_message" in info else info.values()
    return sorted({str(f["exception_message"]) for f in faults if f["exception_message"]})


def suite_result(
    results: "Sequence[ExpectationValidationResult]", success: bool
) -> "ExpectationSuiteValidationResult":
    """One result for all batches and all tables, for Great Expectations' renderer.

    Without moments, so that equal data give an equal page, and with values that came out of the
    data escaped.
    """
    from great_expectations.core import ExpectationSuiteValidationResult

    for result in results:
        examples = result.result.get("partial_unexpected_list") or []
        result.result["partial_unexpected_list"] = [_escaped(e) for e in examples[:N_EXAMPLES]]
    n_met = sum(bool(result.success) for result in results)
    return ExpectationSuiteValidationResult(
        success=success,
        results=list(results),
        suite_name="comments",
        statistics={
            "evaluated_expectations": len(results),
            "successful_expectations": n_met,
            "unsuccessful_expectations": len(results) - n_met,
            "success_percent": 100 * n_met / len(results),
        },
        meta={"run_id": None},
    )


def _escaped(value: Any) -> str:
    text = str(value)
    if len(text) > EXAMPLE_CHARACTERS:
        text = f"{text[: EXAMPLE_CHARACTERS - 1]}…"
    return html.escape(text).replace("$", "&#36;")
