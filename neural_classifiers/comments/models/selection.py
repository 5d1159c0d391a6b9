"""Features that the improved networks choose: as many as there are rows to learn from.

A network pays for every feature, in each of its first layer's units and each of its steps, and
what few rows say of a rare n-gram is mostly noise; many rows say enough of it. docs/log.md has
what other numbers of features did on 10,000, 30,000 and 94,415 rows.
"""

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.feature_selection import SelectKBest, chi2
from sklearn.utils import Tags


class SelectByRows(TransformerMixin, BaseEstimator):
    """The features that tell classes apart best (chi-squared), as many as rows, within bounds.

    Parameters
    ----------
    at_least, at_most : int
        Bounds of the number of features, which is that of the rows within them; all features
        are taken where there are fewer.

    Attributes
    ----------
    selector_ : SelectKBest
        Fitted; its ``k`` is the number of features chosen.
    """

    def __init__(self, at_least: int = 3_000, at_most: int = 30_000) -> None:
        self.at_least = at_least
        self.at_most = at_most

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.input_tags.sparse = True
        tags.input_tags.positive_only = True
        return tags

    def fit(self, X: Any, y: Any) -> Self:
        """Choose among the features of `X`, none negative, of shape (n_rows, n_features)."""
        n_rows, n_features = X.shape
        k = min(max(n_rows, self.at_least), self.at_most, n_features)
        self.selector_ = SelectKBest(chi2, k=k).fit(X, y)
        return self

    def transform(self, X: Any) -> Any:
        """`X` with the features chosen, in their order."""
        return self.selector_.transform(X)

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Names of the features chosen."""
        return np.asarray(self.selector_.get_feature_names_out(input_features))
