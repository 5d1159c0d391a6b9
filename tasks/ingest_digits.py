"""Read digits, check them, and set validation images aside from the training images."""

import gzip
import io
from pathlib import Path

import numpy as np

from neural_classifiers.digits import validation_split
from neural_classifiers.idx import check_digits, read_idx
from neural_classifiers.weights import weights_from_bytes, weights_to_bytes
from tasks.records import File, Reference
from tasks.sources import Source
from tasks.steps import step

TEST_FRACTION = 0.2  # of a source that has no test images of its own


class Digits(Reference):
    """Images as an ``.npz``: ``images_*`` and ``labels_*`` of train, validation and test.

    Images are uint8 of shape (n, 28, 28), pixels from 0 to 255. `examples` is a picture.
    """

    arrays: File
    examples: File
    rows_train: int
    rows_validation: int
    rows_test: int

    @property
    def rows(self) -> int:
        """Images in all."""
        return self.rows_train + self.rows_validation + self.rows_test

    def in_words(self) -> str:
        """Images for training, validation and test."""
        return (
            f"{self.rows_train:,} training, {self.rows_validation:,} validation and "
            f"{self.rows_test:,} test images"
        )


def read_digits(digits: Digits) -> dict[str, np.ndarray]:
    """The arrays by name, their digest checked."""
    return weights_from_bytes(digits.arrays.verified().read_bytes(), digits.arrays.path.name)


@step()
def ingest_digits(raw: Source, sample: int | None, seed: int, folder: Path) -> Digits:
    """Images and labels, checked; a twelfth of the training images set aside for validation.

    Raises
    ------
    ValueError
        If a file is damaged, or images and labels do not belong together, or `sample` is more
        than there is.
    """
    from neural_classifiers.plots import plot_digits

    train, test = _read_csv(raw, seed) if raw.format == "csv" else _read_idx(raw)
    check_digits(*train, name=f"{raw.name}, training images")
    check_digits(*test, name=f"{raw.name}, test images")
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
    path, examples = folder / "digits.npz", folder / "digits.png"
    path.write_bytes(weights_to_bytes(arrays))
    shown = [i for digit in range(10) for i in np.flatnonzero(arrays["labels_train"] == digit)[:2]]
    examples.write_bytes(
        plot_digits(arrays["images_train"][shown], arrays["labels_train"][shown].tolist())
    )
    return Digits(
        arrays=File.of(path),
        examples=File.of(examples),
        rows_train=len(rows),
        rows_validation=len(validation_rows),
        rows_test=len(test[1]),
    )


Labelled = tuple[np.ndarray, np.ndarray]


def _read_idx(raw: Source) -> tuple[Labelled, Labelled]:
    """Training and test set from the four files, in the catalogue's order."""
    x_train, y_train, x_test, y_test = (
        read_idx(file.verified().read_bytes(), str(file.path)) for file in raw.files.values()
    )
    return (x_train, y_train), (x_test, y_test)


def _read_csv(raw: Source, seed: int) -> tuple[Labelled, Labelled]:
    """784 pixels and the label a line; test images are drawn, the same share of each digit."""
    [file] = raw.files.values()
    content = gzip.decompress(file.verified().read_bytes())
    table = np.loadtxt(io.BytesIO(content), delimiter=",", dtype=np.uint8)
    images, labels = table[:, :-1].reshape(-1, 28, 28), table[:, -1]
    train, test = validation_split(labels, TEST_FRACTION, seed)
    return (images[train], labels[train]), (images[test], labels[test])


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
