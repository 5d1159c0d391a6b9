"""Constant, best linear model, the notebook's two networks and the improved two, on real posts.

    python benchmarks/judgement.py small posts.jsonl.gz            # 3,000 posts, five seeds
    python benchmarks/judgement.py large posts.jsonl.gz            # 150,000, parameters of `small`
    python benchmarks/judgement.py run artifacts/runs/...          # the same table of a run
    python benchmarks/judgement.py tables

Posts are lines of ``{"cat": ..., "txt": ...}``, gzipped or not. Everything is chosen by
cross-validation on training rows; the test rows are predicted once. The whole grids of the notebook
are searched for the first seed only (minutes a network); the other seeds and the large
data take what that search chose. Each model's test predictions go at once into a file, so that a
comparison can be continued.
"""

import argparse
import gzip
import json
import random
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402

SEEDS = (34, 35, 36, 37, 38)
SHARES = {"science_and_technology": 0.040, "sports": 0.236, "video_games": 0.724}  # notebook
LARGE = 150_000
RESULTS = ROOT / "artifacts" / "benchmarks" / "judgement.json"
MODELS = (
    "constant",
    "linear",
    "linear_f1",  # the same grid, chosen by macro-F1 as the improved networks are
    "scikit",
    "keras",
    "scikit_improved",
    "keras_improved",
)


def draw(path: Path, n: int, seed: int, shares: Mapping[str, float] | None) -> dict[str, Any]:
    """Cleaned training and test posts: `n` drawn, with these class shares or as they come."""
    from neural_classifiers.splits import split_comments
    from neural_classifiers.text import clean_comments

    rng = random.Random(seed)
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    posts = [(post["txt"], post["cat"]) for post in map(json.loads, content.splitlines())]
    if shares is None:
        drawn = rng.sample(posts, n)
    else:
        drawn = []
        for label, share in shares.items():
            drawn += rng.sample([p for p in posts if p[1] == label], round(share * n))
        rng.shuffle(drawn)
    labels = [label for _, label in drawn]
    cleaned = clean_comments([text for text, _ in drawn])
    split = split_comments(cleaned, labels, seed=seed)
    return {
        side: {"X": [cleaned[i] for i in rows], "y": [labels[i] for i in rows]}
        for side, rows in (("train", split.train.tolist()), ("test", split.test.tolist()))
    }


def search_of(model: str, seed: int) -> tuple[Any, Any, str]:
    """Pipeline, grid and the score that chooses."""
    from neural_classifiers import grids, pipelines

    made: dict[str, tuple[Any, Any, str]] = {
        "constant": (pipelines.constant_pipeline(), grids.CONSTANT_GRID, "accuracy"),
        "linear": (pipelines.linear_pipeline(), pipelines.linear_grid(), "accuracy"),
        "linear_f1": (pipelines.linear_pipeline(), pipelines.linear_grid(), "f1_macro"),
        "scikit": (pipelines.scikit_pipeline(seed), grids.SCIKIT_GRID, "accuracy"),
        "scikit_improved": (
            pipelines.improved_scikit_pipeline(seed),
            grids.IMPROVED_GRIDS["scikit"],
            "f1_macro",
        ),
    }
    if model == "keras":
        return pipelines.keras_pipeline(seed), grids.KERAS_GRID, "accuracy"
    if model == "keras_improved":
        grid = grids.IMPROVED_GRIDS["keras"]
        return pipelines.improved_keras_pipeline(seed), grid, "f1_macro"
    return made[model]


def judge(model: str, data: Mapping[str, Any], seed: int, candidate: int | None) -> dict[str, Any]:
    """Search, or take a candidate of the grid; predict the test rows once."""
    from neural_classifiers import search
    from neural_classifiers.pipelines import in_names

    began = time.monotonic()
    pipeline, grid, scoring = search_of(model, seed)
    train, test = data["train"], data["test"]
    plan = search.plan(pipeline, grid, train["X"], train["y"], namespace="bench", scoring=scoring)
    told: dict[str, Any] = {"searched": candidate is None}
    if candidate is None:
        store: dict[str, bytes] = {}
        search.fit_share(plan, store)
        results = search.collect(plan, store)
        candidate = results.best_index_
        told["over_folds"] = results.best_score_
    assert candidate is not None
    fitted = plan.build(candidate).fit(train["X"], train["y"])
    return told | {
        "candidate": candidate,
        "parameters": {k: in_names(v) for k, v in plan.candidates[candidate].items()},
        "predicted": [str(label) for label in fitted.predict(test["X"])],
        "seconds": time.monotonic() - began,
    }


def measure(name: str, posts: Path, results: dict[str, Any], only: Sequence[str]) -> None:
    """All models on all data of a comparison, those that were measured left out."""
    from neural_classifiers.threads import set_tensorflow_threads

    set_tensorflow_threads(1)
    for seed in SEEDS if name == "small" else SEEDS[:1]:
        key = f"{name} {seed}"
        missing = [m for m in only if m not in results.get(key, {}).get("models", {})]
        if not missing:
            continue
        shares, n = (SHARES, 3000) if name == "small" else (None, LARGE)
        data = draw(posts, n, seed, shares)
        told = results.setdefault(key, {"actual": data["test"]["y"], "models": {}})
        for model in missing:
            first = results.get(f"small {SEEDS[0]}", {}).get("models", {}).get(model)
            is_fixed = name == "large" or (model in ("scikit", "keras") and seed != SEEDS[0])
            if is_fixed and first is None:
                raise SystemExit(f"expected {model} to be searched on {SEEDS[0]} first: run small")
            candidate = first["candidate"] if is_fixed else None
            told["models"][model] = judge(model, data, seed, candidate)
            RESULTS.parent.mkdir(parents=True, exist_ok=True)
            RESULTS.write_text(json.dumps(results))
            sys.stderr.write(f"{key} {model} {told['models'][model]['seconds']:.0f} s\n")


def table_of_one(actual: Sequence[str], predicted: Mapping[str, Sequence[str]]) -> str:
    """Scores with 95 % intervals, and differences to the linear model with theirs."""
    from neural_classifiers.scores import compare_predictions, f1_macro_interval, score_predictions

    lines = [
        "| model | accuracy | macro-F1 | accuracy against linear | macro-F1 against linear |",
        "| --- | --- | --- | --- | --- |",
    ]
    for model, answers in predicted.items():
        scores = score_predictions(actual, answers)
        low, high = scores.accuracy_interval
        f1_low, f1_high = f1_macro_interval(actual, answers, SEEDS[0])
        line = (
            f"| {model} | {scores.accuracy:.3f} ({low:.3f} to {high:.3f}) "
            f"| {scores.f1_macro:.3f} ({f1_low:.3f} to {f1_high:.3f}) |"
        )
        if model == "linear":
            lines.append(f"{line} | |")
            continue
        c = compare_predictions(actual, answers, predicted["linear"], SEEDS[0])
        lines.append(
            f"{line} {c.accuracy_difference:+.3f} ({_signed(c.accuracy_interval)}) "
            f"| {c.f1_macro_difference:+.3f} ({_signed(c.f1_macro_interval)}) |"
        )
    return "\n".join(lines)


def table_of_seeds(of_seeds: Sequence[Mapping[str, Any]]) -> str:
    """Means over the seeds with 95 % intervals (Student's t), and paired differences to linear."""
    from neural_classifiers.scores import score_predictions

    scores = {
        model: np.array(
            [
                [s.accuracy, s.f1_macro]
                for told in of_seeds
                for s in [score_predictions(told["actual"], told["models"][model]["predicted"])]
            ]
        )
        for model in MODELS
        if all(model in told["models"] for told in of_seeds)
    }
    lines = [
        "| model | accuracy | macro-F1 | accuracy against linear | macro-F1 against linear |",
        "| --- | --- | --- | --- | --- |",
    ]
    for model, found in scores.items():
        cells = [_mean(found[:, i]) for i in (0, 1)]
        against = ["", ""]
        if model != "linear":
            against = [_mean(found[:, i] - scores["linear"][:, i], "+") for i in (0, 1)]
        lines.append(f"| {model} | {' | '.join([*cells, *against])} |")
    return "\n".join(lines)


def _mean(values: Any, sign: str = "") -> str:
    from scipy.stats import t

    half = t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5
    mean = values.mean()
    return f"{mean:{sign}.3f} ({mean - half:{sign}.3f} to {mean + half:{sign}.3f})"


def _signed(interval: tuple[float, float]) -> str:
    return f"{interval[0]:+.3f} to {interval[1]:+.3f}"


def print_tables(results: Mapping[str, Any]) -> None:
    """Whatever has been measured."""
    small = [results[f"small {seed}"] for seed in SEEDS if f"small {seed}" in results]
    if len(small) > 1:
        print(f"3,000 posts with the notebook's class shares, {len(small)} seeds\n")
        print(table_of_seeds(small) + "\n")
    if large := results.get(f"large {SEEDS[0]}"):
        predicted = {m: large["models"][m]["predicted"] for m in MODELS if m in large["models"]}
        print(f"{LARGE:,} posts, {len(large['actual']):,} of them in the test set\n")
        print(table_of_one(large["actual"], predicted))


def print_run(folder: Path) -> None:
    """The table of a run's comments."""
    import pandas as pd

    section = json.loads((folder / "report.json").read_bytes())["comments"]
    tables = {
        model: pd.read_parquet(section["files"][f"predictions {model}"]["path"])
        for model in MODELS
        if f"predictions {model}" in section["files"]
    }
    actual = tables["linear"]["actual"].tolist()
    print(table_of_one(actual, {m: t["predicted"].tolist() for m, t in tables.items()}))


def main() -> None:
    """Measure, or print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["small", "large", "run", "tables"])
    parser.add_argument("path", nargs="?", type=Path)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS)
    asked = parser.parse_args()
    if asked.what == "run":
        print_run(asked.path)
        return
    results = json.loads(RESULTS.read_bytes()) if RESULTS.exists() else {}
    if asked.what != "tables":
        measure(asked.what, asked.path, results, asked.models)
    print_tables(results)


if __name__ == "__main__":
    main()
