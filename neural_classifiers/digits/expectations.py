"""What we expect of images and labels of digits, as three suites of Great Expectations.

They read as the specification; extend them there. `array_suite` is about the arrays as they came
and `class_suite` about the digits in them: a breach of either ends the run. `image_suite` is about
each image: up to one in a hundred may be blank, or be a test image that also is a training image,
and is counted; a label that is no digit ends the run. Images are not set aside one by one, since
what MNIST's numbers can be compared with is MNIST as it is.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from neural_classifiers.checks import Finding, ValidationError, find_breaches
from neural_classifiers.digits.idx import IMAGE_SHAPE, N_CLASSES

if TYPE_CHECKING:
    import great_expectations as gx

Labelled = tuple[np.ndarray, np.ndarray]

MIN_SHARE, MAX_SHARE = 0.02, 0.5  # of a digit among the images of a set; MNIST: 0.09 to 0.11
MAX_DRIFT = 0.1  # between a digit's shares in training and in test
TOLERATED = 0.01  # share of images that may be blank or stand on both sides
MIN_IMAGES = 2  # of each digit: one to learn from, one to validate with
MIN_BRIGHTEST = 128  # anywhere: images scaled to [0, 1] and made bytes again end at 1
N_NAMED = 5  # images at fault that a message names


def array_suite() -> "gx.ExpectationSuite":
    """What we expect of a table of the arrays, a row each for training and test."""
    import great_expectations as gx
    from great_expectations import expectations as gxe

    height, width = IMAGE_SHAPE
    images = f"uint8 of shape (n, {height}, {width})"
    return gx.ExpectationSuite(
        name="arrays",
        expectations=[
            gxe.ExpectTableRowCountToEqual(value=2),
            gxe.ExpectColumnValuesToBeInSet(
                column="images_are",
                value_set=[images],
                meta={"fault": f"expected images as {images}"},
            ),
            gxe.ExpectColumnValuesToBeInSet(
                column="labels_are",
                value_set=["whole numbers of shape (n,)"],
                meta={"fault": "expected whole numbers of shape (n,) as labels"},
            ),
            gxe.ExpectColumnValuesToBeInSet(
                column="numbers_are",
                value_set=["equal"],
                meta={"fault": "expected one label for each image"},
            ),
            gxe.ExpectColumnValuesToBeBetween(
                column="n_images",
                min_value=MIN_IMAGES * N_CLASSES,
                meta={"fault": f"expected at least {MIN_IMAGES * N_CLASSES} images"},
            ),
        ],
    )


def image_suite() -> "gx.ExpectationSuite":
    """What we expect of each image: its label, its grey values, and the side it stands on."""
    import great_expectations as gx
    from great_expectations import expectations as gxe

    mostly = 1 - TOLERATED
    return gx.ExpectationSuite(
        name="images",
        expectations=[
            gxe.ExpectColumnValuesToBeInSet(
                column="label",
                value_set=list(range(N_CLASSES)),
                meta={"fault": "expected every label from 0 to 9 and no other"},
            ),
            gxe.ExpectColumnValuesToBeBetween(
                column="contrast",
                min_value=1,
                mostly=mostly,
                meta={"fault": f"expected at most {TOLERATED:.0%} blank images"},
            ),
            gxe.ExpectColumnMaxToBeBetween(
                column="brightest",
                min_value=MIN_BRIGHTEST,
                meta={"fault": f"expected grey values that reach {MIN_BRIGHTEST} of 255"},
            ),
            gxe.ExpectColumnValuesToBeInSet(
                column="is_copy",
                value_set=[0],
                mostly=mostly,
                meta={
                    "fault": f"expected at most {TOLERATED:.0%} of the images to be test images "
                    "that also are training images"
                },
            ),
        ],
    )


def class_suite() -> "gx.ExpectationSuite":
    """What we expect of a table of a row for each digit of training and of test."""
    import great_expectations as gx
    from great_expectations import expectations as gxe

    return gx.ExpectationSuite(
        name="digits",
        expectations=[
            gxe.ExpectColumnValuesToBeBetween(
                column="images",
                min_value=MIN_IMAGES,
                meta={"fault": f"expected at least {MIN_IMAGES} images of every digit"},
            ),
            gxe.ExpectColumnValuesToBeBetween(
                column="share",
                min_value=MIN_SHARE,
                max_value=MAX_SHARE,
                meta={
                    "fault": f"expected {MIN_SHARE:.0%} to {MAX_SHARE:.0%} of the images to be of "
                    "each digit"
                },
            ),
            gxe.ExpectColumnValuesToBeBetween(
                column="drift",
                max_value=MAX_DRIFT,
                meta={
                    "fault": "expected the shares of a digit in training and in test to differ by "
                    f"at most {MAX_DRIFT:.0%} of the images"
                },
            ),
        ],
    )


def check_digits(train: Labelled, test: Labelled, name: str = "digits") -> dict[str, Any]:
    """Pass images and labels that a network can learn from and be judged by; refuse others.

    Parameters
    ----------
    train, test : tuple of ndarray
        Images, uint8 of shape (n_images, 28, 28), and labels, whole numbers from 0 to 9.
    name : str
        What the data is called in error messages.

    Returns
    -------
    dict
        Plain JSON: ``blank`` and ``on_both_sides``, numbers of images that were tolerated;
        ``counts``, images of each digit by set; ``expectations``, each with what was observed.

    Raises
    ------
    ValidationError
        If an expectation is broken; names all that were, in which set, and how often.
    """
    sets = {"training": train, "test": test}
    report: dict[str, Any] = {"success": False, "expectations": []}
    _stop_for(_breaches(_array_table(sets), array_suite(), report), report, name)
    images = _image_table(sets)
    report["blank"] = int((images["contrast"] == 0).sum())
    report["on_both_sides"] = int(images["is_copy"].sum())
    faults = _breaches(images, image_suite(), report)
    counts = _class_table(images)
    _stop_for([*faults, *_breaches(counts, class_suite(), report)], report, name)
    report["success"] = True
    report["counts"] = {part: counts.loc[counts["set"] == part, "images"].tolist() for part in sets}
    return report


def _breaches(
    table: pd.DataFrame, suite: "gx.ExpectationSuite", report: dict[str, Any]
) -> list[str]:
    """What is wrong with a table, in words; all that was looked at goes into the report."""
    faults = []
    for finding in find_breaches(table, suite):
        observed = finding.summary["observed"]
        plain = observed.item() if isinstance(observed, np.generic) else observed
        report["expectations"].append(finding.summary | {"observed": plain})
        if not finding.summary["success"]:
            faults.append(f"{finding.fault}, got {_in_words(table, finding)}")
    return faults


def _in_words(table: pd.DataFrame, finding: Finding) -> str:
    """The rows at fault, each with its set and its value, the first few of them."""
    if finding.broken.empty:
        return str(finding.summary["observed"])
    rows = table.loc[finding.broken.index]
    said = [
        f"{_value(value)} ({row.set}{f', {row.what}' if 'what' in table else ''})"
        for value, row in zip(finding.broken, rows.itertuples(), strict=True)
    ]
    more = f" and {len(said) - N_NAMED:,} more" if len(said) > N_NAMED else ""
    return ", ".join(said[:N_NAMED]) + more


def _value(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _stop_for(faults: list[str], report: dict[str, Any], name: str) -> None:
    if faults:
        raise ValidationError(f"{name}: " + "; ".join(faults), report)


def _array_table(sets: dict[str, Labelled]) -> pd.DataFrame:
    """A row for each set: what its arrays are."""
    return pd.DataFrame(
        [
            {
                "set": part,
                "images_are": f"{images.dtype} of shape {_shape(images)}",
                "labels_are": _labels_are(labels),
                "n_images": len(images),
                "numbers_are": "equal"
                if len(images) == len(labels)
                else f"{len(images)} images and {len(labels)} labels",
            }
            for part, (images, labels) in sets.items()
        ]
    )


def _labels_are(labels: np.ndarray) -> str:
    kind = "whole numbers" if np.issubdtype(labels.dtype, np.integer) else str(labels.dtype)
    return f"{kind} of shape {_shape(labels)}"


def _shape(array: np.ndarray) -> str:
    """Its shape with n for the number of images."""
    sizes = [str(size) for size in array.shape[1:]]
    return f"({', '.join(['n', *sizes])}{',' if not sizes else ''})"


def _image_table(sets: dict[str, Labelled]) -> pd.DataFrame:
    """A row for each image."""
    seen = {image.tobytes() for image in sets["training"][0]}
    tables = []
    for part, (images, labels) in sets.items():
        pixels = images.reshape(len(images), -1)
        is_copy = [part == "test" and image.tobytes() in seen for image in images]
        tables.append(
            pd.DataFrame(
                {
                    "set": part,
                    "what": [f"image {i}" for i in range(len(images))],
                    "label": labels.astype(np.int64),
                    "brightest": pixels.max(axis=1).astype(np.int64),
                    "contrast": (pixels.max(axis=1) - pixels.min(axis=1)).astype(np.int64),
                    "is_copy": np.array(is_copy, np.int64),
                }
            )
        )
    return pd.concat(tables, ignore_index=True)


def _class_table(images: pd.DataFrame) -> pd.DataFrame:
    """A row for each set and digit: how many images, which share, how far from the other set's."""
    known = images[images["label"].between(0, N_CLASSES - 1)]
    counts = pd.crosstab(known["label"], known["set"]).reindex(
        index=range(N_CLASSES), columns=["training", "test"], fill_value=0
    )
    shares = counts / counts.sum().clip(lower=1)
    drift = (shares["training"] - shares["test"]).abs()
    return pd.concat(
        [
            pd.DataFrame(
                {
                    "set": part,
                    "what": [f"digit {digit}" for digit in range(N_CLASSES)],
                    "images": counts[part].to_numpy(),
                    "share": shares[part].to_numpy(),
                    "drift": drift.to_numpy(),
                }
            )
            for part in ("training", "test")
        ],
        ignore_index=True,
    )
