"""What predicting costs: a million comments streamed, one text after loading, one text cold.

    python benchmarks/predict.py posts.jsonl.gz

A linear model is trained on posts of the file and serves in a home of its own. The comments to
predict are other posts of it, repeated as often as it takes, each time with a word dropped, two
swapped and a word that stands nowhere else, so that neither the stemmer's memory nor the
vocabulary has an easy life. Memory is the sum over all processes of a prediction, sampled.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
COMMAND = Path(sys.executable).with_name("neural-classifiers")


def posts_of(path: Path) -> list[dict[str, str]]:
    """Posts with a text that cleaning leaves something of."""
    from neural_classifiers.comments.rows import Layout, Part, read_comments

    part = Part(path.name, lambda: path.open("rb"))
    rows = (row for batch in read_comments([part], Layout()) for row in batch.to_pylist())
    return [{"cat": row["cat"], "txt": row["txt"]} for row in rows if row["txt"]]


def serve_linear(posts: list[dict[str, str]]) -> str:
    """Train the pipeline's linear model and let it serve; its version."""
    from neural_classifiers.arrays.skops_bytes import model_to_bytes, parameters_digest
    from neural_classifiers.comments.models.pipelines import linear_pipeline
    from neural_classifiers.comments.text import CLEANINGS, clean_comments
    from neural_classifiers.serving import registry, trained_on
    from neural_classifiers.serving.model import (
        COMMENTS,
        EXAMPLES,
        FORMAT,
        PIPELINE,
        PROFILE,
        RECIPE,
        SEEN,
        examples_to_bytes,
    )

    texts, labels = [p["txt"] for p in posts], [p["cat"] for p in posts]
    cleaned = clean_comments(texts)
    pipeline = linear_pipeline().fit(cleaned, labels)
    classes = [str(c) for c in pipeline.classes_]
    files = {
        PIPELINE: model_to_bytes(pipeline),
        RECIPE: b"{}",
        EXAMPLES: examples_to_bytes(texts[:32], pipeline.predict_proba(cleaned[:32])),
        SEEN: trained_on.seen_to_bytes(trained_on.digests_of_texts(cleaned)),
        PROFILE: trained_on.profile_to_bytes(texts, labels),
    }
    manifest = {
        "format": FORMAT,
        "kind": COMMENTS,
        "model": "linear",
        "classes": classes,
        "parameters_sha256": parameters_digest(pipeline),
        "libraries": {},
        "cleaning": asdict(CLEANINGS["default"]),
    }
    with registry.one_at_a_time():
        version = registry.add_version(manifest, files)
        assert version is not None
        registry.let_serve(COMMENTS, version)
    size = sum(p.stat().st_size for p in registry.version_folder(version).iterdir())
    n_words = len(pipeline[0].vocabulary_)
    print(f"{version}: {len(posts):,} posts, {n_words:,} features, {size / 1e6:.1f} MB on disk")
    return version


def write_comments(path: Path, posts: list[dict[str, str]], n_rows: int) -> None:
    """Posts again and again, each time a little different."""
    rng = random.Random(34)
    with path.open("w", encoding="utf-8") as file:
        for row in range(n_rows):
            words = posts[row % len(posts)]["txt"].split()
            if len(words) > 2:
                i, j = rng.randrange(len(words)), rng.randrange(len(words))
                words[i], words[j] = words[j], words[i]
                del words[rng.randrange(len(words))]
            words.append(f"word{row}")
            file.write(json.dumps({"txt": " ".join(words)}) + "\n")


def different_features(model: Any, texts: list[str]) -> int:
    """Texts whose features differ in a bit between the step of a run and prediction."""
    import pyarrow as pa

    from neural_classifiers.comments.text import clean_column, porter_stemmer

    cleaned = clean_column(pa.array(texts), stem=porter_stemmer()).to_pylist()
    trained = model._pipeline[:-1].transform(cleaned)
    n_different = 0
    for row, text in enumerate(texts):  # one by one, as single texts are predicted
        ours, theirs = model.features([text]), trained[row]
        n_different += any(
            getattr(ours, part).tobytes() != getattr(theirs, part).tobytes()
            for part in ("indptr", "indices", "data")
        )
    return n_different


def measured(command: list[str]) -> tuple[float, float, float, str]:
    """Seconds, processor seconds and peak MB of a command and its children; what it printed."""
    before, began = os.times(), time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    peak, over = 0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not over.wait(0.1):
            try:
                tree = [psutil.Process(process.pid)]
                tree += tree[0].children(recursive=True)
                peak = max(peak, sum(p.memory_info().rss for p in tree))
            except psutil.Error:
                continue

    watcher = threading.Thread(target=watch)
    watcher.start()
    said, _ = process.communicate()
    over.set()
    watcher.join()
    if process.returncode:
        raise SystemExit(f"{command}: ended with {process.returncode}")
    after = os.times()
    used = (after.children_user - before.children_user) + (
        after.children_system - before.children_system
    )
    return time.monotonic() - began, used, peak / 1e6, said


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("posts", type=Path)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--train", type=int, default=20_000)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2])
    parser.add_argument("--formats", nargs="+", default=["jsonl", "parquet"])
    told = parser.parse_args()

    posts = posts_of(told.posts)
    random.Random(34).shuffle(posts)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        os.environ["NEURAL_CLASSIFIERS_HOME"] = str(home)
        serve_linear(posts[: told.train])
        comments = home / "comments.jsonl"
        write_comments(comments, posts[told.train :], told.rows)
        size = comments.stat().st_size / 1e6
        print(f"{told.rows:,} comments, {size:.0f} MB; load {os.getloadavg()[0]:.1f}\n")

        print("| workers | output | seconds | rows/s | processor s | peak MB |")
        print("| --- | --- | --- | --- | --- | --- |")
        for n_workers in told.workers:
            for ending in told.formats:
                out = home / f"out.{ending}"
                command = [str(COMMAND), "predict", str(comments), "--out", str(out)]
                command += ["--workers", str(n_workers), "--json"]
                took, used, peak, said = measured(command)
                account = json.loads(said)
                assert account["rows"] == told.rows == account["predicted"] + account["rejected"]
                rate = told.rows / took
                print(
                    f"| {n_workers} | {ending} | {took:.0f} | {rate:,.0f} | {used:.0f} | "
                    f"{peak:.0f} |",
                    flush=True,
                )
        small = home / "small.jsonl"
        with comments.open() as lines, small.open("w") as file:
            file.writelines(islice(lines, told.rows // 10))
        out = str(home / "out.jsonl")
        command = [str(COMMAND), "predict", str(small), "--out", out, "--workers", "0"]
        peak = measured(command)[2]
        print(f"\na tenth of the rows, 0 workers: peak {peak:.0f} MB")

        from neural_classifiers import load
        from neural_classifiers.serving.predict import predict_texts

        model, texts = load("comments"), [p["txt"] for p in posts[told.train :][:500]]
        took_ms = []
        for text in texts:
            began = time.perf_counter()
            predict_texts(model, [text])
            took_ms.append(1000 * (time.perf_counter() - began))
        n_texts = min(10_000, len(posts))
        n_different = different_features(model, [p["txt"] for p in posts[-n_texts:]])
        print(f"\nfeatures of {n_texts:,} posts, training against prediction: {n_different} differ")
        cold = [measured([str(COMMAND), "predict", texts[0]]) for _ in range(5)]
        libraries = [sys.executable, "-c", "import skops.io, nltk.stem"]
        floor = [measured(libraries)[1] for _ in range(5)]
        print(
            f"\none text after loading, median of {len(texts)}: {statistics.median(took_ms):.2f} ms"
            f" (worst {max(took_ms):.1f})"
            f"\none text from the command line, median of {len(cold)}: "
            f"{statistics.median(c[0] for c in cold):.2f} s, "
            f"{statistics.median(c[1] for c in cold):.2f} s of processor, peak "
            f"{max(c[2] for c in cold):.0f} MB; of it to import scikit-learn, skops and NLTK "
            f"{statistics.median(floor):.2f} s of processor"
        )


if __name__ == "__main__":
    main()
