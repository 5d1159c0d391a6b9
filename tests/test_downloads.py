"""Downloads from a local server that fails in every way we can think of."""

import threading
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import yaml

from neural_classifiers.checks import SourceError
from neural_classifiers.engine import paths
from neural_classifiers.engine.step import body_of
from tasks import downloads
from tasks.downloads import HttpError, fetch
from tasks.ingest import ingest_comments
from tasks.sources import DownloadError, find_source

HEADER = "created_utc,score,title,selftext,over_18\n"


def posts(name, n=200):
    rows = (
        f'{1358872132 + i}.0,{i},"A ""{name}"" post, no {i}",{"text" * (i % 3)},False\n'
        for i in range(n)
    )
    return (HEADER + "".join(rows)).encode()


class Server:
    """Serves files; `faults` holds for each path what to do wrong, one a request."""

    def __init__(self):
        self.files = {f"/data/{name}.csv": posts(name) for name in ("nfl", "gaming", "space")}
        self.faults: dict[str, list[str]] = {}
        self.asked: list[tuple[str, str | None]] = []
        self.connections: set[int] = set()
        self.etag = '"1"'
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                outer.answer(self)

            def log_message(self, *_):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.http.server_port}/data/"
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()

    def answer(self, request):
        path, wanted = request.path, request.headers.get("Range")
        self.asked.append((path, wanted))
        self.connections.add(request.client_address[1])
        faults = self.faults.get(path, [])
        fault = faults.pop(0) if faults else ""
        content = self.files.get(path)
        if content is None or fault.isdecimal():
            self.send(request, int(fault or 404), b"no", {})
        elif fault.startswith("429"):
            self.send(request, 429, b"", {"Retry-After": fault.partition(" ")[2]})
        elif fault == "stall":
            threading.Event().wait(1)
            request.close_connection = True
        else:
            headers = {"ETag": self.etag} if "no etag" not in fault else {}
            start = 0
            if wanted and request.headers.get("If-Range") == self.etag:
                start = int(wanted.removeprefix("bytes=").removesuffix("-"))
                headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            body = content[start:]
            if fault.startswith("cut"):
                headers["Content-Length"] = str(len(body))
                body = body[: len(body) // 2]
                request.close_connection = True
            self.send(request, 206 if start else 200, body, headers)

    def send(self, request, status, body, headers):
        request.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(body)


@pytest.fixture
def server():
    server = Server()
    yield server
    server.http.shutdown()
    server.http.server_close()


FILES = ["nfl.csv", "gaming.csv", "space.csv"]


def get(server, folder, files=FILES, timeout_s=5.0):
    """Fetch without waiting; the pauses that would have been made."""
    pauses: list[float] = []
    fetch(server.address, files, folder, pauses.append, timeout_s)
    return pauses


def whole(server, folder):
    return all((folder / f).read_bytes() == server.files[f"/data/{f}"] for f in FILES)


def test_files_come_whole_over_one_connection(server, tmp_path):
    assert get(server, tmp_path) == []
    assert whole(server, tmp_path)
    assert len(server.connections) == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(FILES)  # nothing half-written stays


def test_what_came_whole_is_not_asked_for_again(server, tmp_path):
    get(server, tmp_path, ["nfl.csv"])
    server.asked.clear()
    get(server, tmp_path)

    assert [path for path, _ in server.asked] == ["/data/gaming.csv", "/data/space.csv"]


def test_a_file_that_breaks_off_is_continued_where_it_broke_off(server, tmp_path):
    server.faults["/data/nfl.csv"] = ["cut", "cut"]

    assert get(server, tmp_path) == [1.0, 2.0]
    assert whole(server, tmp_path)
    size = len(server.files["/data/nfl.csv"])
    ranges = [wanted for path, wanted in server.asked if path == "/data/nfl.csv"]
    assert ranges == [None, f"bytes={size // 2}-", f"bytes={size // 2 + (size - size // 2) // 2}-"]


def test_a_file_that_changed_in_between_is_begun_anew(server, tmp_path):
    server.faults["/data/nfl.csv"] = ["cut"] * 5
    with pytest.raises(HttpError, match=r"nfl\.csv: expected the file, got .* in 5 tries"):
        get(server, tmp_path)
    server.files["/data/nfl.csv"], server.etag = posts("changed", 300), '"2"'

    get(server, tmp_path)
    assert whole(server, tmp_path)


def test_without_the_servers_mark_nothing_is_continued(server, tmp_path):
    server.faults["/data/nfl.csv"] = ["cut no etag"]

    get(server, tmp_path)
    assert whole(server, tmp_path)
    assert ("/data/nfl.csv", None) in server.asked[1:]


def test_a_server_that_asks_for_a_pause_gets_it(server, tmp_path):
    server.faults["/data/nfl.csv"] = ["429 7", "429 3600", "503"]

    assert get(server, tmp_path) == [7.0, downloads.MAX_PAUSE_S, 4.0]  # an hour is too long
    assert whole(server, tmp_path)


def test_a_pause_may_be_given_as_a_date(server, tmp_path):
    server.faults["/data/nfl.csv"] = [f"429 {formatdate(usegmt=True)}", "429 soon"]

    assert get(server, tmp_path) == [0.0, 2.0]


def test_a_server_that_stalls_is_given_up_on_and_asked_again(server, tmp_path):
    server.faults["/data/gaming.csv"] = ["stall"]

    assert get(server, tmp_path, timeout_s=0.2) == [1.0]
    assert whole(server, tmp_path)


def test_a_missing_file_is_told_at_once_and_the_others_stay(server, tmp_path):
    with pytest.raises(HttpError, match=r"nowhere\.csv: expected the file, got status 404"):
        get(server, tmp_path, ["nfl.csv", "nowhere.csv", "space.csv"])

    assert (tmp_path / "nfl.csv").exists()
    assert not (tmp_path / "space.csv").exists()


def test_a_server_that_is_not_there_is_told(tmp_path):
    with pytest.raises(HttpError, match=r"127\.0\.0\.1:9/x: expected the file, got .* in 5 tries"):
        fetch("http://127.0.0.1:9/", ["x"], tmp_path, lambda _: None, 0.5)


@pytest.fixture
def catalogue(server, home, monkeypatch):
    """A catalogue with an entry of the shape of ours, at the local server."""
    listed = {"sports": ["nfl.csv"], "video_games": ["gaming.csv"], "science": ["space.csv"]}
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
    (home / "catalog.yaml").write_text(yaml.safe_dump({"posts": entry}))
    monkeypatch.setattr(paths, "catalogue", lambda: home / "catalog.yaml")
    monkeypatch.setattr(downloads.time, "sleep", lambda _: None)
    monkeypatch.setattr(downloads, "PAUSE_S", 0.0)
    return server


def test_a_catalogued_source_of_many_files_becomes_comments(catalogue, home):
    source = find_source("posts", "comments")
    folder = home / "out"
    folder.mkdir()
    ingested = body_of(ingest_comments)(source, None, 34, "txt", "cat", None, folder)

    import pandas as pd

    rows = pd.read_parquet(ingested.table.path)
    assert rows["cat"].value_counts().to_dict() == dict.fromkeys(
        ["sports", "video_games", "science"], 200
    )
    assert rows["txt"].iloc[1].endswith("post, no 1\n\ntext")
    asked = len(catalogue.asked)
    assert find_source("posts", "comments") == source
    assert len(catalogue.asked) == asked


def test_what_broke_off_is_continued_by_the_next_run(catalogue, home):
    catalogue.faults["/data/gaming.csv"] = ["503"] * 5
    with pytest.raises(
        DownloadError, match=r"gaming\.csv: .* status 503 in 5 tries.* give a folder"
    ):
        find_source("posts", "comments")
    assert not (home / "data" / "raw" / "posts" / "nfl.csv").exists()  # all or none
    catalogue.asked.clear()

    find_source("posts", "comments")
    assert "/data/nfl.csv" not in [path for path, _ in catalogue.asked]
    left = {p.name for p in (home / "data" / "raw" / "posts").iterdir()}
    assert left == {*FILES, "digests.json"}


def test_a_file_that_is_no_longer_what_first_came_is_set_aside(catalogue, home):
    file = find_source("posts", "comments").files["nfl.csv"].path
    file.write_bytes(b"changed")

    with pytest.raises(
        SourceError, match=r"expected sha256 [0-9a-f]{64}, got [0-9a-f]{64}; set aside"
    ):
        find_source("posts", "comments")
