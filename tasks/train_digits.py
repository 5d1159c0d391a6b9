"""Train a network to read digits, and score it once on the test images."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from neural_classifiers.arrays.weights import weights_to_bytes
from neural_classifiers.digits.networks import DigitsPreset, layers_of, rebuild_network
from neural_classifiers.digits.scores import (
    is_guessing,
    score_altered,
    score_each_digit,
    score_network,
    worst_mistakes,
)
from neural_classifiers.digits.training import train
from neural_classifiers.engine import progress
from neural_classifiers.engine.folder_store import FolderStore, unfinished
from neural_classifiers.engine.records import File, identity
from neural_classifiers.engine.step import step
from tasks.references import Digits, TrainedDigits, read_digits

THREADS = 2  # part of the last bits of the weights, so fixed and not the machine's number


@step(threads=THREADS, task_run_name="train_digits-{name}-{seed}")
def train_digits(
    digits: Digits, name: str, preset: DigitsPreset, seed: int, folder: Path
) -> TrainedDigits:
    """The network of a preset, trained from a seed; a kill costs at most an epoch.

    Parameters
    ----------
    digits : Digits
        Images of training, validation and test.
    name : str
        What the network is called.
    preset : DigitsPreset
        Network, optimiser and their numbers.
    seed : int
        Decides the first weights, the order of the images and what dropout drops. At least 0.

    Raises
    ------
    FloatingPointError
        If the training diverges; says in which epoch and step.
    """
    from neural_classifiers.judgement.calibration import calibrate

    arrays = read_digits(digits)
    images_test, labels_test = arrays["images_test"], arrays["labels_test"]

    def report(done: int, n_steps: int, scores: Mapping[str, float]) -> None:
        progress.report(done, n_steps, "steps", scores=scores)

    trained = train(
        preset,
        arrays["images_train"],
        arrays["labels_train"],
        arrays["images_validation"],
        arrays["labels_validation"],
        seed=seed,
        threads=THREADS,
        checkpoint=FolderStore(unfinished(folder)),
        on_step=report,
    )
    network = rebuild_network(preset, trained.weights)
    test = score_network(network, images_test, labels_test)
    layers = layers_of(preset)
    scores: dict[str, Any] = {
        "parameters": sum(layer["parameters"] for layer in layers),
        "test_accuracy": test.test_accuracy,
        "test_loss": test.test_loss,
        "guesses": is_guessing(test.confusion),
        "epochs": trained.epochs,
        "labels": digits.labels,
        "confusion_matrix": test.confusion.tolist(),
        "per_digit": score_each_digit(test.confusion),
        "calibration": calibrate(test.probabilities, labels_test),
        "robustness": score_altered(network, images_test, labels_test),
        "mistakes": worst_mistakes(test.probabilities, labels_test),
        "preset": preset.model_dump(mode="json"),
        "seed": seed,
        "threads": THREADS,
        "images": identity(digits.arrays),
        "layers": layers,
    }
    contents = {
        "weights.npz": weights_to_bytes(trained.weights),
        "scores.json": (json.dumps(scores, indent=2) + "\n").encode(),
        "predictions.npz": weights_to_bytes({"probabilities": test.probabilities}),
    }
    files = {}
    for file, content in contents.items():
        (folder / file).write_bytes(content)
        files[file.partition(".")[0]] = File.of(folder / file)
    return TrainedDigits(
        name=name,
        seed=seed,
        val_accuracy=trained.epochs[-1]["val_accuracy"],
        val_loss=trained.epochs[-1]["val_loss"],
        test_accuracy=test.test_accuracy,
        guesses=scores["guesses"],
        **files,
    )
