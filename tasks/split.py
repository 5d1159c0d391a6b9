"""Part comments into a training and a test set that share no text; say which texts nearly are."""

from collections.abc import Iterable
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from neural_classifiers.comments import splits
from neural_classifiers.comments.schemas import CLEANED, DROPPED
from neural_classifiers.comments.splits import check_folds, split_keys
from neural_classifiers.engine.folder_store import unfinished
from neural_classifiers.engine.progress import reporter_for_rows
from neural_classifiers.engine.records import File
from neural_classifiers.engine.rows.batches import BATCH_ROWS, Kept, useful_workers, work_batches
from neural_classifiers.engine.rows.parquet import TableWriter, check_rows, read_groups, slices
from neural_classifiers.engine.step import step
from tasks.references import Cleaned, NearDuplicates, Split
from tasks.row_work import deal_batch, gather_batch, key_batch


@step()
def split_comments(
    cleaned: Cleaned, train_fraction: float, seed: int, folds: int, by_time: bool, folder: Path
) -> Split:
    """Training and test set, stratified or by time; no identical cleaned text on both sides.

    Raises
    ------
    ValueError
        If a category has fewer training rows than `folds`.
    """
    n_workers = useful_workers(cleaned.rows)
    return split_table(
        cleaned, train_fraction, seed, folds, by_time, folder, unfinished(folder), n_workers
    )


def split_table(
    cleaned: Cleaned,
    train_fraction: float,
    seed: int,
    folds: int,
    by_time: bool,
    folder: Path,
    keep: Path,
    n_workers: int = 0,
    batch_rows: int = BATCH_ROWS,
) -> Split:
    """As `split_comments`; neither the workers nor the size of the batches matters.

    Three passes, since rows come out in random order and never all of them are in memory. The
    first takes what stands for each text; the second deals each batch of rows into one piece for
    each batch that is to come out; the third puts the pieces together, in order. Batches
    that are finished lie in `keep`.
    """
    rows, n_rows = cleaned.table.path, cleaned.rows
    of_rows = slices(n_rows, batch_rows)
    tell = reporter_for_rows(n_rows, passes=3)
    batches = ((rows, *s, by_time) for s in of_rows)
    keys = _Keys(work_batches(key_batch, batches, keep / "keys", n_workers, tell), n_rows, by_time)
    split = split_keys(
        keys.texts, keys.is_empty, keys.codes, keys.labels, train_fraction, seed, keys.times
    )
    check_folds({label: n["train"] for label, n in split.counts.items()}, folds)
    side, place = _places(split, n_rows)
    rows_train, rows_test = len(split.train), len(split.test)
    counts, conflicting = split.counts, split.conflicting
    del keys, split

    of_train, of_test = slices(rows_train, batch_rows), slices(rows_test, batch_rows)
    n_pieces = (len(of_train), len(of_test))
    to_deal = (
        (rows, *s, side[slice(*s)], place[slice(*s)], n_pieces, batch_rows, DROPPED.names)
        for s in of_rows
    )
    dealt = work_batches(deal_batch, to_deal, keep / "dealt", n_workers, tell)
    paths = [folder / f"{name}.parquet" for name in ("train", "test", "dropped")]
    with TableWriter(paths[2], DROPPED) as dropped:
        for batch in dealt:
            dropped.write(batch.read("dropped"))
    check_rows("comments dropped", dropped.rows, n_rows - rows_train - rows_test)
    pieces = ((keep / "dealt", len(of_rows), piece) for piece in range(sum(n_pieces)))
    gathered = work_batches(gather_batch, pieces, keep / "gathered", n_workers, tell)
    for path, n, n_side in zip(paths[:2], n_pieces, (rows_train, rows_test), strict=True):
        with TableWriter(path, CLEANED) as table:
            for batch in islice(gathered, n):
                table.write(batch.read("rows"))
        check_rows(path.name, table.rows, n_side)
    train, test, dropped_rows = map(File.of, paths)
    return Split(
        train=train,
        test=test,
        dropped_rows=dropped_rows,
        rows=rows_train + rows_test,
        rows_train=rows_train,
        rows_test=rows_test,
        conflicting=conflicting,
        counts=counts,
    )


class _Keys:
    """What stands for all texts and labels, shape (n_rows,) each, in 13 or 21 bytes a row."""

    def __init__(self, batches: Iterable[Kept], n_rows: int, by_time: bool) -> None:
        self.texts = np.empty(n_rows, np.uint64)
        self.is_empty = np.empty(n_rows, bool)
        self.codes = np.empty(n_rows, np.int32)
        self.times = np.empty(n_rows, np.int64) if by_time else None
        known: dict[str, int] = {}
        start = 0
        for batch in batches:
            table = batch.read("keys")
            rows = slice(start, start := start + table.num_rows)
            self.texts[rows] = table["text"].to_numpy()
            self.is_empty[rows] = table["is_empty"].to_numpy()
            codes = [known.setdefault(label, len(known)) for label in batch.told["labels"]]
            self.codes[rows] = np.array(codes, np.int32)[table["code"].to_numpy()]
            if self.times is not None:
                self.times[rows] = table["time"].to_numpy()
        check_rows("comments to split", start, n_rows)
        self.labels = sorted(known)
        rank = {label: number for number, label in enumerate(self.labels)}
        ranks = np.array([rank[label] for label in known], np.int32)
        self.codes = ranks[self.codes]


def _places(split: "splits.Split", n_rows: int) -> tuple[NDArray[np.int8], NDArray[np.int64]]:
    """Side of each row (0 training, 1 test, 2 empty, 3 duplicate) and its place there."""
    side, place = np.empty(n_rows, np.int8), np.empty(n_rows, np.int64)
    for number, rows in enumerate((split.train, split.test, split.empty, split.duplicates)):
        side[rows] = number
        place[rows] = np.arange(len(rows))
    return side, place


@step()
def find_near_duplicates(split: Split, seed: int, folder: Path) -> NearDuplicates:
    """Test comments that nearly repeat a training comment; a sample of them beyond 50,000 rows."""
    from neural_classifiers.comments.duplicates import near_duplicates, rows_to_check

    train, test = split.train.path, split.test.path
    checked = rows_to_check(split.rows_train, split.rows_test, seed)
    texts = dict(zip(checked.tolist(), _column(test, "clean", checked), strict=True))
    groups = read_groups(train, ["clean"])
    in_training = (text for group in groups for text in group["clean"].to_pylist())
    found = near_duplicates(in_training, texts, split.rows_test)
    rows = np.array([[t, m] for t, m, _ in found.pairs], np.int64).reshape(-1, 2)
    pairs = folder / "pairs.parquet"
    pd.DataFrame(
        {
            "similarity": [similarity for *_, similarity in found.pairs],
            "test": _column(test, "txt", rows[:, 0]),
            "train": _column(train, "txt", rows[:, 1]),
            "test_cat": _column(test, "cat", rows[:, 0]),
            "train_cat": _column(train, "cat", rows[:, 1]),
        }
    ).to_parquet(pairs, index=False)
    return NearDuplicates(
        pairs=File.of(pairs),
        checked=found.checked,
        found=len(found.pairs),
        share=found.share,
        low=found.interval[0],
        high=found.interval[1],
        threshold=found.threshold,
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
