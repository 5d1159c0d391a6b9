"""What we expect of comments, and which of them we let through.

`comment_suite` is the specification: read it there, extend it there, with rules and bounds or with
any expectation of Great Expectations. A row that breaks an expectation about rows is set aside
with every reason and the run goes on; expectations about the categories and about the whole are the
gate: one that is broken ends the run.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Self

from neural_classifiers.comments.rules import Rule, row_rules

if TYPE_CHECKING:
    from great_expectations.expectations import Expectation


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
class Bounds:
    """What a measure of a table must lie between; null lies there too.

    Attributes
    ----------
    column : str
        Of the table.
    what : str
        What is expected, as the gate says it.
    least, most : float, optional
        Both may be reached.
    """

    column: str
    what: str
    least: float | None = None
    most: float | None = None


@dataclass(frozen=True)
class Suite:
    """Expectations by the table that they are about.

    Attributes
    ----------
    rows : list of Rule or Expectation
        About each row, as `comments.rows.parse_rows` gives them. ``reason`` in an expectation's
        ``meta`` is the reason of a row that breaks it, with the value at fault for {}.
    categories : list of Bounds or Expectation
        About each category: columns ``cat``, ``rows`` and ``share`` of the accepted rows.
    whole : list of Bounds or Expectation
        About one row of measures: ``rows``, ``accepted``, ``categories``, ``faulty_share``,
        ``duplicate_share``, and the drifts, which are null where there was no run before.
        ``fault`` in an expectation's ``meta`` is what the gate says.
    """

    rows: "list[Rule | Expectation]"
    categories: "list[Bounds | Expectation]"
    whole: "list[Bounds | Expectation]"


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
    too. Expectations about values pass over nulls, so that each fault is named once: ``cat`` and
    ``txt`` are null unless they hold a string, and their types are null unless the row has fields.
    """
    limits, noise = limits or Limits(), noise or {}

    def drift(measure: str, of: str, limit: float) -> Bounds:
        most = limit + noise.get(measure, 0.0)
        return Bounds(measure, f"a drift of {of} of at most {most:.3f}", most=most)

    return Suite(
        rows=[*row_rules(categories)],
        categories=[
            Bounds("rows", f"at least {folds} rows of every category, one a fold", least=folds),
            Bounds(
                "share",
                f"no category above {limits.category:.0%} of the rows",
                most=limits.category,
            ),
        ],
        whole=[
            Bounds("rows", f"at least {min_rows:,} rows", least=min_rows),
            Bounds("accepted", "some accepted rows", least=1),
            Bounds("categories", "at least 2 categories", least=2),
            Bounds("faulty_share", f"at most {limits.faulty:.1%} faulty rows", most=limits.faulty),
            Bounds(
                "duplicate_share",
                f"at most {limits.duplicates:.0%} duplicates",
                most=limits.duplicates,
            ),
            drift("class_drift", "class shares", limits.class_drift),
            drift("length_drift", "lengths", limits.length_drift),
            drift("vocabulary_drift", "vocabulary", limits.vocabulary_drift),
            drift("language_drift", "language", limits.language_drift),
        ],
    )
