"""Fitted models and their grids on disk: written by the search that chose, read by who predicts.

A scikit-learn model is one skops file. A Keras model is its vectoriser as skops, its weights as
``.npz``, and the numbers from which our own code builds the network again. Digests are checked
before anything is read; no file decides what code runs.
"""

import json
import statistics
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from neural_classifiers.arrays.threads import set_tensorflow_threads
from neural_classifiers.arrays.weights import weights_digest, weights_to_bytes
from neural_classifiers.engine.records import File
from neural_classifiers.judgement.choice import Price
from tasks.encode_work import load_encoder
from tasks.references import Encoded, Model, Scored

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

    from neural_classifiers.search.results import SearchResults

PRICE, N_TIMED = "timing.price.json", 20  # texts
TRAINING, BEFORE = "timing.training.json", "timing.before.json"


def save_pipeline(
    folder: Path, fitted: "Pipeline", recipe: dict[str, Any]
) -> tuple[File, File | None, File]:
    """Write a fitted pipeline of scikit-learn; its skops file, no weights, and its recipe."""
    from neural_classifiers.arrays.skops_bytes import parameters_digest

    recipe = recipe | {"parameters_sha256": parameters_digest(fitted)}
    return _write_pipeline(folder, fitted), None, _write_recipe(folder, recipe)


def save_keras_pipeline(
    folder: Path, fitted: "Pipeline", recipe: dict[str, Any]
) -> tuple[File, File | None, File]:
    """Write a pipeline that ends in a Keras network; its skops file, its weights and its recipe."""
    from neural_classifiers.comments.models import keras_classifier

    network = fitted[-1] if recipe["temperature"] is None else fitted[-1].classifier
    weights = keras_classifier.weights(network)
    recipe = recipe | {
        "network": keras_classifier.architecture(network),
        "classes": [str(label) for label in network.classes_],
        "parameters_sha256": weights_digest(weights),
    }
    weights_file = _write(folder / "weights.npz", weights_to_bytes(weights))
    return _write_pipeline(folder, fitted[:-1]), weights_file, _write_recipe(folder, recipe)


def save_pretrained(
    folder: Path, fitted: "Pipeline", recipe: dict[str, Any]
) -> tuple[File, File | None, File]:
    """Write what was trained on top of an encoder, which `recipe` names; the encoder stays."""
    network = fitted[-1].classifier
    digests = {"encoder": np.frombuffer(bytes.fromhex(recipe["encoder"]["sha256"]), np.uint8)}
    recipe = recipe | {
        "network": {"tuned_blocks": network.tuned_blocks},
        "classes": network.classes_.tolist(),
        "parameters_sha256": weights_digest(network.weights_ | digests),
    }
    weights_file = _write(folder / "weights.npz", weights_to_bytes(network.weights_))
    return _write_pipeline(folder, fitted[:-1]), weights_file, _write_recipe(folder, recipe)


def _write_pipeline(folder: Path, pipeline: "Pipeline") -> File:
    from neural_classifiers.arrays.skops_bytes import model_to_bytes, parameters_digest

    digest = parameters_digest(pipeline)
    return _write(folder / "pipeline.skops", model_to_bytes(pipeline), content=digest)


def _write_recipe(folder: Path, recipe: dict[str, Any]) -> File:
    return _write(folder / "recipe.json", (json.dumps(recipe, indent=2) + "\n").encode())


def _write(path: Path, data: bytes, content: str | None = None) -> File:
    path.write_bytes(data)
    return File.of(path, content)


def load_pipeline(model: Model, encoded: Encoded | None = None) -> "Pipeline":
    """The fitted pipeline: takes the texts of column ``model.text``, predicts categories.

    What was `encoded` by its encoder is looked up.
    """
    from neural_classifiers.serving.model import build_pipeline

    if model.weights or model.encoder:
        set_tensorflow_threads(1)
    weights = model.weights.path.read_bytes() if model.weights else None
    encoder = load_encoder(encoded or model.encoder) if model.encoder else None
    recipe = json.loads(model.recipe.path.read_bytes())
    return build_pipeline(model.pipeline.path.read_bytes(), weights, recipe, encoder)


def add_seconds(folder: Path, files: Iterable[File]) -> None:
    """Let the price of the model of a folder count the steps that made these files of records."""
    write_seconds(folder, sum(_seconds(file.path.parent) for file in files), BEFORE)


def write_seconds(folder: Path, seconds: float, name: str = TRAINING) -> None:
    """Note the processor seconds of a training: on a busy machine those of the clock mislead."""
    (folder / name).write_text(json.dumps({"seconds": seconds}))


def _seconds(folder: Path) -> float:
    """Processor seconds of a training and of what it counts; of other steps those of the clock."""
    names = (TRAINING, BEFORE) if (folder / TRAINING).is_file() else ("timing.json",)
    paths = [folder / name for name in names if (folder / name).is_file()]
    return float(sum(json.loads(path.read_bytes())["seconds"] for path in paths))


def write_price(folder: Path, pipeline: "Pipeline", texts: Sequence[str]) -> None:
    """Time a fitted pipeline on some texts, one at a time: the median of the processor's time."""
    seconds = []
    for text in texts[: N_TIMED + 1]:
        began = time.process_time()
        pipeline.predict_proba([text])
        seconds.append(time.process_time() - began)
    price = {"ms_per_text": 1000 * statistics.median(seconds[1:] or seconds)}  # the first warms up
    (folder / PRICE).write_text(json.dumps(price))


def read_price(model: Model, scored: Scored) -> Price | None:
    """The measured cost of a model that was scored; None where its time was not kept."""
    timed, folder = scored.predictions.path.with_name(PRICE), model.recipe.path.parent
    if not timed.is_file():
        return None
    encoder = model.encoder.files if model.encoder else ()
    files = [file for file in (model.pipeline, model.weights, *encoder) if file]
    return Price(
        **json.loads(timed.read_bytes()),
        megabytes=sum(file.size for file in files) / 1e6,
        training_s=_seconds(folder),
    )


def write_grid(folder: Path, results: "SearchResults") -> File:
    """Write every candidate of a search as a table, and its measured times apart."""
    table = pd.DataFrame(_columns(results.cv_results_))
    is_time = table.columns.str.endswith("_time")
    table.loc[:, ~is_time].to_parquet(folder / "grid.parquet", index=False)
    table.loc[:, is_time].to_parquet(folder / "timing.grid.parquet", index=False)
    return File.of(folder / "grid.parquet")


def _columns(cv_results: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of ``cv_results_`` as Parquet can hold them: None where there is no parameter."""
    from neural_classifiers.comments.models.pipelines import in_names

    columns: dict[str, Any] = {
        name: [None if value is np.ma.masked else in_names(value) for value in values]
        for name, values in cv_results.items()
        if name != "params"
    }
    columns["params"] = [
        json.dumps({name: in_names(value) for name, value in params.items()})
        for params in cv_results["params"]
    ]
    return columns


def read_grid(model: Model) -> pd.DataFrame:
    """Every candidate with the columns of ``cv_results_``, the measured times included."""
    table = pd.read_parquet(model.grid.verified())
    times = model.grid.path.with_name("timing.grid.parquet")
    return table.join(pd.read_parquet(times)) if times.is_file() else table
