"""No pickle on disk, no connection beyond this machine; watched in every process of a run.

What worker processes pass each other in memory is their library's affair.
"""

import io
import ipaddress
import json
import pickletools
import re
import socket
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import small_flow

IN_MEMORY = (
    "/multiprocessing/",  # read from pipes, by worker processes
    "/concurrent/futures/",
    "/dask/tokenize.py",  # reads back what it has just written, to name a function
)


@pytest.fixture
def home(prefect_server) -> Path:
    return small_flow.watched(small_flow.api_url())


@pytest.fixture
def events(home) -> list[list[str]]:
    told = [line for path in (home / "audit").iterdir() for line in path.read_text().splitlines()]
    return [json.loads(line) for line in told]


def test_the_processes_were_watched(events):
    assert len([event for event, *_ in events if event == "start"]) >= 3  # the flow, two workers
    assert any(event == "pickle.find_class" for event, *_ in events)  # of arguments, from a pipe
    assert any(event == "socket.connect" for event, *_ in events)  # to the Prefect server


def test_nothing_is_unpickled_but_what_processes_pass_each_other(events):
    read = {(where, what) for event, where, what in events if event == "pickle.find_class"}
    assert {told for told in read if not any(part in told[0] for part in IN_MEMORY)} == set()


def test_no_connection_leaves_this_machine(events):
    for event, address, family in events:
        if event in ("socket.connect", "socket.sendto") and family != "AF_UNIX":
            host = address.strip("()").split(",")[0].strip("'")
            assert ipaddress.ip_address(host).is_loopback, address


def test_no_name_beyond_this_machine_is_asked_for(events):
    here = {"127.0.0.1", "::1", "localhost", "", "None", socket.gethostname(), socket.getfqdn()}
    asked = {name for event, name, _ in events if event.startswith("socket.get")}
    assert asked <= here


def test_no_file_written_is_a_pickle_or_holds_one(home):
    seen = 0
    for place in ("artifacts", ".prefect"):
        for path in (home / place).rglob("*"):
            if path.is_file():
                seen += 1
                for name, content in _parts(path.name, path.read_bytes()):
                    assert not _is_pickle(content), f"{path}: {name}"
    assert seen > 50


def test_prefect_wrote_no_result(home):
    storage = home / ".prefect" / "storage"
    assert not storage.exists() or list(storage.rglob("*")) == []


@pytest.mark.parametrize("protocol", range(2, 6))
def test_a_pickle_would_be_seen(tmp_path, protocol):
    import base64
    import pickle

    import numpy as np

    pickled = pickle.dumps({"a": Path("x")}, protocol)
    assert _is_pickle(pickled)
    assert _is_pickle(json.dumps({"data": base64.b64encode(pickled).decode()}).encode())
    buffer = io.BytesIO()
    np.savez(buffer, names=np.array([{"a": 1}], dtype=object))
    assert any(_is_pickle(content) for _, content in _parts("x.npz", buffer.getvalue()))


def _parts(name: str, content: bytes) -> Iterator[tuple[str, bytes]]:
    """A file, and what is inside it if it is an archive (.npz and .skops are)."""
    yield name, content
    if zipfile.is_zipfile(io.BytesIO(content)):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for member in archive.namelist():
                yield member, archive.read(member)


def _is_pickle(content: bytes) -> bool:
    """A pickle of protocol 2 to 5, one in base64 in a text, or an array of Python objects."""
    if content.startswith(b"\x93NUMPY"):
        return b"'O'" in content[:200] or b"|O" in content[:200]
    if re.search(rb'"gA[I-X][A-Za-z0-9+/]', content) and content[:1] in b"{[":
        return True
    if not re.match(rb"\x80[\x02-\x05]", content):
        return False
    try:
        return any(True for _ in pickletools.genops(content))
    except Exception:
        return False  # begins like one by chance
