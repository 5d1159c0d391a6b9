"""The gate of the comments: rows judged batch by batch, then the whole."""

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from neural_classifiers.checks import ValidationError
from neural_classifiers.comments import gx_adapter
from neural_classifiers.comments.drift import (
    DRIFTS,
    Measure,
    Profile,
    Profiler,
    compare_profiles,
    moved_words,
)
from neural_classifiers.comments.expectations import Limits, comment_suite
from neural_classifiers.comments.gx_adapter import Tally
from neural_classifiers.comments.rules import REMOVED, Rule
from neural_classifiers.comments.schemas import ACCEPTED, QUARANTINE
from neural_classifiers.comments.splits import keys_of
from neural_classifiers.comments.text import english_stop_words

if TYPE_CHECKING:
    from great_expectations.core import ExpectationSuiteValidationResult
    from great_expectations.expectations import Expectation

MIN_CATEGORY_SHARE = 0.01  # a label rarer than this is taken for a slip, unless it was named
TEXTS_COMPARED = 1_000_000  # about so many texts are held against each other for duplicates
LINES_NAMED = 3  # lines at fault that the message names for each reason


@dataclass(frozen=True)
class GateResult:
    """What the gate found over all batches, of comments that it let pass.

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
        The same in Great Expectations' form, for its Data Docs.
    """

    shares: pd.DataFrame
    profile: Profile
    report: dict[str, Any]
    result: "ExpectationSuiteValidationResult"


class ExaminedBatch(NamedTuple):
    """Rows of a batch, parted by `Validator.examine`, and what `Validator.add` takes.

    `counts` is plain JSON; `hashes`, uint64 of shape (n,), stand for texts with their category.
    """

    accepted: pa.RecordBatch
    quarantined: pa.RecordBatch
    counts: dict[str, Any]
    hashes: np.ndarray


class Validator:
    """Parts comments into accepted and quarantined, batch by batch, and is their gate.

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
        self._expected = comment_suite(self._categories).rows
        self._tallies = [Tally() for _ in self._expected]
        self._n_expected = n_rows
        self._profiler = Profiler(english_stop_words(), n_rows)
        self._every = max(math.ceil(n_rows / TEXTS_COMPARED), 1)
        self._hashes: list[np.ndarray] = []
        self._n: Counter[str] = Counter()  # rows, also of those quarantined and removed
        self._reasons: Counter[str] = Counter()
        self._lines: dict[str, list[str]] = {}
        self._unknown: Counter[str] = Counter()

    def examine(self, rows: pa.RecordBatch) -> ExaminedBatch:
        """Part a batch of rows; `add` counts it, perhaps in another process.

        Raises
        ------
        ValidationError
            If the table itself is not as it should be, such as without one of its columns.
        """
        tallies, reasons = self._judge(rows)
        is_accepted = np.ones(rows.num_rows, dtype=bool)
        is_accepted[list(reasons)] = False
        accepted = rows.filter(pa.array(is_accepted)).select(ACCEPTED.names)
        rejected = rows.filter(pa.array(~is_accepted))
        why = pa.array([reasons[i] for i in sorted(reasons)], QUARANTINE.field("reasons").type)
        quarantined = rejected.append_column("reasons", why).select(QUARANTINE.names)
        counts = {
            "rows": rows.num_rows,
            "tallies": [asdict(tally) for tally in tallies],
            "profile": self._profile_of(accepted),
            **self._counts_of(quarantined),
        }
        return ExaminedBatch(accepted, quarantined, counts, self._hashes_of(accepted))

    def add(self, counts: Mapping[str, Any], hashes: np.ndarray) -> None:
        """Count a batch: `ExaminedBatch.counts` and `ExaminedBatch.hashes`."""
        for tally, more in zip(self._tallies, counts["tallies"], strict=True):
            tally.add(Tally(**more))
        self._profiler.add_counts(counts["profile"])
        self._hashes.append(hashes)
        self._n.update({part: counts[part] for part in ("rows", "quarantined", "removed")})
        self._reasons.update(counts["reasons"])
        self._unknown.update(counts["unknown"])
        for reason, lines in counts["lines"].items():
            named = self._lines.setdefault(reason, [])
            named += lines[: LINES_NAMED - len(named)]

    def gate(self) -> GateResult:
        """Let the comments pass, once every batch was added.

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
        noise = {m.name: m.noise for m in measures}
        suite = comment_suite(self._categories, self._folds, self._min_rows, self._limits, noise)
        of_rows = map(gx_adapter.result_of, self._expected, self._tallies)
        of_whole = [
            *gx_adapter.judge_table(self._whole(report, shares, measures), suite.whole),
            *gx_adapter.judge_table(shares, suite.categories),
        ]
        results = [*of_rows, *of_whole]
        report["expectations"] = [gx_adapter.finding_of(r).as_dict() for r in results]
        faults: list[str] = []
        drifted: list[str] = []
        for finding in (gx_adapter.finding_of(r) for r in of_whole if not r.success):
            if finding.observed is not None:  # of a whole column, or why it could not be judged
                faults.append(f"{finding.fault}, got {finding.observed}")
            elif finding.kwargs.get("column") in DRIFTS and not self._stop_for_drift:
                drifted.append(finding.fault)
            else:
                faults.append(finding.fault)
        report["drifted"] = drifted
        report["success"] = not faults
        result = gx_adapter.suite_result(results, success=not faults)
        if faults:
            raise ValidationError(self._message(faults, shares, measures, report), report, result)
        return GateResult(shares, profile, report, result)

    def _judge(self, rows: pa.RecordBatch) -> tuple[list[Tally], dict[int, list[str]]]:
        """How often each expectation is broken, and by row in the suite's order the reasons."""
        needed = sorted({e.column for e in self._expected if isinstance(e, Rule)})
        if missing := set(needed) - set(rows.schema.names):
            raise ValidationError(
                f"{self._name}: expected the columns {needed}, got none of the name "
                f"{', '.join(sorted(missing))}"
            )
        tallies: list[Tally] = []
        reasons: dict[int, list[str]] = {}
        for expected in self._expected:
            values = self._values(expected, rows)
            if isinstance(expected, Rule):
                reason, broken = expected.reason, expected.broken_rows(values)
            else:
                reason = gx_adapter.reason_of(expected)
                broken = gx_adapter.broken_rows(expected, rows.to_pandas(), self._name)
            for row in broken:
                reasons.setdefault(row, []).append(reason.format(values[row]))
            tallies.append(Tally.of(values, broken))
        return tallies, reasons

    @staticmethod
    def _values(expected: "Rule | Expectation", rows: pa.RecordBatch) -> list[Any]:
        column = getattr(expected, "column", None)  # an expectation about two columns has none
        return rows[column].to_pylist() if column else [None] * rows.num_rows

    def _profile_of(self, accepted: pa.RecordBatch) -> list[Any]:
        profiler = Profiler(english_stop_words(), self._n_expected)
        profiler.add(accepted["txt"].to_pylist(), accepted["cat"].to_pylist())
        return profiler.counts()

    def _hashes_of(self, accepted: pa.RecordBatch) -> np.ndarray:
        """What stands for each text with its category; of many rows, for a fixed part."""
        whole = pc.binary_join_element_wise(accepted["cat"], accepted["txt"], "\n")
        hashes = keys_of(whole.to_pylist())
        return hashes[hashes % np.uint64(self._every) == 0]

    def _counts_of(self, quarantined: pa.RecordBatch) -> dict[str, Any]:
        reasons: Counter[str] = Counter()
        unknown: Counter[str] = Counter()
        lines: dict[str, list[str]] = {}
        n_removed = 0
        for row in quarantined.select(["line", "cat", "reasons"]).to_pylist():
            n_removed += row["reasons"] == [REMOVED]
            reasons.update(row["reasons"])
            for reason in row["reasons"]:
                lines.setdefault(reason, []).append(str(row["line"]))
            if row["cat"] is not None and row["cat"] not in self._categories:
                unknown[row["cat"]] += 1
        return {
            "quarantined": quarantined.num_rows,
            "removed": n_removed,
            "reasons": dict(reasons),
            "unknown": dict(unknown),
            "lines": {reason: numbers[:LINES_NAMED] for reason, numbers in lines.items()},
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
        n_faulty = self._n["quarantined"] - self._n["removed"]
        return {
            "success": False,
            "rows": self._n["rows"],
            "accepted": profile.rows,
            "quarantined": self._n["quarantined"],
            "removed": self._n["removed"],
            "faulty": n_faulty,
            "faulty_share": n_faulty / max(self._n["rows"], 1),
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
        """The one row of measures that the expectations about the whole are about."""
        names = ("rows", "accepted", "faulty_share", "duplicate_share")
        drifts = dict.fromkeys(DRIFTS, math.nan) | {m.name: m.distance for m in measures}
        row = {name: report[name] for name in names} | {"categories": len(shares)} | drifts
        return pd.DataFrame([row])

    def _message(
        self,
        faults: Sequence[str],
        shares: pd.DataFrame,
        measures: Sequence[Measure],
        report: Mapping[str, Any],
    ) -> str:
        rarest = shares.sort_values("rows", kind="stable").head(10)
        came = ", ".join(f"{cat!r} {n:,}" for cat, n in rarest.set_index("cat")["rows"].items())
        got = [
            f"{report['faulty']:,} faulty of {report['rows']:,} ({report['faulty_share']:.1%}) "
            f"and {report['accepted']:,} accepted in {len(shares)} categories, rarest first: {came}"
        ]
        got += [
            f"{reason} {n:,} (lines {', '.join(self._lines[reason])}"
            f"{', ...' if n > LINES_NAMED else ''})"
            for reason, n in report["reasons"].items()
        ]
        if report["unknown_categories"]:
            got.append(f"unknown categories {report['unknown_categories']}")
        if any("duplicates" in fault for fault in faults):
            got.append(f"{report['duplicate_share']:.1%} duplicates")
        if any("drift" in fault for fault in faults):
            got += [
                f"{m.title} {m.distance:.3f} from the last run ({m.now}; before {m.before})"
                for m in measures
            ]
        return f"{self._name}: {'; '.join(faults)}; got {'; '.join(got)}"


def usual_categories(counts: Mapping[str, int], min_share: float = MIN_CATEGORY_SHARE) -> list[str]:
    """Labels of at least `min_share` of the rows whose label is a string, in sorted order.

    Rarer ones are taken for slips. A category that is really so rare has to be named.
    """
    n_rows = max(sum(counts.values()), 1)
    return sorted(c for c, n in counts.items() if c.strip() and n / n_rows >= min_share)
