"""Networks that read handwritten digits: their presets, their layers and their judgement.

``NOTEBOOK`` is the network of the notebook as it was; ``FAST`` shows what the same two epochs can
give. Both are values for one training, `digits.training.train`. Images stay
uint8 of shape (n_images, 28, 28) until they are a batch, when a byte a pixel becomes four.

Choices are made on validation images, which are training images set aside; the test images are
for `judge`, once. Whatever builds a network starts TensorFlow, on every core unless
`arrays.threads.set_tensorflow_threads` was called before.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from neural_classifiers.arrays.threads import set_tensorflow_threads
from neural_classifiers.arrays.weights import Weights
from neural_classifiers.digits.files import IMAGE_SHAPE, N_CLASSES

# 5,000 of MNIST's 60,000: one standard error of an accuracy near 0.99 is 0.0014, and the 55,000
# left are whole batches of the notebook's 1,000.
VALIDATION_FRACTION = 1 / 12

_PREDICTION_BATCH = 500  # the notebook's first layer then fills 74 MB
_SMALLEST_PROBABILITY = np.finfo(np.float32).tiny  # keeps the loss finite


class DigitsPreset(BaseModel):
    """Every value that decides a training, but for the data, the seed and the threads."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    network: Literal["notebook", "fast"] = Field(
        description="order of the layers: `build_mnist_cnn` or `build_fast_cnn`"
    )
    filters: tuple[int, ...] = Field(
        min_length=1, description="filters of each convolution, the first first"
    )
    kernel_size: int = Field(ge=1, description="side of a convolution's window, in pixels")
    dense_units: int = Field(ge=1, description="units of the hidden dense layer")
    dropout: float = Field(ge=0, lt=1, description="share of values dropped; 0 for no such layer")
    optimizer: Literal["rmsprop", "adam"]
    beta_1: float = Field(
        ge=0, lt=1, description="memory of Adam for gradients; RMSprop has none, so 0"
    )
    beta_2: float = Field(
        ge=0, lt=1, description="memory for squared gradients (RMSprop calls it rho)"
    )
    learning_rate: float = Field(gt=0, description="the rate, or the peak of one_cycle")
    schedule: Literal["constant", "one_cycle"]
    warmup_fraction: float = Field(
        ge=0, lt=1, description="share of the steps in which one_cycle rises"
    )
    batch_size: int = Field(ge=1)
    epochs: int = Field(ge=1)


NOTEBOOK = DigitsPreset(
    network="notebook",
    filters=(64,),
    kernel_size=5,
    dense_units=128,
    dropout=0.5,
    optimizer="rmsprop",
    beta_1=0,
    beta_2=0.9,  # this and the rate are Keras' defaults, which the notebook used
    learning_rate=0.001,
    schedule="constant",
    warmup_fraction=0,
    batch_size=1000,
    epochs=2,
)
FAST = DigitsPreset(
    network="fast",
    filters=(16, 32),
    kernel_size=5,
    dense_units=256,
    dropout=0,
    optimizer="adam",
    beta_1=0.7,  # some 430 steps are too few for Adam's usual memories of 10 and 1,000 steps
    beta_2=0.9,
    learning_rate=0.01,
    schedule="one_cycle",
    warmup_fraction=0.25,
    batch_size=256,
    epochs=2,
)
PRESETS = {"notebook": NOTEBOOK, "fast": FAST}


class LayerRow(NamedTuple):
    """A line of a network's summary."""

    name: str
    type: str
    output_shape: tuple[int, ...]  # of one image
    parameters: int


@dataclass(frozen=True)
class DigitsScores:
    """What a trained network makes of images that it never saw.

    Attributes
    ----------
    test_accuracy : float
        Fraction in [0, 1].
    test_loss : float
        Mean cross-entropy, in nats.
    probabilities : ndarray of shape (n_images, 10)
        float32, in the order of the images.
    predicted : ndarray of shape (n_images,)
        The digit of the highest probability.
    confusion : ndarray of shape (10, 10)
        Numbers of images; rows actual, columns predicted.
    """

    test_accuracy: float
    test_loss: float
    probabilities: np.ndarray
    predicted: np.ndarray
    confusion: np.ndarray


def build_mnist_cnn(preset: DigitsPreset = NOTEBOOK, seed: int = 0) -> Any:
    """Return the notebook's network, untrained; 1,182,730 parameters by default.

    Parameters
    ----------
    preset : DigitsPreset
        Numbers of filters and units, window and dropout.
    seed : int
        Decides the first weights and what dropout drops.

    Returns
    -------
    keras.Sequential
        From float32 of shape (batch, 28, 28, 1), pixels in [0, 1], to (batch, 10) probabilities.

    Notes
    -----
    Source: notebook, Part 3. Its ``kernel_initializer="normal"`` is a normal distribution of
    standard deviation 0.05, here by its name; the dense layers have Keras' default, Glorot's
    uniform distribution.
    """
    import keras
    from keras import layers

    seeds = _layer_seeds(seed)
    network = keras.Sequential([layers.Input((*IMAGE_SHAPE, 1))], name="notebook")
    for i, n_filters in enumerate(preset.filters, start=1):
        # (28, 28, 1) -> (24, 24, 64): a 5x5 window without padding loses 4 pixels
        initializer = keras.initializers.RandomNormal(stddev=0.05, seed=next(seeds))
        network.add(
            layers.Conv2D(
                n_filters,
                preset.kernel_size,
                activation="relu",
                kernel_initializer=initializer,
                name=f"conv_{i}",
            )
        )
        network.add(layers.MaxPooling2D(2, name=f"pool_{i}"))  # -> (12, 12, 64)
        if preset.dropout:
            network.add(layers.Dropout(preset.dropout, seed=next(seeds), name=f"drop_{i}"))
    _add_dense_layers(network, preset, seeds)
    return network


def build_fast_cnn(preset: DigitsPreset = FAST, seed: int = 0) -> Any:
    """Return the small network of the fast preset, untrained; 147,146 parameters by default.

    Parameters, first weights of the dense layers, input and output are as in `build_mnist_cnn`.

    Notes
    -----
    Pooling comes before the activation: the largest of four values and then ReLU is the same
    number as ReLU and then the largest, from a quarter of the activations.
    """
    import keras
    from keras import layers

    seeds = _layer_seeds(seed)
    network = keras.Sequential([layers.Input((*IMAGE_SHAPE, 1))], name="fast")
    for i, n_filters in enumerate(preset.filters, start=1):
        initializer = keras.initializers.GlorotUniform(seed=next(seeds))
        network.add(
            layers.Conv2D(
                n_filters, preset.kernel_size, kernel_initializer=initializer, name=f"conv_{i}"
            )
        )
        network.add(layers.MaxPooling2D(2, name=f"pool_{i}"))
        network.add(layers.ReLU(name=f"relu_{i}"))
    _add_dense_layers(network, preset, seeds)
    return network


def build_network(preset: DigitsPreset, seed: int) -> Any:
    """Return the untrained network that a preset names."""
    builders = {"notebook": build_mnist_cnn, "fast": build_fast_cnn}
    return builders[preset.network](preset, seed)


def model_summary_rows(preset: DigitsPreset) -> list[LayerRow]:
    """Layer by layer what the network of a preset is, as ``model.summary()`` prints it."""
    return [
        LayerRow(
            layer.name,
            type(layer).__name__,
            tuple(layer.output.shape[1:]),
            layer.count_params(),
        )
        for layer in build_network(preset, seed=0).layers
    ]


def validation_split(
    labels: np.ndarray, fraction: float = VALIDATION_FRACTION, seed: int = 34
) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the images to train with and of those to validate with, each ascending.

    Parameters
    ----------
    labels : ndarray of shape (n_images,)
        Labels of the training set, never of the test set.
    fraction : float
        Share of the images set aside, the same of every digit but for rounding.
    seed : int
        Decides which.

    Raises
    ------
    ValueError
        If a digit has too few images to stand on both sides.

    Notes
    -----
    The notebook validated with the test set, so that no image was left that no choice had seen.
    """
    from sklearn.model_selection import train_test_split

    train_rows, validation_rows = train_test_split(
        np.arange(len(labels)),
        test_size=round(len(labels) * fraction),
        stratify=labels,
        random_state=seed,
    )
    return np.sort(train_rows), np.sort(validation_rows)


def named_variables(model: Any) -> dict[str, Any]:
    """Variables that are trained, by layer and part: ``"dense/kernel"``."""
    return {v.path.removeprefix(f"{model.name}/"): v for v in model.weights}


def rebuild(preset: DigitsPreset, weights: Weights) -> Any:
    """Return the trained network: layers from our own code, only numbers from the weights.

    Parameters
    ----------
    preset : DigitsPreset
        The preset that the weights were trained with.
    weights : mapping of str to ndarray
        As in `TrainedDigits`.

    Returns
    -------
    keras.Sequential
        As from `build_mnist_cnn`; takes pixels in [0, 1]. `predict_digits` feeds it bytes.

    Raises
    ------
    ValueError
        If names or shapes are not those of the preset's network.
    """
    model = build_network(preset, seed=0)
    expected = {name: tuple(v.shape) for name, v in named_variables(model).items()}
    got = {name: array.shape for name, array in weights.items()}
    if got != expected:
        raise ValueError(f"{preset.network}: expected weights {expected}, got {got}")
    for name, variable in named_variables(model).items():
        variable.assign(weights[name])
    return model


def to_pixels(images: Any) -> Any:
    """Tensor of shape (batch, 28, 28, 1), pixels in [0, 1], from bytes."""
    import tensorflow as tf

    return tf.cast(images[..., None], tf.float32) / 255.0


def predict_digits(model: Any, images: np.ndarray) -> np.ndarray:
    """Probabilities of the ten digits, float32 of shape (n_images, 10).

    Parameters
    ----------
    model : keras.Sequential
        From `rebuild`.
    images : ndarray of shape (n_images, 28, 28)
        uint8, pixels from 0 to 255.
    """
    batches = [
        np.asarray(model(to_pixels(images[start : start + _PREDICTION_BATCH]), training=False))
        for start in range(0, len(images), _PREDICTION_BATCH)
    ]
    return np.concatenate([np.empty((0, N_CLASSES), np.float32), *batches])


def accuracy_and_loss(probabilities: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Share of images whose likeliest digit is right, and the mean cross-entropy in nats."""
    right = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    loss = -np.log(np.maximum(right, _SMALLEST_PROBABILITY)).mean()
    return float((probabilities.argmax(axis=1) == labels).mean()), float(loss)


def judge(
    preset: DigitsPreset,
    weights: Weights,
    images_test: np.ndarray,
    labels_test: np.ndarray,
    *,
    threads: int,
) -> DigitsScores:
    """Score a trained network on the test set; to be called once, when all choices are made.

    Parameters
    ----------
    preset : DigitsPreset
        The preset that the weights were trained with.
    weights : mapping of str to ndarray
        As in `TrainedDigits`.
    images_test : ndarray of shape (n_images, 28, 28)
        uint8, pixels from 0 to 255.
    labels_test : ndarray of shape (n_images,)
        Digits from 0 to 9.
    threads : int
        Cores to work on, for TensorFlow in the whole process.

    Raises
    ------
    ValueError
        If the weights are not those of the preset's network.
    RuntimeError
        If TensorFlow already runs in this process with another number of threads.
    """
    set_tensorflow_threads(threads)
    probabilities = predict_digits(rebuild(preset, weights), images_test)
    accuracy, loss = accuracy_and_loss(probabilities, labels_test)
    predicted = probabilities.argmax(axis=1)
    confusion = np.zeros((N_CLASSES, N_CLASSES), np.int64)
    np.add.at(confusion, (labels_test, predicted), 1)
    return DigitsScores(accuracy, loss, probabilities, predicted, confusion)


def _add_dense_layers(network: Any, preset: DigitsPreset, seeds: Iterator[int]) -> None:
    """Add what follows the convolutions: a hidden layer and the ten probabilities."""
    from keras import initializers, layers

    def dense(n_units: int, activation: str, name: str) -> Any:
        initializer = initializers.GlorotUniform(seed=next(seeds))
        return layers.Dense(
            n_units, activation=activation, kernel_initializer=initializer, name=name
        )

    network.add(layers.Flatten(name="flatten"))
    network.add(dense(preset.dense_units, "relu", "dense"))
    if preset.dropout:
        network.add(layers.Dropout(preset.dropout, seed=next(seeds), name="drop_dense"))
    network.add(dense(N_CLASSES, "softmax", "digits"))


def _layer_seeds(seed: int) -> Iterator[int]:
    """One seed for each layer that draws, so that no layer repeats another's numbers."""
    rng = np.random.default_rng(seed)
    while True:
        yield int(rng.integers(2**31))
