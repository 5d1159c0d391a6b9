"""The gate of the comments: rows judged batch by batch, then the whole."""

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from neural_classifiers.checks import ValidationError, _Judge, _merged, _Outcome
from neural_classifiers.comments.drift import (
    Measure,
    Profile,
    Profiler,
    compare_profiles,
    moved_words,
)
from neural_classifiers.comments.expectations import Limits, comment_suite
from neural_classifiers.comments.rules import REMOVED
from neural_classifiers.comments.schemas import ACCEPTED, JUDGED, QUARANTINE
from neural_classifiers.comments.splits import keys_of
from neural_classifiers.comments.text import english_stop_words

if TYPE_CHECKING:
    from great_expectations.core import ExpectationSuiteValidationResult


MIN_CATEGORY_SHARE = 0.01  # a label rarer than this is taken for a slip, unless it was named


TEXTS_COMPARED = 1_000_000  # about so many texts are held against each other for duplicates


PLACES_TOLD = 4  # lines at fault remembered for each reason


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
