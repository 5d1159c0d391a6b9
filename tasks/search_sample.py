"""Draw the training comments that the searches try their candidates on, where there are many."""

from pathlib import Path

import pandas as pd
from prefect import task

from neural_classifiers.comments import splits
from neural_classifiers.engine.records import File
from neural_classifiers.engine.step import UNRECORDED, step
from neural_classifiers.errors import ValidationError
from tasks.references import SearchSample, Split


@step()
def draw_search_sample(
    split: Split, rows: int, seed: int, folds: int, folder: Path
) -> SearchSample:
    """Draw training comments at random, of each class its share; all, if there are not so many.

    Parameters
    ----------
    split : Split
    rows : int
        Comments to draw.
    seed : int
        Decides which.
    folds : int
        Of the searches on them, each of which needs every class.
    folder : Path

    Raises
    ------
    ValidationError
        If a class would have fewer rows than `folds`.
    """
    train = pd.read_parquet(split.train.path)
    drawn = train.iloc[splits.draw_stratified(train["cat"].tolist(), min(rows, len(train)), seed)]
    try:
        of_drawn = {label: int((drawn["cat"] == label).sum()) for label in split.labels}
        splits.check_folds(of_drawn, folds)
    except ValidationError as error:
        raise ValidationError(f"--search-sample {rows}: {error}; or a larger one") from None
    path = folder / "train.parquet"
    drawn.to_parquet(path, index=False)
    return SearchSample(train=File.of(path), rows_train=len(drawn))


@task(task_run_name="check_halving", **UNRECORDED)
def check_halving(split: Split, searched: Split | SearchSample, folds: int) -> None:
    """Stop a run whose training comments are too few for successive halving."""
    splits.check_halving(searched.rows_train, len(split.labels), folds)
