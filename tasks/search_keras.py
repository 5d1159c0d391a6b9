"""Search the grid of the Keras network (notebook, Part 2), and of an improved one."""

from pathlib import Path

from neural_classifiers.comments.models.grids import Grid, Method, Scoring
from neural_classifiers.engine.step import step
from tasks.model_files import save_keras_pipeline
from tasks.references import Fits, Model, SearchSample, Split
from tasks.searches import (
    KERAS_LIBRARIES,
    Search,
    choose_by_halving,
    choose_model,
    fit_fold,
    search_at_once,
)


@step(threads=1, attempts=3, task_run_name="fit_keras-{fold}")
def fit_keras(
    split: Split | SearchSample, grid: Grid, fold: int, folds: int, seed: int, folder: Path
) -> Fits:
    """Every candidate on one fold; one training a batch size serves all its epoch counts."""
    return fit_fold(fit_keras, _search(split, grid, folds, seed), fold, folder)


@step(threads=1, attempts=3)
def search_keras(
    split: Split,
    grid: Grid,
    folds: int,
    seed: int,
    fits: list[Fits],
    scoring: Scoring,
    method: Method,
    search_sample: SearchSample | None,
    folder: Path,
) -> Model:
    """The best candidate over the folds, fitted on the whole training set."""
    wanted = _search(split, grid, folds, seed, scoring, search_sample)
    if method == "halving":
        return choose_by_halving(search_keras, wanted, folder)
    return choose_model(wanted, fits, folder)


@step(threads=1)
def search_keras_improved(
    split: Split,
    grid: Grid,
    folds: int,
    seed: int,
    search_sample: SearchSample | None,
    folder: Path,
) -> Model:
    """A network made for unequal classes, chosen by macro-F1, its probabilities calibrated."""
    from neural_classifiers.comments.models.pipelines import improved_keras_pipeline

    wanted = Search(
        name="keras_improved",
        pipeline=improved_keras_pipeline(seed),
        grid=grid,
        split=split,
        folds=folds,
        seed=seed,
        scoring="f1_macro",
        is_calibrated=True,
        search_sample=search_sample,
        save=save_keras_pipeline,
        libraries=KERAS_LIBRARIES,
    )
    return search_at_once(wanted, folder)


def _search(
    split: Split | SearchSample,
    grid: Grid,
    folds: int,
    seed: int,
    scoring: Scoring = "accuracy",
    search_sample: SearchSample | None = None,
) -> Search:
    from neural_classifiers.comments.models.pipelines import keras_pipeline

    return Search(
        name="keras",
        pipeline=keras_pipeline(seed),
        grid=grid,
        split=split,
        folds=folds,
        seed=seed,
        scoring=scoring,
        search_sample=search_sample,
        save=save_keras_pipeline,
        libraries=KERAS_LIBRARIES,
    )
