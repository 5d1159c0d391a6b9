"""Read digits, check them, and set validation images aside from the training images."""

import json
from pathlib import Path

import numpy as np

from neural_classifiers.arrays.weights import weights_to_bytes
from neural_classifiers.digits.files import N_CLASSES, read_csv, read_idx, read_image, read_npz
from neural_classifiers.digits.looks import turn_round
from neural_classifiers.digits.splits import draw_images, validation_split
from neural_classifiers.engine.records import File
from neural_classifiers.engine.step import step
from neural_classifiers.errors import SourceError
from tasks.references import Digits, Source

TEST_FRACTION = 0.2  # of a source that has no test images of its own
FEW_WHITE = 0.01  # share of images with a white background that is not worth a word


@step()
def ingest_digits(raw: Source, sample: int | None, seed: int, folder: Path) -> Digits:
    """Images and labels, checked; a twelfth of the training images set aside for validation.

    Parameters
    ----------
    raw : Source
        Files of digits in one of the forms that a catalogue or a path may have.
    sample : int, optional
        Training images to draw, the same share of each digit; by default all.
    seed : int
        Of the draw, and of the images for validation (and test, where the source has none).

    Raises
    ------
    ValueError
        If a file is damaged, or images and labels do not belong together, or `sample` is more
        than there is.
    """
    from neural_classifiers.digits.expectations import check_digits
    from neural_classifiers.report.plots import plot_digits

    (images, labels), test, oddities = _read(raw, seed)
    report = check_digits((images, labels), test, raw.name)
    if sample is not None:
        drawn = draw_images(labels, sample, seed, raw.name)
        images, labels = images[drawn], labels[drawn]
    rows, validation_rows = validation_split(labels, seed=seed, name=raw.name)
    arrays = {
        "images_train": images[rows],
        "labels_train": labels[rows],
        "images_validation": images[validation_rows],
        "labels_validation": labels[validation_rows],
        "images_test": test[0],
        "labels_test": test[1],
    }
    names = raw.categories or [str(digit) for digit in range(N_CLASSES)]
    # Two images of each digit
    shown = [i for digit in range(N_CLASSES) for i in rows[labels[rows] == digit][:2]]
    contents = {
        "digits.npz": weights_to_bytes(arrays),
        "digits.png": plot_digits(images[shown], [names[i] for i in labels[shown]]),
        "findings.json": (json.dumps(report, indent=2) + "\n").encode(),
    }
    for file, content in contents.items():
        (folder / file).write_bytes(content)
    return Digits(
        arrays=File.of(folder / "digits.npz"),
        examples=File.of(folder / "digits.png"),
        findings=File.of(folder / "findings.json"),
        labels=names,
        rows_train=len(rows),
        rows_validation=len(validation_rows),
        rows_test=len(test[1]),
        blank=report["blank"],
        on_both_sides=report["on_both_sides"],
        oddities=oddities,
    )


Labelled = tuple[np.ndarray, np.ndarray]


def _read(raw: Source, seed: int) -> tuple[Labelled, Labelled, list[str]]:
    """Training and test set, drawn where the source has none of its own; what was odd."""
    oddities = []
    if raw.passed_over:
        listed = ", ".join(raw.passed_over[:5])
        oddities.append(f"{len(raw.passed_over):,} files were passed over, such as {listed}.")
    parts = _read_files(raw)
    if len(parts) == 2 and parts[1][1] is None:
        oddities.append("The test set has no labels and is not used.")
        del parts[1]
    turned: list[Labelled] = []
    for (images, labels), name in zip(parts, ("training", "test"), strict=False):
        if labels is None or len(images) != len(labels):
            n_labels = "no" if labels is None else len(labels)
            raise SourceError(
                f"{raw.name}: expected one label for each image, got {len(images)} {name} images "
                f"and {n_labels} labels"
            )
        if images.dtype == np.uint8 and images.ndim == 3 and len(images):
            images, sentences = _on_black(images, name)
            oddities += sentences
        turned.append((images, labels))
    if len(turned) == 2:
        return turned[0], turned[1], oddities
    [(images, labels)] = turned
    train, test = validation_split(labels, TEST_FRACTION, seed, raw.name)
    return (images[train], labels[train]), (images[test], labels[test]), oddities


def _on_black(images: np.ndarray, name: str) -> tuple[np.ndarray, list[str]]:
    """Images turned round where most have a white background, and sentences on that."""
    _, is_white = turn_round(images)
    are_white = f"{is_white.sum():,} of {len(images):,} {name} images have a white background"
    if is_white.mean() > 0.5:
        return 255 - images, [f"{are_white}: all were turned round."]
    return images, [f"{are_white} and were left so."] * bool(is_white.mean() > FEW_WHITE)


def _read_files(raw: Source) -> list[tuple[np.ndarray, np.ndarray | None]]:
    """Images and labels of the training set and, where there is one, of the test set."""
    if raw.format == "images":
        return _read_images(raw)
    files = [(f.path.read_bytes(), str(f.path)) for f in raw.files.values()]
    if raw.format == "csv":  # training and perhaps test
        return [read_csv(data, name) for data, name in files]
    if raw.format == "idx":  # four files, in the catalogue's order
        arrays = [read_idx(data, name) for data, name in files]
    else:
        [(data, name)] = files
        arrays = list(read_npz(data, name))
    return list(zip(arrays[::2], arrays[1::2], strict=True))


def _read_images(raw: Source) -> list[tuple[np.ndarray, np.ndarray | None]]:
    """Image files by ``<part>/<label>/<name>``."""
    numbers = {name: i for i, name in enumerate(raw.categories or [])}
    parts: dict[str, list[tuple[np.ndarray, int]]] = {"train": [], "test": []}
    for name, file in raw.files.items():
        part, label, _ = name.split("/", 2)
        image = read_image(file.path.read_bytes(), str(file.path))
        parts[part].append((image, numbers[label]))
    return [
        (np.stack([image for image, _ in part]), np.array([label for _, label in part], np.uint8))
        for part in parts.values()
        if part
    ]
