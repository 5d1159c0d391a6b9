"""Moments out of what people write for the time of a comment.

ISO 8601, and its digits alone (20240501); seconds, milliseconds, microseconds or nanoseconds since
1970, told apart by their size, as numbers or in digits; the forms of Twitter and of mail; year,
month and day with slashes; month and day with slashes where only one of them can be the month.
Without a zone it is UTC. What can be read in two ways is read in none.
"""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from email.utils import parsedate_to_datetime
from typing import Any

FIRST, LAST = 3.15e8, 7.26e9  # seconds from 1970 to 1980, where smaller units begin, and to 2200

_NUMBER = re.compile(r"[-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?")
_DIGITS = re.compile(r"(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])(\d{6})?")
_ZONE = re.compile(r" ?(?:UTC|GMT|Z)$| (?=[-+]\d\d:?\d\d$)")
_SLASHES = re.compile(r"(\d{1,2})[/.](\d{1,2})[/.](\d{4})\b,?(.*)", re.DOTALL)
_TWITTER = "%a %b %d %H:%M:%S %z %Y"
_CLOCKS = ("", "%H:%M", "%H:%M:%S", "%H:%M:%S.%f", "%I:%M %p", "%I:%M:%S %p")
_FAULTS = (ValueError, OverflowError, OSError, TypeError, ArithmeticError)


def moment_of(value: Any) -> tuple[datetime | None, str]:
    """A value's moment in UTC, null where it is none, and "time" or why it is none.

    Examples
    --------
    >>> moment_of("Tue Jan 22 16:28:52 +0000 2013")[0].isoformat()
    '2013-01-22T16:28:52+00:00'
    >>> moment_of(1358872132000)[0].isoformat()
    '2013-01-22T16:28:52+00:00'
    >>> moment_of("05/06/2013")
    (None, 'day or month first')
    """
    try:
        if isinstance(value, str):
            return _of_text(value.strip())
        if isinstance(value, date) and not isinstance(value, datetime):
            value = datetime(value.year, value.month, value.day)
        if isinstance(value, datetime):
            return _in_utc(value), "time"
        if isinstance(value, int) and _DIGITS.fullmatch(str(value)):
            return _of_text(str(value))
        return _of_number(float(value)), "time"
    except _FAULTS:
        return None, "not a time"


def _in_utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def _of_number(number: float) -> datetime:
    """Of seconds since 1970, or of the smaller unit by which it lies between 1980 and 2200."""
    if abs(number) <= LAST:
        return datetime.fromtimestamp(number, UTC)
    for unit in (1e3, 1e6, 1e9):
        if FIRST <= number / unit <= LAST:
            return datetime.fromtimestamp(number / unit, UTC)
    raise ValueError(f"no time: {number}")


def _of_text(text: str) -> tuple[datetime | None, str]:
    if _NUMBER.fullmatch(text) and not _DIGITS.fullmatch(text):
        return _of_number(float(text)), "time"
    if slashes := _SLASHES.fullmatch(text):
        first, second = int(slashes[1]), int(slashes[2])
        if first <= 12 and second <= 12 and first != second:
            return None, "day or month first"
        month, day = (first, second) if first <= 12 else (second, first)
        clock = _ZONE.sub("", slashes[4].strip())
        at = _first(datetime.strptime, clock, _CLOCKS).time()
        return datetime.combine(date(int(slashes[3]), month, day), at, UTC), "time"
    for read in (_iso, _twitter, parsedate_to_datetime):
        try:
            return _in_utc(read(text)), "time"
        except _FAULTS:
            continue
    return None, "not a time"


def _iso(text: str) -> datetime:
    if digits := _DIGITS.fullmatch(text):
        text = f"{text[:8]}T{digits[1]}" if digits[1] else text
    zoned = _ZONE.sub(lambda zone: "+00:00" if zone[0].strip() else "", text)
    return datetime.fromisoformat(zoned.replace("/", "-"))


def _twitter(text: str) -> datetime:
    return datetime.strptime(text, _TWITTER)


def _first(read: Callable[[str, str], datetime], text: str, forms: tuple[str, ...]) -> datetime:
    """By the first of the forms that a text has."""
    for form in forms:
        try:
            return read(text, form)
        except ValueError:
            continue
    raise ValueError(f"no time: {text}")
