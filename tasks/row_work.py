"""What the steps that go through rows do to one batch, in a worker process or here.

Knows no Prefect, whose import takes a second and 100 MB, and each worker process is a new one.
"""

from collections.abc import Callable
from dataclasses import asdict
from functools import cache, lru_cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from neural_classifiers.comments.rows import Layout, Segment, parse_rows
from neural_classifiers.comments.rules import EMPTIED
from neural_classifiers.engine.rows.batches import Result, read_piece
from neural_classifiers.engine.rows.parquet import one_batch, read_slice

if TYPE_CHECKING:
    from neural_classifiers.comments.validator import Validator

REASONS = {2: EMPTIED, 3: "clean: duplicate"}  # by the side that a row went to


def parse_batch(segments: list[Segment], layout: Layout) -> Result:
    """What the rows hold, in a worker or here."""
    rows, parsed = parse_rows(segments, layout)
    return Result(rows.num_rows, {"rows": [rows]}, asdict(parsed))


def examine_batch(
    path: Path, start: int, stop: int, categories: tuple[str, ...], n_rows: int
) -> Result:
    """Some rows held against what we expect of each, in a worker or here."""
    examined = _examiner(categories, n_rows).examine(read_slice(path, start, stop))
    tables = {
        "accepted": [examined.accepted],
        "quarantined": [examined.quarantined],
        "hashes": [pa.record_batch({"hash": examined.hashes})],
    }
    return Result(stop - start, tables, examined.counts)


@lru_cache(1)
def _examiner(categories: tuple[str, ...], n_rows: int) -> "Validator":
    """What a process holds batch after batch against, since it takes 0.3 s to make."""
    from neural_classifiers.comments.validator import Validator

    return Validator(categories, n_rows=n_rows)


def clean_batch(path: Path, start: int, stop: int, cleaning: str | dict[str, bool | str]) -> Result:
    """Some comments with their cleaned text, in a worker or here."""
    from neural_classifiers.comments.text import clean_column, cleaning_of

    rows = read_slice(path, start, stop)
    clean = clean_column(rows["txt"], stem=_stemmer(), cleaning=cleaning_of(cleaning))
    n_empty = pc.sum(pc.equal(clean, "")).as_py()
    tables = {"cleaned": [rows.append_column("clean", clean)]}
    return Result(stop - start, tables, {"empty": n_empty})


@cache
def _stemmer() -> Callable[[str], str]:
    """Porter's stemmer, whose memory outlives a batch."""
    from neural_classifiers.comments.text import porter_stemmer

    return porter_stemmer()


def key_batch(path: Path, start: int, stop: int, by_time: bool) -> Result:
    """What stands for the texts and labels of some rows, in a worker or here."""
    from neural_classifiers.comments.splits import keys_of

    columns = ["cat", "clean", "time"] if by_time else ["cat", "clean"]
    rows = read_slice(path, start, stop, columns)
    labels = rows["cat"].dictionary_encode()
    keys = {
        "text": keys_of(rows["clean"].to_pylist()),
        "is_empty": pc.equal(rows["clean"], ""),
        "code": labels.indices,
    }
    if by_time:
        keys["time"] = rows["time"].cast(pa.int64())
    tables = {"keys": [pa.record_batch(keys)]}
    return Result(stop - start, tables, {"labels": labels.dictionary.to_pylist()})


def deal_batch(
    path: Path,
    start: int,
    stop: int,
    side: NDArray[np.int8],
    place: NDArray[np.int64],
    n_pieces: tuple[int, int],
    batch_rows: int,
    columns: list[str],
) -> Result:
    """Some rows as one piece for each batch that comes out, in a worker or here; and the others."""
    rows = read_slice(path, start, stop)
    rows = rows.append_column("place", pa.array(place))
    piece = place // batch_rows + np.where(side == 0, 0, n_pieces[0])
    piece[side > 1] = sum(n_pieces)
    order = np.argsort(piece, kind="stable")
    ends = np.searchsorted(piece[order], np.arange(sum(n_pieces) + 1))
    in_order = rows.take(pa.array(order))
    pieces = [in_order.slice(first, end - first) for first, end in pairwise(ends)]
    dropped = np.flatnonzero(side > 1)
    reasons = pa.array([REASONS[n] for n in side[dropped].tolist()], pa.string())
    told = rows.take(pa.array(dropped)).append_column("reason", reasons).select(columns)
    return Result(stop - start, {"rows": pieces, "dropped": [told]})


def gather_batch(dealt: Path, n_batches: int, piece: int) -> Result:
    """Some rows of a side, in order, from the pieces that all batches have for them."""
    pieces = [read_piece(dealt, n, "rows", piece) for n in range(n_batches)]
    rows = one_batch(pa.Table.from_batches(pieces))
    rows = rows.take(pa.array(np.argsort(rows["place"].to_numpy())))
    return Result(rows.num_rows, {"rows": [rows.drop_columns("place")]})
