"""Search the grid of scikit-learn's network (notebook, Part 1)."""

from pathlib import Path

from neural_classifiers.grids import Grid
from tasks.models import Model
from tasks.searches import Fits, choose_model, fit_fold
from tasks.split import Split
from tasks.steps import step


@step(threads=1, task_run_name="fit_scikit-{fold}")
def fit_scikit(split: Split, grid: Grid, fold: int, folds: int, seed: int, folder: Path) -> Fits:
    """Every candidate fitted on one fold; candidates that cannot differ once."""
    from neural_classifiers.pipelines import scikit_pipeline

    return fit_fold(fit_scikit, scikit_pipeline(seed), grid, split, folds, fold, folder)


@step(threads=1)
def search_scikit(
    split: Split, grid: Grid, folds: int, seed: int, fits: list[Fits], folder: Path
) -> Model:
    """The best candidate over the folds, fitted on the whole training set."""
    from neural_classifiers.pipelines import scikit_pipeline

    pipeline = scikit_pipeline(seed)
    return choose_model("scikit", pipeline, grid, split, folds, seed, fits, folder)
