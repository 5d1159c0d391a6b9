"""Networks for unequal classes: weights of classes, and validation rows to stop at.

scikit-learn's network takes weights of rows, not of classes; Keras' takes validation rows, not
stratified. Both get here what they lack, in the same way.
"""

import copy
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.utils.class_weight import compute_sample_weight

VALIDATION_FRACTION = 0.1  # of the training rows
BATCH = 64
EPOCHS_MAX, PATIENCE = 60, 3  # epochs in all, and without a smaller validation loss


def class_weights(y: Any, balance: float) -> NDArray[np.float64]:
    """Weight of each row by its class.

    Parameters
    ----------
    y : array-like of shape (n_rows,)
    balance : float
        0: every row weighs alike. 1: every class does. Between them: those weights to this power.

    Examples
    --------
    >>> class_weights(["a", "a", "a", "b"], 1).round(2).tolist()
    [0.67, 0.67, 0.67, 2.0]
    """
    return np.asarray(compute_sample_weight("balanced", y) ** balance)


def split_validation(y: Any, seed: int | None) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows to train on and validation rows, with the same classes where they have two rows."""
    classes, counts = np.unique(y, return_counts=True)
    n = max(round(VALIDATION_FRACTION * len(y)), len(classes))
    stratify = y if counts.min() > 1 else None
    train, validation = train_test_split(
        np.arange(len(y)), test_size=n, stratify=stratify, random_state=seed
    )
    return train, validation


class BalancedMLPClassifier(MLPClassifier):
    """`MLPClassifier` that weighs classes, and stops at the least validation loss.

    scikit-learn's own early stopping looks at the accuracy, which is too coarse on so few
    validation rows: trainings that differ by a seed stop epochs apart.

    Parameters
    ----------
    hidden_layer_sizes, alpha, random_state
        As for `MLPClassifier`.
    balance : float
        As for `class_weights`.
    """

    def __init__(
        self,
        hidden_layer_sizes: Sequence[int] = (32,),
        alpha: float = 0.1,
        balance: float = 0.0,
        random_state: int | None = None,
    ) -> None:
        super().__init__(
            hidden_layer_sizes=hidden_layer_sizes,
            alpha=alpha,
            learning_rate_init=2e-3,
            random_state=random_state,
        )
        self.balance = balance

    def fit(self, X: Any, y: Any) -> Self:
        """Fit to rows, each with the weight of its class."""
        y = np.asarray(y)
        weights, classes = class_weights(y, self.balance), np.unique(y)
        train, validation = split_validation(y, self.random_state)
        self.batch_size = min(BATCH, len(train))
        for name in [name for name in vars(self) if name.endswith("_") or name.startswith("_opt")]:
            delattr(self, name)  # of an earlier fit, which partial_fit would go on from
        best, waited = np.inf, 0
        best_weights: tuple[list[Any], list[Any]] = [], []
        X_train, X_validation = X[train], X[validation]
        for _ in range(EPOCHS_MAX):
            self.partial_fit(X_train, y[train], weights[train], classes)
            probabilities = self.predict_proba(X_validation)
            loss = log_loss(
                y[validation], probabilities, sample_weight=weights[validation], labels=classes
            )
            if loss < best:
                best, waited = loss, 0
                best_weights = copy.deepcopy((self.coefs_, self.intercepts_))
            elif (waited := waited + 1) == PATIENCE:
                break
        self.coefs_: list[Any]
        self.intercepts_: list[Any]
        self.coefs_, self.intercepts_ = best_weights
        return self
