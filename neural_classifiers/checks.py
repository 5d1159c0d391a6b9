"""What a check found, and the errors of data that cannot be used: expected, came, where."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Finding:
    """What came of one expectation.

    Attributes
    ----------
    expectation : str
        Its kind, by the name that Great Expectations has for it.
    kwargs : dict
        What it expects, and of which column.
    success : bool
    unexpected : int
        Values that break it.
    observed : object
        Plain JSON: what came, where the expectation is not about each value.
    fault : str
        What the message of the run that it stops says of it.
    """

    expectation: str
    kwargs: dict[str, Any]
    success: bool
    unexpected: int
    observed: Any
    fault: str

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON for a report; the fault stands in the message."""
        return {name: value for name, value in vars(self).items() if name != "fault"}


class ValidationError(ValueError):
    """Data that the gate stopped.

    `report` is plain JSON, and `result` Great Expectations' form of it where that judged: what was
    found until then.
    """

    def __init__(
        self, message: str, report: dict[str, Any] | None = None, result: Any = None
    ) -> None:
        super().__init__(message)
        self.report = report or {}
        self.result = result


class SourceError(ValueError):
    """The data that was asked for cannot be had: says what was expected, what came and where."""
