"""Files over HTTPS, for a link that breaks: resumed where they stopped, checked for length.

One file after the other over one connection. A file that came whole is not asked for again; of one
that broke off, the rest is asked for with ``If-Range``, so that bytes of two versions never end up
in one file. Times out, truncated, 429 and 5xx: tried again after the server's ``Retry-After`` or a
pause that doubles. Any other answer is final.
"""

import email.utils
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

TRIES = 5
TIMEOUT_S = 30.0
PAUSE_S = 1.0  # before the second try; doubled before each further one
MAX_PAUSE_S = 60.0
AGENT = "neural-classifiers"


class HttpError(RuntimeError):
    """A file that cannot be had: which, what was expected and what came."""


class _PassingError(Exception):
    """A fault that may pass; `pause_s` is what the server asked for."""

    def __init__(self, message: str, pause_s: float | None = None) -> None:
        super().__init__(message)
        self.pause_s = pause_s


def fetch(
    address: str,
    files: Sequence[str],
    folder: Path,
    pause: Callable[[float], None] = time.sleep,
    timeout_s: float = TIMEOUT_S,
) -> None:
    """Get files below an address into a folder.

    Parameters
    ----------
    address : str
        Ends in a slash.
    files : sequence of str
        Their names below it.
    folder : Path
        Exists. A file that is there is whole; ``<name>.part`` holds what came of one that is not.
    pause : callable
        Waits so many seconds.
    timeout_s : float
        For an answer, and between two pieces of one.

    Raises
    ------
    HttpError
        On a final answer, or after five tries; what came stays for the next call.
    """
    import httpx

    limits = httpx.Limits(max_connections=1, max_keepalive_connections=1)
    headers = {"Accept-Encoding": "identity", "User-Agent": AGENT}  # lengths as they are
    with httpx.Client(limits=limits, headers=headers, timeout=timeout_s) as client:
        for file in files:
            if not (folder / file).is_file():
                _fetch(client, address + file, folder / file, pause)


def _fetch(client: Any, address: str, path: Path, pause: Callable[[float], None]) -> None:
    import httpx

    part = path.with_name(f"{path.name}.part")
    part.parent.mkdir(parents=True, exist_ok=True)
    for number in range(1, TRIES + 1):
        try:
            _continue(client, address, part)
            break
        except (_PassingError, httpx.TransportError) as error:
            if number == TRIES:
                raise HttpError(
                    f"{address}: expected the file, got {_in_words(error)} in {TRIES} tries"
                ) from error
            asked = getattr(error, "pause_s", None)
            pause(min(PAUSE_S * 2 ** (number - 1) if asked is None else asked, MAX_PAUSE_S))
    part.replace(path)
    _mark_of(part).unlink(missing_ok=True)


def _continue(client: Any, address: str, part: Path) -> None:
    """Get what is missing of a file."""
    mark = _mark_of(part)
    headers = {}
    if part.is_file() and mark.is_file():  # without the server's mark, it could be another version
        headers = {"Range": f"bytes={part.stat().st_size}-", "If-Range": mark.read_text()}
    with client.stream("GET", address, headers=headers) as answer:
        if answer.status_code == 429 or answer.status_code >= 500:
            raise _PassingError(f"status {answer.status_code}", _retry_after(answer.headers))
        if answer.status_code == 416:
            part.unlink()
            raise _PassingError("a file that became shorter")
        if answer.status_code not in (200, 206):
            raise HttpError(f"{address}: expected the file, got status {answer.status_code}")
        goes_on = answer.status_code == 206
        start = part.stat().st_size if goes_on else 0
        if goes_on and not answer.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
            part.unlink()
            raise _PassingError(
                f"another piece than asked for: {answer.headers.get('Content-Range')}"
            )
        etag = answer.headers.get("ETag", "")
        if etag and not etag.startswith("W/"):  # a weak one promises no equal bytes
            mark.write_text(etag)
        else:
            mark.unlink(missing_ok=True)
        with part.open("ab" if goes_on else "wb") as file:
            for piece in answer.iter_raw():
                file.write(piece)
        expected = start + int(answer.headers.get("Content-Length", part.stat().st_size - start))
    if (got := part.stat().st_size) != expected:
        raise _PassingError(f"{got:,} of {expected:,} bytes")


def _mark_of(part: Path) -> Path:
    return part.with_name(f"{part.name}.etag")


def _retry_after(headers: Any) -> float | None:
    """Seconds that the server asks for, as a number or as a date."""
    told = headers.get("Retry-After", "")
    if told.isdecimal():
        return float(told)
    try:
        moment = email.utils.parsedate_to_datetime(told)
    except ValueError:
        return None
    return max((moment - datetime.now(UTC)).total_seconds(), 0.0)


def _in_words(error: BaseException) -> str:
    return str(error) or type(error).__name__
