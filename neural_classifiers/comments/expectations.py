"""What we expect of comments, and which of them we let through.

`comment_suite` is the specification: read it there, extend it there. Great Expectations judges it
batch by batch and comes to one verdict. A row that breaks an expectation about rows is set aside
with every reason and the run goes on; expectations about the categories and about the whole are the
gate: one that is broken ends the run.

Great Expectations runs in memory: its context keeps everything in dictionaries, writes no file
and sends nothing.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Self

from neural_classifiers.comments.rules import Rule, row_rules
from neural_classifiers.comments.schemas import JUDGED

if TYPE_CHECKING:
    import great_expectations as gx


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
        About each row, as `comments.rows.parse_rows` gives them.
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
