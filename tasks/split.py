"""Part comments into a training and a test set that share no text; say which texts nearly are."""

from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from neural_classifiers.splits import check_folds
from neural_classifiers.splits import split_comments as split_rows
from tasks.clean import Cleaned
from tasks.records import File, Reference
from tasks.steps import step


class Split(Reference):
    """Training and test set: the columns of the cleaned comments, in random order.

    `dropped_rows` names each row that is in neither: ``file``, ``line`` and ``reason``.
    `counts` holds for each category ``rows``, ``empty``, ``duplicates``, ``train``, ``test``.
    """

    train: File
    test: File
    dropped_rows: File
    rows: int
    rows_train: int
    rows_test: int
    conflicting: int
    counts: dict[str, dict[str, int]]

    @property
    def labels(self) -> list[str]:
        """Categories in alphabetical order."""
        return sorted(self.counts)

    def dropped(self, why: str) -> int:
        """Rows dropped as ``empty`` or as ``duplicates``."""
        return sum(count[why] for count in self.counts.values())

    def in_words(self) -> str:
        """Sizes of the two sets, and what was dropped."""
        return (
            f"{self.rows_train:,} training and {self.rows_test:,} test comments; dropped "
            f"{self.dropped('duplicates'):,} duplicates and {self.dropped('empty'):,} left empty"
        )


class Comments(NamedTuple):
    """Cleaned texts of shape (n_comments,) and their categories."""

    X: list[str]
    y: list[str]


def read_comments(file: File) -> Comments:
    """One of the two sets, its digest checked."""
    table = pd.read_parquet(file.verified(), columns=["clean", "cat"])
    return Comments(table["clean"].tolist(), table["cat"].tolist())


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
    comments = pd.read_parquet(cleaned.table.verified())
    times = comments["time"].astype("int64").tolist() if by_time else None
    texts, labels = comments["clean"].tolist(), comments["cat"].tolist()
    split = split_rows(texts, labels, train_fraction, seed, times)
    check_folds(comments["cat"].iloc[split.train].tolist(), folds)
    sides = {"train.parquet": split.train, "test.parquet": split.test}
    for name, rows in sides.items():
        comments.iloc[rows].to_parquet(folder / name, index=False)
    _dropped(comments, split).to_parquet(folder / "dropped.parquet", index=False)
    train, test, dropped = (File.of(folder / f"{n}.parquet") for n in ("train", "test", "dropped"))
    return Split(
        train=train,
        test=test,
        dropped_rows=dropped,
        rows=len(split.train) + len(split.test),
        rows_train=len(split.train),
        rows_test=len(split.test),
        conflicting=len(split.conflicting),
        counts=split.counts,
    )


def _dropped(comments: pd.DataFrame, split: Any) -> pd.DataFrame:
    """Where the rows stood that the split leaves out, and why."""
    reasons = {"clean: nothing left": split.empty, "clean: duplicate": split.duplicates}
    parts = [
        comments.iloc[rows][["file", "line", "cat", "txt"]].assign(reason=reason)
        for reason, rows in reasons.items()
    ]
    return pd.concat(parts).sort_index()


class NearDuplicates(Reference):
    """How many test comments have a training comment that is nearly the same.

    Of `checked` test comments `found` have one; `low` and `high` bound the share among all with
    95 % confidence, which is the share itself where all were checked. `pairs` holds examples.
    """

    pairs: File
    checked: int
    found: int
    share: float
    low: float
    high: float
    threshold: float

    def in_words(self) -> str:
        """The share, of how many, within which bounds."""
        return (
            f"{self.share:.1%} of {self.checked:,} test comments checked nearly repeat a training "
            f"comment ({self.low:.1%} to {self.high:.1%} of all)"
        )


@step()
def find_near_duplicates(split: Split, seed: int, folder: Path) -> NearDuplicates:
    """Test comments that nearly repeat a training comment; a sample of them beyond 50,000 rows."""
    from neural_classifiers.duplicates import near_duplicates

    train, test = (pd.read_parquet(f.verified()) for f in (split.train, split.test))
    found = near_duplicates(train["clean"].tolist(), test["clean"].tolist(), seed)
    pairs = folder / "pairs.parquet"
    matched = [(t, m, similarity) for t, m, similarity in found.pairs]
    pd.DataFrame(
        {
            "similarity": [similarity for *_, similarity in matched],
            "test": [test["txt"].iloc[t] for t, *_ in matched],
            "train": [train["txt"].iloc[m] for _, m, _ in matched],
            "test_cat": [test["cat"].iloc[t] for t, *_ in matched],
            "train_cat": [train["cat"].iloc[m] for _, m, _ in matched],
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
