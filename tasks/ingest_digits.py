"""Read digits, check them, and set validation images aside from the training images."""

import gzip
import io
import json
from pathlib import Path, PurePosixPath

import numpy as np

from neural_classifiers.arrays.weights import weights_to_bytes
from neural_classifiers.checks import SourceError
from neural_classifiers.digits.files import read_npz, read_png
from neural_classifiers.digits.idx import read_idx
from neural_classifiers.digits.networks import validation_split
from neural_classifiers.engine.records import File
from neural_classifiers.engine.step import step
from tasks.references import Digits, Source

TEST_FRACTION = 0.2  # of a source that has no test images of its own


@step()
def ingest_digits(raw: Source, sample: int | None, seed: int, folder: Path) -> Digits:
    """Images and labels, checked; a twelfth of the training images set aside for validation.

    Raises
    ------
    ValueError
        If a file is damaged, or images and labels do not belong together, or `sample` is more
        than there is.
    """
    from neural_classifiers.digits.expectations import check_digits
    from neural_classifiers.report.plots import plot_digits

    train, test = _read(raw, seed)
    found = check_digits(train, test, raw.name)
    if sample is not None:
        train = _drawn(train, sample, seed, raw.name)
    rows, validation_rows = validation_split(train[1], seed=seed)
    arrays = {
        "images_train": train[0][rows],
        "labels_train": train[1][rows],
        "images_validation": train[0][validation_rows],
        "labels_validation": train[1][validation_rows],
        "images_test": test[0],
        "labels_test": test[1],
    }
    names = raw.categories or [str(digit) for digit in range(10)]
    path, examples, findings = (
        folder / file for file in ("digits.npz", "digits.png", "findings.json")
    )
    path.write_bytes(weights_to_bytes(arrays))
    shown = [i for digit in range(10) for i in np.flatnonzero(arrays["labels_train"] == digit)[:2]]
    examples.write_bytes(
        plot_digits(
            arrays["images_train"][shown], [names[i] for i in arrays["labels_train"][shown]]
        )
    )
    findings.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return Digits(
        arrays=File.of(path),
        examples=File.of(examples),
        findings=File.of(findings),
        labels=names,
        rows_train=len(rows),
        rows_validation=len(validation_rows),
        rows_test=len(test[1]),
        blank=found["blank"],
        on_both_sides=found["on_both_sides"],
    )


Labelled = tuple[np.ndarray, np.ndarray]


def _read(raw: Source, seed: int) -> tuple[Labelled, Labelled]:
    """Training and test set; test images are drawn where the source has none of its own."""
    readers = {"idx": _read_idx, "npz": _read_npz, "csv": _read_csv, "png": _read_pngs}
    parts = readers[raw.format](raw)
    if len(parts) == 2:
        return parts[0], parts[1]
    [(images, labels)] = parts
    if len(images) != len(labels):
        raise ValueError(
            f"{raw.name}: expected one label for each image, got {len(images)} images and "
            f"{len(labels)} labels"
        )
    train, test = validation_split(labels, TEST_FRACTION, seed)
    return (images[train], labels[train]), (images[test], labels[test])


def _read_idx(raw: Source) -> list[Labelled]:
    """Training and test set from the four files, in the catalogue's order."""
    x_train, y_train, x_test, y_test = (
        read_idx(file.path.read_bytes(), str(file.path)) for file in raw.files.values()
    )
    return [(x_train, y_train), (x_test, y_test)]


def _read_npz(raw: Source) -> list[Labelled]:
    [file] = raw.files.values()
    x, y, *test = read_npz(file.path.read_bytes(), str(file.path))
    return [(x, y), *([(test[0], test[1])] if test else [])]


def _read_csv(raw: Source) -> list[Labelled]:
    """784 pixels and the label a line."""
    [file] = raw.files.values()
    content = gzip.decompress(file.path.read_bytes())
    table = np.loadtxt(io.BytesIO(content), delimiter=",", dtype=np.uint8)
    return [(table[:, :-1].reshape(-1, 28, 28), table[:, -1])]


def _read_pngs(raw: Source) -> list[Labelled]:
    """``<label>/*.png``, or those below ``train`` and ``test``."""
    labels = {name: i for i, name in enumerate(raw.categories or [])}
    parts: dict[str, list[tuple[np.ndarray, int]]] = {}
    for name, file in raw.files.items():
        *above, label, _ = PurePosixPath(name).parts
        image = read_png(file.path.read_bytes(), str(file.path))
        parts.setdefault("/".join(above), []).append((image, labels[label]))
    if set(parts) not in ({""}, {"train", "test"}):
        raise SourceError(
            f"{raw.name}: expected <label>/*.png, or train/<label>/*.png and test/<label>/*.png, "
            f"got PNG files below {sorted(parts)}"
        )
    return [
        (np.stack([image for image, _ in part]), np.array([label for _, label in part], np.uint8))
        for part in (parts[name] for name in ("", "train", "test") if name in parts)
    ]


def _drawn(train: Labelled, sample: int, seed: int, name: str) -> Labelled:
    images, labels = train
    if sample > len(labels):
        raise ValueError(
            f"{name}: expected at least {sample:,} training images, got {len(labels):,}"
        )
    if sample == len(labels):
        return train
    _, drawn = validation_split(labels, sample / len(labels), seed)
    return images[drawn], labels[drawn]
