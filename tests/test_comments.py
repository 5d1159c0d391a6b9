import json
from io import BytesIO

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neural_classifiers.comments import (
    VADER_FILES,
    CommentFileError,
    parse_lines,
    read_json_lines,
    sample_lines,
    vader_to_json_lines,
)

GOOD = b'{"cat": "sports", "txt": "Barely better"}\n'


def read(content, **options):
    return read_json_lines(BytesIO(content), "posts.jsonl", **options)


def row_of(line):
    """The row that one line becomes, beside a good one."""
    return read(GOOD + line.encode() + b"\n").rows.iloc[1]


def numbered(n):
    return [(i, f"row {i}") for i in range(1, n + 1)]


def test_each_line_becomes_a_row_with_its_number_and_text():
    rows = read(GOOD + b'{"txt": "Halo", "cat": "video_games", "ups": 3}\n').rows

    assert rows["line"].tolist() == [1, 2]
    assert rows["cat"].tolist() == ["sports", "video_games"]
    assert rows["txt"].tolist() == ["Barely better", "Halo"]
    assert rows["raw"][1] == '{"txt": "Halo", "cat": "video_games", "ups": 3}'
    assert set(rows["line_type"]) == {"object"}
    assert set(rows["cat_type"]) == set(rows["txt_type"]) == {"string"}


@pytest.mark.parametrize(
    ("value", "came"),
    [
        ("null", "null"),
        ("3", "number"),
        ("0.5", "number"),
        ("9" * 5000, "number"),  # more digits than Python's int takes from a string
        ("1e999", "number"),
        ("true", "boolean"),
        ('["a"]', "list"),
        ('{"a": 1}', "object"),
        (r'"\ud83d"', "lone surrogate"),
        (r'"\ud83d\ude00"', "string"),  # a whole pair is one character
        (r'"a\u0000b"', "string"),
        ('"001"', "string"),
        ('""', "string"),
    ],
)
def test_a_field_tells_what_came(value, came):
    as_text = row_of(f'{{"cat": "sports", "txt": {value}}}')
    as_label = row_of(f'{{"cat": {value}, "txt": "x"}}')

    assert (as_text["txt_type"], as_text["cat_type"]) == (came, "string")
    assert (as_label["txt_type"], as_label["cat_type"]) == ("string", came)
    expected = json.loads(value) if came == "string" else None
    for field in (as_text["txt"], as_label["cat"]):
        assert field == expected or (expected is None and pd.isna(field))


def test_a_missing_field_is_told_from_a_null():
    assert row_of('{"cat": "sports"}')["txt_type"] == "missing"
    assert row_of('{"txt": "x"}')["cat_type"] == "missing"


@pytest.mark.parametrize(
    ("line", "came"),
    [
        ('["sports", "x"]', "list"),
        ('"sports"', "string"),
        ("null", "null"),
        ("3", "number"),
        ("sports", "not JSON"),
        ('{"cat": "sports", "txt": "x"', "not JSON"),  # cut off
        ('{"cat": "sports", "txt": "x"} {}', "not JSON"),
        ('{"cat": "sports", "txt": "x",}', "not JSON"),
        ("{'cat': 'sports', 'txt': 'x'}", "not JSON"),
        ('{"cat": "sports", "txt": "a\tb"}', "not JSON"),  # a bare control character
        ('{"cat": "sports", "txt": NaN}', "not JSON"),  # Python's parser would take these three
        ('{"cat": "sports", "txt": Infinity}', "not JSON"),
        ('{"cat": "sports", "txt": "x", "ups": -Infinity}', "not JSON"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_a_line_that_is_no_object_is_kept_as_it_came(line, came):
    row = row_of(line)

    assert (row["line"], row["raw"], row["line_type"]) == (2, line, came)
    assert row[["cat", "cat_type", "txt", "txt_type"]].isna().all()


def test_a_name_given_twice_counts_with_its_last_value():
    assert row_of('{"cat": "sports", "txt": "first", "txt": "last"}')["txt"] == "last"


def test_blank_lines_are_counted_and_are_no_rows():
    got = read(b"\n" + GOOD + b" \t\r\n" + GOOD + b"\n")

    assert (got.n_rows, got.n_blank) == (2, 3)
    assert got.rows["line"].tolist() == [2, 4]


def test_a_byte_order_mark_crlf_and_a_last_line_without_end_change_nothing():
    plain = read(GOOD + GOOD).rows
    windows = read(b"\xef\xbb\xbf" + GOOD.strip() + b"\r\n" + GOOD.strip()).rows

    pd.testing.assert_frame_equal(plain, windows)


def test_columns_go_by_the_names_given():
    line = b'{"body": "Halo", "topic": "video_games"}\n'
    row = read(line, text_column="body", label_column="topic").rows.iloc[0]

    assert (row["cat"], row["txt"]) == ("video_games", "Halo")


def test_rows_survive_a_parquet_file():
    rows = read(GOOD + rb'{"cat": null, "txt": "\ud83d"}' + b"\nnonsense\n").rows
    stored = BytesIO()
    rows.to_parquet(stored)

    pd.testing.assert_frame_equal(pd.read_parquet(stored), rows)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "posts.jsonl: expected a JSON object on each line, got 0 bytes"),
        (b"\n\r\n", "posts.jsonl: expected a JSON object on each line, got 2 blank lines"),
        # {"cat": " is nine bytes, then comes "é" in Latin-1
        (GOOD + b'{"cat": "\xe9"}\n', "posts.jsonl:2: expected UTF-8, got byte 0xe9 at byte 10"),
        (b"\xff\xfe{\x00", "posts.jsonl:1: expected UTF-8, got byte 0xff at byte 1"),
        (
            b"cat,txt\nsports,x\n",
            "posts.jsonl:1: expected a JSON object on each line, got none in 2",
        ),
        (b'\n[{"cat": "a", "txt": "b"}]', r"posts.jsonl:2: .* none in 1 rows \(this one: list\)"),
        (b'{"txt": "x"}\n{"label": "a"}', r"a field 'cat', got only \['label', 'txt'\] in 2 rows"),
        (b'{"cat": "sports"}\n', r"posts.jsonl: expected a field 'txt', got only \['cat'\]"),
    ],
)
def test_a_file_that_holds_no_comments_says_what_it_holds(content, message):
    with pytest.raises(CommentFileError, match=message):
        read(content)


def test_a_byte_that_is_no_utf_8_is_told_by_its_offset_in_the_file():
    with pytest.raises(CommentFileError, match=f"offset {len(GOOD) + 9} of the file"):
        read(GOOD + b'{"cat": "\xe9"}\n')
    with pytest.raises(CommentFileError, match="at byte 13 of the line, offset 12 of the file"):
        read(b'\xef\xbb\xbf{"cat": "\xe9"}\n')


def test_one_object_is_enough_for_the_file_to_be_read():
    assert read(b"nonsense\n" + GOOD).rows["line_type"].tolist() == ["not JSON", "object"]


def test_one_column_cannot_be_text_and_label():
    with pytest.raises(ValueError, match="expected two columns, got 'cat'"):
        read(GOOD, text_column="cat")


@pytest.mark.parametrize(("n", "drawn"), [(2, 2), (2999, 2999), (3000, 3000), (3001, 3000)])
def test_unless_a_sample_is_named_3000_rows_are_drawn_or_all(n, drawn):
    assert len(sample_lines(numbered(n), "posts.jsonl")) == drawn


def test_a_sample_is_drawn_without_replacement_and_keeps_order_and_numbers():
    drawn = sample_lines(numbered(1000), "posts.jsonl", 300)

    assert len(set(drawn)) == 300
    assert drawn == sorted(drawn)
    assert set(drawn) < set(numbered(1000))


def test_the_seed_decides_the_sample():
    first, again = (sample_lines(numbered(100), "posts.jsonl", 10) for _ in range(2))

    assert first == again
    assert first != sample_lines(numbered(100), "posts.jsonl", 10, seed=35)


def test_every_row_is_as_likely_to_be_drawn():
    times = pd.Series(0, index=range(1, 11))
    for seed in range(1000):
        times[[number for number, _ in sample_lines(numbered(10), "posts.jsonl", 3, seed)]] += 1

    # 300 expected of 1,000 draws; standard deviation sqrt(1000 x 0.3 x 0.7) = 14.5
    assert times.between(300 - 5 * 14.5, 300 + 5 * 14.5).all()


def test_a_sample_larger_than_the_file_is_refused():
    with pytest.raises(CommentFileError, match=r"posts\.jsonl: .* at least 5,000 rows .*, got 2"):
        read(GOOD + b"\n" + GOOD, sample=5000)


@pytest.mark.parametrize("sample", [0, -1])
def test_a_sample_of_nothing_is_refused(sample):
    with pytest.raises(ValueError, match=f"sample: expected at least 1 row, got {sample}"):
        read(GOOD, sample=sample)


def test_rows_are_drawn_before_they_are_judged():
    bad = b'{"cat": null, "txt": null}\n'
    rows = read(GOOD * 50 + bad * 50, sample=40).rows

    assert len(rows) == 40
    assert (rows["cat_type"] == "null").sum() > 0


@settings(deadline=None)  # other work on the machine is no failure
@given(st.lists(st.one_of(st.binary(max_size=30), st.just(GOOD), st.just(b"\n"))))
def test_whatever_the_bytes_every_line_is_a_row_or_blank_or_the_file_is_refused(parts):
    content = b"".join(parts)
    try:
        got = read(content)
    except CommentFileError:
        return
    assert len(got.rows) == got.n_rows
    assert got.n_rows + got.n_blank == len(list(BytesIO(content)))


json_values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(),
    ),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@settings(deadline=None)
@given(json_values, json_values)
def test_a_string_is_taken_as_it_is_and_nothing_else_is_taken_for_one(cat, txt):
    row = parse_lines([(1, json.dumps({"cat": cat, "txt": txt}))], "posts.jsonl").iloc[0]

    for field, value in (("cat", cat), ("txt", txt)):
        assert (row[f"{field}_type"] == "string") == isinstance(value, str)
        assert row[field] == value if isinstance(value, str) else pd.isna(row[field])


def table(*rows):
    return "\r\n".join(["id\tsentiment\ttext", *rows]).encode()


def test_the_published_tables_become_json_lines():
    # Rows in the shape of the data set's: CRLF, no end after the last, doubled apostrophes
    contents = {
        "tweet": table('1\t2.7\tYay. \N{POUND SIGN}1000 &amp; "more" ;)', "2\t-1\tcierra"),
        "news": table("1_1\t0.4\tThe ''First''"),
    }
    lines = vader_to_json_lines(contents).decode().splitlines()

    assert [json.loads(line) for line in lines] == [
        {"cat": "news", "txt": "The ''First''"},
        {"cat": "tweet", "txt": 'Yay. \N{POUND SIGN}1000 &amp; "more" ;)'},
        {"cat": "tweet", "txt": "cierra"},
    ]


def test_the_four_published_files_have_a_category_each():
    assert sorted(VADER_FILES) == ["movie_review", "news", "product_review", "tweet"]
    assert len(set(VADER_FILES.values())) == 4


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"news \(nytEditorialSnippets_GroundTruth.txt\): .* got 0 bytes"),
        (b"text\r\nA row", r"\.txt\):1: expected the header id, sentiment, text, got \['text'\]"),
        (table("1\t0.4\ta", "2\t0.4"), r"\.txt\):3: expected 3 columns, got 2"),
        (table("1\t0.4\tclich\xe9").decode().encode("latin-1"), r"\.txt\):2: expected UTF-8"),
    ],
)
def test_a_published_table_of_another_shape_is_refused(content, message):
    with pytest.raises(CommentFileError, match=message):
        vader_to_json_lines({"news": content})
