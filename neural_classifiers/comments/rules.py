"""What every row of comments must be, as plain rules.

Training (`comments.validator.Validator`) and prediction (`faults`) hold rows against them; neither
loads Great Expectations for it, which takes 3 s and 190 MB in every process. A rule added to
`row_rules` therefore holds in both.
"""

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from neural_classifiers.comments.strict_json import OBJECT

REMOVED = "txt: removed"  # the reason of rows whose author or moderator took the text away
EMPTIED = "clean: nothing left"  # the reason of rows of which cleaning leaves nothing
_REMOVED_TEXT = r"(?i)^\s*\[\s*(?:removed|deleted)(?:\s+by\s[^\]]*|\s*)\]\s*$"


@dataclass(frozen=True)
class Rule:
    """What the value of a column must be; null breaks no rule.

    Attributes
    ----------
    column : str
        Of the rows that `comments.rows.parse_rows` gives.
    reason : str
        Why a row that breaks it is set aside, with the value at fault for {}.
    values : tuple of str, optional
        All that it may be.
    pattern : str, optional
        Regular expression that must be found in it.
    forbidden : str, optional
        Regular expression that must not be found in it.
    """

    column: str
    reason: str
    values: tuple[str, ...] | None = None
    pattern: str | None = None
    forbidden: str | None = None

    @cached_property
    def is_met(self) -> Callable[[str], bool]:
        """Whether a value is as it must be."""
        if self.values is not None:
            return frozenset(self.values).__contains__
        if self.pattern is not None:
            search = re.compile(self.pattern).search
            return lambda value: search(value) is not None
        search = re.compile(self.forbidden or r"(?!)").search
        return lambda value: search(value) is None

    def broken_rows(self, values: Iterable[str | None]) -> list[int]:
        """Positions of the values that break it, ascending."""
        is_met = self.is_met
        return [i for i, value in enumerate(values) if value is not None and not is_met(value)]


def row_rules(categories: Collection[str] | None = None) -> tuple[Rule, ...]:
    """The rules about rows; without `categories` those of rows that have no category yet."""
    about_category = (
        Rule("cat_type", "cat: {}", values=("string",)),
        Rule("cat", "cat: empty", pattern=r"\S"),
        Rule("cat", "cat: unknown category", values=tuple(sorted(categories or ()))),
    )
    return (
        # What the row is
        Rule("line_type", "line: {}", values=(OBJECT,)),
        # Its category
        *(() if categories is None else about_category),
        # Its text
        Rule("txt_type", "txt: {}", values=("string",)),
        Rule("txt", "txt: empty", pattern=r"\S"),
        Rule("txt", REMOVED, forbidden=_REMOVED_TEXT),
        # Its time, where a column was named
        Rule("time_type", "time: {}", values=("time",)),
    )


def faults(
    columns: Iterable[tuple[Rule, Sequence[str | None]]],
) -> dict[int, list[str]]:
    """Reasons by the position of each row that breaks a rule, in the order of the rules.

    Parameters
    ----------
    columns : iterable of (Rule, sequence of str or None)
        Each rule with the values of its column.
    """
    reasons: dict[int, list[str]] = {}
    for rule, values in columns:
        for row in rule.broken_rows(values):
            reasons.setdefault(row, []).append(rule.reason.format(values[row]))
    return reasons
