"""Which training images a network learns from and which validate it."""

import numpy as np

from neural_classifiers.errors import SourceError

# 5,000 of MNIST's 60,000: one standard error of an accuracy near 0.99 is 0.0014, and the 55,000
# left are whole batches of the notebook's 1,000.
VALIDATION_FRACTION = 1 / 12


def validation_split(
    labels: np.ndarray,
    fraction: float = VALIDATION_FRACTION,
    seed: int = 34,
    name: str = "digits",
) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the images to train with and of those to validate with, each ascending.

    Parameters
    ----------
    labels : ndarray of shape (n_images,)
        Labels of the training set, never of the test set.
    fraction : float
        Share of the images set aside, the same of every digit but for rounding; as many images
        as there are digits at least.
    seed : int
        Decides which.
    name : str
        What the data is called in error messages.

    Raises
    ------
    ValueError
        If a digit has a single image, which cannot stand on both sides.

    Notes
    -----
    The notebook validated with the test set, so that no image was left that no choice had seen.
    """
    from sklearn.model_selection import train_test_split

    digits, counts = np.unique(labels, return_counts=True)
    if (counts < 2).any():
        raise SourceError(
            f"{name}: expected at least 2 images of every label, one to learn from and one to set "
            f"aside, got 1 of {digits[counts < 2][:5].tolist()} among {len(labels):,}: draw more"
        )
    train_rows, validation_rows = train_test_split(
        np.arange(len(labels)),
        test_size=max(round(len(labels) * fraction), len(digits)),
        stratify=labels,
        random_state=seed,
    )
    return np.sort(train_rows), np.sort(validation_rows)


def draw_images(labels: np.ndarray, n: int, seed: int, name: str = "digits") -> np.ndarray:
    """Indices of images to train with when not all are wanted, ascending.

    Parameters
    ----------
    labels : ndarray of shape (n_images,)
    n : int
        How many to draw, the same share of every digit but for rounding.
    seed : int
        Decides which.
    name : str
        What the data is called in error messages.

    Raises
    ------
    ValueError
        If there are fewer.
    """
    if n > len(labels):
        raise SourceError(f"{name}: expected at least {n:,} training images, got {len(labels):,}")
    if n > len(labels) - len(np.unique(labels)):  # too few are left out to have a share of each
        return np.sort(np.random.default_rng(seed).permutation(len(labels))[:n])
    return validation_split(labels, n / len(labels), seed, name)[1]
