"""Networks that read handwritten digits: their presets, their layers and their answers.

``NOTEBOOK`` is the network of the notebook as it was; ``FAST`` shows what the same two epochs can
give. Both are values for one training, `digits.training.train`. Images stay
uint8 of shape (n_images, 28, 28) until they are a batch, when a byte a pixel becomes four.

Whatever builds a network starts TensorFlow, on every core unless
`arrays.threads.set_tensorflow_threads` was called before.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from neural_classifiers.arrays.weights import Weights
from neural_classifiers.digits.files import IMAGE_SHAPE, N_CLASSES
from neural_classifiers.values import Values, checked

_PREDICTION_BATCH = 500  # the notebook's first layer then fills 74 MB
_SMALLEST_PROBABILITY = np.finfo(np.float32).tiny  # keeps the loss finite


class DigitsPreset(Values):
    """Every value that decides a training, but for the data, the seed and the threads."""

    network: Literal["notebook", "fast"] = Field(
        description="order of the layers, as in `build_network`"
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


def check_presets(presets: Mapping[str, DigitsPreset]) -> None:
    """Raise ValueError unless there is a network to train."""
    if not presets:
        raise ValueError("expected at least one preset, got none")


Presets = Annotated[dict[str, DigitsPreset], checked(check_presets)]
PRESETS: Presets = {"notebook": NOTEBOOK, "fast": FAST}


def build_network(preset: DigitsPreset, seed: int = 0) -> Any:
    """Return the network that a preset names, untrained.

    Parameters
    ----------
    preset : DigitsPreset
        ``NOTEBOOK`` has 1,182,730 parameters, ``FAST`` 147,146.
    seed : int
        Decides the first weights and what dropout drops.

    Returns
    -------
    keras.Sequential
        From float32 of shape (batch, 28, 28, 1), pixels in [0, 1], to (batch, 10) probabilities.

    Notes
    -----
    Source: notebook, Part 3. Its ``kernel_initializer="normal"`` is a normal distribution of
    standard deviation 0.05, here by its name; other layers have Keras' default, Glorot's
    uniform distribution.

    The fast network pools before it activates: the largest of four values and then ReLU is the
    same number as ReLU and then the largest, from a quarter of the activations.
    """
    import keras
    from keras import initializers, layers

    seeds = _layer_seeds(seed)
    network = keras.Sequential([layers.Input((*IMAGE_SHAPE, 1))], name=preset.network)

    def drop(name: str) -> None:
        if preset.dropout:
            network.add(layers.Dropout(preset.dropout, seed=next(seeds), name=name))

    def dense(n_units: int, activation: str, name: str) -> None:
        uniform = initializers.GlorotUniform(seed=next(seeds))
        network.add(
            layers.Dense(n_units, activation=activation, kernel_initializer=uniform, name=name)
        )

    for i, n_filters in enumerate(preset.filters, start=1):
        convolution = partial(layers.Conv2D, n_filters, preset.kernel_size, name=f"conv_{i}")
        pool = layers.MaxPooling2D(2, name=f"pool_{i}")
        if preset.network == "notebook":
            normal = initializers.RandomNormal(stddev=0.05, seed=next(seeds))
            # (28, 28, 1) -> (24, 24, 64): a 5x5 window without padding loses 4 pixels
            network.add(convolution(activation="relu", kernel_initializer=normal))
            network.add(pool)  # -> (12, 12, 64)
            drop(f"drop_{i}")
        else:
            uniform = initializers.GlorotUniform(seed=next(seeds))
            network.add(convolution(kernel_initializer=uniform))
            network.add(pool)
            network.add(layers.ReLU(name=f"relu_{i}"))
    network.add(layers.Flatten(name="flatten"))
    dense(preset.dense_units, "relu", "dense")
    drop("drop_dense")
    dense(N_CLASSES, "softmax", "digits")
    return network


def layers_of(preset: DigitsPreset) -> list[dict[str, Any]]:
    """Layers of the network of a preset, as ``model.summary()`` prints them.

    Returns
    -------
    list of dict
        ``name``, ``type``, ``output_shape`` (of one image) and ``parameters`` of each.
    """
    return [
        {
            "name": layer.name,
            "type": type(layer).__name__,
            "output_shape": tuple(layer.output.shape[1:]),
            "parameters": layer.count_params(),
        }
        for layer in build_network(preset).layers
    ]


def named_variables(model: Any) -> dict[str, Any]:
    """Variables that are trained, by layer and part: ``"dense/kernel"``."""
    return {v.path.removeprefix(f"{model.name}/"): v for v in model.weights}


def rebuild_network(preset: DigitsPreset, weights: Weights) -> Any:
    """Return the trained network: layers from our own code, only numbers from the weights.

    Parameters
    ----------
    preset : DigitsPreset
        The preset that the weights were trained with.
    weights : mapping of str to ndarray
        As in `digits.training.TrainedNetwork`.

    Returns
    -------
    keras.Sequential
        As from `build_network`; takes pixels in [0, 1]. `predict_digits` feeds it bytes.

    Raises
    ------
    ValueError
        If names or shapes are not those of the preset's network.
    """
    model = build_network(preset)
    variables = named_variables(model)
    expected = {name: tuple(v.shape) for name, v in variables.items()}
    got = {name: array.shape for name, array in weights.items()}
    if got != expected:
        raise ValueError(f"{preset.network}: expected weights {expected}, got {got}")
    for name, variable in variables.items():
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
        From `rebuild_network`.
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


def _layer_seeds(seed: int) -> Iterator[int]:
    """One seed for each layer that draws, so that no layer repeats another's numbers."""
    rng = np.random.default_rng(seed)
    while True:
        yield int(rng.integers(2**31))
