"""Fitted models on disk: written by the search that chose them, read by whoever predicts.

A scikit-learn model is one skops file. A Keras model is its vectoriser as skops, its weights as
``.npz``, and the numbers from which our own code builds the network again. Digests are checked
before anything is read; no file decides what code runs.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neural_classifiers.arrays.weights import weights_digest, weights_to_bytes
from neural_classifiers.engine.records import File, Reference

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline


class Model(Reference):
    """A fitted model by name, with its card.

    Attributes
    ----------
    name : str
        ``constant``, ``linear``, ``scikit``, ``keras`` or one of these ``_improved``, as in
        ``metrics.json``.
    pipeline : File
        skops: the pipeline; for Keras the steps before the network.
    weights : File or None
        Of the Keras network.
    card : File
        JSON: parameters, seed, scores of the search, library versions, digest of the training
        file, and for Keras the network's numbers.
    grid : File
        Every candidate as a Parquet table with the columns of ``cv_results_``.
    figures : dict of str to File
    best_params : dict
        Without prefixes.
    best_cv_score : float or None
        Mean over the folds of what `scoring` names.
    scoring : str
        scikit-learn's name of the score by which the model was chosen.
    temperature : float or None
        By which its probabilities are calibrated; None where they are as the library gives them.
    held_out : File or None
        What it said of each row searched on that it was not fitted on: ``actual``, ``p_<class>``.
    searched_rows : int or None
        Training comments that its parameters were chosen on; None where an older run did not tell.
        It was fitted on all.
    """

    name: str
    pipeline: File
    weights: File | None
    card: File
    grid: File
    figures: dict[str, File]
    best_params: dict[str, Any]
    best_cv_score: float | None
    scoring: str = "accuracy"
    temperature: float | None = None
    held_out: File | None = None
    searched_rows: int | None = None

    def in_words(self) -> str:
        """What was chosen, and how it did in cross-validation."""
        chosen = ", ".join(f"{name}={value}" for name, value in self.best_params.items())
        score = ""
        if self.best_cv_score is not None:
            score = f", {self.scoring} {self.best_cv_score:.4f} over the folds"
        return f"{self.name}: {chosen}{score}"


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
    """The fitted pipeline: takes cleaned texts, predicts categories.

    Raises
    ------
    DamagedFileError
        If a file is not the one that was written.
    """
    from neural_classifiers.serving.model import build_pipeline

    weights = model.weights.verified().read_bytes() if model.weights else None
    card = json.loads(model.card.verified().read_bytes())
    return build_pipeline(model.pipeline.verified().read_bytes(), weights, card)


def _write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path
