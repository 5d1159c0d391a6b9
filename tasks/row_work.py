"""Work on one batch of rows, for the steps that go through many; in a worker process or here.

Knows no Prefect, whose import takes a second and 100 MB, and each worker process is a new one.
"""

from collections.abc import Sequence
from dataclasses import asdict
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from neural_classifiers.comments.formats import Layout
from neural_classifiers.comments.rows import Segment, parse_rows
from neural_classifiers.comments.rules import EMPTIED
from neural_classifiers.comments.schemas import DROPPED
from neural_classifiers.engine.rows.batches import Result, read_piece
from neural_classifiers.engine.rows.parquet import one_batch, read_slice

if TYPE_CHECKING:
    from neural_classifiers.comments.validator import Validator


def parse_batch(segments: list[Segment], layout: Layout) -> Result:
    """Parse rows as they stand in their files."""
    rows, parsed = parse_rows(segments, layout)
    return Result(rows.num_rows, {"rows": [rows]}, asdict(parsed))


def examine_batch(
    path: Path,
    start: int,
    stop: int,
    categories: tuple[str, ...],
    n_rows: int,
    spellings: tuple[tuple[str, str], ...],
) -> Result:
    """Part rows that meet every expectation from those that do not."""
    examined = _examiner(categories, n_rows, spellings).examine(read_slice(path, start, stop))
    tables = {
        "accepted": [examined.accepted],
        "quarantined": [examined.quarantined],
        "hashes": [pa.record_batch({"hash": examined.hashes})],
    }
    return Result(stop - start, tables, examined.counts)


@lru_cache(1)
def _examiner(
    categories: tuple[str, ...], n_rows: int, spellings: tuple[tuple[str, str], ...]
) -> "Validator":
    """The expectations, made once a process, since that takes 0.3 s."""
    from neural_classifiers.comments.validator import Validator

    return Validator(categories, n_rows=n_rows, spellings=dict(spellings))


def clean_batch(path: Path, start: int, stop: int, cleaning: str | dict[str, bool | str]) -> Result:
    """Add their cleaned text to comments; the summary counts those left ``empty``."""
    from neural_classifiers.comments.text import clean_column, cleaning_of

    rows = read_slice(path, start, stop)
    clean = clean_column(rows["txt"], cleaning_of(cleaning))
    n_empty = pc.sum(pc.equal(clean, "")).as_py()
    tables = {"cleaned": [rows.append_column("clean", clean)]}
    return Result(stop - start, tables, {"empty": n_empty})


def key_batch(path: Path, start: int, stop: int, by_time: bool) -> Result:
    """Take of each row the key that stands for its text, its label, and its time if asked for."""
    from neural_classifiers.comments.splits import keys_of

    rows = read_slice(path, start, stop, ["cat", "clean", *(["time"] if by_time else [])])
    keys = {
        "text": keys_of(rows["clean"].to_pylist()),
        "cat": rows["cat"].dictionary_encode(),
    }
    if by_time:
        keys["time"] = rows["time"].cast(pa.int64())
    return Result(stop - start, {"keys": [pa.record_batch(keys)]})


def deal_batch(
    path: Path,
    start: int,
    stop: int,
    side: NDArray[np.int8],
    position: NDArray[np.int64],
    n_pieces: Sequence[int],
    batch_rows: int,
) -> Result:
    """Cut the rows into a piece for each output batch; list dropped rows with the reason.

    Parameters
    ----------
    path : Path
        Of the cleaned comments.
    start, stop : int
        First row, from 0, and the row after the last.
    side, position : ndarray of shape (stop - start,)
        Of each row, as in `comments.splits.Assignment`.
    n_pieces : two int
        Batches that the training set has, and the test set.
    batch_rows : int
        Rows of each.
    """
    from neural_classifiers.comments.splits import Side

    rows = read_slice(path, start, stop).append_column("position", pa.array(position))
    is_dropped = side < Side.TRAIN
    n_train, n_all = n_pieces[0], sum(n_pieces)
    # (n_rows,): the piece of each row; those of the test set come behind those of training
    piece = position // batch_rows + np.where(side == Side.TEST, n_train, 0)
    piece[is_dropped] = n_all
    # (n_rows,): rows in the order of their pieces
    order = np.argsort(piece, kind="stable")
    # (n_all + 1,): where in that order each piece begins, and where those that are dropped do
    begins = np.searchsorted(piece[order], np.arange(n_all + 1))
    in_order = rows.take(pa.array(order))
    pieces = [in_order.slice(begin, end - begin) for begin, end in pairwise(begins)]
    reasons = {Side.EMPTY: EMPTIED, Side.DUPLICATES: "clean: duplicate"}
    dropped = rows.filter(pa.array(is_dropped)).append_column(
        "reason", pa.array([reasons[Side(s)] for s in side[is_dropped]], pa.string())
    )
    return Result(stop - start, {"rows": pieces, "dropped": [dropped.select(DROPPED.names)]})


def gather_batch(dealt: Path, n_batches: int, piece: int) -> Result:
    """Join the pieces of one output batch, of which each input batch left one, and sort them."""
    pieces = [read_piece(dealt, n, "rows", piece) for n in range(n_batches)]
    rows = one_batch(pa.Table.from_batches(pieces)).sort_by("position")
    return Result(rows.num_rows, {"rows": [rows.drop_columns("position")]})
