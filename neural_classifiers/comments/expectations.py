"""What we expect of comments, and which of them we let through.

`row_expectations` and `gate_expectations` are the specification: read it there, extend it there,
with rules about rows or with any expectation of Great Expectations. A row that breaks an
expectation about rows is set aside with every reason and the run goes on; one of the gate that is
broken ends the run. They stand apart since workers, which judge rows, load Great Expectations
only for an expectation of a user's own.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated, Self

from neural_classifiers.comments.drift import DRIFTS
from neural_classifiers.comments.rules import Rule, row_rules
from neural_classifiers.values import checked

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
                raise ValueError(f"expected limits among {known}, got {name!r}")
            if not isinstance(limit, int | float) or not 0 <= limit <= 1:
                raise ValueError(f"expected {name} in [0, 1], got {limit!r}")
        return cls(**(changes or {}))


def check_categories(categories: Collection[str]) -> None:
    """Raise ValueError unless there are two labels to tell apart, none of them blank."""
    if len(set(categories)) < 2 or not all(each.strip() for each in categories):
        raise ValueError(f"expected at least 2 categories, none blank, got {categories}")


Categories = Annotated[list[str], checked(check_categories)]
LimitChanges = Annotated[dict[str, float], checked(Limits.of)]


def row_expectations(categories: Collection[str]) -> "list[Rule | Expectation]":
    """What each row must be, as `comments.rows.parse_rows` gives it; `categories` are its labels.

    The rules of `comments.rules.row_rules` hold in prediction too. An expectation of Great
    Expectations that stands here as well holds in training alone; ``reason`` in its ``meta`` is
    the reason of a row that breaks it, with the value at fault for {}.

    Notes
    -----
    Rules pass over nulls, so that each fault is named once: ``cat`` and ``txt`` are null unless
    they hold a string, and their types are null unless the row has fields.
    """
    return [*row_rules(categories)]


def gate_expectations(
    folds: int, limits: Limits, noise: Mapping[str, float]
) -> "tuple[list[Expectation], list[Expectation]]":
    """What the whole must be, and what each category must be, for the run to go on.

    Parameters
    ----------
    folds : int
        Rows that every category must keep, so that cross-validation has one for each fold.
    limits : Limits
    noise : mapping of str to float
        By how much each drift may pass its limit by chance.

    Returns
    -------
    tuple of two lists of Expectation
        About one row of measures (``rows``, ``accepted``, ``categories``, ``faulty_share``,
        ``duplicate_share``, and the drifts, which are null where there was no run before); and
        about one row a category (``cat``, ``rows`` and ``share`` of the accepted rows).
        ``fault`` in an expectation's ``meta`` is what the gate says.
    """
    from great_expectations import expectations as gxe

    def bounds(
        column: str, what: str, least: float | None = None, most: float | None = None
    ) -> "Expectation":
        return gxe.ExpectColumnValuesToBeBetween(
            column=column, min_value=least, max_value=most, meta={"fault": f"expected {what}"}
        )

    def drift(name: str, title: str) -> "Expectation":
        most = getattr(limits, name) + noise.get(name, 0.0)
        return bounds(name, f"a drift of {title} of at most {most:.3f}", most=most)

    duplicates = limits.duplicates
    whole = [
        bounds("rows", "at least 1 rows", least=1),
        bounds("accepted", "some accepted rows", least=1),
        bounds("categories", "at least 2 categories", least=2),
        bounds("faulty_share", f"at most {limits.faulty:.1%} faulty rows", most=limits.faulty),
        bounds("duplicate_share", f"at most {duplicates:.0%} duplicates", most=duplicates),
        *(drift(name, title) for name, title in DRIFTS.items()),
    ]
    largest = f"no category above {limits.category:.0%} of the rows"
    categories = [
        bounds("rows", f"at least {folds} rows of every category, one a fold", least=folds),
        bounds("share", largest, most=limits.category),
    ]
    return whole, categories
