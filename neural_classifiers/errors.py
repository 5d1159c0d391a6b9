"""Errors that say what was expected, what came, where, and what to do."""

from typing import Any

MESSAGE_LENGTH = 2000  # characters


class RefusedError(Exception):
    """A request that cannot be met as it stands; the message says what to change.

    Commands print the message alone, without a traceback, and end with `status`. It ends with
    `code`, by which ``docs/messages.md`` says more. Whatever data it quotes, it never fills the
    screen: of a longer one, beginning and end are shown.
    """

    code = "NC10"

    status = 1

    def __str__(self) -> str:
        message, half = super().__str__(), MESSAGE_LENGTH // 2
        if len(message) > MESSAGE_LENGTH:
            message = f"{message[:half]} … {message[-half:]}"
        return message if "[NC" in message else f"{message} [{self.code}]"


class SourceError(RefusedError, ValueError):
    """The data that was asked for cannot be had."""

    code = "NC20"


class ParameterError(RefusedError, ValueError):
    """A parameter that cannot be, alone or with the others or with the data."""

    code = "NC50"


class ValidationError(RefusedError, ValueError):
    """Data that the gate stopped.

    `report` is plain JSON, and `result` Great Expectations' form of it where that judged: what was
    found until then.
    """

    code = "NC40"

    def __init__(
        self, message: str, report: dict[str, Any] | None = None, result: Any = None
    ) -> None:
        super().__init__(message)
        self.report = report or {}
        self.result = result


def shown(value: object, most: int = 200) -> str:
    """The beginning of what a value looks like, for a message."""
    text = str(value)
    return text if len(text) <= most else f"{text[: most - 1]}…"
