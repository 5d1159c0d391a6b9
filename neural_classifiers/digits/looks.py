"""How images look: measures by which white backgrounds, blank images and noise are told.

A network reads what looks like the images that it was trained on. MNIST's digits are white on
black; images the other way round are turned round before a network sees them.
"""

from collections.abc import Iterator, Mapping

import numpy as np

WHITE = 160  # mean grey value of the edge: above, the background is white; of noise it is 128
USUAL = 0.001, 0.999  # quantiles of the training images between which a look is usual
SLACK = 20  # grey values beyond them that mean nothing
_AT_ONCE = 5_000  # images that are measured: differences take four bytes a pixel


def measure_looks(images: np.ndarray) -> dict[str, np.ndarray]:
    """Measures of images in grey values, each of shape (n_images,).

    Parameters
    ----------
    images : ndarray of shape (n_images, height, width)
        uint8.

    Returns
    -------
    dict
        ``contrast``, darkest to brightest; ``brightness``, the mean; ``edge``, the mean of the
        outermost pixels; ``roughness``, the mean difference between neighbours.
    """
    starts = range(0, max(len(images), 1), _AT_ONCE)
    parts = [_measure(images[start : start + _AT_ONCE]) for start in starts]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _measure(images: np.ndarray) -> dict[str, np.ndarray]:
    steps = [np.abs(np.diff(images.astype(np.int16), axis=axis)) for axis in (1, 2)]
    edge = [images[:, 0], images[:, -1], images[:, 1:-1, 0], images[:, 1:-1, -1]]
    return {
        "contrast": np.ptp(images, axis=(1, 2)).astype(np.float64),
        "brightness": images.mean(axis=(1, 2)),
        "edge": np.concatenate(edge, axis=1).mean(axis=1),
        "roughness": np.mean([step.mean(axis=(1, 2)) for step in steps], axis=0),
    }


def usual_looks(images: np.ndarray) -> dict[str, list[float]]:
    """The bounds of each measure between which nearly all of these images lie, with some slack."""
    usual = {}
    for name, values in measure_looks(images).items():
        low, high = np.quantile(values, USUAL)
        slack = max(SLACK, (high - low) / 2)
        usual[name] = [max(float(low - slack), 0.0), min(float(high + slack), 255.0)]
    return usual


def turn_round(images: np.ndarray, above: float = WHITE) -> tuple[np.ndarray, np.ndarray]:
    """Images with white backgrounds made black, and which they were: bool of shape (n_images,).

    `above` is the grey value of the edge beyond which a background is white.
    """
    is_white = measure_looks(images)["edge"] > above
    return np.where(is_white[:, None, None], 255 - images, images), is_white


def turn_unusual(
    images: np.ndarray, usual: Mapping[str, list[float]]
) -> tuple[np.ndarray, list[str | None]]:
    """Images with white backgrounds made black where they were not trained on; what is odd of each.

    Parameters
    ----------
    images : ndarray of shape (n_images, height, width)
        uint8.
    usual : mapping of str to [low, high]
        As `usual_looks` gave of the training images.
    """
    turned, is_white = turn_round(images, above=max(WHITE, usual["edge"][1]))
    values = measure_looks(turned)
    oddities = [
        "; ".join(_odd({name: each[row] for name, each in values.items()}, usual, was_white))
        or None
        for row, was_white in enumerate(is_white)
    ]
    return turned, oddities


def _odd(
    looks: Mapping[str, float], usual: Mapping[str, list[float]], was_white: bool
) -> Iterator[str]:
    """What is odd of an image, in words."""
    if was_white:
        yield "white background, turned round"
    odd = [
        f"{name} {looks[name]:.0f} ({low:.0f} to {high:.0f})"
        for name, (low, high) in usual.items()
        if not low <= looks[name] <= high
    ]
    if not looks["contrast"]:
        yield "blank"
    elif odd:
        yield f"unlike the training images: {', '.join(odd)}"
