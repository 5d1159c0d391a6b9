"""Keras networks as classifiers that scikit-learn accepts, and their saving as values."""

import subprocess
import sys
import threading

import numpy as np
import pytest
import scipy.sparse
from sklearn.base import clone, is_classifier
from sklearn.ensemble import VotingClassifier
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, check_cv

keras_classifier = pytest.importorskip("neural_classifiers.comments.models.keras_classifier")

from neural_classifiers.comments.models.networks import build_comment_mlp  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")


def tiny_data(n_classes=3, rows_a_class=8):
    """Rows sorted by class; each class has a feature of its own."""
    rng = np.random.default_rng(7)
    y = np.repeat([f"class {k}" for k in range(n_classes)], rows_a_class)
    X = rng.random((len(y), n_classes + 2)) * 0.3
    X[np.arange(len(y)), np.repeat(range(n_classes), rows_a_class)] += 1
    return X, y


def tiny_classifier(**parameters):
    parameters = {"seed": 34, "epochs": 2, "batch_size": 6, "hidden_sizes": (6, 4)} | parameters
    classifier = keras_classifier.comment_classifier(**parameters)
    return classifier.set_params(optimizer__learning_rate=0.05)  # learns in a few epochs


X, Y = tiny_data()


@pytest.fixture(scope="module")
def fitted():
    return tiny_classifier(epochs=8).fit(X, Y)


# --- what scikit-learn sees ---------------------------------------------------------------


def test_scikit_learn_takes_it_for_a_classifier():
    classifier = tiny_classifier()

    assert is_classifier(classifier)
    assert isinstance(check_cv(5, Y, classifier=is_classifier(classifier)), StratifiedKFold)


def test_a_voting_classifier_accepts_it():
    voters = [("network", tiny_classifier(epochs=8)), ("linear", LogisticRegression())]

    vote = VotingClassifier(voters, voting="soft").fit(X, Y)

    assert vote.predict_proba(X).shape == (24, 3)
    assert (vote.predict(X) == Y).mean() > 0.9


def test_it_learns_and_gives_probabilities_in_the_order_of_its_classes(fitted):
    probabilities = fitted.predict_proba(X)

    assert fitted.classes_.tolist() == ["class 0", "class 1", "class 2"]
    assert probabilities.sum(axis=1) == pytest.approx(np.ones(24), abs=1e-6)
    assert fitted.predict(X).tolist() == fitted.classes_[probabilities.argmax(axis=1)].tolist()
    assert fitted.score(X, Y) > 0.6  # a constant answer scores 1/3


def test_its_predictions_are_those_of_its_keras_model(fitted):
    expected = fitted.model_.predict(X.astype(np.float32), verbose=0)

    assert fitted.predict_proba(X) == pytest.approx(expected, abs=1e-6)


def test_a_single_row_gives_a_row_of_probabilities(fitted):
    assert fitted.predict_proba(X[:1]).shape == (1, 3)
    assert fitted.predict(X[:1]).shape == (1,)


def test_two_classes_are_classes_like_any_other():
    X2, y2 = tiny_data(n_classes=2)

    classifier = tiny_classifier(epochs=8).fit(X2, y2)

    assert classifier.predict_proba(X2).shape == (16, 2)
    assert classifier.score(X2, y2) > 0.6


def test_predicting_before_fitting_is_an_error():
    with pytest.raises(NotFittedError, match="call fit first"):
        tiny_classifier().predict(X)


def test_input_too_large_to_be_dense_gives_the_same_bits(monkeypatch, fitted):
    monkeypatch.setattr(keras_classifier, "DENSE_BYTES_MAX", 0)

    sparse = clone(fitted).fit(scipy.sparse.csr_matrix(X), Y)

    assert np.array_equal(sparse.predict_proba(scipy.sparse.csr_matrix(X)), fitted.predict_proba(X))


def test_the_prediction_batch_size_does_not_depend_on_the_training(monkeypatch, fitted):
    whole = fitted.predict_proba(X)
    monkeypatch.setattr(keras_classifier, "PREDICT_ROWS", 7)

    assert fitted.predict_proba(X) == pytest.approx(whole, abs=1e-6)


# --- stages -------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [5, 100])
def test_one_training_passes_through_the_bits_of_separate_ones(batch_size):
    seen = {}
    staged = tiny_classifier(batch_size=batch_size)

    staged.fit_staged(X, Y, [3, 1], lambda stage: seen.update({stage: staged.predict_proba(X)}))

    assert list(seen) == [1, 3]
    for epochs, probabilities in seen.items():
        alone = tiny_classifier(epochs=epochs, batch_size=batch_size).fit(X, Y)
        assert np.array_equal(probabilities, alone.predict_proba(X))
    assert not np.array_equal(seen[1], seen[3])


def test_what_the_observer_raises_stops_the_training_and_leaves_the_parameters():
    def fail(stage):
        raise OSError("no space left on device")

    classifier = tiny_classifier()
    with pytest.raises(OSError, match="no space left"):
        classifier.fit_staged(X, Y, [1, 2], fail)
    assert classifier.get_params() == tiny_classifier().get_params()


def test_trainings_that_look_ahead_or_back_are_not_shared():
    assert tiny_classifier().staged_parameter == "epochs"
    assert tiny_classifier().set_params(callbacks=[]).staged_parameter is None
    assert tiny_classifier().set_params(fit__epochs=3).staged_parameter is None
    assert tiny_classifier().set_params(warm_start=True).staged_parameter is None


# --- reproducible -------------------------------------------------------------------------

FRESH = """
import sys
sys.path[:0] = sys.argv[1:]
from neural_classifiers.arrays.threads import set_tensorflow_threads
set_tensorflow_threads(1)
from test_keras_classifier import X, Y, tiny_classifier
print(tiny_classifier().fit(X, Y).predict_proba(X).tobytes().hex())
"""


def test_a_training_after_others_has_the_bits_of_a_fresh_process(pytestconfig):
    tiny_classifier(epochs=1, batch_size=24, seed=1).fit(X, Y)
    later = tiny_classifier().fit(X, Y).predict_proba(X)

    root = pytestconfig.rootpath
    fresh = subprocess.run(
        [sys.executable, "-c", FRESH, str(root), str(root / "tests")],
        capture_output=True,
        text=True,
        check=True,
    )

    assert later.tobytes().hex() == fresh.stdout.strip()


def test_trainings_started_side_by_side_take_their_turns_and_keep_their_bits(fitted):
    found = {}

    def train(name):
        found[name] = clone(fitted).fit(X, Y).predict_proba(X)

    threads = [threading.Thread(target=train, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert np.array_equal(found["a"], fitted.predict_proba(X))
    assert np.array_equal(found["b"], fitted.predict_proba(X))


def test_a_training_leaves_the_global_seeds_alone():
    np.random.seed(5)  # noqa: NPY002 - the global state is the subject
    expected = np.random.random()  # noqa: NPY002
    np.random.seed(5)  # noqa: NPY002

    tiny_classifier().fit(X, Y)

    assert np.random.random() == expected  # noqa: NPY002


# --- the network and its values -----------------------------------------------------------


def test_the_network_is_the_notebooks():
    network = build_comment_mlp(n_features=2100, n_classes=3)

    assert network.count_params() == 2101 * 250 + 251 * 100 + 101 * 3
    assert [layer.activation.__name__ for layer in network.layers] == ["relu", "relu", "softmax"]
    assert network.output_shape == (None, 3)


def test_a_rebuilt_classifier_predicts_the_same_bits(fitted):
    values = keras_classifier.weights(fitted)

    rebuilt = keras_classifier.rebuild(
        values, fitted.classes_.tolist(), **keras_classifier.architecture(fitted)
    )

    assert np.array_equal(rebuilt.predict_proba(X), fitted.predict_proba(X))
    assert rebuilt.predict(scipy.sparse.csr_matrix(X)).tolist() == fitted.predict(X).tolist()
    assert keras_classifier.architecture(fitted) == {"n_features": 5, "hidden_sizes": [6, 4]}
    assert {name: array.shape for name, array in values.items()} == {
        "hidden_1.kernel": (5, 6),
        "hidden_1.bias": (6,),
        "hidden_2.kernel": (6, 4),
        "hidden_2.bias": (4,),
        "classes.kernel": (4, 3),
        "classes.bias": (3,),
    }


def test_weights_of_another_architecture_and_classes_out_of_order_are_refused(fitted):
    values = keras_classifier.weights(fitted)

    with pytest.raises(ValueError, match=r"hidden_1\.kernel"):
        keras_classifier.rebuild(values, fitted.classes_, n_features=6, hidden_sizes=(6, 4))
    del values["classes.bias"]
    with pytest.raises(ValueError, match="weights: expected"):
        keras_classifier.rebuild(values, fitted.classes_, n_features=5, hidden_sizes=(6, 4))
    with pytest.raises(ValueError, match="distinct, sorted labels"):
        keras_classifier.rebuild(values, ["b", "a", "c"], n_features=5, hidden_sizes=(6, 4))
