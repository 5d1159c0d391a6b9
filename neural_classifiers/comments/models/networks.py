"""Architectures of the networks, built from numbers alone.

A saved network is rebuilt by calling its function again and loading weights into it, so
every layer has a name of its own and nothing is read from a file but arrays.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras


HIDDEN_SIZES = (250, 100)  # notebook, Part 2: units of the two hidden layers


def build_comment_mlp(
    n_features: int,
    n_classes: int,
    hidden_sizes: Sequence[int] = HIDDEN_SIZES,
    dropout: float = 0.0,
) -> "keras.Sequential":
    """Build the notebook's network for comments: TF-IDF in, one probability per class out.

    Parameters
    ----------
    n_features : int
        Width of the input: float32 of shape (batch, n_features).
    n_classes : int
        Units of the softmax, at least 2.
    hidden_sizes : sequence of int
        Units of the hidden layers, first to last.
    dropout : float
        Share of the features, and of each hidden layer's units, left out at random in training;
        the notebook's network has none.

    Returns
    -------
    keras.Sequential
        Built, not compiled; weights drawn from Keras' global seed. Its layers are called
        ``hidden_1``, ``hidden_2``, ... and ``classes``. With 2,100 features and 3 classes
        550,653 parameters (2,101 x 250 + 251 x 100 + 101 x 3 = 525,250 + 25,100 + 303).

    Notes
    -----
    Source: notebook, Part 2, function that builds the model for ``KerasClassifier``.
    """
    from keras import Input, Sequential, layers

    hidden: list[layers.Layer] = [layers.Dropout(dropout)] if dropout else []
    for number, size in enumerate(hidden_sizes, start=1):
        hidden.append(layers.Dense(size, activation="relu", name=f"hidden_{number}"))
        hidden += [layers.Dropout(dropout)] if dropout else []
    output = layers.Dense(n_classes, activation="softmax", name="classes")
    return Sequential([Input((n_features,)), *hidden, output], name="comment_mlp")
