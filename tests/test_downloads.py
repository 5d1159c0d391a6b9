"""Downloads over HTTP from a local server that breaks off, refuses and stalls."""

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pooch.core
import pytest
import yaml

from tasks import downloads, places
from tasks.downloads import DownloadError
from tasks.ingest import layout_of, read_source
from tasks.sources import SourceError, find_source

HEADER = "created_utc,score,title,selftext,over_18\n"
FILES = ["space.csv", "nfl.csv", "gaming.csv"]  # in the order of the catalogue


def posts(name, n=200):
    rows = (
        f'{1358872132 + i}.0,{i},"A ""{name}"" post, no {i}",{"text" * (i % 3)},False\n'
        for i in range(n)
    )
    return (HEADER + "".join(rows)).encode()


@pytest.fixture
def server():
    """Serves `files`; `faults` holds for each path what to do wrong, one a request."""
    state = SimpleNamespace(files={f"/data/{f}": posts(f) for f in FILES}, faults={}, asked=[])

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            state.asked.append(self.path.rpartition("/")[2])
            fault = (state.faults.get(self.path) or [""]).pop(0)
            content = state.files.get(self.path, b"")
            if fault == "stall":
                threading.Event().wait(1)
                return
            self.send_response(int(fault) if fault.isdecimal() else 200 if content else 404)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2] if fault == "cut" else content)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        state.address = f"http://127.0.0.1:{http.server_port}/data/"
        threading.Thread(target=http.serve_forever, args=(0.02,), daemon=True).start()
        yield state
        http.shutdown()


@pytest.fixture
def catalogue(server, home, monkeypatch):
    """A catalogue with an entry of the shape of ours, at the local server; changes to the entry."""
    listed = {"science": ["space.csv"], "sports": ["nfl.csv"], "video_games": ["gaming.csv"]}
    (home / "list.yaml").write_text(yaml.safe_dump(listed))
    entry = {
        "kind": "comments",
        "title": "T",
        "description": "D",
        "licence": "PDDL",
        "citation": "C",
        "format": "rows",
        "text_columns": ["title", "selftext"],
        "files_of_categories": "list.yaml",
        "get": [{"way": "https", "address": server.address}],
        "categories": sorted(listed),
    }

    def rewrite(**changes):
        (home / "catalog.yaml").write_text(yaml.safe_dump({"posts": entry | changes}))

    rewrite()
    monkeypatch.setattr(places, "catalogue", lambda: home / "catalog.yaml")
    monkeypatch.setattr(pooch.core, "time", SimpleNamespace(sleep=lambda _: None))
    monkeypatch.setattr(downloads, "TIMEOUT_S", 0.3)
    return rewrite


def left(home):
    return {path.name for path in (home / "data" / "raw" / "posts").iterdir()}


def test_a_catalogued_source_of_many_files_becomes_comments(server, catalogue, home):
    source = find_source("posts", "comments")
    folder = home / "out"
    folder.mkdir()
    ingested = read_source(
        source, layout_of(source, "txt", "cat", None), None, 34, folder, folder / "keep"
    )

    import pandas as pd

    rows = pd.read_parquet(ingested.table.path)
    assert rows["cat"].value_counts().to_dict() == dict.fromkeys(
        ["sports", "video_games", "science"], 200
    )
    assert rows["txt"].iloc[1].endswith("post, no 1\n\ntext")
    assert find_source("posts", "comments") == source
    assert server.asked == FILES  # once


@pytest.mark.parametrize("fault", ["cut", "503", "429", "stall"])
def test_a_file_that_fails_is_asked_for_again_and_only_whole_ones_are_taken(
    server, catalogue, home, fault
):
    server.faults["/data/gaming.csv"] = [fault] * 2

    files = find_source("posts", "comments").files

    assert {f: file.path.read_bytes() for f, file in files.items()} == {
        f: server.files[f"/data/{f}"] for f in FILES
    }
    assert server.asked.count("gaming.csv") == 3
    assert left(home) == {*FILES, "digests.json"}  # nothing half-written stays


def test_what_came_whole_is_not_asked_for_again_by_the_next_run(server, catalogue, home):
    server.faults["/data/nfl.csv"] = ["503"] * 5
    with pytest.raises(
        DownloadError, match=r"nfl\.csv: expected the file, got 503 .* 5 tries.* give a folder"
    ):
        find_source("posts", "comments")
    assert left(home) == {".https"}  # all or none
    server.asked.clear()

    find_source("posts", "comments")
    assert server.asked == ["nfl.csv", "gaming.csv"]


def test_an_address_that_is_not_there_is_named(catalogue, home):
    catalogue(get=[{"way": "https", "address": "http://127.0.0.1:9/data/"}])

    with pytest.raises(
        DownloadError, match=r"127\.0\.0\.1:9/data/space\.csv: .*Connection refused"
    ):
        find_source("posts", "comments")


def test_a_file_with_another_digest_is_not_taken(server, catalogue, home):
    expected = hashlib.sha256(b"other").hexdigest()
    catalogue(files_of_categories=None, files={"nfl.csv": {"sha256": expected}})

    with pytest.raises(DownloadError, match=rf"nfl\.csv: .*{expected}.* got .*[0-9a-f]{{64}}"):
        find_source("posts", "comments")
    assert not any((home / "data" / "raw" / "posts" / ".https").iterdir())


def test_a_file_that_is_no_longer_what_first_came_is_set_aside(catalogue):
    file = find_source("posts", "comments").files["nfl.csv"].path
    file.write_bytes(b"changed")

    with pytest.raises(
        SourceError, match=r"expected sha256 [0-9a-f]{64}, got [0-9a-f]{64}; set aside"
    ):
        find_source("posts", "comments")
