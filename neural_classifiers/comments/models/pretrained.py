"""A classifier on top of a pretrained encoder: its last blocks frozen, or fine-tuned.

The recipe was fixed before any result was seen (docs/log.md): logistic regression over the
encoder's vectors becomes the last layer; then that layer and the last blocks train on. A training
draws its chances from its seed alone and computes on one thread, so that it can be had again to the
bit, and after a kill goes on from its last epoch to the same bits.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline

from neural_classifiers.arrays.threads import set_tensorflow_threads
from neural_classifiers.arrays.weights import weights_from_bytes, weights_to_bytes
from neural_classifiers.comments.models.encoder import (
    REMEMBERED,
    Arrays,
    Encoder,
    Tokens,
    assign,
    build_network,
    compiled,
    fixed_batches,
    lengths_of,
    variables_of,
)
from neural_classifiers.comments.splits import draw_stratified

LEARNING_RATE, WEIGHT_DECAY, CLIP_NORM = 1e-4, 0.01, 1.0  # the rate falls to 0 in a straight line
DROPOUT, BATCH = 0.1, 32
EPOCHS = ((300, 6), (1_000, 4), (20_000, 3), (60_000, 2))  # below so many rows; one epoch beyond
PROBED = 30_000  # rows that the last layer begins with, at most


class PretrainedClassifier(ClassifierMixin, BaseEstimator):
    """Sorts texts, given as word pieces, by an encoder and a last layer.

    Parameters
    ----------
    encoder : Encoder
    tuned_blocks : int
        Of the encoder, the last, that are trained with the last layer. 0: none is, and the last
        layer is logistic regression.
    random_state : int
        Decides the order of the rows and what dropout drops.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    weights_ : dict of str to ndarray
        What was learnt: the last layer, ``classes``, and the blocks that were trained.
    """

    def __init__(self, encoder: Encoder, tuned_blocks: int = 2, random_state: int = 0) -> None:
        self.encoder = encoder
        self.tuned_blocks = tuned_blocks
        self.random_state = random_state

    @staticmethod
    def limit_threads(n: int) -> None:
        """Hold TensorFlow to `n` threads in this process; called before it computes."""
        set_tensorflow_threads(n)

    def fit(self, X: Tokens, y: Any) -> Self:
        """Train; `X` are word pieces as `Encoder.tokens` gives them."""
        if not 0 <= self.tuned_blocks <= self.encoder.config.num_hidden_layers:
            raise ValueError(
                f"tuned_blocks: expected 0 to {self.encoder.config.num_hidden_layers}, the "
                f"blocks of the encoder, got {self.tuned_blocks}"
            )
        y = np.asarray(y)
        self.classes_, columns = np.unique(y, return_inverse=True)
        self.weights_ = _probe(self.encoder, X, y, self.random_state)
        if self.tuned_blocks:
            self.weights_ = self._tune(X, columns)
        self._predict: Callable[..., Any] | None = None
        return self

    def predict(self, X: Tokens) -> NDArray[Any]:
        """The likeliest class of each text."""
        return np.asarray(self.classes_)[self.predict_proba(X).argmax(axis=1)]

    def predict_proba(self, X: Tokens) -> NDArray[np.float64]:
        """Probabilities of shape (n_texts, n_classes)."""
        logits = self._logits(X).astype(np.float64)
        chances = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(chances / chances.sum(axis=1, keepdims=True))

    def _logits(self, X: Tokens) -> NDArray[np.float32]:
        if not self.tuned_blocks:
            stretched = self.encoder.vectors(X) * np.float32(self.encoder.config.hidden_size**0.5)
            return np.asarray(stretched @ self.weights_["classes.0"] + self.weights_["classes.1"])
        if self._predict is None:
            network = self._network(dropout=0.0)
            assign(network, self.weights_)
            self._predict = compiled(network)
        logits = np.empty((len(X), len(self.classes_)), np.float32)
        for start in range(0, len(X), REMEMBERED):  # so that memory does not grow with the rows
            part = X[start : start + REMEMBERED]
            states = self.encoder.states(part, self._n_frozen)
            for rows, batch in fixed_batches(part):
                padded = _pad([states[row] for row in rows], batch)
                logits[start + rows] = self._predict(padded, batch).numpy()[: len(rows)]
        return logits

    @property
    def _n_frozen(self) -> int:
        return self.encoder.config.num_hidden_layers - self.tuned_blocks

    def _network(self, dropout: float) -> keras.Model:
        """The trained blocks and the last layer."""
        config = self.encoder.config
        return build_network(
            config,
            range(self._n_frozen, config.num_hidden_layers),
            is_pooled=True,
            takes_states=True,
            n_classes=len(self.classes_),
            dropout=dropout,
            seed=self.random_state,
        )

    def _tune(self, X: Tokens, columns: NDArray[np.intp]) -> Arrays:
        """What the last blocks and the last layer have learnt after all epochs."""
        tf.config.experimental.enable_op_determinism()
        network = self._network(DROPOUT)
        assign(network, self.encoder.weights | self.weights_)
        optimizer = keras.optimizers.AdamW(
            LEARNING_RATE, weight_decay=WEIGHT_DECAY, global_clipnorm=CLIP_NORM
        )
        optimizer.build(network.trainable_variables)
        states = None  # of all texts, or of each batch when it comes
        if len(X) <= REMEMBERED:
            states = self.encoder.states(X, self._n_frozen)
        n_epochs = epochs_of(len(X))
        rates = np.linspace(LEARNING_RATE, 0, n_epochs * -(-len(X) // BATCH), endpoint=False)
        name, step = self._name_training(X, columns), _step(network, optimizer)
        done = _restore(network, optimizer, self.encoder.checkpoints.get(name))
        for epoch in range(done, n_epochs):
            batches = order_batches(lengths_of(X), [self.random_state, epoch])
            for number, rows in enumerate(batches, epoch * len(batches)):
                tokens = X[rows][:, : lengths_of(X[rows]).max()]
                here = (
                    self.encoder.states(X[rows], self._n_frozen)
                    if states is None
                    else [states[row] for row in rows]
                )
                optimizer.learning_rate = rates[number]
                step(_pad(here, tokens), tokens, columns[rows].astype(np.int32))
            _keep(self.encoder.checkpoints, name, _state(network, optimizer), epoch + 1)
        return {name: variable.numpy() for name, variable in variables_of(network).items()}

    def _name_training(self, X: Tokens, columns: NDArray[np.intp]) -> str:
        """A name that two trainings share only if they must end in the same weights."""
        digest = hashlib.sha256(self.encoder.sha256.encode())
        digest.update(np.ascontiguousarray(X).tobytes())
        digest.update(columns.astype("<i8").tobytes())
        devices = [device.device_type for device in tf.config.list_physical_devices()]
        about = [self.tuned_blocks, self.random_state, keras.__version__, tf.__version__, devices]
        digest.update(repr(about).encode())
        return digest.hexdigest()


def pretrained_pipeline(encoder: Encoder, seed: int) -> Pipeline:
    """The classifier, unfitted, as a pipeline over word pieces."""
    return Pipeline([("pretrained", PretrainedClassifier(encoder, random_state=seed))])


def rebuild(
    encoder: Encoder,
    weights: Mapping[str, NDArray[np.float32]],
    classes: Sequence[Any],
    tuned_blocks: int,
) -> PretrainedClassifier:
    """A fitted classifier from what it has learnt.

    Raises
    ------
    ValueError
        If names or shapes of the weights do not fit the encoder.
    """
    classifier = PretrainedClassifier(encoder, tuned_blocks=tuned_blocks)
    classifier.classes_, classifier._predict = np.asarray(classes), None
    expected = {
        name: tuple(variable.shape)
        for name, variable in variables_of(classifier._network(0.0)).items()
    }
    given = {name: np.shape(values) for name, values in weights.items()}
    if given != expected:
        differing = sorted(expected.items() ^ given.items())[:3]
        raise ValueError(
            f"weights: expected those of {tuned_blocks} tuned blocks, got others: {differing}"
        )
    classifier.weights_ = dict(weights)
    return classifier


def epochs_of(n_rows: int) -> int:
    """Epochs of a fine-tuning of so many rows: fewer of many."""
    return next((epochs for below, epochs in EPOCHS if n_rows < below), 1)


def order_batches(lengths: NDArray[np.intp], seed: Sequence[int]) -> list[NDArray[np.intp]]:
    """The rows of an epoch in batches of texts of like length, in random order."""
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(lengths))
    order = order[np.argsort(lengths[order], kind="stable")]
    batches = [order[start : start + BATCH] for start in range(0, len(order), BATCH)]
    return [batches[i] for i in generator.permutation(len(batches))]


def _probe(encoder: Encoder, X: Tokens, y: NDArray[Any], seed: int) -> Arrays:
    """Logistic regression over the vectors, as the weights of the last layer."""
    rows = np.arange(len(y))
    if len(y) > PROBED:
        rows = draw_stratified(y.tolist(), PROBED, seed)
    fitted = LogisticRegression(max_iter=1000).fit(encoder.vectors(X[rows]), y[rows])
    kernel, bias = fitted.coef_, fitted.intercept_
    if len(kernel) == 1:  # two classes: scikit-learn has the second's only
        kernel, bias = np.vstack([0 * kernel, kernel]), np.append(0 * bias, bias)
    stretch = encoder.config.hidden_size**-0.5
    return {
        "classes.0": np.ascontiguousarray(kernel.T * stretch, np.float32),
        "classes.1": bias.astype(np.float32),
    }


def _pad(states: Sequence[NDArray[np.float32]], tokens: Tokens) -> NDArray[np.float32]:
    """States of texts in one array, zeros where `tokens` are absent."""
    width = states[0].shape[1]
    padded = np.zeros((*tokens.shape, width), np.float32)
    for row, state in enumerate(states):
        padded[row, : len(state)] = state
    return padded


def _step(network: keras.Model, optimizer: Any) -> Callable[..., Any]:
    """What learns from one batch: states, word pieces, columns of the classes."""
    inputs = [tf.TensorSpec((None, *each.shape[1:]), each.dtype) for each in network.inputs]

    @tf.function(input_signature=[*inputs, tf.TensorSpec((None,), tf.int32)])
    def step(states: Any, tokens: Any, columns: Any) -> None:
        with tf.GradientTape() as tape:
            logits = network([states, tokens], training=True)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(columns, logits)
            loss = tf.reduce_mean(losses)
        gradients = tape.gradient(loss, network.trainable_variables)
        optimizer.apply(gradients, network.trainable_variables)

    return step


def _state(network: keras.Model, optimizer: Any) -> dict[str, Any]:
    """Everything that a step changes: weights, dropout's position, the optimiser's memory."""
    parts = {
        "network": network.trainable_variables,
        "dropout": network.non_trainable_variables,
        "optimizer": optimizer.variables,
    }
    return {f"{part}/{i}": v for part, group in parts.items() for i, v in enumerate(group)}


def _keep(checkpoints: Any, name: str, state: Mapping[str, Any], epochs: int) -> None:
    """Store the state after an epoch; those of trainings that are over go."""
    arrays = {part: variable.numpy() for part, variable in state.items()}
    checkpoints[name] = weights_to_bytes(arrays | {"epochs": np.array(epochs)})
    for other in [each for each in checkpoints if each != name]:
        del checkpoints[other]


def _restore(network: keras.Model, optimizer: Any, content: bytes | None) -> int:
    """Bring a training to where its checkpoint stands; the epochs done, 0 without a whole one."""
    try:
        saved = weights_from_bytes(content or b"")
    except ValueError:
        return 0  # damaged: from its start the training ends in the same weights
    for part, variable in _state(network, optimizer).items():
        variable.assign(saved[part])
    return int(saved["epochs"])
