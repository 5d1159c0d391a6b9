"""Train a network to read digits, and judge it once on the test images."""

import json
from pathlib import Path
from typing import Any

from neural_classifiers.digits import DigitsPreset, judge, model_summary_rows
from neural_classifiers.digits_training import train
from neural_classifiers.weights import weights_to_bytes
from tasks import places
from tasks.ingest_digits import Digits, read_digits
from tasks.records import File, Reference, identity
from tasks.steps import step
from tasks.stores import FolderStore

THREADS = 2  # part of the last bits of the weights, so fixed and not the machine's number


class TrainedDigits(Reference):
    """A trained network, its scores and its pictures.

    `weights` is an ``.npz``; the network is rebuilt from our code with the numbers in `scores`.
    """

    name: str
    weights: File
    scores: File
    predictions: File
    curves: File
    confusion: File
    summary: File
    test_accuracy: float

    def in_words(self) -> str:
        """The accuracy that counts."""
        return f"{self.name}: test accuracy {self.test_accuracy:.2%}"


@step(threads=THREADS, task_run_name="train_digits-{name}")
def train_digits(
    digits: Digits, name: str, preset: DigitsPreset, seed: int, folder: Path
) -> TrainedDigits:
    """The network of a preset, trained; a kill costs at most an epoch.

    Raises
    ------
    FloatingPointError
        If the loss is no longer finite; says in which epoch and step.
    """
    from neural_classifiers.plots import plot_confusion, plot_learning_curves, plot_model_summary

    arrays = read_digits(digits)
    unfinished = FolderStore(places.cache() / ".unfinished" / folder.name)
    trained = train(
        preset,
        arrays["images_train"],
        arrays["labels_train"],
        arrays["images_validation"],
        arrays["labels_validation"],
        seed=seed,
        threads=THREADS,
        checkpoint=unfinished,
    )
    judged = judge(
        preset, trained.weights, arrays["images_test"], arrays["labels_test"], threads=THREADS
    )
    layers = model_summary_rows(preset)
    n_parameters = sum(layer.parameters for layer in layers)
    scores: dict[str, Any] = {
        "parameters": n_parameters,
        "test_accuracy": judged.test_accuracy,
        "test_loss": judged.test_loss,
        "epochs": trained.epochs,
        "labels": [str(digit) for digit in range(10)],
        "confusion_matrix": judged.confusion.tolist(),
        "preset": preset.model_dump(mode="json"),
        "seed": seed,
        "threads": THREADS,
        "images": identity(digits.arrays),
        "layers": [layer._asdict() for layer in layers],
    }
    paths = {
        "weights": weights_to_bytes(trained.weights),
        "scores": (json.dumps(scores, indent=2) + "\n").encode(),
        "predictions": weights_to_bytes({"probabilities": judged.probabilities}),
        "curves": plot_learning_curves(trained.epochs),
        "confusion": plot_confusion(scores["confusion_matrix"], scores["labels"]),
        "summary": plot_model_summary(scores["layers"], n_parameters),
    }
    endings = {"weights": "npz", "scores": "json", "predictions": "npz"}
    files = {}
    for part, content in paths.items():
        path = folder / f"{part}.{endings.get(part, 'png')}"
        path.write_bytes(content)
        files[part] = File.of(path)
    unfinished.clear()
    return TrainedDigits(name=name, test_accuracy=judged.test_accuracy, **files)
