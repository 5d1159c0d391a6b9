"""Constant, best linear model, the notebook's two networks and the improved two, on real texts.

    python benchmarks/judgement.py small posts.jsonl.gz            # 3,000 posts, five seeds
    python benchmarks/judgement.py default artifacts/runs/...      # the default data, five seeds
    python benchmarks/judgement.py large posts.jsonl.gz            # 150,000, parameters of `small`
    python benchmarks/judgement.py run artifacts/runs/...          # the same table of a run
    python benchmarks/judgement.py tables

Posts are lines of ``{"cat": ..., "txt": ...}``, gzipped or not. Everything is chosen by
cross-validation on training rows; the test rows are predicted once. The whole grids of the notebook
are searched for the first seed only (minutes a network); the other seeds and the large
data take what that search chose. Of the default data the first seed is that of the run named,
whose texts lie in data/raw/short-texts beside it. Each model's test predictions go at once into a
file, so that a comparison can be continued.
"""

import argparse
import csv
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
WITHOUT_SEARCH = ("scikit", "keras")  # after the first seed
SHARES = {"science_and_technology": 0.040, "sports": 0.236, "video_games": 0.724}  # notebook
LARGE = 150_000
RESULTS = ROOT / "artifacts" / "benchmarks" / "judgement"  # a file a model and seed
MODELS = (
    "constant",
    "linear",
    "linear_improved",
    "scikit",
    "keras",
    "scikit_improved",
    "keras_improved",
)


def draw(path: Path, n: int, seed: int, shares: Mapping[str, float] | None) -> dict[str, Any]:
    """Cleaned training and test posts: `n` drawn, with these class shares or as they come."""
    from neural_classifiers.comments.splits import split_comments
    from neural_classifiers.comments.text import clean_comments

    rng = random.Random(seed)
    posts = short_texts(path) if path.is_dir() else posts_of(path)
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


def posts_of(path: Path) -> list[tuple[str, str]]:
    """Text and label of each line."""
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return [(post["txt"], post["cat"]) for post in map(json.loads, content.splitlines())]


def short_texts(folder: Path) -> list[tuple[str, str]]:
    """The default data: a file a class, tab-separated, the text last."""
    import yaml

    catalogue = yaml.safe_load((ROOT / "data" / "catalog.yaml").read_bytes())
    return [
        (line.split("\t", 2)[2], told["category"])
        for name, told in catalogue["short-texts"]["files"].items()
        for line in (folder / name).read_text(encoding="utf-8").splitlines()[1:]
    ]


def search_of(model: str, seed: int) -> tuple[Any, Any, str]:
    """Pipeline, grid and the score that chooses."""
    from neural_classifiers.comments.models import grids, pipelines

    made: dict[str, tuple[Any, Any, str]] = {
        "constant": (pipelines.constant_pipeline(), grids.CONSTANT_GRID, "accuracy"),
        "linear": (pipelines.linear_pipeline(), pipelines.linear_grid(), "accuracy"),
        "linear_improved": (pipelines.linear_pipeline(), pipelines.linear_grid(), "f1_macro"),
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


def judge(
    model: str, data: Mapping[str, Any], seed: int, fixed: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Search, or take what a search chose; predict the test rows once."""
    from neural_classifiers.comments.models.pipelines import in_names
    from neural_classifiers.judgement import calibration
    from neural_classifiers.search.fits import fit
    from neural_classifiers.search.plan import plan_search
    from neural_classifiers.search.results import collect, held_out_answers

    began = time.monotonic()
    pipeline, grid, scoring = search_of(model, seed)
    train, test = data["train"], data["test"]
    is_shifted = scoring == "f1_macro"
    scorer = calibration.shifted_f1_macro if is_shifted else scoring
    plan = plan_search(pipeline, grid, train["X"], train["y"], namespace="bench", scoring=scorer)
    classes, places = np.unique(plan.y, return_inverse=True)
    if fixed is not None:
        told = {key: fixed[key] for key in ("candidate", "temperature", "shift")}
    else:
        store: dict[str, bytes] = {}
        fit(plan, store)
        results = collect(plan, store)
        told = {"candidate": results.best_index_, "temperature": None, "shift": None}
        if is_shifted:
            answers = held_out_answers(plan, results, store)
            logits = calibration.held_out_logits(answers, classes, len(places))
            told["temperature"] = calibration.fit_temperature(logits, places)
            logits = np.log(calibration.softmax(logits / told["temperature"]) + calibration.TINY)
            told["shift"] = calibration.fit_shift(logits, places)
    fitted = plan.build(told["candidate"]).fit(train["X"], train["y"])
    if is_shifted:
        prior = calibration.prior_of(places, len(classes))
        offsets = calibration.offsets_of(told["shift"], prior)
        last = calibration.Calibrated(fitted[-1], told["temperature"], offsets)
        fitted.steps[-1] = ("calibrated", last)
    chosen = plan.candidates[told["candidate"]]
    return told | {
        "is_fixed": fixed is not None,
        "parameters": {name: in_names(value) for name, value in chosen.items()},
        "actual": test["y"],
        "predicted": [str(label) for label in fitted.predict(test["X"])],
        "seconds": time.monotonic() - began,
    }


def measure(name: str, posts: Path, only: Sequence[str]) -> None:
    """All models on all data of a comparison, those that were measured left out."""
    from neural_classifiers.arrays.threads import set_tensorflow_threads

    set_tensorflow_threads(1)
    RESULTS.mkdir(parents=True, exist_ok=True)
    for seed in SEEDS[:1] if name == "large" else SEEDS:
        missing = [model for model in only if read(name, seed, model) is None]
        if not missing:
            continue
        shares, n = (SHARES if name == "small" else None), (LARGE if name == "large" else 3000)
        data = draw(posts, n, seed, shares)
        for model in missing:
            first = read("small" if name == "large" else name, SEEDS[0], model)
            is_fixed = name == "large" or (model in WITHOUT_SEARCH and seed != SEEDS[0])
            if is_fixed and first is None:
                raise SystemExit(f"expected {model} to be searched on {SEEDS[0]} first: run small")
            told = judge(model, data, seed, first if is_fixed else None)
            file_of(name, seed, model).write_text(json.dumps(told))
            sys.stderr.write(f"{name} {seed} {model} {told['seconds']:.0f} s\n")


def file_of(name: str, seed: int, model: str) -> Path:
    """Where a measurement is kept."""
    return RESULTS / f"{name}-{seed}-{model}.json"


def read(name: str, seed: int, model: str) -> dict[str, Any] | None:
    """A measurement; None before it was made."""
    path = file_of(name, seed, model)
    return json.loads(path.read_bytes()) if path.exists() else None


def table_of_one(actual: Sequence[str], predicted: Mapping[str, Sequence[str]]) -> str:
    """Scores with 95 % intervals, and differences to the linear model with theirs."""
    from neural_classifiers.judgement.scores import (
        compare_predictions,
        f1_macro_interval,
        score_predictions,
    )

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


def table_of_seeds(of_models: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Means over the seeds with 95 % intervals (Student's t), and paired differences to linear."""
    from neural_classifiers.judgement.scores import score_predictions

    scores = {
        model: np.array(
            [
                [s.accuracy, s.f1_macro]
                for told in seeds
                for s in [score_predictions(told["actual"], told["predicted"])]
            ]
        )
        for model, seeds in of_models.items()
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


def print_tables() -> None:
    """Whatever has been measured."""
    of_data = {
        "small": "3,000 posts with the notebook's class shares",
        "default": "3,000 short texts",
    }
    for name, title in of_data.items():
        told = {(m, s): t for m in MODELS for s in SEEDS if (t := read(name, s, m))}
        models = [m for m in MODELS if any(model == m for model, _ in told)]
        seeds = [s for s in SEEDS if all((m, s) in told for m in models)]
        if "linear" in models and len(seeds) > 1:
            print(f"{title}, seeds {', '.join(map(str, seeds))}\n")
            print(table_of_seeds({m: [told[m, s] for s in seeds] for m in models}) + "\n")
    large = {m: t for m in MODELS if (t := read("large", SEEDS[0], m)) is not None}
    if "linear" in large:
        actual = large["linear"]["actual"]
        print(f"{LARGE:,} posts, {len(actual):,} of them in the test set\n")
        print(table_of_one(actual, {m: t["predicted"] for m, t in large.items()}))


def predictions_of(run: Path) -> dict[str, Any]:
    """Of each model of a run the table of its answers to the test set."""
    import pandas as pd

    files = json.loads((run / "report.json").read_bytes())["comments"]["files"]
    wanted = {model: f"predictions {model}" for model in MODELS}
    return {m: pd.read_parquet(files[name]["path"]) for m, name in wanted.items() if name in files}


def keep_run(run: Path) -> Path:
    """Take a run on the default data for the first seed; the folder of its texts."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    for model, table in predictions_of(run).items():
        told = {"actual": table["actual"].tolist(), "predicted": table["predicted"].tolist()}
        if model in WITHOUT_SEARCH:
            with (run / "grids" / f"{model}.csv").open(encoding="utf-8") as grid:
                ranks = [int(row["rank_test_score"]) for row in csv.DictReader(grid)]
            told |= {"candidate": ranks.index(1), "temperature": None, "shift": None}
        file_of("default", SEEDS[0], model).write_text(json.dumps(told))
    return run.resolve().parents[2] / "data" / "raw" / "short-texts"


def print_run(folder: Path) -> None:
    """The table of a run's comments."""
    tables = predictions_of(folder)
    actual = tables["linear"]["actual"].tolist()
    print(table_of_one(actual, {m: t["predicted"].tolist() for m, t in tables.items()}))


def main() -> None:
    """Measure, or print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["small", "default", "large", "run", "tables"])
    parser.add_argument("path", nargs="?", type=Path)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS)
    asked = parser.parse_args()
    if asked.what == "run":
        print_run(asked.path)
        return
    if asked.what != "tables":
        path = keep_run(asked.path) if asked.what == "default" else asked.path
        measure(asked.what, path, asked.models)
    print_tables()


if __name__ == "__main__":
    main()
