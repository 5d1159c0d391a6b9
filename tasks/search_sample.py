"""Draw the training comments that the searches try their candidates on, where there are many."""

from pathlib import Path

import pandas as pd

from neural_classifiers.comments.splits import check_folds, draw_stratified
from neural_classifiers.engine.records import File
from neural_classifiers.engine.step import step
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
    ValueError
        If a class would have fewer rows than `folds`.
    """
    train = pd.read_parquet(split.train.path)
    drawn = train.iloc[draw_stratified(train["cat"].tolist(), min(rows, len(train)), seed)]
    try:
        check_folds({label: int((drawn["cat"] == label).sum()) for label in split.labels}, folds)
    except ValueError as error:
        raise ValueError(f"search_sample of {rows:,} training comments: {error}") from None
    path = folder / "train.parquet"
    drawn.to_parquet(path, index=False)
    return SearchSample(train=File.of(path), rows_train=len(drawn))
