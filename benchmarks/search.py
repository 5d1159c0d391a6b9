"""Our search against `GridSearchCV`, and what a kill, a grown grid and Dask cost.

    make bench POSTS=posts.jsonl                          # everything, then the tables
    python benchmarks/search.py posts.jsonl --only scikit # one comparison, one repetition
    python benchmarks/search.py --tables                  # only the tables, printed and in docs

Posts are lines of ``{"cat": ..., "txt": ...}``, gzipped or not. Every measurement is a process of
its own from its start (imports, workers and refit included) to its end, ours and the peer's by
turns. CPU seconds are of all its processes: on a shared machine they say more than the clock's.
"""

import argparse
import json
import os
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from subprocess import DEVNULL
from typing import Any

import measure
from sklearn.neural_network import MLPClassifier

SEED = 34
SHARES = {"science_and_technology": 0.040, "sports": 0.236, "video_games": 0.724}  # notebook
RESULTS = measure.ROOT / "artifacts" / "benchmarks" / "search.json"
Data = dict[str, list[str]]


def training_posts(path: Path, n: int) -> Data:
    """Cleaned training posts: `n` drawn with the notebook's class shares, then its split."""
    import pandas as pd

    from neural_classifiers.comments.splits import Side, keys_of, split_keys
    from neural_classifiers.comments.text import clean_comment

    by_class: Data = {label: [] for label in SHARES}
    for post in map(json.loads, measure.lines_of(path)):
        if post["cat"] in by_class:
            by_class[post["cat"]].append(post["txt"])
    rng, drawn = random.Random(SEED), []
    for label, share in SHARES.items():
        drawn += [(text, label) for text in rng.sample(by_class[label], round(share * n))]
    rng.shuffle(drawn)
    labels = [label for _, label in drawn]
    cleaned = [clean_comment(text) for text, _ in drawn]
    split = split_keys(keys_of(cleaned), pd.Categorical(labels), 0.7, SEED)
    train = split.rows_of(Side.TRAIN).tolist()
    return {"X": [cleaned[row] for row in train], "y": [labels[row] for row in train]}


def fit(plan: Any, store: MutableMapping[str, bytes], dask: str | None = None) -> Any:
    """Make the fits of a search by processes of this machine, or by a Dask cluster."""
    from neural_classifiers.search import executors, fits

    if dask is None:
        with executors.local_processes() as processes:
            return fits.fit(plan, store, processes)
    with executors.dask_workers(dask) as (workers, n_workers):
        return fits.fit(plan, store, workers, n_workers=n_workers)


# --- what is measured: each runs in a process of its own --------------------------------------


def scikit(data: Data, side: str) -> dict[str, Any]:
    """The notebook's grid of scikit-learn's network."""
    from neural_classifiers.comments.models.grids import SCIKIT_GRID
    from neural_classifiers.comments.models.pipelines import scikit_pipeline

    return searched(data, side, scikit_pipeline(SEED), SCIKIT_GRID)


def keras(data: Data, side: str, n_jobs: int = -1) -> dict[str, Any]:
    """The notebook's grid of the Keras network; the peer's is scikeras as it comes."""
    from neural_classifiers.comments.models.grids import KERAS_GRID
    from neural_classifiers.comments.models.pipelines import keras_pipeline

    if side == "ours":
        return searched(data, side, keras_pipeline(SEED), KERAS_GRID)
    from scikeras.wrappers import KerasClassifier
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import Pipeline

    from neural_classifiers.comments.text import TOKENS

    options = {"loss": "categorical_crossentropy", "optimizer": "adam", "verbose": 0}
    network = KerasClassifier(model=plain_network, random_state=SEED, **options)
    vectoriser = TfidfVectorizer(token_pattern=TOKENS, max_features=2100)
    pipeline = Pipeline([("tfidf", vectoriser), ("keras", network)])
    return searched(data, side, pipeline, KERAS_GRID, n_jobs=n_jobs)


def plain_network(meta: dict[str, Any], compile_kwargs: dict[str, Any]) -> Any:
    """The notebook's network as its users write it."""
    from neural_classifiers.comments.models.networks import build_comment_mlp

    model = build_comment_mlp(meta["n_features_in_"], meta["n_classes_"])
    model.compile(**compile_kwargs)
    return model


def rows(data: Data, side: str) -> dict[str, Any]:
    """Eighteen candidates of the notebook's, ten of them distinct, on one fold of many rows."""
    from sklearn.model_selection import StratifiedKFold

    from neural_classifiers.comments.models.pipelines import scikit_pipeline

    grid = {
        "activation": ["identity", "relu"],
        "learning_rate": ["constant", "invscaling", "adaptive"],
        "solver": ["lbfgs", "sgd", "adam"],
    }
    first = next(StratifiedKFold(5).split(data["X"], data["y"]))
    return searched(data, side, scikit_pipeline(SEED), grid, cv=[first], refits=False)


def searched(
    data: Data,
    side: str,
    pipeline: Any,
    grid: dict[str, list[Any]],
    cv: Any = 5,
    refits: bool = True,
    n_jobs: int = -1,
) -> dict[str, Any]:
    """Scores of all folds and winner of a grid, by us or by `GridSearchCV`."""
    from sklearn.model_selection import GridSearchCV

    from neural_classifiers.search.plan import plan_search
    from neural_classifiers.search.results import collect, refit

    if side == "ours":
        plan = plan_search(pipeline, grid, *data.values(), namespace="", cv=cv, scoring="accuracy")
        store: dict[str, bytes] = {}
        n_trainings = fit(plan, store).trainings
        results = collect(plan, store)
        if refits:
            refit(plan, results)
    else:
        last = pipeline.steps[-1][0]
        full = {f"{last}__{name}": values for name, values in grid.items()}
        options = {"cv": cv, "scoring": "accuracy", "refit": refits}
        results = GridSearchCV(pipeline, full, n_jobs=n_jobs, **options).fit(*data.values())
    splits = [
        scores.tolist()
        for name, scores in results.cv_results_.items()
        if name.startswith("split") and name.endswith("_score")
    ]
    best = (refits and results.best_params_) or {}
    return {
        "scores": splits,
        "best": {name.rpartition("__")[2]: value for name, value in best.items()},
        "fits": n_trainings if side == "ours" else sum(map(len, splits)),
    }


def grown(data: Data) -> dict[str, Any]:
    """Fits executed by the notebook's grid, by one alpha more, and by another scoring."""
    from neural_classifiers.comments.models.grids import SCIKIT_GRID
    from neural_classifiers.comments.models.pipelines import scikit_pipeline
    from neural_classifiers.search.plan import plan_search

    pipeline = scikit_pipeline(SEED).set_params(mlp__max_iter=20)
    more = SCIKIT_GRID | {"alpha": [*SCIKIT_GRID["alpha"], 1e-3]}
    store: dict[str, bytes] = {}
    counts = {}
    for name, grid, scoring in (
        ("the grid", SCIKIT_GRID, "accuracy"),
        ("one more alpha", more, "accuracy"),
        ("another scoring", more, "f1_macro"),
    ):
        plan = plan_search(pipeline, grid, *data.values(), namespace="", scoring=scoring)
        counts[name] = [fit(plan, store).executed, len(plan.candidates) * len(plan.folds)]
    return {"counts": counts}


def dask(data: Data, n_workers: int) -> dict[str, Any]:
    """Thirty fits by so many Dask workers of this machine, then a thousand that cost nothing."""
    from distributed import LocalCluster
    from sklearn.dummy import DummyClassifier

    from neural_classifiers.comments.models.pipelines import scikit_pipeline
    from neural_classifiers.search.plan import plan_search

    def timed(pipeline: Any, grid: dict[str, list[Any]]) -> tuple[float, int]:
        plan = plan_search(pipeline, grid, *data.values(), namespace="")
        began = time.perf_counter()
        share = fit(plan, {}, dask=cluster.scheduler_address)
        return time.perf_counter() - began, share.executed

    local = {"threads_per_worker": 1, "memory_limit": 0, "dashboard_address": None}
    with LocalCluster(n_workers=n_workers, protocol="tcp", processes=True, **local) as cluster:
        timed(scikit_pipeline(SEED), {"max_iter": [1, 2]})  # the workers' imports
        grid = {"activation": ["identity", "relu", "tanh"], "solver": ["lbfgs", "adam"]}
        seconds, _ = timed(scikit_pipeline(SEED), grid)
        nothing = {"constant": data["y"][:1], "random_state": list(range(200))}
        overhead, n_fits = timed(DummyClassifier(strategy="constant"), nothing)
    return {"fits_s": seconds, "overhead_ms": overhead / n_fits * 1000}


class Noted(MLPClassifier):
    """Notes each fit that begins, by a byte in a file."""

    def fit(self, X: Any, y: Any) -> Any:
        """As its parent."""
        with open(os.environ["BEGUN"], "ab") as file:  # noqa: PTH123
            file.write(b".")
        return super().fit(X, y)


def killed(data: Data, folder: str) -> dict[str, Any]:
    """A search of forty fits that may be killed; they lie in a folder."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import Pipeline

    from neural_classifiers.engine.folder_store import FolderStore
    from neural_classifiers.search.plan import plan_search

    network = Noted((6, 2), random_state=SEED)
    pipeline = Pipeline([("tfidf", TfidfVectorizer()), ("mlp", network)])
    grid = {"activation": ["identity", "tanh"], "solver": ["lbfgs", "adam"], "alpha": [1e-4, 1e-5]}
    plan = plan_search(pipeline, grid, *data.values(), namespace="")
    return {"fits": fit(plan, FolderStore(Path(folder))).executed}


MEASURES = {m.__name__: m for m in (scikit, keras, rows, grown, dask, killed)}


# --- measuring --------------------------------------------------------------------------------


def command(name: str, data: Path, **options: Any) -> list[str | Path]:
    """This script, for one measurement."""
    return [__file__, data, "--measure", name, "--options", json.dumps(options)]


def kills(data: Path, n: int, seed: int) -> dict[str, Any]:
    """Kill one search `n` times at random moments, then let it end; fits begun in vain."""
    rng, folder = random.Random(seed), Path(tempfile.mkdtemp(prefix="killed-"))
    begun, fits = folder / "begun", folder / "fits"
    os.environ["BEGUN"] = str(begun)
    in_vain, n_before = [], 0
    for life in range(n + 1):
        begun.write_bytes(b"")
        process = measure.start(command("killed", data, folder=str(fits)), stdout=DEVNULL)
        if life < n:
            while begun.stat().st_size == 0 and process.poll() is None:
                time.sleep(0.05)
            time.sleep(rng.uniform(0, 4))
            measure.kill(process)
        elif process.wait() != 0:
            raise RuntimeError("expected the last life of the killed search to complete")
        n_stored = sum(1 for _ in fits.glob("[!.]*"))
        in_vain.append(begun.stat().st_size - (n_stored - n_before))
        n_before = n_stored
    shutil.rmtree(folder)
    return {"fits": n_before, "repeated": in_vain[:n]}


def repetition(name: str, posts: Path, number: int) -> Iterator[dict[str, Any]]:
    """One repetition of a comparison, ours and the peer's by turns."""
    with tempfile.TemporaryDirectory(prefix="search-") as folder:
        data = Path(folder) / "data.json"
        n_posts = {"rows": 28_572, "grown": 600}.get(name, 3000)
        data.write_text(json.dumps(training_posts(posts, n_posts)))
        if name == "kills":
            yield {"side": "ours"} | kills(data, 10, number)
        elif name == "grown":
            yield {"side": "ours"} | measure.measured(command(name, data))
        elif name == "dask":
            for n in (1, 2):
                yield {"side": f"{n} workers"} | measure.measured(command(name, data, n_workers=n))
        elif name == "keras-alone":
            alone = measure.measured(command("keras", data, side="peer", n_jobs=1))
            yield {"comparison": "keras", "side": "GridSearchCV, n_jobs=1"} | alone
        else:
            for side in ("ours", "GridSearchCV")[:: 1 if number % 2 else -1]:
                yield {"side": side} | measure.measured(command(name, data, side=side))


# --- tables -----------------------------------------------------------------------------------

TITLES = {
    "scikit": "The notebook's scikit-learn grid, 3,000 posts",
    "keras": "The notebook's Keras grid, 3,000 posts",
    "rows": "18 candidates (2 activations, 3 learning rates, 3 solvers), one fold of 20,000 posts",
    "grown": "A grid that grows, another scoring",
    "kills": "Killed at random moments",
    "dask": "Dask workers of this machine, over TCP",
}
COMPARISONS = (*TITLES, "keras-alone")
COSTS = ("cpu_s", "seconds", "peak_mb")


def tables(entries: list[dict[str, Any]]) -> str:
    """Tables of what was measured, as Markdown."""
    parts = []
    for name, title in TITLES.items():
        sides: dict[str, list[dict[str, Any]]] = {}
        for entry in entries:
            if entry["comparison"] == name:
                sides.setdefault(entry["side"], []).append(entry)
        write = {"grown": grown_table, "kills": kills_table, "dask": dask_table}.get(name, versus)
        if sides and (write is not versus or {"ours", "GridSearchCV"} <= sides.keys()):
            parts.append(f"### {title}\n\n{write(sides)}")
    return "\n\n".join(parts)


def versus(sides: dict[str, list[dict[str, Any]]]) -> str:
    """Ours beside the peer's: medians, ratios of those measured after each other, agreement."""
    lines: list[list[object]] = []
    for side in sorted(sides, key=lambda side: (side != "ours", side)):
        same = sides[side]
        costs = [f"{measure.median(same, key):,.0f}" for key in COSTS]
        lines.append([side, same[-1]["fits"], *costs, f"{len(same)} times"])
    pairs = list(zip(sides["ours"], sides["GridSearchCV"], strict=False))
    ratios = [statistics.median(peer[key] / ours[key] for ours, peer in pairs) for key in COSTS]
    lines.append(["ratio", "", *(f"**{ratio:.2f}**" for ratio in ratios), ""])
    text = measure.table(["", "fits", "CPU s", "clock s", "peak MB", "measured"], lines)
    ours, peer = (
        [score for split in sides[side][-1]["scores"] for score in split]
        for side in ("ours", "GridSearchCV")
    )
    unequal = [abs(one - other) for one, other in zip(ours, peer, strict=True) if one != other]
    agree = f"{len(unequal)} differ, by at most {max(unequal):.4f}" if unequal else "equal"
    every = [entry for same in sides.values() for entry in same]
    if len({json.dumps(entry["scores"]) for entry in every}) == 1:
        agree = "equal to the last digit"
    winners = {json.dumps(entry["best"], sort_keys=True) for entry in every} - {"{}"}
    won = f" Winner: {' and '.join(sorted(winners))}." if winners else ""
    return f"{text}\n\nAll {len(ours)} scores of all folds: {agree}.{won}"


def grown_table(sides: dict[str, list[dict[str, Any]]]) -> str:
    """Fits executed as a search grows."""
    counts = sides["ours"][-1]["counts"]
    return measure.table(["", "fits executed", "of"], [[name, *n] for name, n in counts.items()])


def kills_table(sides: dict[str, list[dict[str, Any]]]) -> str:
    """Fits begun in vain before each kill."""
    repeated = [n for entry in sides["ours"] for n in entry["repeated"]]
    return (
        f"A search of 40 fits by 2 workers, killed by `kill -9` {len(repeated)} times; fits "
        f"repeated after each: {', '.join(map(str, repeated))} (at most **{max(repeated)}**). In "
        f"the end {sides['ours'][-1]['fits']} fits were stored."
    )


def dask_table(sides: dict[str, list[dict[str, Any]]]) -> str:
    """Speed-up by Dask workers, measured after each other, and what a fit costs beside itself."""
    lines: list[list[object]] = []
    for side in ("1 workers", "2 workers"):
        numbers = [f"{measure.median(sides[side], key):.1f}" for key in ("fits_s", "overhead_ms")]
        lines.append([side[0], *numbers, f"{len(sides[side])} times"])
    pairs = zip(sides["1 workers"], sides["2 workers"], strict=False)
    speed_up = statistics.median(one["fits_s"] / two["fits_s"] for one, two in pairs)
    lines.append(["speed-up", f"**{speed_up:.2f}**", "", ""])
    return measure.table(["workers", "30 fits, s", "overhead a fit, ms", "measured"], lines)


def main() -> None:
    """Measure what is asked for and print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("posts", nargs="?", type=Path, help="JSON Lines of posts")
    parser.add_argument("--only", choices=COMPARISONS, action="append")
    parser.add_argument("--repetitions", type=int, default=1)
    parser.add_argument("--tables", action="store_true", help="measure nothing")
    parser.add_argument("--measure", choices=MEASURES, help=argparse.SUPPRESS)
    parser.add_argument("--options", type=json.loads, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.measure:
        data = json.loads(asked.posts.read_text())
        print(json.dumps(MEASURES[asked.measure](data, **asked.options)))
        return
    for name in [] if asked.tables else asked.only or COMPARISONS:
        for number in range(asked.repetitions):
            for entry in repetition(name, asked.posts, number):
                measure.append(RESULTS, {"comparison": name} | entry)
    if asked.tables or not asked.only:
        measure.write_tables("search.py", tables(measure.read(RESULTS)))


if __name__ == "__main__":  # worker processes import this file again
    main()
