"""The record layer, killed or failed at each of its file operations in turn, and run again.

A death is a SIGKILL of a child process before an operation, after it, or halfway through a write; a
fault is an error that the operation returns. Whatever came before, the next run must give the
result and the files of a run to which nothing happened. `try_records` patches the file operations
of its process, forks and kills: call it in a process of its own.
"""

import builtins
import contextlib
import errno
import fcntl
import io
import os
import random
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import pyarrow as pa

from neural_classifiers.engine import records, run_files
from neural_classifiers.engine.files import as_json, make_folder, replacing, write_durably
from neural_classifiers.engine.folder_store import FolderStore
from neural_classifiers.engine.records import (
    FITS,
    LOCKS,
    RECORD,
    WRITING,
    File,
    Key,
    Reference,
    digest_of,
    record_folder,
)
from neural_classifiers.engine.rows.batches import Result, work_batches
from neural_classifiers.serving import registry
from neural_classifiers.serving.model import COMMENTS, FORMAT

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
"""What can go wrong with each kind of operation."""

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


@dataclass
class Tally:
    """Deaths and faults that were tried, and what came of them."""

    deaths: int = 0
    faults: int = 0
    raised: int = 0  # faults that rose as an OSError
    absorbed: int = 0  # faults after which the result was right all the same
    seconds: float = 0.0
    divergences: list[str] = field(default_factory=list)
    operations: dict[str, int] = field(default_factory=dict)  # by scenario


def try_records(
    every: int = 1, names: Sequence[str] | None = None, second_deaths: int = 1
) -> Tally:
    """Each death and fault at each file operation (or `every` so many) of each scenario.

    After each death at an operation the next run dies too, at `second_deaths` operations in turn.
    """
    tally, rng, started = Tally(), random.Random(34), time.monotonic()
    ends: dict[str, Any] = {}
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # there fsync costs nothing
    with tempfile.TemporaryDirectory(prefix="faults-", dir=memory) as folder:
        for scenario in [s for s in SCENARIOS if names is None or s.name in names]:
            trial = _Trial(scenario, Path(folder), tally)
            kinds = trial.undisturbed()
            tally.operations[scenario.name] = len(kinds)
            ends[scenario.name] = end = trial.expected, trial.state
            trial.compare("end of the undisturbed run", end, ends[scenario.like or scenario.name])
            for at, kind in list(enumerate(kinds, start=1))[::every]:
                for how in KILLS[: 3 if kind == "write" else 2]:
                    trial.die([(at, how)])
                seconds = rng.sample(range(1, len(kinds) + 1), min(second_deaths, len(kinds)))
                for second in seconds:
                    trial.die([(at, "kill before"), (second, "kill before")])
                for how in FAULTS[kind]:
                    trial.fail(at, kind, how)
    tally.seconds = round(time.monotonic() - started, 1)
    return tally


# ------------------------------------------------------------------ a disk that fails


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
        written = 0
        if self.how in ("kill halfway", "short", "short, then ENOSPC"):
            written = act(memoryview(data)[: len(data) // 2])
            self.full = self.how == "short, then ENOSPC"
        elif self.how == "kill after":
            act(data)
        return written if self.how.startswith("short") else self.stop_or_fail()

    def is_next(self, kind: str) -> bool:
        """Count an operation; true for the one that goes wrong."""
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
            if kind != "open":
                return self.do(kind, act, *args, **kwargs)
            writes = args[1] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            return self.do("open to write" if writes else "open to read", act, *args, **kwargs)

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
        was_written = not self.closed and self.writable()
        super().close()
        if was_written:
            self.disk.do("close", lambda: None)


# ------------------------------------------------------------------ what is done with it


class Made(Reference):
    """The result of the step that is tried: two files that count, one of them in a folder."""

    table: File
    figures: dict[str, File]
    rows: int


KEY = Key(step="count_words", parameters={"seed": 34}, code={"f": "1"}, libraries={"nltk": "3"})
CACHE = Path("artifacts") / "cache"
VALUES = b"one" * 1000, b"two", b"old"


class Scenario(NamedTuple):
    """What lies there, and what is done; `like` names one that must end in the same."""

    name: str
    prepare: Callable[[Path], object]
    act: Callable[[Path], Any]
    like: str = ""


def _recall(text: str = "words", refresh: bool = False) -> Callable[[Path], Any]:
    """Record a small step that writes several files, or find its record."""

    def work(folder: Path) -> Made:
        with (folder / "table.txt").open("w", encoding="utf-8") as table:
            table.write(text)
            table.flush()
            table.write(text)
        (folder / "figures").mkdir()
        (folder / "figures" / "head.png").write_bytes(text.encode() * 100)
        (folder / "timing.fits.json").write_text("{}")
        figures = {"head": File.of(folder / "figures" / "head.png")}
        return Made(table=File.of(folder / "table.txt"), figures=figures, rows=len(text))

    def act(home: Path) -> Any:
        outcome = records.recall(
            home / CACHE, KEY, Made, work, lambda: {"seconds": 1.5}, refresh=refresh
        )
        folder = record_folder(home / CACHE, KEY)
        return outcome.result.model_dump(mode="json", context={"folder": folder})

    return act


def _damage(file: str) -> Callable[[Path], object]:
    def prepare(home: Path) -> None:
        _recall()(home)
        path = record_folder(home / CACHE, KEY) / file
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)

    return prepare


def _left_over(home: Path) -> None:
    """What a SIGKILL leaves: files of a record in the making, a value half written."""
    for folder in (KEY.name, f"{KEY.name}/1/{KEY.name}/figures"):
        left = home / CACHE / WRITING / folder
        left.mkdir(parents=True, exist_ok=True)
        (left / "table.txt").write_text("half")
    store = home / CACHE / FITS / "x"
    store.mkdir(parents=True)
    (store / ".a1.writing").write_bytes(b"ol")


def _store(home: Path) -> FolderStore:
    return FolderStore(home / CACHE / FITS / "x")


def _keep(home: Path) -> dict[str, str]:
    store = _store(home)
    store["a1"], store["a2"], _ = VALUES
    return {name: value.hex() for name, value in store.items()}


def _squared(number: int) -> Result:
    table = pa.RecordBatch.from_pydict({"square": [number * number]})
    return Result(rows=1, tables={"squares": [table]}, summary={"number": number})


def _work_batches(home: Path) -> list[Any]:
    """Work three batches, each written when it is done, and read them all."""
    batches = work_batches(_squared, [(2,), (3,), (4,)], home / "unfinished")
    return [(batch.summary, batch.read("squares").to_pydict()) for batch in batches]


def _begin_run(home: Path) -> None:
    folder = home / "artifacts" / "runs" / "owl"
    folder.mkdir(parents=True)
    write_durably(folder / run_files.RUN, as_json({"steps": []}))


def _note_steps(home: Path) -> Any:
    """Note two steps in a run's folder, and what a later look finds of it."""
    folder = home / "artifacts" / "runs" / "owl"
    for number in (1, 2):
        with run_files.updating(folder) as run:
            run["steps"] = sorted({*run["steps"], number})
    return run_files.read(folder)


def _promote(home: Path) -> list[str | None]:
    """Add a version to the registry and let it serve, unless it does."""
    manifest = {"format": FORMAT, "kind": COMMENTS, "model": "linear"}
    with mock.patch.dict(os.environ, NEURAL_CLASSIFIERS_HOME=str(home)), registry.one_at_a_time():
        version = registry.add_version(manifest, {"model": b"m" * 5000, "seen": b"s"})
        if version and registry.serving_version(COMMENTS) != version:
            registry.let_serve(COMMENTS, version)
        return [version, registry.serving_version(COMMENTS)]


def _predict(home: Path) -> str:
    """Write predictions beside their place, line by line, and put them there."""
    out = home / "predictions" / "new.csv"
    make_folder(out.parent)
    with replacing(out) as unfinished, unfinished.open("w", encoding="utf-8") as file:
        for row in range(3):
            file.write(f"{row},sports\n")
            file.flush()
    return out.read_text(encoding="utf-8")


def _nothing(home: Path) -> None:
    home.mkdir(parents=True, exist_ok=True)


FIRST = "compute and record"
SCENARIOS = [
    Scenario(FIRST, _nothing, _recall()),
    Scenario("the same after a death", _left_over, lambda home: (_recall()(home), _keep(home))),
    Scenario("find", _recall(), _recall(), FIRST),
    Scenario("find an output damaged", _damage("figures/head.png"), _recall(), FIRST),
    Scenario("find record.json damaged", _damage(RECORD), _recall(), FIRST),
    Scenario("refresh, equal output", _recall(), _recall(refresh=True), FIRST),
    Scenario("refresh, other output", _recall(), _recall("others", refresh=True)),
    Scenario("keep new fits", _nothing, _keep),
    Scenario("keep fits again", lambda home: _store(home).update(a1=b"old", a2=b"old"), _keep),
    Scenario("work batches of rows", _nothing, _work_batches),
    Scenario("note steps in a run's folder", _begin_run, _note_steps),
    Scenario("promote a version", _nothing, _promote),
    Scenario("write predictions", _nothing, _predict),
]


class _Trial:
    """One scenario, tried again and again from the same start."""

    def __init__(self, scenario: Scenario, folder: Path, tally: Tally) -> None:
        self.scenario, self.tally = scenario, tally
        self.home, self.start = folder / "home", folder / "start"
        shutil.rmtree(self.start, ignore_errors=True)
        self.start.mkdir(parents=True)
        scenario.prepare(self.start)

    def undisturbed(self) -> list[str]:
        """Kinds of the file operations, in order, of a run to which nothing happens."""
        self._begin("undisturbed")
        self.scenario.act(self.home)  # what is read once, imports say, is no operation of it
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
            self.tally.raised += 1
        else:
            self.tally.absorbed += 1
            self.compare("result of the run with the fault", got, self.expected)
        self._whole_or_absent()
        if kind != "unlink" and not disk.hit_sweeping:  # else the clean-up itself has failed
            new = _state(self.home).keys() - _state(self.start).keys()
            if left := [name for name in new if "writing" in name]:
                self._diverged(f"left half-written: {left}")
        self._again()

    def _begin(self, trial: str) -> None:
        self.trial = f"{self.scenario.name}, {trial}"
        shutil.rmtree(self.home, ignore_errors=True)
        shutil.copytree(self.start, self.home)

    def _again(self) -> None:
        try:
            self.compare("result", self.scenario.act(self.home), self.expected)
        except Exception as error:  # an undisturbed run has none
            self._diverged(f"the next run: {error!r}")
        self.compare("files", _state(self.home), self.state)

    def _whole_or_absent(self) -> None:
        """Look at what is visible after a death or a fault: no half record, no lock held."""
        cache = self.home / CACHE
        record = record_folder(cache, KEY)
        faults = records.faults_of(record) if record.exists() else None
        if faults and "damaged" not in self.scenario.name:
            self._diverged(f"a record that is not whole: {faults}")
        for value in _store(self.home).values():
            if value not in VALUES:
                self._diverged(f"a value that is not whole: {value!r}")
        for lock in (*cache.glob(f"{LOCKS}/*"), *cache.glob(f"{FITS}/*")):
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
        self.tally.divergences.append(f"{self.trial}: {what}")


def _state(home: Path) -> dict[str, str]:
    """Every file and folder that counts, by name, as a digest."""
    folders = [home / CACHE / name for name in (KEY.step, FITS, WRITING)]
    folders += [home / name for name in ("unfinished", "artifacts/runs", "artifacts/models")]
    return {
        str(path.relative_to(home)): digest_of(path) if path.is_file() else "folder"
        for folder in (*folders, home / "predictions")
        for path in folder.rglob("*")
        if path.name not in ("timing.json", registry.SERVING_FILE)  # they tell the time
    }
