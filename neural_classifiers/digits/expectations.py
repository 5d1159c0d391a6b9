"""What we expect of images and labels of digits, as plain checks of their arrays.

They read as the specification; extend them there. `array_findings` are about the arrays as they
came and `class_findings` about the digits in them: a breach of either ends the run.
`image_findings` are about each image: up to one in a hundred may be blank, or be a test image that
also is a training image, and is counted; a label that is no digit ends the run. Images are not set
aside one by one, since what MNIST's numbers can be compared with is MNIST as it is.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from neural_classifiers.checks import Finding, ValidationError
from neural_classifiers.digits.files import IMAGE_SHAPE, N_CLASSES

Labelled = tuple[np.ndarray, np.ndarray]
BySet = Mapping[str, np.ndarray]  # an array for "training" and one for "test"

MIN_SHARE, MAX_SHARE = 0.02, 0.5  # of a digit among the images of a set; MNIST: 0.09 to 0.11
MAX_DRIFT = 0.1  # between a digit's shares in training and in test
TOLERATED = 0.01  # share of images that may be blank or stand on both sides
MIN_IMAGES = 2  # of each digit: one to learn from, one to validate with
MIN_BRIGHTEST = 128  # anywhere: images scaled to [0, 1] and made bytes again end at 1
N_NAMED = 5  # values at fault that a message names


def array_findings(sets: Mapping[str, Labelled]) -> Iterator[Finding]:
    """Findings about types, shapes and sizes of the images and labels of each set."""
    images_are = f"uint8 of shape (n, {IMAGE_SHAPE[0]}, {IMAGE_SHAPE[1]})"
    labels_are = "whole numbers of shape (n,)"

    def of_each(describe: Callable[[np.ndarray, np.ndarray], str | int]) -> BySet:
        return {part: np.array([describe(*arrays)]) for part, arrays in sets.items()}

    yield _finding(
        "images_are",
        of_each(lambda images, _: f"{images.dtype} of shape {_shape(images)}"),
        f"images as {images_are}",
        value_set=[images_are],
    )
    yield _finding(
        "labels_are",
        of_each(lambda _, labels: f"{_kind(labels)} of shape {_shape(labels)}"),
        f"{labels_are} as labels",
        value_set=[labels_are],
    )
    yield _finding(
        "numbers_are", of_each(_numbers), "one label for each image", value_set=["equal"]
    )
    least = MIN_IMAGES * N_CLASSES
    n_images = of_each(lambda images, _: len(images))
    yield _finding("n_images", n_images, f"at least {least} images", least=least)


def image_findings(
    labels: BySet, contrast: BySet, is_copy: BySet, brightest: int
) -> Iterator[Finding]:
    """Findings about each image: its label, its grey values, and the side it stands on.

    Parameters
    ----------
    labels : mapping of str to ndarray of shape (n_images,)
    contrast : mapping of str to ndarray of shape (n_images,)
        Brightest less darkest grey value of each image; 0 for a blank one.
    is_copy : mapping of str to ndarray of shape (n_images,)
        1 for a test image that also is a training image, else 0.
    brightest : int
        Of all grey values, from 0 to 255.
    """
    what = "every label from 0 to 9 and no other"
    yield _finding("label", labels, what, of="image", value_set=list(range(N_CLASSES)))
    what = f"at most {TOLERATED:.0%} blank images"
    yield _finding("contrast", contrast, what, of="image", least=1, mostly=1 - TOLERATED)
    yield Finding(
        expectation="expect_column_max_to_be_between",
        kwargs={"column": "brightest", "min_value": MIN_BRIGHTEST},
        success=brightest >= MIN_BRIGHTEST,
        unexpected=0,
        observed=brightest,
        fault=f"expected grey values that reach {MIN_BRIGHTEST} of 255, got {brightest}",
    )
    what = f"at most {TOLERATED:.0%} of the images to be test images that also are training images"
    yield _finding("is_copy", is_copy, what, of="image", value_set=[0], mostly=1 - TOLERATED)


def class_findings(counts: BySet) -> Iterator[Finding]:
    """Findings about how often each digit comes in each set; `counts` have shape (10,)."""
    shares = {part: each / max(each.sum(), 1) for part, each in counts.items()}
    drift = np.abs(shares["training"] - shares["test"])
    what = f"at least {MIN_IMAGES} images of every digit"
    yield _finding("images", counts, what, of="digit", least=MIN_IMAGES)
    what = f"{MIN_SHARE:.0%} to {MAX_SHARE:.0%} of the images to be of each digit"
    yield _finding("share", shares, what, of="digit", least=MIN_SHARE, most=MAX_SHARE)
    what = (
        "the shares of a digit in training and in test to differ by at most "
        f"{MAX_DRIFT:.0%} of the images"
    )
    yield _finding("drift", dict.fromkeys(counts, drift), what, of="digit", most=MAX_DRIFT)


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
    _pass(array_findings(sets), report, name)
    labels = {part: each.astype(np.int64) for part, (_, each) in sets.items()}
    contrast = {part: np.ptp(images, axis=(1, 2)) for part, (images, _) in sets.items()}
    learned = {image.tobytes() for image in train[0]}
    is_copy = {
        "training": np.zeros(len(train[0]), np.int64),
        "test": np.array([image.tobytes() in learned for image in test[0]], np.int64),
    }
    brightest = max(int(images.max()) for images, _ in sets.values())
    counts = {
        part: np.bincount(each[(each >= 0) & (each < N_CLASSES)], minlength=N_CLASSES)
        for part, each in labels.items()
    }
    report["blank"] = int(sum((each == 0).sum() for each in contrast.values()))
    report["on_both_sides"] = int(is_copy["test"].sum())
    findings = [*image_findings(labels, contrast, is_copy, brightest), *class_findings(counts)]
    _pass(findings, report, name)
    report["success"] = True
    report["counts"] = {part: each.tolist() for part, each in counts.items()}
    return report


def _pass(findings: Iterable[Finding], report: dict[str, Any], name: str) -> None:
    """Put findings into the report, and end the run where one says so."""
    findings = list(findings)
    report["expectations"] += [finding.as_dict() for finding in findings]
    if faults := [finding.fault for finding in findings if not finding.success]:
        raise ValidationError(f"{name}: " + "; ".join(faults), report)


def _finding(
    column: str,
    values: BySet,
    what: str,
    *,
    of: str = "",
    value_set: list[Any] | None = None,
    least: float | None = None,
    most: float | None = None,
    mostly: float | None = None,
) -> Finding:
    """A finding about the values of both sets.

    Parameters
    ----------
    column : str
        What the values are, for the report.
    values : mapping of str to ndarray of shape (n,)
        Of each set.
    what : str
        What is expected, as the message says it.
    of : str
        What a value belongs to: "image" or "digit", named by its number from 0; "" for the set.
    value_set : list, optional
        All that a value may be; without it `least` and `most` decide, which may be reached.
    mostly : float, optional
        Share of the values that have to be as expected; by default all.
    """
    low, high = (-np.inf if least is None else least), (np.inf if most is None else most)
    broken = [
        f"{_value(each[i])} ({part}{f', {of} {i}' if of else ''})"
        for part, each in values.items()
        for is_met in [np.isin(each, value_set) if value_set else (low <= each) & (each <= high)]
        for i in np.flatnonzero(~is_met)
    ]
    n = sum(len(each) for each in values.values())
    more = f" and {len(broken) - N_NAMED:,} more" if len(broken) > N_NAMED else ""
    kwargs = {"value_set": value_set, "min_value": least, "max_value": most, "mostly": mostly}
    return Finding(
        expectation=f"expect_column_values_to_be_{'in_set' if value_set else 'between'}",
        kwargs={"column": column} | {k: v for k, v in kwargs.items() if v is not None},
        success=(n - len(broken)) / n >= (mostly or 1),
        unexpected=len(broken),
        observed=None,
        fault=f"expected {what}, got {', '.join(broken[:N_NAMED])}{more}",
    )


def _value(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _kind(labels: np.ndarray) -> str:
    return "whole numbers" if np.issubdtype(labels.dtype, np.integer) else str(labels.dtype)


def _numbers(images: np.ndarray, labels: np.ndarray) -> str:
    n, m = len(images), len(labels)
    return "equal" if n == m else f"{n} images and {m} labels"


def _shape(array: np.ndarray) -> str:
    """Its shape with n for the number of images."""
    sizes = [str(size) for size in array.shape[1:]]
    return f"({', '.join(['n', *sizes])}{',' if not sizes else ''})"
