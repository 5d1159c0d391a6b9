import json
import subprocess
import sys

import pandas as pd
import pytest

from neural_classifiers.comments import parse_lines
from neural_classifiers.expectations import (
    ValidationError,
    check_comments,
    comment_suite,
    usual_categories,
)

CLASSES = ["games", "sports"]


def table_of(*comments):
    """Rows as they are read; a string stands for a line that is given as it is."""
    lines = [c if isinstance(c, str) else json.dumps(c) for c in comments]
    return parse_lines(list(enumerate(lines, start=1)), "posts.jsonl")


def good(n, *classes):
    """So many sound comments of each class, the classes in turn."""
    return [{"cat": c, "txt": f"{c} {i}"} for i in range(n) for c in classes or CLASSES]


def reasons_of(*bad):
    """Reasons for these rows among enough good ones."""
    checked = check_comments(table_of(*good(50), *bad), CLASSES, name="posts.jsonl")
    return dict(zip(checked.rejected["line"] - 100, checked.rejected["reasons"], strict=True))


@pytest.mark.parametrize(
    ("line", "reasons"),
    [
        ({"cat": "sports", "txt": None}, ["txt: null"]),
        ({"cat": "sports", "txt": ""}, ["txt: empty"]),
        ({"cat": "sports", "txt": " \t\n\u00a0\u3000"}, ["txt: empty"]),
        ({"cat": "sports", "txt": 3}, ["txt: number"]),
        ({"cat": "sports", "txt": 0.5}, ["txt: number"]),
        ({"cat": "sports", "txt": ["a", "b"]}, ["txt: list"]),
        ({"cat": "sports", "txt": {"a": "b"}}, ["txt: object"]),
        ({"cat": "sports", "txt": True}, ["txt: boolean"]),
        ({"cat": "sports"}, ["txt: missing"]),
        ({"cat": "sports", "txt": "\ud83d"}, ["txt: lone surrogate"]),
        ({"cat": "sports", "txt": "[removed]"}, ["txt: removed"]),
        ({"cat": "sports", "txt": "[deleted]"}, ["txt: removed"]),
        ({"cat": "sports", "txt": " [ Removed by Reddit ]\n"}, ["txt: removed"]),
        ({"cat": "sports", "txt": "[deleted by user]"}, ["txt: removed"]),
        ({"cat": None, "txt": "x"}, ["cat: null"]),
        ({"cat": "", "txt": "x"}, ["cat: empty", "cat: unknown category"]),
        ({"cat": 1, "txt": "x"}, ["cat: number"]),
        ({"cat": ["sports"], "txt": "x"}, ["cat: list"]),
        ({"txt": "x"}, ["cat: missing"]),
        ({"cat": "\ude00", "txt": "x"}, ["cat: lone surrogate"]),
        ({"cat": "cooking", "txt": "x"}, ["cat: unknown category"]),
        ({"cat": "Sports", "txt": "x"}, ["cat: unknown category"]),  # names are exact
        ("nonsense", ["line: not JSON"]),
        ('["sports", "x"]', ["line: list"]),
        ("null", ["line: null"]),
        # Every reason is told, in the order of the suite
        ({}, ["cat: missing", "txt: missing"]),
        ({"cat": 7, "txt": " "}, ["cat: number", "txt: empty"]),
        ({"cat": "cooking", "txt": "[removed]"}, ["cat: unknown category", "txt: removed"]),
    ],
)
def test_a_bad_row_is_set_aside_with_every_reason(line, reasons):
    assert reasons_of(line) == {1: reasons}


@pytest.mark.parametrize(
    "text", ["001", "null", "[removed] but quoted", "removed", "[", "a\u0000b", "\N{SOCCER BALL}"]
)
def test_odd_but_sound_texts_are_let_through(text):
    assert reasons_of({"cat": "sports", "txt": text}) == {}


def test_every_row_is_either_let_through_or_set_aside():
    rows = table_of(*good(50), "nonsense", {"cat": "sports"}, *good(50))
    checked = check_comments(rows, CLASSES)
    lines = [*checked.accepted["line"], *checked.rejected["line"]]

    assert sorted(lines) == list(range(1, 203))
    assert checked.rejected["line"].tolist() == [101, 102]
    assert checked.rejected["raw"].tolist() == ["nonsense", '{"cat": "sports"}']
    assert checked.accepted.columns.tolist() == ["line", "cat", "txt"]
    assert checked.accepted["line"].is_monotonic_increasing


def test_the_index_of_the_input_does_not_matter():
    rows = table_of(*good(50), "nonsense").set_index(pd.Index([7] * 101))

    assert check_comments(rows, CLASSES).rejected["line"].tolist() == [101]


def test_five_percent_faulty_rows_pass_and_one_more_does_not():
    faulty = [{"cat": "sports", "txt": None}]

    # 5 of 100 are 5 %; 6 of 101 are 5.9 %
    assert check_comments(table_of(*good(48)[:95], *faulty * 5), CLASSES).report["success"]
    with pytest.raises(ValidationError, match=r"at most 5\.0% .* 6 faulty of 101 \(5\.9%\)"):
        check_comments(table_of(*good(48)[:95], *faulty * 6), CLASSES)


def test_the_message_names_the_file_and_each_reason_with_its_first_lines():
    bad = [{"cat": "sports", "txt": None}] * 4 + [{"cat": "cooking", "txt": 3}]
    with pytest.raises(ValidationError) as stopped:
        check_comments(table_of(*good(10), *bad), CLASSES, name="posts.jsonl")

    assert str(stopped.value).startswith("posts.jsonl: expected at most 5.0%")
    assert "txt: null 4 (lines 21, 22, 23, ...)" in str(stopped.value)
    assert "txt: number 1 (lines 25)" in str(stopped.value)
    assert "unknown categories ['cooking']" in str(stopped.value)
    assert stopped.value.report["reasons"] == {
        "cat: unknown category": 1,
        "txt: null": 4,
        "txt: number": 1,
    }


def test_removed_rows_are_counted_apart_and_not_against_the_limit():
    removed = [{"cat": "sports", "txt": "[removed]"}] * 40
    checked = check_comments(table_of(*good(30), *removed), CLASSES)

    assert len(checked.rejected) == 40
    assert (checked.report["removed"], checked.report["faulty"]) == (40, 0)


def test_a_removed_row_with_another_fault_does_count():
    bad = [{"cat": "cooking", "txt": "[removed]"}] * 6
    with pytest.raises(ValidationError, match=r"6 faulty of 106 \(5\.7%\)"):
        check_comments(table_of(*good(50), *bad), CLASSES)


def test_a_file_of_removed_rows_alone_stops():
    with pytest.raises(ValidationError, match=r"got 0 faulty of 20 .* and 0 accepted"):
        check_comments(table_of(*[{"cat": "sports", "txt": "[deleted]"}] * 20), CLASSES)


def test_a_file_of_bad_rows_alone_stops_whatever_the_limit():
    with pytest.raises(ValidationError, match="and 0 accepted: txt: null 20"):
        check_comments(table_of(*[{"cat": "sports", "txt": None}] * 20), CLASSES, max_rejected=1)


def test_fewer_than_two_categories_stop_the_run():
    with pytest.raises(ValidationError, match=r"at least 2 categories.* got 20 .*: 'sports' 20"):
        check_comments(table_of(*good(20, "sports")), name="posts.jsonl")


@pytest.mark.parametrize("categories", [None, [*CLASSES, "science"]])
def test_a_category_with_fewer_rows_than_folds_stops_the_run(categories):
    rows = table_of(*good(20), *good(4, "science"))
    with pytest.raises(ValidationError, match=r"at least 5 rows of every category.*'science' 4"):
        check_comments(rows, categories, folds=5)

    assert check_comments(rows, categories, folds=4).report["success"]


def test_a_named_category_without_any_row_stops_the_run():
    with pytest.raises(ValidationError, match=r"rarest first: 'science' 0, 'games' 20"):
        check_comments(table_of(*good(20)), [*CLASSES, "science"])


def test_rows_are_counted_for_the_folds_after_the_bad_ones_are_gone():
    rows = table_of(*good(100), *good(4, "science"), {"cat": "science", "txt": None})
    with pytest.raises(ValidationError, match="'science' 4"):
        check_comments(rows, folds=5)


def test_one_category_with_nearly_all_rows_stops_the_run():
    rows = table_of(*good(600, "games"), *good(6, "sports"))  # 600 / 606 = 99.01 %
    with pytest.raises(ValidationError, match="no category above 99% of the rows"):
        check_comments(rows, CLASSES)


def test_too_few_rows_stop_the_run():
    with pytest.raises(ValidationError, match=r"posts\.jsonl: expected at least 41 rows, got 40"):
        check_comments(table_of(*good(20)), CLASSES, min_rows=41, name="posts.jsonl")
    with pytest.raises(ValidationError, match="expected at least 1 rows, got 0"):
        check_comments(table_of(*good(1)).iloc[:0], CLASSES)


def test_a_table_without_one_of_its_columns_stops_the_run():
    with pytest.raises(ValidationError, match=r"expect_table_columns_to_match_set .*txt_type"):
        check_comments(table_of(*good(20)).drop(columns="txt_type"), CLASSES)


def test_labels_of_at_least_one_percent_are_the_categories():
    # 2 of 200 are 1 %, 1 of 200 is less; rows without a label do not count
    comments = [*good(98), *good(2, "science"), {"cat": "sprots", "txt": "x"}, *good(1, "a")]
    rows = table_of(*comments, *[{"cat": None, "txt": "x"}] * 50)

    assert usual_categories(rows) == ["games", "science", "sports"]


def test_a_blank_label_is_never_a_category():
    assert usual_categories(table_of(*good(10), *good(10, " "))) == CLASSES


def test_rows_with_a_rare_label_are_set_aside_unless_it_is_named():
    rows = table_of(*good(1000), *good(8, "science"))

    assert len(check_comments(rows).rejected) == 8
    assert len(check_comments(rows, [*CLASSES, "science"]).rejected) == 0


def test_shares_are_those_of_the_rows_let_through():
    rows = table_of(*good(60, "games"), *good(38, "sports"), *["nonsense", {"cat": "games"}])
    shares = check_comments(rows).shares

    assert shares["cat"].tolist() == CLASSES
    assert shares["rows"].tolist() == [60, 38]
    assert shares["share"].tolist() == pytest.approx([60 / 98, 38 / 98])


def test_the_report_is_plain_json_with_every_expectation():
    removed = {"cat": "games", "txt": "[removed]"}
    report = check_comments(table_of(*good(50), "nonsense", removed), CLASSES).report
    expectations = report["expectations"]

    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert (report["rows"], report["accepted"], report["rejected"]) == (102, 100, 2)
    assert report["reasons"] == {"line: not JSON": 1, "txt: removed": 1}
    assert len(expectations) == len(comment_suite(CLASSES).expectations) + 3
    assert [(e["kwargs"]["column"], e["unexpected"]) for e in expectations if e["unexpected"]] == [
        ("line_type", 1),
        ("txt", 1),
    ]


def test_checking_writes_no_file_opens_no_connection_and_prints_nothing(tmp_path):
    # A process of its own: an audit hook cannot be taken away again
    watched = """
import json, sys
from neural_classifiers.comments import parse_lines
from neural_classifiers.expectations import check_comments, comment_suite
comments = [{"cat": c, "txt": "x"} for c in ("games", "sports") for _ in range(50)] + [{}]
rows = parse_lines(list(enumerate(map(json.dumps, comments), start=1)), "posts.jsonl")
comment_suite(["games"])  # imports Great Expectations
seen = []
def hook(event, args):
    writes = event == "open" and (set(args[1] or "") & set("wax+") or args[2] & 3)
    if writes or event in ("os.mkdir", "os.rename", "socket.connect", "socket.getaddrinfo"):
        seen.append((event, str(args)))
sys.addaudithook(hook)
check_comments(rows)
assert not seen, seen
"""
    ran = subprocess.run(
        [sys.executable, "-B", "-c", watched], capture_output=True, text=True, cwd=tmp_path
    )

    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
    assert list(tmp_path.iterdir()) == []
