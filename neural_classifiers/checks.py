"""Expectations of Great Expectations, judged: what was expected, what came, where."""

import html
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pandas as pd

if TYPE_CHECKING:
    import great_expectations as gx
    from great_expectations.core import ExpectationSuiteValidationResult


EXAMPLES_TOLD, EXAMPLE_CHARACTERS = 20, 100


class ValidationError(ValueError):
    """Comments that the gate stopped; `report` and `result` hold what was found until then."""

    def __init__(
        self,
        message: str,
        report: dict[str, Any] | None = None,
        result: "ExpectationSuiteValidationResult | None" = None,
    ) -> None:
        super().__init__(message)
        self.report = report or {}
        self.result = result


@dataclass
class _Outcome:
    """What one expectation found in one table: `broken` rows, and their `values`."""

    success: bool
    elements: int
    missing: int
    unexpected: int
    values: list[Any]
    observed: Any
    exceptions: list[str]
    broken: list[int] = field(default_factory=list)

    def told(self) -> list[Any]:
        """All but the rows, as plain JSON; of the values the first."""
        examples = [str(value)[:EXAMPLE_CHARACTERS] for value in self.values[:EXAMPLES_TOLD]]
        counts = [self.success, self.elements, self.missing, self.unexpected]
        return [*counts, examples, self.observed, self.exceptions]


@dataclass
class _Found:
    """What one expectation found over all tables."""

    expectation: Any
    success: bool = True
    elements: int = 0
    missing: int = 0
    unexpected: int = 0
    examples: list[Any] = field(default_factory=list)
    observed: Any = None
    exceptions: list[str] = field(default_factory=list)

    def add(self, outcome: _Outcome) -> None:
        """Add what it found in one more."""
        self.success = self.success and outcome.success
        self.elements += outcome.elements
        self.missing += outcome.missing
        self.unexpected += outcome.unexpected
        self.examples += outcome.values[: EXAMPLES_TOLD - len(self.examples)]
        self.observed = self.observed if outcome.observed is None else outcome.observed
        self.exceptions += outcome.exceptions

    @property
    def column(self) -> Any:
        """The column that it is about, if it is about one."""
        return getattr(self.expectation, "column", None)

    @property
    def reason(self) -> str:
        """What a row at fault is told; {} stands for its value."""
        told = f"{self.column}: {self.expectation.expectation_type}"
        return str((self.expectation.meta or {}).get("reason", told))

    @property
    def fault(self) -> str:
        """What is said where it ends the run."""
        told = f"expected {self.expectation.expectation_type} {self.kwargs}"
        return str((self.expectation.meta or {}).get("fault", told))

    @property
    def kwargs(self) -> dict[str, Any]:
        """What it expects."""
        kwargs = self.expectation.configuration.kwargs
        return {key: value for key, value in kwargs.items() if key != "batch_id"}

    def summary(self) -> dict[str, Any]:
        """What was found, as plain JSON."""
        return {
            "expectation": self.expectation.expectation_type,
            "kwargs": self.kwargs,
            "success": self.success,
            "unexpected": self.unexpected,
            "observed": self.exceptions or self.observed,
        }


@dataclass(frozen=True)
class Finding:
    """What one expectation found in one table.

    Attributes
    ----------
    fault : str
        What to say when the run stops for it.
    broken : Series
        The values that break it, by their row.
    summary : dict
        Plain JSON, for the report.
    """

    fault: str
    broken: "pd.Series[Any]"
    summary: dict[str, Any]


def find_breaches(table: pd.DataFrame, suite: "gx.ExpectationSuite") -> list[Finding]:
    """What each expectation of a suite found in a table, in the suite's order."""
    judge = _Judge(suite.expectations)
    outcomes = judge.look(table)
    judge.add(outcomes)
    return [
        Finding(
            fault=found.fault,
            broken=(
                table[found.column].iloc[outcome.broken]
                if outcome.broken
                else pd.Series(dtype=object)
            ),
            summary=found.summary(),
        )
        for found, outcome in zip(judge.found, outcomes, strict=True)
    ]


class _Judge:
    """Holds tables of one kind against expectations, one batch after another."""

    def __init__(self, expectations: "Sequence[gx.expectations.Expectation]") -> None:
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
        for number, expectation in enumerate(expectations):
            expectation.meta = {**(expectation.meta or {}), "number": number}
        self._suite = gx.ExpectationSuite(name="comments", expectations=list(expectations))
        asset = context.data_sources.add_pandas("memory").add_dataframe_asset("comments")
        self._batches = asset.add_batch_definition_whole_dataframe("whole")
        self.found = [_Found(expectation) for expectation in expectations]

    def look(self, table: pd.DataFrame) -> list[_Outcome]:
        """What each expectation finds in a table, in the suite's order."""
        batch = self._batches.get_batch({"dataframe": table})
        # COMPLETE alone lists every row; the query would spell them all out once more as text
        result_format = {"result_format": "COMPLETE", "return_unexpected_index_query": False}
        results = batch.validate(self._suite, result_format=result_format).results
        # The results come grouped by column
        in_order = sorted(results, key=lambda r: r.expectation_config.meta["number"])
        outcomes = [_outcome(result) for result in in_order]
        for found, outcome in zip(self.found, outcomes, strict=True):
            outcome.values = [table[found.column].iloc[row] for row in outcome.broken]
        return outcomes

    def reasons(self, outcomes: Sequence[_Outcome], name: str) -> dict[int, list[str]]:
        """Reasons by the position of each row that breaks an expectation, in the suite's order.

        Raises
        ------
        ValidationError
            If an expectation is broken by the table and by no row of it.
        """
        reasons: dict[int, list[str]] = {}
        for found, outcome in zip(self.found, outcomes, strict=True):
            if not outcome.success and not outcome.broken:
                came = outcome.exceptions or outcome.observed
                raise ValidationError(f"{name}: {found.fault}, got {came}")
            for row, value in zip(outcome.broken, outcome.values, strict=True):
                reasons.setdefault(row, []).append(found.reason.format(value))
        return reasons

    def add(self, outcomes: Iterable[_Outcome]) -> None:
        """Remember what was found in a table."""
        for found, outcome in zip(self.found, outcomes, strict=True):
            found.add(outcome)

    def faults(self) -> Iterator[tuple[str | None, str]]:
        """Column and fault of each expectation that was broken."""
        for found in self.found:
            if not found.success:
                yield found.column, found.fault

    def summaries(self) -> list[dict[str, Any]]:
        """Each expectation as plain JSON."""
        return [found.summary() for found in self.found]


def _outcome(result: Any) -> _Outcome:
    told = result.result or {}
    broken = told.get("unexpected_index_list") or []
    return _Outcome(
        success=bool(result.success),
        elements=told.get("element_count") or 0,
        missing=told.get("missing_count") or 0,
        unexpected=len(broken),
        values=[],
        observed=told.get("observed_value"),
        exceptions=_exceptions(result),
        broken=broken,
    )


def _exceptions(result: Any) -> list[str]:
    """Messages of an expectation that could not be evaluated, such as one on a missing column.

    It raises nothing and lists no row.
    """
    info = result.exception_info or {}
    faults = [info] if "exception_message" in info else info.values()
    return sorted({str(f["exception_message"]) for f in faults if f["exception_message"]})


def _merged(judges: Sequence[_Judge], success: bool) -> "ExpectationSuiteValidationResult":
    """One result for all batches and all tables, for Great Expectations' renderer.

    Without moments, so that equal data give an equal page, and with values that came out of the
    data escaped.
    """
    from great_expectations.core import (
        ExpectationSuiteValidationResult,
        ExpectationValidationResult,
    )

    results = []
    for found in (found for judge in judges for found in judge.found):
        counted = max(found.elements - found.missing, 1)
        told: dict[str, Any] = {"observed_value": found.observed}
        if found.elements:
            told |= {
                "element_count": found.elements,
                "missing_count": found.missing,
                "missing_percent": 100 * found.missing / found.elements,
                "unexpected_count": found.unexpected,
                "unexpected_percent": 100 * found.unexpected / counted,
                "unexpected_percent_total": 100 * found.unexpected / found.elements,
                "unexpected_percent_nonmissing": 100 * found.unexpected / counted,
                "partial_unexpected_list": [_shown(value) for value in found.examples],
            }
        results.append(
            ExpectationValidationResult(
                success=found.success,
                expectation_config=found.expectation.configuration,
                result=told,
            )
        )
    n_met = sum(result.success for result in results)
    return ExpectationSuiteValidationResult(
        success=success,
        results=results,
        suite_name="comments",
        statistics={
            "evaluated_expectations": len(results),
            "successful_expectations": n_met,
            "unsuccessful_expectations": len(results) - n_met,
            "success_percent": 100 * n_met / len(results),
        },
        meta={"run_id": None},
    )


def _shown(value: Any) -> str:
    text = str(value)
    return html.escape(text if len(text) <= 80 else f"{text[:79]}…").replace("$", "&#36;")


class SourceError(ValueError):
    """The data that was asked for cannot be had: says what was expected, what came and where."""
