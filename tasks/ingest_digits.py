"""Read digits, check them, and set validation images aside from the training images."""

import json
from pathlib import Path, PurePosixPath

import numpy as np

from neural_classifiers.arrays.weights import weights_to_bytes
from neural_classifiers.digits.files import N_CLASSES, read_csv, read_idx, read_npz, read_png
from neural_classifiers.digits.splits import draw_images, validation_split
from neural_classifiers.engine.records import File
from neural_classifiers.engine.step import step
from neural_classifiers.errors import SourceError
from tasks.references import Digits, Source

TEST_FRACTION = 0.2  # of a source that has no test images of its own


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

    (images, labels), test = _read(raw, seed)
    report = check_digits((images, labels), test, raw.name)
    if sample is not None:
        drawn = draw_images(labels, sample, seed, raw.name)
        images, labels = images[drawn], labels[drawn]
    rows, validation_rows = validation_split(labels, seed=seed)
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
    )


Labelled = tuple[np.ndarray, np.ndarray]


def _read(raw: Source, seed: int) -> tuple[Labelled, Labelled]:
    """Training and test set; test images are drawn where the source has none of its own."""
    if raw.format == "png":
        parts = _read_pngs(raw)
    else:
        files = [(f.path.read_bytes(), str(f.path)) for f in raw.files.values()]
        if raw.format == "idx":  # four files, in the catalogue's order
            arrays = [read_idx(data, name) for data, name in files]
        else:
            [(data, name)] = files
            arrays = list({"npz": read_npz, "csv": read_csv}[raw.format](data, name))
        parts = list(zip(arrays[::2], arrays[1::2], strict=True))
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
