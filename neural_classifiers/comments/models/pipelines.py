"""The classifiers of comments; `comments.models.grids` holds what is tried with each.

Each is a pipeline that starts from cleaned text, so that the vectoriser is fitted with the
classifier, on training rows only.
"""

from typing import Any

from sklearn.base import BaseEstimator
from sklearn.dummy import DummyClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import ComplementNB
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.svm import LinearSVC

from neural_classifiers.comments.models.selection import SelectByRows
from neural_classifiers.comments.text import TOKENS

MARKS_TOO = rf"{TOKENS}|[^\w\s]"  # a word, or a punctuation mark


def scikit_pipeline(seed: int) -> Pipeline:
    """TF-IDF and scikit-learn's network, 6 and 2 hidden units (notebook, Part 1)."""
    network = MLPClassifier(hidden_layer_sizes=(6, 2), random_state=seed)
    return Pipeline([("tfidf", _words()), ("mlp", network)])


def keras_pipeline(seed: int) -> Pipeline:
    """TF-IDF of the commonest words and the Keras network (notebook, Part 2).

    Imports TensorFlow. Two of these never train in one process at the same time.

    Notes
    -----
    The notebook fits the vectoriser before the search, on rows that its folds hold out,
    and once more on the test set, where the columns then mean other words. It calls the
    number of training rows, 2,100, the number of features; here it is that by choice.
    """
    from neural_classifiers.comments.models.keras_classifier import comment_classifier

    return Pipeline([("tfidf", _words(max_features=2100)), ("keras", comment_classifier(seed))])


def improved_scikit_pipeline(seed: int) -> Pipeline:
    """Words and n-grams of characters, and scikit-learn's network with weights of classes."""
    from neural_classifiers.comments.models.balanced import BalancedMLPClassifier

    return Pipeline([*_best_features(), ("mlp", BalancedMLPClassifier(random_state=seed))])


def improved_keras_pipeline(seed: int) -> Pipeline:
    """The same features and a Keras network for few comments. Imports TensorFlow."""
    from neural_classifiers.comments.models.keras_classifier import balanced_classifier

    return Pipeline([*_best_features(), ("keras", balanced_classifier(seed))])


def _best_features() -> list[tuple[str, Any]]:
    """The words and n-grams that tell classes apart best, more of more rows."""
    features = FeatureUnion([("words", _words(sublinear_tf=True)), ("characters", _characters())])
    return [("features", features), ("best", SelectByRows())]


def linear_pipeline(*, is_raw: bool = False) -> Pipeline:
    """TF-IDF and a linear classifier, which a network has to beat; `linear_grid` has which.

    Of raw text every punctuation mark is a word, too.
    """
    # 100 iterations are not enough at C=100
    classifier = LogisticRegression(max_iter=1000)
    words = _words(sublinear_tf=True)
    if is_raw:
        words.set_params(token_pattern=MARKS_TOO)
    features = FeatureUnion([("words", words), ("characters", "drop")])
    return Pipeline([("features", features), ("classifier", classifier)])


def linear_grid() -> list[dict[str, list[Any]]]:
    """The linear models that a comment is sorted by in most of the literature.

    Words, alone or with n-grams of characters; logistic regression, a linear support vector
    machine, and naive Bayes on the complement of each class, which is made for unequal classes;
    the first two with all comments or all classes weighing alike. None needs a seed.
    """
    features = {"features__characters": ["drop", _characters()]}
    weighted = {"class_weight": [None, "balanced"]}
    return [
        features | {"classifier": [LogisticRegression(max_iter=1000)], "C": [0.1, 1.0, 10.0]}
        | weighted,
        features | {"classifier": [LinearSVC()], "C": [0.1, 1.0, 10.0]} | weighted,
        features | {"classifier": [ComplementNB()], "alpha": [0.1, 0.3, 1.0]},
    ]  # fmt: skip


def _words(**options: Any) -> TfidfVectorizer:
    """TF-IDF of words in any script; scikit-learn's own pattern breaks them at combining marks."""
    return TfidfVectorizer(token_pattern=TOKENS, **options)


def _characters() -> TfidfVectorizer:
    return TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True)


def in_names(value: Any) -> Any:
    """A parameter's value as a table can hold it: an estimator by its name.

    Examples
    --------
    >>> in_names(LinearSVC()), in_names(_characters()), in_names(0.1)
    ('LinearSVC', 'char_wb 2-4', 0.1)
    """
    if isinstance(value, TfidfVectorizer):
        return f"{value.analyzer} {'-'.join(map(str, value.ngram_range))}"
    return type(value).__name__ if isinstance(value, BaseEstimator) else value


def probe_pipeline() -> Pipeline:
    """Logistic regression over the vectors of an encoder."""
    return Pipeline([("classifier", LogisticRegression(max_iter=1000))])


def constant_pipeline() -> Pipeline:
    """The commonest class of the training rows, regardless of the comment."""
    constant = DummyClassifier(strategy="most_frequent")
    return Pipeline([("tfidf", _words()), ("constant", constant)])
