"""Parameters chosen on a sample of the training comments, models fitted on all of them."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

from neural_classifiers.comments.splits import draw_stratified
from neural_classifiers.engine import progress
from neural_classifiers.engine.records import File
from neural_classifiers.engine.step import body_of, key_of
from neural_classifiers.operation import cli
from tasks.explain import examine_training
from tasks.model_files import load_pipeline
from tasks.references import SearchSample, Split
from tasks.search_models import (
    fit_constant,
    fit_scikit,
    search_keras_improved,
    search_linear,
    search_scikit,
    search_scikit_improved,
)
from tasks.search_sample import draw_search_sample

WORDS = {"games": "boss level quest loot", "sports": "goal match coach season"}
GRID = {"solver": ["lbfgs"], "alpha": [1e-4, 1e-1], "activation": ["tanh", "relu"]}
FOLDS, SEED, N = 2, 34, 36


def write(path, word, n, seed):
    """Cleaned comments, a third games; each has a word of its own."""
    rng = np.random.default_rng(seed)
    cats = rng.permutation(np.where(np.arange(n) < n // 3, "games", "sports"))
    clean = [f"{' '.join(rng.choice(WORDS[c].split(), 2))} {word}{i}" for i, c in enumerate(cats)]
    table = {"clean": clean, "txt": clean, "cat": cats, "file": "a.jsonl", "line": np.arange(n)}
    pd.DataFrame(table).to_parquet(path, index=False)
    return File.of(path)


@pytest.fixture
def split(home) -> Split:
    return split_of(home, "train", n=120)


def split_of(home, word, n):
    train = write(home / f"{word}.parquet", word, n, seed=1)
    test = write(home / f"{word}-test.parquet", "unseen", 60, seed=2)
    return Split(
        train=train,
        test=test,
        dropped_rows=test,
        rows=n + 60,
        rows_train=n,
        rows_test=60,
        conflicting=0,
        counts={cat: {"train": n // 2, "test": 30} for cat in WORDS},
    )


@pytest.fixture(autouse=True)
def two_linear_models(monkeypatch):
    """Of a search's many: what they are is tested elsewhere."""
    from neural_classifiers.comments.models import pipelines

    grid = [{"classifier": [pipelines.LogisticRegression(max_iter=1000)], "C": [0.1, 10.0]}]
    monkeypatch.setattr(pipelines, "linear_grid", lambda: grid)


@pytest.fixture
def sample(split, home) -> SearchSample:
    return body_of(draw_search_sample)(split, N, SEED, FOLDS, made(home / "sample"))


def made(folder):
    folder.mkdir(parents=True)
    return folder


def vocabulary(model):
    vectoriser = load_pipeline(model)[0]
    words = getattr(vectoriser, "transformer_list", [("words", vectoriser)])[0][1]
    return set(words.vocabulary_)


def searched(name, split, sample, home):
    """The model that a search of this name finds."""
    folder = made(home / f"{name}-{split.rows_train}-{sample and sample.rows_train}")
    chosen = {"grid": GRID, "fits": [], "scoring": "accuracy", "method": "halving"}
    if name == "scikit":
        fit, of = body_of(fit_scikit), sample or split
        folders = [made(folder / f"fold-{fold}") for fold in range(FOLDS)]
        fits = [fit(of, GRID, fold, FOLDS, SEED, where) for fold, where in enumerate(folders)]
        chosen |= {"fits": fits, "method": "grid"}
    step, arguments = {
        "constant": (fit_constant, {}),
        "linear": (search_linear, {"name": "linear", "scoring": "f1_macro"}),
        "scikit": (search_scikit, chosen),
        "halving": (search_scikit, chosen),
        "scikit_improved": (search_scikit_improved, {"grid": {"alpha": [0.1]}}),
        "keras_improved": (search_keras_improved, {"grid": {"epochs": [1]}}),
    }[name]
    return body_of(step)(
        split=split, folds=FOLDS, seed=SEED, search_sample=sample, folder=folder, **arguments
    )


def test_rows_are_drawn_by_class_as_many_as_asked_for_and_the_same_again():
    labels = np.random.default_rng(0).choice(["a", "b", "c"], 1000, p=[0.05, 0.25, 0.7])
    shares = {label: (labels == label).mean() for label in "abc"}

    rows = draw_stratified(labels, 101, seed=1)
    assert len(set(rows.tolist())) == 101
    for label, share in shares.items():
        assert abs((labels[rows] == label).sum() - 101 * share) < 1
    assert draw_stratified(labels, 101, seed=1).tolist() == rows.tolist() == sorted(rows.tolist())
    assert draw_stratified(labels, 101, seed=2).tolist() != rows.tolist()
    assert draw_stratified(labels, 1000, seed=1).tolist() == list(range(1000))
    assert draw_stratified(labels, 0, seed=1).tolist() == []
    with pytest.raises(ValueError, match="from 0 to 1,000 rows to draw, got 1,001"):
        draw_stratified(labels, 1001, seed=1)


def test_a_sample_holds_training_comments_by_class_in_their_order(split, sample):
    train, drawn = (pd.read_parquet(file.path) for file in (split.train, sample.train))

    assert sample.rows_train == len(drawn) == N
    assert drawn["cat"].value_counts().to_dict() == {"sports": 24, "games": 12}
    assert drawn["clean"].tolist() == train["clean"][train["clean"].isin(drawn["clean"])].tolist()


@pytest.mark.parametrize("rows", [120, 10_000])
def test_as_many_as_there_are_or_more_means_all_of_them(split, home, rows):
    drawn = body_of(draw_search_sample)(split, rows, SEED, FOLDS, made(home / "all"))

    assert drawn.rows_train == 120
    assert drawn.train.sha256 == File.of(split.train.path).sha256


@pytest.mark.parametrize("rows", [0, 1, 5])
def test_too_few_for_the_folds_end_before_any_fit(split, home, rows):
    message = rf"search-sample {rows}: expected at least 3 training rows of every class.*'games'"
    with pytest.raises(ValueError, match=message):
        body_of(draw_search_sample)(split, rows, SEED, 3, made(home / "few"))


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize(
    "name", ["constant", "linear", "scikit", "halving", "scikit_improved", "keras_improved"]
)
def test_what_the_sample_chose_is_fitted_on_all_training_comments(name, split, sample, home):
    told = []
    with progress.reporting_to(
        home / "told", lambda: told.append(progress.read_report(home / "told"))
    ):
        model = searched(name, split, sample, home)
    alone = searched(name, split.model_copy(update={**dict(sample)}), None, home)

    if name != "constant":  # no search: it has no parameters
        assert told[-1].unit == "fits on all 120 training comments"
        assert told[-1].done == told[-1].total == (2 if model.temperature else 1)

    for value in ("best_params", "best_cv_score"):
        assert getattr(model, value) == getattr(alone, value)
    assert model.held_out.sha256 == alone.held_out.sha256
    if model.temperature:
        assert model.temperature != alone.temperature  # learnt on a fold of all
    every, few = (
        set(TfidfVectorizer().fit(pd.read_parquet(file.path)["clean"]).vocabulary_)
        for file in (split.train, sample.train)
    )
    assert vocabulary(model) == every > few == vocabulary(alone)
    assert not any(word.startswith("unseen") for word in vocabulary(model))
    recipe = json.loads(model.recipe.path.read_bytes())
    assert (recipe["searched_rows"], recipe["training_rows"]) == (N, 120)
    assert recipe["training_file_sha256"] == split.train.sha256


def test_the_same_sample_of_other_comments_is_not_searched_again(split, sample, home):
    other = split_of(home, "more", n=150)

    def keys(whole):
        both = {"grid": GRID, "folds": FOLDS, "seed": SEED}
        fit = {**both, "split": sample, "fold": 0}
        search = {**both, "split": whole, "search_sample": sample}
        return key_of(body_of(fit_scikit), fit), key_of(body_of(search_scikit), search)

    (fits, search), (fits_again, search_again) = keys(split), keys(other)
    assert fits.digest == fits_again.digest
    assert search.digest != search_again.digest


def test_labels_in_doubt_and_the_learning_curve_are_the_samples(split, sample, home):
    linear = searched("linear", split, sample, home)
    examined = body_of(examine_training)(sample, linear, FOLDS, SEED, made(home / "examined"))

    assert examined.rows == N
    assert json.loads(examined.curve.path.read_bytes())[-1]["rows"] == N // FOLDS
    assert examined.in_words().endswith(f"of {N} training comments have a label in doubt")


def test_the_command_line_hands_the_number_on_to_the_flow():
    parsed = cli.parser().parse_args(["run", "comments", "--search-sample", "3000"])
    assert cli.parameters_of(parsed)["search_sample"] == 3000
    with pytest.raises(SystemExit):
        cli.parser().parse_args(["run", "comments", "--search-sample", "0"])
