"""Which candidates count as the same, and that they are."""

import functools
import warnings

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits

from neural_classifiers.search.equivalence import WITHOUT_EFFECT, describe, digest

(MLP_RULES,) = WITHOUT_EFFECT.values()

# Per parameter two values that would show if it acted, settings that let it show, and the solvers
# under which it idles, read off scikit-learn's documentation of each.
TRIED = {
    "learning_rate": ("constant", "invscaling", {}, ["lbfgs", "adam"]),
    "power_t": (0.1, 0.9, {"learning_rate": "invscaling"}, ["lbfgs", "adam"]),
    "momentum": (0.1, 0.8, {}, ["lbfgs", "adam"]),
    "nesterovs_momentum": (True, False, {}, ["lbfgs", "adam"]),
    "beta_1": (0.5, 0.9, {}, ["lbfgs", "sgd"]),
    "beta_2": (0.5, 0.9, {}, ["lbfgs", "sgd"]),
    "epsilon": (1e-8, 1e-2, {}, ["lbfgs", "sgd"]),
    "learning_rate_init": (0.01, 0.1, {}, ["lbfgs"]),
    "batch_size": (5, 20, {}, ["lbfgs"]),
    "shuffle": (True, False, {"batch_size": 10}, ["lbfgs"]),
    "early_stopping": (True, False, {}, ["lbfgs"]),
    "n_iter_no_change": (1, 9, {"tol": 0.5}, ["lbfgs"]),
    "validation_fraction": (0.1, 0.5, {"early_stopping": True}, ["lbfgs"]),
    "max_fun": (3, 30, {}, ["sgd", "adam"]),
}
PAIRS = [(name, solver) for name in TRIED for solver in ("lbfgs", "sgd", "adam")]


def fitted_bits(**parameters) -> bytes:
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(40, 4)), np.repeat(["a", "b"], 20)
    X[y == "b"] += 0.5
    network = MLPClassifier((3,), max_iter=12, random_state=1, **parameters)
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore")  # twelve steps do not converge
        network.fit(X, y)
    return b"".join(array.tobytes() for array in network.coefs_ + network.intercepts_)


def test_every_rule_of_the_table_is_tried():
    assert set(TRIED) == {rule.parameter for rule in MLP_RULES}


@pytest.mark.parametrize(("name", "solver"), PAIRS)
def test_candidates_are_called_equal_exactly_where_their_weights_are(name, solver):
    one, other, settings, idle_under = TRIED[name]
    first, second = ({"solver": solver, **settings, name: value} for value in (one, other))

    called_equal = describe(MLPClassifier(**first)) == describe(MLPClassifier(**second))

    assert called_equal == (solver in idle_under)
    assert called_equal == (fitted_bits(**first) == fitted_bits(**second))


@pytest.mark.parametrize(
    ("name", "values", "settings"),
    [
        ("power_t", (0.1, 0.9), {"solver": "sgd", "learning_rate": "constant"}),
        ("power_t", (0.1, 0.9), {"solver": "sgd", "learning_rate": "adaptive"}),
        ("validation_fraction", (0.1, 0.5), {"solver": "adam", "early_stopping": False}),
    ],
)
def test_a_parameter_can_idle_beside_another_than_the_solver(name, values, settings):
    first, second = ({**settings, name: value} for value in values)

    assert describe(MLPClassifier(**first)) == describe(MLPClassifier(**second))
    assert fitted_bits(**first) == fitted_bits(**second)


@pytest.mark.parametrize(
    ("name", "refused"),
    [
        ("learning_rate", "fast"),
        ("momentum", 1.5),
        ("epsilon", 0),
        ("batch_size", 0),
        ("shuffle", "yes"),
        ("n_iter_no_change", 0.5),
        ("beta_1", 1.0),
    ],
)
def test_a_value_that_the_estimator_refuses_is_never_merged(name, refused):
    idle_solver = TRIED[name][3][0]
    with pytest.raises(ValueError, match=name):
        fitted_bits(solver=idle_solver, **{name: refused})

    refusing = describe(MLPClassifier(solver=idle_solver, **{name: refused}))

    assert refusing != describe(MLPClassifier(solver=idle_solver))


def test_nested_estimators_count():
    def pipeline(C, lowercase):
        return Pipeline(
            [("t", TfidfVectorizer(lowercase=lowercase)), ("c", LogisticRegression(C=C))]
        )

    assert describe(pipeline(1.0, True)) == describe(pipeline(1.0, True))
    assert describe(pipeline(1.0, True)) != describe(pipeline(2.0, True))
    assert describe(pipeline(1.0, True)) != describe(pipeline(1.0, False))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, True),
        (1, 1.0),
        ("1", 1),
        ((6, 2), [6, 2]),
        (np.float32(0.5), 0.5),
        (np.array([1, 2]), np.array([[1, 2]])),
        (np.array([1, 2]), np.array([1, 3])),
        (np.array([1, 2]), np.array([1.0, 2.0])),
        (str.lower, str.upper),
        (functools.partial(str.split, sep="a"), functools.partial(str.split, sep="b")),
        ({0: 1.0}, {"0": 1.0}),
        (float, int),
    ],
)
def test_values_that_an_estimator_could_tell_apart_differ(one, other):
    first, second = (describe(LogisticRegression(class_weight=value)) for value in (one, other))

    assert digest(first) != digest(second)


@pytest.mark.parametrize(
    "value", [lambda text: text, "".join, np.random.RandomState(0), object(), iter([])]
)
def test_a_value_that_cannot_be_written_down_is_refused(value):
    with pytest.raises(TypeError, match="'preprocessor' of TfidfVectorizer"):
        describe(TfidfVectorizer(preprocessor=value))


def test_a_digest_is_the_same_in_every_process():
    # printf '[{"a":1,"b":[null,"x"]}]' | sha256sum
    expected = "b25de8e055776a015f0b8b0cc80905a27b497428a3b8802c95364582e971ece3"

    assert digest({"b": [None, "x"], "a": 1}) == expected
