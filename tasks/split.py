"""Part comments into a training and a test set that share no text; say which texts nearly are."""

from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from neural_classifiers.comments.schemas import CLEANED, DROPPED
from neural_classifiers.comments.splits import (
    Assignment,
    check_folds,
    check_test_rows,
    check_words,
    split_keys,
)
from neural_classifiers.engine.folder_store import unfinished
from neural_classifiers.engine.progress import reporter_for_rows
from neural_classifiers.engine.records import File
from neural_classifiers.engine.rows.batches import (
    BATCH_ROWS,
    FinishedBatch,
    useful_workers,
    work_batches,
)
from neural_classifiers.engine.rows.parquet import TableWriter, check_rows, read_groups, slices
from neural_classifiers.engine.step import step
from tasks.references import Cleaned, NearDuplicates, Split
from tasks.row_work import deal_batch, gather_batch, key_batch


@step()
def split_comments(
    cleaned: Cleaned, train_fraction: float, seed: int, folds: int, by_time: bool, folder: Path
) -> Split:
    """Training and test set, stratified or by time; no identical cleaned text on both sides.

    Three passes, since rows come out in random order and never all of them are in memory. The
    first takes what stands for each text; the second deals each batch of rows into one piece for
    each batch that is to come out; the third puts the pieces together, in order.

    Parameters
    ----------
    cleaned : Cleaned
    train_fraction : float
        Share of each class that goes to training, between 0 and 1.
    seed : int
        Of the draw, and of the order of the rows.
    folds : int
        Of the cross-validation to come.
    by_time : bool
        The earliest comments are the training set.

    Raises
    ------
    ValidationError
        If a category has fewer training rows than `folds`, no comment is left for the test set,
        or a fold might see no word.
    """
    rows, n_rows = cleaned.table.path, cleaned.rows
    workers: Any = {
        "n_workers": useful_workers(n_rows),
        "advance": reporter_for_rows(n_rows, passes=3),
    }
    keyed, dealt, gathered = (unfinished(folder) / n for n in ("keyed", "dealt", "gathered"))
    of_rows = slices(n_rows, BATCH_ROWS)
    to_key = ((rows, *s, by_time) for s in of_rows)
    batches = work_batches(key_batch, to_key, keyed, **workers)
    split = _sides(batches, n_rows, train_fraction, seed)
    n_side = [sum(n[name] for n in split.counts.values()) for name in ("train", "test")]
    of_training = {label: n["train"] for label, n in split.counts.items()}
    check_test_rows(n_side[0], n_side[1], by_time)
    check_folds(of_training, folds)
    n_pieces = [len(slices(n, BATCH_ROWS)) for n in n_side]
    to_deal = (
        (rows, *s, split.side[slice(*s)], split.position[slice(*s)], n_pieces, BATCH_ROWS)
        for s in of_rows
    )
    paths = [folder / f"{name}.parquet" for name in ("train", "test", "dropped")]
    with TableWriter(paths[2], DROPPED) as dropped:
        for batch in work_batches(deal_batch, to_deal, dealt, **workers):
            dropped.write(batch.read("dropped"))
    check_rows("comments dropped", dropped.rows, n_rows - sum(n_side))
    to_gather = ((dealt, len(of_rows), piece) for piece in range(sum(n_pieces)))
    batches = work_batches(gather_batch, to_gather, gathered, **workers)
    for path, n_batches, n in zip(paths[:2], n_pieces, n_side, strict=True):
        with TableWriter(path, CLEANED) as table:
            for batch in islice(batches, n_batches):
                table.write(batch.read("rows"))
        check_rows(path.name, table.rows, n)
    groups = read_groups(paths[0], ["clean"])
    check_words((t for group in groups for t in group["clean"].to_pylist()), of_training, folds)
    train, test, dropped_rows = map(File.of, paths)
    return Split(
        train=train,
        test=test,
        dropped_rows=dropped_rows,
        rows=sum(n_side),
        rows_train=n_side[0],
        rows_test=n_side[1],
        conflicting=split.conflicting,
        counts=split.counts,
    )


def _sides(
    batches: Iterable[FinishedBatch], n_rows: int, train_fraction: float, seed: int
) -> Assignment:
    """The side of every row, by what `key_batch` took of it: 9 bytes a row, or 17 with times."""
    keys = pa.concat_tables(batch.read("keys") for batch in batches)
    check_rows("comments to split", keys.num_rows, n_rows)
    labels = keys["cat"].to_pandas().array
    labels = labels.reorder_categories(sorted(labels.categories))
    times = keys["time"].to_numpy() if "time" in keys.column_names else None
    return split_keys(keys["text"].to_numpy(), labels, train_fraction, seed, times)


@step()
def find_near_duplicates(split: Split, seed: int, folder: Path) -> NearDuplicates:
    """Test comments that nearly repeat a training comment; a sample of them beyond 50,000 rows."""
    from neural_classifiers.comments.duplicates import near_duplicates, rows_to_check

    train, test = split.train.path, split.test.path
    checked = rows_to_check(split.rows_train, split.rows_test, seed)
    texts = dict(zip(checked.tolist(), _column(test, "clean", checked), strict=True))
    groups = read_groups(train, ["clean"])
    in_training = (text for group in groups for text in group["clean"].to_pylist())
    overlap = near_duplicates(in_training, texts, split.rows_test)
    rows = np.array([[t, m] for t, m, _ in overlap.pairs], np.int64).reshape(-1, 2)
    pairs = folder / "pairs.parquet"
    pd.DataFrame(
        {
            "similarity": [similarity for *_, similarity in overlap.pairs],
            "test": _column(test, "txt", rows[:, 0]),
            "train": _column(train, "txt", rows[:, 1]),
            "test_cat": _column(test, "cat", rows[:, 0]),
            "train_cat": _column(train, "cat", rows[:, 1]),
        }
    ).to_parquet(pairs, index=False)
    return NearDuplicates(
        pairs=File.of(pairs),
        checked=overlap.checked,
        found=len(overlap.pairs),
        share=overlap.share,
        low=overlap.interval[0],
        high=overlap.interval[1],
        threshold=overlap.threshold,
    )


def _column(path: Path, name: str, rows: NDArray[np.int64]) -> list[str]:
    """A column's values in some rows of a table, of which a row group is in memory at a time."""
    values: dict[int, str] = {}
    start = 0
    for group in read_groups(path, [name]):
        here = np.unique(rows[(rows >= start) & (rows < start + group.num_rows)])
        taken = group[name].take(pa.array(here - start)).to_pylist()
        values |= zip(here.tolist(), taken, strict=True)
        start += group.num_rows
    return [values[row] for row in rows.tolist()]
