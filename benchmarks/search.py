"""Our search against `GridSearchCV`, and what a kill, a grown grid and Dask cost.

    make bench POSTS=posts.jsonl                          # everything, then the tables
    python benchmarks/search.py posts.jsonl --only scikit # one comparison, one repetition
    python benchmarks/search.py --tables                  # only the tables, printed and in docs

Posts are lines of ``{"cat": ..., "txt": ...}``, gzipped or not. Every measurement is a process of
its own from its start (imports, workers and refit included) to its end, ours and the peer's by
turns, and goes at once into a file of results, so that long comparisons can be measured one at a
time. CPU seconds are of all its processes: on a shared machine they say more than the clock's.
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
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import psutil  # noqa: E402
from sklearn.neural_network import MLPClassifier  # noqa: E402

SEED = 34
SHARES = {"science_and_technology": 0.040, "sports": 0.236, "video_games": 0.724}  # notebook
RESULTS = ROOT / "artifacts" / "benchmarks" / "search.json"
SAMPLE_S = 0.2
MARK = "<!-- tables, by benchmarks/search.py -->"


# --- data -----------------------------------------------------------------------------------


def training_posts(path: Path, n: int) -> dict[str, list[str]]:
    """Cleaned training posts: `n` drawn with the notebook's class shares, then its split."""
    from neural_classifiers.comments.splits import split_comments
    from neural_classifiers.comments.text import clean_comments

    by_class: dict[str, list[str]] = {label: [] for label in SHARES}
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    for line in content.splitlines():
        post = json.loads(line)
        if post["cat"] in by_class:
            by_class[post["cat"]].append(post["txt"])
    rng = random.Random(SEED)
    drawn = []
    for label, share in SHARES.items():
        drawn += [(text, label) for text in rng.sample(by_class[label], round(share * n))]
    rng.shuffle(drawn)
    labels = [label for _, label in drawn]
    cleaned = clean_comments([text for text, _ in drawn])
    train = split_comments(cleaned, labels, seed=SEED).train.tolist()
    return {"X": [cleaned[row] for row in train], "y": [labels[row] for row in train]}


# --- what is measured: each runs in a process of its own --------------------------------------


def scikit(data: dict[str, Any], side: str, **options: Any) -> dict[str, Any]:
    """The notebook's grid of scikit-learn's network."""
    from neural_classifiers.comments.models.grids import SCIKIT_GRID
    from neural_classifiers.comments.models.pipelines import scikit_pipeline

    return searched(scikit_pipeline(SEED), SCIKIT_GRID, data, side, **options)


def keras(data: dict[str, Any], side: str, **options: Any) -> dict[str, Any]:
    """The notebook's grid of the Keras network; the peer's is scikeras as it comes."""
    from neural_classifiers.comments.models.grids import KERAS_GRID
    from neural_classifiers.comments.models.pipelines import keras_pipeline

    if side == "ours":
        return searched(keras_pipeline(SEED), KERAS_GRID, data, side, **options)
    from scikeras.wrappers import KerasClassifier
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import Pipeline

    network = KerasClassifier(
        model=plain_network,
        loss="categorical_crossentropy",
        optimizer="adam",
        random_state=SEED,
        verbose=0,
    )
    pipeline = Pipeline([("tfidf", TfidfVectorizer(max_features=2100)), ("keras", network)])
    return searched(pipeline, KERAS_GRID, data, side, **options)


def plain_network(meta: dict[str, Any], compile_kwargs: dict[str, Any]) -> Any:
    """The notebook's network as its users write it."""
    from neural_classifiers.comments.models.networks import build_comment_mlp

    model = build_comment_mlp(meta["n_features_in_"], meta["n_classes_"])
    model.compile(**compile_kwargs)
    return model


ROWS_GRID = {
    "activation": ["identity", "relu"],
    "learning_rate": ["constant", "invscaling", "adaptive"],
    "solver": ["lbfgs", "sgd", "adam"],
}


def rows(data: dict[str, Any], side: str, **options: Any) -> dict[str, Any]:
    """Eighteen candidates of the notebook's, ten of them distinct, on one fold of many rows."""
    from sklearn.model_selection import StratifiedKFold

    from neural_classifiers.comments.models.pipelines import scikit_pipeline

    first = next(StratifiedKFold(5).split(data["X"], data["y"]))
    return searched(
        scikit_pipeline(SEED), ROWS_GRID, data, side, cv=[first], refit=False, **options
    )


def searched(
    pipeline: Any,
    grid: dict[str, list[Any]],
    data: dict[str, Any],
    side: str,
    cv: Any = None,
    refit: bool = True,
    n_jobs: int = -1,
) -> dict[str, Any]:
    """Scores and winner of a grid, by us or by `GridSearchCV`."""
    from sklearn.model_selection import GridSearchCV, StratifiedKFold

    from neural_classifiers.search import results
    from neural_classifiers.search.executors import local_processes
    from neural_classifiers.search.fits import fit
    from neural_classifiers.search.plan import plan_search

    last = pipeline.steps[-1][0]
    cv = StratifiedKFold(5) if cv is None else cv
    if side == "ours":
        plan = plan_search(pipeline, grid, *data.values(), namespace="", cv=cv, scoring="accuracy")
        store: dict[str, bytes] = {}
        with local_processes() as executor:
            counts = fit(plan, store, executor)
        collected = results.collect(plan, store)
        if refit:
            results.refit(plan, collected)
        table, best = collected.cv_results_, collected.best_params_ if refit else None
        done = {"fits": counts.executed, "trainings": counts.trainings}
    else:
        full = {f"{last}__{name}": values for name, values in grid.items()}
        peer = GridSearchCV(
            pipeline, full, cv=cv, scoring="accuracy", refit=refit, n_jobs=n_jobs
        ).fit(*data.values())
        table = peer.cv_results_
        best = {k.split("__")[1]: v for k, v in peer.best_params_.items()} if refit else None
        n_splits = sum(name.startswith("split") for name in table)
        done = {"fits": len(table["params"]) * n_splits}
    splits = [
        table[name].tolist()
        for name in table
        if name.startswith("split") and name.endswith("_score")
    ]
    return {"scores": splits, "best": best, **done}


class Noted(MLPClassifier):
    """Notes each fit that begins, by a byte in a file."""

    def fit(self, X: Any, y: Any) -> Any:
        """As its parent."""
        handle = os.open(os.environ["BEGUN"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(handle, b".")
        os.close(handle)
        return super().fit(X, y)


def killed(data: dict[str, Any], side: str, folder: str) -> dict[str, Any]:
    """A search that may be killed; its fits lie in a folder."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import Pipeline

    from neural_classifiers.engine.folder_store import FolderStore
    from neural_classifiers.search.executors import local_processes
    from neural_classifiers.search.fits import fit
    from neural_classifiers.search.plan import plan_search

    network = Noted((6, 2), random_state=SEED)
    pipeline = Pipeline([("tfidf", TfidfVectorizer()), ("mlp", network)])
    grid = {"activation": ["identity", "tanh"], "solver": ["lbfgs", "adam"], "alpha": [1e-4, 1e-5]}
    plan = plan_search(pipeline, grid, *data.values(), namespace="")
    with local_processes() as executor:
        counts = fit(plan, FolderStore(Path(folder)), executor)
    return {"fits": counts.executed, "of": plan.n_fits}


def grown(data: dict[str, Any], side: str) -> dict[str, Any]:
    """Fits executed by the notebook's grid, by one alpha more, and by another scoring."""
    from neural_classifiers.comments.models.grids import SCIKIT_GRID
    from neural_classifiers.comments.models.pipelines import scikit_pipeline
    from neural_classifiers.search.executors import local_processes
    from neural_classifiers.search.fits import fit
    from neural_classifiers.search.plan import plan_search
    from neural_classifiers.search.results import collect

    pipeline = scikit_pipeline(SEED)
    pipeline.set_params(mlp__max_iter=20)
    more = SCIKIT_GRID | {"alpha": [*SCIKIT_GRID["alpha"], 1e-3]}
    store: dict[str, bytes] = {}
    told = {}
    for name, grid, scoring in (
        ("the grid", SCIKIT_GRID, "accuracy"),
        ("one more alpha", more, "accuracy"),
        ("another scoring", more, "f1_macro"),
    ):
        plan = plan_search(pipeline, grid, *data.values(), namespace="", scoring=scoring)
        started = time.perf_counter()
        with local_processes() as executor:
            counts = fit(plan, store, executor)
        collect(plan, store)
        told[name] = {
            "fits": counts.executed,
            "of": len(plan.candidates) * len(plan.folds),
            "seconds": time.perf_counter() - started,
        }
    return told


DASK_GRID = {"activation": ["identity", "relu", "tanh"], "solver": ["lbfgs", "adam"]}


def dask(data: dict[str, Any], side: str, n_workers: int) -> dict[str, Any]:
    """Thirty fits by so many Dask workers of this machine, then a thousand that cost nothing."""
    from distributed import LocalCluster
    from sklearn.dummy import DummyClassifier

    from neural_classifiers.comments.models.pipelines import scikit_pipeline
    from neural_classifiers.search.executors import dask_workers
    from neural_classifiers.search.fits import fit
    from neural_classifiers.search.plan import plan_search

    local = {
        "processes": True,
        "threads_per_worker": 1,
        "memory_limit": 0,
        "dashboard_address": None,
    }
    with (
        LocalCluster(n_workers=n_workers, protocol="tcp", **local) as cluster,
        dask_workers(cluster.scheduler_address) as (executor, _),
    ):
        warm = plan_search(
            scikit_pipeline(SEED), {"max_iter": [1, 2]}, *data.values(), namespace=""
        )
        fit(warm, {}, executor, n_workers=n_workers)
        plan = plan_search(scikit_pipeline(SEED), DASK_GRID, *data.values(), namespace="")
        started = time.perf_counter()
        fit(plan, {}, executor, n_workers=n_workers)
        seconds = time.perf_counter() - started
        nothing = {"constant": data["y"][:1] * 1, "random_state": list(range(200))}
        empty = plan_search(
            DummyClassifier(strategy="constant"), nothing, data["X"], data["y"], namespace=""
        )
        started = time.perf_counter()
        counts = fit(empty, {}, executor, n_workers=n_workers)
        overhead = (time.perf_counter() - started) / counts.executed
    return {"seconds": seconds, "overhead_ms": overhead * 1000}


# --- measuring --------------------------------------------------------------------------------


def measure(name: str, side: str, data: Path, **options: Any) -> dict[str, Any]:
    """One measurement in a process of its own: what it tells, its seconds and its memory."""
    command = [sys.executable, __file__, "--measure", name, side, str(data), json.dumps(options)]
    quiet = os.environ | {"PYTHONWARNINGS": "ignore", "TF_CPP_MIN_LOG_LEVEL": "3"}
    started = time.perf_counter()
    with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(command, stdout=said, stderr=errors, env=quiet)
        cpu, peak_mb = watched(process)
        wall = time.perf_counter() - started
        if process.returncode:
            errors.seek(0)
            raise RuntimeError(f"{name} {side}: {errors.read()[-3000:].decode(errors='replace')}")
        said.seek(0)
        told = json.loads(said.read())
    return {
        "comparison": name,
        "side": side,
        "options": options,
        "wall_s": round(wall, 2),
        "cpu_s": round(cpu, 2),
        "peak_mb": round(peak_mb, 1),
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "load": round(psutil.getloadavg()[0], 2),
        **told,
    }


def watched(process: subprocess.Popen[bytes]) -> tuple[float, float]:
    """CPU seconds and peak memory (MB, of all at once) of a process and those it starts."""
    cpu: dict[tuple[int, float], float] = {}
    peak = 0
    while process.poll() is None:
        together = 0
        for one in family(process.pid):
            try:
                times = one.cpu_times()
                cpu[one.pid, one.create_time()] = times.user + times.system
                together += one.memory_info().rss
            except psutil.Error:
                continue
        peak = max(peak, together)
        time.sleep(SAMPLE_S)
    return sum(cpu.values()), peak / 1e6


def family(pid: int) -> list[psutil.Process]:
    """A process and all below it."""
    try:
        parent = psutil.Process(pid)
        return [parent, *parent.children(recursive=True)]
    except psutil.Error:
        return []


def kills(data: Path, n: int, seed: int) -> dict[str, Any]:
    """Kill one search `n` times at random moments, then let it end."""
    rng, repeated = random.Random(seed), []
    folder = Path(tempfile.mkdtemp(prefix="killed-"))
    begun, fits = folder / "begun", folder / "fits"
    command = [sys.executable, __file__, "--measure", "killed", "ours", str(data)]
    command.append(json.dumps({"folder": str(fits)}))
    environment = os.environ | {"BEGUN": str(begun), "PYTHONWARNINGS": "ignore"}
    kept_before = 0
    for life in range(n + 1):
        begun.write_bytes(b"")
        process = subprocess.Popen(
            command,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        if life < n:
            while begun.stat().st_size == 0 and process.poll() is None:
                time.sleep(0.05)
            time.sleep(rng.uniform(0, 4))
            started = family(process.pid)
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            psutil.wait_procs(started, timeout=30)
        elif process.wait() != 0:
            raise RuntimeError("expected the last life of the killed search to complete")
        kept = sum(1 for path in fits.glob("[!.]*")) if fits.is_dir() else 0
        repeated.append(begun.stat().st_size - (kept - kept_before))
        kept_before = kept
    shutil.rmtree(folder)
    return {
        "comparison": "kills",
        "side": "ours",
        "options": {},
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "fits": kept_before,
        "repeated": repeated[:n],
        "repeated_at_the_end": repeated[n],
    }


def repetition(name: str, posts: Path, number: int) -> Iterator[dict[str, Any]]:
    """One repetition of a comparison, ours and the peer's by turns."""
    n_posts = {"rows": 28_572, "grown": 600, "killed": 3000}.get(name, 3000)
    with tempfile.TemporaryDirectory(prefix="search-") as folder:
        data = Path(folder) / "data.json"
        data.write_text(json.dumps(training_posts(posts, n_posts)))
        if name == "kills":
            yield kills(data, 10, number)
        elif name == "grown":
            yield measure(name, "ours", data)
        elif name == "keras-alone":
            yield measure("keras", "peer alone", data, n_jobs=1)
        elif name == "dask":
            for n_workers in (1, 2):
                yield measure(name, f"{n_workers} workers", data, n_workers=n_workers)
        else:
            sides = ["ours", "peer"] if number % 2 else ["peer", "ours"]
            for side in sides:
                yield measure(name, side, data)


def keep(results: Path, entry: dict[str, Any]) -> None:
    """Append a measurement to the file of results."""
    results.parent.mkdir(parents=True, exist_ok=True)
    entries = json.loads(results.read_bytes()) if results.is_file() else []
    beside = results.with_suffix(".new")
    beside.write_text(json.dumps([*entries, entry], indent=1))
    beside.replace(results)


# --- tables -----------------------------------------------------------------------------------


def tables(entries: list[dict[str, Any]]) -> str:
    """What was measured, as Markdown."""
    parts = [
        versus(entries, "scikit", "The notebook's scikit-learn grid, 3,000 posts"),
        versus(entries, "keras", "The notebook's Keras grid, 3,000 posts"),
        versus(
            entries,
            "rows",
            "18 candidates (2 activations, 3 learning rates, 3 solvers), one fold of 20,000 posts",
        ),
        grown_table(of(entries, "grown")),
        kills_table(of(entries, "kills")),
        dask_table(entries),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def of(entries: list[dict[str, Any]], name: str, side: str | None = None) -> list[dict[str, Any]]:
    """Measurements of a comparison, oldest first."""
    return [e for e in entries if e["comparison"] == name and side in (None, e["side"])]


def versus(entries: list[dict[str, Any]], name: str, title: str) -> str:
    """Ours beside the peer's: medians, ratios of those measured after each other, agreement."""
    sides = {"ours": of(entries, name, "ours"), "GridSearchCV": of(entries, name, "peer")}
    if name == "keras":
        sides["GridSearchCV, n_jobs=1"] = of(entries, "keras", "peer alone")
    sides = {side: found for side, found in sides.items() if found}
    if not {"ours", "GridSearchCV"} <= sides.keys():
        return ""
    lines = [
        f"### {title}",
        "",
        "| | fits | CPU s | clock s | peak MB | measured |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for side, found in sides.items():
        numbers = [
            statistics.median(e[key] for e in found) for key in ("cpu_s", "wall_s", "peak_mb")
        ]
        told = " | ".join(f"{number:,.0f}" for number in numbers)
        made = found[-1].get("trainings", found[-1]["fits"])
        lines.append(f"| {side} | {made} | {told} | {len(found)} times |")
    ours, peer = sides["ours"], sides["GridSearchCV"]
    ratios = [
        statistics.median(p[key] / o[key] for o, p in zip(ours, peer, strict=False))
        for key in ("cpu_s", "wall_s", "peak_mb")
    ]
    cpu, wall, memory = (f"**{ratio:.2f}**" for ratio in ratios)
    lines.append(f"| ratio | | {cpu} | {wall} | {memory} | |")
    scores = {json.dumps(e["scores"]) for found in sides.values() for e in found}
    winners = {json.dumps(e["best"], sort_keys=True) for e in [*ours, *peer]}
    n_scores = sum(len(split) for split in ours[0]["scores"])
    agree = "equal to the last digit" if len(scores) == 1 else differences(ours[-1], peer[-1])
    lines += ["", f"All {n_scores} scores of all folds: {agree}."]
    if winners != {"null"}:
        lines[-1] += f" Winner: {' and '.join(sorted(winners))}."
    return "\n".join(lines)


def differences(ours: dict[str, Any], peer: dict[str, Any]) -> str:
    """How many scores differ, and by how much."""
    pairs = [
        (a, b)
        for one, other in zip(ours["scores"], peer["scores"], strict=True)
        for a, b in zip(one, other, strict=True)
    ]
    unequal = [abs(a - b) for a, b in pairs if a != b]
    return f"{len(unequal)} differ, by at most {max(unequal, default=0):.4f}"


def grown_table(found: list[dict[str, Any]]) -> str:
    """Fits executed as a search grows."""
    if not found:
        return ""
    lines = [
        "### A grid that grows, another scoring",
        "",
        "| | fits executed | of |",
        "| --- | --- | --- |",
    ]
    lines += [
        f"| {name} | {found[-1][name]['fits']} | {found[-1][name]['of']} |"
        for name in ("the grid", "one more alpha", "another scoring")
    ]
    return "\n".join(lines)


def kills_table(found: list[dict[str, Any]]) -> str:
    """Fits begun in vain before each kill."""
    if not found:
        return ""
    repeated = [n for entry in found for n in entry["repeated"]]
    last = found[-1]
    return "\n".join(
        [
            "### Killed at random moments",
            "",
            f"A search of 40 fits by 2 workers, killed by `kill -9` {len(repeated)} "
            f"times; fits repeated after each: {', '.join(map(str, repeated))} (at most "
            f"**{max(repeated)}**). In the end {last['fits']} fits were stored.",
        ]
    )


def dask_table(entries: list[dict[str, Any]]) -> str:
    """Speed-up by Dask workers, measured after each other, and what a fit costs beside itself."""
    one, two = (of(entries, "dask", f"{n} workers") for n in (1, 2))
    if not one or not two:
        return ""
    seconds = [statistics.median(e["seconds"] for e in side) for side in (one, two)]
    speed_up = statistics.median(
        o["seconds"] / t["seconds"] for o, t in zip(one, two, strict=False)
    )
    overhead = [statistics.median(e["overhead_ms"] for e in side) for side in (one, two)]
    return "\n".join(
        [
            "### Dask workers of this machine, over TCP",
            "",
            "| workers | 30 fits, s | overhead a fit, ms | measured |",
            "| --- | --- | --- | --- |",
            f"| 1 | {seconds[0]:.1f} | {overhead[0]:.1f} | {len(one)} times |",
            f"| 2 | {seconds[1]:.1f} | {overhead[1]:.1f} | {len(two)} times |",
            f"| speed-up | **{speed_up:.2f}** | | |",
        ]
    )


def write_tables(text: str) -> None:
    """Put the tables into docs/benchmarks.md, below its mark."""
    page = ROOT / "docs" / "benchmarks.md"
    above = page.read_text(encoding="utf-8").partition(MARK)[0]
    page.write_text(f"{above}{MARK}\n\n{text}", encoding="utf-8")


COMPARISONS = ("scikit", "keras", "keras-alone", "rows", "grown", "kills", "dask")
MEASURES = {
    "scikit": scikit,
    "keras": keras,
    "rows": rows,
    "killed": killed,
    "grown": grown,
    "dask": dask,
}


def main() -> None:
    """Measure what is asked for and print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("posts", nargs="?", type=Path, help="JSON Lines of posts")
    parser.add_argument("--only", choices=COMPARISONS, action="append")
    parser.add_argument("--repetitions", type=int, default=1)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument(
        "--tables", action="store_true", help="measure nothing; print the tables, and into docs"
    )
    parser.add_argument("--measure", nargs=4, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.measure:
        name, side, data, options = asked.measure
        warnings.simplefilter("ignore")
        told = MEASURES[name](json.loads(Path(data).read_text()), side, **json.loads(options))
        print(json.dumps(told))
        return
    for name in [] if asked.tables else asked.only or COMPARISONS:
        for _ in range(asked.repetitions):
            done = json.loads(asked.results.read_bytes()) if asked.results.is_file() else []
            number = sum(e["comparison"] == name and e["side"] == "ours" for e in done)
            for entry in repetition(name, asked.posts, number):
                keep(asked.results, entry)
                print({k: v for k, v in entry.items() if k != "scores"}, flush=True)
    if asked.tables or not asked.only:
        text = tables(json.loads(asked.results.read_bytes()))
        write_tables(text)
        print(text)


if __name__ == "__main__":  # worker processes import this file again
    main()
