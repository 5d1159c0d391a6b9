"""The serving model, judged beside those of a run on the texts that it was not trained on."""

import json
from pathlib import Path

import pandas as pd
from prefect import get_run_logger, task

from neural_classifiers.arrays.threads import set_tensorflow_threads
from neural_classifiers.engine.records import File
from neural_classifiers.engine.step import UNRECORDED, step
from neural_classifiers.judgement.names import SERVING
from neural_classifiers.serving import registry
from neural_classifiers.serving.model import (
    COMMENTS,
    MANIFEST,
    WEIGHTS,
    NotPromotedError,
    read_manifest,
)
from neural_classifiers.serving.registry import load
from neural_classifiers.serving.trained_on import unseen
from tasks.references import Scored, Serving, Split
from tasks.score_files import keep_scores


@task(task_run_name="find_serving", **UNRECORDED)
def find_serving(split: Split) -> Serving | None:
    """The serving model, where one can be judged on a test set; else None."""
    version = None
    try:
        version = registry.serving_version(COMMENTS)
        why = _why_not(version, split) if version else "no model serves"
    except NotPromotedError as error:  # it is logged, and stops no training
        why = str(error)
    get_run_logger().info("%s", why or f"serving: {version}")
    if version is None or why:
        return None
    manifest = File.of(registry.version_folder(version) / MANIFEST)
    return Serving(version=version, manifest=manifest)


def _why_not(version: str, split: Split) -> str | None:
    """Objection to judging a version on a test set, or None."""
    folder = registry.version_folder(version)
    manifest = read_manifest(folder, version)
    if sorted(manifest["classes"]) != split.labels:
        return f"{version} knows {manifest['classes']}, here they are {split.labels}"
    if manifest["training"]["sha256"] == split.train.sha256:
        return None  # trained on the other side of this very split
    model = load(folder)
    texts = pd.read_parquet(split.test.verified(), columns=["txt"])["txt"].tolist()
    if unseen(model, texts).any():
        return None
    return f"{version} was trained on every text of this test set"


@step(threads=1)
def score_serving(serving: Serving, split: Split, folder: Path) -> Scored:
    """The serving model judged like any other, from the texts as they came, by its own cleaning.

    `predictions` has a column ``seen`` more: the rows that the model was trained on, which count in
    no score.
    """
    manifest = json.loads(serving.manifest.path.read_bytes())
    if WEIGHTS in manifest["files"] or "encoder" in manifest:
        set_tensorflow_threads(1)
    model = load(serving.manifest.path.parent)
    test = pd.read_parquet(split.test.path, columns=["txt", "cat"])
    texts = test["txt"].tolist()
    probabilities, seen = model.predict_proba(texts), ~unseen(model, texts)
    chosen = model.answers(probabilities).astype(str)
    table = pd.DataFrame({"actual": test["cat"], "predicted": chosen, "seen": seen})
    for label, column in zip(model.classes_, probabilities.T, strict=True):
        table[f"p_{label}"] = column
    about = {
        "temperature": None,
        "best_params": model.manifest["best_params"],
        "best_cv_score": None,
        "scoring": "accuracy",
        "version": serving.version,
        "rows_seen": int(seen.sum()),
    }
    return keep_scores(SERVING, table, about, split.labels, folder)
