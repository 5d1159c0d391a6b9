"""Fitted models on disk: written by the search that chose them, read by whoever predicts.

A scikit-learn model is one skops file. A Keras model is its vectoriser as skops, its weights as
``.npz``, and the numbers from which our own code builds the network again. Digests are checked
before anything is read; no file decides what code runs.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from neural_classifiers.arrays.weights import weights_digest, weights_to_bytes
from neural_classifiers.engine.records import File
from tasks.references import Model

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline


def save_pipeline(
    folder: Path, fitted: "Pipeline", card: dict[str, Any]
) -> tuple[File, File | None, File]:
    """Write a fitted pipeline of scikit-learn; its skops file, no weights, and its card."""
    from neural_classifiers.arrays.skops_bytes import parameters_digest

    card = card | {"parameters_sha256": parameters_digest(fitted)}
    return _write_pipeline(folder, fitted), None, _write_card(folder, card)


def save_keras_pipeline(
    folder: Path, fitted: "Pipeline", card: dict[str, Any]
) -> tuple[File, File | None, File]:
    """Write a pipeline that ends in a Keras network; its skops file, its weights and its card."""
    from neural_classifiers.comments.models import keras_classifier

    network = fitted[-1] if card["temperature"] is None else fitted[-1].classifier
    weights = keras_classifier.weights(network)
    card = card | {
        "network": keras_classifier.architecture(network),
        "classes": [str(label) for label in network.classes_],
        "parameters_sha256": weights_digest(weights),
    }
    weights_file = File.of(_write(folder / "weights.npz", weights_to_bytes(weights)))
    return _write_pipeline(folder, fitted[:-1]), weights_file, _write_card(folder, card)


def _write_pipeline(folder: Path, pipeline: "Pipeline") -> File:
    from neural_classifiers.arrays.skops_bytes import model_to_bytes, parameters_digest

    path = _write(folder / "pipeline.skops", model_to_bytes(pipeline))
    return File.of(path, content=parameters_digest(pipeline))


def _write_card(folder: Path, card: dict[str, Any]) -> File:
    return File.of(_write(folder / "card.json", (json.dumps(card, indent=2) + "\n").encode()))


def load_pipeline(model: Model) -> "Pipeline":
    """The fitted pipeline: takes cleaned texts, predicts categories."""
    from neural_classifiers.serving.model import build_pipeline

    weights = model.weights.path.read_bytes() if model.weights else None
    card = json.loads(model.card.path.read_bytes())
    return build_pipeline(model.pipeline.path.read_bytes(), weights, card)


def _write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def read_grid(model: Model) -> pd.DataFrame:
    """Every candidate with the columns of ``cv_results_``, the measured times included."""
    table = pd.read_parquet(model.grid.verified())
    times = model.grid.path.with_name("timing.grid.parquet")
    return table.join(pd.read_parquet(times)) if times.is_file() else table
