"""The gate of the comments: rows judged batch by batch, then the whole."""

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from neural_classifiers.comments import gx_adapter
from neural_classifiers.comments.drift import (
    DRIFTS,
    Measure,
    Profile,
    Profiler,
    compare_profiles,
    moved_words,
)
from neural_classifiers.comments.expectations import Limits, gate_expectations, row_expectations
from neural_classifiers.comments.rules import REMOVED, Rule
from neural_classifiers.comments.schemas import ACCEPTED, QUARANTINE
from neural_classifiers.comments.splits import keys_of
from neural_classifiers.comments.text import english_stop_words
from neural_classifiers.errors import ValidationError, shown

if TYPE_CHECKING:
    from great_expectations.core import ExpectationSuiteValidationResult

MIN_CATEGORY_SHARE = 0.01  # a label rarer than this is taken for a slip, unless it was named
TEXTS_COMPARED = 1_000_000  # about so many texts are held against each other for duplicates
LINES_NAMED = 3  # lines at fault that the message names for each reason
ADVICE = {
    "faulty": "see the quarantine; limits={'faulty': 0.1} lets more through",
    "at least 2 categories": "labels of less than 1 % of the rows are taken for slips unless "
    "--categories names them",
    "rows of every category": "fewer `folds`, more rows (--sample), or --categories without it",
    "no category above": "limits={'category': 1.0} lets it through",
    "duplicates": "limits={'duplicates': 0.9} lets them through",
    "drift": "--despite-drift accepts the change, and the next run is held against it",
}
"""What to do about a fault that has these words."""


class GateResult(NamedTuple):
    """What the gate found over all batches, of comments that it let pass.

    `profile` is that of the accepted comments, to hold the next run against. `report` is plain
    JSON: counts, reasons, shares, drift, and every expectation with how often it was broken;
    `result` is the same in Great Expectations' form, for its Data Docs.
    """

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
    folds, limits
        See `gate_expectations`.
    n_rows : int
        About how many rows will come; of many, some measures are taken of a fixed part.
    last : Profile, optional
        Of the last run; without it nothing is said about drift.
    last_run : str
        What that run is called.
    stop_for_drift : bool
        False: a drift is reported and stops nothing.
    name : str
        Names the data in messages.
    spellings : mapping of str to str, optional
        The label that another spelling stands for, as `comments.labels.same_labels` gives it.

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
        limits: Limits | None = None,
        n_rows: int = 0,
        last: Profile | None = None,
        last_run: str = "",
        stop_for_drift: bool = True,
        name: str = "comments",
        spellings: Mapping[str, str] | None = None,
    ) -> None:
        self._categories, self._folds = sorted(set(categories)), folds
        self._limits, self._last, self._last_run = limits or Limits(), last, last_run
        self._stop_for_drift, self._name = stop_for_drift, name
        self._n_expected, self._spellings = n_rows, spellings or {}
        self._expected = row_expectations(self._categories)
        self._broken = [gx_adapter.count_broken([], []) for _ in self._expected]
        self._profiler = Profiler(english_stop_words(), n_rows)
        self._hashes = [np.array([], np.uint64)]
        # Rows, also of those quarantined and removed; their reasons; labels that are unknown
        self._counts: dict[str, Counter[str]] = {
            part: Counter() for part in ("n", "reasons", "unknown")
        }
        self._lines: dict[str, list[int]] = {}  # first ones of each reason

    def examine(self, rows: pa.RecordBatch) -> ExaminedBatch:
        """Part a batch of rows; `add` counts it, perhaps in another process.

        Raises
        ------
        ValidationError
            If the table itself is not as it should be, such as without one of its columns.
        """
        rows = self._respelled(rows)
        broken, reasons = self._judge(rows)
        is_accepted = np.ones(rows.num_rows, dtype=bool)
        is_accepted[list(reasons)] = False
        accepted = rows.filter(pa.array(is_accepted)).select(ACCEPTED.names)
        rejected = rows.filter(pa.array(~is_accepted))
        why = pa.array([reasons[i] for i in sorted(reasons)], QUARANTINE.field("reasons").type)
        quarantined = rejected.append_column("reasons", why).select(QUARANTINE.names)
        profiler = Profiler(english_stop_words(), self._n_expected)
        profiler.add(accepted["txt"].to_pylist(), accepted["cat"].to_pylist())
        counts = {
            "broken": broken,
            "profile": profiler.counts(),
            **self._counts_of(quarantined, rows.num_rows),
        }
        labelled = pc.binary_join_element_wise(accepted["cat"], accepted["txt"], "\n")
        hashes = keys_of(labelled.to_pylist())
        every = max(math.ceil(self._n_expected / TEXTS_COMPARED), 1)
        return ExaminedBatch(accepted, quarantined, counts, hashes[hashes % np.uint64(every) == 0])

    def add(self, counts: Mapping[str, Any], hashes: np.ndarray) -> None:
        """Count a batch: `ExaminedBatch.counts` and `ExaminedBatch.hashes`."""
        for total, more in zip(self._broken, counts["broken"], strict=True):
            for name in total:  # numbers, and a list of examples
                total[name] += more[name]
        self._profiler.add_counts(counts["profile"])
        self._hashes.append(hashes)
        for part, counter in self._counts.items():
            counter.update(counts[part])
        for reason, lines in counts["lines"].items():
            self._lines[reason] = (self._lines.get(reason, []) + lines)[:LINES_NAMED]

    def gate(self) -> GateResult:
        """Let the comments pass, once every batch was added.

        Raises
        ------
        ValidationError
            If the gate stops the run: names what was expected and what came.
        """
        profile = self._profiler.profile()
        measures = compare_profiles(self._last, profile) if self._last else []
        report = self._report(profile, measures)
        shares = pd.DataFrame(report["shares"])
        named = ("rows", "accepted", "faulty_share", "duplicate_share")
        drifts = dict.fromkeys(DRIFTS, math.nan) | {m.name: m.distance for m in measures}
        whole = {name: report[name] for name in named} | {"categories": len(shares)} | drifts
        noise = {m.name: m.noise for m in measures}
        of_whole, of_categories = gate_expectations(self._folds, self._limits, noise)
        results = [
            *map(gx_adapter.result_of, self._expected, self._broken),
            *gx_adapter.judge_table(pd.DataFrame([whole]), of_whole),
            *gx_adapter.judge_table(shares, of_categories),
        ]
        findings = [gx_adapter.finding_of(result) for result in results]
        report["expectations"] = [finding.as_dict() for finding in findings]
        faults: list[str] = []
        for finding in findings[len(self._expected) :]:
            if finding.success:
                continue
            if finding.observed is not None:  # of a whole column, or why it could not be judged
                faults.append(f"{finding.fault}, got {finding.observed}")
            elif finding.kwargs.get("column") in DRIFTS and not self._stop_for_drift:
                report["drifted"].append(finding.fault)
            else:
                faults.append(finding.fault)
        report["success"] = not faults
        result = gx_adapter.suite_result(results, success=not faults)
        if faults:
            raise ValidationError(self._message(faults, report), report, result)
        return GateResult(profile, report, result)

    def _respelled(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """The rows, each label as it is spelled by most."""
        if not self._spellings or "cat" not in rows.schema.names:
            return rows
        labels = rows["cat"].dictionary_encode()
        spelled = [self._spellings.get(label, label) for label in labels.dictionary.to_pylist()]
        column = pa.array(spelled, pa.string()).take(labels.indices)
        return rows.set_column(rows.schema.get_field_index("cat"), "cat", column)

    def _judge(self, rows: pa.RecordBatch) -> tuple[list[dict[str, Any]], dict[int, list[str]]]:
        """How often each expectation is broken, and by row in the suite's order the reasons."""
        needed = sorted({e.column for e in self._expected if isinstance(e, Rule)})
        if missing := set(needed) - set(rows.schema.names):
            raise ValidationError(
                f"{self._name}: expected the columns {needed}, got none of the name "
                f"{', '.join(sorted(missing))}"
            )
        counts = []
        reasons: dict[int, list[str]] = {}
        for expected in self._expected:
            column = getattr(expected, "column", None)  # one about two columns has none
            values = rows[column].to_pylist() if column else [None] * rows.num_rows
            if isinstance(expected, Rule):
                reason, broken = expected.reason, expected.broken_rows(values)
            else:
                table = rows.to_pandas()
                reason, broken = gx_adapter.broken_rows(expected, table, self._name)
            for row in broken:
                reasons.setdefault(row, []).append(reason.format(values[row]))
            counts.append(gx_adapter.count_broken(values, broken))
        return counts, reasons

    def _counts_of(self, quarantined: pa.RecordBatch, n_rows: int) -> dict[str, Any]:
        reasons: Counter[str] = Counter()
        unknown: Counter[str] = Counter()
        lines: dict[str, list[int]] = {}
        n_removed = 0
        for row in quarantined.select(["line", "cat", "reasons"]).to_pylist():
            n_removed += row["reasons"] == [REMOVED]
            reasons.update(row["reasons"])
            for reason in row["reasons"]:
                lines.setdefault(reason, []).append(row["line"])
            if row["cat"] is not None and row["cat"] not in self._categories:
                unknown[row["cat"]] += 1
        return {
            "n": {"rows": n_rows, "quarantined": quarantined.num_rows, "removed": n_removed},
            "reasons": dict(reasons),
            "unknown": dict(unknown),
            "lines": {reason: numbers[:LINES_NAMED] for reason, numbers in lines.items()},
        }

    def _report(self, profile: Profile, measures: Sequence[Measure]) -> dict[str, Any]:
        """All but the expectations."""
        n, limits = self._counts["n"], asdict(self._limits)
        n_faulty = n["quarantined"] - n["removed"]
        hashes = np.concatenate(self._hashes)
        of_categories = {c: profile.categories.get(c, 0) for c in self._categories}
        return {
            "success": False,
            "rows": n["rows"],
            "accepted": profile.rows,
            "quarantined": n["quarantined"],
            "removed": n["removed"],
            "faulty": n_faulty,
            "faulty_share": n_faulty / max(n["rows"], 1),
            "duplicate_share": 1 - len(np.unique(hashes)) / len(hashes) if len(hashes) else 0.0,
            "limits": limits,
            "reasons": dict(sorted(self._counts["reasons"].items())),
            "unknown_categories": [c for c, _ in self._counts["unknown"].most_common(10)],
            "shares": [
                {"cat": c, "rows": rows, "share": rows / max(profile.rows, 1)}
                for c, rows in of_categories.items()
            ],
            "drift": [asdict(m) | {"limit": limits[m.name] + m.noise} for m in measures],
            "moved_words": moved_words(self._last, profile) if self._last else [],
            "drifted": [],
        }

    def _message(self, faults: Sequence[str], report: Mapping[str, Any]) -> str:
        rarest = sorted(report["shares"], key=itemgetter("rows"))[:10]
        came = shown(", ".join(f"{each['cat']!r} {each['rows']:,}" for each in rarest))
        got = [
            f"{report['faulty']:,} faulty of {report['rows']:,} ({report['faulty_share']:.1%}) and "
            f"{report['accepted']:,} accepted in {len(self._categories)} categories, "
            f"rarest first: {came}"
        ]
        got += [
            f"{reason} {n:,} (lines {', '.join(map(str, self._lines[reason]))}"
            f"{', ...' if n > LINES_NAMED else ''})"
            for reason, n in report["reasons"].items()
        ]
        if report["unknown_categories"]:
            got.append(
                f"unknown categories {shown(report['unknown_categories'])}: known are those of the "
                f"catalogue or of --categories, else labels of {MIN_CATEGORY_SHARE:.0%} of rows"
            )
        if any("duplicates" in fault for fault in faults):
            got.append(f"{report['duplicate_share']:.1%} duplicates")
        if any("drift" in fault for fault in faults):
            got += [
                f"{m['title']} {m['distance']:.3f} from {self._last_run or 'the last run'} "
                f"of this source ({m['now']}; "
                f"before {m['before']})"
                for m in report["drift"]
            ]
        to_do = [advice for word, advice in ADVICE.items() if any(word in f for f in faults)]
        return "; ".join([f"{self._name}: {'; '.join(faults)}; got {'; '.join(got)}", *to_do])


def usual_categories(counts: Mapping[str, int]) -> list[str]:
    """Labels of at least 1 % of the rows whose label is a string, in sorted order.

    Rarer ones are taken for slips; a category that is really so rare has to be named. Of many
    classes, 1 % is too much: there it is a quarter of what an even one of them would have, their
    number being counted as the inverse of Simpson's index, to which slips add nothing.
    """
    n_rows = max(sum(counts.values()), 1)
    shares = {label: n / n_rows for label, n in counts.items() if label.strip()}
    n_classes = 1 / max(sum(share**2 for share in shares.values()), 1e-9)
    least = min(MIN_CATEGORY_SHARE, 1 / (4 * n_classes))
    return sorted(label for label, share in shares.items() if share >= least)
