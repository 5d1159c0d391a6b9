"""Files as people have them: any quoting, packing and line end, or a word about a doubt."""

import bz2
import csv
import gzip
import io
import json
import lzma
import os
import random
import tarfile
import time
import zipfile
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import BytesIO

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from neural_classifiers.comments import lines, packing
from neural_classifiers.comments.formats import Layout
from neural_classifiers.comments.labels import alike, same_labels
from neural_classifiers.comments.packing import CommentFileError, Part
from neural_classifiers.comments.rows import count_rows, open_readers, read_parsed_rows
from neural_classifiers.comments.schemas import SCHEMA
from neural_classifiers.comments.validator import usual_categories
from neural_classifiers.errors import SourceError
from tasks.sources import find_source

MANY = [["sports", "games"][i % 2] for i in range(8)]
NAMES = ["cat", "txt"]


def read(content, name="posts.bin", **layout):
    """The rows of a file, as dictionaries of the schema."""
    chosen = Layout(**layout)
    readers = open_readers([Part(name, lambda: BytesIO(content))], chosen)
    table = pa.Table.from_batches(read_parsed_rows(readers, chosen), SCHEMA)
    assert count_rows(readers).rows == table.num_rows
    return table.to_pylist()


def pairs(content, **options):
    return [(row["cat"], row["txt"]) for row in read(content, **options)]


def refused(content, **options):
    with pytest.raises(CommentFileError) as stopped:
        read(content, **options)
    return str(stopped.value)


def table_of(rows, **dialect):
    text = io.StringIO(newline="")
    csv.writer(text, **dialect).writerows([NAMES, *rows])
    return text.getvalue().encode()


def escaped(rows, end="\n"):
    """As MySQL and PostgreSQL write tables."""
    signs = {"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r", "\0": r"\0"}
    cells = [["".join(signs.get(c, c) for c in cell) for cell in row] for row in [NAMES, *rows]]
    return "".join("\t".join(row) + end for row in cells).encode()


def spark(rows):
    """As Spark writes CSV: quotation marks, and escapes before them, are escaped."""
    cells = [[re_escaped(cell) for cell in row] for row in rows]
    return "".join(",".join(row) + "\n" for row in [NAMES, *cells]).encode()


def re_escaped(cell):
    return '"' + cell.replace("\\", "\\\\").replace('"', '\\"') + '"'


def as_tar(content, *others):
    stored = BytesIO()
    with tarfile.open(fileobj=stored, mode="w") as archive:
        for name, inside in [("./day/._posts", b"x"), ("./day/posts", content), *others]:
            member = tarfile.TarInfo(name)
            member.size = len(inside)
            archive.addfile(member, BytesIO(inside))
    return stored.getvalue()


def as_zip(content, *others):
    stored = BytesIO()
    with zipfile.ZipFile(stored, "w") as archive:
        archive.writestr("posts", content)
        for name in others:
            archive.writestr(name, "x")
    return stored.getvalue()


PACKINGS = {
    "plain": lambda content: content,
    "gzip": gzip.compress,
    "gzip with zeros behind": lambda content: gzip.compress(content) + b"\0" * 5000,
    "two gzips": lambda content: gzip.compress(content[:9]) + gzip.compress(content[9:]),
    "bzip2": bz2.compress,
    "two bzip2": lambda content: bz2.compress(content[:9]) + bz2.compress(content[9:]),
    "xz": lzma.compress,
    "lzma": lambda content: lzma.compress(content, lzma.FORMAT_ALONE),
    "zstd": lambda content: pa.compress(content, "zstd", asbytes=True),
    "lz4": lambda content: pa.compress(content, "lz4", asbytes=True),
    "zip": lambda content: as_zip(content, "README.md", "__MACOSX/._posts"),
    "tar": as_tar,
    "tar.gz": lambda content: gzip.compress(as_tar(content)),
    "tar.bz2": lambda content: bz2.compress(as_tar(content)),
}
# How a table is written, and with which options it is read
TABLES = {
    "CSV": (lambda rows: table_of(rows), {}),
    "CSV, all quoted": (lambda rows: table_of(rows, quoting=csv.QUOTE_ALL), {}),
    "CSV, CR": (lambda rows: table_of(rows, lineterminator="\r", quoting=csv.QUOTE_ALL), {}),
    "semicolons": (lambda rows: table_of(rows, delimiter=";", lineterminator="\n"), {}),
    "bars": (lambda rows: table_of(rows, delimiter="|"), {}),
    "sep=": (lambda rows: b"sep=^\r\n" + table_of(rows, delimiter="^"), {}),
    "TSV, quoted": (lambda rows: table_of(rows, delimiter="\t"), {"quoting": "standard"}),
    "TSV": (lambda rows: table_of(rows, delimiter="\t"), {}),
    "Spark": (spark, {"escape": "\\"}),
    "escapes alone": (
        lambda rows: table_of(rows, quoting=csv.QUOTE_NONE, escapechar="\\", quotechar=None),
        {"escape": "\\", "quoting": "none"},
    ),
    "MySQL": (escaped, {"escape": "\\", "quoting": "none"}),
}
OTHERS = {
    "JSON Lines": lambda rows: "".join(
        json.dumps(dict(zip(NAMES, row, strict=True))) + "\n" for row in rows
    ).encode(),
    "Parquet": lambda rows: as_parquet(cat=[r[0] for r in rows], txt=[r[1] for r in rows]),
}


def as_parquet(**columns):
    stored = BytesIO()
    pq.write_table(pa.table(columns), stored)
    return stored.getvalue()


signs = st.sampled_from([*'ab",;|\t\\\n n0N-', "\r\n", '""', "sports", "⚽", "\N{NO-BREAK SPACE}é"])
texts = st.lists(signs, min_size=1, max_size=8).map(lambda signs: f"x{''.join(signs)}")
tables = st.lists(st.tuples(st.sampled_from(["sports", "games"]), texts), min_size=1, max_size=6)


@pytest.mark.parametrize("form", [*TABLES, *OTHERS])
@given(rows=tables, packing_name=st.sampled_from([*PACKINGS]))
@example(rows=[("sports", 'x"a\nb'), ("games", "xb")], packing_name="plain")
@example(rows=[("sports", "x\r\n\\")], packing_name="gzip")
@example(rows=[("sports", 'x"\ngames\tno')], packing_name="plain")
def test_a_table_comes_back_as_it_was_written_or_is_refused(form, rows, packing_name):
    write, options = TABLES.get(form) or (OTHERS[form], {})
    content = write(rows)
    if packing_name != "plain" and form == "Parquet":
        assert "Parquet as it is" in refused(PACKINGS[packing_name](content))
        return
    try:
        came = pairs(PACKINGS[packing_name](content), **options)
    except CommentFileError:
        if form not in ("TSV", "CSV", "CSV, CR", "semicolons", "bars", "sep="):
            raise  # with its options nothing is in doubt
        return
    assert came == rows


@pytest.mark.parametrize("packing_name", PACKINGS)
def test_every_packing_is_read_by_its_content(packing_name):
    rows = [(label, f"x {n}") for n, label in enumerate(MANY)]
    content = PACKINGS[packing_name](OTHERS["JSON Lines"](rows))
    assert pairs(content, name="no ending") == rows


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (gzip.compress(b"x" * 9000)[:-30], "expected a whole file"),
        (bz2.compress(b"x" * 9000)[:-9], "expected a whole file"),
        (lzma.compress(b"x" * 9000)[:-9], "expected a whole file"),
        (gzip.compress(as_tar(b"x" * 9000))[:-30], "expected a whole file"),
        (as_tar(b"a", ("b", b"c")), r"one file in the tar, got 3: \['./day/posts', 'b', '...'\]"),
        (as_tar(b"")[:512], "expected a whole file"),
        (as_zip(b"a", "b"), r"one file in the zip, got 2: \['posts', 'b'\]; unpack it and name"),
        (as_zip(b"a", "[Content_Types].xml"), "an Office document: save it as CSV"),
        (b"7z\xbc\xaf\x27\x1c\0\4", "got 7-Zip: unpack it first"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1", "an Office document: save it"),
        (b"SQLite format 3\0", "got SQLite"),
        (b"\xff\xfec\0a\0t\0", "got UTF-16: save it as UTF-8: iconv -f UTF-16 -t UTF-8"),
    ],
    ids=lambda value: "" if isinstance(value, bytes) else value[:30],
)
def test_what_is_not_read_is_named_with_what_to_do(content, message):
    with pytest.raises(CommentFileError, match=message):
        read(content)


def test_line_ends_and_marks_change_neither_rows_nor_their_places():
    lines_of = ["cat,txt", "sports,one", 'games,"two', 'lines"', "sports,three"]
    for end in ("\n", "\r\n", "\r", "\r\r\n"):
        for mark in (b"", b"\xef\xbb\xbf"):
            for last in ("", end, end * 40):
                content = mark + (end.join(lines_of) + last).encode()
                rows = read(content)
                told = [(row["line"], row["cat"], row["txt"].split()) for row in rows]
                assert told == [
                    (2, "sports", ["one"]),
                    (3, "games", ["two", "lines"]),
                    (5, "sports", ["three"]),
                ]
                for row in rows:
                    assert content[row["byte_offset"] :].startswith(row["raw"])
    rows = read(b'\xef\xbb\xbf{"cat": "a", "txt": "b"}\r\n\r\n{"cat": "a", "txt": "c"}')
    assert [(row["line"], row["byte_offset"]) for row in rows] == [(1, 0), (3, 31)]
    assert pairs(b'{"cat": "a", "txt": "b"}\r{"cat": "a", "txt": "c"}\r') == [
        ("a", "b"),
        ("a", "c"),
    ]
    assert pairs(b'{"cat": "a",\r "txt": "b"}') == [("a", "b")]  # white space, as in JSON


SWALLOWING = [f"{label}\tword {n}" for n, label in enumerate(MANY)]
SWALLOWING[2], SWALLOWING[5] = 'sports\t"word 2', 'games\tword 5"'


def test_a_quotation_mark_swallows_no_rows():
    tsv = "\n".join(["cat\ttxt", *SWALLOWING]).encode()
    assert [row["txt"] for row in read(tsv)][2:6] == ['"word 2', "word 3", "word 4", 'word 5"']
    assert len(read(tsv, quoting="standard")) == 5

    comma = tsv.replace(b"\t", b",")
    assert "posts.bin:4: expected a row, got a quotation mark that makes one cell" in refused(comma)
    assert "--quoting none" in refused(comma)
    assert len(read(comma, quoting="standard")) == 5
    assert len(read(comma, quoting="none")) == 8
    ids = comma.replace(b"cat", b"id").replace(b"sports", b"17").replace(b"games", b"4")
    assert "posts.bin:4:" in refused(ids, label=None)  # prediction, by the look of the numbers
    turned = "\n".join(",".join(reversed(line.split("\t"))) for line in ["cat\ttxt", *SWALLOWING])
    assert "posts.bin:4:" in refused(turned.encode())


def test_prose_over_several_lines_is_one_cell():
    rows = [
        ("sports", "we won\nby one, by luck"),
        ("games", 'He: "no"\nShe: "yes"'),
        ("games", "x"),
    ]
    for delimiter in ",\t;":
        assert pairs(table_of(rows, delimiter=delimiter)) == rows
        turned = [(text, label) for label, text in rows]
        content = table_of(turned, delimiter=delimiter).replace(b"cat", b"?", 1)
        content = content.replace(b"txt", b"cat", 1).replace(b"?", b"txt", 1)
        assert pairs(content) == rows


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('cat\ttxt\na\the said ""no""\na\t"a ""b"" c"\n', "in lines 3 and 2: --quoting standard"),
        ('cat,txt\na,"he said \\"no\\", twice"\n', r"posts.bin:2: .* escapes: --escape '\\'"),
        ("cat,txt\na,b\\, c\n", r"posts.bin:2: .* --escape"),
        ("cat\ttxt\na\tb\\\nc\n", r"posts.bin:3: .* --escape"),
        ("cat,txt\na,b\na,c\ra,d\ra,e\n", "posts.bin:3: .* got 3 rows that end in CR"),
        ("sep=;\ncat,txt\n", "expected a header with the columns"),
    ],
)
def test_what_is_in_doubt_is_refused_with_the_option_that_settles_it(content, message):
    with pytest.raises(CommentFileError, match=message):
        read(content.encode())


def test_options_of_tables_are_checked_and_do_what_they_say():
    assert pairs(b"cat:txt\na:b\n", delimiter=":") == [("a", "b")]
    assert pairs(b"cat\ttxt\n\\N\tb\\tc\n", escape="\\", quoting="none") == [(None, "b\tc")]
    assert pairs(b'cat,txt\na,"C:\\dir \\"x\\""\n', escape="\\") == [("a", 'C:\\dir "x"')]
    assert pairs(b'"cat"\t"txt"\n"a"\t"b"\n') == [("a", "b")]
    assert pairs(b'cat\ttxt\na\t"b"\na\t"c"\n') == [("a", "b"), ("a", "c")]  # a whole column
    for wrong in ({"delimiter": "ab"}, {"escape": '"'}, {"quoting": "all"}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Layout(**wrong)


def test_no_message_holds_more_than_a_little_of_the_data():
    long = "x" * 100_000
    for content in (f"{long},{long}\n", f'cat,txt\na,"{long}\\" {long}"\n', f"cat,cat,{long}\n"):
        assert len(refused(content.encode(), name="a.csv")) < 600


# ---- the account


def test_a_reader_that_loses_a_line_is_caught(monkeypatch):
    honest = lines.read_lines

    def careless(stream, end=b"\n"):
        return (line for line in honest(stream, end) if b"lost" not in line.raw)

    monkeypatch.setattr("neural_classifiers.comments.formats.read_lines", careless)
    for content in (
        b'{"cat":"a","txt":"b"}\n{"cat":"a","txt":"lost"}\n',
        b"cat,txt\na,b\na,lost\n",
    ):
        assert "this is a fault of the reader" in refused(content)


def test_a_parquet_reader_that_loses_a_row_is_caught(monkeypatch):
    monkeypatch.setattr("neural_classifiers.comments.formats.BATCH_BYTES", 1)
    content = as_parquet(cat=["a"] * 9, txt=["b"] * 9)
    assert len(read(content)) == 9
    monkeypatch.setattr(pq.ParquetFile, "iter_batches", lambda *_, **__: iter(()))
    assert "expected the 9 rows of its row groups, got 0" in refused(content)


# ---- the same rows in every format

MOMENT = datetime(2013, 1, 22, 16, 28, 52, tzinfo=UTC)


@pytest.mark.parametrize(
    ("label", "spelled"),
    [(3, "3"), (-1, "-1"), (1.5, "1.5"), (True, "True"), (Decimal("1.50"), "1.50"), ("a", "a")],
    ids=str,
)
def test_a_label_is_the_same_in_csv_json_and_parquet(label, spelled):
    contents = [table_of([(label, "x")]), as_parquet(cat=[label], txt=["x"])]
    if not isinstance(label, Decimal):
        contents.append(json.dumps({"cat": label, "txt": "x"}).encode())
    for content in contents:
        assert pairs(content) == [(spelled, "x")]


def test_categoricals_bytes_and_small_numbers_of_parquet_are_labels_and_texts():
    columns = {
        "cat": pa.array(["a", "b", "a"]).dictionary_encode(),
        "txt": pa.array([b"x", "é".encode(), b"\xff"]),
    }
    rows = read(as_parquet(**columns))
    assert [(row["cat"], row["txt"]) for row in rows] == [("a", "x"), ("b", "é"), ("a", None)]
    assert rows[2]["txt_type"] == "bytes"
    small = pa.array([1, 2, None], pa.int8())
    rows = read(as_parquet(cat=small, txt=pa.array(["x", None, "y"], pa.large_string())))
    assert [row["cat"] for row in rows] == ["1", "2", None]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1358872132, MOMENT),
        (1358872132000, MOMENT),
        (1358872132000000, MOMENT),
        (1358872132000000000, MOMENT),
        ("Tue Jan 22 16:28:52 +0000 2013", MOMENT),
        ("Tue, 22 Jan 2013 16:28:52 GMT", MOMENT),
        ("2013-01-22 16:28:52 UTC", MOMENT),
        ("2013-01-22 18:28:52 +0200", MOMENT),
        ("20130122162852", MOMENT),
        ("2013/01/22 16:28:52", MOMENT),
        ("1/22/2013 4:28:52 PM", MOMENT),
        ("22/01/2013 16:28:52", MOMENT),
        (20130122, datetime(2013, 1, 22, tzinfo=UTC)),
        ("01/02/2013", "day or month first"),
        ("2013-13-01", "not a time"),
        (253402300800, "not a time"),
        (10**30, "not a time"),
    ],
)
def test_times_are_read_as_people_write_them_in_every_format(value, expected):
    row = {"cat": "a", "txt": "b", "at": value}
    text = ",".join(row) + "\n" + ",".join(f'"{cell}"' for cell in row.values())
    contents = [json.dumps(row).encode(), text.encode()]
    if not (isinstance(value, int) and value > 2**63):
        contents.append(as_parquet(**{name: [cell] for name, cell in row.items()}))
    for content in contents:
        [came] = read(content, time="at")
        assert (came["time"] or came["time_type"]) == expected


def test_a_time_of_parquet_beyond_the_calendar_costs_its_row_alone():
    for kind, far in (("ms", 2**60), ("s", 2**50), ("us", 2**62)):
        at = pa.array([1, far], pa.int64()).cast(pa.timestamp(kind))
        rows = read(as_parquet(cat=["a", "a"], txt=["b", "c"], at=at), time="at")
        assert [row["time_type"] for row in rows] == ["time", "not a time"]
    days = pa.array([1, 2**30], pa.int32()).cast(pa.date32())
    rows = read(as_parquet(cat=["a", "a"], txt=["b", "c"], at=days), time="at")
    assert rows[0]["time"] == datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=1)
    assert rows[1]["time_type"] == "not a time"


def test_a_column_that_is_there_twice_is_refused_where_it_counts():
    twice = BytesIO()
    table = pa.Table.from_arrays([pa.array(["a"])] * 4, names=["cat", "txt", "txt", "other"])
    pq.write_table(table, twice)
    assert "posts.bin: expected each column once, got ['txt'] twice" in refused(twice.getvalue())
    assert "got ['txt'] twice" in refused(b"cat,txt,txt\na,b,c\n")
    [row] = read(b'{"cat": "a", "txt": "b", "txt": "c"}')
    assert row["txt_type"] == "given twice"
    assert pairs(b"cat,txt,x,x\na,b,1,2\n") == [("a", "b")]


# ---- labels that look alike


def test_labels_that_differ_by_space_or_case_are_one_unless_both_are_named():
    counts = {
        "sports": 9,
        "Sports": 3,
        " sports": 1,
        "SPORTS\N{NO-BREAK SPACE}": 1,
        "ｇａｍｅｓ": 1,
        "games": 2,
    }
    same = same_labels(counts)
    assert set(same.values()) == {"sports", "games"}
    assert same.keys() == counts.keys() - {"sports", "games"}
    assert same_labels({" news": 5}) == {" news": "news"}
    assert same_labels({"US": 5, "us": 5, "Us": 1}, ["US", "us"]) == {}
    assert same_labels({"us": 5}, ["US"]) == {"us": "US"}
    looks = ["video_games", "video-games", "café", "cafe", "sports", "ѕports", "news"]
    assert alike(looks) == [["cafe", "café"], ["sports", "ѕports"], ["video-games", "video_games"]]


def test_of_many_even_classes_each_is_one_and_slips_are_none():
    even = {f"intent {n}": 8 for n in range(150)}
    assert usual_categories(even | {"slip": 1}) == sorted(even)
    few = {"a": 500, "b": 400, **{f"slip {n}": 1 for n in range(50)}}
    assert usual_categories(few) == ["a", "b"]


# ---- folders


def test_empty_days_of_a_folder_count_no_rows_and_what_is_no_data_is_passed_over(home):
    folder = home / "days"
    (folder / ".git").mkdir(parents=True)
    (folder / "1.CSV").write_text("cat,txt\nsports,one\n")
    (folder / "2.csv").write_text("cat,txt\n")
    (folder / "3.csv").write_bytes(b"")
    (folder / "4.jsonl.gz").write_bytes(gzip.compress(b"\n\n"))
    for name in ("desktop.ini", "~$book.xlsx", "README.md", "_SUCCESS", ".git/config"):
        (folder / name).write_text("x")
    source = find_source(str(folder), "comments")
    parts = [Part(n, lambda f=f: f.path.open("rb")) for n, f in source.files.items()]
    counted = count_rows(open_readers(parts, Layout()))

    assert counted == (1, 2, ["CSV"])
    assert sorted(source.files) == ["1.CSV", "2.csv", "3.csv", "4.jsonl.gz"]
    assert len(source.passed_over) == 5


def test_a_link_that_leaves_a_folder_is_refused(home):
    folder = home / "drop"
    folder.mkdir()
    (home / "secret").write_text("cat,txt\na,b\n")
    (folder / "inside.csv").write_text("cat,txt\na,b\n")
    (folder / "link.csv").symlink_to(folder / "inside.csv")
    assert len(find_source(str(folder), "comments").files) == 2
    (folder / "out.csv").symlink_to(home / "secret")
    for source in (folder, folder / "*.csv"):
        with pytest.raises(SourceError, match="a link that leaves it"):
            find_source(str(source), "comments")
    assert find_source(str(folder / "out.csv"), "comments").files  # who names it means it
    os.mkfifo(home / "pipe")
    with pytest.raises(SourceError, match="expected a file or a folder, got neither"):
        find_source(str(home / "pipe"), "comments")


# ---- what is made to cost


def test_hostile_files_cost_time_that_grows_with_their_size():
    """Each takes minutes to days where the cost grows with the square of the size."""
    began = time.process_time()
    assert len(read(b"txt,cat\nx,y\n" + b'a","b\n' * 60_000)) == 60_001
    for content, options in (
        (b"txt,cat\n" + b'"a\n' * 60_000, {"quoting": "standard"}),
        (b"cat\ttxt\n" + b"a\\\n" * 60_000, {"escape": "\\", "quoting": "none"}),
    ):
        with pytest.raises(CommentFileError, match="got no such row in 60,000"):
            read(content, **options)
    names = b",".join(b'"%d":0' % n for n in range(100_000))
    [row] = read(b'{"cat":"a","txt":"b",%s,"1":0}' % names)
    assert row["txt"] == "b"
    blank = gzip.compress(gzip.compress(b"\n" * 50_000_000 + b'{"cat": "a", "txt": "b"}'))
    assert pairs(blank) == [("a", "b")]
    assert time.process_time() - began < 90


def test_what_unpacks_to_much_more_than_it_is_is_refused(monkeypatch):
    assert "at most 250 bytes unpacked" in refused(gzip.compress(b"\n" * 2**27))
    assert "250 bytes" in refused(lzma.compress(b"a" * 2**27))
    monkeypatch.setattr("neural_classifiers.comments.formats.FREE_BYTES", 2**24)
    stored = BytesIO()
    same = pa.DictionaryArray.from_arrays(pa.array([0] * 4096, pa.int32()), ["x" * 2**18])
    pq.write_table(pa.table({"cat": ["a"] * 4096, "txt": same}), stored, compression="zstd")
    assert len(stored.getvalue()) < 10_000
    assert "bytes for each byte of the file" in refused(stored.getvalue())
    random.seed(34)
    noise = [random.randbytes(2**20).hex() for _ in range(12)]
    monkeypatch.setattr(lines, "MAX_ROW_BYTES", 2**20)
    rows = read(as_parquet(cat=["a"] * 13, txt=[*noise, "x"]))
    assert [row["line_type"] for row in rows] == ["longer than 1 MiB"] * 12 + ["object"]
    assert packing.MAX_RATIO == 250
