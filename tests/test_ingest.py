"""The first steps on real files: every row accounted for, in bytes that only rows decide."""

import json
from types import SimpleNamespace

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dirty import dirty_lines

from neural_classifiers.comments.lines import BEGINNING_BYTES, MAX_ROW_BYTES
from neural_classifiers.comments.schemas import CLEANED
from neural_classifiers.comments.splits import Side, keys_of, split_keys
from neural_classifiers.engine.records import File
from neural_classifiers.engine.rows.parquet import TableWriter, one_batch
from neural_classifiers.engine.step import body_of
from neural_classifiers.errors import SourceError
from tasks import clean, ingest, split, validate
from tasks.references import read_comments
from tasks.sources import find_source

CLASSES = ["science_and_technology", "sports", "video_games"]


def ingested_from(path, folder, sample=None):
    folder.mkdir(parents=True, exist_ok=True)
    source = find_source(str(path), "comments")
    return body_of(ingest.ingest_comments)(
        source, sample, 34, "txt", "cat", None, None, "auto", None, folder
    )


def validated(ingested, folder, categories=None, last=None):
    folder.mkdir(parents=True, exist_ok=True)
    gate = body_of(validate.validate_comments)
    return gate(ingested, last, categories, 5, None, True, "posts", folder)


def good(n, start=0):
    return [
        json.dumps({"cat": ("sports", "games")[i % 2], "txt": f"Comment no {start + i}"}).encode()
        for i in range(n)
    ]


def test_one_file_damaged_in_ways_we_know_names_exactly_these_rows(home):
    lines = good(300)
    damage = {
        7: (b'{"cat": "sports", "txt": "cut of', "line: not JSON"),
        23: (b'{"cat": "sports", "txt": "caf\xe9"}', "line: not UTF-8"),
        42: (b'{"cat": "sports", "txt": NaN}', "line: not JSON"),
        77: (b'{"cat": "sports", "txt": "a\x00b"}', "line: not JSON"),
        101: (rb'{"cat": "sports", "txt": "\ud83d"}', "txt: lone surrogate"),
        120: (b'{"cat": "sports", "txt": "a", "txt": "b"}', "txt: given twice"),
        144: (b'{"cat": "cooking", "txt": "a"}', "cat: unknown category"),
        169: (b'["sports", "a"]', "line: list"),
        200: (b"[" * 5000, "line: nested too deeply"),
        222: (b'{"cat": "sports", "txt": 1e999}', "txt: number"),
        250: (b'{"cat": "games"}', "txt: missing"),
        251: (b'\xef\xbb\xbf{"cat": "games", "txt": "a"}', "line: not JSON"),
        299: (
            b'{"cat": "games", "txt": "' + b"a" * MAX_ROW_BYTES + b'"}',
            "line: longer than 16 MiB",
        ),
        300: (b'{"cat": "games", "txt": "[deleted]"}', "txt: removed"),
    }
    for number, (line, _) in damage.items():
        lines[number - 1] = line
    content = b"\xef\xbb\xbf" + b"\r\n".join(lines)  # no line end after the last
    path = home / "posts.jsonl"
    path.write_bytes(content)

    accepted = validated(ingested_from(path, home / "a"), home / "b", ["sports", "games"])
    found = pd.read_parquet(accepted.quarantine.path)

    assert dict(zip(found["line"], found["reasons"].map(list), strict=True)) == {
        number: [reason] for number, (_, reason) in damage.items()
    }
    for row in found.itertuples():
        line = damage[row.line][0]
        assert row.raw == (line if len(line) <= MAX_ROW_BYTES else line[:BEGINNING_BYTES])
        assert content[row.byte_offset :].startswith(row.raw)
        assert row.size == len(line) + 2 * (row.line < 300)
    assert accepted.rows + accepted.rows_quarantined == 300


@pytest.fixture
def dirty(home):
    """A file of 3,000 dirty comments in JSON Lines."""
    path = home / "dirty.jsonl"
    faults = {"removed": 0.02, "duplicate": 0.05, "stop words": 0.003}
    path.write_bytes(b"".join(dirty_lines(3000, faults)))
    return path


def first_steps(home, source, name="first"):
    """What the first four steps write, by name."""
    ingested = ingested_from(source, home / f"{name}-ingested", 3000)
    accepted = validated(ingested, home / f"{name}-accepted", CLASSES)
    folders = [home / f"{name}-{step}" for step in ("cleaned", "split")]
    for folder in folders:
        folder.mkdir()
    cleaned = body_of(clean.clean_comments)(accepted, "default", folders[0])
    parted = body_of(split.split_comments)(cleaned, 0.7, 34, 5, False, folders[1])
    return SimpleNamespace(ingested=ingested, accepted=accepted, cleaned=cleaned, split=parted)


def test_neither_the_size_of_batches_nor_the_workers_change_a_byte(home, dirty, monkeypatch):
    def contents(steps):
        files = [
            (step, name, value.sha256)
            for step, result in vars(steps).items()
            for name, value in result
            if isinstance(value, File)
        ]
        return files, steps.cleaned.rows_empty, steps.split.conflicting, steps.split.counts

    first = contents(first_steps(home, dirty))
    for module in (ingest, validate, clean, split):
        monkeypatch.setattr(module, "BATCH_ROWS", 701)
        monkeypatch.setattr(module, "useful_workers", lambda _: 2)
    assert contents(first_steps(home, dirty, "second")) == first
    assert len(first[0]) == 11
    assert first[1] > 0


def test_comments_are_read_back_as_they_were_written_over_row_groups(home):
    clean = [f"word{n}" for n in range(20_000)]
    cat = ["games" if n % 3 else "news" for n in range(20_000)]
    nothing = {name: [None] * 20_000 for name in CLEANED.names}
    with TableWriter(home / "train.parquet", CLEANED) as table:
        table.write(pa.table(nothing | {"clean": clean, "cat": cat}, CLEANED))
    assert read_comments(File.of(home / "train.parquet")) == (clean, cat)


def test_the_split_is_that_of_its_definition(home, dirty, monkeypatch):
    monkeypatch.setattr(split, "BATCH_ROWS", 701)
    steps = first_steps(home, dirty)
    cleaned = pd.read_parquet(steps.cleaned.table.path)
    keys, labels = keys_of(cleaned["clean"].tolist()), pd.Categorical(cleaned["cat"])
    sides = split_keys(keys, labels, 0.7, 34)

    for side, file in ((Side.TRAIN, steps.split.train), (Side.TEST, steps.split.test)):
        expected = cleaned.iloc[sides.rows_of(side)].reset_index(drop=True)
        pd.testing.assert_frame_equal(pd.read_parquet(file.path), expected)
    dropped = pd.read_parquet(steps.split.dropped_rows.path)
    reasons = dict.fromkeys(sides.rows_of(Side.EMPTY).tolist(), "clean: nothing left")
    reasons |= dict.fromkeys(sides.rows_of(Side.DUPLICATES).tolist(), "clean: duplicate")
    assert dropped["reason"].tolist() == [reasons[row] for row in sorted(reasons)]
    assert dropped["line"].tolist() == cleaned["line"].iloc[sorted(reasons)].tolist()


def test_row_groups_have_a_fixed_size_however_the_batches_come(home, monkeypatch):
    monkeypatch.setattr("neural_classifiers.engine.rows.parquet.GROUP_ROWS", 100)
    schema = pa.schema({"a": pa.int64(), "b": pa.string()})
    whole = pa.table({"a": range(1050), "b": [f"text {i % 7}" for i in range(1050)]}, schema)
    digests = set()
    for size in (1, 99, 100, 101, 250, 1050):
        with TableWriter(home / f"{size}.parquet", schema) as table:
            for start in range(0, 1050, size):
                table.write(whole.slice(start, size))
        assert table.rows == 1050
        digests.add(File.of(home / f"{size}.parquet").sha256)
        assert pq.read_table(home / f"{size}.parquet").equals(whole)
    assert len(digests) == 1
    assert pq.ParquetFile(home / "99.parquet").metadata.num_row_groups == 11


def test_rows_that_are_lost_on_the_way_are_noticed(home, dirty):
    steps = first_steps(home, dirty)
    accepted, cleaned = (
        result.model_copy(update={"rows": result.rows + 1})
        for result in (steps.accepted, steps.cleaned)
    )
    with pytest.raises(RuntimeError, match=rf"expected {accepted.rows:,} rows, got"):
        body_of(clean.clean_comments)(accepted, "default", home)
    with pytest.raises(RuntimeError, match=rf"expected {cleaned.rows:,} rows, got"):
        body_of(split.split_comments)(cleaned, 0.7, 34, 2, False, home)


def test_text_too_large_for_one_piece_is_an_error_and_no_row_is_lost():
    pieces = pa.table({"txt": pa.chunked_array([["a"], ["b"]])})
    two = SimpleNamespace(combine_chunks=lambda: pieces, num_rows=2, nbytes=3 * 2**30)
    with pytest.raises(ValueError, match=r"less than 2 GiB of text .* 2 rows, got 3\.0 GiB"):
        one_batch(two)
    assert one_batch(pieces).num_rows == 2


def test_workers_are_started_for_the_rows_drawn_not_for_those_in_the_file(home, dirty, monkeypatch):
    asked = []
    monkeypatch.setattr("tasks.ingest.useful_workers", lambda rows: asked.append(rows) or 0)
    ingested_from(dirty, home / "drawn", 100)
    assert asked == [100]


def test_a_folder_and_a_glob_are_one_data_set(home):
    folder = home / "posts"
    (folder / "2020").mkdir(parents=True)
    (folder / "a.jsonl").write_bytes(b"\n".join(good(20)))
    (folder / "2020" / "b.csv").write_text("cat,txt\nsports,one\ngames,two\n")
    (folder / "_SUCCESS").write_bytes(b"")
    (folder / ".hidden").write_bytes(b"not a comment")
    ingested = ingested_from(folder, home / "out")
    by_glob = ingested_from(folder / "**" / "*.csv", home / "glob")

    rows = pd.read_parquet(ingested.table.path)
    assert rows["file"].value_counts().to_dict() == {"a.jsonl": 20, "2020/b.csv": 2}
    assert ingested.formats == ["CSV", "JSON Lines"]
    assert by_glob.rows == 2


def test_a_folder_or_glob_without_files_is_refused(home):
    (home / "empty").mkdir()
    with pytest.raises(SourceError, match="expected files, got a folder without any"):
        find_source(str(home / "empty"), "comments")
    with pytest.raises(SourceError, match="expected files of that pattern, got none"):
        find_source(str(home / "empty" / "*.csv"), "comments")


@pytest.mark.parametrize("source", ["days", "days/mon.jsonl", "days/*.jsonl"])
def test_a_source_has_one_origin_however_many_files_it_has_today(home, source):
    (home / "days").mkdir()
    for day in ("mon", "tue"):
        (home / "days" / f"{day}.jsonl").write_bytes(b"\n".join(good(9)))
        assert find_source(str(home / source), "comments").origin == str(home / source)


def test_a_drifted_file_is_held_against_the_last_profile(home):
    def run(lines, name, last=None):
        path = home / "posts.jsonl"
        path.write_bytes(b"\n".join(lines))
        return validated(ingested_from(path, home / name), home / f"{name}-ok", last=last)

    first = run(good(1000), "first")
    again = run(good(1000, start=1000), "again", first.profile)
    assert again.drift.path.read_bytes().startswith(b"\x89PNG")
    assert first.drift is None

    spanish = [line.replace(b"Comment no", b"El comentario nuevo es") for line in good(1000)]
    with pytest.raises(ValueError, match=r"posts: expected a drift of .*; got .*before"):
        run(spanish, "drifted", first.profile)


def test_the_last_profile_is_that_of_the_last_completed_run_on_other_rows(home):
    source, ingested = home / "posts.jsonl", {}
    for name, start in (("old", 0), ("now", 500)):
        source.write_bytes(b"\n".join(good(200, start)))
        ingested[name] = ingested_from(source, home / name)
    raw = find_source(str(source), "comments")
    profile = validated(ingested["old"], home / "ok").profile.path.read_bytes()

    def run(name, status="completed", of="old", origin=raw.origin, told=profile):
        folder = home / "artifacts" / "runs" / name
        folder.mkdir(parents=True)
        section = {"source": {"origin": origin}, "rows": {"digest": ingested[of].table.sha256}}
        (folder / "run.json").write_text(json.dumps({"status": status}))
        (folder / "report.json").write_text(json.dumps({"comments": section}))
        (folder / "profile.json").write_bytes(told)
        return folder / "profile.json"

    assert validate.last_profile(raw, ingested["now"]) is None
    run("20260101T000000Z-a")
    expected = run("20260102T000000Z-b")
    run("20260103T000000Z-c", status="failed")
    run("20260104T000000Z-d", of="now")  # the very same rows
    run("20260105T000000Z-e", origin="/of/another/posts.jsonl")  # the same name
    run("20260106T000000Z-f", told=b"not JSON")
    (home / "artifacts" / "runs" / "20260107T000000Z-g").mkdir()

    assert validate.last_profile(raw, ingested["now"]).path == expected


def test_rows_that_do_not_add_up_end_the_report():
    from tasks.report import account_of

    dropped = {"empty": 2, "duplicates": 3}
    split = SimpleNamespace(rows=90, dropped=dropped.get)
    account = account_of(SimpleNamespace(rows=100), SimpleNamespace(rows_quarantined=5), split)

    assert account == {"in": 100, "accepted": 90, "quarantined": 7, "duplicates": 3}
    with pytest.raises(RuntimeError, match="expected 101 rows to be accounted for"):
        account_of(SimpleNamespace(rows=101), SimpleNamespace(rows_quarantined=5), split)
