"""The path from a file of posts to training and test set: seconds and memory of each step.

    make bench POSTS=posts.jsonl                                        # all of it, hours
    python benchmarks/large.py steps posts.jsonl --rows 100000 606000   # each step once
    python benchmarks/large.py peers posts.jsonl --rows 606000          # pandas and NLTK clean
    python benchmarks/large.py stems posts.jsonl --rows 10000000        # of every word, and NLTK's
    python benchmarks/large.py kills posts.jsonl --rows 606000          # kill -9, done again

Posts are lines of ``{"cat": ..., "txt": ...}``, gzipped or not; files of more rows are made of them
(`make_posts`). Each step has a process of its own; memory is the proportional set size of it and
its workers together, looked at five times a second.
"""

import argparse
import json
import random
import re
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from subprocess import DEVNULL
from typing import Any

import measure

RESULTS = measure.ROOT / "artifacts" / "benchmarks" / "large.json"
SEED = 34
STEPS = ("ingest", "validate", "clean", "split", "near-duplicates")
PEERS = ("clean by pandas and NLTK with a memory for stems", "clean by pandas and NLTK")
SYLLABLES = [c + v for c in "bcdfghjklmnprstvwz" for v in "aeiou"]


# --- data -----------------------------------------------------------------------------------


def make_posts(posts: Path, n: int, out: Path) -> None:
    """Write a file of `n` posts.

    First the real ones, in random order; then the same again, in three of which out of a hundred
    nothing is changed, and in the others a word dropped and two swapped, and to one in five a word
    added that stands nowhere else: about so do real vocabularies grow, like the root of the text.
    """
    rng, real = random.Random(SEED), measure.lines_of(posts)
    rng.shuffle(real)
    with out.open("wb") as file:
        for number in range(n):
            line = real[number % len(real)]
            if number >= len(real) and rng.random() >= 0.03:
                post = json.loads(line)
                words = post["txt"].split(" ")
                if len(words) > 3:
                    del words[rng.randrange(len(words))]
                i, j = rng.randrange(len(words)), rng.randrange(len(words))
                words[i], words[j] = words[j], words[i]
                if rng.random() < 0.2:
                    ending = rng.choice(["", "", "s", "ing", "ed", "er", "ly"])
                    words.insert(i, "".join(rng.choices(SYLLABLES, k=5)) + ending)
                line = json.dumps({**post, "txt": " ".join(words)}).encode()
            file.write(line + b"\n")


def file_of(posts: Path, n: int) -> Path:
    """The made file of so many posts; made where it is missing."""
    path = Path(tempfile.gettempdir()) / "large-posts" / f"{n}.jsonl"
    path.parent.mkdir(exist_ok=True)
    if not path.exists():
        making = path.with_suffix(".making")
        make_posts(posts, n, making)
        making.rename(path)
    return path


# --- what is measured: each runs in a process of its own --------------------------------------


def step(name: str, source: Path, folder: Path) -> dict[str, Any]:
    """One step, with what the step before left in `folder`; what it did, and its batches."""
    if name in PEERS:
        return clean_by_pandas(name == PEERS[0], folder)
    from neural_classifiers.engine import paths
    from neural_classifiers.engine.folder_store import unfinished
    from neural_classifiers.engine.step import body_of
    from tasks import clean, ingest, split, validate
    from tasks.references import Accepted, Cleaned, Ingested, Split
    from tasks.sources import find_source

    paths.use(folder)  # batches lie below it until a record stands
    own = folder / name
    own.mkdir()

    def before(name: str, kind: Any) -> Any:
        return kind.model_validate_json((folder / f"{name}.json").read_bytes())

    result: Any
    if name == "ingest":
        raw, n_rows = find_source(str(source), "comments"), int(source.stem)
        result = body_of(ingest.ingest_comments)(
            raw, n_rows, SEED, "txt", "cat", None, None, "auto", None, own
        )
    elif name == "validate":
        ingested, limits = before("ingest", Ingested), {"duplicates": 1.0}
        result = body_of(validate.validate_comments)(
            ingested, None, None, 5, limits, True, "posts", own
        )
    elif name == "clean":
        result = body_of(clean.clean_comments)(before("validate", Accepted), "default", own)
    elif name == "split":
        cleaned = before("clean", Cleaned)
        result = body_of(split.split_comments)(cleaned, 0.7, SEED, 5, False, own)
    else:
        result = body_of(split.find_near_duplicates)(before("split", Split), SEED, own)
    n_batches = batches_in(folder)
    shutil.rmtree(unfinished(own), ignore_errors=True)  # as when its record stands
    (folder / f"{name}.json").write_text(result.model_dump_json())
    return {"words": result.in_words(), "batches": n_batches}


def clean_by_pandas(has_memory: bool, folder: Path) -> dict[str, Any]:
    """Clean as the default does, by pandas and NLTK, with a memory for stems or without."""
    import functools
    import unicodedata

    import pandas as pd
    from nltk.stem import PorterStemmer

    from neural_classifiers.comments.text import english_stop_words

    accepted = json.loads((folder / "validate.json").read_bytes())["table"]["path"]
    stem, stop_words = PorterStemmer().stem, english_stop_words()
    if has_memory:
        stem = functools.cache(stem)
    marks = [c for c in map(chr, range(sys.maxunicode + 1)) if unicodedata.category(c)[0] == "P"]
    spaces = str.maketrans(dict.fromkeys(marks, " ") | {"'": "'", "\u2019": "'"})

    def clean(text: str) -> str:
        words = text.lower().translate(spaces).split()
        words = [word for word in words if word.strip("'") not in stop_words]
        words = [part for word in words for part in word.replace("'", " ").split()]
        return " ".join([stem(word) for word in words if word not in stop_words])

    table = pd.read_parquet(accepted)
    table["clean"] = table["txt"].map(clean)
    table.to_parquet(folder / "peer.parquet", index=False)
    return {"words": f"{len(table):,} comments cleaned"}


def stems(source: Path) -> dict[str, Any]:
    """Hold the stem of every distinct word of a file against NLTK's; the number of words."""
    from nltk.stem import PorterStemmer

    from neural_classifiers.comments.text import porter_stemmer

    words: set[str] = set()
    with source.open(encoding="utf-8") as lines:
        for line in lines:
            text = json.loads(line)["txt"].lower()
            words.update(text.split(), re.findall(r"\w+", text))  # with punctuation, and without
    ours, theirs = porter_stemmer(), PorterStemmer().stem
    if differ := [word for word in words if ours(word) != theirs(word)]:
        raise RuntimeError(f"{source}: expected NLTK's stems, got others of {differ[:20]}")
    return {"kind": "stems", "rows": int(source.stem), "words": len(words)}


def batches_in(folder: Path) -> int:
    """Batches that are finished, of a step that may not be."""
    return sum(1 for _ in folder.glob("**/*-summary"))


# --- measuring ----------------------------------------------------------------------------------


def command(name: str, source: Path, folder: Path) -> list[str | Path]:
    """This script, for one step."""
    return [__file__, "one", source, "--step", name, "--folder", folder]


def measure_step(name: str, source: Path, folder: Path) -> dict[str, Any]:
    """Seconds, CPU seconds and peak memory of one step, in a new process."""
    entry = {"kind": "step", "name": name, "rows": int(source.stem)}
    return entry | measure.measured(command(name, source, folder), memory="pss")


def measure_peers(source: Path, folder: Path) -> None:
    """Cleaning by the step and by each peer, one after the other; their rows have to be equal."""
    import pyarrow.parquet as pq

    for name in STEPS[:2]:
        measure_step(name, source, folder)
    ours = measure_step("clean", source, folder)
    measure.append(RESULTS, ours)
    clean = pq.read_table(folder / "clean" / "cleaned.parquet", columns=["clean"])
    for name in PEERS:
        theirs = measure_step(name, source, folder)
        if not pq.read_table(folder / "peer.parquet", columns=["clean"]).equals(clean):
            raise RuntimeError(f"{source}: expected the rows that {name} gives, got others")
        measure.append(RESULTS, theirs | {"ratio": theirs["seconds"] / ours["seconds"]})


def measure_kills(source: Path, folder: Path, n: int) -> None:
    """Killed at random moments of the path and done again: rows worked again, and the outputs."""
    rng, whole = random.Random(SEED), folder / "whole"
    whole.mkdir()
    undisturbed = {name: measure_step(name, source, whole) for name in STEPS[:4]}
    if not all(entry["batches"] for entry in undisturbed.values()):
        raise RuntimeError("expected batches of each step, found none: see batches_in")
    seconds = [entry["seconds"] for entry in undisturbed.values()]
    for number in range(n):
        [name] = rng.choices(STEPS[:4], weights=seconds)
        moment = rng.uniform(0, undisturbed[name]["seconds"])
        killed = folder / f"killed-{number}"
        killed.mkdir()
        for earlier in STEPS[: STEPS.index(name)]:
            shutil.copy(whole / f"{earlier}.json", killed)
        process = measure.start(command(name, source, killed), stdout=DEVNULL)
        time.sleep(moment)
        measure.kill(process)
        n_finished = batches_in(killed)
        shutil.rmtree(killed / name, ignore_errors=True)  # what a record in the making loses
        entry = {
            "kind": "kill",
            "name": name,
            "rows": int(source.stem),
            "moment": round(moment, 2),
            "of": undisturbed[name]["seconds"],
            "finished": n_finished,
            "batches": undisturbed[name]["batches"],
            "again": measure_step(name, source, killed)["seconds"],
            "equal": digests(killed, name) == digests(whole, name),
        }
        measure.append(RESULTS, entry)
        shutil.rmtree(killed)


def digests(folder: Path, name: str) -> dict[str, str]:
    """Digests of what a step wrote, by file name."""
    found: dict[str, str] = {}

    def look(value: Any) -> None:
        if isinstance(value, dict):
            if "sha256" in value:
                found[Path(value["path"]).name] = value["sha256"]
            for item in value.values():
                look(item)

    look(json.loads((folder / f"{name}.json").read_bytes()))
    return found


# --- tables -------------------------------------------------------------------------------------


def tables() -> str:
    """Medians of the steps, and each kill, as Markdown."""
    entries = measure.read(RESULTS)
    steps = [entry for entry in entries if entry["kind"] == "step"]
    rows = []
    for name, n in dict.fromkeys((entry["name"], entry["rows"]) for entry in steps):
        same = [entry for entry in steps if (entry["name"], entry["rows"]) == (name, n)]
        s, cpu, peak = (measure.median(same, key) for key in ("seconds", "cpu_s", "peak_mb"))
        times = f"{len(same)} times"
        rows.append([name, f"{n:,}", f"{s:.1f}", f"{s / n * 1e6:.1f}", f"{cpu:.0f}"])
        rows[-1] += [f"{peak:.0f}", times]
    head = ["step", "rows", "seconds", "µs a row", "CPU s", "peak MB", "measured"]
    kills = [entry for entry in entries if entry["kind"] == "kill"]
    keys = ["name", "rows", "moment", "of", "finished", "batches", "again", "equal"]
    kill_head = [
        "killed in",
        "rows",
        "after s",
        "of",
        "batches finished",
        "of",
        "again, s",
        "equal",
    ]
    return "\n\n".join(
        [
            measure.table(head, rows),
            *sentences(entries),
            measure.table(kill_head, [[entry[key] for key in keys] for entry in kills]),
        ]
    )


def sentences(entries: list[dict[str, Any]]) -> Iterator[str]:
    """What else was measured: cleaning against its peers, and the stems of all words."""
    for name in PEERS:
        if ratios := [entry["ratio"] for entry in entries if entry.get("name") == name]:
            ratio = statistics.median(ratios)
            yield f"**{name}** takes **{ratio:.1f}** times as long as clean; the rows are equal."
    for entry in entries:
        if entry["kind"] == "stems":
            words, rows = entry["words"], entry["rows"]
            yield f"All {words:,} distinct words of {rows:,} posts have NLTK's stem."


def main() -> None:
    """Measure, and write the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=["steps", "peers", "stems", "kills", "tables", "one"])
    parser.add_argument("posts", nargs="?", type=Path, help="JSON Lines of posts")
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000])
    parser.add_argument("--repetitions", type=int, default=1)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--step", choices=STEPS + PEERS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.what == "one":
        print(json.dumps(step(asked.step, asked.posts, asked.folder)))
        return
    for n in asked.rows if asked.what != "tables" else []:
        source = file_of(asked.posts, n)
        if asked.what == "stems":
            measure.append(RESULTS, stems(source))
            continue
        for _ in range(asked.repetitions):
            with tempfile.TemporaryDirectory(prefix="large-") as folder:
                if asked.what == "kills":
                    measure_kills(source, Path(folder), asked.kills)
                elif asked.what == "peers":
                    measure_peers(source, Path(folder))
                else:
                    for name in STEPS:
                        measure.append(RESULTS, measure_step(name, source, Path(folder)))
    measure.write_tables("large.py", tables())


if __name__ == "__main__":  # worker processes import this file again
    main()
