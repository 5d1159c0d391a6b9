"""What we expect of images and labels of digits, as plain checks of their arrays.

The two tables read as the specification; extend them there. `ARRAYS` is about the arrays as they
came and `DIGITS` about the images and digits in them: a breach of either ends the run. Up to one
image in a hundred may be blank, or be a test image that also is a training image, and is counted.
Images are not set aside one by one, since what MNIST's numbers can be compared with is MNIST as it
is.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from neural_classifiers.digits.files import IMAGE_SHAPE, N_CLASSES
from neural_classifiers.errors import ValidationError
from neural_classifiers.values import Finding

Labelled = tuple[np.ndarray, np.ndarray]
BySet = Mapping[str, np.ndarray]  # an array for "training" and one for "test"

MIN_SHARE, MAX_SHARE = 0.02, 0.5  # of a digit among the images of a set; MNIST: 0.09 to 0.11
MAX_DRIFT = 0.1  # between a digit's shares in training and in test
TOLERATED = 0.01  # share of images that may be blank or stand on both sides
MIN_IMAGES = 2  # of each digit: one to learn from, one to validate with
MIN_BRIGHTEST = 128  # anywhere: images scaled to [0, 1] and made bytes again end at 1
N_NAMED = 5  # values at fault that a message names


class Check(NamedTuple):
    """Bounds for the values that both sets have in a column.

    `of` is what a value belongs to, named by its number from 0; "" for the set. `what` is
    expected, as the message says it, and `kwargs` as Great Expectations names it: `value_set`, or
    bounds that may be reached, and `mostly`, the share of the values that have to be so.
    """

    column: str
    of: Literal["image", "digit", ""]
    what: str
    kwargs: dict[str, Any]

    def find(self, values: BySet) -> Finding:
        """The finding about the values, of shape (n,), of each set."""
        allowed, mostly = self.kwargs.get("value_set"), self.kwargs.get("mostly", 1)
        low, high = self.kwargs.get("min_value", -np.inf), self.kwargs.get("max_value", np.inf)
        broken = [
            f"{_value(each[i])} ({part}{f', {self.of} {i}' if self.of else ''})"
            for part, each in values.items()
            for is_met in [np.isin(each, allowed) if allowed else (low <= each) & (each <= high)]
            for i in np.flatnonzero(~is_met)
        ]
        n = sum(len(each) for each in values.values())
        more = f" and {len(broken) - N_NAMED:,} more" if len(broken) > N_NAMED else ""
        return Finding(
            expectation=f"expect_column_values_to_be_{'in_set' if allowed else 'between'}",
            kwargs={"column": self.column} | self.kwargs,
            success=(n - len(broken)) / n >= mostly,
            unexpected=len(broken),
            observed=None,
            fault=f"expected {self.what}, got {', '.join(broken[:N_NAMED])}{more}",
        )


_IMAGES_ARE = f"uint8 of shape (n, {IMAGE_SHAPE[0]}, {IMAGE_SHAPE[1]})"
_LABELS_ARE = "whole numbers of shape (n,)"
_LEAST = MIN_IMAGES * N_CLASSES
ARRAYS = [
    Check("images_are", "", f"images as {_IMAGES_ARE}", {"value_set": [_IMAGES_ARE]}),
    Check("labels_are", "", f"{_LABELS_ARE} as labels", {"value_set": [_LABELS_ARE]}),
    Check("numbers_are", "", "one label for each image", {"value_set": ["equal"]}),
    Check("n_images", "", f"at least {_LEAST} images", {"min_value": _LEAST}),
]
_FEW = f"at most {TOLERATED:.0%}"
_COPIES = f"{_FEW} of the images to be test images that also are training images"
_MOST = {"mostly": 1 - TOLERATED}
_LABELS = {"value_set": list(range(N_CLASSES))}
_N_IMAGES = f"at least {MIN_IMAGES} images of every digit"
_SHARES = f"{MIN_SHARE:.0%} to {MAX_SHARE:.0%} of the images to be of each digit"
_DRIFT = (
    "the shares of a digit in training and in test to differ by at most "
    f"{MAX_DRIFT:.0%} of the images"
)
DIGITS = [
    Check("label", "image", "every label from 0 to 9 and no other", _LABELS),
    # Brightest less darkest grey value
    Check("contrast", "image", f"{_FEW} blank images", {"min_value": 1, **_MOST}),
    # 1 for a test image that also is a training image, else 0
    Check("is_copy", "image", _COPIES, {"value_set": [0], **_MOST}),
    Check("images", "digit", _N_IMAGES, {"min_value": MIN_IMAGES}),
    Check("share", "digit", _SHARES, {"min_value": MIN_SHARE, "max_value": MAX_SHARE}),
    Check("drift", "digit", _DRIFT, {"max_value": MAX_DRIFT}),
]


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
    described = zip(*(_describe(*arrays) for arrays in sets.values()), strict=True)
    columns = [dict(zip(sets, values, strict=True)) for values in described]
    _pass([c.find(values) for c, values in zip(ARRAYS, columns, strict=True)], report, name)
    labels = {part: each.astype(np.int64) for part, (_, each) in sets.items()}
    learned = {image.tobytes() for image in train[0]}
    counts = {
        part: np.bincount(each[(each >= 0) & (each < N_CLASSES)], minlength=N_CLASSES)
        for part, each in labels.items()
    }
    shares = {part: each / max(each.sum(), 1) for part, each in counts.items()}
    values: dict[str, BySet] = {
        "label": labels,
        "contrast": {part: np.ptp(images, axis=(1, 2)) for part, (images, _) in sets.items()},
        "is_copy": {
            "training": np.zeros(len(train[0]), np.int64),
            "test": np.array([image.tobytes() in learned for image in test[0]], np.int64),
        },
        "images": counts,
        "share": shares,
        "drift": dict.fromkeys(sets, np.abs(shares["training"] - shares["test"])),
    }
    report["blank"] = int(sum((each == 0).sum() for each in values["contrast"].values()))
    report["on_both_sides"] = int(values["is_copy"]["test"].sum())
    findings = [check.find(values[check.column]) for check in DIGITS]
    brightest = max(int(images.max()) for images, _ in sets.values())
    reaches = Finding(
        expectation="expect_column_max_to_be_between",
        kwargs={"column": "brightest", "min_value": MIN_BRIGHTEST},
        success=brightest >= MIN_BRIGHTEST,
        unexpected=0,
        observed=brightest,
        fault=f"expected grey values that reach {MIN_BRIGHTEST} of 255, got {brightest}",
    )
    findings.insert(2, reaches)
    _pass(findings, report, name)
    report["success"] = True
    report["counts"] = {part: each.tolist() for part, each in counts.items()}
    return report


def _describe(images: np.ndarray, labels: np.ndarray) -> list[np.ndarray]:
    """Types, shapes and sizes, one value for each of `ARRAYS`."""
    n, m = len(images), len(labels)
    kind = "whole numbers" if np.issubdtype(labels.dtype, np.integer) else labels.dtype
    are_equal = "equal" if n == m else f"{n} images and {m} labels"
    types = f"{images.dtype} of shape {_shape(images)}", f"{kind} of shape {_shape(labels)}"
    return [np.array([value]) for value in (*types, are_equal, n)]


def _shape(array: np.ndarray) -> str:
    """Its shape with n for the number of images."""
    return str(("n", *array.shape[1:])).replace("'", "")


def _pass(findings: Sequence[Finding], report: dict[str, Any], name: str) -> None:
    """Put findings into the report, and end the run where one says so."""
    report["expectations"] += [finding.as_dict() for finding in findings]
    if faults := [finding.fault for finding in findings if not finding.success]:
        raise ValidationError(f"{name}: " + "; ".join(faults), report)


def _value(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
