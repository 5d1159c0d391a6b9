"""The path from a file of posts to training and test set: seconds and memory of each step.

    python benchmarks/large.py steps posts.jsonl.gz --rows 100000 606000 10000000 --repetitions 3
    python benchmarks/large.py peers posts.jsonl.gz --rows 606000 --repetitions 3
    python benchmarks/large.py floors posts.jsonl.gz --rows 606000
    python benchmarks/large.py kills posts.jsonl.gz --rows 606000 --kills 10
    python benchmarks/large.py tables

Posts are lines of ``{"cat": ..., "txt": ...}``, gzipped or not; files of more rows are made of them
(`make_posts`). Each step, and each peer, has a process of its own; memory is the proportional set
size of it and its workers together, looked at five times a second. The peers read, clean and split
the plain way, with pandas, NLTK and scikit-learn, once without and once with a memory for stems,
and write the same rows.
"""

import argparse
import gzip
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import psutil

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

RESULTS = ROOT / "artifacts" / "benchmarks" / "large.json"
SEED = 34
STEPS = ("ingest", "validate", "clean", "split", "near-duplicates")
SYLLABLES = [c + v for c in "bcdfghjklmnprstvwz" for v in "aeiou"]


# --- data -----------------------------------------------------------------------------------


def make_posts(posts: Path, n: int, out: Path) -> dict[str, Any]:
    """A file of `n` posts; what was done to make them so many.

    First the real ones, in random order; then the same again, in three of which out of a hundred
    nothing is changed, and in the others a word dropped and two swapped, and to one in five a word
    added that stands nowhere else: about so do real vocabularies grow, like the root of the text.
    """
    rng = random.Random(SEED)
    content = gzip.decompress(posts.read_bytes()) if posts.suffix == ".gz" else posts.read_bytes()
    real = content.splitlines()
    rng.shuffle(real)
    made = {"rows": n, "real": min(n, len(real)), "copied": 0, "new_words": 0}
    with out.open("wb") as file:
        for number in range(n):
            line = real[number % len(real)]
            if number >= len(real):
                if rng.random() < 0.03:
                    made["copied"] += 1
                else:
                    post = json.loads(line)
                    words = post["txt"].split(" ")
                    if len(words) > 3:
                        del words[rng.randrange(len(words))]
                    i, j = rng.randrange(len(words)), rng.randrange(len(words))
                    words[i], words[j] = words[j], words[i]
                    if rng.random() < 0.2:
                        made["new_words"] += 1
                        words.insert(i, _new_word(rng))
                    line = json.dumps({**post, "txt": " ".join(words)}).encode()
            file.write(line + b"\n")
    return made


def _new_word(rng: random.Random) -> str:
    ending = rng.choice(["", "", "s", "ing", "ed", "er", "ly"])
    return "".join(rng.choices(SYLLABLES, k=5)) + ending


def file_of(posts: Path, n: int) -> Path:
    """The made file of so many posts; made where it is missing."""
    path = Path(tempfile.gettempdir()) / "large-posts" / f"{n}.jsonl"
    path.parent.mkdir(exist_ok=True)
    if not path.exists():
        beside = path.with_suffix(".making")
        made = make_posts(posts, n, beside)
        path.with_suffix(".json").write_text(json.dumps(made | {"bytes": beside.stat().st_size}))
        beside.rename(path)
    return path


# --- what is measured: each runs in a process of its own --------------------------------------


def step(name: str, source: str, folder: Path) -> str:
    """One step of ours, with what the step before left in `folder`; in words what it did."""
    from neural_classifiers.engine.step import body_of
    from neural_classifiers.engine.workers import cores
    from tasks import clean, ingest, split, validate
    from tasks.sources import find_source

    own, keep = folder / name, folder / f"{name}.keep"
    own.mkdir()

    def before(name: str, kind: Any) -> Any:
        return kind.model_validate_json((folder / f"{name}.json").read_bytes())

    result: Any
    if name == "ingest":
        raw = find_source(source, "comments")
        n_rows = int(Path(source).stem)
        layout = ingest.layout_of(raw, "txt", "cat", None)
        result = ingest.read_source(raw, layout, n_rows, SEED, own, keep, cores())
    elif name == "validate":
        ingested = before("ingest", ingest.Ingested)
        limits = {"duplicates": 1.0}
        body = body_of(validate.validate_comments)
        with mock.patch.object(validate, "unfinished", return_value=keep):
            result = body(ingested, validate.Last(), None, 5, limits, True, "posts", own)
    elif name == "clean":
        accepted = before("validate", validate.Accepted)
        result = clean.clean_table(accepted, "default", own, keep, cores())
    elif name == "split":
        cleaned = before("clean", clean.Cleaned)
        result = split.split_table(cleaned, 0.7, SEED, 5, False, own, keep, cores())
    else:
        result = body_of(split.find_near_duplicates)(before("split", split.Split), SEED, own)
    n_batches = sum(1 for _ in keep.glob("**/*-told"))
    (folder / f"{name}.batches").write_text(str(n_batches))
    shutil.rmtree(keep, ignore_errors=True)  # as when its record stands
    (folder / f"{name}.json").write_text(result.model_dump_json())
    return str(result.in_words())


def peer(name: str, source: str, folder: Path) -> str:
    """The plain way: ``clean`` or ``whole``, with a memory for stems or without."""
    import unicodedata
    from functools import lru_cache

    import pandas as pd
    from nltk.stem import PorterStemmer
    from sklearn.model_selection import train_test_split

    from neural_classifiers.comments.text import english_stop_words

    what, memory = name.split("-")
    stem = PorterStemmer().stem
    if memory == "memo":
        stem = lru_cache(None)(stem)
    stop_words = english_stop_words()
    marks = [chr(i) for i in range(sys.maxunicode + 1) if unicodedata.category(chr(i))[0] == "P"]
    spaces = str.maketrans(dict.fromkeys(marks, " ") | {"'": "'", "\u2019": "'"})

    def cleaned(text: str) -> str:
        words = text.lower().translate(spaces).split()
        words = [word for word in words if word.strip("'") not in stop_words]
        words = [part for word in words for part in word.replace("'", " ").split()]
        return " ".join([stem(word) for word in words if word not in stop_words])

    if what == "clean":
        table = pd.read_parquet(folder / "validate" / "comments.parquet")
    else:
        table = pd.read_json(source, lines=True)
        table = table[table["txt"].str.strip().ne("") & table["cat"].notna()]
    table["clean"] = table["txt"].map(cleaned)
    if what == "clean":
        table.to_parquet(folder / f"{name}.parquet", index=False)
        return f"{len(table):,} cleaned"
    table = table[table["clean"].ne("")].drop_duplicates(["clean", "cat"])
    train, test = train_test_split(table, train_size=0.7, stratify=table["cat"], random_state=SEED)
    train.to_parquet(folder / f"{name}-train.parquet", index=False)
    test.to_parquet(folder / f"{name}-test.parquet", index=False)
    return f"{len(train):,} training, {len(test):,} test"


def floor(name: str, source: str, folder: Path) -> str:
    """Reading lines alone, reading and parsing alone (pyarrow, unchecked), writing alone."""
    import pyarrow.json as pj
    import pyarrow.parquet as pq

    if name == "lines":
        with Path(source).open("rb") as file:
            return f"{sum(1 for _ in file):,} lines"
    if name == "parse":
        return f"{sum(batch.num_rows for batch in pj.open_json(source)):,} rows"
    from neural_classifiers.comments.rows import count_rows, read_comments
    from tasks.ingest import layout_of, parts_of
    from tasks.sources import find_source

    if name == "strict":
        raw = find_source(source, "comments")
        layout = layout_of(raw, "txt", "cat", None)
        count_rows(parts_of(raw), layout)
        n_rows = sum(batch.num_rows for batch in read_comments(parts_of(raw), layout))
        return f"{n_rows:,} rows, one process"
    table = pq.read_table(folder / "clean" / "cleaned.parquet")
    began = time.monotonic()
    pq.write_table(table, folder / "written.parquet", compression="zstd")
    return f"{table.num_rows:,} rows written in {time.monotonic() - began:.1f} s"


KINDS: dict[str, Callable[[str, str, Path], str]] = {"step": step, "peer": peer, "floor": floor}


# --- measuring ----------------------------------------------------------------------------------


def measure(kind: str, name: str, source: Path, folder: Path) -> dict[str, Any]:
    """Seconds, processor seconds and peak memory of one of the above, in a new process."""
    began = time.monotonic()
    process = start(kind, name, source, folder)
    peak = cpu = 0.0
    while process.poll() is None:
        peak, cpu = max(peak, memory_mb(process.pid)), max(cpu, cpu_s(process.pid))
        time.sleep(0.2)
    if process.returncode:
        raise SystemExit(f"{name}: ended with {process.returncode}")
    entry = {
        "kind": kind,
        "name": name,
        "rows": int(source.stem),
        "seconds": round(time.monotonic() - began, 2),
        "cpu_s": round(cpu, 1),
        "peak_mb": round(peak),
        "words": (folder / "words").read_text(),
        "load": os.getloadavg()[0],
    }
    sys.stderr.write(f"{entry}\n")
    return entry


def start(kind: str, name: str, source: Path, folder: Path) -> subprocess.Popen[bytes]:
    """A process of this script that does one thing."""
    command = [sys.executable, __file__, "one", kind, "--name", name]
    return subprocess.Popen([*command, "--source", str(source), "--folder", str(folder)])


def family(pid: int) -> Iterator[psutil.Process]:
    """A process and all below it."""
    try:
        process = psutil.Process(pid)
        yield from [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return


def memory_mb(pid: int) -> float:
    """Proportional set size of a process and all below it."""
    total = 0
    for process in family(pid):
        try:
            total += process.memory_full_info().pss
        except psutil.Error:
            continue
    return total / 1e6


def cpu_s(pid: int) -> float:
    """Processor seconds of a process and all below it that are alive."""
    total = 0.0
    for process in family(pid):
        try:
            times = process.cpu_times()
        except psutil.Error:
            continue
        total += times.user + times.system
    return total


def keep(entry: Mapping[str, Any]) -> None:
    """Append a measurement to the file of results."""
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    entries = json.loads(RESULTS.read_bytes()) if RESULTS.is_file() else []
    beside = RESULTS.with_suffix(".new")
    beside.write_text(json.dumps([*entries, entry], indent=1))
    beside.replace(RESULTS)


def measure_steps(source: Path, folder: Path, steps: Sequence[str] = STEPS) -> None:
    """Every step once."""
    for name in steps:
        keep(measure("step", name, source, folder))


def measure_peers(source: Path, folder: Path) -> None:
    """Ours and the peers' by turns; the rows that they clean are compared."""
    import pyarrow.parquet as pq

    measure_steps(source, folder, STEPS[:4])
    ours = pq.read_table(folder / "clean" / "cleaned.parquet", columns=["clean"])
    for name in ("clean-memo", "clean-plain", "whole-memo"):
        keep(measure("peer", name, source, folder))
        if name.startswith("clean"):
            theirs = pq.read_table(folder / f"{name}.parquet", columns=["clean"])
            pairs = zip(ours["clean"].to_pylist(), theirs["clean"].to_pylist(), strict=True)
            differ = sum(one != other for one, other in pairs)
            keep({"kind": "compared", "name": name, "rows": int(source.stem), "differ": differ})


def measure_floors(source: Path, folder: Path) -> None:
    """What no path can do without."""
    measure_steps(source, folder, STEPS[:3])
    for name in ("lines", "parse", "strict", "write"):
        keep(measure("floor", name, source, folder))


def measure_kills(source: Path, folder: Path, n: int) -> None:
    """Killed at random moments of the path and done again: rows worked again, and the outputs."""
    rng = random.Random(SEED)
    clean, seconds = folder / "clean-run", {}
    clean.mkdir()
    for name in STEPS[:4]:
        seconds[name] = measure("step", name, source, clean)["seconds"]
    digests = {name: outputs(clean, name) for name in STEPS[:4]}
    for number in range(n):
        moment = rng.uniform(0, sum(seconds.values()))
        name = STEPS[0]
        for name in STEPS[:4]:
            if moment < seconds[name]:
                break
            moment -= seconds[name]
        killed = folder / f"killed-{number}"
        killed.mkdir()
        for earlier in STEPS[: STEPS.index(name)]:
            shutil.copy(clean / f"{earlier}.json", killed)
        process = start("step", name, source, killed)
        time.sleep(moment)
        victims = list(family(process.pid))
        process.send_signal(signal.SIGKILL)
        process.wait()
        psutil.wait_procs(victims, timeout=30)
        kept = sum(1 for _ in killed.glob(f"{name}.keep/**/*-told"))
        shutil.rmtree(killed / name, ignore_errors=True)  # what a record in the making loses
        again = measure("step", name, source, killed)
        entry = {
            "kind": "kill",
            "name": name,
            "rows": int(source.stem),
            "moment": round(moment, 2),
            "of": seconds[name],
            "batches_kept": kept,
            "batches": int((clean / f"{name}.batches").read_text()),
            "seconds_again": again["seconds"],
            "equal": outputs(killed, name) == digests[name],
        }
        keep(entry)
        sys.stderr.write(f"{entry}\n")
        shutil.rmtree(killed)


def outputs(folder: Path, name: str) -> dict[str, Any]:
    """Digests of what a step wrote."""
    found: list[tuple[str, str]] = []

    def look(value: Any) -> None:
        if isinstance(value, dict):
            if "sha256" in value:
                found.append((Path(value["path"]).name, value["sha256"]))
            for item in value.values():
                look(item)

    look(json.loads((folder / f"{name}.json").read_bytes()))
    return dict(found)


# --- tables -------------------------------------------------------------------------------------


def tables() -> str:
    """What was measured, as Markdown: medians."""
    entries = json.loads(RESULTS.read_bytes())
    lines = [
        "| step | rows | seconds | µs a row | CPU s | peak MB | measured |",
        "|" + " --- |" * 7,
    ]
    for kind in ("step", "peer", "floor"):
        names = dict.fromkeys((e["name"], e["rows"]) for e in entries if e["kind"] == kind)
        for name, rows in names:
            found = [e for e in entries if (e["name"], e["rows"]) == (name, rows)]
            found = [e for e in found if e["kind"] == kind]
            s, cpu, peak = (
                statistics.median(e[what] for e in found)
                for what in ("seconds", "cpu_s", "peak_mb")
            )
            lines.append(
                f"| {name} | {rows:,} | {s:.1f} | {s / rows * 1e6:.1f} | {cpu:.0f} | {peak:.0f} "
                f"| {len(found)} times |"
            )
    lines += [f"\n{entry}" for entry in entries if entry["kind"] in ("compared", "kill")]
    return "\n".join(lines)


def main() -> None:
    """Measure, or print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = ["steps", "peers", "floors", "kills", "tables", "make", "one"]
    parser.add_argument("what", choices=commands)
    parser.add_argument("posts", nargs="?", help="JSON Lines of posts")
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000])
    parser.add_argument("--repetitions", type=int, default=1)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--name", help=argparse.SUPPRESS)
    parser.add_argument("--source", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    told = parser.parse_args()
    if told.what == "one":
        words = KINDS[told.posts](told.name, told.source, told.folder)
        (told.folder / "words").write_text(words)
        return
    if told.what != "tables":
        for n in told.rows:
            source = file_of(Path(told.posts), n)
            for _ in range(told.repetitions if told.what != "make" else 0):
                with tempfile.TemporaryDirectory(prefix="large-") as name:
                    if told.what == "steps":
                        measure_steps(source, Path(name))
                    elif told.what == "peers":
                        measure_peers(source, Path(name))
                    elif told.what == "floors":
                        measure_floors(source, Path(name))
                    else:
                        measure_kills(source, Path(name), told.kills)
        if told.what == "make":
            return
    sys.stdout.write(tables() + "\n")


if __name__ == "__main__":
    main()
