"""How well digits are read: accuracy, and what it hides digit by digit, mistake by mistake.

Choices are made on validation images, which are training images set aside; the test images are
for `score_network`, once. Everything but `score_altered` is computed from the probabilities that it
gives.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from neural_classifiers.digits.files import N_CLASSES
from neural_classifiers.digits.networks import accuracy_and_loss, predict_digits
from neural_classifiers.judgement.scores import wilson_interval

N_MISTAKES = 25
N_ALTERED = 2_000  # test images that are altered: one standard error near 0.99 is 0.2 points
SEED = 0  # of their draw and of every alteration


class DigitsScores(NamedTuple):
    """Scores and probabilities of a network on the test images.

    `test_accuracy` is a fraction in [0, 1] and `test_loss` the mean cross-entropy, in nats.
    `probabilities`, float32 of shape (n_images, 10), are in the order of the images; `confusion`,
    of shape (10, 10), counts images: rows actual, columns predicted.
    """

    test_accuracy: float
    test_loss: float
    probabilities: np.ndarray
    confusion: np.ndarray


def score_network(network: Any, images: np.ndarray, labels: np.ndarray) -> DigitsScores:
    """Score a trained network on the test set; to be called once, when all choices are made.

    Parameters
    ----------
    network : keras.Sequential
        From `digits.networks.rebuild_network`.
    images : ndarray of shape (n_images, 28, 28)
        uint8, pixels from 0 to 255; the test images.
    labels : ndarray of shape (n_images,)
        Digits from 0 to 9.
    """
    probabilities = predict_digits(network, images)
    accuracy, loss = accuracy_and_loss(probabilities, labels)
    confusion = np.zeros((N_CLASSES, N_CLASSES), np.int64)
    np.add.at(confusion, (labels, probabilities.argmax(axis=1)), 1)
    return DigitsScores(accuracy, loss, probabilities, confusion)


def score_each_digit(confusion: ArrayLike) -> list[dict[str, Any]]:
    """Accuracy on the images of each digit, with its 95 % Wilson interval.

    Parameters
    ----------
    confusion : array-like of int, shape (10, 10)
        Rows actual, columns predicted.

    Returns
    -------
    list of dict
        ``images``, ``accuracy``, ``low``, ``high`` and ``mistaken_for``: the digit that it is
        most often taken for, None without a mistake. A digit without images is left out.
    """
    rows = []
    for digit, counts in enumerate(np.asarray(confusion)):
        n, right = int(counts.sum()), int(counts[digit])
        if not n:
            continue
        others = np.where(np.arange(len(counts)) == digit, -1, counts)
        mistaken_for = int(others.argmax()) if right < n else None
        rows.append({"digit": digit, **_accuracy(right, n), "mistaken_for": mistaken_for})
    return rows


def is_guessing(confusion: ArrayLike) -> bool:
    """Whether a network is not shown to be right more often than the commonest digit always is.

    Parameters
    ----------
    confusion : array-like of int, shape (10, 10)
        Rows actual, columns predicted.
    """
    counts = np.asarray(confusion)
    low, _ = wilson_interval(int(np.trace(counts)), int(counts.sum()))
    return bool(low <= counts.sum(axis=1).max() / counts.sum())


def _accuracy(right: int, n: int) -> dict[str, Any]:
    low, high = wilson_interval(right, n)
    return {"images": n, "accuracy": right / n, "low": low, "high": high}


def worst_mistakes(probabilities: np.ndarray, labels: np.ndarray) -> list[dict[str, Any]]:
    """The images that were read wrongly, the surest mistake first, at most `N_MISTAKES`.

    Parameters
    ----------
    probabilities : ndarray of shape (n_images, 10)
    labels : ndarray of shape (n_images,)
        Digits from 0 to 9.

    Returns
    -------
    list of dict
        ``image`` (its number), ``actual``, ``predicted`` and the probabilities of both, in the
        order of the probability that the network left to the actual digit, least first.
    """
    predicted = probabilities.argmax(axis=1)
    right = probabilities[np.arange(len(labels)), labels]
    wrong = np.flatnonzero(predicted != labels)
    worst = wrong[np.argsort(right[wrong], kind="stable")][:N_MISTAKES]
    return [
        {
            "image": int(i),
            "actual": int(labels[i]),
            "predicted": int(predicted[i]),
            "p_actual": float(right[i]),
            "p_predicted": float(probabilities[i, predicted[i]]),
        }
        for i in worst
    ]


def shift(images: np.ndarray, pixels: int, rng: np.random.Generator) -> np.ndarray:
    """Images moved by so many pixels left, right, up or down; what leaves the frame is lost."""
    from scipy import ndimage

    directions = np.array([(0, 1), (0, -1), (1, 0), (-1, 0)])[rng.integers(4, size=len(images))]
    moves = zip(images, pixels * directions, strict=True)
    return np.stack([ndimage.shift(image, move, order=0) for image, move in moves])


def rotate(images: np.ndarray, degrees: float, rng: np.random.Generator) -> np.ndarray:
    """Images turned about their centre, one half clockwise; corners fill with background."""
    from scipy import ndimage

    turned = np.empty_like(images)
    clockwise = rng.integers(2, size=len(images)).astype(bool)
    for which, angle in ((clockwise, -degrees), (~clockwise, degrees)):
        turned[which] = ndimage.rotate(
            images[which], angle, axes=(2, 1), reshape=False, order=1, mode="constant"
        )
    return turned


def add_noise(images: np.ndarray, deviation: float, rng: np.random.Generator) -> np.ndarray:
    """Images with Gaussian noise on every pixel, in grey levels, cut to 0 to 255."""
    noisy = images + rng.normal(0, deviation, images.shape)
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


Alteration = Callable[[np.ndarray, np.random.Generator], np.ndarray]

ALTERATIONS: dict[str, Alteration] = {
    "as they are": lambda images, _: images,
    "shifted by 2 pixels": lambda images, rng: shift(images, 2, rng),
    "shifted by 4 pixels": lambda images, rng: shift(images, 4, rng),
    "turned by 15°": lambda images, rng: rotate(images, 15, rng),
    "turned by 30°": lambda images, rng: rotate(images, 30, rng),
    "noise of 25 grey levels": lambda images, rng: add_noise(images, 25, rng),
    "noise of 75 grey levels": lambda images, rng: add_noise(images, 75, rng),
}


def score_altered(network: Any, images: np.ndarray, labels: np.ndarray) -> list[dict[str, Any]]:
    """Accuracy on images that were shifted, turned and made noisy, with Wilson intervals.

    Of the test images, `N_ALTERED` are drawn; all networks see the same images. Parameters as for
    `score_network`.

    Returns
    -------
    list of dict
        ``alteration``, ``images``, ``accuracy``, ``low``, ``high``; the first is "as they are".
    """
    drawn = np.sort(np.random.default_rng(SEED).permutation(len(images))[:N_ALTERED])
    rows = []
    for name, alter in ALTERATIONS.items():
        altered = alter(images[drawn], np.random.default_rng(SEED))
        right = int((predict_digits(network, altered).argmax(axis=1) == labels[drawn]).sum())
        rows.append({"alteration": name, **_accuracy(right, len(drawn))})
    return rows


def best_seed(by_seed: Mapping[int, Mapping[str, float]]) -> int:
    """The seed to use: of the highest ``val_accuracy``, of equals that of the lowest loss."""
    return max(by_seed, key=lambda s: (by_seed[s]["val_accuracy"], -by_seed[s]["val_loss"]))


def spread_of_seeds(test_accuracies: Sequence[float]) -> dict[str, float]:
    """Mean, standard deviation (0 of a single one), worst and best over the seeds."""
    accuracies = np.asarray(test_accuracies, np.float64)
    return {
        "n": len(accuracies),
        "mean": float(accuracies.mean()),
        "std": float(accuracies.std(ddof=1)) if len(accuracies) > 1 else 0.0,
        "worst": float(accuracies.min()),
        "best": float(accuracies.max()),
    }
