"""Search the grid of the Keras network (notebook, Part 2)."""

from pathlib import Path

from neural_classifiers.grids import Grid
from neural_classifiers.threads import set_tensorflow_threads
from tasks.models import Model
from tasks.searches import Fits, choose_model, fit_fold
from tasks.split import Split
from tasks.steps import step


@step(threads=1, task_run_name="fit_keras-{fold}")
def fit_keras(split: Split, grid: Grid, fold: int, folds: int, seed: int, folder: Path) -> Fits:
    """Every candidate on one fold; one training a batch size serves all its epoch counts."""
    from neural_classifiers.pipelines import keras_pipeline

    set_tensorflow_threads(1)
    return fit_fold(fit_keras, keras_pipeline(seed), grid, split, folds, fold, folder)


@step(threads=1)
def search_keras(
    split: Split, grid: Grid, folds: int, seed: int, fits: list[Fits], folder: Path
) -> Model:
    """The best candidate over the folds, fitted on the whole training set."""
    from neural_classifiers.pipelines import keras_pipeline

    set_tensorflow_threads(1)
    pipeline = keras_pipeline(seed)
    return choose_model("keras", pipeline, grid, split, folds, seed, fits, folder)
