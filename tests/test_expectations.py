import json
import re
import subprocess
import sys
from io import BytesIO
from types import SimpleNamespace

import pyarrow as pa
import pytest
from dirty import dirty_lines

from neural_classifiers.comments import validator
from neural_classifiers.comments.drift import Profiler, compare_profiles
from neural_classifiers.comments.expectations import (
    Limits,
    gate_expectations,
    row_expectations,
)
from neural_classifiers.comments.formats import Layout
from neural_classifiers.comments.gx_adapter import as_expectation, broken_rows
from neural_classifiers.comments.packing import Part
from neural_classifiers.comments.rows import open_readers, read_parsed_rows
from neural_classifiers.comments.rules import Rule, row_rules
from neural_classifiers.comments.schemas import ACCEPTED, QUARANTINE
from neural_classifiers.comments.text import english_stop_words
from neural_classifiers.comments.validator import Validator, usual_categories
from neural_classifiers.errors import ValidationError
from neural_classifiers.report.data_docs import render_data_docs

CLASSES = ["games", "sports"]


def table_of(*comments, batch_rows=8192):
    """Batches of rows as they are read; a string stands for a line that is given as it is."""
    lines = [c if isinstance(c, str) else json.dumps(c) for c in comments]
    content = "\n".join(lines).encode()
    part = Part("posts.jsonl", lambda: BytesIO(content))
    readers = open_readers([part], Layout())
    return list(read_parsed_rows(readers, Layout(), None, batch_rows)) if comments else []


def check(batches, categories=CLASSES, folds=5, **options):
    """What the gate found in all batches, with what was accepted and what was quarantined."""
    validator = Validator(categories, folds, **options)
    examined = [validator.examine(batch) for batch in batches]
    for batch in examined:
        validator.add(batch.counts, batch.hashes)
    passed = validator.gate()
    return SimpleNamespace(
        accepted=pa.Table.from_batches([b.accepted for b in examined], ACCEPTED).to_pandas(),
        quarantined=pa.Table.from_batches(
            [b.quarantined for b in examined], QUARANTINE
        ).to_pandas(),
        **passed._asdict(),
    )


def good(n, *classes):
    """So many sound comments of each class, the classes in turn."""
    return [{"cat": c, "txt": f"{c} {i}"} for i in range(n) for c in classes or CLASSES]


BAD = [
    ({"cat": "sports", "txt": None}, ["txt: null"]),
    ({"cat": "sports", "txt": ""}, ["txt: empty"]),
    ({"cat": "sports", "txt": " \t\n\u00a0\u3000"}, ["txt: empty"]),
    ({"cat": "sports", "txt": ["a", "b"]}, ["txt: list"]),
    ({"cat": "sports", "txt": {"a": "b"}}, ["txt: object"]),
    ({"cat": "sports"}, ["txt: missing"]),
    ({"cat": "sports", "txt": "\ud83d"}, ["txt: lone surrogate"]),
    ({"cat": "sports", "txt": "[removed]"}, ["txt: removed"]),
    ({"cat": "sports", "txt": "[deleted]"}, ["txt: removed"]),
    ({"cat": "sports", "txt": " [ Removed by Reddit ]\n"}, ["txt: removed"]),
    ({"cat": "sports", "txt": "[deleted by user]"}, ["txt: removed"]),
    ({"cat": None, "txt": "x"}, ["cat: null"]),
    ({"cat": "", "txt": "x"}, ["cat: empty", "cat: unknown category"]),
    ({"cat": 1, "txt": "x"}, ["cat: unknown category"]),
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
    ({"cat": 7, "txt": " "}, ["cat: unknown category", "txt: empty"]),
    ({"cat": "cooking", "txt": "[removed]"}, ["cat: unknown category", "txt: removed"]),
]


def test_a_bad_row_is_set_aside_with_every_reason():
    rows = table_of(*good(50), *(line for line, _ in BAD))
    found = check(rows, limits=Limits(faulty=1)).quarantined

    assert found["line"].tolist() == list(range(101, 101 + len(BAD)))
    assert [list(reasons) for reasons in found["reasons"]] == [reasons for _, reasons in BAD]


def test_odd_but_sound_texts_are_let_through():
    odd = ["001", "null", "[removed] but quoted", "removed", "[", "a\u0000b", "\N{SOCCER BALL}"]
    checked = check(table_of(*good(50), *({"cat": "sports", "txt": text} for text in odd)))

    assert checked.accepted["txt"].tolist()[100:] == odd
    assert checked.quarantined.empty


def test_every_row_is_either_let_through_or_set_aside():
    rows = table_of(*good(50), "nonsense", {"cat": "sports"}, *good(100)[100:])
    checked = check(rows)
    lines = [*checked.accepted["line"], *checked.quarantined["line"]]

    assert sorted(lines) == list(range(1, 203))
    assert checked.quarantined["line"].tolist() == [101, 102]
    assert checked.quarantined["raw"].tolist() == [b"nonsense", b'{"cat": "sports"}']
    assert checked.accepted["line"].is_monotonic_increasing


@pytest.mark.parametrize("batch_rows", [11, 43, 60])
def test_the_verdict_does_not_depend_on_the_size_of_batches(batch_rows):
    bad = ["nonsense", {"cat": "cooking", "txt": "x"}, {"cat": "games", "txt": "[removed]"}]
    comments = [*good(20), *bad, *good(40)[40:]]
    whole, cut = (check(table_of(*comments, batch_rows=n)) for n in (8192, batch_rows))

    assert cut.report == whole.report
    assert cut.profile == whole.profile
    assert cut.accepted.equals(whole.accepted)
    assert cut.quarantined["line"].tolist() == whole.quarantined["line"].tolist() == [41, 42, 43]
    assert render_data_docs(cut.result) == render_data_docs(whole.result)


def test_five_percent_faulty_rows_pass_and_one_more_does_not():
    faulty = [{"cat": "sports", "txt": None}]

    # 5 of 100 are 5 %; 6 of 101 are 5.9 %
    assert check(table_of(*good(48)[:95], *faulty * 5)).report["success"]
    with pytest.raises(ValidationError, match=r"at most 5\.0% .* 6 faulty of 101 \(5\.9%\)"):
        check(table_of(*good(48)[:95], *faulty * 6))


def test_the_message_names_the_file_and_each_reason_with_its_first_lines():
    bad = [{"cat": "sports", "txt": None}] * 4 + [{"cat": "cooking", "txt": [3]}]
    with pytest.raises(ValidationError) as stopped:
        check(table_of(*good(10), *bad), name="posts.jsonl")

    assert str(stopped.value).startswith("posts.jsonl: expected at most 5.0%")
    assert "txt: null 4 (lines 21, 22, 23, ...)" in str(stopped.value)
    assert "txt: list 1 (lines 25)" in str(stopped.value)
    assert "unknown categories ['cooking']" in str(stopped.value)
    assert stopped.value.report["reasons"] == {
        "cat: unknown category": 1,
        "txt: list": 1,
        "txt: null": 4,
    }


def test_removed_rows_are_counted_apart_and_not_against_the_limit():
    checked = check(table_of(*good(30), *[{"cat": "sports", "txt": "[removed]"}] * 40))

    assert len(checked.quarantined) == 40
    assert (checked.report["removed"], checked.report["faulty"]) == (40, 0)


def test_a_removed_row_with_another_fault_does_count():
    bad = [{"cat": "cooking", "txt": "[removed]"}] * 6
    with pytest.raises(ValidationError, match=r"6 faulty of 106 \(5\.7%\)"):
        check(table_of(*good(50), *bad))


SCIENCE = [*CLASSES, "science"]


@pytest.mark.parametrize(
    ("comments", "categories", "message"),
    [
        ([], CLASSES, "at least 1 rows"),
        (
            [{"cat": "sports", "txt": "[deleted]"}] * 20,
            CLASSES,
            r"some accepted rows.* 0 faulty of 20 .*0 accepted",
        ),
        ([{"cat": "sports", "txt": None}] * 20, CLASSES, r"0 accepted in 2 .* txt: null 20"),
        (good(20, "sports"), ["sports"], r"at least 2 categories.*20 accepted.*'sports' 20"),
        (
            [*good(20), *good(4, "science")],
            SCIENCE,
            r"at least 5 rows of every category.*'science' 4",
        ),
        (good(20), SCIENCE, r"rarest first: 'science' 0, 'games' 20"),
        (
            [*good(600, "games"), *good(6, "sports")],  # 600 / 606 = 99.01 %
            CLASSES,
            "no category above 99% of the rows",
        ),
        ([*good(50), *good(50)], CLASSES, r"at most 40% duplicates; .*50\.0% duplicates"),
    ],
    ids=["no rows", "removed", "bad", "one category", "few", "none", "nearly all", "appended"],
)
def test_comments_that_cannot_be_learned_from_stop_the_run(comments, categories, message):
    with pytest.raises(ValidationError, match=rf"posts\.jsonl: expected .*{message}"):
        check(table_of(*comments), categories, limits=Limits(faulty=1), name="posts.jsonl")


def test_limits_and_folds_that_are_changed_let_through():
    few = table_of(*good(20), *good(4, "science"))

    assert check(few, SCIENCE, folds=4).report["success"]
    assert check(table_of(*good(50), *good(50)), limits=Limits.of({"duplicates": 0.5}))


def test_a_table_without_one_of_its_columns_stops_the_run():
    [batch] = table_of(*good(20))
    with pytest.raises(ValidationError, match=r"expected the columns .*got none .* txt_type"):
        check([batch.drop_columns(["txt_type"])])


@pytest.mark.parametrize(
    ("limits", "message"),
    [({"fautly": 0.1}, "limits among .*'faulty'.*got 'fautly'"), ({"faulty": 2}, "got 2")],
)
def test_a_limit_that_is_none_is_refused(limits, message):
    with pytest.raises(ValueError, match=message):
        Limits.of(limits)


def test_labels_of_at_least_one_percent_are_the_categories():
    counts = {"games": 98, "sports": 99, "science": 2, "sprots": 1}  # 2 of 200 are 1 %
    assert usual_categories(counts) == ["games", "science", "sports"]
    assert usual_categories({"a": 10, " ": 10}) == ["a"]
    assert usual_categories({}) == []


def test_shares_are_those_of_the_rows_let_through():
    rows = table_of(*good(60, "games"), *good(38, "sports"), *["nonsense", {"cat": "games"}])

    assert check(rows).report["shares"] == [
        {"cat": "games", "rows": 60, "share": 60 / 98},
        {"cat": "sports", "rows": 38, "share": 38 / 98},
    ]


def test_the_report_is_plain_json_with_every_expectation():
    removed = {"cat": "games", "txt": "[removed]"}
    report = check(table_of(*good(50), "nonsense", removed)).report

    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert (report["rows"], report["accepted"], report["quarantined"]) == (102, 100, 2)
    assert report["reasons"] == {"line: not JSON": 1, "txt: removed": 1}
    told = report["expectations"]
    whole, categories = gate_expectations(5, Limits(), {})
    assert len(told) == len([*row_expectations(CLASSES), *whole, *categories])
    assert [(e["kwargs"]["column"], e["unexpected"]) for e in told if e["unexpected"]] == [
        ("line_type", 1),
        ("txt", 1),
    ]


def test_the_rules_find_what_great_expectations_finds():
    """Row for row and rule for rule: a second opinion on what training and prediction apply."""
    lines = [line.decode("latin-1") for line in dirty_lines(3000)]
    n_broken = 0
    for batch in table_of(*lines, *(line for line, _ in BAD), batch_rows=1000):
        rows = batch.to_pandas()
        for rule in row_rules(["science_and_technology", "sports", "video_games"]):
            broken = rule.broken_rows(batch[rule.column].to_pylist())
            assert broken_rows(as_expectation(rule), rows, "comments") == (rule.reason, broken)
            n_broken += len(broken)
    assert n_broken > 80


@pytest.fixture
def extend(monkeypatch):
    """Add expectations of a user's own to those about rows, the whole and the categories."""

    def add(rows=(), whole=(), categories=()):
        def of_rows(labels):
            return [*row_expectations(labels), *rows]

        def of_gate(*args):
            ours = gate_expectations(*args)
            return [*ours[0], *whole], [*ours[1], *categories]

        monkeypatch.setattr(validator, "row_expectations", of_rows)
        monkeypatch.setattr(validator, "gate_expectations", of_gate)

    return add


@pytest.mark.parametrize("kind", ["rule", "great expectations"])
def test_an_expectation_that_a_user_adds_is_judged_and_told(extend, kind):
    from great_expectations import expectations as gxe

    too_long = "txt: too long"
    if kind == "rule":
        extend(rows=[Rule("txt", too_long, forbidden=".{21}")])
    else:
        longest = {"column": "txt", "max_value": 20, "meta": {"reason": too_long}}
        extend(rows=[gxe.ExpectColumnValueLengthsToBeBetween(**longest)])
    checked = check(table_of(*good(50), {"cat": "games", "txt": "x" * 21}))

    assert [list(r) for r in checked.quarantined["reasons"]] == [[too_long]]
    assert checked.report["reasons"] == {too_long: 1}
    assert [e["unexpected"] for e in checked.report["expectations"] if e["unexpected"]] == [1]
    assert "x" * 21 in render_data_docs(checked.result)


def test_an_expectation_that_the_whole_breaks_stops_the_run(extend):
    from great_expectations import expectations as gxe

    def most(column, value, **meta):
        return gxe.ExpectColumnMaxToBeBetween(column=column, max_value=value, meta=meta)

    for added, message in (
        ({"categories": [most("share", 0.4, fault="expected no half")]}, r"no half, got 0\.5;"),
        ({"rows": [most("line", 9)]}, r"expect_column_max_to_be_between .*, got 100"),
        ({"whole": [most("lines", 9)]}, r'"lines" .*does not exist'),
    ):
        extend(**added)
        with pytest.raises(ValidationError, match=message):
            check(table_of(*good(50)))


# ---- drift


def profile_of(comments):
    profiler = Profiler(english_stop_words())
    profiler.add([c["txt"] for c in comments], [c["cat"] for c in comments])
    return profiler.profile()


def chatter(
    n, share=0.5, words="goal match boss level", filler="the best of them all was", start=0
):
    """Comments with `share` of sports in English; each its own."""
    names = words.split()
    return [
        {
            "cat": "sports" if i % 100 < 100 * share else "games",
            "txt": f"{filler} {names[i % len(names)]} {names[(i // 7) % len(names)]} no{start + i}",
        }
        for i in range(n)
    ]


BEFORE = chatter(1000)
DRIFTED = {
    "class_drift": chatter(1000, share=0.8, start=1000),
    "length_drift": [c | {"txt": c["txt"] + " goal match" * 20} for c in chatter(1000, start=1000)],
    "vocabulary_drift": chatter(1000, words="atom probe laser orbit", start=1000),
    "language_drift": chatter(1000, filler="das beste von ihnen allen war", start=1000),
}


@pytest.mark.parametrize("measure", DRIFTED)
def test_comments_that_are_no_longer_what_they_were_stop_the_run(measure):
    rows, last = table_of(*DRIFTED[measure]), profile_of(BEFORE)
    with pytest.raises(
        ValidationError, match=r"expected a drift of .* from run-7 .*--despite-drift"
    ) as told:
        check(rows, last=last, last_run="run-7", name="posts.jsonl")

    limits = {m["name"]: m["limit"] for m in told.value.report["drift"]}
    distances = {m["name"]: m["distance"] for m in told.value.report["drift"]}
    assert distances[measure] > limits[measure]
    report = check(rows, last=last, stop_for_drift=False).report
    assert report["success"]
    assert any(measure.split("_")[0] in fault for fault in report["drifted"])


def test_more_of_the_same_is_no_drift():
    report = check(table_of(*chatter(1000, start=1000)), last=profile_of(BEFORE)).report

    assert report["drifted"] == []
    assert {m["name"] for m in report["drift"]} == set(DRIFTED)
    assert len(report["moved_words"]) == 10


def test_distances_are_those_of_the_definitions():
    before = profile_of([{"cat": "a", "txt": "ab"}] * 3 + [{"cat": "b", "txt": "ab"}])
    now = profile_of([{"cat": "a", "txt": "ab"}] * 1 + [{"cat": "c", "txt": "cdcd"}] * 3)
    told = {m.name: m.distance for m in compare_profiles(before, now)}

    # shares 3/4, 1/4, 0 against 1/4, 0, 3/4: (1/2 + 1/4 + 3/4) / 2
    assert told["class_drift"] == pytest.approx(0.75)
    assert told["length_drift"] == pytest.approx(0.75)  # 1 against 1/4 of at most 2 characters
    # "ab" 1 against 1/4, "cdcd" 0 against 3/4; in the middle 5/8 and 3/8:
    # (log2(8/5) + 1/4 log2(2/5) + 3/4 log2(2)) / 2 = (0.6781 - 0.3305 + 0.75) / 2
    assert told["vocabulary_drift"] == pytest.approx(0.5488, abs=1e-4)
    assert told["language_drift"] == 0
    assert all(m.distance == 0 for m in compare_profiles(now, now))


# ---- data docs


def test_the_data_docs_hold_every_expectation_and_load_nothing():
    hostile = {"cat": "<script>alert(1)</script>", "txt": 'x" onload="alert(2) $cat'}
    long = {"cat": "c" * 200, "txt": "x"}
    page = render_data_docs(check(table_of(*good(50), hostile, long)).result)

    assert "<script" not in page
    loads = r"https?:|//[a-z]|url\(|@import|<(?:link|img|iframe|form|input)|src=|href=.(?!#)"
    assert not re.findall(loads, page)
    assert not re.findall(r"<[^>]*\son[a-z]+=", page)
    assert "&lt;script&gt;alert(1)" in page
    assert "c" * 79 + "…" in page
    for column in ("line_type", "cat_type", "txt", "faulty_share", "class_drift", "share"):
        assert column in page
    assert "default-src 'none'" in page


def test_checking_writes_no_file_opens_no_connection_and_prints_nothing(tmp_path):
    # A process of its own: an audit hook cannot be taken away again
    watched = """
import json, sys
from io import BytesIO
from neural_classifiers.comments.formats import Layout, open_reader
from neural_classifiers.comments.packing import Part
from neural_classifiers.comments.rows import read_parsed_rows
from neural_classifiers.comments.validator import Validator
comments = [{"cat": c, "txt": f"x {i}"} for c in ("games", "sports") for i in range(50)] + [{}]
content = b"\\n".join(json.dumps(c).encode() for c in comments)
part = Part("posts.jsonl", lambda: BytesIO(content))
[rows] = read_parsed_rows([open_reader(part, Layout())], Layout())
Validator(["games", "sports"]).examine(rows)
assert "great_expectations" not in sys.modules  # rows wait for no library that they do not need
from great_expectations import expectations
seen = []
def hook(event, args):
    writes = event == "open" and (set(args[1] or "") & set("wax+") or args[2] & 3)
    if writes or event in ("os.mkdir", "os.rename", "socket.connect", "socket.getaddrinfo"):
        seen.append((event, str(args)))
sys.addaudithook(hook)
validator = Validator(["games", "sports"])
examined = validator.examine(rows)
validator.add(examined.counts, examined.hashes)
validator.gate()
assert not seen, seen
"""
    ran = subprocess.run(
        [sys.executable, "-B", "-c", watched], capture_output=True, text=True, cwd=tmp_path
    )

    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
    assert list(tmp_path.iterdir()) == []
