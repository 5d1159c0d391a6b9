"""Parameters that cannot be are refused by name, in words, before a flow begins."""

import re

import pytest
from prefect.exceptions import ParameterTypeError

from flows.classifiers import train_classifiers
from flows.comments import classify_comments
from flows.digits import classify_digits

CANNOT_BE = [
    (classify_comments, {"folds": 1}, "folds: expected 2 or more, got 1"),
    (classify_comments, {"seed": -1}, "seed: expected from 0 to 4294967295, got -1"),
    (train_classifiers, {"seed": 2**32}, "seed: expected from 0 to 4294967295, got 4294967296"),
    (classify_comments, {"train_fraction": 1.0}, "a number between 0 and 1, got 1.0"),
    (classify_comments, {"train_fraction": float("nan")}, "a number between 0 and 1, got nan"),
    (classify_comments, {"sample": 0}, "sample: expected 1 or more, got 0"),
    (classify_comments, {"search_sample": -3}, "search_sample: expected 1 or more, got -3"),
    (classify_comments, {"categories": ["sports", "sports"]}, "expected at least 2 categories"),
    (classify_comments, {"limits": {"faulty": 2}}, "limits: expected faulty in [0, 1], got 2"),
    (classify_comments, {"cleaning": "notbook"}, "cleaning: expected one of ['default', "),
    (classify_comments, {"cleaning": {"stem": "all"}}, "cleaning: stem: expected one of "),
    (classify_comments, {"scikit_grid": {"alpha": []}}, "scikit_grid: expected parameters with"),
    (classify_comments, {"keras_grid": {"epochs": [float("inf")]}}, "values that JSON can hold"),
    (classify_digits, {"sample": 0}, "sample: expected 1 or more, got 0"),
    (classify_digits, {"seeds": [1, -1]}, "seeds.1: expected from 0 to 4294967295, got -1"),
    (classify_digits, {"presets": {}}, "presets: expected at least one preset, got none"),
]


@pytest.mark.parametrize(("flow", "asked", "message"), CANNOT_BE)
def test_a_parameter_that_cannot_be_is_refused_by_name(flow, asked, message):
    with pytest.raises(ParameterTypeError, match=re.escape(message)):
        flow.validate_parameters(asked)


@pytest.mark.parametrize("sample", ["all", 1, None])
def test_a_parameter_that_can_be_is_let_through(sample):
    assert classify_comments.validate_parameters({"sample": sample})["sample"] == sample
