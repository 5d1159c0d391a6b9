"""scikit-learn's network as one would use it where classes are unequal."""

from collections.abc import Sequence
from typing import Any, Self

from sklearn.neural_network import MLPClassifier
from sklearn.utils.class_weight import compute_sample_weight

__all__ = ["BalancedMLPClassifier"]


class BalancedMLPClassifier(MLPClassifier):
    """`MLPClassifier` that weighs classes and stops early.

    It stops when a tenth of the training rows, set aside and stratified, is not better predicted
    any more. scikit-learn's own network takes weights of rows, not of classes.

    Parameters
    ----------
    hidden_layer_sizes, alpha, random_state
        As for `MLPClassifier`.
    balance : float
        0: every row weighs alike, 1: every class weighs alike, between them: the weights of
        classes that weigh alike, to this power.
    """

    def __init__(
        self,
        hidden_layer_sizes: Sequence[int] = (100,),
        alpha: float = 1e-4,
        balance: float = 1.0,
        random_state: int | None = None,
    ) -> None:
        super().__init__(
            hidden_layer_sizes=hidden_layer_sizes,
            alpha=alpha,
            batch_size=64,
            learning_rate_init=2e-3,
            early_stopping=True,
            n_iter_no_change=8,
            random_state=random_state,
        )
        self.balance = balance

    def fit(self, X: Any, y: Any) -> Self:
        """Fit to rows, each with the weight of its class."""
        weights = compute_sample_weight("balanced", y) ** self.balance
        return super().fit(X, y, sample_weight=weights)
