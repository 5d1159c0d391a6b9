"""Errors that say what was expected, what came and where."""

from typing import Any


class RefusedError(Exception):
    """A request that cannot be met as it stands; the message says what to change.

    Commands print the message alone, without a traceback, and end with `status`.
    """

    status = 1


class SourceError(ValueError):
    """The data that was asked for cannot be had."""


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
