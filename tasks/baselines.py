"""What a network has to beat, and the notebook lacks: the constant answer, a linear model."""

from pathlib import Path

from neural_classifiers.grids import CONSTANT_GRID, LINEAR_GRID
from tasks.models import Model
from tasks.searches import search_at_once
from tasks.split import Split
from tasks.steps import step


@step(threads=1)
def fit_constant(split: Split, folds: int, seed: int, folder: Path) -> Model:
    """The commonest category, whatever the comment says."""
    from neural_classifiers.pipelines import constant_pipeline

    return search_at_once(
        "constant", constant_pipeline(), CONSTANT_GRID, split, folds, seed, folder
    )


@step(threads=1)
def search_linear(split: Split, folds: int, seed: int, folder: Path) -> Model:
    """TF-IDF with logistic regression, its strength chosen by cross-validation."""
    from neural_classifiers.pipelines import linear_pipeline

    return search_at_once("linear", linear_pipeline(), LINEAR_GRID, split, folds, seed, folder)
