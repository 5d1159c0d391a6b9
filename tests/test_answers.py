"""Answers of fits: the same bytes for the same answers, seconds apart."""

import numpy as np
import pytest

from neural_classifiers.search.answers import FitAnswer, decode, encode, with_times, without_times

ANSWERS = {"predict": np.array(["a", "b"]), "predict_proba": np.array([[0.9, 0.1], [0.2, 0.8]])}


def test_equal_answers_are_equal_bytes_once_the_seconds_are_apart():
    slow = encode(FitAnswer(ANSWERS, np.array(["a", "b"]), 2.5, 0.5))
    fast = encode(FitAnswer(ANSWERS, np.array(["a", "b"]), 1.5, 0.25))

    assert slow != fast
    assert without_times(slow)[0] == without_times(fast)[0]
    assert without_times(slow)[1] == [2.5, 0.5]


def test_seconds_come_back_to_the_answers_they_belong_to():
    content = encode(FitAnswer(ANSWERS, np.array(["a", "b"]), 2.5, 0.5))
    again = with_times(*without_times(content))

    assert again == content
    assert decode(again).fit_seconds == 2.5


def test_bytes_that_are_no_answer_are_refused():
    with pytest.raises(ValueError, match="expected an encoded answer, got 7 bytes"):
        without_times(b"damaged")
