"""The comments flow, killed at random moments and started again.

What was whole when the kill came must not be done again, and in the end every file must be that of
a run to which nothing happened.
"""

import os
import random
import signal
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import small_flow

from neural_classifiers.engine import records


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
    rng, first = random.Random(seed), small_flow.undisturbed(api_url)
    expected = small_flow.contents(first.home)
    tally = FlowTally(
        records=len(small_flow.records(first.home)),
        files=len(expected),
        fits=len(_fits(first.home)),
        seconds=round(first.seconds, 1),
    )
    while len(tally.kills) < kills:
        home = Path(tempfile.mkdtemp(prefix="killed-", dir=folder))
        whom = "main process" if len(tally.kills) % 3 == 1 else "process group"
        after_s = rng.uniform(0, first.seconds)
        if not _kill(small_flow.begin(home, first.source, api_url), after_s, whom):
            continue  # it had ended before
        whole, fits = _whole(home), _fits(home)
        kill = Kill(round(after_s, 1), whom, len(whole), len(fits))
        kill.seconds = round(small_flow.begin(home, first.source, api_url).end(), 1)
        kill.records_again = len(whole.items() - _whole(home).items())
        kill.fits_again = len(fits.items() - _fits(home).items())
        got = small_flow.contents(home)
        kill.divergences = sorted({name for name, _ in got.items() ^ expected.items()})
        tally.kills.append(kill)
    return tally


def _kill(begun: small_flow.Begun, after_s: float, whom: str) -> bool:
    """Kill a flow so long after it began; false if it had ended."""
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
    cache = home / "artifacts" / "cache"
    inodes = {name: (cache / name).stat().st_ino for name in small_flow.records(home)}
    for name in inodes:
        if fault := records.faults_of(cache / name):
            raise AssertionError(f"a half-written record: {fault}")
    return inodes


def _fits(home: Path) -> dict[str, tuple[int, int]]:
    paths = (home / "artifacts" / "cache").glob(f"{records.FITS}/*/[!.]*")
    return {p.name: (p.stat().st_ino, p.stat().st_mtime_ns) for p in paths}
