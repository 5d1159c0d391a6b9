"""An expected error stands once in the log of a run, in words; any other keeps its story."""

import logging
import sys

import pytest

from neural_classifiers.engine.run_log import OnceFilter
from neural_classifiers.errors import SourceError


def record_of(message, *args, error=None):
    try:
        if error:
            raise error
    except type(error):
        return logging.LogRecord("x", 40, "", 1, message, args, sys.exc_info())
    return logging.LogRecord("x", 40, "", 1, message, args, None)


@pytest.mark.parametrize("text", ["a.jsonl: expected rows, got none", 'it\'s "a"\nand more'])
def test_an_expected_error_is_logged_once_and_in_words(text):
    once, error = OnceFilter(), SourceError(text)
    text = str(error)  # with its identifier
    records = [
        record_of("Task run failed with exception: %r", error, error=error),
        record_of(f"Finished in state Failed({f'Task run encountered SourceError: {text}'!r})"),
        record_of("Encountered exception during execution: %r", error, error=error),
        record_of("%s", f"classify-comments: {text}"),
    ]

    logged = [record for record in records if once.filter(record)]

    assert [r.getMessage() for r in logged] == [text, "Finished in state Failed"]
    assert not any(record.exc_info for record in logged)


def test_a_task_that_says_only_how_it_ended_has_said_it():
    once, error = OnceFilter(), SourceError("a.jsonl: expected rows, got none")
    state = record_of("Finished in state Failed('Task run encountered SourceError: %s')", error)
    assert once.filter(state)
    assert not once.filter(record_of("Encountered exception: %r", error, error=error))
    assert state.getMessage().endswith("got none [NC20]')")


def test_an_error_that_nobody_expected_keeps_its_traceback():
    record = record_of("Task run failed", error=ZeroDivisionError("division by zero"))
    assert OnceFilter().filter(record)
    assert record.exc_info[1].args == ("division by zero",)
