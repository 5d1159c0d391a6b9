"""Kill it, fail it, run it again: is what comes out what an undisturbed run gives?

    python benchmarks/faults.py --kills 10              # all of it, and docs/faults.md
    python benchmarks/faults.py records                 # the record layer alone
    python benchmarks/faults.py flow --kills 2          # the comments flow alone
    python benchmarks/faults.py records --every 3       # at every third file operation

The record layer is tried at each of its file operations in turn. A death is a SIGKILL of a child
process before the operation, after it, or halfway through a write; a fault is an error that the
operation returns. The flow runs on made-up comments and gets its SIGKILL at a random moment.
"""

import argparse
import builtins
import contextlib
import errno
import fcntl
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest import mock

PROJECT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(PROJECT), str(PROJECT / "tests")]

from neural_classifiers.engine import records  # noqa: E402
from neural_classifiers.engine.folder_store import FolderStore  # noqa: E402
from neural_classifiers.engine.records import File, Key, Reference, digest_of, folder_of  # noqa: E402


@dataclass
class Tally:
    """What was tried and what came of it."""

    deaths: int = 0
    faults: int = 0
    told: int = 0  # faults that rose as an OSError
    absorbed: int = 0  # faults after which the result was right all the same
    seconds: float = 0.0
    divergences: list[str] = field(default_factory=list)
    operations: dict[str, int] = field(default_factory=dict)  # by scenario


# --------------------------------------------------------------------------- a disk that fails

KILLS = ("kill before", "kill after", "kill halfway")
FAULTS = {
    "open to read": ("EIO", "EMFILE", "EACCES"),
    "open to write": ("EIO", "ENOSPC", "EMFILE", "EROFS"),
    "read": ("EIO",),
    "write": ("EIO", "ENOSPC", "short", "short, then ENOSPC"),
    "close": ("EIO", "ENOSPC"),
    "fsync": ("EIO", "ENOSPC"),
    "rename": ("EIO", "ENOSPC"),
    "mkdir": ("EIO", "ENOSPC"),
    "unlink": ("EIO",),
    "rmdir": ("EIO",),
    "list": ("EIO",),
    "lock": ("ENOLCK",),
}


class Disk:
    """The file operations of this process, numbered from 1; one of them goes wrong.

    Parameters
    ----------
    at : int
        Number of that operation; 0: none.
    how : str
        One of `KILLS`, or of the `FAULTS` of that kind of operation.
    """

    def __init__(self, at: int = 0, how: str = "") -> None:
        self.at, self.how = at, how
        self.kinds: list[str] = []
        self.full = self.sweeping = self.hit_sweeping = False

    def do(self, kind: str, act: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """An operation other than a write, or what goes wrong instead."""
        if not self.is_next(kind):
            return act(*args, **kwargs)
        if self.how == "kill after":
            act(*args, **kwargs)
        return self.stop_or_fail()

    def write(self, act: Callable[[Any], int], data: Any) -> int:
        """A write, whole or in part."""
        if self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if not self.is_next("write"):
            return act(data)
        if self.how in ("kill halfway", "short", "short, then ENOSPC"):
            written = act(memoryview(data)[: len(data) // 2])
            self.full = self.how == "short, then ENOSPC"
            if self.how != "kill halfway":
                return written
        elif self.how == "kill after":
            act(data)
        return self.stop_or_fail()

    def is_next(self, kind: str) -> bool:
        """Count an operation; whether it is the one that goes wrong."""
        self.kinds.append(kind)
        if len(self.kinds) != self.at:
            return False
        self.hit_sweeping = self.sweeping
        return True

    def stop_or_fail(self) -> Any:
        """End the process or raise."""
        if self.how in KILLS:
            os.kill(os.getpid(), signal.SIGKILL)
        number = getattr(errno, self.how)
        raise OSError(number, os.strerror(number))

    @contextlib.contextmanager
    def in_use(self) -> Iterator["Disk"]:
        """Everything in this process goes through this disk."""
        with contextlib.ExitStack() as stack:
            for module, name, kind in _CALLS:
                patched = self._watched(kind, getattr(module, name))
                stack.enter_context(mock.patch.object(module, name, patched))
            for module in (io, builtins):
                stack.enter_context(mock.patch.object(module, "open", self._open))
            stack.enter_context(mock.patch.object(shutil, "rmtree", self._sweep(shutil.rmtree)))
            yield self

    def _sweep(self, rmtree: Callable[..., None]) -> Callable[..., None]:
        def sweep(*args: Any, **kwargs: Any) -> None:
            self.sweeping = True
            rmtree(*args, **kwargs)
            self.sweeping = False

        return sweep

    def _watched(self, kind: str, act: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            told = kind
            if kind == "open":
                writes = args[1] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
                told = "open to write" if writes else "open to read"
            return self.do(told, act, *args, **kwargs)

        return call

    def _open(self, path: Any, mode: str = "r", *_: Any, **options: Any) -> Any:
        """As the builtin, over a file whose raw operations can go wrong."""
        kind = "open to read" if mode in ("r", "rb") else "open to write"
        raw = self.do(kind, _Raw, path, mode.replace("b", "").replace("t", ""))
        raw.disk = self
        buffered = io.BufferedReader(raw) if kind == "open to read" else io.BufferedWriter(raw)
        encoding = options.get("encoding") or "utf-8"
        return buffered if "b" in mode else io.TextIOWrapper(buffered, encoding)


class _Raw(io.FileIO):
    disk: Disk

    def write(self, data: Any) -> int:
        return self.disk.write(super().write, data)

    def readinto(self, buffer: Any) -> int | None:
        return self.disk.do("read", super().readinto, buffer)

    def readall(self) -> bytes:
        return self.disk.do("read", super().readall)

    def close(self) -> None:
        was_open, writes = not self.closed, self.writable() if not self.closed else False
        super().close()
        if was_open and writes:
            self.disk.do("close", lambda: None)


_CALLS = [
    (os, "open", "open"),
    (os, "fsync", "fsync"),
    (os, "rename", "rename"),
    (os, "replace", "rename"),
    (os, "mkdir", "mkdir"),
    (os, "unlink", "unlink"),
    (os, "rmdir", "rmdir"),
    (os, "scandir", "list"),
    (fcntl, "flock", "lock"),
]


# --------------------------------------------------------------------------- the record layer


class Made(Reference):
    """The result of the step that is tried: two files that count, one of them in a folder."""

    table: File
    figures: dict[str, File]
    rows: int


KEY = Key(step="count_words", parameters={"seed": 34}, code={"f": "1"}, libraries={"nltk": "3"})
STATES = ("artifacts/cache/count_words", "artifacts/cache/.fits", "artifacts/cache/.writing")


def work(text: str) -> Callable[[Path], Made]:
    """A small step that writes several files."""

    def write(folder: Path) -> Made:
        with (folder / "table.txt").open("w", encoding="utf-8") as table:
            table.write(text)
            table.flush()
            table.write(text)
        (folder / "figures").mkdir()
        (folder / "figures" / "head.png").write_bytes(text.encode() * 100)
        (folder / "timing.fits.json").write_text("{}")
        figures = {"head": File.of(folder / "figures" / "head.png")}
        return Made(table=File.of(folder / "table.txt"), figures=figures, rows=len(text))

    return write


@dataclass(frozen=True)
class Scenario:
    """What lies there, and what is done; `like` names one that must end in the same."""

    name: str
    prepare: Callable[[Path], object]
    act: Callable[[Path], Any]
    like: str = ""


def _recall(text: str = "words", refresh: bool = False) -> Callable[[Path], Any]:
    def act(home: Path) -> Any:
        cache = home / "artifacts" / "cache"
        outcome = records.recall(
            cache, KEY, Made, work(text), lambda: {"seconds": 1.5}, refresh=refresh
        )
        return outcome.result.model_dump(mode="json", context={"folder": folder_of(cache, KEY)})

    return act


def _damage(file: str) -> Callable[[Path], object]:
    def prepare(home: Path) -> None:
        _recall()(home)
        path = folder_of(home / "artifacts" / "cache", KEY) / file
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)

    return prepare


def _left_over(home: Path) -> None:
    """What a SIGKILL leaves: files in the folder beside, a value half written."""
    name = f"{KEY.step}-{KEY.digest}"
    for folder in (name, f"{name}/1/{name}/figures"):
        left = home / "artifacts" / "cache" / ".writing" / folder
        left.mkdir(parents=True, exist_ok=True)
        (left / "table.txt").write_text("half")
    store = home / "artifacts" / "cache" / ".fits" / "x"
    store.mkdir(parents=True)
    (store / ".a1.writing").write_bytes(b"ol")


def _store(home: Path) -> FolderStore:
    return FolderStore(home / "artifacts" / "cache" / ".fits" / "x")


def _keep(home: Path) -> dict[str, str]:
    store = _store(home)
    store["a1"], store["a2"] = b"one" * 1000, b"two"
    return {name: value.hex() for name, value in store.items()}


def _nothing(home: Path) -> None:
    home.mkdir(parents=True, exist_ok=True)


FIRST = "compute and record"
SCENARIOS = [
    Scenario(FIRST, _nothing, _recall()),
    Scenario("the same after a death", _left_over, lambda home: (_recall()(home), _keep(home))),
    Scenario("find", _recall(), _recall(), FIRST),
    Scenario("find an output damaged", _damage("figures/head.png"), _recall(), FIRST),
    Scenario("find record.json damaged", _damage("record.json"), _recall(), FIRST),
    Scenario("refresh, equal output", _recall(), _recall(refresh=True), FIRST),
    Scenario("refresh, other output", _recall(), _recall("others", refresh=True)),
    Scenario("keep new fits", _nothing, _keep),
    Scenario("keep fits again", lambda home: _store(home).update(a1=b"old", a2=b"old"), _keep),
]


def try_records(folder: Path, every: int = 1, names: list[str] | None = None) -> Tally:
    """Each death and fault at each file operation (or `every` so many) of each scenario."""
    tally, rng = Tally(), random.Random(34)
    started, ends = time.monotonic(), {}
    for scenario in [s for s in SCENARIOS if names is None or s.name in names]:
        trial = _Trial(scenario, folder, tally)
        kinds = trial.undisturbed()
        ends[scenario.name] = trial.expected, trial.state
        trial.compare(
            "end of the undisturbed run", ends[scenario.name], ends[scenario.like or scenario.name]
        )
        tally.operations[scenario.name] = len(kinds)
        for at, kind in list(enumerate(kinds, start=1))[::every]:
            for how in KILLS[: 3 if kind == "write" else 2]:
                trial.die([(at, how)])
            trial.die([(at, "kill before"), (rng.randrange(1, len(kinds) + 1), "kill before")])
            for how in FAULTS[kind]:
                trial.fail(at, kind, how)
    tally.seconds = round(time.monotonic() - started, 1)
    return tally


class _Trial:
    """One scenario, tried again and again from the same start."""

    def __init__(self, scenario: Scenario, folder: Path, tally: Tally) -> None:
        self.scenario, self.tally = scenario, tally
        self.home, self.start = folder / "home", folder / "start"
        shutil.rmtree(self.start, ignore_errors=True)
        self.start.mkdir(parents=True)
        scenario.prepare(self.start)
        self.told = ""

    def undisturbed(self) -> list[str]:
        """What a run gives to which nothing happens; the kinds of its operations in order."""
        self._begin("undisturbed")
        with Disk().in_use() as disk:
            self.expected = self.scenario.act(self.home)
        self.state = _state(self.home)
        return disk.kinds

    def die(self, deaths: list[tuple[int, str]]) -> None:
        """Die so often, one start after the other; then run to the end and compare."""
        self._begin(f"{deaths}")
        for at, how in deaths:
            if pid := os.fork():
                _, status = os.waitpid(pid, 0)
            else:
                with contextlib.suppress(BaseException), Disk(at, how).in_use():
                    self.scenario.act(self.home)
                os._exit(0)
            # a second death may come too late: what was done before needs fewer operations
            self.tally.deaths += os.WIFSIGNALED(status)
            self._whole_or_absent()
        self._again()

    def fail(self, at: int, kind: str, how: str) -> None:
        """Let one operation fail; the error rises or the result is right; then compare."""
        self._begin(f"{kind} {at}: {how}")
        self.tally.faults += 1
        disk = Disk(at, how)
        try:
            with disk.in_use():
                got = self.scenario.act(self.home)
        except OSError:
            self.tally.told += 1
        else:
            self.tally.absorbed += 1
            self.compare("result of the run with the fault", got, self.expected)
        self._whole_or_absent()
        if kind != "unlink" and not disk.hit_sweeping:  # else the clean-up itself has failed
            left = [name for name in _state(self.home) if "writing" in name]
            before = [name for name in _state(self.start) if "writing" in name]
            if set(left) - set(before):
                self._diverged(f"left half-written: {left}")
        self._again()

    def _begin(self, told: str) -> None:
        self.told = f"{self.scenario.name}, {told}"
        shutil.rmtree(self.home, ignore_errors=True)
        shutil.copytree(self.start, self.home)

    def _again(self) -> None:
        try:
            self.compare("result", self.scenario.act(self.home), self.expected)
        except Exception as error:  # whatever it is, an undisturbed run has none
            self._diverged(f"the next run: {error!r}")
        self.compare("files", _state(self.home), self.state)

    def _whole_or_absent(self) -> None:
        """What is visible after a death or a fault: no half record, no lock that is held."""
        cache = self.home / "artifacts" / "cache"
        home = folder_of(cache, KEY)
        if home.exists() and records.faults_of(home) and "damaged" not in self.scenario.name:
            self._diverged(f"a record that is not whole: {records.faults_of(home)}")
        for value in _store(self.home).values():
            if value not in (b"one" * 1000, b"two", b"old"):
                self._diverged(f"a value that is not whole: {value!r}")
        for lock in (*cache.glob(".locks/*"), *cache.glob(".fits/*")):
            handle = os.open(lock, os.O_RDONLY)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._diverged(f"a lock that stays: {lock.name}")
            finally:
                os.close(handle)

    def compare(self, what: str, got: Any, expected: Any) -> None:
        """Note a divergence where there is one."""
        if got != expected:
            self._diverged(f"{what}: expected {expected}, got {got}")

    def _diverged(self, what: str) -> None:
        self.tally.divergences.append(f"{self.told}: {what}")


def _state(home: Path) -> dict[str, str]:
    """Every file and folder that counts, by name, as a digest."""
    paths = [path for state in STATES for path in (home / state).rglob("*")]
    return {
        str(p.relative_to(home)): digest_of(p) if p.is_file() else "folder"
        for p in paths
        if p.name != "timing.json"
    }


# --------------------------------------------------------------------------- the whole flow


@dataclass
class Kill:
    """One SIGKILL of the flow, and what the next run made of it."""

    after_s: float  # since the flow run began
    whom: str
    records_whole: int  # when it was killed
    fits_whole: int
    records_again: int = 0  # of those, computed again
    fits_again: int = 0
    seconds: float = 0.0  # of the run that followed
    divergences: list[str] = field(default_factory=list)


@dataclass
class FlowTally:
    """The kills of the flow beside the undisturbed run."""

    records: int
    files: int
    fits: int
    seconds: float
    kills: list[Kill] = field(default_factory=list)


def try_flow(folder: Path, kills: int, seed: int, api_url: str) -> FlowTally:
    """Kill the comments flow at random moments, run it again, compare every file."""
    import small_flow

    rng, first = random.Random(seed), small_flow.undisturbed(api_url)
    expected = small_flow.contents(first.home)
    tally = FlowTally(
        records=len(small_flow.records(first.home)),
        files=len(expected),
        fits=len(_fits(first.home)),
        seconds=round(first.seconds, 1),
    )
    while len(tally.kills) < kills:
        home = folder / f"killed-{len(tally.kills)}"
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir()
        whom = "main process" if len(tally.kills) % 3 == 1 else "process group"
        after_s = rng.uniform(0, first.seconds)
        if not _kill(small_flow.begin(home, first.source, api_url), after_s, whom):
            continue  # it had ended before
        whole, fits = _whole(home), _fits(home)
        kill = Kill(round(after_s, 1), whom, len(whole), len(fits))
        kill.seconds = round(small_flow.begin(home, first.source, api_url).end(), 1)
        now, fits_now = _whole(home), _fits(home)
        kill.records_again = sum(now.get(name) != inode for name, inode in whole.items())
        kill.fits_again = sum(fits_now.get(name) != inode for name, inode in fits.items())
        got = small_flow.contents(home)
        kill.divergences = sorted(
            name for name in {*got, *expected} if got.get(name) != expected.get(name)
        )
        tally.kills.append(kill)
    return tally


def _kill(begun: Any, after_s: float, whom: str) -> bool:
    """Kill a flow so long after it began; whether it was still there."""
    try:
        begun.process.wait(after_s)
    except subprocess.TimeoutExpired:
        if whom == "main process":
            begun.process.kill()
        else:
            os.killpg(begun.process.pid, signal.SIGKILL)
        return begun.process.wait() < 0
    begun.end()  # raises if it has failed
    return False


def _whole(home: Path) -> dict[str, int]:
    """Every record by name, with its inode, which changes when it is written again."""
    import small_flow

    cache = home / "artifacts" / "cache"
    found = {name: (cache / name).stat().st_ino for name in small_flow.records(home)}
    for name in found:
        if fault := records.faults_of(cache / name):
            raise AssertionError(f"a half-written record: {fault}")
    return found


def _fits(home: Path) -> dict[str, tuple[int, int]]:
    paths = (home / "artifacts" / "cache").glob(".fits/*/[!.]*")
    return {p.name: (p.stat().st_ino, p.stat().st_mtime_ns) for p in paths}


@contextlib.contextmanager
def prefect_server() -> Iterator[str]:
    """Address of the Prefect server that is named in the environment, or of a throw-away one."""
    if url := os.environ.get("PREFECT_API_URL"):
        yield url
        return
    os.environ |= {"PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1"}
    from prefect.settings import get_current_settings
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=180):
        yield str(get_current_settings().api.url)


# --------------------------------------------------------------------------- the command


def page(layer: Tally, flow: FlowTally, command: str) -> str:
    """docs/faults.md."""
    divergences = [*layer.divergences, *(d for kill in flow.kills for d in kill.divergences)]
    lines = [
        "# Deaths and faults",
        "",
        f"Written by `{command}` on {datetime.now(UTC):%d %B %Y}. Goal: 0 divergences.",
        "",
        "| | deaths | faults | divergences |",
        "| --- | ---: | ---: | ---: |",
        f"| record layer | {layer.deaths} | {layer.faults} | {len(layer.divergences)} |",
        f"| comments flow | {len(flow.kills)} | | {len(divergences) - len(layer.divergences)} |",
        "",
        "## The record layer alone",
        "",
        "A small step is recorded, found, found damaged and refreshed, and fits are kept. Each of",
        "its file operations in turn is the last before a SIGKILL (before it, after it, halfway",
        "through a write, then a second one in the next run), or fails (EIO, ENOSPC, EMFILE,",
        "EACCES, EROFS, ENOLCK, a short write, a failed fsync, rename or close). Then it is done",
        "again, undisturbed: result and files must be those of a run to which nothing happened. No",
        "half-written record is ever visible, no lock stays.",
        "",
        f"{layer.told} faults rose as errors; {layer.absorbed} were absorbed (a short write is",
        "continued, an unreadable record is computed again, a leftover is swept later), with the",
        f"right result. {layer.seconds:g} s.",
        "",
        "| scenario | file operations |",
        "| --- | ---: |",
        *(f"| {name} | {number} |" for name, number in layer.operations.items()),
        "",
        "## The comments flow, killed at random",
        "",
        f"Undisturbed: {flow.records} records of {flow.files} files, {flow.fits} fits,",
        f"{flow.seconds:g} s. After the kill it is started again and must end with the same files",
        "(models: the same parameters). What was whole when the kill came must not be done again.",
        "",
        "| killed after (s) | whom | records whole | done again | fits whole | done again |"
        " the next run (s) | divergences |",
        "| ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
        *(
            f"| {k.after_s:g} | {k.whom} | {k.records_whole} | {k.records_again} | {k.fits_whole}"
            f" | {k.fits_again} | {k.seconds:g} | {len(k.divergences)} |"
            for k in flow.kills
        ),
    ]
    if divergences:
        lines += ["", "## Divergences", "", *(f"- {told[:500]}" for told in divergences)]
    return "\n".join(lines) + "\n"


def main() -> int:
    """1 when something diverged."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", nargs="?", choices=("records", "flow", "all"), default="all")
    parser.add_argument("--every", type=int, default=1, help="operations of the layer; default: 1")
    parser.add_argument("--scenarios", nargs="+", help="of the layer; default: all")
    parser.add_argument("--kills", type=int, default=10, help="of the flow; default: 10")
    parser.add_argument("--seed", type=int, default=34, help="of the moments of the kills")
    parser.add_argument("--json", action="store_true", help="counts on standard output, no file")
    asked = parser.parse_args()
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="faults-", dir=_memory()) as folder:
        if asked.what != "flow":
            found["records"] = try_records(Path(folder), asked.every, asked.scenarios)
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        if asked.what != "records":
            with prefect_server() as url:
                found["flow"] = try_flow(Path(folder), asked.kills, asked.seed, url)
    if asked.json:
        print(json.dumps({name: asdict(tally) for name, tally in found.items()}))
    elif asked.what == "all":
        told = page(found["records"], found["flow"], f"make faults N={asked.kills}")
        (PROJECT / "docs" / "faults.md").write_text(told, encoding="utf-8")
        print(told)
    else:
        print(json.dumps({name: asdict(tally) for name, tally in found.items()}, indent=2))
    divergences = Counter[str]()
    for tally in found.values():
        each = tally.kills if isinstance(tally, FlowTally) else [tally]
        divergences.update(d for one in each for d in one.divergences)
    return 1 if divergences else 0


def _memory() -> str | None:
    """A file system in memory, where fsync costs nothing; None where there is none."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


if __name__ == "__main__":
    sys.exit(main())
