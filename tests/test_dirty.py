import json
import re
from collections import Counter
from io import BytesIO

import pytest
from dirty import CATEGORIES, FAULTS, dirty_lines, fault_of

from neural_classifiers.comments.rows import Layout, Part, read_comments


def test_a_line_depends_on_its_number_and_seed_alone():
    lines = list(dirty_lines(300))

    assert list(dirty_lines(100, start=200)) == lines[200:]
    assert list(dirty_lines(300)) == lines
    assert list(dirty_lines(300, seed=35)) != lines


def test_each_fault_has_its_share_and_is_what_it_says():
    n = 5000
    lines = list(dirty_lines(n))
    found = Counter(fault_of(i) for i in range(n))
    for fault, share in FAULTS.items():
        # five standard deviations of a binomial
        assert abs(found[fault] - n * share) < 5 * (n * share) ** 0.5
    content = b"".join(lines)
    rows = [
        row
        for batch in read_comments([Part("x", lambda: BytesIO(content))], Layout())
        for row in batch.to_pylist()
    ]
    kinds = {"not JSON": "not JSON", "not UTF-8": "not UTF-8"}
    for i, row in enumerate(rows):
        fault = fault_of(i)
        if fault != "duplicate":
            assert row["line_type"] == kinds.get(fault, "object")
            assert (row["txt"] == "[removed]") == (fault == "removed")
            assert (row["txt_type"] == "null") == (fault == "null text")
            assert (row["txt_type"] == "lone surrogate") == (fault == "lone surrogate")
            if row["cat"]:
                assert (row["cat"] not in CATEGORIES) == (fault == "unknown category")


def test_the_vocabulary_grows_as_that_of_real_comments():
    def n_words(n):
        texts = (json.loads(line)["txt"] for line in dirty_lines(n, faults={}))
        return len({word for text in texts for word in re.findall(r"[a-z]+", text.lower())})

    few, many = n_words(400), n_words(3200)
    assert 8**0.4 < many / few < 8**0.8  # 8 times the comments; what real texts have


@pytest.mark.parametrize("faults", [{"no such": 0.1}, {"removed": 0.7, "duplicate": 0.7}])
def test_faults_that_cannot_be_are_refused(faults):
    with pytest.raises(ValueError, match="faults: expected"):
        next(dirty_lines(1, faults=faults))
