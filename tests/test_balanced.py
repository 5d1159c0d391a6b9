"""Networks that weigh classes and stop early, for scikit-learn and Keras alike."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.metrics import log_loss, recall_score
from sklearn.neural_network import MLPClassifier

from neural_classifiers.comments.models.balanced import (
    EPOCHS_MAX,
    PATIENCE,
    BalancedMLPClassifier,
    class_weights,
    split_validation,
)
from neural_classifiers.comments.models.pipelines import (
    improved_keras_pipeline,
    improved_scikit_pipeline,
)
from neural_classifiers.judgement.calibration import Calibrated
from neural_classifiers.search.equivalence import describe

pytestmark = pytest.mark.usefixtures("one_thread")


def rare_and_common(n=400, seed=1):
    """Two classes that overlap; one comment in ten is of the rare one."""
    rng = np.random.default_rng(seed)
    y = np.where(np.arange(n) % 10 == 0, "rare", "common")
    X = rng.normal(size=(n, 20)) + 0.5 * (y == "rare")[:, None]
    return sparse.csr_array(X), y


def keras_network(**parameters):
    from neural_classifiers.comments.models.keras_classifier import balanced_classifier

    return balanced_classifier(seed=3).set_params(epochs=8, **parameters)


NETWORKS = {"scikit": lambda **p: BalancedMLPClassifier((8,), random_state=3, **p)}
NETWORKS["keras"] = keras_network


def test_a_class_with_few_rows_weighs_as_much_as_any_other():
    y = np.array(["a"] * 90 + ["b"] * 10)

    weights = class_weights(y, 1.0)
    assert weights[:90].sum() == pytest.approx(weights[90:].sum())
    assert class_weights(y, 0).tolist() == [1.0] * 100
    half = class_weights(y, 0.5)
    assert half[-1] / half[0] == pytest.approx(3)  # the root of 90 / 10


def test_the_validation_rows_hold_every_class_and_none_that_is_trained_on():
    y = np.array(["a"] * 90 + ["b"] * 10)
    train, validation = split_validation(y, 1)

    assert sorted([*train, *validation]) == list(range(100))
    assert len(validation) == 10
    assert set(y[validation]) == {"a", "b"}
    assert (
        split_validation(np.array(["a", "b", "b"]), 1)[0].size == 1
    )  # "b" alone cannot be stratified


@pytest.mark.parametrize("kind", NETWORKS)
def test_weights_make_a_network_find_the_rare_class(kind):
    X, y = rare_and_common()
    found = [
        recall_score(y, NETWORKS[kind](balance=b).fit(X, y).predict(X), pos_label="rare")
        for b in (0.0, 1.0)
    ]

    assert found[1] > found[0]


@pytest.mark.parametrize("kind", NETWORKS)
def test_one_seed_gives_one_network_and_its_copy_the_same(kind):
    X, y = rare_and_common()
    network = NETWORKS[kind](balance=0.75)
    first = network.fit(X, y).predict_proba(X)

    assert network.get_params()["balance"] == 0.75
    assert clone(network).fit(X, y).predict_proba(X).tolist() == first.tolist()
    assert describe(clone(network)) != describe(NETWORKS[kind](balance=1.0))


def test_scikit_keeps_the_weights_of_its_best_epoch_and_begins_anew_when_fitted_again():
    rng = np.random.default_rng(1)
    X, y = rng.normal(size=(200, 20)), rng.choice(["a", "b"], 200)  # nothing to learn but by heart
    network = BalancedMLPClassifier((300,), alpha=0, random_state=3).fit(X, y)
    first, epochs = network.predict_proba(X), len(network.loss_curve_)

    assert PATIENCE < epochs < EPOCHS_MAX
    train, validation = split_validation(y, 3)
    longer = MLPClassifier((300,), alpha=0, learning_rate_init=2e-3, random_state=3, batch_size=64)
    losses = []
    for _ in range(epochs):
        longer.partial_fit(X[train], y[train], classes=np.unique(y))
        losses.append(log_loss(y[validation], longer.predict_proba(X[validation])))
    assert log_loss(y[validation], network.predict_proba(X[validation])) == pytest.approx(
        min(losses)
    )
    assert network.fit(X, y).predict_proba(X).tolist() == first.tolist()


def test_keras_keeps_the_weights_of_its_best_epoch():
    X, y = rare_and_common()
    network = keras_network().set_params(epochs=60).fit(X, y)

    losses = network.history_["val_loss"]
    assert len(losses) < 60
    assert np.argmin(losses) < len(losses) - 1


def test_keras_takes_features_too_large_to_be_dense_in_whatever_order(monkeypatch):
    from neural_classifiers.comments.models import keras_classifier

    X, y = rare_and_common()
    dense = keras_network().fit(X, y).predict_proba(X)
    monkeypatch.setattr(keras_classifier, "DENSE_BYTES_MAX", 0)
    falling = X.toarray()[:, ::-1].ravel(), np.tile(np.arange(20)[::-1], 400), 20 * np.arange(401)
    mixed = sparse.csr_array(falling, shape=(400, 20))  # the same numbers in another order
    sparse_ = keras_network().fit(mixed, y).predict_proba(mixed)
    assert not mixed.has_sorted_indices
    assert sparse_ == pytest.approx(dense, abs=1e-4)


@pytest.mark.parametrize("make", [improved_scikit_pipeline, improved_keras_pipeline])
def test_the_pipelines_take_words_and_characters_of_few_texts(make):
    words = {"sports": "goal match coach", "games": "boss level quest"}
    X = [f"no{i} {word}" for text in words.values() for i, word in enumerate(4 * text.split())]
    y = np.repeat(list(words), 12)

    fitted = make(1).set_params(best__at_least=40).fit(X, y)
    assert fitted[:-1].transform(X).shape == (24, 40)
    kinds = {name.split("__")[0] for name in fitted[:-1].get_feature_names_out()}
    assert kinds == {"words", "characters"}
    assert Calibrated(fitted[-1], 2.0).predict_proba(fitted[:-1].transform(X)).shape == (
        24,
        2,
    )
