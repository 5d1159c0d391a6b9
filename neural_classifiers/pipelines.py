"""The classifiers of comments; `neural_classifiers.grids` holds what is tried with each.

Each is a pipeline that starts from cleaned text, so that the vectoriser is fitted with the
classifier, on training rows only.
"""

from sklearn.dummy import DummyClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline

__all__ = [
    "constant_pipeline",
    "keras_pipeline",
    "linear_pipeline",
    "scikit_pipeline",
]


def scikit_pipeline(seed: int) -> Pipeline:
    """TF-IDF and scikit-learn's network, 6 and 2 hidden units (notebook, Part 1)."""
    network = MLPClassifier(hidden_layer_sizes=(6, 2), random_state=seed)
    return Pipeline([("tfidf", TfidfVectorizer()), ("mlp", network)])


def keras_pipeline(seed: int, max_features: int = 2100) -> Pipeline:
    """TF-IDF of the commonest words and the Keras network (notebook, Part 2).

    Imports TensorFlow. Two of these never train in one process at the same time.

    Notes
    -----
    The notebook fits the vectoriser before the search, on rows that its folds hold out,
    and once more on the test set, where the columns then mean other words. It calls the
    number of training rows, 2,100, the number of features; here it is that by choice.
    """
    from neural_classifiers.keras_classifier import comment_classifier

    vectoriser = TfidfVectorizer(max_features=max_features)
    return Pipeline([("tfidf", vectoriser), ("keras", comment_classifier(seed))])


def linear_pipeline() -> Pipeline:
    """TF-IDF and logistic regression: what a network has to beat. Needs no seed (lbfgs)."""
    # 100 iterations are not enough at C=100
    return Pipeline([("tfidf", TfidfVectorizer()), ("linear", LogisticRegression(max_iter=1000))])


def constant_pipeline() -> Pipeline:
    """The commonest class of the training rows, whatever the comment says."""
    constant = DummyClassifier(strategy="most_frequent")
    return Pipeline([("tfidf", TfidfVectorizer()), ("constant", constant)])
