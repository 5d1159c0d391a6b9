"""The searches as steps: fits kept once, whatever chooses among them and wherever they are made."""

import typing

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import get_scorer

from neural_classifiers.comments.models import grids
from neural_classifiers.engine import paths, progress
from neural_classifiers.engine.records import File
from neural_classifiers.engine.settings import SettingsError
from neural_classifiers.engine.step import body_of, key_of
from neural_classifiers.search import fits as fits_module
from tasks.model_files import read_grid
from tasks.references import Split
from tasks.score_files import keep_scores
from tasks.search_models import (
    fit_keras,
    fit_scikit,
    search_keras,
    search_linear,
    search_scikit,
)

DASK = "NEURAL_CLASSIFIERS_DASK"
GRID = {"solver": ["lbfgs"], "alpha": [1e-4, 1e-1], "activation": ["tanh", "relu"]}
FOLDS = 2


@pytest.fixture
def split(home) -> Split:
    """Forty cleaned comments of two classes."""
    words = {"sports": "goal match coach", "games": "boss level quest"}
    rows = [(f"{words[cat]} no{n % 7}", cat) for n in range(20) for cat in sorted(words)]
    path = home / "train.parquet"
    pd.DataFrame(rows, columns=["clean", "cat"]).to_parquet(path)
    file = File.of(path)
    counts = {cat: {"train": 20, "test": 0} for cat in words}
    return Split(
        train=file,
        test=file,
        rows=40,
        rows_train=40,
        rows_test=0,
        conflicting=0,
        dropped_rows=file,
        counts=counts,
    )


def fold_fits(split, home):
    folders = [home / f"fold-{fold}" for fold in range(FOLDS)]
    for folder in folders:
        folder.mkdir()
    fit = body_of(fit_scikit)
    return [fit(split, GRID, n, FOLDS, 34, folder) for n, folder in enumerate(folders)]


def chosen(split, home, fits, scoring="accuracy", method="grid"):
    folder = home / f"{scoring}-{method}"
    folder.mkdir(exist_ok=True)
    return body_of(search_scikit)(split, GRID, FOLDS, 34, fits, scoring, method, None, folder)


def test_another_scoring_chooses_among_the_same_fits(split, home, monkeypatch):
    fits = fold_fits(split, home)
    monkeypatch.setattr(fits_module, "run_training", None)  # whoever fits a candidate fails

    by_accuracy = chosen(split, home, fits)
    by_loss = chosen(split, home, fits, "neg_log_loss")

    assert by_accuracy.scoring == "accuracy"
    assert 0 < by_accuracy.best_cv_score <= 1
    assert by_loss.best_cv_score < 0
    assert "neg_log_loss -" in by_loss.in_words()


def test_a_search_in_which_no_candidate_has_a_score_is_refused_in_words(split, home):
    grid, folder, search = {"solver": ["adma"]}, home / "search", body_of(search_scikit)
    folder.mkdir()
    fits = []
    for fold in range(FOLDS):
        (home / str(fold)).mkdir()
        fits.append(body_of(fit_scikit)(split, grid, fold, FOLDS, 34, home / str(fold)))
    for method in ("grid", "halving"):
        with pytest.raises(ValueError, match="Got 'adma' instead"):
            search(split, grid, FOLDS, 34, fits, "accuracy", method, None, folder)


def test_a_model_whose_probabilities_are_no_numbers_is_refused(tmp_path):
    table = pd.DataFrame({"actual": ["a", "b"], "predicted": ["a", "a"], "p_a": [0.5, np.nan]})
    table["p_b"] = 1 - table["p_a"]
    with pytest.raises(ValueError, match=r"keras: .* for 1 of 2 test comments: its training div"):
        keep_scores("keras", table, {}, ["a", "b"], tmp_path)


def test_a_linear_model_of_raw_text_sees_what_cleaning_takes_away(split, home):
    rows = [("so so", f"So so{mark}", mark) for mark in "!?" for _ in range(20)]
    pd.DataFrame(rows, columns=["clean", "txt", "cat"]).to_parquet(home / "marks.parquet")
    marks = split.model_copy(update={"train": File.of(home / "marks.parquet")})

    models = {}
    for name in ("linear", "linear_raw"):
        (home / name).mkdir()
        models[name] = body_of(search_linear)(name, marks, FOLDS, 34, "accuracy", None, home / name)
    assert [model.best_cv_score for model in models.values()] == [0.5, 1.0]
    assert [model.text for model in models.values()] == ["clean", "txt"]


def test_halving_keeps_its_fits_and_chooses_one_of_the_grid(split, home, monkeypatch):
    model = chosen(split, home, [], method="halving")

    table = read_grid(model)
    assert table["iter"].tolist() == [0] * 4 + [1] * 2  # 4 candidates, the better third on more
    assert set(model.best_params) == set(GRID)
    store = next((paths.cache() / ".fits").iterdir())
    kept = {path.name for path in store.glob("[!.]*")}
    assert len(kept) == 7 * FOLDS  # and the winner's on whole folds, which answer every row
    assert len(pd.read_parquet(model.held_out.path)) == 40
    assert chosen(split, home, [], method="halving").best_params == model.best_params
    assert {path.name for path in store.glob("[!.]*")} == kept


def test_dask_workers_make_the_fits_where_a_line_in_env_names_a_scheduler(split, home, monkeypatch):
    distributed = pytest.importorskip("distributed")
    here = fold_fits(split, home)
    for path in (paths.cache() / ".fits").rglob("*"):
        if path.is_file():
            path.unlink()
    for folder in home.glob("fold-*"):
        for path in folder.iterdir():
            path.rename(home / f"{folder.name}-{path.name}")
        folder.rmdir()
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, protocol="tcp", memory_limit=0, dashboard_address=None
    ) as cluster:
        (paths.root() / ".env").write_text(f"{DASK}={cluster.scheduler_address}\n")
        monkeypatch.setattr(fits_module, "run_training", None)
        there = fold_fits(split, home)

    assert [fits.fits.sha256 for fits in there] == [fits.fits.sha256 for fits in here]


def test_a_fold_tells_how_far_it_is(split, home):
    told = home / "told.json"
    with progress.reporting_to(told):
        fold_fits(split, home)

    last = progress.read_report(told)
    assert (last.done, last.total, last.unit, last.parts) == (4, 4, "fits", FOLDS)
    assert 0 < last.best <= 1


def test_only_the_keras_search_runs_again_with_another_tensorflow():
    reached = {
        made.name: key_of(body_of(made), {}).libraries
        for made in (fit_scikit, search_scikit, fit_keras, search_keras)
    }

    assert not {"tensorflow", "keras"} & (reached["fit_scikit"] | reached["search_scikit"]).keys()
    assert {"tensorflow", "keras"} <= reached["fit_keras"].keys()
    assert {"tensorflow", "keras"} <= reached["search_keras"].keys()
    assert "distributed" not in reached["fit_scikit"]  # where fits are made decides none


@pytest.mark.parametrize("name", typing.get_args(grids.Scoring))
def test_every_scoring_that_a_flow_offers_is_one_of_scikit_learn(name):
    assert callable(get_scorer(name))


def test_a_dask_scheduler_that_is_none_is_an_error(split, home, monkeypatch):
    monkeypatch.setenv(DASK, "somewhere")

    with pytest.raises(SettingsError, match=f"{DASK}.*address of a Dask scheduler.*'somewhere'"):
        fold_fits(split, home)
