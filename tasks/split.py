"""Part comments into a training and a test set that share no text."""

from pathlib import Path
from typing import NamedTuple

import pandas as pd

from neural_classifiers.splits import check_folds
from neural_classifiers.splits import split_comments as split_rows
from tasks.clean import Cleaned
from tasks.records import File, Reference
from tasks.steps import step


class Split(Reference):
    """Training and test set: ``line``, ``cat``, ``txt``, ``clean``, in random order.

    `counts` holds for each category ``rows``, ``empty``, ``duplicates``, ``train``, ``test``.
    """

    train: File
    test: File
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
    cleaned: Cleaned, train_fraction: float, seed: int, folds: int, folder: Path
) -> Split:
    """Stratified training and test set; no identical cleaned text on both sides.

    Raises
    ------
    ValueError
        If a category has fewer training rows than `folds`.
    """
    comments = pd.read_parquet(cleaned.table.verified())
    split = split_rows(comments["clean"].tolist(), comments["cat"].tolist(), train_fraction, seed)
    check_folds(comments["cat"].iloc[split.train].tolist(), folds)
    train, test = folder / "train.parquet", folder / "test.parquet"
    comments.iloc[split.train].to_parquet(train, index=False)
    comments.iloc[split.test].to_parquet(test, index=False)
    return Split(
        train=File.of(train),
        test=File.of(test),
        rows=len(split.train) + len(split.test),
        rows_train=len(split.train),
        rows_test=len(split.test),
        conflicting=len(split.conflicting),
        counts=split.counts,
    )
