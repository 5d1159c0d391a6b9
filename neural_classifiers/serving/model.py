"""Promoted models: their files as values, and what answers for them.

A version is a folder of files and a manifest that names each of them by its digest; the version's
own name ends in the digest of the manifest, so that nothing in it can change unseen. What is built
is our own code and scikit-learn's: a manifest gives numbers and names out of fixed lists, never
code (`arrays.skops_bytes`). A classifier answers its recorded examples before it answers
anybody else, so that another library or another way of cleaning is noticed and not used.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neural_classifiers.comments.text import Cleaning, clean_comments, porter_stemmer
from neural_classifiers.errors import RefusedError

FORMAT = 1
COMMENTS, DIGITS = "comments", "digits"
KINDS = (COMMENTS, DIGITS)
MANIFEST, POINTER = "manifest.json", "serving.json"
PIPELINE, WEIGHTS, CARD = "pipeline.skops", "weights.npz", "card.json"
EXAMPLES, SEEN, PROFILE = "examples.json", "seen.npz", "profile.json"
MODEL_FILES = (PIPELINE, WEIGHTS, CARD, EXAMPLES)  # what answering takes

# Of a probability. The same bits are expected on one machine; other processors and other builds of
# a library add up in another order.
TOLERANCE = 1e-6

Read = Callable[[str], bytes]


class NotPromotedError(RefusedError):
    """What was to be loaded is no promoted model, or is not as it was when it was promoted."""


class Classifier:
    """Sorts comments as the promoted model that it was loaded from; scikit-learn's way of asking.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Categories, in the order of the probabilities.
    version : str
    manifest : dict
        Where the model comes from: run, scores, cleaning, libraries, digests.
    """

    def __init__(self, pipeline: Any, cleaning: Cleaning, manifest: Mapping[str, Any]) -> None:
        self.classes_: NDArray[Any] = np.asarray(pipeline.classes_)
        self.version = str(manifest["version"])
        self.manifest = dict(manifest)
        self._pipeline, self._cleaning, self._stem = pipeline, cleaning, porter_stemmer()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.version}: {', '.join(map(str, self.classes_))}>"

    def clean(self, X: Sequence[str]) -> list[str]:
        """Texts as the model was trained on them; "" where nothing is left.

        Raises
        ------
        TypeError
            If `X` is one text, or one of the texts is no string.
        """
        if isinstance(X, str | bytes):
            raise TypeError(f"expected a list of comments, got {type(X).__name__}: {X[:40]!r}")
        return clean_comments(X, stem=self._stem, cleaning=self._cleaning)

    def features(self, X: Sequence[str]) -> Any:
        """What the classifier itself is given for some texts: a row of numbers for each."""
        return self._pipeline[:-1].transform(self.clean(X))

    def predict_proba(self, X: Sequence[str]) -> NDArray[np.float64]:
        """Probabilities of shape (n_comments, n_classes), in the order of `classes_`."""
        return self.predict_cleaned(self.clean(X))

    def predict(self, X: Sequence[str]) -> NDArray[Any]:
        """The category of each comment: the likeliest, unless the model was made to shift that."""
        return self.answers(self.predict_proba(X))

    def answers(self, probabilities: NDArray[np.float64]) -> NDArray[Any]:
        """As `predict`, of what `predict_proba` gave."""
        from neural_classifiers.judgement.calibration import likeliest

        return self.classes_[likeliest(probabilities, getattr(self._pipeline[-1], "offsets", None))]

    def predict_cleaned(self, cleaned: Sequence[str]) -> NDArray[np.float64]:
        """As `predict_proba`, of texts that `clean` gave."""
        if not len(cleaned):
            return np.empty((0, len(self.classes_)))
        return np.asarray(self._pipeline.predict_proba(list(cleaned)), dtype=np.float64)


class DigitReader:
    """Reads digits as the promoted network that it was loaded from.

    Attributes
    ----------
    classes_ : ndarray of shape (10,)
        What the ten labels are called.
    version : str
    manifest : dict
    """

    def __init__(self, network: Any, manifest: Mapping[str, Any]) -> None:
        self.classes_: NDArray[Any] = np.asarray(manifest["classes"])
        self.version = str(manifest["version"])
        self.manifest = dict(manifest)
        self._network = network

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.version}: {', '.join(map(str, self.classes_))}>"

    def predict_proba(self, X: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Probabilities of shape (n_images, 10); images uint8 of shape (n_images, 28, 28)."""
        from neural_classifiers.digits.idx import IMAGE_SHAPE
        from neural_classifiers.digits.networks import predict_digits

        X = np.asarray(X)
        if X.shape[1:] != IMAGE_SHAPE or X.dtype != np.uint8:
            raise ValueError(
                f"expected images as uint8 of shape (n_images, 28, 28), got {X.dtype} of {X.shape}"
            )
        return predict_digits(self._network, X).astype(np.float64)

    def predict(self, X: NDArray[np.uint8]) -> NDArray[Any]:
        """The likeliest label of each image."""
        return self.answers(self.predict_proba(X))

    def answers(self, probabilities: NDArray[np.float64]) -> NDArray[Any]:
        """As `predict`, of what `predict_proba` gave."""
        return self.classes_[probabilities.argmax(axis=1)]


def build_pipeline(content: bytes, weights: bytes | None, card: Mapping[str, Any]) -> Any:
    """The fitted pipeline out of its files' contents: takes cleaned texts, predicts categories.

    Parameters
    ----------
    content : bytes
        Pipeline in skops' format; for Keras the steps before the network.
    weights : bytes or None
        Of the Keras network.
    card : mapping
        Holds the numbers of the Keras network, its classes and its calibration.
    """
    from neural_classifiers.arrays.skops_bytes import model_from_bytes

    pipeline: Any = model_from_bytes(content)
    if weights is not None:
        from neural_classifiers.arrays.weights import weights_from_bytes
        from neural_classifiers.comments.models import keras_classifier

        network = keras_classifier.rebuild(
            weights_from_bytes(weights), card["classes"], **card["network"]
        )
        if card["temperature"] is not None:
            from neural_classifiers.judgement.calibration import Calibrated

            network = Calibrated(network, card["temperature"], card["offsets"])
        pipeline.steps.append(("keras", network))
    return pipeline


def cleaning_options(cleaning: Cleaning) -> dict[str, Any]:
    """Every option by name, so that another default later changes nothing."""
    return asdict(cleaning)


def version_of(manifest: Mapping[str, Any]) -> str:
    """The version's name: its model's, and the digest of all that the manifest says."""
    told = {name: value for name, value in manifest.items() if name != "version"}
    spelt = json.dumps(told, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return f"{manifest['model']}-{hashlib.sha256(spelt.encode()).hexdigest()[:16]}"


def serving_version(pointer: bytes, kind: str) -> str:
    """The version that serves, as the content of `POINTER` says: the last promoted of its kind.

    Raises
    ------
    NotPromotedError
        If there is none.
    """
    try:
        return str(json.loads(pointer)[kind]["versions"][-1]["version"])
    except (LookupError, ValueError, TypeError):
        raise NotPromotedError(
            f"expected a promoted model of {kind}, got none: neural-classifiers promote last"
        ) from None


def read_manifest(read: Read, version: str | None = None) -> dict[str, Any]:
    """A version's manifest, seen to be the one that was written.

    Parameters
    ----------
    read : callable
        Content of one of the version's files, by name.
    version : str, optional
        The version that it must be.

    Raises
    ------
    NotPromotedError
    """
    try:
        manifest = json.loads(read(MANIFEST))
        told, format_, kind = manifest["version"], manifest["format"], manifest["kind"]
        expected = version_of(manifest)
    except (ValueError, KeyError, TypeError) as error:
        raise NotPromotedError(f"{MANIFEST}: expected a manifest, got {error!r}") from None
    if format_ != FORMAT or kind not in KINDS:
        raise NotPromotedError(
            f"{MANIFEST}: expected format {FORMAT} and a kind out of {list(KINDS)}, "
            f"got {format_!r} and {kind!r}"
        )
    if told != expected or version not in (None, told):
        raise NotPromotedError(
            f"{MANIFEST}: expected the manifest of {version or told}, got that of {expected}"
        )
    return manifest


def read_file(read: Read, manifest: Mapping[str, Any], name: str) -> bytes:
    """The content of one of a version's files, its digest checked.

    Raises
    ------
    NotPromotedError
    """
    expected, content = manifest["files"][name]["sha256"], read(name)
    if (got := hashlib.sha256(content).hexdigest()) != expected:
        raise NotPromotedError(f"{name}: expected sha256 {expected}, got {got}")
    return content


def read_promoted(read: Read, version: str | None = None) -> Classifier | DigitReader:
    """The promoted model of some files, every digest checked, its examples answered.

    Parameters
    ----------
    read : callable
        Content of one of the version's files, by name.
    version : str, optional
        The version that it must be.

    Raises
    ------
    NotPromotedError
        If a file is not the one that was promoted, or the model answers its examples otherwise
        than when it was promoted.
    """
    manifest = read_manifest(read, version)
    files = {
        name: read_file(read, manifest, name) for name in MODEL_FILES if name in manifest["files"]
    }
    card = json.loads(files[CARD])
    loaded: Classifier | DigitReader
    if manifest["kind"] == COMMENTS:
        pipeline = build_pipeline(files[PIPELINE], files.get(WEIGHTS), card)
        loaded = Classifier(pipeline, Cleaning(**manifest["cleaning"]), manifest)
    else:
        from neural_classifiers.arrays.weights import weights_from_bytes
        from neural_classifiers.digits import networks

        preset = networks.DigitsPreset.model_validate(card["preset"])
        weights = weights_from_bytes(files[WEIGHTS])
        loaded = DigitReader(networks.rebuild(preset, weights), manifest)
    if (furthest := furthest_from_examples(loaded, files[EXAMPLES])) > TOLERANCE:
        raise NotPromotedError(
            f"{manifest['version']}: expected the recorded probabilities of its examples within "
            f"{TOLERANCE:g}, got others by up to {furthest:.3g} (made with "
            f"{_in_words(manifest['libraries'])})"
        )
    return loaded


def examples_to_bytes(inputs: Any, probabilities: NDArray[Any]) -> bytes:
    """Texts (or images) and the probabilities that the model gave them, as JSON."""
    told = {
        "inputs": inputs.tolist() if isinstance(inputs, np.ndarray) else list(inputs),
        "probabilities": np.asarray(probabilities, dtype=np.float64).tolist(),
    }
    return (json.dumps(told) + "\n").encode()


def furthest_from_examples(loaded: Classifier | DigitReader, content: bytes) -> float:
    """The largest difference of a probability from the recorded ones."""
    told = json.loads(content)
    inputs = told["inputs"]
    if isinstance(loaded, DigitReader):
        inputs = np.array(inputs, dtype=np.uint8)
    answered, recorded = loaded.predict_proba(inputs), np.array(told["probabilities"])
    if answered.shape != recorded.shape or not len(recorded):
        return float("inf")
    return float(np.abs(answered - recorded).max())


def _in_words(libraries: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in libraries.items())
