"""What a network has to beat, and the notebook lacks: the constant answer, a linear model."""

from pathlib import Path

from neural_classifiers.comments.models.grids import CONSTANT_GRID, Scoring
from neural_classifiers.engine.step import step
from tasks.references import Model, SearchSample, Split
from tasks.searches import Search, search_at_once


@step(threads=1)
def fit_constant(
    split: Split, folds: int, seed: int, search_sample: SearchSample | None, folder: Path
) -> Model:
    """The commonest category, whatever the comment says."""
    from neural_classifiers.comments.models.pipelines import constant_pipeline

    pipeline = constant_pipeline()
    wanted = Search(
        "constant", pipeline, CONSTANT_GRID, split, folds, seed, search_sample=search_sample
    )
    return search_at_once(wanted, folder)


@step(threads=1, task_run_name="search_{name}")
def search_linear(
    name: str,
    split: Split,
    folds: int,
    seed: int,
    scoring: Scoring,
    search_sample: SearchSample | None,
    folder: Path,
) -> Model:
    """The best of the linear models, over words and n-grams of characters."""
    from neural_classifiers.comments.models.pipelines import linear_grid, linear_pipeline

    wanted = Search(
        name=name,
        pipeline=linear_pipeline(),
        grid=linear_grid(),
        split=split,
        folds=folds,
        seed=seed,
        scoring=scoring,
        is_calibrated=True,
        search_sample=search_sample,
    )
    return search_at_once(wanted, folder)
