"""Training data of a promoted model: which texts would be no test of it, and what is unlike them.

A version keeps 64 bits of each text or image that it was trained on (of the text as that model's
own cleaning leaves it, since its training set holds each such text once), and a profile: of
comments what `comments.drift` measures, of images the usual looks (`digits.looks`).
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from neural_classifiers.arrays.weights import weights_from_bytes, weights_to_bytes
from neural_classifiers.comments.drift import Profile, Profiler, compare_profiles
from neural_classifiers.comments.expectations import Limits
from neural_classifiers.comments.text import english_stop_words
from neural_classifiers.digits.looks import turn_unusual, usual_looks
from neural_classifiers.serving.model import PROFILE, SEEN, Classifier, PromotedModel, read_file


def seen_to_bytes(rows: Iterable[str | np.ndarray]) -> bytes:
    """Digests of the cleaned texts or the images that a model was trained on, each once."""
    return weights_to_bytes({"digests": np.unique(_digests_of(rows))})


def unseen(model: PromotedModel, inputs: Any) -> np.ndarray:
    """Whether a model was not trained on each text or image; bool of shape (n_rows,)."""
    rows = model.clean(inputs) if isinstance(model, Classifier) else inputs
    seen = weights_from_bytes(read_file(model.folder, model.manifest, SEEN))["digests"]
    return ~np.isin(_digests_of(rows), seen)


def _digests_of(rows: Iterable[str | np.ndarray]) -> np.ndarray:
    """64 bits of each cleaned text, or of each image."""
    contents = (row.encode() if isinstance(row, str) else row.tobytes() for row in rows)
    digests = (hashlib.blake2b(content, digest_size=8).digest() for content in contents)
    return np.fromiter((int.from_bytes(digest, "big") for digest in digests), np.uint64)


def profile_to_bytes(texts: Sequence[str], categories: Sequence[str]) -> bytes:
    """Profile of the training texts, which later ones are held against."""
    profiler = Profiler(english_stop_words(), len(texts))
    profiler.add(texts, categories)
    return (json.dumps(profiler.profile().as_dict()) + "\n").encode()


def looks_to_bytes(images: np.ndarray) -> bytes:
    """The usual looks of training images, which later ones are held against."""
    return (json.dumps(usual_looks(images)) + "\n").encode()


def compare_looks(
    model: PromotedModel, images: np.ndarray
) -> tuple[np.ndarray, Sequence[str | None]]:
    """Images as a network is to read them, white backgrounds made black; what is odd of each."""
    if PROFILE not in model.manifest["files"]:  # promoted before looks were recorded
        return images, [None] * len(images)
    return turn_unusual(images, json.loads(read_file(model.folder, model.manifest, PROFILE)))


def drift_of(model: Classifier, profile: Profile) -> list[dict[str, Any]]:
    """Distances of comments from those that a model was trained on.

    Returns
    -------
    list of dict
        Each `Measure` by its fields, with ``limit`` (widened by what chance alone may do) and
        ``drifted``.
    """
    trained_on = Profile.model_validate_json(read_file(model.folder, model.manifest, PROFILE))
    limits = asdict(Limits())
    drift = []
    for measure in compare_profiles(trained_on, profile):
        limit = limits[measure.name] + measure.noise
        drift.append(asdict(measure) | {"limit": limit, "drifted": measure.distance > limit})
    return drift
