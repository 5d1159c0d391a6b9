"""How many features the improved networks keep, and which."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.feature_selection import SelectKBest, chi2

from neural_classifiers.arrays.skops_bytes import (
    model_from_bytes,
    model_to_bytes,
    parameters_digest,
)
from neural_classifiers.comments.models.pipelines import improved_scikit_pipeline
from neural_classifiers.comments.models.selection import SelectByRows
from neural_classifiers.search.equivalence import describe


def counts(n_rows, n_features, seed=1):
    """Random features of random labels, so that no two tell as much."""
    rng = np.random.default_rng(seed)
    X = sparse.random_array((n_rows, n_features), density=0.05, rng=rng, format="csr")
    return X, rng.choice(["a", "b", "c"], n_rows)


@pytest.mark.parametrize(("n_rows", "kept"), [(60, 100), (100, 100), (120, 120), (200, 150)])
def test_those_are_kept_that_select_k_best_keeps(n_rows, kept):
    X, y = counts(n_rows, 400)
    chosen = SelectByRows(at_least=100, at_most=150).fit(X, y)
    known = SelectKBest(chi2, k=kept).fit(X, y)

    assert chosen.transform(X).shape == (n_rows, kept)
    assert (chosen.transform(X) != known.transform(X)).nnz == 0
    assert chosen.get_feature_names_out().tolist() == known.get_feature_names_out().tolist()


def test_where_there_are_fewer_features_all_are_kept_without_a_warning(recwarn):
    X, y = counts(60, 40)

    assert SelectByRows().fit(X, y).transform(X).shape == (60, 40)
    assert not recwarn


def test_rows_predicted_do_not_count():
    X, y = counts(200, 400)
    chosen = SelectByRows(at_least=100, at_most=150).fit(X[:120], y[:120])

    assert chosen.transform(X).shape == (200, 120)
    assert chosen.transform(X[:1]).shape == (1, 120)


def test_it_comes_back_from_a_file_and_other_bounds_are_another_model():
    X, y = counts(60, 400)
    chosen = SelectByRows(at_least=100).fit(X, y)
    again = model_from_bytes(model_to_bytes(chosen))

    assert (again.transform(X) != chosen.transform(X)).nnz == 0
    assert parameters_digest(again) == parameters_digest(chosen)
    assert parameters_digest(clone(chosen).fit(X, y)) == parameters_digest(chosen)
    other = SelectByRows(at_least=101)
    assert parameters_digest(other.fit(X, y)) != parameters_digest(chosen)
    assert describe(other) != describe(chosen)


@pytest.mark.parametrize(("n_rows", "kept"), [(300, 3000), (3000, 3000), (3100, 3100)])
def test_the_improved_networks_keep_3000_features_of_up_to_3000_comments(n_rows, kept):
    rng = np.random.default_rng(1)
    letters = rng.choice(list("abcdefghijklmnopqrstuvwxyz"), (n_rows, 12))
    X, y = ["".join(word) for word in letters], rng.choice(["a", "b"], n_rows)
    features = improved_scikit_pipeline(1)[:-1].fit(X, y)

    assert features[0].transform(X[:1]).shape[1] > 2 * kept
    assert features.transform(X[:1]).shape == (1, kept)
