"""A temperature makes probabilities mean what they say, and changes no answer."""

import numpy as np
import pytest
from sklearn.datasets import make_classification
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, log_loss
from sklearn.svm import LinearSVC

from neural_classifiers.judgement.calibration import (
    Calibrated,
    fit_shift,
    fit_temperature,
    held_out_logits,
    logits_of,
    offsets_of,
    prior_of,
    shifted_f1_macro,
    softmax,
)
from neural_classifiers.search.fits import fit
from neural_classifiers.search.plan import plan_search
from neural_classifiers.search.results import collect, held_out_answers

X, Y = make_classification(400, 20, n_informative=6, n_classes=3, flip_y=0.2, random_state=1)


def test_answers_drawn_from_flattened_probabilities_get_their_temperature_back():
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(20_000, 3)) * 2
    chances = softmax(logits / 2.5)  # the truth is two and a half times less sure
    places = (chances.cumsum(axis=1) < rng.random((20_000, 1))).sum(axis=1)

    assert fit_temperature(logits, places) == pytest.approx(2.5, rel=0.05)


@pytest.mark.parametrize("classifier", [LogisticRegression(C=100), LinearSVC()], ids=str)
@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_temperature_changes_probabilities_and_no_answer(classifier, n_classes):
    rows = n_classes > Y
    model = Calibrated(classifier, 3.0).fit(X[rows], Y[rows])
    chances = model.predict_proba(X)

    assert chances.shape == (400, n_classes)
    assert chances.sum(axis=1) == pytest.approx(1)
    assert model.classes_[chances.argmax(axis=1)].tolist() == model.predict(X).tolist()
    assert model.predict(X).tolist() == classifier.predict(X).tolist()
    surer = Calibrated(classifier, 1.0).predict_proba(X)
    assert (chances.max(axis=1) <= surer.max(axis=1)).all()


def test_what_a_search_kept_for_the_rows_held_out_calibrates_the_winner():
    plan = plan_search(LinearSVC(), {"C": [0.1, 1.0]}, X, Y, namespace="tests")
    store: dict[str, bytes] = {}
    fit(plan, store)
    results = collect(plan, store)
    answers = held_out_answers(plan, results.best_index_, store)

    logits = held_out_logits(answers, np.unique(Y), len(Y))
    assert not np.isnan(logits).any()
    best = LinearSVC(C=results.best_params_["C"])
    train, held_out = plan.folds[2]
    expected = best.fit(X[train], Y[train]).decision_function(X[held_out])
    assert logits[held_out] == pytest.approx(expected)
    temperature = fit_temperature(logits, Y)
    losses = [log_loss(Y, softmax(logits / t)) for t in (temperature, 1.0, 3.0)]
    assert losses[0] == min(losses)
    del store[plan.key(int(results.best_index_), 3)]
    with pytest.raises(LookupError, match="on fold 3"):  # a fit that is missing is no answer
        held_out_answers(plan, results.best_index_, store)


def test_a_shift_finds_the_rare_class_that_the_likeliest_answer_forgets():
    rng = np.random.default_rng(1)
    places = (rng.random(4000) < 0.1).astype(int)  # one in ten is of the second class
    evidence = rng.normal(size=4000) + 1.5 * places
    # log-odds of two normal distributions a distance of 1.5 apart, and the prior
    logits = np.column_stack([np.zeros(4000), 1.5 * evidence - 1.5**2 / 2 + np.log(0.1 / 0.9)])

    shift, prior = fit_shift(logits, places), prior_of(places, 2)
    plain, shifted = (
        f1_score(places, (logits + offsets_of(s, prior)).argmax(axis=1), average="macro")
        for s in (0.0, shift)
    )
    assert 0.2 < shift < 1
    assert shifted > plain + 0.02
    assert offsets_of(1.0, np.array([0.9, 0.1])) == pytest.approx([0.105, 2.303], abs=0.001)
    assert fit_shift(np.eye(2)[places] * 9, places) == 0  # nothing to gain: no shift


def test_offsets_change_answers_and_no_probability():
    fitted = LogisticRegression().fit(X, Y)
    towards = Calibrated(fitted, 1.0, [0.0, 0.0, 100.0])

    assert set(towards.predict(X)) == {2}
    assert towards.predict_proba(X) == pytest.approx(fitted.predict_proba(X))
    none = Calibrated(fitted, 1.0, [0.0, 0.0, 0.0])
    assert none.predict(X).tolist() == fitted.predict(X).tolist()


def test_candidates_are_judged_by_their_shifted_answers():
    rows = np.r_[np.flatnonzero(Y == 0), np.flatnonzero(Y == 1)[:20]]
    for classifier in (LogisticRegression(), LinearSVC()):
        fitted = classifier.fit(X[rows], Y[rows])
        plain = f1_score(Y[rows], fitted.predict(X[rows]), average="macro")
        assert shifted_f1_macro(fitted, X[rows], Y[rows]) >= plain


def test_probabilities_of_zero_are_no_minus_infinity():
    assert np.isfinite(logits_of({"predict_proba": np.array([[0.0, 1.0]])})).all()
