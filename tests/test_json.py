"""JSON is read by RFC 8259: what it refuses is refused, what it allows is read."""

import json
import re
from pathlib import Path

import pydantic_core
import pytest
from hypothesis import given
from hypothesis import strategies as st
from json_texts import BAD_UTF8, FREE, INVALID, TEXTS, VALID

from neural_classifiers.comments.strict_json import MAX_DEPTH, read_json


def test_the_document_says_how_many_texts_there_are():
    document = (Path(__file__).parents[1] / "docs" / "json.md").read_text(encoding="utf-8")
    counts = [int(n) for n in re.findall(r"\| (\d+) \|", document)]

    assert counts == [len(VALID), len(INVALID), len(FREE), len(TEXTS)]


def test_every_text_meets_its_fate():
    wrong = [
        (text[:60], kind, read_json(text).kind)
        for text, kind in TEXTS
        if read_json(text).kind != kind
    ]
    assert wrong == []


def test_another_reader_agrees_wherever_the_rfc_decides():
    """Pydantic's parser, which is no kin of Python's, as a second opinion on our table."""

    def takes(text):
        try:
            pydantic_core.from_json(text, allow_inf_nan=False)
        except ValueError:
            return False
        return True

    assert [text for text, _ in VALID if not takes(text)] == []
    assert [text for text, _ in INVALID if takes(text)] == []


def test_what_is_read_has_the_values_that_python_reads():
    for text, kind in VALID:
        if kind == "object":
            assert dict(read_json(text).values) == json.loads(text)


def test_a_name_given_twice_is_told_with_its_last_value():
    read = read_json(b'{"a":1,"b":{"c":1,"c":2},"\\u0061":2}')

    assert read.twice == {"a"}  # of the object itself, not of those inside it
    assert read.values["a"] == 2


def test_the_depth_that_is_read_does_not_depend_on_the_caller():
    def deeper(n):
        return read_json(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH).kind if n == 0 else deeper(n - 1)

    assert deeper(0) == deeper(400) == "list"


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused_and_never_raise(content):
    read = read_json(content)

    assert isinstance(read.kind, str)
    assert (read.values == {}) or read.kind == "object"


@given(st.recursive(
    st.none() | st.booleans() | st.integers(-10**6, 10**6) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
))  # fmt: skip
def test_whatever_python_writes_is_read(value):
    try:
        text = json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        text = json.dumps(value).encode()
    kinds = {dict: "object", list: "list", str: "string", bool: "boolean", int: "number"}
    assert read_json(text).kind == kinds.get(type(value), "null")


@pytest.mark.parametrize("bad", BAD_UTF8)
def test_bytes_that_are_no_utf_8_are_refused_wherever_they_stand(bad):
    assert read_json(bad).kind == "not UTF-8"
    assert read_json(b'{"' + bad + b'": 1}').kind == "not UTF-8"
