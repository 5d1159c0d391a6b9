"""Train a network to read digits, and judge it once on the test images."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from neural_classifiers.arrays.weights import weights_to_bytes
from neural_classifiers.digits.networks import DigitsPreset, judge, model_summary_rows
from neural_classifiers.digits.scores import (
    score_altered,
    score_each_digit,
    worst_mistakes,
)
from neural_classifiers.digits.training import train
from neural_classifiers.engine import progress
from neural_classifiers.engine.folder_store import FolderStore, unfinished
from neural_classifiers.engine.records import File, identity
from neural_classifiers.engine.step import step
from neural_classifiers.judgement.calibration import calibrate
from tasks.references import Digits, TrainedDigits, read_digits

THREADS = 2  # part of the last bits of the weights, so fixed and not the machine's number


@step(threads=THREADS, task_run_name="train_digits-{name}-{seed}")
def train_digits(
    digits: Digits, name: str, preset: DigitsPreset, seed: int, folder: Path
) -> TrainedDigits:
    """The network of a preset, trained from a seed; a kill costs at most an epoch.

    Raises
    ------
    FloatingPointError
        If the training diverges; says in which epoch and step.
    """
    from neural_classifiers.report.plots import (
        plot_calibration,
        plot_confusion,
        plot_learning_curves,
        plot_mistakes,
        plot_model_summary,
    )

    arrays = read_digits(digits)
    images_test, labels_test = arrays["images_test"], arrays["labels_test"]
    checkpoint = FolderStore(unfinished(folder))

    def tell(step: int, n_steps: int, scores: Mapping[str, float]) -> None:
        progress.report(step, n_steps, "steps", scores=scores)

    trained = train(
        preset,
        arrays["images_train"],
        arrays["labels_train"],
        arrays["images_validation"],
        arrays["labels_validation"],
        seed=seed,
        threads=THREADS,
        checkpoint=checkpoint,
        on_step=tell,
    )
    judged = judge(preset, trained.weights, images_test, labels_test, threads=THREADS)
    altered = score_altered(preset, trained.weights, images_test, labels_test, threads=THREADS)
    mistakes = worst_mistakes(judged.probabilities, labels_test)
    calibration = calibrate(judged.probabilities, labels_test)
    layers = model_summary_rows(preset)
    n_parameters = sum(layer.parameters for layer in layers)
    scores: dict[str, Any] = {
        "parameters": n_parameters,
        "test_accuracy": judged.test_accuracy,
        "test_loss": judged.test_loss,
        "epochs": trained.epochs,
        "labels": digits.labels,
        "confusion_matrix": judged.confusion.tolist(),
        "per_digit": score_each_digit(judged.confusion),
        "calibration": calibration,
        "robustness": altered,
        "mistakes": mistakes,
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
        "confusion": plot_confusion(scores["confusion_matrix"], digits.labels),
        "summary": plot_model_summary(scores["layers"], n_parameters),
        "mistakes": plot_mistakes(
            images_test[[mistake["image"] for mistake in mistakes]], mistakes, digits.labels
        ),
        "calibration": plot_calibration(calibration),
    }
    endings = {"weights": "npz", "scores": "json", "predictions": "npz"}
    files = {}
    for part, content in paths.items():
        path = folder / f"{part}.{endings.get(part, 'png')}"
        path.write_bytes(content)
        files[part] = File.of(path)
    return TrainedDigits(
        name=name,
        seed=seed,
        val_accuracy=trained.epochs[-1]["val_accuracy"],
        val_loss=trained.epochs[-1]["val_loss"],
        test_accuracy=judged.test_accuracy,
        **files,
    )
