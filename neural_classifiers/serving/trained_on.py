"""What a promoted model was trained on, as digests: which texts would be no test of it.

The digests are of the texts as that model's own cleaning leaves them, since its training set holds
each such text once.
"""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from neural_classifiers.arrays.weights import weights_from_bytes
from neural_classifiers.engine import paths
from neural_classifiers.serving.model import SEEN, Classifier, DigitReader, read_file


def answers_of(serving: Classifier | DigitReader, inputs: Any) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities, and for each row whether the model was not trained on the text or image."""
    if isinstance(serving, DigitReader):
        digests, proba = digests_of_images(inputs), serving.predict_proba(inputs)
    else:
        cleaned = serving.clean(inputs)
        digests, proba = digests_of_texts(cleaned), serving.predict_cleaned(cleaned)
    return proba, ~np.isin(digests, seen_by(serving))


def seen_by(serving: Classifier | DigitReader) -> np.ndarray:
    """Digests of what a promoted model was trained on."""
    folder = paths.models() / serving.version
    content = read_file(lambda name: (folder / name).read_bytes(), serving.manifest, SEEN)
    return weights_from_bytes(content)["digests"]


def digests_of_texts(cleaned: Sequence[str]) -> np.ndarray:
    """64 bits of each cleaned text."""
    return _digests(text.encode() for text in cleaned)


def digests_of_images(images: np.ndarray) -> np.ndarray:
    """64 bits of each image."""
    return _digests(image.tobytes() for image in images)


def _digests(contents: Iterable[bytes]) -> np.ndarray:
    digests = (hashlib.blake2b(content, digest_size=8).digest() for content in contents)
    return np.fromiter((int.from_bytes(digest, "big") for digest in digests), np.uint64)
