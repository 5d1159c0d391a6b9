"""Keras networks as scikit-learn classifiers.

The only module that touches scikeras, which is no longer maintained and, with
scikit-learn 1.9, not recognised as a classifier. Importing it imports TensorFlow (3 s warm).

**Two trainings never share a process at the same time.** Seeds, op determinism and thread
limits belong to the whole process: side by side, trainings silently stop being
reproducible. `KerasClassifier.fit` therefore waits for a lock; for trainings side by side
start processes, each held to its threads by `arrays.threads` first. One after
the other in the same process gives the bits of fresh processes.

Measured on the notebook's network (2,100 features, 1,680 rows, one thread): one execution
of all steps of an epoch halves its time, dense input takes 0.6-0.9 of the time of sparse
input, and neither changes a bit. ``jit_compile`` saves up to a quarter at batch 10, nothing
at batch 50, needs op determinism off and changes the weights' last bits: it is not used.
"""

import math
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Self

import keras
import numpy as np
import scipy.sparse
from scikeras import wrappers
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.exceptions import NotFittedError
from sklearn.utils import ClassifierTags, Tags

from neural_classifiers.arrays.threads import set_tensorflow_threads
from neural_classifiers.comments.models.balanced import (
    BATCH,
    EPOCHS_MAX,
    PATIENCE,
    class_weights,
    split_validation,
)
from neural_classifiers.comments.models.networks import HIDDEN_SIZES, build_comment_mlp

DENSE_BYTES_MAX = 2**28  # larger inputs stay sparse: slower, same bits, far less memory
PREDICT_ROWS = 1024  # rows per prediction batch, not the batch size of the training

_TRAINING = threading.Lock()


class _OneHot(TransformerMixin, BaseEstimator):
    """Labels to one column per class, and probabilities back to labels.

    scikeras' own encoder gives two classes a single column, which categorical
    cross-entropy on a softmax of two units cannot take, and squeezes the probabilities
    of a single row to one dimension.
    """

    def __init__(self, classes: np.ndarray | None = None) -> None:
        self.classes = classes

    def fit(self, y: np.ndarray) -> Self:
        self.classes_ = np.unique(y) if self.classes is None else np.asarray(self.classes)
        return self

    def transform(self, y: np.ndarray) -> np.ndarray:
        return (np.asarray(y)[:, None] == self.classes_).astype(np.float32)

    def inverse_transform(self, y: np.ndarray, return_proba: bool = False) -> np.ndarray:
        return y if return_proba else self.classes_[y.argmax(axis=1)]

    def get_metadata(self) -> dict[str, Any]:
        return {
            "classes_": self.classes_,
            "n_classes_": len(self.classes_),
            "n_outputs_": 1,
            "n_outputs_expected_": 1,
        }


class KerasClassifier(wrappers.KerasClassifier):
    """scikeras' `KerasClassifier`, mended, for networks that end in a softmax over the classes.

    Parameters are scikeras'. Beyond them, it

    - is a classifier for scikit-learn 1.9: stratified folds, `VotingClassifier`;
    - takes and predicts two classes like any other number, and a single row;
    - computes in float32, dense up to 256 MiB and sparse beyond;
    - predicts in batches of its own, so that the training's batch size decides nothing else;
    - offers `fit_staged`: one training that answers for several epoch counts.
    """

    epochs: int

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.estimator_type = "classifier"
        tags.classifier_tags = ClassifierTags()
        tags.target_tags.required = True
        tags.input_tags.sparse = True
        return tags

    @property
    def target_encoder(self) -> _OneHot:
        """Encoder of the labels: one column per class."""
        return _OneHot(self.classes_)

    @property
    def staged_parameter(self) -> str | None:
        """``"epochs"`` where a longer training passes through the results of shorter ones.

        None where it may not: callbacks can look ahead, a warm start looks back, and
        ``fit__`` parameters can overrule the epochs.
        """
        is_plain = self.callbacks is None and not self.warm_start
        is_routed = any(name.startswith("fit__") for name in self.get_params())
        return "epochs" if is_plain and not is_routed else None

    @staticmethod
    def limit_threads(n: int) -> None:
        """Hold TensorFlow to `n` threads in this process; called before it computes."""
        set_tensorflow_threads(n)

    def fit(self, X: Any, y: Any, sample_weight: Any = None, **kwargs: Any) -> Self:
        """Build and train the network; see scikeras. Waits while another one trains."""
        with _TRAINING:
            return super().fit(X, y, sample_weight=sample_weight, **kwargs)

    def fit_staged(
        self, X: Any, y: Any, stages: Collection[int], on_stage: Callable[[int], None]
    ) -> Self:
        """Train once, to the largest of `stages`, and call back as each is passed.

        Parameters
        ----------
        X : array or sparse matrix of shape (n_rows, n_features)
        y : array of shape (n_rows,)
        stages : collection of int
            Numbers of epochs, at least 1 each.
        on_stage : callable
            Called with each stage in rising order. While it runs, this classifier
            predicts, to the last bit, what a fit with that many epochs would predict.
        """

        def on_epoch_end(epoch: int, logs: Any = None) -> None:
            if epoch + 1 in stages:
                on_stage(epoch + 1)

        epochs = self.epochs
        observer = keras.callbacks.LambdaCallback(on_epoch_end=on_epoch_end)
        self.set_params(epochs=max(stages), fit__callbacks=[observer])
        try:
            return self.fit(X, y)
        finally:
            self.epochs = epochs
            del self.fit__callbacks

    def _validate_data(
        self, X: Any = None, y: Any = None, reset: bool = False, y_numeric: bool = False
    ) -> tuple[Any, Any]:
        X = X if X is None else _as_network_input(X)
        return super()._validate_data(X, y, reset=reset, y_numeric=y_numeric)

    def _predict_raw(self, X: Any, **kwargs: Any) -> np.ndarray:
        """Probabilities, float32 of shape (n_rows, n_classes).

        Called directly, the network needs neither a traced function nor a data pipeline:
        milliseconds for a fold where `keras.Model.predict` takes tenths of a second.
        """
        if not self.initialized_:
            raise NotFittedError("this KerasClassifier is not fitted: call fit first")
        X, _ = self._validate_data(X)
        parts = []
        for start in range(0, X.shape[0], PREDICT_ROWS):
            rows = X[start : start + PREDICT_ROWS]
            rows = rows.toarray() if scipy.sparse.issparse(rows) else rows
            parts.append(keras.ops.convert_to_numpy(self.model_(rows, training=False)))
        return np.concatenate(parts)


class BalancedKerasClassifier(KerasClassifier):
    """A network that weighs classes, and stops when the validation loss falls no more.

    `balance` is that of `comments.models.balanced`. A tenth of the training rows, stratified,
    validates; the weights are those of the epoch with the least loss on it.
    """

    balance: float
    random_state: int
    staged_parameter = None  # early stopping looks ahead

    def fit(self, X: Any, y: Any, sample_weight: Any = None, **kwargs: Any) -> Self:
        """Build and train the network; each row has the weight of its class."""
        X, y = _as_network_input(X), np.asarray(y)
        weights = class_weights(y, self.balance)
        train, validation = split_validation(y, self.random_state)
        one_hot = _OneHot().fit(y).transform(y[validation])
        stop = keras.callbacks.EarlyStopping(patience=PATIENCE, restore_best_weights=True)
        self.set_params(fit__callbacks=[stop])
        try:
            return super().fit(
                X[train],
                y[train],
                sample_weight=weights[train],
                validation_data=(X[validation], one_hot, weights[validation]),
            )
        finally:
            del self.fit__callbacks


def _as_network_input(X: Any) -> Any:
    """`X` in float32: an array, or CSR where an array would pass `DENSE_BYTES_MAX`."""
    if not scipy.sparse.issparse(X):
        return np.asarray(X, dtype=np.float32)
    if 4 * math.prod(X.shape) > DENSE_BYTES_MAX:
        # sorted, in a copy: a choice of columns leaves them unsorted, which TensorFlow refuses
        return scipy.sparse.csr_array(X, dtype=np.float32).sorted_indices()
    return X.astype(np.float32).toarray()


def _compiled_comment_mlp(
    hidden_sizes: Sequence[int],
    meta: dict[str, Any],
    params: dict[str, Any],
    compile_kwargs: dict[str, Any],
    dropout: float = 0.0,
    balance: float = 0.0,
) -> keras.Model:
    """The network, compiled for the data that scikeras describes in `meta`.

    `balance` is of the training alone; scikeras hands every parameter to who builds the network.
    """
    model = build_comment_mlp(meta["n_features_in_"], meta["n_classes_"], hidden_sizes, dropout)
    # An epoch in one execution: half the time, the same bits.
    steps = math.ceil(meta["X_shape_"][0] / params["batch_size"])
    model.compile(**compile_kwargs, steps_per_execution=steps)
    return model


def comment_classifier(
    seed: int,
    epochs: int = 10,
    batch_size: int = 10,
    hidden_sizes: Sequence[int] = HIDDEN_SIZES,
) -> KerasClassifier:
    """The notebook's Keras network as an unfitted classifier.

    Parameters
    ----------
    seed : int
        Decides the first weights and the order of the rows. No global seed is left set.
    epochs, batch_size : int
        Length of the training and rows per step; the notebook searches both.
    hidden_sizes : sequence of int
        Units of the hidden layers.

    Notes
    -----
    Source: notebook, Part 2: categorical cross-entropy, Adam. The notebook sets no seed
    for TensorFlow.
    """
    return KerasClassifier(
        model=_compiled_comment_mlp,
        model__hidden_sizes=tuple(hidden_sizes),
        loss="categorical_crossentropy",
        optimizer="adam",
        epochs=epochs,
        batch_size=batch_size,
        random_state=seed,
        verbose=0,
    )


def balanced_classifier(seed: int) -> BalancedKerasClassifier:
    """A network made for few comments and unequal classes, as an unfitted classifier.

    One hidden layer, dropout on the features and on the layer, weights of classes and early
    stopping: docs/log.md has what was tried instead.
    """
    return BalancedKerasClassifier(
        model=_compiled_comment_mlp,
        model__hidden_sizes=(64,),
        model__dropout=0.5,
        loss="categorical_crossentropy",
        optimizer="adam",
        optimizer__learning_rate=2e-3,
        epochs=EPOCHS_MAX,
        batch_size=BATCH,
        balance=0.0,
        random_state=seed,
        verbose=0,
    )


def architecture(classifier: KerasClassifier) -> dict[str, Any]:
    """Numbers from which `rebuild` makes the network of a fitted `comment_classifier` again."""
    return {
        "n_features": int(classifier.n_features_in_),
        "hidden_sizes": [int(size) for size in classifier.get_params()["model__hidden_sizes"]],
    }


def weights(classifier: KerasClassifier) -> dict[str, np.ndarray]:
    """Weights of a fitted classifier: float32 arrays under ``layer.kernel``, ``layer.bias``."""
    return {name: variable.numpy() for name, variable in _variables(classifier.model_).items()}


def rebuild(
    weights: Mapping[str, np.ndarray],
    classes: Sequence[Any],
    n_features: int,
    hidden_sizes: Sequence[int] = HIDDEN_SIZES,
) -> KerasClassifier:
    """A fitted classifier from values: predicts the bits of the one that was saved.

    Parameters
    ----------
    weights : mapping of str to ndarray
        As `weights` gave them.
    classes : sequence
        ``classes_`` of the saved classifier, in its order.
    n_features, hidden_sizes
        As `architecture` gave them.

    Raises
    ------
    ValueError
        If names or shapes of the weights do not fit the architecture.
    """
    labels = np.asarray(classes)
    if not np.array_equal(np.unique(labels), labels):
        raise ValueError(f"classes: expected distinct, sorted labels, got {list(classes)}")
    classifier = comment_classifier(seed=0, hidden_sizes=hidden_sizes)
    with _TRAINING:
        classifier.initialize(np.zeros((len(labels), n_features), np.float32), labels)
    variables = _variables(classifier.model_)
    expected = {name: tuple(variable.shape) for name, variable in variables.items()}
    given = {name: np.shape(values) for name, values in weights.items()}
    if given != expected:
        raise ValueError(f"weights: expected {expected}, got {given}")
    for name, variable in variables.items():
        variable.assign(weights[name])
    return classifier


def _variables(model: keras.Model) -> dict[str, keras.Variable]:
    return {
        f"{layer.name}.{variable.name}": variable
        for layer in model.layers
        for variable in layer.weights
    }
