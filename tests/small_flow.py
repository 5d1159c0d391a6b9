"""The comments flow on made-up comments, in a process of its own, and what it leaves behind.

    python tests/small_flow.py comments.jsonl

The process is the flow's own because it is to be killed, watched or started from nothing. Where a
Prefect server is named in ``PREFECT_API_URL``, no temporary one is started.
"""

import atexit
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
SMALL: dict[str, Any] = {
    "folds": 2,
    "encoder": None,
    "scikit_grid": {"solver": ["lbfgs"], "alpha": [1e-4, 1e-5]},
    "keras_grid": {"epochs": [1, 2], "batch_size": [50]},
    "improved_grids": {"scikit": {"alpha": [0.1]}, "keras": {"epochs": [2]}},
}


def api_url() -> str:
    """Address of the Prefect server that this process uses (fixture ``prefect_server``)."""
    from prefect.settings import get_current_settings

    return get_current_settings().api.url or ""


class Begun(NamedTuple):
    """A flow run that goes on."""

    process: subprocess.Popen[bytes]
    log: Path
    since: float

    def end(self) -> float:
        """Wait until it is Completed; the seconds that it took."""
        if self.process.wait(timeout=600) != 0:
            told = self.log.read_text()[-3000:]
            raise RuntimeError(f"expected the flow to complete:\n{told}")
        return time.monotonic() - self.since


def begin(home: Path, source: Path, api_url: str = "", **variables: str) -> Begun:
    """The flow in a new process, which leads a process group, once its flow run has begun."""
    environment = os.environ | {
        "NEURAL_CLASSIFIERS_HOME": str(home),
        "PREFECT_HOME": str(home / ".prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "PYTHONPATH": str(ROOT),
        **variables,
    }
    if api_url:
        environment["PREFECT_API_URL"] = api_url
    command = [sys.executable, str(Path(__file__)), str(source)]
    log, known = home.with_name(f"{home.name}.log"), _runs(home)
    with log.open("ab") as out:
        process = subprocess.Popen(
            command, cwd=home, env=environment, stdout=out, stderr=out, start_new_session=True
        )
    while _runs(home) == known:
        if process.poll() is not None:
            raise RuntimeError(f"expected the flow to begin:\n{log.read_text()[-3000:]}")
        time.sleep(0.02)
    return Begun(process, log, time.monotonic())


@dataclass(frozen=True)
class Undisturbed:
    """A run to which nothing happened."""

    source: Path
    home: Path
    seconds: float


@cache
def undisturbed(api_url: str) -> Undisturbed:
    """The run that others are compared with, one a session; its home is to be copied."""
    from conftest import comments_file

    folder = Path(tempfile.mkdtemp(prefix="small-flow-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    source, home = comments_file(folder / "comments.jsonl"), folder / "undisturbed"
    home.mkdir()
    return Undisturbed(source, home, begin(home, source, api_url).end())


@cache
def watched(api_url: str) -> Path:
    """Home of a second run from an empty cache; ``audit/`` tells what its processes did."""
    first = undisturbed(api_url)
    home = first.home.with_name("watched")
    (home / "audit").mkdir(parents=True)
    (home / "hooks").mkdir()
    (home / "hooks" / "sitecustomize.py").write_text(WATCH)  # each of its processes runs this
    paths = f"{home / 'hooks'}:{ROOT}"
    begin(home, first.source, api_url, PYTHONPATH=paths, AUDIT=str(home / "audit")).end()
    return home


WATCH = """
import json, os, sys

def watch(event, arguments):
    if event == "pickle.find_class":
        frame = sys._getframe(1)
        note(event, frame.f_code.co_filename, ".".join(map(str, arguments)))
    elif event in ("socket.connect", "socket.sendto"):
        note(event, str(arguments[1]), arguments[0].family.name)
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        note(event, str(arguments[0]), "")

def note(*told):
    handle = os.open(f"{os.environ['AUDIT']}/{os.getpid()}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(handle, (json.dumps(told) + "\\n").encode())
    os.close(handle)

note("start", sys.argv[0] if hasattr(sys, "argv") else "", "")
sys.addaudithook(watch)
"""


def records(home: Path) -> dict[str, dict[str, Any]]:
    """Every record of a home, by its folder below the cache."""
    cache = home / "artifacts" / "cache"
    return {
        str(path.parent.relative_to(cache)): json.loads(path.read_bytes())
        for path in sorted(cache.glob("[!.]*/*/record.json"))
    }


def contents(home: Path) -> dict[str, str]:
    """Digest of what each recorded file means: of its bytes, or of a model's parameters."""
    from neural_classifiers.engine.records import digest_of

    cache, found = home / "artifacts" / "cache", {}
    for name, record in records(home).items():
        canonical = _canonical(record["result"])
        for output in record["outputs"]:
            file = f"{name}/{output['file']}"
            assert digest_of(cache / file) == output["sha256"], file
            found[file] = canonical.get(output["file"]) or output["sha256"]
    return found


def _canonical(result: Any) -> dict[str, str]:
    """Digest of the meaning of those files whose equal meanings differ in bytes."""
    if isinstance(result, dict) and {"path", "content"} <= result.keys():
        return {result["path"]: result["content"]} if result["content"] else {}
    parts = result.values() if isinstance(result, dict) else result
    found: dict[str, str] = {}
    for part in parts if isinstance(result, dict | list) else ():
        found |= _canonical(part)
    return found


def steps(home: Path) -> list[dict[str, Any]]:
    """What the last run of a home did, step by step."""
    newest = max(_runs(home), key=lambda path: path.stat().st_mtime_ns)
    return json.loads(newest.read_bytes())["steps"]


def _runs(home: Path) -> set[Path]:
    return set((home / "artifacts" / "runs").glob("*/run.json"))


def main(source: str) -> int:
    """Run the flow; 0 when it completed."""
    from flows.comments import classify_comments

    return 0 if classify_comments(source, **SMALL, return_state=True).is_completed() else 1


if __name__ == "__main__":  # the flow's worker processes import this file again
    sys.exit(main(sys.argv[1]))
