"""The gate for digits: what it lets through, and what it says of what it does not."""

import json

import numpy as np
import pytest

from neural_classifiers.digits.expectations import check_digits
from neural_classifiers.errors import ValidationError


def labelled(n=100, seed=0):
    """Noise, every digit as often as another."""
    images = np.random.default_rng(seed).integers(0, 256, (n, 28, 28)).astype(np.uint8)
    return images, np.arange(n) % 10


TEST = labelled(100, seed=1)


def test_different_images_of_every_digit_pass():
    report = check_digits(labelled(), TEST)

    assert report["success"]
    assert (report["blank"], report["on_both_sides"]) == (0, 0)
    assert report["counts"] == {"training": [10] * 10, "test": [10] * 10}
    assert all(told["success"] for told in report["expectations"])
    assert json.loads(json.dumps(report)) == report


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, y: (x[:, :27], y), r"uint8 of shape \(n, 28, 28\), got uint8 .*\(n, 27, 28\)"),
        (lambda x, y: (x / 255, y), "expected images as uint8.*got float64"),
        (lambda x, y: (x.reshape(100, 784), y), r"got uint8 of shape \(n, 784\)"),
        (lambda x, y: (x, y[:99]), "one label for each image, got 100 images and 99 labels"),
        (lambda x, y: (x, y + 0.5), "whole numbers.* as labels, got float64"),
        (lambda x, y: (x, y[:, None]), r"as labels, got .* of shape \(n, 1\)"),
        (lambda x, y: (x, np.where(y == 3, 10, y)), r"got 10 \(training, image 3\)"),
        (lambda x, y: (x, np.where(y == 3, 4, y)), r"of every digit, got 0 \(training, digit 3\)"),
        (lambda x, y: (x[:0], y[:0]), r"at least 20 images, got 0 \(training\)"),
        (lambda x, y: (x * 0 + 7, y), r"blank images, got 0 \(training, image 0\).*95 more"),
        (lambda x, y: ((x > 127).astype(np.uint8), y), "reach 128 of 255"),
        (lambda x, y: (x, np.where(y > 5, 1, y)), r"differ by at most 10%.*got 0.4 \(training, d"),
        (lambda x, y: (TEST[0], y), r"also are training images, got 1 \(test, image 0\)"),
    ],
)
def test_digits_that_cannot_be_learnt_are_refused_with_what_came_and_where(change, message):
    test = (TEST[0] // 4, TEST[1]) if "128" in message else TEST
    with pytest.raises(ValidationError, match=f"mnist: .*{message}") as caught:
        check_digits(change(*labelled()), test, "mnist")

    assert not caught.value.report["success"]


def test_a_fault_of_the_test_images_names_them():
    images, labels = labelled(seed=1)

    with pytest.raises(ValidationError, match=r"got 12 \(test, image 99\)"):
        check_digits(labelled(), (images, np.where(np.arange(100) == 99, 12, labels)))


def test_few_blank_images_and_few_on_both_sides_are_let_through_and_counted():
    (images, labels), (images_test, labels_test) = labelled(300), labelled(300, seed=1)
    images[5] = 0
    images_test[7] = images[8]

    report = check_digits((images, labels), (images_test, labels_test))

    assert (report["blank"], report["on_both_sides"]) == (1, 1)
