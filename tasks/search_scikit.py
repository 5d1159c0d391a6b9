"""Search the grid of scikit-learn's network (notebook, Part 1), and of an improved one."""

from pathlib import Path

from neural_classifiers.comments.models.grids import Grid, Method, Scoring
from neural_classifiers.engine.step import step
from tasks.references import Fits, Model, SearchSample, Split
from tasks.searches import Search, choose_by_halving, choose_model, fit_fold, search_at_once


@step(threads=1, attempts=3, task_run_name="fit_scikit-{fold}")
def fit_scikit(
    split: Split | SearchSample, grid: Grid, fold: int, folds: int, seed: int, folder: Path
) -> Fits:
    """Every candidate fitted on one fold; candidates that cannot differ once."""
    return fit_fold(fit_scikit, _search(split, grid, folds, seed), fold, folder)


@step(threads=1, attempts=3)
def search_scikit(
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
        return choose_by_halving(search_scikit, wanted, folder)
    return choose_model(wanted, fits, folder)


@step(threads=1)
def search_scikit_improved(
    split: Split,
    grid: Grid,
    folds: int,
    seed: int,
    search_sample: SearchSample | None,
    folder: Path,
) -> Model:
    """A network made for unequal classes, chosen by macro-F1, its probabilities calibrated."""
    from neural_classifiers.comments.models.pipelines import improved_scikit_pipeline

    wanted = Search(
        name="scikit_improved",
        pipeline=improved_scikit_pipeline(seed),
        grid=grid,
        split=split,
        folds=folds,
        seed=seed,
        scoring="f1_macro",
        is_calibrated=True,
        search_sample=search_sample,
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
    from neural_classifiers.comments.models.pipelines import scikit_pipeline

    pipeline = scikit_pipeline(seed)
    return Search(
        "scikit", pipeline, grid, split, folds, seed, scoring, search_sample=search_sample
    )
