"""Small promoted models and challengers on made-up comments, without a run."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from conftest import comments_file
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline

from neural_classifiers.arrays.skops_bytes import model_to_bytes, parameters_digest
from neural_classifiers.comments.text import CLEANINGS, clean_comment
from neural_classifiers.judgement.gates import Rival
from neural_classifiers.serving import registry
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
from neural_classifiers.serving.promotion import Challenger
from neural_classifiers.serving.trained_on import profile_to_bytes, seen_to_bytes


def comments(home: Path, n: int = 240, seed: int = 1) -> tuple[list[str], list[str]]:
    """Made-up texts and their categories, in random order."""
    path = comments_file(home / f"made-{n}-{seed}.jsonl", n, seed)
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    order = np.random.default_rng(seed).permutation(len(rows))
    return [rows[i]["txt"] for i in order], [rows[i]["cat"] for i in order]


def fitted(texts: list[str], labels: list[str], C: float = 10.0, **vectoriser: Any) -> Pipeline:
    """A linear model on cleaned texts."""
    pipeline = Pipeline(
        [("tfidf", TfidfVectorizer(**vectoriser)), ("linear", LogisticRegression(C=C))]
    )
    return pipeline.fit(list(map(clean_comment, texts)), labels)


def challenger(home: Path, pipeline: Pipeline | None = None) -> Challenger:
    """A linear model that was trained on 160 made-up comments and judged on 80."""
    texts, labels = comments(home)
    train, test = slice(0, 160), slice(160, 240)
    pipeline = pipeline or fitted(texts[train], labels[train])
    actual = np.array(labels[test])
    probabilities = pipeline.predict_proba(list(map(clean_comment, texts[test])))

    def files() -> dict[str, bytes]:
        return {
            PIPELINE: model_to_bytes(pipeline),
            RECIPE: b"{}",
            EXAMPLES: examples_to_bytes(actual, texts[test], probabilities),
            SEEN: seen_to_bytes(map(clean_comment, texts[train])),
            PROFILE: profile_to_bytes(texts[train], labels[train]),
        }

    return Challenger(
        inputs=texts[test],
        actual=actual,
        answers=pipeline.predict(list(map(clean_comment, texts[test]))).astype(str),
        rivals=[Rival("constant", np.full(len(actual), "video_games"))],
        files=files,
        manifest={
            "format": FORMAT,
            "kind": COMMENTS,
            "model": "linear",
            "classes": [str(c) for c in pipeline.classes_],
            "parameters_sha256": parameters_digest(pipeline),
            "run": {"run_id": "1", "folder": "a-run", "flow": "classify-comments"},
            "libraries": {},
            "cleaning": asdict(CLEANINGS["default"]),
            "scores": {"accuracy": 0.9},
            "best_params": {"C": 10.0},
            "training": {"rows": 160, "sha256": "0" * 64},
        },
    )


def serve(home: Path, pipeline: Pipeline | None = None) -> str:
    """A version that serves, whatever speaks against it."""
    made = challenger(home, pipeline)
    return serve_files(made, made.files())


def serve_files(made: Challenger, files: dict[str, bytes]) -> str:
    """A version of these files that serves."""
    with registry.one_at_a_time():
        version = registry.add_version(made.manifest, files)
        assert version is not None
        registry.let_serve(COMMENTS, version)
    return version
