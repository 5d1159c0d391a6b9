"""Great Expectations, in memory: it judges tables and makes the results that Data Docs show.

Its context keeps everything in dictionaries, writes no file and sends nothing.
"""

import html
from collections.abc import Iterable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from neural_classifiers.comments.rules import Rule
from neural_classifiers.errors import ValidationError
from neural_classifiers.values import Finding

if TYPE_CHECKING:
    from great_expectations.core import (
        ExpectationSuiteValidationResult,
        ExpectationValidationResult,
    )
    from great_expectations.core.batch_definition import BatchDefinition
    from great_expectations.expectations import Expectation

N_EXAMPLES = 20  # values at fault that the Data Docs show of an expectation
EXAMPLE_CHARACTERS = 80


def count_broken(values: Sequence[Any], broken: Sequence[int]) -> dict[str, Any]:
    """Counts of a column's values, as a result names them; `broken` are positions."""
    # One character more than is shown tells that there are more
    examples = [str(values[row])[: EXAMPLE_CHARACTERS + 1] for row in broken[:N_EXAMPLES]]
    return {
        "element_count": len(values),
        "missing_count": values.count(None),
        "unexpected_count": len(broken),
        "partial_unexpected_list": examples,
    }


def as_expectation(expected: "Rule | Expectation") -> "Expectation":
    """A rule as Great Expectations has it."""
    from great_expectations import expectations as gxe

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
    expected: "Iterable[Expectation]",
    form: Literal["BASIC", "COMPLETE"] = "BASIC",
) -> "list[ExpectationValidationResult]":
    """What Great Expectations finds in a table, one result an expectation, in their order.

    In the basic form a result has the first values that break it, in the complete one every row.
    """
    batch = _tables().get_batch({"dataframe": table})
    # The query would spell every row out once more as text
    result_format = {"result_format": form, "return_unexpected_index_query": False}
    return [batch.validate(e, result_format=result_format) for e in expected]


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


def broken_rows(expectation: "Expectation", rows: pd.DataFrame, name: str) -> tuple[str, list[int]]:
    """The reason of rows that break an expectation, {} for the value, and their positions.

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
    reason = (expectation.meta or {}).get("reason")
    column = getattr(expectation, "column", None)
    return str(reason or f"{column}: {expectation.expectation_type}"), broken


def result_of(
    expected: "Rule | Expectation", counts: dict[str, Any]
) -> "ExpectationValidationResult":
    """The result of an expectation about rows, of the sums of what `count_broken` gave."""
    from great_expectations.core import ExpectationValidationResult

    result: dict[str, Any] = {"observed_value": None}
    if n_rows := counts["element_count"]:
        present = max(n_rows - counts["missing_count"], 1)
        result |= counts | {
            "missing_percent": 100 * counts["missing_count"] / n_rows,
            "unexpected_percent": 100 * counts["unexpected_count"] / present,
        }
    return ExpectationValidationResult(
        success=not counts["unexpected_count"],
        expectation_config=as_expectation(expected).configuration,
        result=result,
    )


def finding_of(result: "ExpectationValidationResult") -> Finding:
    """A result in plain values."""
    config: Any = result.expectation_config
    kwargs = {key: value for key, value in config.kwargs.items() if key != "batch_id"}
    # An expectation that could not be evaluated, such as one on a missing column, raises nothing
    info = result.exception_info or {}
    caught = [info] if "exception_message" in info else info.values()
    messages = sorted({str(e["exception_message"]) for e in caught if e["exception_message"]})
    return Finding(
        expectation=config.type,
        kwargs=kwargs,
        success=bool(result.success),
        unexpected=result.result.get("unexpected_count") or 0,
        observed=messages or result.result.get("observed_value"),
        fault=str((config.meta or {}).get("fault") or f"expected {config.type} {kwargs}"),
    )


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
