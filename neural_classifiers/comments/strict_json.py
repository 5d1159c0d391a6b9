"""JSON texts read strictly by RFC 8259: what it refuses is refused, what it allows is read.

Python's parser does the work; this module refuses what that lets through, and decides what the
RFC leaves open. ``docs/json.md`` lists the decisions, ``tests/json_texts.py`` has a text for each.
"""

import json
import re
from collections import Counter
from collections.abc import Mapping
from itertools import accumulate
from types import MappingProxyType
from typing import Any, NamedTuple, NoReturn

MAX_DEPTH = 256  # of lists and objects inside each other; Python's parser would end near 1,000,
# earlier the deeper its caller stands, so a limit of our own is the same everywhere

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
OBJECT = "object"

_TYPES = {
    str: "string",
    type(None): "null",
    bool: "boolean",
    int: "number",
    float: "number",
    list: "list",
    dict: OBJECT,
}
_TOKENS = re.compile(r'"(?:[^"\\]|\\.)*"?|[][{}]', re.DOTALL)  # strings and brackets


class Fields(NamedTuple):
    """Fields of a text that is an object; or its kind, or why it was refused.

    Attributes
    ----------
    kind : str
        "object", "list", "string", "number", "boolean" or "null"; else why the text was refused:
        "not JSON", "not UTF-8" or "nested too deeply".
    values : mapping
        By name; empty where the text is no object. A name given twice has its last value here.
    twice : frozenset of str
        Names that the object gives more than once.
    """

    kind: str
    values: Mapping[str, Any] = MappingProxyType({})
    twice: frozenset[str] = frozenset()


class _Object(dict[str, Any]):
    """An object that gives some names more than once."""

    twice: frozenset[str] = frozenset()


def read_json(text: bytes) -> Fields:
    """Fields of one JSON text; refusing is an answer, never an exception.

    Examples
    --------
    >>> read_json(b'{"cat": "sports"}').values
    {'cat': 'sports'}
    >>> read_json(b"[NaN]").kind
    'not JSON'
    """
    try:
        decoded = text.decode("utf-8")  # refuses overlong forms and surrogates, as it should
    except UnicodeDecodeError:
        return Fields("not UTF-8")
    if decoded.count("[") + decoded.count("{") > MAX_DEPTH and _depth(decoded) > MAX_DEPTH:
        return Fields("nested too deeply")
    try:
        value = _DECODER.decode(decoded)
    except json.JSONDecodeError:
        return Fields("not JSON")
    except RecursionError:
        return Fields("nested too deeply")
    if not isinstance(value, dict):
        return Fields(type_of(value))
    return Fields(OBJECT, value, value.twice if isinstance(value, _Object) else frozenset())


def type_of(value: Any) -> str:
    """The JSON name of a Python value's type; Python's own for what JSON does not have."""
    return _TYPES.get(dict if isinstance(value, dict) else type(value), type(value).__name__)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) == len(pairs):
        return fields
    times = Counter(name for name, _ in pairs)
    repeating = _Object(fields)
    repeating.twice = frozenset(name for name in fields if times[name] > 1)
    return repeating


def _refuse(constant: str) -> NoReturn:
    raise json.JSONDecodeError(f"{constant} is no JSON", constant, 0)


def _whole(digits: str) -> int | float:
    return int(digits) if len(digits) < 4000 else float(digits)  # int() refuses 4,300


_DECODER = json.JSONDecoder(parse_int=_whole, parse_constant=_refuse, object_pairs_hook=_object)


def _depth(text: str) -> int:
    """Depth of the brackets inside each other, those in strings left out."""
    steps = {"[": 1, "{": 1, "]": -1, "}": -1}
    tokens = (token.group() for token in _TOKENS.finditer(text))
    return max(accumulate(steps.get(token, 0) for token in tokens))
