"""Models: the same bytes out as in, no code run by a file, equal models recognised."""

import io
import zipfile

import numpy as np
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import ComplementNB
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.svm import LinearSVC

from neural_classifiers.arrays.skops_bytes import (
    NotAModelError,
    model_from_bytes,
    model_to_bytes,
    parameters_digest,
)
from neural_classifiers.comments.models.balanced import BalancedMLPClassifier
from neural_classifiers.comments.models.selection import SelectByRows
from neural_classifiers.judgement.calibration import Calibrated

TEXTS = ["goal save", "goal match", "atom cell", "atom star", "boss level", "level up"]
LABELS = np.array(["sports", "sports", "science", "science", "games", "games"])


def fitted(classifier):
    steps = [("tfidf", TfidfVectorizer()), ("classifier", classifier)]
    return Pipeline(steps).fit(5 * TEXTS, np.tile(LABELS, 5))


CLASSIFIERS = [
    *(
        MLPClassifier((6, 2), solver=s, random_state=1, max_iter=5)
        for s in ("adam", "sgd", "lbfgs")
    ),
    LogisticRegression(),
    DummyClassifier(),
    Calibrated(LinearSVC(), 0.5),
    Calibrated(ComplementNB(), 2.0),
    Calibrated(BalancedMLPClassifier((4,), random_state=1), 1.5),
]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("classifier", CLASSIFIERS, ids=str)
def test_a_model_read_back_answers_as_before_and_is_the_same_model(classifier):
    model = fitted(classifier)
    again = model_from_bytes(model_to_bytes(model))

    assert again.predict_proba(TEXTS).tolist() == model.predict_proba(TEXTS).tolist()
    assert parameters_digest(again) == parameters_digest(model)


@pytest.mark.parametrize(
    "characters", ["drop", TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4))], ids=str
)
def test_words_and_characters_and_a_choice_of_them_come_back_too(characters):
    features = FeatureUnion([("words", TfidfVectorizer()), ("characters", characters)])
    steps = [("features", features), ("best", SelectByRows(at_least=9)), ("svm", LinearSVC())]
    model = Pipeline(steps).fit(TEXTS, LABELS)
    again = model_from_bytes(model_to_bytes(model))

    assert again.decision_function(TEXTS).tolist() == model.decision_function(TEXTS).tolist()
    assert parameters_digest(again) == parameters_digest(model)
    model[-1].coef_[0, 0] += 1e-9
    assert parameters_digest(again) != parameters_digest(model)


def test_two_fits_from_one_seed_are_the_same_model_and_from_two_seeds_are_not():
    one, two, other = (
        parameters_digest(fitted(MLPClassifier((6, 2), solver="lbfgs", random_state=seed)))
        for seed in (1, 1, 2)
    )
    assert one == two
    assert one != other


def test_another_vocabulary_or_another_setting_is_another_model():
    model = fitted(LogisticRegression())
    wider = Pipeline([("tfidf", TfidfVectorizer()), ("classifier", LogisticRegression())])
    wider.fit([*TEXTS, "goal"], [*LABELS, "sports"])

    assert parameters_digest(wider) != parameters_digest(model)
    assert parameters_digest(fitted(LogisticRegression(C=2))) != parameters_digest(model)


def test_a_file_cannot_name_code_to_run():
    hostile = FunctionTransformer(func=print)  # a class and a function that skops does not trust
    with pytest.raises(NotAModelError, match=r"expected classes .* got: .*print"):
        model_from_bytes(model_to_bytes(hostile))


@pytest.mark.parametrize(
    "vectoriser",
    [
        TfidfVectorizer(input="filename"),
        TfidfVectorizer(input="file"),
        TfidfVectorizer(token_pattern=r"(a+)+$"),
        TfidfVectorizer(tokenizer=np.sin),
        TfidfVectorizer(preprocessor=np.sin),
        TfidfVectorizer(analyzer=np.sin),
        FeatureUnion([("words", TfidfVectorizer(input="filename"))]),
    ],
    ids=lambda vectoriser: str(vectoriser)[:40],
)
def test_a_model_that_would_do_more_with_a_text_than_count_words_is_refused(vectoriser):
    model = Pipeline([("features", vectoriser), ("linear", LogisticRegression())])
    with pytest.raises(NotAModelError, match=r"expected features__.* to be one of .*, got "):
        model_from_bytes(model_to_bytes(model))


def test_another_pattern_for_words_is_read_where_it_is_ours():
    content = model_to_bytes(TfidfVectorizer(token_pattern=r"\w+"))

    assert model_from_bytes(content, [r"\w+"]).token_pattern == r"\w+"


def zipped(schema: str, **members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("schema.json", schema)
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def huge_array() -> bytes:
    """A model with an array whose header promises 80 TB."""
    content = model_to_bytes(fitted(LogisticRegression()))
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(buffer, "w") as new:
        for name in old.namelist():
            member = old.read(name)
            if name.endswith(".npy"):
                file = io.BytesIO()
                head = {"descr": "<f8", "fortran_order": False, "shape": (10**13,)}
                np.lib.format.write_array_header_1_0(file, head)
                member = file.getvalue()
            new.writestr(name, member)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"nonsense",
        zipped("{"),
        zipped('{"__class__": "dict", "__module__": "builtins"}'),
        model_to_bytes(fitted(LogisticRegression()))[:1000],
        zipped('{"__class__":' * 20_000 + "1" + "}" * 20_000),
        zipped("{}", bomb=bytes(2**27)),
        huge_array(),
    ],
    ids="empty,no archive,no schema,other schema,cut short,deep,bomb,huge".split(","),
)
def test_a_file_that_is_no_model_is_refused(content):
    with pytest.raises(NotAModelError, match="expected a model in skops' format, got: "):
        model_from_bytes(content)


def test_a_file_of_something_else_is_refused():
    with pytest.raises(NotAModelError, match="expected a scikit-learn estimator, got dict"):
        model_from_bytes(model_to_bytes({"no": "model"}))
