"""What we expect of comments, and which of them we let through.

`comment_suite` is the specification: read it there, extend it there. Great Expectations judges it
batch by batch and comes to one verdict. A row that breaks an expectation about rows is set aside
with every reason and the run goes on; expectations about the categories and about the whole are the
gate: one that is broken ends the run.

Great Expectations runs in memory: its context keeps everything in dictionaries, writes no file
and sends nothing.
"""

import html
import math
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from neural_classifiers.comments.drift import (
    Measure,
    Profile,
    Profiler,
    compare_profiles,
    moved_words,
)
from neural_classifiers.comments.rules import REMOVED, Rule, row_rules
from neural_classifiers.comments.splits import keys_of
from neural_classifiers.comments.text import english_stop_words

if TYPE_CHECKING:
    import great_expectations as gx
    from great_expectations.core import ExpectationSuiteValidationResult

MIN_CATEGORY_SHARE = 0.01  # a label rarer than this is taken for a slip, unless it was named
TEXTS_COMPARED = 1_000_000  # about so many texts are held against each other for duplicates
PLACES_TOLD = 4  # lines at fault remembered for each reason
EXAMPLES_TOLD, EXAMPLE_CHARACTERS = 20, 100

JUDGED = ["line_type", "cat", "cat_type", "txt", "txt_type", "time_type"]
ACCEPTED = pa.schema(
    {
        "file": pa.string(),
        "line": pa.int64(),
        "byte_offset": pa.int64(),
        "cat": pa.string(),
        "txt": pa.string(),
        "time": pa.timestamp("us", tz="UTC"),
    }
)
QUARANTINE = pa.schema(
    {
        "file": pa.string(),
        "line": pa.int64(),
        "byte_offset": pa.int64(),
        "size": pa.int64(),
        "raw": pa.binary(),
        "cat": pa.string(),
        "txt": pa.string(),
        "reasons": pa.list_(pa.string()),
    }
)


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


@dataclass(frozen=True)
class Limits:
    """What may be, as fractions; beyond it the run stops.

    Attributes
    ----------
    faulty : float
        Share of faulty rows; beyond it the file, not the row, is at fault.
    category : float
        Share of the largest category; beyond it there is nothing to tell apart.
    duplicates : float
        Share of rows that repeat an earlier row's text and category. A file that was appended to
        itself has 0.5.
    class_drift, length_drift, vocabulary_drift, language_drift : float
        Distance from the last run, as `comments.drift.compare_profiles` measures it,
        beyond what chance explains.
    """

    faulty: float = 0.05
    category: float = 0.99
    duplicates: float = 0.4
    class_drift: float = 0.1
    length_drift: float = 0.1
    vocabulary_drift: float = 0.05
    language_drift: float = 0.05

    @classmethod
    def of(cls, changes: Mapping[str, float] | None) -> Self:
        """The default limits with some changed.

        Raises
        ------
        ValueError
            If a name is unknown or a limit is no number in [0, 1].
        """
        known = [f.name for f in fields(cls)]
        for name, limit in (changes or {}).items():
            if name not in known:
                raise ValueError(f"limits: expected some of {known}, got {name!r}")
            if not isinstance(limit, int | float) or not 0 <= limit <= 1:
                raise ValueError(f"limits: expected {name} in [0, 1], got {limit!r}")
        return cls(**(changes or {}))


@dataclass(frozen=True)
class Suite:
    """Expectations by the table that they are about.

    Attributes
    ----------
    rows : list of expectations
        About each row, as `comments.rows.read_comments` gives them.
    categories : list of expectations
        About each category: columns ``cat``, ``rows`` and ``share`` of the accepted rows.
    whole : list of expectations
        About one row of measures: ``rows``, ``accepted``, ``categories``, ``faulty_share``,
        ``duplicate_share``, and the drifts, which are null where there was no run before.
    """

    rows: "list[gx.expectations.Expectation]"
    categories: "list[gx.expectations.Expectation]"
    whole: "list[gx.expectations.Expectation]"


def comment_suite(
    categories: Collection[str],
    folds: int = 5,
    min_rows: int = 1,
    limits: Limits | None = None,
    noise: Mapping[str, float] | None = None,
) -> Suite:
    """What we expect of comments: the one place to read and to extend.

    Parameters
    ----------
    categories : collection of str
        Labels that a row may have.
    folds : int
        Rows that every category must keep, so that cross-validation has one for each fold.
    min_rows : int
        Rows that there must be.
    limits : Limits, optional
    noise : mapping of str to float, optional
        By how much each drift may pass its limit by chance.

    Notes
    -----
    What each row must be stands in `comments.rules.row_rules`, which prediction applies
    too. ``fault`` is what the gate says. Expectations about values pass over nulls, so that each
    fault is told once: ``cat`` and ``txt`` are null unless they hold a string, and their types are
    null unless the row has fields.
    """
    from great_expectations import expectations as gxe

    limits, noise = limits or Limits(), noise or {}

    def fault(text: str) -> dict[str, Any]:
        return {"meta": {"fault": f"expected {text}"}}

    def at_most(measure: str, limit: float, what: str) -> gxe.ExpectColumnValuesToBeBetween:
        limit = limit + noise.get(measure, 0.0)
        return gxe.ExpectColumnValuesToBeBetween(
            column=measure, max_value=limit, **fault(f"{what} of at most {limit:.3f}")
        )

    return Suite(
        rows=[
            gxe.ExpectTableColumnsToMatchSet(column_set=JUDGED, exact_match=False),
            gxe.ExpectColumnValuesToBeOfType(column="cat", type_="str"),
            gxe.ExpectColumnValuesToBeOfType(column="txt", type_="str"),
            *map(_expectation, row_rules(categories)),
        ],
        categories=[
            gxe.ExpectColumnValuesToBeBetween(
                column="rows",
                min_value=folds,
                **fault(f"at least {folds} rows of every category, one a fold"),
            ),
            gxe.ExpectColumnValuesToBeBetween(
                column="share",
                max_value=limits.category,
                **fault(f"no category above {limits.category:.0%} of the rows"),
            ),
        ],
        whole=[
            gxe.ExpectColumnValuesToBeBetween(
                column="rows", min_value=min_rows, **fault(f"at least {min_rows:,} rows")
            ),
            gxe.ExpectColumnValuesToBeBetween(
                column="accepted", min_value=1, **fault("some accepted rows")
            ),
            gxe.ExpectColumnValuesToBeBetween(
                column="categories", min_value=2, **fault("at least 2 categories")
            ),
            gxe.ExpectColumnValuesToBeBetween(
                column="faulty_share",
                max_value=limits.faulty,
                **fault(f"at most {limits.faulty:.1%} faulty rows"),
            ),
            gxe.ExpectColumnValuesToBeBetween(
                column="duplicate_share",
                max_value=limits.duplicates,
                **fault(f"at most {limits.duplicates:.0%} duplicates"),
            ),
            at_most("class_drift", limits.class_drift, "a drift of class shares"),
            at_most("length_drift", limits.length_drift, "a drift of lengths"),
            at_most("vocabulary_drift", limits.vocabulary_drift, "a drift of vocabulary"),
            at_most("language_drift", limits.language_drift, "a drift of language"),
        ],
    )


def _expectation(rule: Rule) -> "gx.expectations.Expectation":
    """A rule as Great Expectations knows it."""
    from great_expectations import expectations as gxe

    told: dict[str, Any] = {"column": rule.column, "meta": {"reason": rule.reason}}
    if rule.values is not None:
        return gxe.ExpectColumnValuesToBeInSet(value_set=list(rule.values), **told)
    if rule.pattern is not None:
        return gxe.ExpectColumnValuesToMatchRegex(regex=rule.pattern, **told)
    return gxe.ExpectColumnValuesToNotMatchRegex(regex=rule.forbidden, **told)


@dataclass(frozen=True)
class Verdict:
    """What was found over all batches.

    Attributes
    ----------
    shares : DataFrame
        ``cat``, ``rows`` and ``share`` (a fraction of the accepted rows) of every category,
        in alphabetical order.
    profile : Profile
        Of the accepted comments, to hold the next run against.
    report : dict
        Plain JSON: counts, reasons, drift, and every expectation with how often it was broken.
    result : ExpectationSuiteValidationResult
        The same as Great Expectations says it, for its Data Docs.
    """

    shares: pd.DataFrame
    profile: Profile
    report: dict[str, Any]
    result: "ExpectationSuiteValidationResult"


class Examined(NamedTuple):
    """A batch, examined by `Validator.examine`: its rows, and what `Validator.add` takes.

    `told` is plain JSON; `hashes`, shape (n,), stand for texts with their category.
    """

    accepted: pa.RecordBatch
    quarantined: pa.RecordBatch
    told: dict[str, Any]
    hashes: np.ndarray


class Validator:
    """Parts comments into accepted and quarantined, batch by batch, and comes to a verdict.

    Parameters
    ----------
    categories : collection of str
        Labels that a row may have; `usual_categories` finds those of a file.
    folds, min_rows, limits
        See `comment_suite`.
    n_rows : int
        About how many rows will come; of many, some measures are taken of a fixed part.
    last : Profile, optional
        Of the last run; without it nothing is said about drift.
    stop_for_drift : bool
        False: a drift is reported and stops nothing.
    name : str
        Names the data in messages.

    Notes
    -----
    A row that is only "[removed]" or "[deleted]" is set aside and counted, yet not against
    `Limits.faulty`. Such a row is no fault of the file: real exports hold them, in numbers that
    depend on the forum and its moderators, and stopping for them would teach people to raise
    the limit that guards against real faults. Where nothing else is left the run does stop.
    The notebook keeps these rows and learns from the word "removed".
    """

    def __init__(
        self,
        categories: Collection[str],
        folds: int = 5,
        min_rows: int = 1,
        limits: Limits | None = None,
        n_rows: int = 0,
        last: Profile | None = None,
        stop_for_drift: bool = True,
        name: str = "comments",
    ) -> None:
        self._categories, self._folds, self._min_rows = sorted(set(categories)), folds, min_rows
        self._limits, self._last = limits or Limits(), last
        self._stop_for_drift, self._name = stop_for_drift, name
        self._findings: list[list[_Outcome]] = []
        self._n_expected = n_rows
        self._profiler = Profiler(english_stop_words(), n_rows)
        self._every = max(math.ceil(n_rows / TEXTS_COMPARED), 1)
        self._hashes: list[np.ndarray] = []
        self._n_rows = self._n_quarantined = self._n_removed = 0
        self._reasons: Counter[str] = Counter()
        self._places: dict[str, list[str]] = {}
        self._unknown: Counter[str] = Counter()

    def check(self, rows: pa.RecordBatch) -> tuple[pa.RecordBatch, pa.RecordBatch]:
        """The accepted rows of a batch, with `ACCEPTED`, and the others, with `QUARANTINE`.

        Raises
        ------
        ValidationError
            If the table itself is not as it should be, such as without one of its columns.
        """
        examined = self.examine(rows)
        self.add(examined.told, examined.hashes)
        return examined.accepted, examined.quarantined

    def examine(self, rows: pa.RecordBatch) -> "Examined":
        """As `check`, but nothing is remembered until `add`, perhaps in another process."""
        present = [name for name in JUDGED if name in rows.schema.names]
        outcomes = self._judge.look(rows.select(present).to_pandas())
        reasons = self._judge.reasons(outcomes, self._name)
        is_accepted = np.ones(rows.num_rows, dtype=bool)
        is_accepted[list(reasons)] = False
        accepted = rows.filter(pa.array(is_accepted)).select(ACCEPTED.names)
        rejected = rows.filter(pa.array(~is_accepted))
        why = pa.array([reasons[i] for i in sorted(reasons)], QUARANTINE.field("reasons").type)
        quarantined = rejected.append_column("reasons", why).select(QUARANTINE.names)
        told = {
            "rows": rows.num_rows,
            "findings": [outcome.told() for outcome in outcomes],
            "profile": self._profile_of(accepted),
            **self._account_of(quarantined),
        }
        return Examined(accepted, quarantined, told, self._hashes_of(accepted))

    def add(self, told: Mapping[str, Any], hashes: np.ndarray) -> None:
        """Remember what a batch was found to hold: `Examined.told` and `Examined.hashes`."""
        self._findings.append([_Outcome(*finding) for finding in told["findings"]])
        self._profiler.add_told(told["profile"])
        self._hashes.append(hashes)
        self._n_rows += told["rows"]
        self._n_quarantined += told["quarantined"]
        self._n_removed += told["removed"]
        self._reasons.update(told["reasons"])
        self._unknown.update(told["unknown"])
        for reason, lines in told["places"].items():
            places = self._places.setdefault(reason, [])
            places += lines[: PLACES_TOLD - len(places)]

    def verdict(self) -> Verdict:
        """What was found, once every batch was checked.

        Raises
        ------
        ValidationError
            If the gate stops the run: names what was expected and what came.
        """
        profile = self._profiler.profile()
        shares = self._shares(profile)
        measures = compare_profiles(self._last, profile) if self._last else []
        limits = asdict(self._limits)
        report = self._report(profile, shares)
        if self._last:
            report["drift"] = [asdict(m) | {"limit": limits[m.name] + m.noise} for m in measures]
            report["moved_words"] = moved_words(self._last, profile)
        whole = self._whole(report, shares, measures)
        noise = {m.name: m.noise for m in measures}
        suite = comment_suite(self._categories, self._folds, self._min_rows, self._limits, noise)
        gates = [_Judge(suite.whole), _Judge(suite.categories)]
        for gate, table in zip(gates, (whole, shares), strict=True):
            outcomes = gate.look(table)
            gate.reasons(outcomes, self._name)
            gate.add(outcomes)
        for outcomes in self._findings:
            self._judge.add(outcomes)
        judges = [self._judge, *gates]
        report["expectations"] = [told for judge in judges for told in judge.summaries()]
        drifts = {m.name for m in measures}
        faults: list[str] = []
        passed_over: list[str] = []
        for judge in gates:
            for column, fault in judge.faults():
                stops = self._stop_for_drift or column not in drifts
                (faults if stops else passed_over).append(fault)
        report["drifted"] = passed_over
        if faults:
            message = self._message(faults, shares, measures, report)
            raise ValidationError(message, report, _merged(judges, success=False))
        report["success"] = True
        return Verdict(shares, profile, report, _merged(judges, success=True))

    @cached_property
    def _judge(self) -> "_Judge":
        """Great Expectations takes 200 MB: who only adds up needs it at the end."""
        return _Judge(comment_suite(self._categories).rows)

    def _profile_of(self, accepted: pa.RecordBatch) -> list[Any]:
        profiler = Profiler(english_stop_words(), self._n_expected)
        profiler.add(accepted["txt"].to_pylist(), accepted["cat"].to_pylist())
        return profiler.told()

    def _hashes_of(self, accepted: pa.RecordBatch) -> np.ndarray:
        """What stands for each text with its category; of many rows, for a fixed part."""
        whole = pc.binary_join_element_wise(accepted["cat"], accepted["txt"], "\n")
        hashes = keys_of(whole.to_pylist())
        return hashes[hashes % np.uint64(self._every) == 0]

    def _account_of(self, quarantined: pa.RecordBatch) -> dict[str, Any]:
        reasons: Counter[str] = Counter()
        unknown: Counter[str] = Counter()
        places: dict[str, list[str]] = {}
        n_removed = 0
        for row in quarantined.select(["line", "cat", "reasons"]).to_pylist():
            n_removed += row["reasons"] == [REMOVED]
            reasons.update(row["reasons"])
            for reason in row["reasons"]:
                places.setdefault(reason, []).append(str(row["line"]))
            if row["cat"] is not None and row["cat"] not in self._categories:
                unknown[row["cat"]] += 1
        return {
            "quarantined": quarantined.num_rows,
            "removed": n_removed,
            "reasons": dict(reasons),
            "unknown": dict(unknown),
            "places": {reason: lines[:PLACES_TOLD] for reason, lines in places.items()},
        }

    def _shares(self, profile: Profile) -> pd.DataFrame:
        """Rows and share of each category, also of those that have none left."""
        counts = np.array([profile.categories.get(c, 0) for c in self._categories], dtype="int64")
        shares = counts / max(profile.rows, 1)
        return pd.DataFrame({"cat": self._categories, "rows": counts, "share": shares})

    def _duplicate_share(self) -> float:
        hashes = np.concatenate(self._hashes) if self._hashes else np.array([], np.uint64)
        return 1 - len(np.unique(hashes)) / len(hashes) if len(hashes) else 0.0

    def _report(self, profile: Profile, shares: pd.DataFrame) -> dict[str, Any]:
        n_faulty = self._n_quarantined - self._n_removed
        return {
            "success": False,
            "rows": self._n_rows,
            "accepted": profile.rows,
            "quarantined": self._n_quarantined,
            "removed": self._n_removed,
            "faulty": n_faulty,
            "faulty_share": n_faulty / max(self._n_rows, 1),
            "duplicate_share": self._duplicate_share(),
            "limits": asdict(self._limits),
            "reasons": dict(sorted(self._reasons.items())),
            "unknown_categories": [c for c, _ in self._unknown.most_common(10)],
            "shares": shares.to_dict("records"),
            "drift": [],
            "moved_words": [],
        }

    def _whole(
        self, report: Mapping[str, Any], shares: pd.DataFrame, measures: Sequence[Measure]
    ) -> pd.DataFrame:
        names = ["class_drift", "length_drift", "vocabulary_drift", "language_drift"]
        drifts = dict.fromkeys(names, math.nan) | {m.name: m.distance for m in measures}
        told = {name: report[name] for name in ("rows", "accepted")}
        told |= {"categories": len(shares)}
        told |= {name: report[name] for name in ("faulty_share", "duplicate_share")}
        return pd.DataFrame([told | drifts])

    def _message(
        self,
        faults: Sequence[str],
        shares: pd.DataFrame,
        measures: Sequence[Measure],
        report: Mapping[str, Any],
    ) -> str:
        rarest = shares.sort_values("rows", kind="stable").head(10)
        came = ", ".join(f"{cat!r} {n:,}" for cat, n in rarest.set_index("cat")["rows"].items())
        told = [
            f"{report['faulty']:,} faulty of {report['rows']:,} ({report['faulty_share']:.1%}) "
            f"and {report['accepted']:,} accepted in {len(shares)} categories, rarest first: {came}"
        ]
        told += [
            f"{reason} {n:,} (lines {', '.join(self._places[reason][:3])}"
            f"{', ...' if n > 3 else ''})"
            for reason, n in report["reasons"].items()
        ]
        if report["unknown_categories"]:
            told.append(f"unknown categories {report['unknown_categories']}")
        if any("duplicates" in fault for fault in faults):
            told.append(f"{report['duplicate_share']:.1%} duplicates")
        if any("drift" in fault for fault in faults):
            told += [
                f"{m.title} {m.distance:.3f} from the last run ({m.now}; before {m.before})"
                for m in measures
            ]
        return f"{self._name}: {'; '.join(faults)}; got {'; '.join(told)}"


def usual_categories(counts: Mapping[str, int], min_share: float = MIN_CATEGORY_SHARE) -> list[str]:
    """Labels of at least `min_share` of the rows whose label is a string, in sorted order.

    Rarer ones are taken for slips. A category that is really so rare has to be named.
    """
    n_rows = max(sum(counts.values()), 1)
    return sorted(c for c, n in counts.items() if c.strip() and n / n_rows >= min_share)


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
