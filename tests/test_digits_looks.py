"""What is unlike the training images is said; what is merely the other way round is turned."""

import numpy as np
import pytest

from neural_classifiers.digits.looks import measure_looks, turn_unusual, usual_looks


def digits(n=200, seed=0):
    """White strokes of some width on black, as MNIST's."""
    rng = np.random.default_rng(seed)
    images = np.zeros((n, 28, 28), np.uint8)
    for image, at, width in zip(images, rng.integers(6, 16, n), rng.integers(2, 5, n), strict=True):
        image[5:23, at : at + width] = 250
        image[at : at + width, 5:23] = 250
    return images


USUAL, IMAGE = usual_looks(digits()), digits(1, seed=1)[0]
NOISE = np.random.default_rng(2).integers(0, 256, (28, 28)).astype(np.uint8)


def test_measures_agree_with_arithmetic():
    image = np.zeros((4, 4), np.uint8)
    image[0] = 100
    looks = measure_looks(image[None])

    assert looks["contrast"] == [100]
    assert looks["brightness"] == [25]
    assert looks["edge"] == [400 / 12]
    # of 12 neighbours in columns four differ by 100, of those in rows none
    assert looks["roughness"] == pytest.approx([(400 / 12 + 0) / 2])


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (IMAGE, None),
        (np.clip(IMAGE + NOISE // 12, 0, 255), None),  # as of a scanner
        (255 - IMAGE, "white background, turned round"),
        (IMAGE * 0, "blank"),
        (IMAGE * 0 + 130, "blank"),
        (IMAGE * 0 + 255, "white background, turned round; blank"),
        (NOISE, "unlike the training images: brightness 12"),
        (IMAGE // 8, "unlike the training images: contrast 31 (230 to 255)"),
    ],
)
def test_what_is_odd_of_an_image_is_said(image, words):
    [turned], [said] = turn_unusual(image.astype(np.uint8)[None], USUAL)

    assert said == words or said.startswith(words)
    is_turned = (said or "").startswith("white")
    np.testing.assert_array_equal(turned, 255 - image if is_turned else image)


def test_images_on_white_are_as_they_should_be_where_the_training_images_were_mixed():
    mixed = digits()
    mixed[::2] = 255 - mixed[::2]
    white = 255 - digits(20, seed=3)

    turned, said = turn_unusual(white, usual_looks(mixed))

    assert said == [None] * 20
    np.testing.assert_array_equal(turned, white)
