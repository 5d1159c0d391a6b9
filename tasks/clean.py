"""Clean comments: lower case, no stop words, no punctuation, every word stemmed."""

from pathlib import Path

import pandas as pd

from neural_classifiers.text import clean_comments as cleaned_texts
from tasks.records import File, Reference
from tasks.steps import step
from tasks.validate import Accepted


class Cleaned(Reference):
    """Comments with their cleaned text beside the original: ``line``, ``cat``, ``txt``, ``clean``.

    `head` is a picture of the first rows.
    """

    table: File
    head: File
    rows: int
    rows_empty: int

    def in_words(self) -> str:
        """Comments cleaned, and how many were left empty."""
        return f"{self.rows:,} comments cleaned, {self.rows_empty} left empty"


@step()
def clean_comments(accepted: Accepted, folder: Path) -> Cleaned:
    """The accepted comments with a column ``clean``."""
    from neural_classifiers.plots import plot_table_head

    comments = pd.read_parquet(accepted.table.verified())
    comments["clean"] = cleaned_texts(comments["txt"])
    table, head = folder / "cleaned.parquet", folder / "head.png"
    comments.to_parquet(table, index=False)
    first = comments[["cat", "txt", "clean"]].head()
    head.write_bytes(plot_table_head(list(first.columns), first.to_numpy().tolist()))
    return Cleaned(
        table=File.of(table),
        head=File.of(head),
        rows=len(comments),
        rows_empty=int((comments["clean"] == "").sum()),
    )
