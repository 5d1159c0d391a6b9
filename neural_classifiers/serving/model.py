"""Promoted models: the files of a version, and what answers for them.

A version is a folder of files and a manifest that names each of them by its digest; the version's
own name ends in the digest of the manifest, so that nothing in it can change unseen. What is built
is our own code and scikit-learn's: a manifest gives numbers and names out of fixed lists, never
code (`arrays.skops_bytes`). A model answers its recorded examples before it answers anybody else,
so that another library or another way of cleaning is noticed and not used.
"""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neural_classifiers.comments.text import Cleaning, clean_comment, porter_stemmer
from neural_classifiers.errors import RefusedError

FORMAT = 2
COMMENTS, DIGITS = "comments", "digits"
KINDS = (COMMENTS, DIGITS)
MANIFEST = "manifest.json"
PIPELINE, WEIGHTS, RECIPE = "pipeline.skops", "weights.npz", "recipe.json"
EXAMPLES, SEEN, PROFILE = "examples.json", "seen.npz", "profile.json"
ENCODERS = "encoders"  # beside the versions: one each, whatever the number of versions
MODEL_FILES = (PIPELINE, WEIGHTS, RECIPE, EXAMPLES)  # what answering takes

# Of a probability. The same bits are expected on one machine; other processors and other builds of
# a library add up in another order.
TOLERANCE = 1e-6
N_EXAMPLES = 32  # recorded with their probabilities
LONGEST_EXAMPLE = 4000  # characters


class NotPromotedError(RefusedError):
    """What was to be loaded is no promoted model, or is not as it was when it was promoted."""

    code = "NC70"


class PromotedModel(ABC):
    """A promoted model, to be asked as scikit-learn's are.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Categories, or names of the ten digits, in the order of the probabilities.
    version : str
    manifest : dict
        Where the model comes from: run, scores, cleaning, libraries, digests.
    folder : Path
        Of the version.
    """

    def __init__(self, classes: Sequence[Any], manifest: Mapping[str, Any], folder: Path) -> None:
        self.classes_: NDArray[Any] = np.asarray(classes)
        self.version, self.folder = str(manifest["version"]), folder
        self.manifest = dict(manifest)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.version}: {', '.join(map(str, self.classes_))}>"

    @abstractmethod
    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Probabilities of shape (n_rows, n_classes), in the order of `classes_`."""

    def predict(self, X: Any) -> NDArray[Any]:
        """The class of each row: the likeliest, unless the model was made to shift that."""
        return self.answers(self.predict_proba(X))

    def answers(self, probabilities: NDArray[np.float64]) -> NDArray[Any]:
        """The class of each row of probabilities that `predict_proba` gave."""
        return self.classes_[probabilities.argmax(axis=1)]


class Classifier(PromotedModel):
    """A promoted model of comments: its rows are texts."""

    @property
    def text_column(self) -> str:
        """Column of the text in the data that it was trained on."""
        return (self.manifest.get("columns") or {}).get("text") or "txt"

    def __init__(
        self, pipeline: Any, cleaning: Cleaning, manifest: Mapping[str, Any], folder: Path
    ) -> None:
        super().__init__(pipeline.classes_, manifest, folder)
        self._pipeline, self._cleaning, self._stem = pipeline, cleaning, porter_stemmer()
        self.takes_raw = manifest.get("text") == "txt"

    def clean(self, X: Sequence[str]) -> list[str]:
        """Texts as the model was trained on them; "" where nothing is left.

        Raises
        ------
        TypeError
            If `X` is one text, or one of the texts is no string.
        """
        if isinstance(X, str | bytes):
            raise TypeError(f"expected a list of comments, got {type(X).__name__}: {X[:40]!r}")
        return [clean_comment(text, stem=self._stem, cleaning=self._cleaning) for text in X]

    def predict_proba(self, X: Sequence[str]) -> NDArray[np.float64]:
        """Probabilities of shape (n_comments, n_classes), in the order of `classes_`."""
        return self.predict_cleaned(self.clean(X), X)

    def predict_cleaned(self, cleaned: Sequence[str], raw: Sequence[str]) -> NDArray[np.float64]:
        """Probabilities as `predict_proba` gives them, of texts that `clean` gave of `raw`."""
        if not len(cleaned):
            return np.empty((0, len(self.classes_)))
        texts = list(raw if self.takes_raw else cleaned)
        return np.asarray(self._pipeline.predict_proba(texts), dtype=np.float64)

    def knows(self, cleaned: Sequence[str]) -> NDArray[np.bool_]:
        """Whether any word of each text that `clean` gave counts; of shape (n_texts,)."""
        if len(self._pipeline) < 2 or not len(cleaned):
            return np.ones(len(cleaned), dtype=bool)
        features = self._pipeline[:-1].transform(list(cleaned))
        return np.asarray(abs(features).sum(axis=1)).ravel() > 0

    def answers(self, probabilities: NDArray[np.float64]) -> NDArray[Any]:
        """The category of each row of probabilities that `predict_proba` gave."""
        from neural_classifiers.judgement.calibration import likeliest

        return self.classes_[likeliest(probabilities, getattr(self._pipeline[-1], "offsets", None))]


class DigitReader(PromotedModel):
    """A promoted network that reads digits: its rows are images."""

    def __init__(self, network: Any, manifest: Mapping[str, Any], folder: Path) -> None:
        super().__init__(manifest["classes"], manifest, folder)
        self._network = network

    def predict_proba(self, X: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Probabilities of shape (n_images, 10); images uint8 of shape (n_images, 28, 28)."""
        from neural_classifiers.digits.files import IMAGE_SHAPE
        from neural_classifiers.digits.networks import predict_digits

        X = np.asarray(X)
        if X.shape[1:] != IMAGE_SHAPE or X.dtype != np.uint8:
            raise ValueError(
                f"expected images as uint8 of shape (n_images, 28, 28), got {X.dtype} of {X.shape}"
            )
        return predict_digits(self._network, X).astype(np.float64)


def build_pipeline(
    content: bytes, weights: bytes | None, recipe: Mapping[str, Any], encoder: Any = None
) -> Any:
    """The fitted pipeline out of its files' contents: takes texts, predicts categories.

    `content` is in skops' format. A Keras network has `weights`; its numbers, classes and
    calibration stand in `recipe`, and `content` holds the steps before it. With an `encoder`, an
    `Encoder`, the pipeline begins with it and takes texts as they came; the weights are then what
    was trained on top of it.
    """
    from neural_classifiers.arrays import skops_bytes
    from neural_classifiers.comments.models.pipelines import MARKS_TOO, TOKENS

    patterns = (skops_bytes.TOKENS, TOKENS, MARKS_TOO)
    pipeline: Any = skops_bytes.model_from_bytes(content, patterns)
    if encoder is not None:
        from neural_classifiers.comments.models.encoder import EncodeTexts

        pipeline.steps.insert(0, ("encode", EncodeTexts(encoder, pieces_only=weights is not None)))
    if weights is not None:
        from neural_classifiers.arrays.weights import weights_from_bytes
        from neural_classifiers.comments.models import keras_classifier, pretrained

        arrays, classes, numbers = weights_from_bytes(weights), recipe["classes"], recipe["network"]
        network: Any
        if encoder is None:
            network = keras_classifier.rebuild(arrays, classes, **numbers)
        else:
            network = pretrained.rebuild(encoder, arrays, classes, **numbers)
        if recipe["temperature"] is not None:
            from neural_classifiers.judgement.calibration import Calibrated

            network = Calibrated(network, recipe["temperature"], recipe["offsets"])
        pipeline.steps.append(("network", network))
    return pipeline


def version_of(manifest: Mapping[str, Any]) -> str:
    """The version's name: its model's, and the digest of all that the manifest says."""
    content = {name: value for name, value in manifest.items() if name != "version"}
    spelt = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return f"{manifest['model']}-{hashlib.sha256(spelt.encode()).hexdigest()[:16]}"


def read_manifest(folder: Path, version: str | None = None) -> dict[str, Any]:
    """A version's manifest, seen to be the one that was written, and that of `version` if given.

    Raises
    ------
    NotPromotedError
    """
    where = f"{folder}: {MANIFEST}"
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        name, format_, kind = manifest["version"], manifest["format"], manifest["kind"]
        expected = version_of(manifest)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise NotPromotedError(f"{where}: expected a manifest, got {error!r}") from None
    if format_ != FORMAT or kind not in KINDS:
        raise NotPromotedError(
            f"{where}: expected format {FORMAT} and a kind out of {list(KINDS)}, "
            f"got {format_!r} and {kind!r}"
        )
    if name != expected or version not in (None, name):
        raise NotPromotedError(
            f"{where}: expected the manifest of {version or name}, got that of {expected}"
        )
    return manifest


def read_file(folder: Path, manifest: Mapping[str, Any], name: str) -> bytes:
    """The content of one of a version's files, its digest checked.

    Raises
    ------
    NotPromotedError
    """
    expected = manifest["files"][name]["sha256"]
    try:
        content = (folder / name).read_bytes()
    except OSError as error:
        raise NotPromotedError(f"{folder}: expected the file {name}, got {error!r}") from error
    if (got := hashlib.sha256(content).hexdigest()) != expected:
        raise NotPromotedError(f"{folder}: {name}: expected sha256 {expected}, got {got}")
    return content


def read_encoder(folder: Path, manifest: Mapping[str, Any]) -> list[bytes]:
    """The files of the encoder that a version begins with, out of `ENCODERS` beside the version.

    Raises
    ------
    NotPromotedError
    """
    encoder = manifest["encoder"]
    homes = [above / ENCODERS / encoder["sha256"][:16] for above in folder.absolute().parents[:2]]
    home = next((home for home in homes if home.is_dir()), None)
    if home is None:
        raise NotPromotedError(
            f"{folder}: expected its encoder {encoder['name']} in {homes[0]}, got no such folder: "
            "copy it with the version"
        )
    return [read_file(home, encoder, name) for name in encoder["files"]]


def read_model(folder: Path, version: str | None = None) -> PromotedModel:
    """The promoted model of a folder, every digest checked, its examples answered.

    Raises
    ------
    NotPromotedError
        If it is another version than `version`, a file is not the one that was promoted, or the
        model answers its examples otherwise than when it was promoted.
    """
    manifest = read_manifest(folder, version)
    files = {
        name: read_file(folder, manifest, name) for name in MODEL_FILES if name in manifest["files"]
    }
    recipe = json.loads(files[RECIPE])
    model: PromotedModel
    if manifest["kind"] == COMMENTS:
        encoder = None
        if "encoder" in manifest:
            from neural_classifiers.comments.models.encoder import Encoder

            encoder = Encoder.from_bytes(*read_encoder(folder, manifest))
        pipeline = build_pipeline(files[PIPELINE], files.get(WEIGHTS), recipe, encoder)
        model = Classifier(pipeline, Cleaning(**manifest["cleaning"]), manifest, folder)
    else:
        from neural_classifiers.arrays.weights import weights_from_bytes
        from neural_classifiers.digits import networks

        preset = networks.DigitsPreset.model_validate(recipe["preset"])
        weights = weights_from_bytes(files[WEIGHTS])
        model = DigitReader(networks.rebuild_network(preset, weights), manifest, folder)
    furthest = furthest_from_examples(model, files[EXAMPLES])
    if not furthest <= TOLERANCE:  # NaN is neither
        libraries = ", ".join(f"{name} {number}" for name, number in manifest["libraries"].items())
        raise NotPromotedError(
            f"{folder}: expected the recorded probabilities of its examples within "
            f"{TOLERANCE:g}, got others by up to {furthest:.3g} (made with {libraries})"
        )
    return model


def examples_to_bytes(actual: NDArray[np.str_], inputs: Any, probabilities: NDArray[Any]) -> bytes:
    """Some texts (or images) of every class and the probabilities that the model gave them."""
    classes, short = np.unique(actual), np.array([len(row) for row in inputs]) <= LONGEST_EXAMPLE
    n_each = max(N_EXAMPLES // len(classes), 1)
    of_classes = [np.flatnonzero((actual == name) & short)[:n_each] for name in classes]
    rows = sorted(np.concatenate(of_classes).tolist())
    examples = {
        "inputs": [inputs[row] for row in rows],
        "probabilities": [probabilities[row] for row in rows],
    }
    return (json.dumps(examples, default=lambda array: array.tolist()) + "\n").encode()


def furthest_from_examples(model: PromotedModel, content: bytes) -> float:
    """The largest difference of a probability from the recorded ones."""
    examples = json.loads(content)
    inputs, recorded = examples["inputs"], np.array(examples["probabilities"])
    if isinstance(model, DigitReader):
        inputs = np.array(inputs, dtype=np.uint8)
    answered = model.predict_proba(inputs)
    if answered.shape != recorded.shape or not len(recorded):
        return float("inf")
    return float(np.abs(answered - recorded).max())
