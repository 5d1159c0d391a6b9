import csv
import gzip
import io
import json
import zipfile
from io import BytesIO

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neural_classifiers.comments import lines
from neural_classifiers.comments.formats import Layout
from neural_classifiers.comments.packing import CommentFileError, Part
from neural_classifiers.comments.rows import (
    count_rows,
    draw_rows,
    open_readers,
    read_parsed_rows,
)
from neural_classifiers.comments.schemas import SCHEMA

GOOD = b'{"cat": "sports", "txt": "Barely better"}\n'
ROWS = [
    {"cat": "sports", "txt": 'He said "no", twice'},
    {"cat": "games", "txt": "two\nlines, one comma"},
    {"cat": "sports", "txt": "Zlatan Ibrahimović \N{SOCCER BALL}"},
    {"cat": "games", "txt": "  spaces, tab\tand semicolon; "},
    {"cat": "games", "txt": "last"},
]


def part(content, name="posts.jsonl", label=None):
    return Part(name, lambda: BytesIO(content), label)


def rows_of(*parts, batch_rows=8192, drawn=None, **layout):
    """All rows of some files, and how many there are."""
    chosen = Layout(**layout)
    readers = open_readers(parts, chosen)
    table = pa.Table.from_batches(read_parsed_rows(readers, chosen, drawn, batch_rows), SCHEMA)
    return table.to_pylist(), count_rows(readers)


def draw(n_rows, sample=None, seed=34):
    return draw_rows(n_rows, "posts", sample, seed)


def read(content, name="posts.jsonl", **layout):
    return rows_of(part(content, name), **layout)[0]


def row_of(line):
    """The row that one line becomes, beside a good one."""
    return read(GOOD + line.encode() + b"\n")[1]


def test_each_line_becomes_a_row_with_its_place_and_bytes():
    second = b'{"txt": "Halo", "cat": "video_games", "ups": 3}'
    row = read(GOOD + second + b"\r\n")[1]

    assert (row["file"], row["line"], row["byte_offset"]) == ("posts.jsonl", 2, len(GOOD))
    assert (row["raw"], row["size"]) == (second, len(second) + 2)
    assert (row["cat"], row["txt"], row["line_type"]) == ("video_games", "Halo", "object")
    assert row["cat_type"] == row["txt_type"] == "string"


@pytest.mark.parametrize(
    ("value", "came"),
    [
        ("null", "null"),
        ("9" * 5000, "number"),  # more digits than Python's int takes from a string
        ("1e999", "number"),
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
    assert as_text["txt"] == as_label["cat"] == expected


def test_a_field_that_is_missing_or_given_twice_is_no_text():
    assert row_of('{"cat": "sports"}')["txt_type"] == "missing"
    assert row_of('{"txt": "x"}')["cat_type"] == "missing"
    row = row_of('{"cat": "sports", "txt": "first", "txt": "last", "ups": 1, "ups": 2}')
    assert (row["txt"], row["txt_type"], row["cat"]) == (None, "given twice", "sports")


@pytest.mark.parametrize(
    ("line", "came"),
    [
        (b'["sports", "x"]', "list"),
        (b"null", "null"),
        (b"sports", "not JSON"),
        (b'{"cat": "sports", "txt": NaN}', "not JSON"),
        (b'{"cat": "caf\xe9"}', "not UTF-8"),
        (b"[" * 100_000, "nested too deeply"),
        (b"\x00\x00", "not JSON"),
    ],
)
def test_a_line_that_is_no_object_is_kept_as_it_came(line, came):
    row = read(GOOD + line + b"\n")[1]

    assert (row["line"], row["raw"], row["line_type"]) == (2, line, came)
    assert all(row[name] is None for name in ("cat", "cat_type", "txt", "txt_type", "time"))


def test_blank_lines_are_counted_and_are_no_rows():
    rows, counted = rows_of(part(b"\n" + GOOD + b" \t\r\n" + GOOD + b"\n"))

    assert counted[:2] == (2, 3)
    assert [row["line"] for row in rows] == [2, 4]


def test_a_line_of_many_megabytes_is_a_row_and_a_longer_one_is_set_aside(monkeypatch):
    long = json.dumps({"cat": "sports", "txt": "a" * 3_000_000}).encode()
    assert len(read(GOOD + long)[1]["txt"]) == 3_000_000

    monkeypatch.setattr(lines, "MAX_ROW_BYTES", 2 * 2**20)
    rows = read(GOOD + long + b"\n" + GOOD)
    assert [row["line_type"] for row in rows] == ["object", "longer than 2 MiB", "object"]
    assert rows[1]["raw"] == long[: lines.BEGINNING_BYTES]
    assert rows[1]["size"] == len(long) + 1
    assert rows[2]["byte_offset"] == len(GOOD) + len(long) + 1


def test_columns_go_by_the_names_given():
    [row] = read(b'{"body": "Halo", "topic": "video_games"}\n', text=("body",), label="topic")

    assert (row["cat"], row["txt"]) == ("video_games", "Halo")


def test_several_text_columns_are_joined_and_the_file_may_tell_the_category():
    content = b"title,selftext,ups\nA save,,3\nA goal,By whom?,4\n"
    rows, _ = rows_of(part(content, "sports.csv", "sports"), text=("title", "selftext"), label=None)

    assert [row["txt"] for row in rows] == ["A save", "A goal\n\nBy whom?"]
    assert {row["cat"] for row in rows} == {"sports"}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("1358872132.0", "2013-01-22T16:28:52+00:00"),
        ('"1358872132"', "2013-01-22T16:28:52+00:00"),  # 1358872132 = 15727 d 16:28:52
        ('"2013-01-22T16:28:52Z"', "2013-01-22T16:28:52+00:00"),
        ('"2013-01-22 17:28:52+01:00"', "2013-01-22T16:28:52+00:00"),
        ('"2013-01-22"', "2013-01-22T00:00:00+00:00"),
        ('"yesterday"', "not a time"),
        ('"nan"', "not a time"),
        ("1e999", "not a time"),
        ("[1]", "not a time"),
        ("null", "null"),
    ],
)
def test_a_time_is_a_moment_or_tells_what_came(value, expected):
    line = f'{{"cat": "a", "txt": "b", "when": {value}}}'.encode()
    [row] = read(line, time="when")
    told = row["time_type"] if row["time"] is None else row["time"].isoformat()

    assert told == expected
    assert row["time_type"] == ("time" if row["time"] else expected)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\xfe{\x00", "posts.jsonl: expected comments, got UTF-16: save it as UTF-8"),
        (b"category,txt\nsports,x\n", "posts.jsonl:1: .* no such row in 2"),
        (b'\n[{"cat": "a", "txt": "b"}]', r"posts.jsonl:2: .* in 1 \(this one: list\)"),
        (b'{"txt": "x"}\n{"label": "a"}', r"a field 'cat', got only \['label', 'txt'\] in 2 rows"),
        (b'{"cat": "sports"}\n', r"posts.jsonl: expected a field 'txt', got only \['cat'\]"),
    ],
)
def test_a_file_that_holds_no_comments_says_what_it_holds(content, message):
    with pytest.raises(CommentFileError, match=message):
        read(content)


def test_one_column_cannot_be_text_and_label():
    with pytest.raises(ValueError, match="expected two columns, got 'cat'"):
        read(GOOD, text=("cat",))


# ---- formats


def as_json_lines():
    return b"".join(json.dumps(row).encode() + b"\n" for row in ROWS)


def as_table(delimiter):
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, ["cat", "ups", "txt"], delimiter=delimiter)
    table.writeheader()
    table.writerows(row | {"ups": 1} for row in ROWS)
    return text.getvalue().encode()


def as_parquet(**options):
    stored = BytesIO()
    pq.write_table(pa.Table.from_pylist([row | {"ups": 1} for row in ROWS]), stored, **options)
    return stored.getvalue()


def as_zip(content, *more):
    stored = BytesIO()
    with zipfile.ZipFile(stored, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.mkdir("folder")
        archive.writestr("folder/posts", content)
        for name in more:
            archive.writestr(name, "x")
    return stored.getvalue()


def as_zstd(content):
    return pa.compress(content, "zstd", asbytes=True)


FORMATS = {
    "JSON Lines": as_json_lines(),
    "JSON Lines with a mark and CRLF, the last line without": (
        b"\xef\xbb\xbf" + as_json_lines().replace(b"\n", b"\r\n").removesuffix(b"\r\n")
    ),
    "CSV": as_table(","),
    "CSV with a mark": b"\xef\xbb\xbf" + as_table(","),
    "TSV": as_table("\t"),
    "CSV with semicolons": as_table(";"),
    "Parquet": as_parquet(),
    "Parquet with a dictionary and snappy": as_parquet(compression="snappy", use_dictionary=True),
}
PACKINGS = {
    "plain": lambda content: content,
    "gzip": gzip.compress,
    "two gzips": lambda content: gzip.compress(content[:50]) + gzip.compress(content[50:]),
    "zstd": as_zstd,
    "zip": as_zip,
    "gzip in zip": lambda content: as_zip(gzip.compress(content)),
}


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("form", FORMATS)
def test_the_same_rows_come_out_of_every_format_and_packing(form, packing):
    content = PACKINGS[packing](FORMATS[form])
    if form.startswith("Parquet") and packing != "plain":
        with pytest.raises(CommentFileError, match="expected Parquet as it is"):
            read(content)
        return
    rows, counted = rows_of(part(content, "export.bin"))  # the name tells nothing

    assert [{"cat": row["cat"], "txt": row["txt"]} for row in rows] == ROWS
    assert counted.rows == len(ROWS)
    assert {row["line_type"] for row in rows} == {"object"}


@pytest.mark.parametrize("form", [f for f in FORMATS if not f.startswith("Parquet")])
def test_the_bytes_of_a_row_stand_where_it_says(form):
    for row in read(FORMATS[form]):
        assert FORMATS[form][row["byte_offset"] :].startswith(row["raw"])


def test_files_of_several_formats_make_one_data_set():
    parts = [part(FORMATS[form], form) for form in ("TSV", "Parquet", "JSON Lines")]
    rows, counted = rows_of(*parts)

    assert counted == (15, 0, ["TSV", "Parquet", "JSON Lines"])
    assert [row["file"] for row in rows] == ["TSV"] * 5 + ["Parquet"] * 5 + ["JSON Lines"] * 5
    assert [row["txt"] for row in rows] == [row["txt"] for row in ROWS] * 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (gzip.compress(GOOD * 500)[:-40], "expected a whole file, got: .* ended before"),
        (gzip.compress(GOOD * 500) + b"junk", "expected a whole file"),
        (as_zstd(GOOD * 500)[:-20], "expected a whole file, got: Truncated"),
        (as_zip(GOOD)[:-30], "expected a whole file"),
        (as_zip(GOOD, "second"), r"expected one file in the zip, got 2: \['folder/posts', 'sec"),
        (as_parquet()[:-20], "expected a whole Parquet"),
        (b"PAR1" + b"\x00" * 100, "expected a whole Parquet"),
        (gzip.compress(gzip.compress(gzip.compress(gzip.compress(GOOD)))), "at most 3 layers"),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else "",
)
def test_a_file_that_is_cut_short_or_packed_oddly_is_refused(content, message):
    with pytest.raises(CommentFileError, match=message):
        read(content)


def test_a_table_without_the_columns_says_what_it_has():
    with pytest.raises(CommentFileError, match=r"the columns \['txt', 'cat'\], got \['a', 'b'\]: "):
        read(b"a,b\n1,2\n", "posts.CSV.gz")
    with pytest.raises(CommentFileError, match=r"expected the columns \['body'\], got"):
        read(as_parquet(), text=("body",))
    with pytest.raises(CommentFileError, match=r"each column once, got \['cat'\] twice"):
        read(b"cat,txt,cat\n1,2,3\n")


def test_a_bad_record_of_a_table_costs_its_line_and_nothing_else():
    content = (
        b'txt,cat\n"a, ""q""\nb",s\n\n"never closed,s\nnext,s\nfew\none,two,three\n'
        b'caf\xe9,s\n5" screen,s\n"stray" x,s\n"good",s'
    )
    told = {row["line"]: row["txt"] or row["line_type"] for row in read(content, "a.csv")}

    assert told == {
        2: 'a, "q"\nb',
        5: "quote never closed",
        6: "next",
        7: "1 columns, not 2",
        8: "3 columns, not 2",
        9: "not UTF-8",
        10: '5" screen',
        11: "stray quotation mark",
        12: "good",
    }


def test_quotes_are_characters_where_a_layout_says_so():
    [row, other] = read(b'cat\ttxt\ns\t"open\ns\tb"c', quoting="none")

    assert (row["txt"], other["txt"]) == ('"open', 'b"c')


def test_values_of_parquet_that_are_no_text_are_named():
    bad = pa.array([b"caf\xe9", None, b"fine"], pa.binary()).view(pa.string())
    stored = BytesIO()
    pq.write_table(pa.table({"txt": bad, "cat": [1, 2, 3]}), stored)
    rows = read(stored.getvalue())

    assert [row["txt_type"] for row in rows] == ["bytes", "null", "string"]
    assert json.loads(rows[2]["raw"]) == {"txt": "fine", "cat": 3}
    assert rows[0]["byte_offset"] is None


# ---- batches and samples


def test_a_sample_of_3000_or_of_all_is_drawn_unless_one_is_named():
    assert draw(2999) is None
    assert draw(3000) is None
    assert len(draw(3001)) == 3000
    assert len(draw(3001, 5)) == 5
    assert draw(3001, "all") is None
    assert draw(100, 10).tolist() == draw(100, 10).tolist() != draw(100, 10, seed=35).tolist()


def test_rows_are_drawn_across_files_and_come_in_their_order():
    lines = [b'{"cat": "a", "txt": "%d"}\n' % i for i in range(100)]
    parts = [part(b"".join(lines[:30]), "a"), part(b"\n" + b"".join(lines[30:]), "b")]
    drawn = draw(100, 40)
    rows, _ = rows_of(*parts, drawn=drawn)

    assert [int(row["txt"]) for row in rows] == drawn.tolist() == sorted(set(drawn.tolist()))


def test_a_sample_larger_than_the_data_or_of_nothing_is_refused():
    with pytest.raises(CommentFileError, match=r"posts: .* at least 5,000 rows .*, got 2"):
        draw(2, 5000)
    with pytest.raises(ValueError, match="sample: expected at least 1 row, got 0"):
        draw(2, 0)


def test_rows_are_drawn_before_they_are_judged():
    bad = b'{"cat": null, "txt": null}\n'
    rows, _ = rows_of(part(GOOD * 50 + bad * 50), drawn=draw(100, 40))

    assert len(rows) == 40
    assert sum(row["cat_type"] == "null" for row in rows) > 0


pieces = st.one_of(
    st.binary(max_size=30),
    st.sampled_from([GOOD, b"\n", b'"', b",", b"\t", b"txt,cat\n", b"\xef\xbb\xbf", b"PK\x03\x04"]),
    st.sampled_from([gzip.compress(GOOD), as_zstd(GOOD), as_zip(GOOD), as_parquet()]),
)


@given(st.lists(pieces, max_size=8), st.integers(1, 5))
def test_whatever_the_bytes_every_row_comes_out_or_the_file_is_refused(parts, batch_rows):
    content = b"".join(parts)
    try:
        rows, counted = rows_of(part(content), batch_rows=batch_rows)
    except CommentFileError:
        return
    assert len(rows) == counted.rows
    plain = not content.startswith((b"\x1f\x8b", b"\x28\xb5", b"PK\x03\x04", b"PAR1"))
    if plain and counted.formats == ["JSON Lines"]:
        assert counted.rows + counted.blank == len(list(BytesIO(content)))
